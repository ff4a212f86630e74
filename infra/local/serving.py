"""Serving on one machine, level-triggered: what each detector should serve is written down, then made so.

Every revision is a process of its own behind the router. A canary gets traffic only once it is ready; the
stable revision that serves now goes on until its successor is ready; a retired one finishes its requests
before it ends. Promoting a canary changes the router and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from homeostat.eventing.errors import Fault, Reject, shown

from .model_server import Condition, ModelServer, Phase
from .router import Router
from .sides import SERIES_HEADER, Backend, Route

log = logging.getLogger(__name__)

DRAIN_SECONDS = 30.0
# The names become process arguments, log files and metric labels.
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,126}[a-z0-9])?")
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS desired (detector TEXT PRIMARY KEY, document BLOB NOT NULL) WITHOUT ROWID"
)


@dataclass(frozen=True)
class Served:
    """A revision and the folder of its artifact, as a path or a file:// URI."""

    revision: str
    uri: str


@dataclass(frozen=True)
class Desired:
    """What a detector should serve; `percent` is the canary's share, `shadow` says that it gets copies alone,
    and `key` names the header by whose value requests stay on one side."""

    detector: str
    stable: Served | None
    canary: Served | None
    percent: int
    shadow: bool = False
    key: str = SERIES_HEADER.decode()

    @property
    def served(self) -> tuple[Served, ...]:
        return tuple(one for one in (self.stable, self.canary) if one)

    def faults(self) -> Iterator[Fault]:
        for field, name in (
            ("detector", self.detector),
            *(("revision", one.revision) for one in self.served),
        ):
            if not _NAME.fullmatch(name):
                yield Fault(field, shown(name), "use lower-case letters, digits, - and ., at most 128")
        if not 0 <= self.percent <= 100:
            yield Fault("percent", shown(self.percent), "lies between 0 and 100")
        if self.stable and self.canary and self.stable.revision == self.canary.revision:
            yield Fault("canary", shown(self.canary.revision), "is the stable revision itself; name another")

    @classmethod
    def load(cls, text: bytes) -> Desired:
        document = orjson.loads(text)
        sides = {side: Served(**document[side]) if document[side] else None for side in ("stable", "canary")}
        return cls(**{**document, **sides})


Key = tuple[str, str]
"""Detector and revision."""


class Serving:
    """The engine. All methods belong to the event loop that called `start`."""

    def __init__(self, state: Path, router: Router, *, log_dir: Path | None = None) -> None:
        self.router = router
        self._path = state / "serving.db"
        self._logs = log_dir or state / "logs"
        self._targets = state / "prometheus" / "model-servers.json"
        self._desired: dict[str, Desired] = {}
        self._servers: dict[Key, ModelServer] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self._db: sqlite3.Connection | None = None

    async def start(self) -> None:
        """Read what was desired before, and make it so."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(self._path, isolation_level=None, timeout=30)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute(_SCHEMA)
        for detector, document in self._db.execute("SELECT detector, document FROM desired").fetchall():
            self._desired[detector] = Desired.load(document)
            self._reconcile(detector)

    async def stop(self) -> None:
        """End every process. What is desired stays written down for the next start."""
        for detector in self._desired:
            self.router.route(detector, Route())
        servers, self._servers = list(self._servers.values()), {}
        await asyncio.gather(*(server.stop() for server in servers), *self._retiring)
        await self.router.close()
        if self._db:
            self._db.close()
            self._db = None

    async def desire(self, desired: Desired) -> None:
        """Write it down, then make it so in the background. Saying the same again changes nothing.

        Raises Reject for names and percentages that cannot be.
        """
        faults = list(desired.faults())
        if faults:
            raise Reject(faults)
        if self._db is None:
            raise RuntimeError("the serving engine has not been started")
        if self._desired.get(desired.detector) != desired:
            self._db.execute(
                "INSERT INTO desired VALUES (?, ?)"
                " ON CONFLICT (detector) DO UPDATE SET document = excluded.document",
                (desired.detector, orjson.dumps(asdict(desired))),
            )
            self._desired[desired.detector] = desired
        self._reconcile(desired.detector)

    def desired(self, detector: str) -> Desired | None:
        return self._desired.get(detector)

    def ready(self, detector: str, revision: str) -> bool:
        server = self._servers.get((detector, revision))
        return server is not None and server.ready

    def url(self, detector: str, revision: str) -> str | None:
        """Where the revision's model server listens, while it is ready."""
        server = self._servers.get((detector, revision))
        return server.url if server and server.ready else None

    def restarts(self, detector: str, revision: str) -> int:
        """How often the revision's server ended by itself, since the home started."""
        server = self._servers.get((detector, revision))
        return server.restarts if server else 0

    def refused(self, detector: str, revision: str) -> str:
        """Why the revision's artifact cannot be served; empty when it can, as far as is known."""
        server = self._servers.get((detector, revision))
        return server.condition.message if server and server.condition.phase is Phase.FAILED else ""

    def conditions(self) -> Mapping[Key, Condition]:
        return {key: server.condition for key, server in self._servers.items()}

    # --- make it so --------------------------------------------------------------------------------------
    def _reconcile(self, detector: str) -> None:
        """Look at the whole level and act on the difference. Never waits, so that it cannot interleave."""
        desired = self._desired[detector]
        for one in desired.served:
            self._ensure(detector, one)
        stable = self._stable(desired)
        canary = self._backend(detector, desired.canary.revision) if desired.canary else None
        self.router.route(detector, Route(stable, canary, desired.percent, desired.shadow, desired.key))
        kept = {one.revision for one in desired.served} | ({stable.revision} if stable else set())
        for key in [key for key in self._servers if key[0] == detector and key[1] not in kept]:
            self._retire(key)
        self._tell_prometheus()

    def _tell_prometheus(self) -> None:
        """The model servers' addresses, for Prometheus' `file_sd_configs`: they change with every start."""
        targets = [
            {"targets": [server.url.removeprefix("http://")], "labels": {"detector": detector}}
            for (detector, _), server in sorted(self._servers.items())
            if server.ready
        ]
        self._targets.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._targets.with_suffix(".new")
        fresh.write_bytes(orjson.dumps(targets))
        fresh.replace(self._targets)

    def _ensure(self, detector: str, served: Served) -> None:
        key = (detector, served.revision)
        server = self._servers.get(key)
        if server and server.uri != served.uri:
            # A revision is immutable; the same name with another artifact is a new process all the same.
            self._retire(key)
            server = None
        if server is None:
            log_file = self._logs / f"serving-{detector}-{served.revision}.log"
            server = ModelServer(
                detector, served.revision, served.uri, log_file, lambda: self._changed(detector, key)
            )
            self._servers[key] = server
            self.router.meters.add(detector, served.revision)
            server.start()

    def _changed(self, detector: str, key: Key) -> None:
        server = self._servers.get(key)
        if server:
            message = server.condition.message
            level = logging.ERROR if server.condition.phase is Phase.FAILED else logging.INFO
            log.log(level, "%s is %s %s", key[1], server.condition.phase, message)
            self._reconcile(detector)

    def _stable(self, desired: Desired) -> Backend | None:
        """The desired one once it is ready; until then the one that serves now, if it still can."""
        if desired.stable is None:
            return None
        now = self.router.routes().get(desired.detector, Route()).stable
        successor = self._backend(desired.detector, desired.stable.revision)
        return successor or (self._backend(desired.detector, now.revision) if now else None)

    def _backend(self, detector: str, revision: str) -> Backend | None:
        url = self.url(detector, revision)
        return Backend(revision, url) if url else None

    def _retire(self, key: Key) -> None:
        task = asyncio.create_task(self._drain(self._servers.pop(key)))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def _drain(self, server: ModelServer) -> None:
        key = (server.detector, server.revision)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await self.router.meters.idle(*key)
        await server.stop()
        if key not in self._servers:
            self.router.meters.remove(*key)
