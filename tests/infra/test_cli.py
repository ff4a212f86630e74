"""The command line without a running home: help, clear errors, exit codes, output for programs."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from homeostat.infra.cli import cli
from tests.infra.test_manifest import GOOD

run = CliRunner().invoke
VERBS = [command.callback.__name__ for command in cli.registered_commands if command.callback]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_with_an_example(verb: str) -> None:
    result = run(cli, [verb, "--help"])
    assert result.exit_code == 0
    assert "Example:" in result.output


def test_apply_creates_changes_and_leaves_alone(tmp_path: Path) -> None:
    file = tmp_path / "pump.yaml"
    state = ["--state", str(tmp_path / "state"), "--output", "json"]

    def apply(document: object) -> str:
        file.write_text(yaml.safe_dump(document))
        result = run(cli, ["apply", "-f", str(file), *state])
        assert result.exit_code == 0, result.output
        return str(json.loads(result.stdout)[0]["result"])

    changed = {**GOOD, "spec": {**GOOD["spec"], "mode": "suggest"}}  # type: ignore[dict-item]
    assert [apply(GOOD), apply(GOOD), apply(changed)] == ["created", "unchanged", "changed"]
    status = run(cli, ["status", "pump", *state])
    assert json.loads(status.stdout)["spec"]["mode"] == "suggest"


def test_a_wrong_manifest_exits_1_and_names_the_field(tmp_path: Path) -> None:
    file = tmp_path / "pump.yaml"
    file.write_text(yaml.safe_dump({**GOOD, "spec": {}}))
    result = run(cli, ["apply", "-f", str(file), "--state", str(tmp_path)])
    assert result.exit_code == 1
    assert "spec.data is missing" in result.stderr


@pytest.mark.parametrize(
    "verb", [["emit", "training.requested", "pump"], ["events"], ["dead"]], ids=["emit", "events", "dead"]
)
def test_without_a_home_the_verbs_say_how_to_start_one(tmp_path: Path, verb: list[str]) -> None:
    result = run(cli, [*verb, "--state", str(tmp_path)])
    assert result.exit_code == 1
    assert "homeostat up" in result.stderr


def test_an_unknown_detector_is_told_beside_the_known(tmp_path: Path) -> None:
    file = tmp_path / "pump.yaml"
    file.write_text(yaml.safe_dump(GOOD))
    run(cli, ["apply", "-f", str(file), "--state", str(tmp_path)])
    result = run(cli, ["why", "fan", "--state", str(tmp_path)])
    assert result.exit_code == 1
    assert "known: pump" in result.stderr


def up(*flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "homeostat.infra.cli", "up", *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_port_in_use_says_so(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = up("--state", str(tmp_path), "--port", str(port))
    assert result.returncode == 1
    assert f"port {port}" in result.stderr
    assert "give another --port" in result.stderr


def test_binding_wider_than_loopback_is_refused_with_the_mend(tmp_path: Path) -> None:
    ended = up("--state", str(tmp_path), "--host", "0.0.0.0", "--port", "18080")
    assert ended.returncode == 1
    assert "homeostat tokens create" in ended.stderr


def test_doctor_names_what_it_found(tmp_path: Path) -> None:
    result = run(cli, ["doctor", "--state", str(tmp_path), "--output", "json"])
    findings = {one["what"]: one for one in json.loads(result.stdout)}
    assert findings["python"]["ok"]
    assert findings["kserve"]["found"] == "0.20.0"
