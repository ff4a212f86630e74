"""A cluster as a person reaches it: a kubeconfig, and the command line that reads it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from typer.testing import CliRunner, Result

from homeostat.eventing import wire
from homeostat.eventing.wire import WireEvent
from homeostat.infra.cli import cli
from tests.cluster.answers import forbidden
from tests.cluster.api_server import ApiServer, app
from tests.cluster.callers import NAMESPACE, Server
from tests.cluster.ports import on_a_port
from tests.cluster.rights import Asked, allowed

CONTEXT = "plant"


def kubeconfig(folder: Path, server: Server, token: str, url: str = "") -> Path:
    """A file with one context, `plant`."""
    cluster: dict[str, Any] = {"server": url or server.url}
    if not isinstance(server, ApiServer):
        cluster["certificate-authority"] = str(server.authority)
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "there", "cluster": cluster}],
        "users": [{"name": "me", "user": {"token": token}}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": "there", "user": "me"}}],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config").write_text(yaml.safe_dump(config))
    return folder / "config"


def somebody(server: Server, *rules: Mapping[str, Any]) -> str:
    """The token of one who may do that in our namespace, and nothing else."""
    group, named = "rbac.authorization.k8s.io", {"name": "somebody", "namespace": NAMESPACE}
    head = {"apiVersion": f"{group}/v1", "metadata": named}
    whose = {
        "roleRef": {"apiGroup": group, "kind": "Role", "name": "somebody"},
        "subjects": [{"kind": "ServiceAccount", **named}],
    }
    server.put({**head, "kind": "Role", "rules": list(rules)}, {**head, "kind": "RoleBinding", **whose})
    return server.token(NAMESPACE, "somebody")


def homeostat(config: Path | None, *arguments: str) -> Result:
    """The verb, on the cluster of that kubeconfig."""
    environment = {"KUBECONFIG": str(config), "HOMEOSTAT_CONTEXT": CONTEXT} if config else {}
    return CliRunner().invoke(cli, list(arguments), env=environment)


def findings(result: Result) -> dict[str, dict[str, Any]]:
    return {one["what"]: one for one in json.loads(result.stdout)}


@contextlib.contextmanager
def fronted(server: ApiServer, received: list[WireEvent]) -> Iterator[str]:
    """What the API server in this process does not do: say its version, and pass requests on to the broker's
    ingress, for whoever may."""

    async def version(_: Request) -> Response:
        return JSONResponse({"gitVersion": "v1.34.2"})

    async def proxy(request: Request) -> Response:
        place, service = request.path_params["namespace"], request.path_params["service"].split(":")[1]
        account = server.accounts.get(request.headers.get("authorization", "").removeprefix("Bearer "))
        asked = Asked("create", "", "services/proxy", place, service)
        if account and not allowed(account, asked, server.objects.values()):
            return JSONResponse(forbidden(account, asked).status, 403)
        if server.get("Endpoints", service) is None:
            return JSONResponse({"kind": "Status", "message": f"no endpoints available for {service!r}"}, 503)
        received.append(wire.decode(request.headers.items(), await request.body()))
        return Response(status_code=202)

    way = "/api/v1/namespaces/{namespace}/services/{service}/proxy/{path:path}"
    routes = [Route("/version", version), Route(way, proxy, methods=["POST"]), Mount("/", app(server))]
    with on_a_port(Starlette(routes=routes)) as url:
        yield url
