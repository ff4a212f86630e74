"""What the command line's verbs do to a cluster: `place.OnMachine`, by a kubeconfig."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import httpx
from pydantic import ValidationError

from homeostat.eventing.codec import faults
from homeostat.eventing.errors import Fault, Reject
from homeostat.functions.spec import Spec

from ..chain import Link
from ..outgoing import Outgoing
from ..views import named, reasons
from . import broker_way, history
from . import status as stored
from .client import DETECTORS, Document, Objects
from .detectors import DetectorObjects
from .remote import PATIENCE, Api


class OnCluster:
    """Methods raise Retry where the cluster does not answer or a right is missing, Reject otherwise."""

    def __init__(self, http: httpx.Client, namespace: str) -> None:
        self._http, self._namespace = http, namespace
        self._objects = Objects(http, namespace, PATIENCE)

    def apply(self, wanted: Sequence[tuple[str, Spec]]) -> list[tuple[str, str]]:
        detectors = DetectorObjects(self._objects)
        return [(name, detectors.apply(name, spec)) for name, spec in wanted]

    def detectors(self) -> Sequence[Mapping[str, Any]]:
        return [_whole(one) for one in self._objects.list(DETECTORS)]

    def detector(self, name: str) -> Mapping[str, Any]:
        return _whole(self._found(name))

    def why(self, name: str) -> list[Link]:
        found = self._found(name)
        return reasons(history.events(found), _whole(found))

    def post(self, type: str, subject: str, data: Mapping[str, Any], cause: str | None = None) -> str:
        event = Outgoing(type, subject, data, cause)
        headers, body = event.encoded()
        address = broker_way.address(Api(self._http), self._namespace)
        broker_way.post(self._http, address, headers, body)
        return event.id

    def _found(self, name: str) -> Document:
        return self._objects.get(DETECTORS, name) or named(self._objects.list(DETECTORS), name)


def _whole(document: Document) -> Document:
    """The Detector with every field of spec and status, as one machine's home shows it. Raises Reject for one
    that is stored and is none."""
    name = document["metadata"]["name"]
    try:
        spec = Spec.model_validate(document.get("spec") or {}).model_dump(mode="json")
        status = stored.read(document).model_dump(mode="json")
    except ValidationError as error:
        at = [Fault(f"{name}: {one.field}", one.value, one.mend) for one in faults(error, "stored")]
        raise Reject(at) from None
    return {
        "apiVersion": DETECTORS.api_version,
        "kind": DETECTORS.kind,
        "metadata": document["metadata"],
        "spec": spec,
        "status": {**(document.get("status") or {}), **status},
    }
