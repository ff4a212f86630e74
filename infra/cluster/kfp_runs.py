"""Training runs on Kubeflow Pipelines, over its REST API (v2beta1).

The pipeline is uploaded once per content: its version is called by the content's hash, so that every replica
of every release finds its own. A run is called by the event that it answers, and is looked up before it is
created. Two replicas may still create it at the same moment, as the API knows no unique names: then the older
one goes on, and whoever sees several ends the others.

Spoken with httpx rather than `kfp.Client`: the functions' image has no kfp (79 MB, 1.1 s of import), and that
client gives its calls no timeout. `tests/cluster` holds each path and body to the models of `kfp-server-api`.

https://www.kubeflow.org/docs/components/pipelines/reference/api/kubeflow-pipeline-api-spec/
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson

from homeostat.eventing.errors import Reject, Retry
from homeostat.eventing.messages import StartTraining
from homeostat.functions.detector import Cause
from homeostat.functions.spec import Spec

from .access import Bearer
from .errors import SECONDS, Asking, Conflict, Patience, document, tried

TOKEN = Path("/var/run/secrets/kubeflow/pipelines/token")
"""Where a pod's projected token for the audience `pipelines.kubeflow.org` lies; renewed by the kubelet."""

PIPELINE = "homeostat-training"
EXPERIMENT = "homeostat"
_API = "/apis/v2beta1"
_CANCELLED = ("CANCELED", "CANCELING")
_ENDED = (*_CANCELLED, "SUCCEEDED", "FAILED", "SKIPPED")


@dataclass(frozen=True)
class Places:
    """What a run is told. `namespace` is the profile's, where Kubeflow has several users; else empty."""

    models_root: str
    tracking_uri: str
    sink: str
    namespace: str = ""
    service_account: str = ""


class Runs:
    """Thread-safe. Raises Retry and Reject as `errors.tried` does."""

    def __init__(
        self,
        url: str,
        pipeline: Path,
        places: Places,
        *,
        token: Callable[[], str] | None = None,
        patience: Patience | None = None,
    ) -> None:
        auth = Bearer(token) if token else None
        self._http = httpx.Client(base_url=url.rstrip("/"), auth=auth, timeout=SECONDS)
        self._pipeline, self._places, self._patience = pipeline, places, patience
        self._lock = threading.Lock()
        # Of what was found or uploaded once, for the life of this process.
        self._known: tuple[str, str, str] | None = None

    def close(self) -> None:
        self._http.close()

    def submit(self, command: StartTraining, spec: Spec, cause: Cause) -> str:
        """Have the run, once; its id. The same name again is the same run."""
        pipeline, version, experiment = self._prepared()
        found = self._named(command.run, experiment)
        if found:
            return self._only(found)
        body = {
            "display_name": command.run,
            "description": f"{command.detector}: answers the event {cause.id}",
            "experiment_id": experiment,
            "pipeline_version_reference": {"pipeline_id": pipeline, "pipeline_version_id": version},
            "runtime_config": {"parameters": self._parameters(command, spec, cause)},
        }
        if self._places.service_account:
            body["service_account"] = self._places.service_account
        try:
            made = self._call("create", "runs", command.run, "POST", "/runs", json=body)
        except (Retry, Reject):
            self._known = None  # somebody may have deleted what was known
            raise
        return self._only(self._named(command.run, experiment) or [made])

    def state(self, run: str) -> str | None:
        """How the run of that name stands (KFP's RuntimeState); None when there is none."""
        _, _, experiment = self._prepared()
        found = self._named(run, experiment)
        return str(found[0].get("state", "PENDING")) if found else None

    def _only(self, found: list[Mapping[str, Any]]) -> str:
        """The first of the runs goes on, the others end. Its id. Whoever sees several agrees which that is,
        and ends the others whoever began them: times are whole seconds, a twin may have looked before the
        first was there."""
        first, *others = found
        for one in others:
            if one.get("state") not in _ENDED:
                name, run = str(one["display_name"]), one["run_id"]
                self._call("terminate", "runs", name, "POST", f"/runs/{run}:terminate")
        return str(first["run_id"])

    def _named(self, run: str, experiment: str) -> list[Mapping[str, Any]]:
        """The runs of that name, those first that are or were at work, the oldest before the others."""
        found = self._list("runs", run, "/runs", experiment_id=experiment, sort_by="created_at asc")
        return sorted(
            found, key=lambda one: (one.get("state") in _CANCELLED, one["created_at"], one["run_id"])
        )

    def _parameters(self, command: StartTraining, spec: Spec, cause: Cause) -> dict[str, Any]:
        """The pipeline's inputs. Its steps are compiled with KFP's cache off."""
        return {
            "run": command.run,
            "detector": command.detector,
            "spec": orjson.dumps(spec.model_dump(mode="json")).decode(),
            "data": list(command.data),
            "candidates": list(command.candidates),
            "parameters": orjson.dumps(command.parameters).decode(),
            "champion": command.champion or "",
            "cause": orjson.dumps(cause.model_dump(mode="json")).decode(),
            "models_root": self._places.models_root,
            "tracking_uri": self._places.tracking_uri,
            "sink": self._places.sink,
        }

    # --- what a run needs to be there -----------------------------------------------------------------------
    def _prepared(self) -> tuple[str, str, str]:
        """The ids of pipeline, version and experiment; made where they are missing."""
        with self._lock:
            if self._known is None:
                pipeline = self._have("pipelines", PIPELINE, "/pipelines", "pipeline_id", self._upload)
                version = self._have(
                    "pipelines",  # versions are no resource of their own to its authoriser
                    self._hash(),
                    f"/pipelines/{pipeline}/versions",
                    "pipeline_version_id",
                    lambda name: self._upload_version(name, pipeline),
                )
                experiment = self._have(
                    "experiments", EXPERIMENT, "/experiments", "experiment_id", self._experiment
                )
                self._known = (pipeline, version, experiment)
            return self._known

    def _have(
        self, resource: str, name: str, path: str, key: str, make: Callable[[str], Mapping[str, Any]]
    ) -> str:
        places = {} if path.endswith("/versions") else self._in_namespace()
        found = self._list(resource, name, path, **places)
        if found:
            return str(found[0][key])
        try:
            return str(make(name)[key])
        except Conflict:  # a twin was faster
            return str(self._list(resource, name, path, **places)[0][key])

    def _upload(self, name: str) -> Mapping[str, Any]:
        query = {"name": name, **self._in_namespace()}
        return self._uploaded(name, "/pipelines/upload", query)

    def _upload_version(self, name: str, pipeline: str) -> Mapping[str, Any]:
        query = {"name": name, "pipelineid": pipeline}
        return self._uploaded(name, "/pipelines/upload_version", query)

    def _uploaded(self, name: str, path: str, query: Mapping[str, str]) -> Mapping[str, Any]:
        """Raises Retry for a refusal too: the file is ours, whatever the event was, and Kubeflow's upload
        says no more than "failed" (400) to whom it does not let in."""
        file = {"uploadfile": (self._pipeline.name, self._pipeline.read_bytes(), "application/yaml")}
        try:
            return self._call("create", "pipelines", name, "POST", path, params=dict(query), files=file)
        except Reject as refused:
            mend = "grant the verb create on pipelines.pipelines.kubeflow.org, or look into its server's log"
            raise Retry(f"{refused}: {mend}", after=60, kind="Refused") from None

    def _experiment(self, name: str) -> Mapping[str, Any]:
        body = {"display_name": name, **self._in_namespace()}
        return self._call("create", "experiments", name, "POST", "/experiments", json=body)

    def _hash(self) -> str:
        return hashlib.sha256(self._pipeline.read_bytes()).hexdigest()[:16]

    def _in_namespace(self) -> dict[str, str]:
        return {"namespace": self._places.namespace} if self._places.namespace else {}

    # --- calls ----------------------------------------------------------------------------------------------
    def _list(self, resource: str, name: str, path: str, **query: str) -> list[Mapping[str, Any]]:
        """Those of that very name."""
        only = {"operation": "EQUALS", "key": "display_name", "stringValue": name}
        params = {**query, "filter": orjson.dumps({"predicates": [only]}).decode(), "page_size": "50"}
        found = self._call("list", resource, name, "GET", path, params=params)
        field = "pipeline_versions" if path.endswith("/versions") else resource
        return [one for one in found.get(field) or () if one.get("display_name") == name]

    def _call(
        self, verb: str, resource: str, name: str, method: str, path: str, **request: Any
    ) -> Mapping[str, Any]:
        def call() -> Mapping[str, Any]:
            return document(self._http.request(method, _API + path, **request))

        asking = Asking(verb, f"{resource}.pipelines.kubeflow.org", name, self._places.namespace)
        return tried(asking, call, self._patience)
