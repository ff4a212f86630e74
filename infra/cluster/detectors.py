"""Detectors on a cluster: the custom resource. A decision is claimed by replacing the status at the
resourceVersion that was read; whoever is slower gets a 409, looks again and decides again.

https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import orjson
from pydantic import ValidationError

from homeostat.eventing.codec import faults
from homeostat.eventing.errors import Reject, Retry
from homeostat.eventing.wire import WireEvent
from homeostat.functions.detector import Cause, Detector, Status
from homeostat.functions.spec import Spec

from ..outcome import Claim, Outcome
from ..trouble import Trouble
from . import history
from . import status as stored
from .claims import FIELD, Claims
from .client import DETECTORS, Document, Objects
from .errors import Conflict

ATTEMPTS = 20
BYTES = 1_000_000
"""etcd takes requests of 1.5 MiB; `metadata.managedFields` and whatever else others add need room as well."""


class DetectorObjects:
    """The shell's `Detectors`. With a `function`, only its own decisions are finished: rights are by
    function."""

    def __init__(self, objects: Objects, function: str | None = None) -> None:
        self._objects, self._function = objects, function
        # What was read last of each: a commit at its version need not read it again.
        self._read: dict[str, Document] = {}

    def names(self) -> list[str]:
        return sorted(one["metadata"]["name"] for one in self._objects.list(DETECTORS))

    def apply(self, name: str, spec: Spec) -> str:
        """Create the Detector or replace its spec; its status stays. Says created, changed or unchanged."""
        # Only what its owner said: a default that becomes better reaches Detectors that are stored.
        said = spec.model_dump(mode="json", exclude_unset=True)
        for _ in range(ATTEMPTS):
            found = self._objects.get(DETECTORS, name)
            if found and found.get("spec") == said:
                return "unchanged"
            metadata = dict(found["metadata"]) if found else {"name": name}
            document = {
                "apiVersion": DETECTORS.api_version,
                "kind": DETECTORS.kind,
                "metadata": metadata,
                "spec": said,
            }
            try:
                if found:
                    self._objects.replace(DETECTORS, name, document)
                else:
                    self._objects.create(DETECTORS, document)
            except Conflict:
                continue
            return "changed" if found else "created"
        raise _contended(name)

    def snapshot(self, name: str, now: datetime, cause: Cause) -> tuple[Detector, int] | None:
        """The Detector, and the version that a commit must find unchanged. None: no such Detector.

        Raises Reject when what is stored is no Detector, with every fault by field.
        """
        document = self._look(name)
        if document is None:
            return None
        detector = Detector(name=name, spec=_spec(document), status=_status(document), now=now, cause=cause)
        return detector, _version(document)

    def claimed(self, name: str, key: str) -> Claim | None:
        """What this event led to, if it was decided already."""
        document = self._look(name)
        return Claims.read(document.get("status") or {}).find(key) if document else None

    def commit(self, name: str, version: int, status: Status, key: str, outcome: Outcome) -> bool:
        """Store status and outcome in one write, if nobody was faster. False: look and decide again."""
        document = self._read.get(name)
        if document is None or _version(document) != version:
            document = self._look(name)
        if document is None or _version(document) != version:
            return False
        claims = Claims.read(document.get("status") or {})
        if claims.find(key) is not None:
            return False
        return self._store(
            name, document, stored.written(status, document, outcome), claims.adding(key, outcome)
        )

    def carried_out(
        self,
        name: str,
        key: str,
        now: datetime,
        missed: Trouble | None = None,
        told: Sequence[WireEvent] = (),
    ) -> Trouble | None:
        """Forget the outcome, keep the mark. A Detector that was deleted meanwhile has neither."""
        for _ in range(ATTEMPTS):
            document = self._look(name)
            if document is None:
                return None
            status = document.get("status") or {}
            claims = Claims.read(status)
            over, done = claims.trouble_of(key), claims.carried_out(key)
            if done is claims and not missed:
                return None
            if over or missed:
                status = stored.told(document, done.troubles(), now, told, over, missed)
            if self._store(name, document, status, done):
                return over
        raise _contended(name)

    def hindered(self, name: str, key: str, trouble: Trouble, telling: WireEvent) -> bool:
        """State it as a condition, and keep it beside the outcome. False when it is stated already, or when a
        twin of ours was not hindered; and of a Detector that was deleted meanwhile, or made anew."""
        for _ in range(ATTEMPTS):
            document = self._look(name)
            claims = Claims.read(document.get("status") or {} if document else {})
            claim = claims.find(key)
            if document is None or claim is None or claim.outcome is None:
                return False
            before = claim.outcome.trouble
            if before and before.kind == trouble.kind:
                return False
            marked = claims.hindered(key, replace(trouble, since=before.since) if before else trouble)
            status = stored.told(document, marked.troubles(), trouble.since, [telling])
            if self._store(name, document, status, marked):
                return True
        raise _contended(name)

    def unfinished(self) -> list[tuple[str, str, Outcome]]:
        """Detector, key and outcome of what was claimed and not carried out."""
        return [
            (document["metadata"]["name"], key, outcome)
            for document in self._objects.list(DETECTORS)
            for key, outcome in Claims.read(document.get("status") or {}).unfinished(self._function)
        ]

    def owner(self, name: str) -> dict[str, Any] | None:
        """The owner reference by which what we create for the Detector goes when it goes."""
        document = self._read.get(name) or self._look(name)
        if document is None:
            return None
        return {
            "apiVersion": DETECTORS.api_version,
            "kind": DETECTORS.kind,
            "name": name,
            "uid": document["metadata"]["uid"],
            "controller": True,
        }

    def _look(self, name: str) -> Document | None:
        document = self._objects.get(DETECTORS, name)
        if document is None:
            self._read.pop(name, None)
        else:
            self._read[name] = document
        return document

    def _store(self, name: str, document: Document, status: Mapping[str, Any], claims: Claims) -> bool:
        for events, marks in _ever_smaller(status, claims):
            whole = {**document, "status": {**status, history.FIELD: events, FIELD: marks.write()}}
            size = len(orjson.dumps(whole))
            if size <= BYTES:
                break
        else:
            raise Retry(
                f"the status of {name} would be {size} bytes of {BYTES}: train, or delete it", after=60
            )
        try:
            self._read[name] = self._objects.replace(DETECTORS, name, whole, "status")
        except Conflict:
            return False
        return True


def _ever_smaller(
    status: Mapping[str, Any], claims: Claims
) -> Iterator[tuple[list[Mapping[str, Any]], Claims]]:
    """History and marks for a Detector that hardly fits: what people read goes before what work rests on."""
    events = list(status.get(history.FIELD) or ())
    yield events, claims
    yield history.shortened(events, status, history.KEPT // 4), claims
    yield [], claims
    yield [], claims.shorter()


def _version(document: Document) -> int:
    """Kubernetes calls it opaque and compares numbers: it is etcd's revision."""
    return int(document["metadata"]["resourceVersion"])


def _spec(document: Document) -> Spec:
    try:
        return Spec.model_validate(document.get("spec") or {})
    except ValidationError as error:
        raise Reject(faults(error, "spec")) from None


def _status(document: Document) -> Status:
    try:
        return stored.read(document)
    except ValidationError as error:
        raise Reject(faults(error, "status")) from None


def _contended(name: str) -> Retry:
    return Retry(f"{name} is being changed by many at once", after=1)
