"""`homeostat tokens`: shown once, listed without secrets, refused with the mend."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from homeostat.eventing.doors import Tokens
from homeostat.infra.tokens_cli import tokens

run = CliRunner().invoke
VERBS = ["create", "list", "revoke", "reopen"]


@pytest.fixture
def state(tmp_path: Path) -> list[str]:
    return ["--state", str(tmp_path)]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_with_an_example(verb: str) -> None:
    assert {
        one.name or (one.callback and one.callback.__name__) for one in tokens.registered_commands
    } == set(VERBS)
    result = run(tokens, [verb, "--help"])
    assert result.exit_code == 0
    assert "Example:" in result.output


def test_create_shows_the_token_alone_on_standard_output(tmp_path: Path, state: list[str]) -> None:
    result = run(tokens, ["create", "alertmanager", "--name", "am", "--expires", "90d", *state])
    assert result.exit_code == 0, result.output
    token = result.stdout.strip()
    assert result.stdout == f"{token}\n"
    assert "am opens alertmanager, until 20" in result.stderr
    assert Tokens(tmp_path / "tokens.json").door_of(token.encode()) == "alertmanager"


def test_programs_get_json(tmp_path: Path, state: list[str]) -> None:
    made = json.loads(run(tokens, ["create", "broker", "-o", "json", *state]).stdout)
    assert made["door"] == "broker"
    assert made["expires"] is None
    assert Tokens(tmp_path / "tokens.json").door_of(made["token"].encode()) == "broker"
    listed = run(tokens, ["list", "-o", "json", *state]).stdout
    document = json.loads(listed)
    assert document["closed"] == ["broker"]
    assert [(one["name"], one["state"]) for one in document["tokens"]] == [(made["name"], "valid")]
    assert made["token"] not in listed
    assert "sha256" not in listed
    gone = json.loads(run(tokens, ["revoke", made["name"], "-o", "json", *state]).stdout)
    assert gone == {"name": made["name"], "door": "broker", "state": "revoked"}


def test_a_closed_door_without_a_token_is_told_until_it_is_reopened(state: list[str]) -> None:
    run(tokens, ["create", "broker", "--name", "one", *state])
    run(tokens, ["revoke", "one", *state])
    assert "broker is closed and has no valid token" in run(tokens, ["list", *state]).stdout
    assert run(tokens, ["reopen", "broker", *state]).exit_code == 0
    assert "closed" not in run(tokens, ["list", *state]).stdout


def test_wrong_wishes_exit_with_the_mend(tmp_path: Path, state: list[str]) -> None:
    wrong = run(tokens, ["create", "cellar", "--name", "no/slash", *state])
    assert wrong.exit_code == 1
    assert "the doors are broker" in wrong.stderr
    assert "name is 'no/slash'" in wrong.stderr
    soon = run(tokens, ["create", "broker", "--expires", "soon", *state])
    assert soon.exit_code == 1
    assert "is no duration" in soon.stderr
    absent = run(tokens, ["revoke", "nobody", *state])
    assert (absent.exit_code, "there are: none" in absent.stderr) == (3, True)
    assert list(tmp_path.glob("tokens.json")) == []


def test_a_damaged_file_is_told_and_left_alone(tmp_path: Path, state: list[str]) -> None:
    file = tmp_path / "tokens.json"
    file.write_text("{")
    file.chmod(0o600)
    for verb in (["create", "broker"], ["list"], ["revoke", "x"], ["reopen", "broker"]):
        result = run(tokens, [*verb, *state])
        assert result.exit_code == 1, verb
        assert "tokens.json" in result.stderr
    assert file.read_text() == "{"
