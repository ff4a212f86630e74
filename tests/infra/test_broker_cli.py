"""`homeostat dead`, `trigger` and `replay`: orders to a broker's file, what they show and refuse."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from homeostat.eventing.broker import Broker
from homeostat.infra.cli import cli
from tests.eventing.brokers import FAST, Subscriber, event, manifests, until

ONCE = {**FAST, "retry": 0}
HOSTILE = "[/red] \x1b[2J[link=x]because[/link]"


class Refusing:
    """An ASGI app that will not take these events, and says why in words of its own."""

    def __init__(self, *identities: str, reason: str = "because") -> None:
        self._identities, self._reason = identities, reason.encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        status = 400 if dict(scope["headers"])[b"ce-id"].decode() in self._identities else 202
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": self._reason if status == 400 else b""})


@dataclass(frozen=True)
class Home:
    """A state directory whose broker has run with the triggers `listener` and `pager`."""

    state: Path

    def run(self, apps: Mapping[str, Any], *events: Any) -> None:
        """Let the broker take these events and deliver everything, then stop."""

        async def story() -> None:
            files = [*manifests(self.state, ONCE), self.state / "pager.yaml"]
            broker = Broker(self.state / "broker.db", files, lambda destination: apps[destination.name])
            await broker.start()
            await broker.accept(events)
            await until(lambda: not any(broker.standing().lag.values()) and not self.wanted())
            await broker.stop(2)

        asyncio.run(story())

    def wanted(self) -> int:
        """How many deliveries were ordered and are still to be made."""
        with contextlib.closing(sqlite3.connect(self.state / "broker.db")) as db:
            ((count,),) = db.execute("SELECT count(*) FROM again")
        return int(count)

    def numbers(self) -> list[int]:
        return [one["number"] for one in json.loads(self("dead", "list", "-o", "json").stdout)]

    def __call__(self, *words: str, input: str | None = None) -> Any:
        return CliRunner().invoke(cli, [*words, "--state", str(self.state)], input=input, terminal_width=200)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Letters 1 and 2 of `listener`, 3 of `pager`."""
    folder = tmp_path_factory.mktemp("state")
    (_, listener) = yaml.safe_load_all(manifests(folder, ONCE)[0].read_text())
    own = folder / "own"
    own.mkdir()
    (own / "listener.yaml").write_text(yaml.safe_dump(listener))
    listener["metadata"]["name"] = "pager"
    listener["spec"]["subscriber"]["ref"]["name"] = "pager"
    listener["spec"]["filters"] = [{"exact": {"type": "page"}}]
    for path in (folder / "pager.yaml", own / "pager.yaml"):
        path.write_text(yaml.safe_dump(listener))
    made = Home(folder)
    made.run({"listener": Refusing("a", "b"), "pager": Refusing()}, event("a", "pump"), event("good"))
    made.run({"listener": Refusing("b"), "pager": Refusing()}, event("b", "fan", data=b'{"rows": 7}'))
    made.run({"listener": Refusing(), "pager": Refusing("c")}, event("c", kind="page"))
    return made


@pytest.fixture
def home(made: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A copy of it for each test."""
    monkeypatch.setenv("HOMEOSTAT_MANIFESTS", str(made.state / "own"))
    return Home(shutil.copytree(made.state, tmp_path / "state"))


@pytest.fixture
def listener() -> Subscriber:
    return Subscriber()


# --- dead letters ----------------------------------------------------------------------------------------
def test_letters_are_listed_for_people_and_for_programs(home: Home) -> None:
    letters = json.loads(home("dead", "list", "--output", "json").stdout)
    assert [(one["number"], one["id"], one["trigger"], one["code"], one["reason"]) for one in letters] == [
        (1, "a", "listener", 400, "because"),
        (2, "b", "listener", 400, "because"),
        (3, "c", "pager", 400, "because"),
    ]
    text = home("dead", "list").stdout
    for word in ("1", "t", "pump", "listener", "because"):
        assert word in text
    assert home("dead").stdout == text
    assert json.loads(home("dead", "-o", "json").stdout) == letters
    ours = json.loads(home("dead", "list", "--trigger", "pager", "-o", "json").stdout)
    assert [one["number"] for one in ours] == [3]


@pytest.mark.parametrize("option", [["--state", "elsewhere"], ["--output", "json"]], ids=" ".join)
def test_an_option_in_the_wrong_place_is_not_passed_over(home: Home, option: list[str]) -> None:
    answer = CliRunner().invoke(cli, ["dead", *option, "drop", "1", "--state", str(home.state)])
    assert answer.exit_code == 2
    assert f"write {option[0]} behind drop" in answer.stderr
    assert home.numbers() == [1, 2, 3]


def test_a_letter_is_shown_whole(home: Home) -> None:
    shown = json.loads(home("dead", "show", "2", "--output", "json").stdout)
    assert (shown["number"], shown["subject"], shown["reason"]) == (2, "fan", "because")
    assert shown["event"]["data"] == {"rows": 7}
    assert shown["event"]["source"] == "/test"
    text = home("dead", "show", "2").stdout
    for word in ("because", "/test", '{"rows": 7}', "listener"):
        assert word in text


def test_what_is_no_json_is_shown_as_programs_can_read_it(home: Home) -> None:
    odd = [event("text", data="grün".encode()), event("bytes", data=b"\xff\x00"), event("none", data=None)]
    odd[0].attributes["datacontenttype"] = "text/plain"
    home.run({"listener": Refusing("text", "bytes", "none"), "pager": Refusing()}, *odd)
    shown = [json.loads(home("dead", "show", number, "-o", "json").stdout) for number in ("4", "5", "6")]
    by_id = {one["id"]: one["event"] for one in shown}
    assert by_id["text"]["data_base64"] == "Z3LDvG4="
    assert by_id["bytes"]["data_base64"] == "/wA="
    assert by_id["none"].get("data") is None
    dry = home("replay", "--trigger", "listener", "--since", "1h", "--dry-run", "-o", "json")
    assert len(json.loads(dry.stdout)) == 7


def test_what_strangers_wrote_is_no_markup_and_steers_no_terminal(home: Home) -> None:
    stranger = event("[/x]", "[/blue]", data=b"[/green] \x1b[31mred")
    home.run({"listener": Refusing("[/x]", reason=HOSTILE), "pager": Refusing()}, stranger)
    for words in (["list"], ["show", "4"]):
        told = home("dead", *words)
        assert told.exit_code == 0, told.output
        assert "\x1b" not in told.stdout
        assert "[/blue]" in told.stdout
        assert "[/red]" in told.stdout
    dry = home("replay", "--trigger", "listener", "--since", "1h", "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert "[/blue]" in dry.stdout


@pytest.mark.parametrize("verb", ["show", "redrive", "drop"])
def test_a_number_that_is_none_exits_3_with_what_there_is(home: Home, verb: str) -> None:
    answer = home("dead", verb, "9")
    assert answer.exit_code == 3
    assert "there is no dead letter 9; there are: 1, 2, 3" in answer.stderr
    assert home.numbers() == [1, 2, 3]


@pytest.mark.parametrize("verb", ["list", "redrive", "drop"])
def test_a_trigger_that_is_none_exits_3_with_what_there_is(home: Home, verb: str) -> None:
    answer = home("dead", verb, "--trigger", "nobody")
    assert answer.exit_code == 3
    assert "there is no trigger 'nobody'; there are: listener, pager" in answer.stderr


@pytest.mark.parametrize(
    ("which", "wanted"),
    [
        (["1", "3"], {"a", "c"}),
        (["--trigger", "listener"], {"a", "b"}),
        (["--all"], {"a", "b", "c"}),
        (["1", "--trigger", "listener"], {"a"}),
    ],
    ids=["numbers", "trigger", "all", "both"],
)
def test_redriven_letters_are_delivered_at_the_next_start(
    home: Home, listener: Subscriber, which: list[str], wanted: set[str]
) -> None:
    answer = home("dead", "redrive", *which, "-o", "json")
    assert json.loads(answer.stdout) == {"redriven": len(wanted)}
    home.run({"listener": listener, "pager": listener})
    assert sorted(listener.got) == sorted(wanted)
    assert len(home.numbers()) == 3 - len(wanted)


def test_a_letter_of_another_trigger_is_not_passed_over_in_silence(home: Home) -> None:
    answer = home("dead", "redrive", "1", "3", "--trigger", "listener")
    assert answer.exit_code == 3
    assert "3" in answer.stderr
    assert home.wanted() == 0


@pytest.mark.parametrize("verb", ["redrive", "drop"])
def test_without_a_choice_nothing_is_done(home: Home, verb: str) -> None:
    answer = home("dead", verb)
    assert answer.exit_code == 2
    assert "--trigger NAME or --all" in answer.stderr
    assert home.numbers() == [1, 2, 3]


def test_many_letters_are_dropped_only_after_a_yes(home: Home) -> None:
    refused = home("dead", "drop", "--all", input="n\n")
    assert refused.exit_code == 1
    assert "Forget 3 dead letters?" in refused.stderr
    assert home.numbers() == [1, 2, 3]
    assert home("dead", "drop", "--trigger", "pager", input="y\n").exit_code == 0
    assert home.numbers() == [1, 2]
    assert home("dead", "drop", "2").stdout == "dropped 1\n"
    assert json.loads(home("dead", "drop", "--all", "--yes", "-o", "json").stdout) == {"dropped": 1}
    assert "no dead letters" in home("dead").stdout
    assert home("dead", "drop", "--all").exit_code == 0, "nothing is left to ask about"


# --- triggers --------------------------------------------------------------------------------------------
def test_a_paused_trigger_waits_and_goes_on_where_it_stopped(home: Home, listener: Subscriber) -> None:
    def standing() -> dict[str, Any]:
        rows = json.loads(home("trigger", "list", "--output", "json").stdout)
        return {one["trigger"]: one for one in rows}["pager"]

    assert standing() == {"trigger": "pager", "lag": 0, "retrying": 0, "dead": 1, "paused": False}
    assert home("trigger", "pause", "pager").stdout == "pager rests\n"
    assert home("trigger", "pause", "pager").stdout == "pager rested already\n"
    assert standing()["paused"]
    text = home("trigger", "list").stdout
    assert "paused" in text
    assert "running" in text
    assert home("trigger", "resume", "pager").stdout == "pager goes on\n"
    assert home("trigger", "resume", "pager").stdout == "pager did not rest\n"
    assert not standing()["paused"]


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_a_trigger_that_is_none_cannot_rest(home: Home, verb: str) -> None:
    answer = home("trigger", verb, "nobody")
    assert answer.exit_code == 3
    assert "there are: listener, pager" in answer.stderr


# --- history ---------------------------------------------------------------------------------------------
def test_a_dry_run_says_what_would_be_delivered_and_orders_nothing(home: Home) -> None:
    dry = home("replay", "--trigger", "listener", "--since", "1h", "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert "4 events would be delivered to listener once more" in dry.stderr
    assert len(dry.stdout.splitlines()) == 4
    pager = home("replay", "--trigger", "pager", "--since", "1h", "--dry-run", "-o", "json")
    listed = json.loads(pager.stdout)
    assert [one["id"] for one in listed] == ["c"], "only what the trigger's filter lets pass"
    assert home.wanted() == 0


def test_a_replay_delivers_history_once_more(home: Home, listener: Subscriber) -> None:
    done = home("replay", "--trigger", "listener", "--since", "1h", "-o", "json")
    assert json.loads(done.stdout) == {"replayed": 4}
    assert home("replay", "--trigger", "listener", "--since", "2020-01-01T00:00:00Z").stdout == "replayed 0\n"
    home.run({"listener": listener, "pager": Refusing()})
    assert sorted(listener.got) == ["a", "b", "c", "good"]


def test_a_replay_keeps_to_its_time(home: Home) -> None:
    with sqlite3.connect(home.state / "broker.db") as db:
        db.execute("UPDATE events SET accepted = 1000.0 + sequence")
    day = ["replay", "--trigger", "listener", "--dry-run", "-o", "json"]
    found = home(*day, "--since", "1970-01-01T00:16:42Z", "--until", "1970-01-01T00:16:43Z").stdout
    assert [one["sequence"] for one in json.loads(found)] == [2, 3]
    assert json.loads(home(*day, "--since", "1h").stdout) == []
    assert len(json.loads(home(*day, "--since", "1970-01-01T00:00:00Z").stdout)) == 4


def test_a_replay_to_nobody_exits_3_with_what_there_is(home: Home) -> None:
    answer = home("replay", "--trigger", "nobody", "--since", "1h")
    assert answer.exit_code == 3
    assert "listener" in answer.stderr


@pytest.mark.parametrize("since", ["yesterday", "", "2026-13-01", "99999999999999d", "0001-01-01T00:00:00"])
def test_a_time_that_is_none_names_the_mend(home: Home, since: str) -> None:
    answer = home("replay", "--trigger", "listener", "--since", since)
    assert answer.exit_code == 1, answer.output
    assert "--since" in answer.stderr
    assert "2h" in answer.stderr
    assert home.wanted() == 0


# --- no home, no use -------------------------------------------------------------------------------------
VERBS = (
    ["dead", "list"],
    ["dead", "show", "1"],
    ["dead", "redrive", "1"],
    ["dead", "drop", "1"],
    ["trigger", "list"],
    ["trigger", "pause", "pager"],
    ["trigger", "resume", "pager"],
    ["replay", "--trigger", "listener", "--since", "1h"],
)


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_where_no_home_has_run_every_verb_says_so(tmp_path: Path, words: list[str]) -> None:
    answer = Home(tmp_path / "nowhere")(*words)
    assert answer.exit_code == 1
    assert "no home has run here" in answer.stderr
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_a_file_that_cannot_be_used_is_told_without_a_traceback(tmp_path: Path, words: list[str]) -> None:
    with sqlite3.connect(tmp_path / "broker.db") as db:
        db.execute("PRAGMA user_version = 99")
    newer = Home(tmp_path)(*words)
    assert newer.exit_code == 1
    assert "newer Homeostat" in newer.stderr
    assert isinstance(newer.exception, SystemExit)


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_every_verb_explains_itself_with_an_example(words: list[str]) -> None:
    verb = words[:2] if words[0] != "replay" else words[:1]
    told = CliRunner().invoke(cli, [*verb, "--help"])
    assert told.exit_code == 0
    assert f"homeostat {' '.join(verb)}" in told.output
    assert "Example:" in told.output
