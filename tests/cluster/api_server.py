"""A Kubernetes API in this process: stores what is valid by the real schemas, keeps resourceVersions, and
asks RBAC who may. What it does not do: watch, server-side apply, admission webhooks, CEL, garbage collection.

    with serving(ApiServer()) as server:
        server.put(role, binding)
        token = server.token("homeostat", "roll-out")
"""

from __future__ import annotations

import contextlib
import copy
import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.cluster.answers import Refused, check, forbidden
from tests.cluster.kinds import Kind, by_kind, kinds
from tests.cluster.ports import on_a_port
from tests.cluster.rights import Account, Asked, allowed

ETCD_BYTES = 1_500_000
"""etcd takes requests of 1.5 MiB, and the API server adds its own."""

Key = tuple[str, str, str, str]
"""apiVersion, plural, namespace (empty for the cluster's), name."""


@dataclass(frozen=True)
class Call:
    """A request that came in, and how it was answered. `who` is a ServiceAccount's name, or `admin`."""

    who: str
    verb: str
    group: str
    resource: str
    name: str
    code: int


@dataclass
class ApiServer:
    """`troubles` are answered, first to last, instead of the requests that come next."""

    url: str = ""
    calls: list[Call] = field(default_factory=list)
    troubles: list[Refused] = field(default_factory=list)
    objects: dict[Key, dict[str, Any]] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)
    admin: str = field(default_factory=lambda: uuid.uuid4().hex)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _version: int = 0

    # --- for tests ---------------------------------------------------------------------------------------
    def token(self, namespace: str, name: str) -> str:
        """A bearer token of that ServiceAccount."""
        token = uuid.uuid4().hex
        self.accounts[token] = Account(namespace, name)
        return token

    def put(self, *documents: Mapping[str, Any]) -> None:
        """Store documents as an administrator would, status and all. Raises Refused for invalid ones."""
        for one in documents:
            kind = by_kind()[one["apiVersion"], one["kind"]]
            key = (kind.api_version, kind.plural, _namespace(kind, one), one["metadata"]["name"])
            check(one)
            with self._lock:
                self._store(key, copy.deepcopy(dict(one)), self.objects.get(key))

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """The first object of that kind and name, in whichever namespace and version."""
        with self._lock:
            found = [one for key, one in self.objects.items() if (one["kind"], key[3]) == (kind, name)]
        return copy.deepcopy(found[0]) if found else None

    def said(self, who: str) -> list[tuple[str, str, str, int]]:
        """Verb, resource, name and answer of all that an account called."""
        return [(one.verb, one.resource, one.name, one.code) for one in self.calls if one.who == who]

    # --- requests ----------------------------------------------------------------------------------------
    def answer(self, method: str, path: str, query: Mapping[str, str], token: str, body: bytes) -> Any:
        """Authenticate, authorise, do. Raises Refused."""
        kind, namespace, name, sub = _parse(path)
        verb = _verb(method, name)
        resource = f"{kind.plural}/{sub}" if sub else kind.plural
        account = self.accounts.get(token)
        who = account.name if account else "admin"
        code = 200
        try:
            with self._lock:
                if self.troubles:
                    raise self.troubles.pop(0)
                if account is None and token != self.admin:
                    raise Refused(401, "Unauthorized", "Unauthorized")
                asked = Asked(verb, kind.group, resource, namespace, name)
                if account and not allowed(account, asked, self.objects.values()):
                    raise forbidden(account, asked)
                return self._do(verb, (kind.api_version, kind.plural, namespace, name), sub, body)
        except Refused as refused:
            code = refused.code
            raise
        finally:
            self.calls.append(Call(who, verb, kind.group, resource, name, code))

    def _do(self, verb: str, key: Key, sub: str, body: bytes) -> Any:
        if verb == "list":
            found = [one for at, one in sorted(self.objects.items()) if at[:2] == key[:2]]
            items = [one for one in found if key[2] in ("", one["metadata"].get("namespace", ""))]
            kind = kinds()[key[:2]].kind
            meta = {"resourceVersion": str(self._version)}
            return {"apiVersion": key[0], "kind": f"{kind}List", "metadata": meta, "items": items}
        if len(body) > 2 * ETCD_BYTES:
            raise Refused(413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728")
        document = orjson.loads(body) if body else {}
        if verb == "create":
            return self._create(key, document)
        old = self.objects.get(key)
        if old is None:
            text = f'{key[1]}.{key[0].rpartition("/")[0]} "{key[3]}" not found'
            raise Refused(404, "NotFound", text, name=key[3], kind=key[1])
        if verb == "get":
            return old
        if verb == "delete":
            return self.objects.pop(key)
        new = _merged(old, document) if verb == "patch" else document
        asked_for = document.get("metadata", {}).get("resourceVersion")
        if asked_for not in (None, old["metadata"]["resourceVersion"]):
            text = (
                f'Operation cannot be fulfilled on {key[1]} "{key[3]}": the object has been modified;'
                " please apply your changes to the latest version and try again"
            )
            raise Refused(409, "Conflict", text, name=key[3], kind=key[1])
        check(new)
        if sub == "status":
            new = {**copy.deepcopy(old), "status": new.get("status", {})}
        elif kinds()[key[:2]].has_status:
            new = {**new, "status": old["status"]} if "status" in old else _without(new, "status")
        return self._store(key, new, old)

    def _create(self, key: Key, document: dict[str, Any]) -> dict[str, Any]:
        check(document)
        kind, name = kinds()[key[:2]], document["metadata"]["name"]
        key = (*key[:3], name)
        if key in self.objects:
            text = f'{key[1]}.{kind.group} "{name}" already exists'
            raise Refused(409, "AlreadyExists", text, name=name, kind=key[1])
        return self._store(key, _without(document, "status") if kind.has_status else document, None)

    def _store(self, key: Key, new: dict[str, Any], old: dict[str, Any] | None) -> dict[str, Any]:
        if len(orjson.dumps(new)) > ETCD_BYTES:
            raise Refused(500, "", "etcdserver: request is too large")
        self._version += 1
        before: dict[str, Any] = old["metadata"] if old else {}
        changed = old is None or _without(old, "status", "metadata") != _without(new, "status", "metadata")
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        new["metadata"] = {
            **new["metadata"],
            **({"namespace": key[2]} if key[2] else {}),
            "uid": before.get("uid", str(uuid.uuid4())),
            "creationTimestamp": before.get("creationTimestamp", now),
            "generation": before.get("generation", 0) + changed,
            "resourceVersion": str(self._version),
        }
        self.objects[key] = new
        return new


def _parse(path: str) -> tuple[Kind, str, str, str]:
    parts = path.strip("/").split("/")
    core = parts[0] == "api"
    version, rest = ("v1", parts[2:]) if core else ("/".join(parts[1:3]), parts[3:])
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces":
        namespace, rest = rest[1], rest[2:]
    kind = kinds().get((version, rest[0] if rest else ""))
    if kind is None:
        raise Refused(404, "NotFound", "the server could not find the requested resource")
    return kind, namespace, rest[1] if len(rest) > 1 else "", rest[2] if len(rest) > 2 else ""


def _verb(method: str, name: str) -> str:
    verbs = {"GET": "get" if name else "list", "POST": "create", "PUT": "update"}
    return verbs.get(method, method.lower())


def _namespace(kind: Kind, document: Mapping[str, Any]) -> str:
    return str(document["metadata"].get("namespace", "default")) if kind.namespaced else ""


def _without(document: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in names}


def _merged(old: Any, patch: Any) -> Any:
    """A JSON merge patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    kept = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            kept.pop(key, None)
        else:
            kept[key] = _merged(kept.get(key), value)
    return kept


@contextlib.contextmanager
def serving(server: ApiServer, tls: tuple[Path, Path] | None = None) -> Iterator[ApiServer]:
    """Serve it over HTTP, on a port of its own, until the block ends."""

    async def handle(request: Request) -> Response:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        arguments = (request.method, request.url.path, request.query_params, token, await request.body())
        try:
            found, code, headers = await run_in_threadpool(server.answer, *arguments), 200, {}
        except Refused as refused:
            found, code, headers = refused.status, refused.code, refused.headers
        return Response(orjson.dumps(found), code, headers, "application/json")

    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    with on_a_port(Starlette(routes=[Route("/{path:path}", handle, methods=methods)]), tls) as server.url:
        yield server
