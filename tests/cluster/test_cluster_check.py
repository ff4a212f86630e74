"""`homeostat cluster check` on what was exported: a complete cluster has nothing to mend, and whatever is
taken away is found, with what mends it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from homeostat.infra.cluster.check_parts import judged
from homeostat.infra.cluster.kustomized import Object
from tests.cluster.complete import SECRETS, complete, without
from tests.cluster.reaching import findings, homeostat
from tests.cluster.rendered import OVERLAYS
from tests.cluster.taken_away import CASES, GONE, taken_away

VERSION = """
clientVersion: {gitVersion: v1.33.0}
serverVersion: {gitVersion: v1.34.2}
"""


def exported(folder: Path, objects: list[Object], secrets: tuple[str, ...] = SECRETS) -> Path:
    """As `homeostat cluster check --how` says, but in fewer files."""
    folder.mkdir()
    items = list(without(objects, "Secret"))
    (folder / "all.json").write_bytes(orjson.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    (folder / "version.yaml").write_text(VERSION)
    (folder / "secrets.txt").write_text("".join(f"secret/{name}\n" for name in secrets))
    return folder


def check(folder: Path, overlay: str = "production") -> tuple[int, dict[str, dict[str, Any]]]:
    flags = ("--offline", str(folder), "--overlay", overlay, "--output", "json")
    result = homeostat(None, "cluster", "check", *flags)
    assert result.exit_code in (0, 1), result.output
    return result.exit_code, findings(result)


def missing(found: dict[str, dict[str, Any]]) -> dict[str, str]:
    """What is to be mended, and how."""
    return {name: f"{one['found']}: {one['mend']}" for name, one in found.items() if not one["ok"]}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_complete_cluster_has_nothing_to_mend(shared: Path, tmp_path: Path, overlay: str) -> None:
    code, found = check(exported(tmp_path / "here", complete(overlay)), overlay)
    assert (code, missing(found)) == (0, {})
    assert found["Kubernetes"]["found"] == "v1.34.2"
    assert ("experiments.kubeflow.org v1beta1" in found) is (overlay != "minimal"), (
        "only where Katib is meant"
    )
    assert ("kafkasources.sources.knative.dev v1" in found) is (overlay == "production")


@pytest.mark.parametrize(
    ("where", "pointer", "value", "what", "said"), CASES, ids=[f"{one[0]}{one[1]}" for one in CASES]
)
def test_what_is_taken_away_is_found_with_its_mend(
    shared: Path, tmp_path: Path, where: str, pointer: str, value: Any, what: str, said: str
) -> None:
    objects = taken_away(complete("production"), where, pointer, value)
    code, found = check(exported(tmp_path / "here", objects))
    assert code == 1
    assert said in missing(found)[what]


def test_a_secret_that_pods_cannot_do_without_is_missing(shared: Path, tmp_path: Path) -> None:
    code, found = check(exported(tmp_path / "here", complete("production"), ("mlflow-database", "kafka")))
    assert code == 1
    assert set(missing(found)) == {"Secret uploads-s3"}
    assert "kubectl -n homeostat create secret generic uploads-s3" in found["Secret uploads-s3"]["mend"]
    assert "an identity of their own" in found["Secret homeostat-objects"]["advice"]


def test_standard_mode_needs_the_field_by_which_a_canary_gets_its_share(shared: Path, tmp_path: Path) -> None:
    objects = taken_away(
        complete("production"), "ConfigMap homeostat", "/data/HOMEOSTAT_SERVING_MODE", "standard"
    )
    assert check(exported(tmp_path / "here", objects))[0] == 0
    crd = "CustomResourceDefinition inferenceservices.serving.kserve.io"
    field = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/canary"
    code, found = check(exported(tmp_path / "older", taken_away(objects, crd, field, GONE)))
    assert code == 1
    assert "install KServe >=0.20" in missing(found)["inferenceservices.serving.kserve.io spec.canary"]


def test_who_stands_behind_a_service_is_told_by_its_slices_first(shared: Path, tmp_path: Path) -> None:
    def behind(*ready: bool) -> Object:
        label = {"kubernetes.io/service-name": "ml-pipeline"}
        return {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "ml-pipeline-x", "namespace": "kubeflow", "labels": label},
            "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": one}} for one in ready],
        }

    objects = complete("production")
    _, found = check(exported(tmp_path / "one", [*objects, behind(True, False)]))
    assert found["way to Kubeflow Pipelines"]["found"] == "1 pods behind ml-pipeline in kubeflow"
    _, found = check(exported(tmp_path / "none", [*objects, behind(False)]))
    assert "is ready" in missing(found)["way to Kubeflow Pipelines"]


def test_what_an_export_does_not_speak_of_is_unknown_rather_than_missing(
    shared: Path, tmp_path: Path
) -> None:
    folder = exported(tmp_path / "here", list(without(complete("production"), "Trigger")))
    (folder / "secrets.txt").unlink()
    (folder / "version.yaml").unlink()
    code, found = check(folder)
    assert code == 1
    told = missing(found)
    assert "add `kubectl get triggers.eventing.knative.dev -A" in told["our triggers.eventing.knative.dev"]
    assert "kubectl get secrets -n homeostat -o name" in told["Secrets"]
    assert "add `kubectl version -o yaml`" in told["Kubernetes"]


def test_what_is_no_export_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notes.yaml").write_text("a: [")
    monkeypatch.chdir(tmp_path)
    result = homeostat(None, "cluster", "check", "--offline", ".")
    assert result.exit_code == 1
    assert "notes.yaml" in result.stderr
    nowhere = homeostat(None, "cluster", "check", "--offline", str(tmp_path / "nowhere"))
    assert (nowhere.exit_code, "no such file" in nowhere.stderr) == (2, True)


def test_an_unknown_overlay_is_wrong_usage() -> None:
    assert homeostat(None, "cluster", "check", "--overlay", "mine").exit_code == 2


@pytest.mark.parametrize(
    ("found", "ok", "said"),
    [
        ("v0.20.0", True, ""),
        ("0.20.0-rc1", False, "is meant"),
        ("0.19.9", False, "is meant: upgrade it"),
        ("1.0.0", True, "a newer one was not tried"),
        ("devel", True, "is meant"),
        ("", True, "is meant"),
        ("v0.20.1-gke.100", True, ""),
    ],
)
def test_a_version_is_judged_by_the_meant_ones(found: str, ok: bool, said: str) -> None:
    judgement = judged("KServe", found, ">=0.20,<1", "upgrade it")
    assert (judgement.ok, said in judgement.mend + judgement.advice) == (ok, True)
    assert bool(judgement.advice or judgement.mend) is bool(said)
