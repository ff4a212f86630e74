"""`homeostat cluster render`: what `kubectl apply` takes, from an installed package as from the sources."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from homeostat.infra.cluster.kinds import Kind
from homeostat.infra.cluster_cli import cluster
from tests.cluster.complete import IMAGES
from tests.cluster.reaching import homeostat
from tests.cluster.rendered import OVERLAYS, overlay

ROOT = Path(__file__).parents[2]
IMAGE_FLAGS = [flag for name, image in IMAGES.items() for flag in (f"--image-{name}", image)]


def named(one: dict[str, Any]) -> tuple[str, str, str]:
    return one["apiVersion"], one["kind"], one["metadata"]["name"]


def render(*flags: str) -> list[dict[str, Any]]:
    result = homeostat(None, "cluster", "render", *flags)
    assert result.exit_code == 0, result.output
    return list(yaml.safe_load_all(result.stdout))


@pytest.mark.parametrize("name", OVERLAYS)
def test_it_prints_the_overlay_and_what_others_need_comes_first(name: str) -> None:
    found = render("--overlay", name)
    assert sorted(found, key=named) == sorted(overlay(name), key=named)
    kinds = [one["kind"] for one in found]
    assert kinds[:2] == ["Namespace", "CustomResourceDefinition"]
    assert kinds.index("Service") > max(at for at, one in enumerate(kinds) if one == "ConfigMap")


def test_images_and_settings_are_ones_own() -> None:
    flags = ("--set", "HOMEOSTAT_SERVING_MODE=standard", "--set", "HOMEOSTAT_OBJECTS_URL=s3://plant?a=b")
    result = homeostat(None, "cluster", "render", *IMAGE_FLAGS, *flags)
    assert "registry.invalid" not in result.stdout
    assert "sha256:" + "0" * 64 not in result.stdout
    assert result.stderr == ""
    for image in IMAGES.values():
        assert image in result.stdout
    (settings,) = (
        one for one in yaml.safe_load_all(result.stdout) if named(one) == ("v1", "ConfigMap", "homeostat")
    )
    assert settings["data"]["HOMEOSTAT_SERVING_MODE"] == "standard"
    assert settings["data"]["HOMEOSTAT_OBJECTS_URL"] == "s3://plant?a=b"


def test_images_that_nobody_can_pull_are_told_beside_the_objects() -> None:
    result = homeostat(None, "cluster", "render")
    assert result.stderr.count("has no digest yet") == 3
    assert "has no digest" not in result.stdout


def test_as_json_it_is_a_list_that_kubectl_takes() -> None:
    result = homeostat(None, "cluster", "render", "--overlay", "minimal", "--output", "json")
    found = json.loads(result.stdout)
    assert (found["apiVersion"], found["kind"]) == ("v1", "List")
    assert sorted(map(named, found["items"])) == sorted(map(named, overlay("minimal")))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ["--image-work", "homeostat:latest"],
            "--image-work is 'homeostat:latest': name a registry and a digest",
        ),
        (["--set", "SERVING"], "--set is 'SERVING': write KEY=VALUE"),
        (["--set", "HOMEOSTAT_SERVINGMODE=standard"], "nobody reads it; there are"),
        (["--set", "HOMEOSTAT_NAMESPACE=other"], "nobody reads it; there are"),
        (["--set", "HOMEOSTAT_SERVING_MODE=serverless"], "HOMEOSTAT_SERVING_MODE is 'serverless'"),
        (["--set", "MLFLOW_TRACKING_URI=mlflow"], "MLFLOW_TRACKING_URI is 'mlflow'"),
    ],
    ids=lambda one: one if isinstance(one, str) else one[1],
)
def test_a_change_that_means_nothing_is_refused(flags: list[str], said: str) -> None:
    result = homeostat(None, "cluster", "render", *flags)
    assert (result.exit_code, result.stdout) == (1, "")
    assert said in result.stderr


@pytest.mark.parametrize(
    "verb", [one.callback.__name__ for one in cluster.registered_commands if one.callback]
)
def test_every_verb_explains_itself_with_an_example(verb: str) -> None:
    result = homeostat(None, "cluster", verb, "--help")
    assert result.exit_code == 0
    assert "Example:" in result.output


def test_the_calls_that_export_a_cluster_are_printed() -> None:
    lines = homeostat(None, "cluster", "check", "--how", "--overlay", "dev").stdout.splitlines()
    assert lines[0] == "mkdir -p cluster"
    asked = {line.split()[2] for line in lines if line.startswith("kubectl get")}
    wanted = {Kind.of(one).resource for one in overlay("dev")}
    assert asked == {*wanted, "secrets", "endpointslices", "deployments"}
    assert "kubectl get secrets -n homeostat -o name > cluster/secrets.txt" in lines, "never what is in them"


def test_an_installed_package_renders_the_same(tmp_path: Path) -> None:
    """From the wheel, whose folders are its subpackages, in a folder of its own."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    command = [sys.executable, "-m", "homeostat.infra.cli", "cluster", "render", "--overlay", "production"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert sorted(yaml.safe_load_all(done.stdout), key=named) == sorted(overlay("production"), key=named)
    assert re.search(r"/site/homeostat/infra/cluster/render\.py", _where(environment, tmp_path))


def _where(environment: dict[str, str], folder: Path) -> str:
    command = [sys.executable, "-c", "import homeostat.infra.cluster.render as one; print(one.__file__)"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout
