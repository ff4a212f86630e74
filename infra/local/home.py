"""The one-machine home: broker, functions, training runs and serving in one supervised group of processes.

One ASGI process holds the broker's ingress, the light functions and the router. Beside it run the drift host
(alibi-detect weighs half a gigabyte), one KServe ModelServer per revision, and a child per training run. All
state lies under one directory, so a restart finds everything where a crash left it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from homeostat.eventing.broker import App, Broker, Destination
from homeostat.eventing.broker.kafka_client import secrets_in
from homeostat.eventing.broker.retention import Retention
from homeostat.eventing.doors import Tokens
from homeostat.functions import FUNCTIONS

from .. import logs, tracing
from ..serve import function_app
from ..served import Served
from ..shell import Host, finish_all
from .aliases import Aliases
from .arrivals import Arrivals
from .child import Child
from .doors import announce, child_environment, guarded, may_start, tls_options
from .executors import Machine, bound
from .manifest_files import manifest_files
from .observers import observers, stream_of
from .payload_log import PayloadLog
from .router import Router
from .runs import Runs
from .scraped import Scraped, tell
from .serving import Serving
from .settings import Settings
from .store import Store
from .tuning import Experiments

log = logging.getLogger(__name__)

APART = "detect-drift"
"""The function that runs in a process of its own."""


class StartError(Exception):
    """The home cannot start; the message says why and what mends it."""


class Home:
    """Everything that `homeostat up` runs. `serve()` returns after a signal, once all is drained. `token` is
    what its own children show at the broker's door."""

    def __init__(self, settings: Settings, tokens: Tokens, token: str) -> None:
        self.settings, self.tokens = settings, tokens
        environment = child_environment(settings, token)
        self.store = Store(settings.detectors_db)
        self.router = Router()
        self.serving = Serving(settings.state, self.router)
        self.drift_port = free_port()
        self.broker = Broker(
            settings.broker_db,
            manifest_files(settings),
            self._subscriber,
            schedules={"canary-tick": settings.tick},
            retention=Retention(timedelta(days=settings.retain_days), settings.retain_bytes),
            secret=secrets_in(settings.state / "secrets"),
        )
        self.arrivals = Arrivals(settings, self.store, self.broker.accept)
        # Namespaced as the broker is, so that KServe's events look alike in both homes.
        self.payloads = PayloadLog(
            self.broker.accept, rate=settings.sample, namespace="homeostat", registry=self.router.registry
        )
        self.router.payloads = self.payloads
        self.runs = Runs(
            settings.state,
            sink=settings.sink,
            tracking_uri=settings.tracking_uri,
            emit=self.broker.accept,
            max_parallel=settings.max_runs,
            environment=environment,
        )
        self.experiments = Experiments(
            settings.state,
            emit=self.broker.accept,
            max_parallel=settings.max_runs,
            environment=environment,
        )
        self.aliases = Aliases(settings.tracking_uri)
        self.stream = stream_of(self.serving)
        self.host = Host(
            detectors=self.store,
            emit=self.broker.accept,
            executors=bound(Machine(self.store, self.runs, self.serving, self.experiments, self.aliases)),
            observers=observers(
                settings, self.serving, self.stream, runs=self.runs, searches=self.experiments
            ),
        )
        self.served = Served()
        self.functions = {
            name: function_app(name, self.host, self.served) for name in FUNCTIONS if name != APART
        }
        self.drift_host = Child(
            APART,
            [sys.executable, "-m", "homeostat.infra.serve", APART, "--port", str(self.drift_port)],
            settings.logs / f"{APART}.log",
            {**environment, "OMP_NUM_THREADS": "1"},
        )
        counted = (self.broker, self.router, self.arrivals, self.served)
        self.scraped = Scraped(self.store, *(one.registry for one in counted))
        self.app = self._app()

    def _subscriber(self, destination: Destination) -> str | App:
        """Where a Trigger's subscriber lives on this machine: a mounted app, a URL, or a plain URI."""
        if destination.uri:
            return destination.uri
        if destination.name == APART:
            return f"http://127.0.0.1:{self.drift_port}/"
        if destination.name in self.functions:
            return self.functions[destination.name]
        raise StartError(
            f"a Trigger names the subscriber {destination}; functions here: {', '.join(sorted(FUNCTIONS))}"
        )

    def _app(self) -> Starlette:
        routes: list[BaseRoute] = [Route("/healthz", self._healthy), Route("/metrics", self.scraped.show)]
        routes += [Mount(f"/functions/{name}", app) for name, app in self.functions.items()]
        routes += [Mount("/serving", self.router), Mount("/gateway", self.arrivals.app)]
        routes += [Mount("/", self.broker.app)]
        return Starlette(routes=routes, lifespan=self._running)

    @contextlib.asynccontextmanager
    async def _running(self, _: Starlette) -> AsyncIterator[None]:
        await self.serving.start()
        await self.drift_host.start()
        # Its port is another each time.
        apart = {"targets": [f"127.0.0.1:{self.drift_port}"]}
        tell(self.settings.state / "prometheus" / "functions.json", [apart])
        await self.runs.start()
        await self.experiments.start()
        await self.broker.start()
        await finish_all(self.host)
        await self.payloads.start()
        self.arrivals.start()
        yield
        # What is on its way first, while everything that it needs still runs.
        await self.arrivals.stop()
        await self.payloads.stop()
        await self.experiments.stop()
        await self.broker.stop(self.settings.drain_seconds)
        await self.aliases.stop()
        await self.stream.close()
        await self.runs.stop()
        await self.drift_host.stop()
        await self.serving.stop()
        await self.router.close()
        self.store.close()

    async def _healthy(self, _: Request) -> Response:
        return JSONResponse({"status": "ok", "detectors": self.store.names()})

    async def serve(self) -> None:
        config = uvicorn.Config(
            guarded(self.app, self.settings, self.tokens),
            host=self.settings.host,
            port=self.settings.port,
            log_config=None,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=round(self.settings.drain_seconds),
            **tls_options(self.settings),
        )
        await _Server(config).serve()


class _Server(uvicorn.Server):
    """Ends in peace: uvicorn would raise the signal again once all is drained, and exit as if killed."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for one in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(one, self.handle_exit, one, None)
        yield


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def claimed(settings: Settings) -> Iterator[None]:
    """Hold the state directory and the port, or say who does. Raises StartError."""
    settings.state.mkdir(parents=True, exist_ok=True)
    with (settings.state / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = lock.read().strip() or "unknown"
            mend = "stop it, or give another --state"
            raise StartError(f"{settings.state} is in use by process {owner}: {mend}") from None
        _require_free(settings)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _require_free(settings: Settings) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            mend = "stop what listens there, or give another --port"
            raise StartError(f"port {settings.port} on {settings.host}: {error.strerror}: {mend}") from None


def run(settings: Settings) -> None:
    """Run the home in the foreground until SIGTERM or SIGINT.

    Raises StartError, and Reject for settings or manifests that cannot be run.
    """
    logs.start(os.environ, level="warning")
    tracing.start(os.environ)
    tokens = may_start(settings)
    with claimed(settings):
        token = tokens.admit("broker")
        announce(settings, token)
        asyncio.run(Home(settings, tokens, token).serve())
