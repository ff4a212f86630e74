"""`status`, `why`, `apply`, `emit` and `approve` on a cluster, by a kubeconfig: what they say is what they
say of one machine's home."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from homeostat.eventing import wire
from homeostat.eventing.wire import WireEvent
from homeostat.functions.detector import Status
from homeostat.infra.cluster import history
from homeostat.infra.cluster.broker_way import proxied
from tests.cluster.api_server import ApiServer
from tests.cluster.callers import Server, detector
from tests.cluster.complete import INGRESS, complete, find
from tests.cluster.kube_apiserver import KubeApiServer
from tests.cluster.ports import on_a_port
from tests.cluster.reaching import fronted, homeostat, kubeconfig, somebody
from tests.cluster.test_history import episode
from tests.functions.detectors import NOON, revision
from tests.infra.test_manifest import GOOD


@pytest.fixture
def config(cluster: Server, tmp_path: Path) -> Path:
    return kubeconfig(tmp_path / "kube", cluster, cluster.admin)


def serving(server: Server) -> None:
    """`pump` serves what its history leads to."""
    status = Status(serving=revision("r1"), message="drift was answered")
    kept = history.added({}, episode("r1"), NOON)
    server.put({**detector("pump"), "status": {**status.model_dump(mode="json"), "history": kept}})


def test_apply_creates_changes_and_leaves_alone(cluster: Server, config: Path, tmp_path: Path) -> None:
    file = tmp_path / "fan.yaml"

    def apply(**spec: Any) -> str:
        document = {**GOOD, "metadata": {"name": "fan"}, "spec": {**GOOD["spec"], **spec}}  # type: ignore[dict-item]
        file.write_text(yaml.safe_dump(document))
        result = homeostat(config, "apply", "-f", str(file), "--output", "json")
        assert result.exit_code == 0, result.output
        return str(json.loads(result.stdout)[0]["result"])

    assert [apply(), apply(), apply(mode="suggest")] == ["created", "unchanged", "changed"]
    stored = cluster.get("Detector", "fan")
    assert stored is not None
    assert stored["spec"]["mode"] == "suggest"


def test_status_says_what_it_says_on_one_machine(cluster: Server, config: Path, tmp_path: Path) -> None:
    serving(cluster)
    told = json.loads(homeostat(config, "status", "pump", "--output", "json").stdout)
    assert told["spec"]["canary"]["steps"] == [5, 25, 50], "defaults too"
    assert told["status"]["serving"]["name"] == "r1"
    assert told["status"]["new_rows"] == 0
    table = homeostat(config, "status").stdout
    assert "Serving" in table
    assert "answered" in table
    assert [
        one["metadata"]["name"] for one in json.loads(homeostat(config, "status", "-o", "json").stdout)
    ] == ["pump"]
    nothing = homeostat(config, "status", "--namespace", "elsewhere")
    assert (nothing.exit_code, "no detectors yet" in nothing.stdout) == (0, True)


def test_a_detector_that_was_never_touched_has_a_status(cluster: Server, config: Path) -> None:
    assert "Waiting" in homeostat(config, "status", "pump").stdout


def test_why_tells_the_chain_from_its_history(cluster: Server, config: Path) -> None:
    serving(cluster)
    lines = homeostat(config, "why", "pump").stdout.splitlines()
    assert lines[0].endswith("pump data.landed  s3://plant/r1.csv")
    assert lines[-1].strip().endswith("pump model.promoted  r1 serves")
    links = json.loads(homeostat(config, "why", "pump", "--output", "json").stdout)
    assert [one["type"].removeprefix("dev.homeostat.") for one in links][:2] == [
        "data.landed",
        "training.requested",
    ]


def test_without_a_reason_it_says_what_is_lacking(cluster: Server, config: Path) -> None:
    unserved = homeostat(config, "why", "pump")
    assert (unserved.exit_code, "nothing serves yet" in unserved.stderr) == (1, True)
    unknown = homeostat(config, "why", "fan")
    assert (unknown.exit_code, "known: pump" in unknown.stderr) == (1, True)
    serving(cluster)
    found = cluster.get("Detector", "pump")
    assert found is not None
    cluster.put({**found, "status": {**found["status"], "history": found["status"]["history"][2:]}})
    broken = homeostat(config, "why", "pump")
    assert (broken.exit_code, "does not hold" in broken.stderr) == (1, True)


def test_a_missing_right_is_named(cluster: Server, tmp_path: Path) -> None:
    listing = {"apiGroups": ["homeostat.dev"], "resources": ["detectors"], "verbs": ["list"]}
    config = kubeconfig(tmp_path, cluster, somebody(cluster, listing))
    assert homeostat(config, "status").exit_code == 0, "it may list Detectors"
    one = homeostat(config, "status", "pump")
    assert one.exit_code == 1
    assert "grant the verb get on detectors.homeostat.dev" in one.stderr


# --- emit ------------------------------------------------------------------------------------------------
REQUESTED = ("emit", "training.requested", "pump", "-d", '{"reason": "new sensor"}')


def broker(server: Server, url: str = INGRESS) -> None:
    ready = find(complete("dev"), "Broker", "default")
    server.put({**ready, "status": {**ready["status"], "address": {"url": url}}})


@pytest.fixture
def received() -> list[WireEvent]:
    return []


@pytest.fixture
def front(server: ApiServer, received: list[WireEvent]) -> Iterator[str]:
    """An API server that passes events on."""
    broker(server)
    server.put(find(complete("dev"), "Endpoints", "broker-ingress"))
    with fronted(server, received) as url:
        yield url


def test_an_event_goes_through_the_api_server(
    server: ApiServer, front: str, received: list[WireEvent], tmp_path: Path
) -> None:
    config = kubeconfig(tmp_path, server, server.admin, front)
    result = homeostat(config, *REQUESTED, "--output", "json")
    assert result.exit_code == 0, result.output
    (event,) = received
    assert event.attributes["id"] == json.loads(result.stdout)["id"]
    assert (event.attributes["type"], event.attributes["subject"]) == (
        "dev.homeostat.training.requested",
        "pump",
    )
    assert json.loads(event.data or b"") == {"reason": "new sensor"}


def test_without_the_right_to_the_proxy_there_is_another_way(
    server: ApiServer, front: str, tmp_path: Path
) -> None:
    config = kubeconfig(tmp_path, server, somebody(server), front)
    refused = homeostat(config, *REQUESTED)
    assert refused.exit_code == 1
    assert "ask for the right to get brokers.eventing.knative.dev in homeostat" in refused.stderr
    reading = {"apiGroups": ["eventing.knative.dev"], "resources": ["brokers"], "verbs": ["get"]}
    config = kubeconfig(tmp_path, server, somebody(server, reading), front)
    refused = homeostat(config, *REQUESTED)
    assert refused.exit_code == 1
    assert (
        "ask for the right to create services/proxy on broker-ingress in knative-eventing" in refused.stderr
    )
    assert "--sink" in refused.stderr


def test_a_broker_that_cannot_take_events_is_told_with_its_mend(
    server: ApiServer, front: str, tmp_path: Path
) -> None:
    config = kubeconfig(tmp_path, server, server.admin, front)
    server.remove("Endpoints", "broker-ingress")
    unready = homeostat(config, *REQUESTED)
    assert (unready.exit_code, "kubectl get services,endpointslices" in unready.stderr) == (1, True)
    broker(server, "https://events.example.com/")
    outside = homeostat(config, *REQUESTED)
    assert (outside.exit_code, "--sink" in outside.stderr) == (1, True)
    server.remove("Broker", "default")
    gone = homeostat(config, *REQUESTED)
    assert (gone.exit_code, "homeostat cluster render" in gone.stderr) == (1, True)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        (INGRESS, "knative-eventing/services/http:broker-ingress:80/proxy/homeostat/default"),
        ("http://a.b.svc:8080/x", "b/services/http:a:8080/proxy/x"),
        ("https://a.b.svc.cluster.local/x/y", "b/services/https:a:443/proxy/x/y"),
    ],
)
def test_an_address_of_the_cluster_is_a_path_of_its_api_server(url: str, path: str) -> None:
    assert proxied(url) == f"/api/v1/namespaces/{path}"


def receiver(events: list[WireEvent]) -> Starlette:
    async def take(request: Request) -> Response:
        if request.headers.get("authorization") == "Bearer wrong":
            return Response(status_code=401)
        if request.url.path != "/homeostat/default":
            return PlainTextResponse("no such broker", 404)
        events.append(wire.decode(request.headers.items(), await request.body()))
        return Response(status_code=202)

    return Starlette(routes=[Route("/{path:path}", take, methods=["POST"])])


def test_a_sink_is_posted_to_as_it_is(received: list[WireEvent], monkeypatch: pytest.MonkeyPatch) -> None:
    with on_a_port(receiver(received)) as url:
        done = homeostat(None, *REQUESTED, "--sink", f"{url}/homeostat/default")
        assert (done.exit_code, len(received)) == (0, 1)
        lost = homeostat(None, *REQUESTED, "--sink", f"{url}/elsewhere")
        assert (lost.exit_code, "404: no such broker" in lost.stderr) == (1, True)
        monkeypatch.setenv("HOMEOSTAT_TOKEN", "wrong")
        shut = homeostat(None, *REQUESTED, "--sink", f"{url}/homeostat/default")
        assert (shut.exit_code, "set HOMEOSTAT_TOKEN" in shut.stderr) == (1, True)
    away = homeostat(None, *REQUESTED, "--sink", f"{url}/homeostat/default")
    assert (away.exit_code, "does not answer" in away.stderr) == (1, True)


def test_what_is_held_is_approved(
    server: ApiServer, front: str, received: list[WireEvent], tmp_path: Path
) -> None:
    config = kubeconfig(tmp_path, server, server.admin, front)
    cause = {"id": "c", "correlationid": "c"}
    held = {"id": "h1", "function": "roll-out", "commands": ["Promote"], "type": "t", "data": {}}
    status = {**Status().model_dump(mode="json"), "held": [{**held, "cause": cause}]}
    server.put({**detector("pump"), "status": status})
    assert homeostat(config, "approve", "pump").stdout == "h1  Promote\n"
    assert homeostat(config, "approve", "pump", "h2").exit_code == 3
    assert homeostat(config, "approve", "pump", "h1", "--by", "ada").exit_code == 0
    (event,) = received
    assert (event.attributes["type"], event.attributes["causationid"]) == (
        "dev.homeostat.approval.given",
        "h1",
    )
    assert json.loads(event.data or b"") == {"approves": "h1", "by": "ada"}


def address() -> str:
    """One of this machine's that is not its own alone: an API server passes nothing on to a loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def test_a_real_api_server_passes_the_event_on(
    real: KubeApiServer, received: list[WireEvent], tmp_path: Path
) -> None:
    here = address()
    if here.startswith("127."):
        pytest.skip("this machine has no address but its own loopback")
    with on_a_port(receiver(received), host="0.0.0.0") as url:
        real.put(*behind_a_service(here, int(url.rpartition(":")[2])))
        broker(real)
        done = homeostat(kubeconfig(tmp_path, real, real.admin), *REQUESTED)
    assert done.exit_code == 0, done.output
    assert [one.attributes["type"] for one in received] == ["dev.homeostat.training.requested"]


def behind_a_service(address: str, port: int) -> list[dict[str, Any]]:
    """What controllers make of a Service and its pod. An API server passes nothing on but to a pod that it
    knows by this address."""
    place = {"name": "broker-ingress", "namespace": "knative-eventing"}
    end = {"ip": address, "targetRef": {"kind": "Pod", **place}}
    named = {"name": "http", "port": port}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": place["namespace"]}},
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": place,
            "spec": {"containers": [{"name": "ingress", "image": "ingress"}]},
            "status": {"podIP": address, "podIPs": [{"ip": address}]},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": place,
            "spec": {"ports": [{"name": "http", "port": 80, "targetPort": port}]},
        },
        {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": place,
            "subsets": [{"addresses": [end], "ports": [named]}],
        },
    ]
