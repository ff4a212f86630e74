"""Kubeflow Pipelines' API as far as starting runs goes, in this process. What it takes and gives is held to
the models of `kfp-server-api`: a field that they do not have is refused."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import kfp_server_api
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.cluster.ports import on_a_port

API = "/apis/v2beta1"
KEYS = {
    "pipelines": "pipeline_id",
    "pipeline_versions": "pipeline_version_id",
    "experiments": "experiment_id",
    "runs": "run_id",
}
MODELS = {
    "experiments": kfp_server_api.V2beta1Experiment,
    "runs": kfp_server_api.V2beta1Run,
    "runtime_config": kfp_server_api.V2beta1RuntimeConfig,
    "pipeline_version_reference": kfp_server_api.V2beta1PipelineVersionReference,
}


@dataclass
class Pipelines:
    """`troubles` are answered to the next requests instead; `lost` is how many of the next runs are created
    without their answer arriving. `unique` names are refused twice, as Kubeflow does for pipelines and
    versions."""

    url: str = ""
    token: str = "t"
    stored: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {name: [] for name in KEYS})
    calls: list[tuple[str, str]] = field(default_factory=list)
    troubles: list[int] = field(default_factory=list)
    lost: int = 0

    def runs(self) -> list[tuple[str, str]]:
        """Name and state of each."""
        return [(one["display_name"], one["state"]) for one in self.stored["runs"]]

    def add(self, kind: str, document: dict[str, Any]) -> dict[str, Any]:
        place = len(self.stored[kind])
        stamp = f"2026-11-24T13:00:{place:02d}Z"
        made = {**document, KEYS[kind]: f"{kind}-{place}", "created_at": stamp}
        self.stored[kind].append(made)
        return made

    def listed(self, kind: str, request: Request) -> Response:
        (only,) = json.loads(request.query_params["filter"])["predicates"]
        assert (only["operation"], only["key"]) == ("EQUALS", "display_name")
        found = [one for one in self.stored[kind] if one["display_name"] == only["stringValue"]]
        experiment = request.query_params.get("experiment_id")
        if experiment:
            found = [one for one in found if one["experiment_id"] == experiment]
        return JSONResponse({kind: found, "total_size": len(found)} if found else {})

    async def uploaded(self, kind: str, request: Request) -> Response:
        form = await request.form()
        name = request.query_params["name"]
        if any(one["display_name"] == name for one in self.stored[kind]):
            return error(409, f"Failed to create {kind}: already exists")
        content = await form["uploadfile"].read()  # type: ignore[union-attr]
        parent = request.query_params.get("pipelineid")
        more = {"pipeline_id": parent} if parent else {}
        return JSONResponse(self.add(kind, {"display_name": name, "size": len(content), **more}))

    async def created(self, kind: str, request: Request) -> Response:
        document = await request.json()
        unknown = wrong(document, MODELS[kind])
        names = [one["display_name"] for one in self.stored[kind]]
        if kind == "experiments" and document["display_name"] in names:
            return error(409, "Failed to create experiments: already exists")
        if unknown:
            return error(400, f"unknown fields: {', '.join(unknown)}")
        state = {"state": "PENDING"} if kind == "runs" else {}
        made = self.add(kind, {**document, **state})
        if kind == "runs" and self.lost:
            self.lost -= 1
            return error(504, "upstream request timeout")
        return JSONResponse(made)

    async def terminate(self, request: Request) -> Response:
        run = request.path_params["run"]
        (one,) = [one for one in self.stored["runs"] if one["run_id"] == run]
        one["state"] = "CANCELING"
        return JSONResponse({})


def wrong(document: dict[str, Any], model: Any) -> list[str]:
    """Fields that the real API does not have."""
    found = [key for key in document if key not in model.attribute_map.values()]
    for key, inner in document.items():
        if key in MODELS and isinstance(inner, dict):
            found += [f"{key}.{one}" for one in wrong(inner, MODELS[key])]
    return found


def error(code: int, message: str) -> Response:
    """As gRPC's gateway writes it."""
    return JSONResponse({"error": message, "code": code, "message": message, "details": []}, code)


def app(server: Pipelines) -> Starlette:
    def guarded(handle: Any) -> Any:
        async def guard(request: Request) -> Response:
            server.calls.append((request.method, request.url.path))
            if server.troubles:
                return error(server.troubles.pop(0), "not now")
            if request.headers.get("authorization") != f"Bearer {server.token}":
                return error(401, "Unauthenticated: Request header error: there is no user identity header")
            answer = handle(request)
            return answer if isinstance(answer, Response) else await answer  # type: ignore[no-any-return]

        return guard

    def route(path: str, method: str, handle: Any) -> Route:
        return Route(API + path, guarded(handle), methods=[method])

    return Starlette(
        routes=[
            route("/pipelines/upload", "POST", partial(server.uploaded, "pipelines")),
            route("/pipelines/upload_version", "POST", partial(server.uploaded, "pipeline_versions")),
            route("/pipelines/{pipeline}/versions", "GET", partial(server.listed, "pipeline_versions")),
            route("/runs/{run}:terminate", "POST", server.terminate),
            *(route(f"/{kind}", "GET", partial(server.listed, kind)) for kind in KEYS),
            *(route(f"/{kind}", "POST", partial(server.created, kind)) for kind in MODELS),
        ]
    )


@contextlib.contextmanager
def serving_pipelines(server: Pipelines) -> Iterator[Pipelines]:
    with on_a_port(app(server)) as server.url:
        yield server
