"""The cluster home, whole but for the clusters' own parts: the functions' real apps under their own tokens,
an API server with RBAC, and whoever else works in a cluster played as it does there. Knative Eventing is the
embedded broker running eventing/triggers.yaml; Kubeflow Pipelines, KServe, Katib and Prometheus are tests'.
"""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp

from homeostat.eventing.broker import Broker, Destination
from homeostat.eventing.broker.log import EventLog
from homeostat.eventing.wire import WireEvent, encode
from homeostat.functions import FUNCTIONS
from homeostat.functions.detect_drift import DriftFacts
from homeostat.functions.score_stream import StreamFacts
from homeostat.functions.take_label import QualityFacts
from homeostat.infra.cluster import kfp_runs
from homeostat.infra.cluster.host import function_host, served
from homeostat.infra.cluster.kustomized import Object
from homeostat.infra.cluster.settings import Settings, read
from homeostat.infra.observing import drift_model
from homeostat.infra.serve import GATEWAY, function_app
from homeostat.infra.shell import Host
from tests.cluster.callers import NAMESPACE, Server
from tests.cluster.kserve_controller import Controller
from tests.cluster.kube_apiserver_process import free_port
from tests.cluster.pipelines_review import AUDIENCE, Reviewer
from tests.cluster.pipelines_server import Pipelines, serving_pipelines
from tests.cluster.ports import on_a_port
from tests.cluster.prometheus_answers import Prometheus, serving_figures
from tests.cluster.rendered import of, overlay, services
from tests.cluster.sending import apply, said_yes

NEEDED = ("ServiceAccount", "Role", "RoleBinding", "PodTemplate", "ConfigMap")
"""What the functions are, and what they read, of an overlay."""


@dataclass
class Clock:
    """Time passes with each look, if little."""

    now: datetime = datetime(2026, 11, 24, 13, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.later(milliseconds=1)
        return self.now

    def later(self, **by: float) -> None:
        self.now += timedelta(**by)


@dataclass
class Town:
    """`tokens` are asked for with each call, as a pod's file is read; `eyes` are what detect-drift and
    score-stream see, which is models' and tested with them."""

    server: Server
    folder: Path
    settings: Settings
    pipelines: Pipelines
    prometheus: Prometheus
    tokens: dict[str, str]
    functions: Sequence[str]
    clock: Clock = field(default_factory=Clock)
    eyes: dict[type[Any], Any] = field(default_factory=dict)
    hosts: dict[str, Host] = field(default_factory=dict)
    apps: dict[str, ASGIApp] = field(default_factory=dict)
    serving: Controller = field(default_factory=Controller)
    gateway: str = ""
    clients: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def http(self, function: str) -> httpx.Client:
        return self.clients.enter_context(self.server.http(lambda: self.tokens[function]))

    def admin(self) -> httpx.Client:
        return self.server.http(self.server.admin)

    def build(self) -> None:
        """Each function's host and app, as its pod would."""
        for name in self.functions:
            host = function_host(name, self.settings, self.http(name))
            seen = {kind: self._eye(kind) for kind in (DriftFacts, QualityFacts, StreamFacts)}
            self.hosts[name] = replace(host, clock=self.clock, observers={**host.observers, **seen})
            self.apps[name] = function_app(name, self.hosts[name])

    def _eye(self, kind: type[Any]) -> Callable[..., Any]:
        async def look(*_: Any) -> Any:
            return self.eyes.get(kind)

        return look

    def subscriber(self, destination: Destination) -> ASGIApp:
        return self.apps[destination.name]

    # --- what comes in ------------------------------------------------------------------------------------
    def post(self, event: WireEvent) -> None:
        headers, body = encode(event)
        answer = httpx.post(self.settings.sink, headers=headers, content=body)
        assert answer.status_code == 202, answer.text

    def apply(self, document: Mapping[str, Any]) -> None:
        with self.admin() as http:
            apply(http, document)

    # --- what there is ------------------------------------------------------------------------------------
    def events(self) -> list[WireEvent]:
        log = EventLog(self.folder / "broker.db")
        try:
            return [one.event for one in log.events(limit=5000)]
        finally:
            log.close()

    def types(self) -> list[str]:
        return [one.attributes["type"].removeprefix("dev.homeostat.") for one in self.events()]

    def status(self, name: str = "pump") -> dict[str, Any]:
        return dict((self.server.get("Detector", name) or {}).get("status", {}))

    def condition(self, kind: str) -> tuple[str, str]:
        """Status and reason; empty while nothing is said of it."""
        found = [one for one in self.status().get("conditions", ()) if one["type"] == kind]
        return (found[0]["status"], found[0]["reason"]) if found else ("", "")

    def until(self, so: Callable[[], object], seconds: float = 30) -> None:
        """While KServe's controller works, until it is so."""
        give_up = time.monotonic() + seconds
        while not so():
            assert time.monotonic() < give_up, (self.status(), self.types())
            self.look()
            time.sleep(0.02)

    def look(self) -> None:
        """KServe's controller looks once, and writes what it sees."""
        service = self.server.get("InferenceService", "pump")
        if service:
            seen = self.serving.look(service)
            if seen.get("status") != service.get("status"):
                self.server.put(seen)


def _settings(name: str, sink: str, folder: Path, pipelines: str, prometheus: str, mode: str) -> Settings:
    """What a pod of that overlay is told, with the addresses of this machine."""
    told = dict(of(overlay(name), "ConfigMap")["homeostat"]["data"])
    told |= {
        "K_SINK": sink,
        "HOMEOSTAT_OBJECTS_URL": folder.as_uri(),
        "HOMEOSTAT_PROMETHEUS_URL": prometheus,
        "HOMEOSTAT_SERVING_MODE": mode,
        "HOMEOSTAT_PIPELINES_NAMESPACE": NAMESPACE,
        "HOMEOSTAT_OPEN_DOORS": "true",
    }
    if told.get("HOMEOSTAT_PIPELINES_URL"):
        told["HOMEOSTAT_PIPELINES_URL"] = pipelines
    return read(told)


def _manifests(folder: Path, objects: list[Object]) -> Path:
    """The overlay's Broker and Triggers. Knative waits for as long as a function asks; a test has no time."""
    broker = copy.deepcopy(of(objects, "Broker")["default"])
    del broker["spec"]["delivery"]["retryAfterMax"]
    broker["spec"]["delivery"]["backoffDelay"] = "PT0.05S"
    file = folder / "eventing.yaml"
    file.write_text(yaml.safe_dump_all([broker, *of(objects, "Trigger").values()]))
    return file


@contextlib.contextmanager
def town(
    server: Server,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    mode: str = "knative",
    name: str = "dev",
) -> Iterator[Town]:
    """`name` is the overlay whose rights and settings there are."""
    monkeypatch.setattr(drift_model, "load_backend", lambda: None)  # 5-11 s, for a test that is not run here
    objects = overlay(name)
    server.put(*(one for one in objects if one["kind"] in NEEDED))
    functions = [one for one in services(objects) if one in FUNCTIONS]
    port = free_port()
    sink = f"http://127.0.0.1:{port}/{NAMESPACE}/default"
    with contextlib.ExitStack() as open_:
        kubernetes = open_.enter_context(server.http(server.admin))
        pipelines = open_.enter_context(serving_pipelines(Pipelines(reviewer=Reviewer(kubernetes))))
        prometheus = open_.enter_context(serving_figures(Prometheus()))
        token = folder / "pipelines-token"
        token.write_text(_token_for_pipelines(kubernetes))
        monkeypatch.setattr(kfp_runs, "TOKEN", token)
        settings = _settings(name, sink, folder, pipelines.url, prometheus.url, mode)
        tokens = {one: server.token(NAMESPACE, one) for one in (*functions, GATEWAY)}
        found = Town(server, folder, settings, pipelines, prometheus, tokens, functions)
        open_.enter_context(found.clients)
        found.build()
        open_.enter_context(on_a_port(_eventing(found, objects), port=port))
        doors: Any = served(GATEWAY, settings, found.http(GATEWAY))
        found.gateway = open_.enter_context(on_a_port(doors))
        server.forget()
        yield found


def _eventing(found: Town, objects: list[Object]) -> Starlette:
    broker = Broker(found.folder / "broker.db", [_manifests(found.folder, objects)], found.subscriber)

    @contextlib.asynccontextmanager
    async def running(_: Starlette) -> Any:
        await broker.start()
        yield
        await broker.stop(2)

    return Starlette(routes=[Mount("/", broker.app)], lifespan=running)


def _token_for_pipelines(kubernetes: httpx.Client) -> str:
    """What the kubelet projects into plan-retraining's pods."""
    spec = {"audiences": [AUDIENCE], "expirationSeconds": 7200}
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/plan-retraining/token"
    return str(said_yes(kubernetes.post(path, json=asked))["status"]["token"])
