"""What the README says is so: its paths exist, its Detector is valid, its commands are there."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from homeostat.infra.cli import cli
from homeostat.infra.manifest import parse

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    assert [link for link in links if not link.startswith("http") and not (ROOT / link).exists()] == []


def test_the_detector_that_it_shows_is_valid() -> None:
    (document,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    name, spec = parse(yaml.safe_load(document))
    assert name == "pump"
    assert spec.canary.steps == (5, 25, 50)


def test_every_verb_that_it_uses_is_there() -> None:
    verbs = {command.callback.__name__ for command in cli.registered_commands if command.callback}
    verbs |= {str(group.name) for group in cli.registered_groups}
    assert set(re.findall(r"`?homeostat ([a-z]+)\b", README)) <= verbs


def test_every_make_target_that_it_names_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)", README)) <= targets


def test_its_first_screen_shows_the_two_commands_and_the_three_doors() -> None:
    screen = "\n".join(README.splitlines()[:24])
    for words in ("make demo", "make test", "emit a CloudEvent", "upload a file", "an alert"):
        assert words in screen


def test_every_test_file_that_it_names_is_there() -> None:
    named = re.findall(r"tests/[\w/]+\.py", README)
    assert named
    assert [one for one in named if not (ROOT / one).exists()] == []
