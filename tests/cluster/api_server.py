"""A Kubernetes API in this process: stores what is valid by the real schemas, keeps resourceVersions, asks
RBAC who may, and issues tokens. What it does not do: watch, admission webhooks, CEL, garbage collection, and
server-side apply but for a simple join (`applied.py`). `kube_apiserver.py` has the same over a real one.

    with serving(ApiServer()) as server:
        server.put(role, binding)
        token = server.token("homeostat", "roll-out")
"""

from __future__ import annotations

import contextlib
import copy
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from homeostat.infra.cluster.access import Bearer
from homeostat.infra.cluster.errors import SECONDS
from tests.cluster.answers import Key, Refused, check, exists, forbidden, missing, modified
from tests.cluster.applied import ETCD_BYTES, applied, joining, read, same, stamped, without
from tests.cluster.asked import Call, namespace_of, parse, verb_of
from tests.cluster.kinds import by_kind, kinds
from tests.cluster.ports import on_a_port
from tests.cluster.reviews import REVIEWS, issue, known
from tests.cluster.rights import Account, Asked, allowed


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
    _door: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    # --- for tests ---------------------------------------------------------------------------------------
    def http(self, token: str | Callable[[], str]) -> httpx.Client:
        """A client that calls with that token, or with what is the token at that moment."""
        auth = Bearer(token if callable(token) else lambda: token)
        # Where there is no TLS, nobody's authorities have to be read.
        return httpx.Client(base_url=self.url, auth=auth, timeout=SECONDS, verify=self.url[:5] == "https")

    def token(self, namespace: str, name: str) -> str:
        """A bearer token of that ServiceAccount. One that is there takes its tokens with it when it goes."""
        found = self.get("ServiceAccount", name) or {"metadata": {}}
        account = Account(namespace, name, found["metadata"].get("uid", ""))
        self.accounts[token := uuid.uuid4().hex] = account
        return token

    def put(self, *documents: Mapping[str, Any]) -> None:
        """Store documents as an administrator would, status and all. Raises Refused for invalid ones."""
        for one in documents:
            kind = by_kind()[one["apiVersion"], one["kind"]]
            key = (kind.api_version, kind.plural, namespace_of(kind, one), one["metadata"]["name"])
            check(one)
            with self._lock:
                self._store(key, copy.deepcopy(dict(one)), self.objects.get(key))

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """The first object of that kind and name, in whichever namespace and version."""
        with self._lock:
            found = [one for key, one in self.objects.items() if (one["kind"], key[3]) == (kind, name)]
        return copy.deepcopy(found[0]) if found else None

    def remove(self, kind: str, name: str) -> None:
        """Delete every object of that kind and name."""
        with self._lock:
            gone = [key for key, one in self.objects.items() if (one["kind"], key[3]) == (kind, name)]
            for key in gone:
                del self.objects[key]

    def forget(self) -> None:
        """Of the calls so far."""
        self.calls.clear()

    def said(self, who: str) -> list[tuple[str, str, str, int]]:
        """Verb, resource, name and answer of all that an account called."""
        return [(one.verb, one.resource, one.name, one.code) for one in self.calls if one.who == who]

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Stopped, and started again at the same address."""
        self._door.close()
        yield
        self._door.enter_context(on_a_port(app(self), port=int(self.url.rpartition(":")[2])))

    # --- requests ----------------------------------------------------------------------------------------
    def answer(
        self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes
    ) -> Any:
        """Authenticate, authorise, do. Raises Refused."""
        kind, namespace, name, sub = parse(path)
        verb = verb_of(method, name)
        resource = f"{kind.plural}/{sub}" if sub else kind.plural
        key = (kind.api_version, kind.plural, namespace, name)
        token = headers.get("authorization", "").removeprefix("Bearer ")
        who, code = "", 200
        try:
            with self._lock:
                if self.troubles:
                    raise self.troubles.pop(0)
                account = None if token == self.admin else known(self.accounts, token, self._all())
                if account is None and token != self.admin:
                    raise Refused(401, "Unauthorized", "Unauthorized")
                who = account.name if account else "admin"
                self._may(account, Asked(verb, kind.group, resource, namespace, name))
                document = read(body, headers.get("content-type", ""))
                if kind.plural in REVIEWS:
                    status = REVIEWS[kind.plural](document["spec"], self.accounts, self._all(), account)
                    return {**document, "status": status}
                return self._do(verb, key, sub, document, {**query, "type": headers.get("content-type", "")})
        except Refused as refused:
            code = refused.code
            raise
        finally:
            self.calls.append(Call(who, verb, kind.group, resource, name, code))

    def _all(self) -> list[dict[str, Any]]:
        return list(self.objects.values())

    def _may(self, account: Account | None, asked: Asked) -> None:
        """Anybody who is known may ask what he may."""
        if (
            account
            and asked.resource != "selfsubjectaccessreviews"
            and not allowed(account, asked, self._all())
        ):
            raise forbidden(account, asked)

    def _do(self, verb: str, key: Key, sub: str, document: dict[str, Any], query: Mapping[str, str]) -> Any:
        if verb == "list":
            return self._list(key)
        old = self.objects.get(key)
        if sub == "token" and old:
            return issue(self.accounts, old, document)
        dry = query.get("dryRun") == "All"
        if verb == "create":
            return self._create(key, document, dry)
        if verb == "patch":
            join = joining(query)
            if old is None and join is applied:
                return self._create(key, document, dry)
            document = join(old, document) if old else document
        if old is None:
            raise missing(key)
        if verb == "get":
            return old
        if verb == "delete":
            return self.objects.pop(key)
        return self._replace(key, sub, document, old, dry)

    def _list(self, key: Key) -> dict[str, Any]:
        found = [one for at, one in sorted(self.objects.items()) if at[:2] == key[:2]]
        items = [one for one in found if key[2] in ("", one["metadata"].get("namespace", ""))]
        kind = kinds()[key[:2]].kind
        meta = {"resourceVersion": str(self._version)}
        return {"apiVersion": key[0], "kind": f"{kind}List", "metadata": meta, "items": items}

    def _replace(
        self, key: Key, sub: str, new: dict[str, Any], old: dict[str, Any], dry: bool
    ) -> dict[str, Any]:
        version = old["metadata"]["resourceVersion"]
        if new.get("metadata", {}).get("resourceVersion", version) != version:
            raise modified(key)
        check(new)
        if sub == "status":
            new = {**copy.deepcopy(old), "status": new.get("status", {})}
        elif kinds()[key[:2]].has_status:
            new = {**new, "status": old["status"]} if "status" in old else without(new, "status")
        return self._store(key, new, old, dry)

    def _create(self, key: Key, document: dict[str, Any], dry: bool) -> dict[str, Any]:
        check(document)
        key = (*key[:3], document["metadata"]["name"])
        if key in self.objects:
            raise exists(key)
        return self._store(
            key, without(document, "status") if kinds()[key[:2]].has_status else document, None, dry
        )

    def _store(
        self, key: Key, new: dict[str, Any], old: dict[str, Any] | None, dry: bool = False
    ) -> dict[str, Any]:
        if len(orjson.dumps(new)) > ETCD_BYTES:
            raise Refused(500, "", "etcdserver: request is too large")
        if old and same(old, new):
            return old
        version = self._version if dry else self._version + 1
        new["metadata"] = stamped(new, old, key[2], version)
        if not dry:
            self._version, self.objects[key] = version, new
        return new


def app(server: ApiServer) -> Starlette:
    async def handle(request: Request) -> Response:
        arguments = (
            request.method,
            request.url.path,
            request.query_params,
            request.headers,
            await request.body(),
        )
        try:
            found, code, headers = await run_in_threadpool(server.answer, *arguments), 200, {}
        except Refused as refused:
            found, code, headers = refused.status, refused.code, refused.headers
        return Response(orjson.dumps(found), code, headers, "application/json")

    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    return Starlette(routes=[Route("/{path:path}", handle, methods=methods)])


@contextlib.contextmanager
def serving(server: ApiServer, tls: tuple[Path, Path] | None = None) -> Iterator[ApiServer]:
    """Serve it over HTTP, on a port of its own, until the block ends."""
    with server._door as door:
        server.url = door.enter_context(on_a_port(app(server), tls))
        yield server
