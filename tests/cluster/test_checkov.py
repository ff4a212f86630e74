"""checkov finds nothing in what the overlays install, but for what a manifest argues beside itself.

It knows no Knative Services and no runtimes of KServe's and Trainer's, so their pods are shown to it as such.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.rendered import OVERLAYS, everything, named

LOCK = Path(__file__).with_name("checkov.lock")
"""`uv pip compile` of checkov alone: it does not go with what we pin."""

Document = Mapping[str, Any]


def pod(owner: Document, metadata: Document, spec: Document) -> dict[str, Any]:
    """The pod, with what its owner argues."""
    notes = {**metadata.get("annotations", {}), **owner["metadata"].get("annotations", {})}
    name = f"{owner['kind'].lower()}-{owner['metadata']['name']}"
    head = {"name": name, "namespace": "homeostat", "annotations": notes}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": head, "spec": dict(spec)}


def pods(one: Document) -> Iterator[dict[str, Any]]:
    match one["apiVersion"].partition("/")[0], one["kind"]:
        case "serving.knative.dev", "Service":
            template = one["spec"]["template"]
            yield pod(one, template["metadata"], template["spec"])
        case "serving.kserve.io", "ClusterServingRuntime":
            spec = {"containers": one["spec"]["containers"], "volumes": one["spec"]["volumes"]}
            yield pod(one, one["spec"], spec)
        case "trainer.kubeflow.org", "ClusterTrainingRuntime":
            for job in one["spec"]["template"]["spec"]["replicatedJobs"]:
                template = job["template"]["spec"]["template"]
                yield pod(one, template["metadata"], template["spec"])


@pytest.fixture(scope="module")
def checkov(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkov")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", LOCK]
    subprocess.run([folder / "bin" / "python", *install], check=True)
    return folder / "bin" / "checkov"


def scanned(checkov: Path, folder: Path, documents: list[Any]) -> dict[str, Any]:
    file = folder / "all.yaml"
    file.write_text(yaml.safe_dump_all(documents, sort_keys=False))
    command = [checkov, "--file", file, "--framework", "kubernetes", "--output", "json", "--skip-download"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_overlay_passes_and_every_exception_is_argued(checkov: Path, tmp_path: Path) -> None:
    for name in ("base", *OVERLAYS):
        objects = [dict(one) for one in everything()[name]]
        inside = [one for each in objects for one in pods(each)]
        assert len(inside) > 6
        found = scanned(checkov, tmp_path, objects + inside)
        failed = [(one["check_id"], one["resource"]) for one in found["results"]["failed_checks"]]
        assert not failed, f"{name}: {failed}"
        assert found["summary"]["passed"] > 500, found["summary"]
        for one in found["results"]["skipped_checks"]:
            assert len(one["check_result"]["suppress_comment"]) > 20, one["resource"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_careless_pod_would_be_found(checkov: Path, tmp_path: Path) -> None:
    service = next(one for one in everything()["base"] if named(one) == "Service roll-out")
    (careless,) = pods(service)
    careless["spec"] = {"containers": [{"name": "x", "image": "x:latest"}]}
    found = scanned(checkov, tmp_path, [careless])
    assert {one["check_id"] for one in found["results"]["failed_checks"]} >= {"CKV_K8S_20", "CKV_K8S_22"}
