"""`homeostat cluster check` and `diff` against an API server, by a kubeconfig."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from homeostat.infra.cluster.diff import changes
from homeostat.infra.cluster.kinds import CRD, SECRET, Kind
from homeostat.infra.cluster.kustomized import Object
from homeostat.infra.cluster.remote import METADATA, Api
from homeostat.infra.cluster.render import NAMES, rendered
from tests.cluster.api_server import ApiServer
from tests.cluster.callers import NAMESPACE, Server
from tests.cluster.complete import IMAGES, complete, find, without
from tests.cluster.kinds import by_kind
from tests.cluster.kube_apiserver import KubeApiServer
from tests.cluster.reaching import findings, fronted, homeostat, kubeconfig, somebody

READ_ALL = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list"]}


def installed(server: Server, overlay: str = "dev") -> list[Object]:
    """A complete cluster. A real server has its CRDs already, whole."""
    objects = complete(overlay)
    if isinstance(server, KubeApiServer):
        objects = list(without(objects, "CustomResourceDefinition"))
    server.put(*objects)
    return objects


@pytest.fixture(autouse=True)
def clean(request: pytest.FixtureRequest) -> Iterator[None]:
    """A real server is everybody's: what was installed there goes."""
    yield
    server = request.node.funcargs.get("cluster") or request.node.funcargs.get("real")
    if isinstance(server, KubeApiServer):
        for kind in {Kind.of(one) for one in complete("dev")} - {Kind("v1", "Namespace"), CRD}:
            with server.http(server.admin) as http:
                http.delete(kind.path(NAMESPACE)).raise_for_status()


@contextlib.contextmanager
def reached(server: Server, folder: Path, token: str = "") -> Iterator[Path]:
    """The kubeconfig of whoever has the token; of the administrator without one."""
    if isinstance(server, ApiServer):
        with fronted(server, []) as url:
            yield kubeconfig(folder, server, token or server.admin, url)
    else:
        yield kubeconfig(folder, server, token or server.admin)


def check(config: Path, *flags: str) -> tuple[int, dict[str, str], dict[str, dict[str, object]]]:
    result = homeostat(config, "cluster", "check", "--overlay", "dev", "--output", "json", *flags)
    assert result.stdout, result.output
    found = findings(result)
    missing = {name: f"{one['found']}: {one['mend']}" for name, one in found.items() if not one["ok"]}
    return result.exit_code, missing, found


def test_a_complete_cluster_has_nothing_to_mend(cluster: Server, tmp_path: Path) -> None:
    installed(cluster)
    with reached(cluster, tmp_path) as config:
        code, missing, found = check(config)
    assert (code, missing) == (0, {})
    assert str(found["Kubernetes"]["found"]).startswith("v1.")
    assert "rights of functions" not in found, "nothing had to be reckoned"
    assert found["you may create detectors.homeostat.dev"]["found"] == "for `homeostat apply --context`"
    assert found["you may create services/proxy"]["found"] == "for `homeostat emit --context`"


def test_what_is_gone_is_found(cluster: Server, tmp_path: Path) -> None:
    installed(cluster)
    for kind, name in (
        ("Broker", "default"),
        ("ClusterServingRuntime", "homeostat"),
        ("ClusterTrainingRuntime", "homeostat"),
        ("RoleBinding", "roll-out"),
        ("Secret", "mlflow-database"),
    ):
        cluster.remove(kind, name)
    with reached(cluster, tmp_path) as config:
        code, missing, _ = check(config)
    assert code == 1
    assert set(missing) == {
        "our brokers.eventing.knative.dev",
        "our clusterservingruntimes.serving.kserve.io",
        "our clustertrainingruntimes.trainer.kubeflow.org",
        "our rolebindings.rbac.authorization.k8s.io",
        "rights of roll-out",
        "Secret mlflow-database",
    }
    assert "0 of 1; missing homeostat" in missing["our clusterservingruntimes.serving.kserve.io"]


def test_an_empty_cluster_is_no_error(cluster: Server, tmp_path: Path) -> None:
    with reached(cluster, tmp_path) as config:
        code, missing, _ = check(config)
    assert code == 1
    mend = "homeostat cluster render --overlay dev | kubectl apply"
    assert mend in missing["our services.serving.knative.dev"]


def test_whoever_may_not_ask_for_others_reckons_from_roles(cluster: Server, tmp_path: Path) -> None:
    installed(cluster)
    with reached(cluster, tmp_path, somebody(cluster, READ_ALL)) as config:
        code, missing, found = check(config)
    assert code == 1
    assert found["rights of functions"]["found"] == "reckoned from Roles and bindings"
    assert found["rights of roll-out"]["ok"]
    crds = missing["brokers.eventing.knative.dev v1"]
    assert "forbidden" in crds
    assert crds.endswith("ask for the right to get customresourcedefinitions.apiextensions.k8s.io")
    assert found["you may not create detectors.homeostat.dev"]["ok"], "the user's rights are no fault"


def test_who_is_not_let_in_is_told_so(cluster: Server, tmp_path: Path) -> None:
    with reached(cluster, tmp_path, "expired") as config:
        result = homeostat(config, "cluster", "check")
    assert result.exit_code == 3
    assert "log in anew" in result.stderr


def test_a_cluster_that_does_not_answer_is_no_cluster_that_lacks_something(
    server: ApiServer, tmp_path: Path
) -> None:
    config = kubeconfig(tmp_path, server, server.admin, "http://127.0.0.1:9")
    for verb in (["cluster", "check"], ["cluster", "diff"], ["status"]):
        result = homeostat(config, *verb)
        assert (result.exit_code, "no answer" in result.stderr) == (3, True), result.output


def test_a_context_that_is_not_there_is_wrong(server: ApiServer, tmp_path: Path) -> None:
    config = kubeconfig(tmp_path, server, server.admin)
    result = homeostat(config, "cluster", "check", "--context", "mars")
    assert result.exit_code == 1
    assert "--context is 'mars'" in result.stderr
    assert "kubectl config get-contexts" in result.stderr


def test_of_a_secret_only_its_metadata_is_read(real: KubeApiServer) -> None:
    data = {"password": "c2VjcmV0"}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": NAMESPACE}}
    real.put({**secret, "data": data})
    with real.http(real.admin) as http:
        found = Api(http).get(SECRET, NAMESPACE, "s", METADATA)
    assert found is not None
    assert (found["kind"], "data" in found) == ("PartialObjectMetadata", False)


# --- diff ------------------------------------------------------------------------------------------------
IMAGE_FLAGS = [flag for name, image in IMAGES.items() for flag in (f"--image-{name}", image)]


def diff(config: Path, *flags: str) -> tuple[int, dict[str, dict[str, str]]]:
    flags = ("cluster", "diff", "--overlay", "dev", "--output", "json", *IMAGE_FLAGS, *flags)
    result = homeostat(config, *flags)
    assert result.stdout, result.output
    return result.exit_code, {one["object"]: one for one in json.loads(result.stdout)}


def test_what_is_applied_does_not_differ(cluster: Server, tmp_path: Path) -> None:
    installed(cluster)
    with reached(cluster, tmp_path) as config:
        code, found = diff(config)
        assert [one for one in found.values() if one["change"] != "none"] == []
        assert code == 0
        code, found = diff(config, "--set", "HOMEOSTAT_SERVING_MODE=standard")
    assert code == 1
    changed = {name: one["diff"] for name, one in found.items() if one["change"] != "none"}
    assert set(changed) == {"v1.ConfigMap.homeostat.homeostat"}
    assert "-  HOMEOSTAT_SERVING_MODE: knative\n+  HOMEOSTAT_SERVING_MODE: standard\n" in changed.popitem()[1]


def test_what_is_not_there_would_be_created(cluster: Server, tmp_path: Path) -> None:
    installed(cluster)
    cluster.remove("Broker", "default")
    with reached(cluster, tmp_path) as config:
        code, found = diff(config)
        shown = homeostat(config, "cluster", "diff", "--overlay", "dev", *IMAGE_FLAGS)
    assert code == shown.exit_code == 1
    broker = found["eventing.knative.dev.v1.Broker.homeostat.default"]
    assert broker["change"] == "create"
    assert shown.stdout == broker["diff"]
    assert shown.stdout.startswith("--- live/eventing.knative.dev.v1.Broker.homeostat.default\n+++ merged/")
    assert cluster.get("Broker", "default") is None, "nothing was stored"


def test_a_field_that_the_cluster_does_not_know_is_an_error(cluster: Server) -> None:
    installed(cluster)
    broker = find(complete("dev"), "Broker", "default")
    wrong = {**broker, "spec": {**broker["spec"], "retries": 3}}
    with cluster.http(cluster.admin) as http:
        first, second = changes(Api(http), [wrong, find(complete("dev"), "ConfigMap", "homeostat")])
    assert (first.change, "retries" in first.error) == ("error", True)
    assert second.change == "none"


def test_who_may_not_apply_is_told_which_right_is_missing(cluster: Server, tmp_path: Path) -> None:
    installed(cluster)
    with reached(cluster, tmp_path, somebody(cluster, READ_ALL)) as config:
        code, found = diff(config)
    assert code == 2
    said = found["eventing.knative.dev.v1.Broker.homeostat.default"]["error"]
    assert said.endswith("ask for the right to patch brokers.eventing.knative.dev in homeostat")


def test_what_is_rendered_is_applied_by_kubectl_and_differs_no_more(
    real: KubeApiServer, tmp_path: Path
) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("no kubectl on this machine: what is rendered is not applied by it")
    config = kubeconfig(tmp_path, real, real.admin)
    text = homeostat(config, "cluster", "render", "--overlay", "dev", *IMAGE_FLAGS).stdout
    command = [kubectl, "--kubeconfig", str(config), "--context", "plant", "apply", "--server-side"]
    command += ["--force-conflicts", "--field-manager", "homeostat", "-f", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    code, found = diff(config)
    assert [one for one in found.values() if one["change"] != "none"] == []
    assert code == 0
    # What is no longer rendered goes.
    code, found = diff(config, "--overlay", "minimal")
    assert "-  HOMEOSTAT_LOG_LEVEL: debug\n" in found["v1.ConfigMap.homeostat.homeostat"]["diff"]


@pytest.mark.parametrize("overlay", NAMES)
def test_paths_are_those_of_the_real_definitions(shared: Path, overlay: str) -> None:
    for one in rendered(overlay):
        kind, real = Kind.of(one), by_kind()[one["apiVersion"], one["kind"]]
        assert (kind.plural, kind.namespaced, kind.group) == (real.plural, real.namespaced, real.group)
