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
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.cluster.pipelines_review import Reviewer
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

LISTED = ("pipelines", "experiments", "runs")
CREATED = ("experiments", "runs")
PARENTS = {"experiment_id": "experiments", "pipelineid": "pipelines", "pipeline": "pipelines", "run": "runs"}
"""Whose namespace is a call's: by the parameter that names it."""
STRANGER = "Unauthenticated: Request header error: there is no user identity header"


@dataclass
class Pipelines:
    """`troubles` are answered to the next requests instead; `lost` is how many of the next runs are created
    without their answer arriving. Names of pipelines and versions are refused twice. With a `reviewer` it has
    several users, and asks Kubernetes about each call; without one, `token` is the only one that opens it."""

    url: str = ""
    token: str = "t"
    stored: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {name: [] for name in KEYS})
    calls: list[tuple[str, str]] = field(default_factory=list)
    troubles: list[int] = field(default_factory=list)
    lost: int = 0
    reviewer: Reviewer | None = None

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
        more = {"pipeline_id": parent} if parent else {"namespace": request.query_params.get("namespace", "")}
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

    async def namespace(self, resource: str, request: Request) -> str:
        """Where what the call is about lies, as it says itself or its parent does."""
        body = await request.json() if resource in CREATED and await request.body() else {}
        named = {**request.path_params, **request.query_params, **body}
        for key, kind in PARENTS.items():
            for one in self.stored[kind]:
                if key in named and one[KEYS[kind]] == named[key]:
                    return str(one.get("namespace") or self._above(one))
        return str(named.get("namespace", ""))

    def _above(self, run: dict[str, Any]) -> str:
        experiment = run.get("experiment_id")
        above = [one for one in self.stored["experiments"] if one["experiment_id"] == experiment]
        return str(above[0].get("namespace", "")) if above else ""

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


async def denied(server: Pipelines, verb: str, resource: str, request: Request) -> Response | None:
    """The answer to who may not call; None for who may."""
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    if server.reviewer is None:
        return None if token == server.token else error(401, STRANGER)
    user = await run_in_threadpool(server.reviewer.user, token)
    if not user:
        return error(401, STRANGER)
    namespace = await server.namespace(resource, request)
    if not namespace and (verb, resource) == ("list", "pipelines"):
        return None  # those that all share
    if not namespace:
        return error(400, f"{resource} cannot have an empty namespace in multi-user mode")
    if await run_in_threadpool(server.reviewer.may, user, verb, resource, namespace):
        return None
    if "/upload" in request.url.path:  # its upload handler says no more
        return error(400, "Failed to create a pipeline")
    return error(403, f"PermissionDenied: User '{user}' is not authorized with reason:  ({verb} {resource})")


def app(server: Pipelines) -> Starlette:
    def guarded(verb: str, resource: str, handle: Any) -> Any:
        async def guard(request: Request) -> Response:
            server.calls.append((request.method, request.url.path))
            if server.troubles:
                return error(server.troubles.pop(0), "not now")
            no = await denied(server, verb, resource, request)
            if no:
                return no
            answer = handle(request)
            return answer if isinstance(answer, Response) else await answer

        return guard

    def route(path: str, verb: str, resource: str, handle: Any) -> Route:
        method = "GET" if verb == "list" else "POST"
        return Route(API + path, guarded(verb, resource, handle), methods=[method])

    versions = "pipeline_versions"
    return Starlette(
        routes=[
            route("/pipelines/upload", "create", "pipelines", partial(server.uploaded, "pipelines")),
            route("/pipelines/upload_version", "create", "pipelines", partial(server.uploaded, versions)),
            route("/pipelines/{pipeline}/versions", "list", "pipelines", partial(server.listed, versions)),
            route("/runs/{run}:terminate", "terminate", "runs", server.terminate),
            *(route(f"/{kind}", "list", kind, partial(server.listed, kind)) for kind in LISTED),
            *(route(f"/{kind}", "create", kind, partial(server.created, kind)) for kind in CREATED),
        ]
    )


@contextlib.contextmanager
def serving_pipelines(server: Pipelines) -> Iterator[Pipelines]:
    with on_a_port(app(server)) as server.url:
        yield server
