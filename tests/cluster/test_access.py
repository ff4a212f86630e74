"""The way to an API server, from a pod and by a kubeconfig; and that we ask what Kubernetes' client asks."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from kubernetes import client

from homeostat.eventing.errors import Retry
from homeostat.infra.cluster.access import from_context, from_pod
from homeostat.infra.cluster.client import DETECTORS, Objects
from tests.cluster.api_server import ApiServer, serving
from tests.cluster.callers import NAMESPACE, PATIENCE, detector, objects
from tests.eventing.doors.certificates import certificate


@pytest.fixture
def server(shared: Path) -> Iterator[ApiServer]:
    with serving(ApiServer()) as running:
        running.put(detector("pump"))
        yield running


def found(http: httpx.Client) -> bool:
    return Objects(http, NAMESPACE, PATIENCE).get(DETECTORS, "pump") is not None


def pod(folder: Path, monkeypatch: pytest.MonkeyPatch, server: ApiServer, ca: Path) -> httpx.Client:
    """What a pod finds: two variables, a token and the certificates that it trusts."""
    folder.mkdir()
    (folder / "token").write_text(server.admin + "\n")
    shutil.copy(ca, folder / "ca.crt")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", server.url.rpartition(":")[2])
    return from_pod(folder)


def test_a_pod_trusts_its_cluster_and_follows_its_token(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = certificate(tmp_path / "tls")
    with serving(ApiServer(), files) as server:
        server.put(detector("pump"))
        with pod(tmp_path / "pod", monkeypatch, server, files[0]) as http:
            assert found(http)
            server.admin = "renewed"
            with pytest.raises(Retry, match="renewed by the kubelet"):
                found(http)
            (tmp_path / "pod" / "token").write_text("renewed")
            assert found(http)


def test_a_server_that_only_looks_like_the_cluster_gets_no_token(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(ApiServer(), certificate(tmp_path / "theirs")) as server:
        http = pod(tmp_path / "pod", monkeypatch, server, certificate(tmp_path / "ours")[0])
        with pytest.raises(Retry, match="no answer"):
            found(http)
        assert server.calls == []


def test_outside_a_pod_it_is_said_that_a_context_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(RuntimeError, match="name a context"):
        from_pod(tmp_path)


def test_a_kubeconfigs_context_is_taken_by_its_name(server: ApiServer, tmp_path: Path) -> None:
    def named(**inner: Any) -> list[dict[str, Any]]:
        (kind,) = inner
        return [{"name": "there", kind: inner[kind]}]

    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": named(cluster={"server": server.url}),
        "users": named(user={"token": server.admin}),
        "contexts": named(context={"cluster": "there", "user": "there"}),
    }
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump(config))
    assert found(from_context("there", str(file)))


@pytest.mark.parametrize("name", ["..", ".", "a/b", "pump/status", "%2e%2e", "Pump", "", "a" * 254, "pump\n"])
def test_a_name_from_an_event_leads_nowhere_else(server: ApiServer, name: str) -> None:
    server.calls.clear()
    assert objects(server, None).get(DETECTORS, name) is None
    assert server.calls == []


def test_every_request_is_one_that_kubernetes_own_client_sends(server: ApiServer) -> None:
    """The API server of the tests was written by us; their client was not."""
    ours = objects(server, None)
    document = ours.get(DETECTORS, "pump")
    assert document is not None
    changed = {**document, "status": {"message": "hello"}}
    server.calls.clear()
    ours.list(DETECTORS)
    ours.replace(DETECTORS, "pump", changed, "status")
    ours.patch(DETECTORS, "pump", {"metadata": {"labels": {"a": "b"}}})
    ours.create(DETECTORS, detector("fan"))
    mine = list(server.calls)

    configuration = client.Configuration(host=server.url)
    configuration.api_key = {"authorization": f"Bearer {server.admin}"}
    theirs = client.CustomObjectsApi(client.ApiClient(configuration))
    path = (DETECTORS.group, DETECTORS.version, NAMESPACE, DETECTORS.plural)
    document = theirs.get_namespaced_custom_object(*path, "pump")
    assert document["status"] == {"message": "hello"}
    server.calls.clear()
    theirs.list_namespaced_custom_object(*path)
    theirs.replace_namespaced_custom_object_status(*path, "pump", document)
    theirs.patch_namespaced_custom_object(*path, "pump", {"metadata": {"labels": {"a": "c"}}})
    theirs.create_namespaced_custom_object(*path, detector("fan-2"))
    assert [(one.verb, one.resource, one.group, one.code) for one in mine] == [
        (one.verb, one.resource, one.group, one.code) for one in server.calls
    ]
