"""What infra/README.md says of the cluster home is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from homeostat.infra.cli import cli
from homeostat.infra.cluster.check_parts import KUBERNETES, PARTS, PIPELINES
from homeostat.infra.cluster.settings import Settings
from tests.cluster.rendered import OVERLAYS, container, everything, of, overlay, services

ROOT = Path(__file__).parents[2]
README = (ROOT / "infra" / "README.md").read_text()
LINES = [line.strip() for line in README.splitlines()]
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in LINES if line[:1] == "|"]
UNITS = {"Mi": 1 / 1024, "Gi": 1.0}


def figures(row: str) -> tuple[float, float]:
    """CPUs and GiB of a line of the table of sizes."""
    (found,) = [one for one in ROWS if one[0].startswith(row)]
    return float(found[1]), float(found[2].removesuffix(" GiB"))


def asked(name: str, *, awake: bool) -> tuple[float, float]:
    """What an overlay's pods request together."""
    replicas = [(container(one), scale(one, awake)) for one in services(overlay(name)).values()]
    for kind in ("Deployment", "StatefulSet"):
        replicas += [(container(one), one["spec"]["replicas"]) for one in of(overlay(name), kind).values()]
    each = [(*amount(pod["resources"]["requests"]), count) for pod, count in replicas]
    return sum(cpu * count for cpu, _, count in each), sum(memory * count for _, memory, count in each)


def scale(service: dict[str, Any], awake: bool) -> int:
    notes = service["spec"]["template"]["metadata"].get("annotations", {})
    least = int(notes.get("autoscaling.knative.dev/min-scale", "0"))
    return max(1, least) if awake else least


def amount(requests: dict[str, str]) -> tuple[float, float]:
    cpu, memory = str(requests["cpu"]), requests["memory"]
    cpus = float(cpu.removesuffix("m")) / 1000 if cpu.endswith("m") else float(cpu)
    return cpus, float(memory[:-2]) * UNITS[memory[-2:]]


@pytest.mark.parametrize(
    ("row", "name", "awake"),
    [
        ("`dev`, all asleep", "dev", False),
        ("`dev`, all awake", "dev", True),
        ("`minimal`, all awake", "minimal", True),
        ("`production`, at rest", "production", False),
        ("`production`, all awake", "production", True),
    ],
)
def test_the_sizes_are_what_the_pods_request(row: str, name: str, awake: bool) -> None:
    assert figures(row) == pytest.approx(asked(name, awake=awake), abs=0.051)


def test_a_training_run_and_a_trial_ask_for_what_it_says() -> None:
    base = everything()["base"]
    trial = of(base, "PodTemplate")["trial"]["template"]["spec"]["containers"][0]
    assert figures("a training run") == amount(trial["resources"]["requests"])
    serving = of(base, "ClusterServingRuntime")["homeostat"]["spec"]["containers"][0]
    assert figures("a revision that serves") == amount(serving["resources"]["requests"])


def test_the_versions_that_are_meant_are_those_that_check_looks_for() -> None:
    meant = {part.name: part.meant for part in (*PARTS, PIPELINES)} | {"Kubernetes": KUBERNETES}
    told = {one[0]: one[1].split()[0] for one in ROWS if one[0] in meant}
    assert told == {name: re.findall(r">=([\d.]+)", text)[0] for name, text in meant.items()}


def test_every_secret_that_a_manifest_names_is_explained() -> None:
    text = yaml.safe_dump_all([dict(one) for name in OVERLAYS for one in overlay(name)])
    named = set(re.findall(r"secretName: (\S+)|secretRef:\s+name: (\S+)|auth.secret.ref.name: (\S+)", text))
    secrets = {one for found in named for one in found if one}
    assert {"homeostat-objects", "homeostat-doors"} <= secrets
    told = {one[0].strip("`") for one in ROWS if len(one) == 4}
    assert secrets - told == set()


def test_every_link_and_path_leads_somewhere() -> None:
    folder = ROOT / "infra"
    links = [one for one in re.findall(r"\]\(([^)#]+)\)", README) if not one.startswith("http")]
    assert links
    paths = re.findall(r"(?:infra|tests)/[\w/.-]+\w", README)
    missing = [one for one in links if not (folder / one).exists()]
    missing += [one for one in paths if not (ROOT / one).exists()]
    assert missing == []


def test_every_verb_and_option_that_it_uses_is_there() -> None:
    commands: Any = get_command(cli)
    for line in re.findall(r"(?<!-n )\bhomeostat ((?:cluster )?[a-z]+[^`\n#]*)", README):
        words = line.split()
        command = commands
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        assert command is not commands, line
        options = {one for parameter in command.params for one in parameter.opts}
        assert {word for word in words if re.fullmatch(r"--?[a-z-]+", word)} <= options, line


def test_no_setting_is_named_that_a_pod_does_not_know() -> None:
    known = {one.alias for one in Settings.model_fields.values()}
    assert set(re.findall(r"HOMEOSTAT_[A-Z_]+", README)) <= known
