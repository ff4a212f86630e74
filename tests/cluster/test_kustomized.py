"""Our reading of the overlays is kustomize's, and refuses what it does not know."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from homeostat.infra.cluster.kustomized import Unsupported, build

INFRA = Path(__file__).parents[2] / "infra"
RENDERED = ("base", "overlays/dev", "overlays/production", "overlays/minimal")

BROKER: dict[str, Any] = {
    "apiVersion": "eventing.knative.dev/v1",
    "kind": "Broker",
    "metadata": {"name": "default"},
    "spec": {"delivery": {"retry": 1}},
}
TARGET = {"kind": "Broker"}
NAMED = {"disableNameSuffixHash": True}


def folder(path: Path, **fields: Any) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "broker.yaml").write_text(yaml.safe_dump(BROKER))
    head = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    (path / "kustomization.yaml").write_text(yaml.safe_dump({**head, "resources": ["broker.yaml"], **fields}))
    return path


@pytest.mark.parametrize("name", RENDERED)
def test_it_renders_what_kubectl_renders(name: str) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("no kubectl on this machine: our own reading of the overlays is not compared with it")
    done = subprocess.run([kubectl, "kustomize", INFRA / name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:2000]

    def key(one: dict[str, Any]) -> str:
        return f"{one['apiVersion']} {one['kind']} {one['metadata']['name']}"

    assert sorted(yaml.safe_load_all(done.stdout), key=key) == sorted(build(INFRA / name), key=key)


@pytest.mark.parametrize(
    "fields",
    [
        {"namePrefix": "x-"},
        {"kind": "Component"},
        {"configMapGenerator": [{"name": "x"}]},
        {"configMapGenerator": [{"name": "x", "literals": ["a=b"], "options": NAMED}]},
        {"configMapGenerator": [{"name": "x", "files": ["a=broker.yaml"], "options": NAMED}]},
        {"configMapGenerator": [{"name": "x", "files": ["../elsewhere.yaml"], "options": NAMED}]},
        {"images": [{"name": "x", "newTag": "latest"}]},
        {"patches": [{"path": "../elsewhere.yaml", "target": TARGET}]},
        {"patches": [{"patch": "- {op: move, path: /spec, from: /x}", "target": {"labelSelector": "a=b"}}]},
        {"patches": [{"patch": "- {op: replace, path: /spec/config, value: 1}", "target": TARGET}]},
        {"patches": [{"patch": "- {op: test, path: /kind, value: Trigger}", "target": TARGET}]},
        {"patches": [{"patch": "- {op: remove, path: /spec}", "target": {"kind": "Nothing"}}]},
        {"patches": [{"patch": yaml.safe_dump({**BROKER, "spec": {"list": [{"a": 1}]}})}]},
        {"patches": [{"patch": yaml.safe_dump_all([BROKER, BROKER])}]},
        {"resources": ["broker.yaml", "broker.yaml"]},
        {"resources": ["../elsewhere.yaml"]},
    ],
    ids=str,
)
def test_what_it_does_not_know_it_refuses(tmp_path: Path, fields: dict[str, Any]) -> None:
    (tmp_path / "elsewhere.yaml").write_text(yaml.safe_dump(BROKER))
    with pytest.raises(Unsupported):
        build(folder(tmp_path / "here", **fields))


def test_patches_change_what_they_name(tmp_path: Path) -> None:
    merge = {**BROKER, "spec": {"delivery": {"timeout": "PT1S"}}}
    step = "- {op: add, path: /metadata/labels, value: {a/b: c}}\n- {op: remove, path: /spec/delivery/retry}"
    here = folder(tmp_path, patches=[{"patch": yaml.safe_dump(merge)}, {"patch": step, "target": TARGET}])
    (found,) = build(here)
    assert found["metadata"] == {"name": "default", "labels": {"a/b": "c"}}
    assert found["spec"] == {"delivery": {"timeout": "PT1S"}}


def test_files_become_a_config_map_under_the_name_that_is_given(tmp_path: Path) -> None:
    options = {**NAMED, "labels": {"a": "b"}}
    asked = {"name": "x", "namespace": "y", "files": ["broker.yaml"], "options": options}
    *_, found = build(folder(tmp_path, configMapGenerator=[asked]))
    assert found["metadata"] == {"name": "x", "namespace": "y", "labels": {"a": "b"}}
    assert found["data"] == {"broker.yaml": (tmp_path / "broker.yaml").read_text()}
