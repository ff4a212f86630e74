"""The shell around a decision, with a real store: what is decided is done, once, whatever breaks between."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from homeostat.eventing import codec
from homeostat.eventing.codec import MAX_HOPS
from homeostat.eventing.errors import Reject, Retry
from homeostat.eventing.messages import (
    CanaryTick,
    Command,
    DataLanded,
    EvalPassed,
    ModelPromoted,
    Promote,
    RollbackRequested,
    StartTraining,
    TrainingCompleted,
    TrainingRequested,
    WorkHindered,
    WorkResumed,
)
from homeostat.eventing.wire import WireEvent
from homeostat.functions.canary import CanaryFacts
from homeostat.functions.detector import Batch, Cause, Detector, RevisionFigures, Status
from homeostat.functions.spec import Spec
from homeostat.infra.local.store import Store
from homeostat.infra.outcome import Claim, Outcome
from homeostat.infra.shell import ATTEMPTS, Host, handle
from homeostat.infra.trouble import Trouble
from tests.functions.detectors import NOON, SECOND, batch, canary, cause, completed, figures, run, spec

READY = Status(batches=(batch(rows=6000),), new_rows=6000)


def event(
    kind: type[Any], subject: str | None = "pump", id: str = "e1", data: Any = None, **more: str
) -> WireEvent:
    attributes = {"specversion": "1.0", "id": id, "source": "/test", "type": kind.type, **more}
    if subject is not None:
        attributes["subject"] = subject
    return WireEvent(attributes, orjson.dumps(data or {}))


class Crash(BaseException):
    """The process ended here: nothing that handles errors sees it."""


@dataclass
class Home:
    """A host that writes down what it is told to do; it fails as often as `crashes` says."""

    store: Store
    commands: list[Command] = field(default_factory=list)
    snapshots: list[Detector] = field(default_factory=list)
    events: list[WireEvent] = field(default_factory=list)
    facts: CanaryFacts | None = None
    crashes: dict[str, int] = field(default_factory=dict)
    failures: list[Exception] = field(default_factory=list)
    now: datetime = NOON

    @property
    def host(self) -> Host:
        async def execute(command: Any, detector: Detector) -> None:
            self._maybe_crash(f"execute {detector.name}")
            if self.failures:
                raise self.failures.pop(0)
            self.commands.append(command)
            self.snapshots.append(detector)

        async def emit(events: Sequence[WireEvent]) -> None:
            self._maybe_crash("emit")
            self.events += events

        async def observe_batch(landed: DataLanded, _: codec.Context, __: Detector) -> Batch:
            return batch(landed.uri, rows=6000, etag=landed.etag)

        async def observe_canary(*_: object) -> CanaryFacts | None:
            return self.facts

        return Host(
            detectors=self.store,
            emit=emit,
            executors=_Everything(execute),
            observers={Batch: observe_batch, CanaryFacts: observe_canary},
            clock=lambda: self.now,
        )

    def _maybe_crash(self, where: str) -> None:
        if self.crashes.get(where, 0) > 0:
            self.crashes[where] -= 1
            raise Crash(where)

    def handle(self, function: str, one: WireEvent) -> None:
        asyncio.run(handle(function, one, self.host))

    def status(self, name: str = "pump") -> Status:
        found = self.store.snapshot(name, NOON, cause())
        assert found is not None
        return found[0].status

    def put(self, status: Status, name: str = "pump") -> None:
        found = self.store.snapshot(name, NOON, cause())
        assert found is not None
        nothing = Outcome(detector=found[0], commands=[], events=[])
        assert self.store.commit(name, found[1], status, f"put {found[1]}", nothing)


class _Everything(dict[type[Command], Any]):
    def __init__(self, execute: Any) -> None:
        super().__init__()
        self._execute = execute

    def __missing__(self, _: type[Command]) -> Any:
        return self._execute


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with closing(Store(tmp_path / "detectors.db")) as store:
        store.apply("pump", spec())
        yield Home(store)


REQUESTED = event(TrainingRequested)


# --- once ---------------------------------------------------------------------------------------------------
def test_a_decision_is_remembered_and_carried_out(home: Home) -> None:
    home.put(READY)
    home.handle("plan-retraining", REQUESTED)
    (command,) = home.commands
    assert isinstance(command, StartTraining)
    started = home.status().run
    assert started is not None
    assert started.name == command.run
    assert home.snapshots[0].status == home.status(), "an executor sees what the decision made of the status"


def test_an_event_that_comes_again_does_nothing(home: Home) -> None:
    home.put(READY)
    home.handle("plan-retraining", REQUESTED)
    before = home.status()
    home.put(before.model_copy(update={"run": None, "starts": ()}))
    home.handle("plan-retraining", REQUESTED)
    assert len(home.commands) == 1
    assert home.status().run is None


def test_the_same_id_from_another_source_or_of_another_type_is_another_event(home: Home) -> None:
    home.handle("plan-retraining", REQUESTED)
    assert home.store.claimed("pump", f"/test e1 {TrainingRequested.type} plan-retraining")
    assert not home.store.claimed("pump", f"/other e1 {TrainingRequested.type} plan-retraining")
    home.put(READY)
    home.handle("plan-retraining", event(TrainingRequested, source="/other"))
    assert len(home.commands) == 1


def test_an_event_is_handled_by_each_of_its_functions(home: Home) -> None:
    home.put(READY.model_copy(update={"canary": canary(started=NOON)}))
    home.facts = CanaryFacts(ready=True, stable=RevisionFigures(), canary=RevisionFigures())
    tick = event(CanaryTick, subject=None)
    home.handle("plan-retraining", tick)
    home.handle("roll-out", tick)
    trial = home.status().canary
    assert trial is not None
    assert trial.percent == 5


# --- crashes ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("crashes", [1, 3])
def test_a_command_that_a_crash_cut_off_is_carried_out_when_the_event_returns(
    home: Home, crashes: int
) -> None:
    home.put(READY)
    home.crashes = {"execute pump": crashes}
    for _ in range(crashes):
        with pytest.raises(Crash):
            home.handle("plan-retraining", REQUESTED)
    claimed = home.status()
    assert claimed.run is not None
    home.now += 3600 * SECOND
    home.handle("plan-retraining", REQUESTED)
    assert [type(one) for one in home.commands] == [StartTraining]
    assert home.status() == claimed, "decided once: the time of the redelivery changes nothing"


def test_events_that_a_crash_cut_off_are_posted_with_the_same_ids(home: Home) -> None:
    home.put(READY.model_copy(update={"run": run()}))
    verdict = event(TrainingCompleted, data=codec.data(completed()))
    home.crashes = {"emit": 1}
    with pytest.raises(Crash):
        home.handle("judge-candidate", verdict)
    assert home.status().run is None, "claimed before it was posted"
    home.handle("judge-candidate", verdict)
    (posted,) = home.events
    assert posted.attributes["type"] == EvalPassed.type
    assert posted.attributes["id"] == codec.identity("e1", "judge-candidate", "pump", 0)


def test_after_a_crash_between_commands_and_events_the_commands_come_again(home: Home) -> None:
    previous = canary().revision
    home.put(READY.model_copy(update={"serving": previous, "previous": previous}))
    home.crashes = {"emit": 1}
    with pytest.raises(Crash):
        home.handle("roll-out", event(RollbackRequested))
    home.handle("roll-out", event(RollbackRequested))
    assert len(home.commands) == 2
    assert home.commands[0] == home.commands[1], "executors are idempotent, and told exactly the same"
    assert len(home.events) == 1


def test_what_was_carried_out_is_not_kept(home: Home) -> None:
    home.put(READY)
    home.handle("plan-retraining", REQUESTED)
    assert home.store.claimed("pump", " ".join((*REQUESTED.key, "plan-retraining"))) == Claim(None)


# --- races --------------------------------------------------------------------------------------------------
def test_different_events_at_once_start_one_training(home: Home) -> None:
    home.put(READY)
    events = [event(TrainingRequested, id=f"e{place}") for place in range(8)]

    async def all_at_once() -> None:
        await asyncio.gather(*(handle("plan-retraining", one, home.host) for one in events))

    asyncio.run(all_at_once())
    assert len(home.commands) == 1
    status = home.status()
    assert status.run is not None
    assert status.waiting is not None, "the other wishes wait as one"


def test_the_same_event_at_once_is_decided_once(home: Home) -> None:
    home.put(READY)

    async def all_at_once() -> None:
        await asyncio.gather(*(handle("plan-retraining", REQUESTED, home.host) for _ in range(8)))

    asyncio.run(all_at_once())
    assert len({one.run for one in home.commands if isinstance(one, StartTraining)}) == 1
    assert home.status().waiting is None


def test_batches_that_land_at_once_are_all_counted(home: Home) -> None:
    events = [event(DataLanded, id=f"e{n}", data={"uri": f"{n}.csv", "etag": str(n)}) for n in range(6)]

    async def all_at_once() -> None:
        await asyncio.gather(*(handle("receive-data", one, home.host) for one in events))

    asyncio.run(all_at_once())
    assert home.status().new_rows == 6 * 6000
    assert len(home.status().batches) == 6


@dataclass
class Contested:
    """A store in which somebody else is always a little faster, `times` times."""

    store: Store
    times: int
    rows: int = 0

    def names(self) -> list[str]:
        return self.store.names()

    def apply(self, name: str, spec: Spec) -> str:
        return self.store.apply(name, spec)

    def snapshot(self, name: str, now: datetime, cause: Cause) -> tuple[Detector, int] | None:
        return self.store.snapshot(name, now, cause)

    def claimed(self, name: str, key: str) -> Claim | None:
        return self.store.claimed(name, key)

    def carried_out(self, name: str, key: str, now: datetime, *more: Any) -> Trouble | None:
        return self.store.carried_out(name, key, now, *more)

    def hindered(self, name: str, key: str, trouble: Trouble, telling: WireEvent) -> bool:
        return self.store.hindered(name, key, trouble, telling)

    def unfinished(self) -> list[tuple[str, str, Outcome]]:
        return self.store.unfinished()

    def commit(self, name: str, version: int, status: Status, key: str, outcome: Outcome) -> bool:
        if self.times > 0:
            self.times -= 1
            self.rows += 1
            found = self.store.snapshot(name, NOON, cause())
            assert found is not None
            faster = found[0].status.model_copy(update={"run": run(f"other-{self.rows}")})
            empty = Outcome(detector=outcome.detector, commands=[], events=[])
            assert self.store.commit(name, version, faster, f"other {self.rows}", empty)
        return self.store.commit(name, version, status, key, outcome)


def test_a_lost_race_has_done_nothing_and_decides_again(home: Home) -> None:
    home.put(READY)
    host = replace(home.host, detectors=Contested(home.store, times=1))
    asyncio.run(handle("plan-retraining", REQUESTED, host))
    assert home.commands == [], "decided anew, the other's run stands in the way"
    status = home.status()
    assert status.run is not None
    assert status.run.name == "other-1"
    assert status.waiting is not None


def test_who_loses_every_race_is_asked_to_come_again(home: Home) -> None:
    home.put(READY)
    host = replace(home.host, detectors=Contested(home.store, times=ATTEMPTS))
    with pytest.raises(Retry):
        asyncio.run(handle("plan-retraining", REQUESTED, host))
    assert home.commands == []


# --- trouble ------------------------------------------------------------------------------------------------
def told(home: Home) -> list[tuple[str, dict[str, Any]]]:
    return [(one.attributes["type"], orjson.loads(one.data or b"")) for one in home.events]


def test_hindered_work_is_told_once_and_once_when_it_is_resumed(home: Home) -> None:
    home.put(READY)
    home.failures = [Retry("no room", kind="NoRoom"), Retry("still no room", kind="NoRoom")]
    for _ in range(2):
        with pytest.raises(Retry, match="no room"):
            home.handle("plan-retraining", REQUESTED)
    home.now += 60 * SECOND
    home.handle("plan-retraining", REQUESTED)
    home.handle("plan-retraining", REQUESTED)
    (command,) = home.commands
    assert isinstance(command, StartTraining)
    common = {
        "function": "plan-retraining",
        "commands": [f"StartTraining {command.run}"],
        "reason": "no room",
    }
    assert told(home) == [
        (WorkHindered.type, common),
        (WorkResumed.type, {**common, "since": "2026-03-01T12:00:00Z"}),
    ]
    for one in home.events:
        where = (one.attributes["subject"], one.attributes["source"], one.attributes["causationid"])
        assert where == ("pump", "/homeostat/functions/plan-retraining", "e1")


def test_what_hinders_on_a_tick_goes_back_to_what_the_run_answers(home: Home) -> None:
    two_waiting(home)
    home.failures = [Retry("no room")]
    with pytest.raises(Retry):
        home.handle("plan-retraining", TICK)
    (hindered,) = home.events
    assert hindered.attributes["causationid"] == f"want {hindered.attributes['subject']}"


@dataclass
class Away(Contested):
    """A store that does not answer while `away`."""

    away: bool = True

    def claimed(self, name: str, key: str) -> Claim | None:
        if self.away:
            raise OSError("the disk is gone")
        return self.store.claimed(name, key)


def test_a_store_that_was_away_is_told_when_it_answers_again(home: Home) -> None:
    home.put(READY)
    store = Away(home.store, times=0)
    host = replace(home.host, detectors=store)
    with pytest.raises(OSError, match="disk"):
        asyncio.run(handle("plan-retraining", REQUESTED, host))
    store.away = False
    for _ in range(2):
        asyncio.run(handle("plan-retraining", REQUESTED, host))
    ((kind, data),) = told(home)
    assert (kind, data["reason"]) == (WorkResumed.type, "OSError: the disk is gone")


def test_a_refused_event_and_a_lost_race_are_no_trouble_of_the_store(home: Home) -> None:
    home.put(READY)
    host = replace(home.host, detectors=Contested(home.store, times=ATTEMPTS))
    with pytest.raises(Retry):
        asyncio.run(handle("plan-retraining", REQUESTED, host))
    with pytest.raises(Reject):
        asyncio.run(handle("plan-retraining", event(TrainingRequested, "fan"), host))
    asyncio.run(handle("plan-retraining", REQUESTED, host))
    assert home.events == []


# --- the chain ----------------------------------------------------------------------------------------------
def test_events_cite_their_cause(home: Home) -> None:
    landed = event(DataLanded, data={"uri": "a.csv", "etag": "1"}, traceparent="00-1-1-01", hops="3")
    home.handle("receive-data", landed)
    (posted,) = home.events
    told = posted.attributes
    assert told["type"] == TrainingRequested.type
    assert told["id"] == codec.identity("e1", "receive-data", "pump", 0)
    assert (told["causationid"], told["correlationid"], told["hops"]) == ("e1", "e1", "4")
    assert (told["subject"], told["source"]) == ("pump", "/homeostat/functions/receive-data")
    assert (told["time"], told["traceparent"]) == ("2026-03-01T12:00:00Z", "00-1-1-01")


def test_a_run_remembers_the_request_that_it_answers(home: Home) -> None:
    home.put(READY)
    home.handle("plan-retraining", event(TrainingRequested, correlationid="c", hops="2"))
    started = home.status().run
    assert started is not None
    assert started.cause == Cause(id="e1", correlationid="c", hops=2)


def test_what_a_tick_promotes_goes_back_to_the_verdict_that_began_the_canary(home: Home) -> None:
    trial = canary(percent=100, base_canary=RevisionFigures(), cause=cause("the verdict"))
    home.put(READY.model_copy(update={"canary": trial}))
    home.facts = CanaryFacts(ready=True, canary=figures(200))
    home.now = NOON + 60 * SECOND
    home.handle("roll-out", event(CanaryTick, subject=None, id="tick"))
    (command,) = home.commands
    assert isinstance(command, Promote)
    posted, _ = home.events
    assert posted.attributes["type"] == ModelPromoted.type
    assert posted.attributes["causationid"] == "the verdict"
    assert posted.attributes["id"] == codec.identity("tick", "roll-out", "pump", 0)


def test_a_chain_that_became_a_loop_is_rejected(home: Home) -> None:
    home.handle("plan-retraining", event(TrainingRequested, hops=str(MAX_HOPS)))
    with pytest.raises(Reject, match=rf"hops is '{MAX_HOPS + 1}'.*homeostat why"):
        home.handle("plan-retraining", event(TrainingRequested, hops=str(MAX_HOPS + 1), id="e2"))


# --- ticks --------------------------------------------------------------------------------------------------
def two_waiting(home: Home) -> None:
    home.store.apply("fan", spec())
    for name in ("fan", "pump"):
        home.handle("plan-retraining", event(TrainingRequested, name, id=f"want {name}"))
        home.put(home.status(name).model_copy(update={"batches": READY.batches}), name)


TICK = event(CanaryTick, subject=None, id="tick")


def test_a_tick_looks_at_every_detector(home: Home) -> None:
    two_waiting(home)
    home.handle("plan-retraining", TICK)
    assert sorted(one.detector for one in home.commands if isinstance(one, StartTraining)) == ["fan", "pump"]


def test_one_detector_that_fails_does_not_stop_the_others(home: Home) -> None:
    two_waiting(home)
    home.crashes = {"execute fan": 1}
    with pytest.raises(Crash):
        home.handle("plan-retraining", TICK)
    assert home.status("pump").run is not None
    home.handle("plan-retraining", TICK)
    assert sorted(one.detector for one in home.commands if isinstance(one, StartTraining)) == ["fan", "pump"]


def test_a_tick_without_detectors_does_nothing(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "empty.db")) as store:
        Home(store).handle("roll-out", TICK)


def test_a_tick_that_changes_nothing_leaves_no_trace(home: Home) -> None:
    found = home.store.snapshot("pump", NOON, cause())
    home.handle("roll-out", TICK)
    assert home.store.snapshot("pump", NOON, cause()) == found
    assert home.store.claimed("pump", " ".join((*TICK.key, "roll-out"))) is None


# --- refusals -----------------------------------------------------------------------------------------------
def test_an_unknown_detector_is_named_beside_the_known_ones(home: Home) -> None:
    with pytest.raises(Reject, match=r"subject is 'fan': apply a Detector .* \(known: pump\)"):
        home.handle("plan-retraining", event(TrainingRequested, "fan"))


def test_a_missing_subject_is_named(home: Home) -> None:
    with pytest.raises(Reject, match="subject is missing: name the detector"):
        home.handle("plan-retraining", event(TrainingRequested, None))


def test_a_type_that_nobody_knows_is_named_beside_the_known_ones(home: Home) -> None:
    unknown = WireEvent({**REQUESTED.attributes, "type": "dev.homeostat.training.wanted"}, b"{}")
    with pytest.raises(Reject, match=r"type is 'dev.homeostat.training.wanted'.*training.requested"):
        home.handle("plan-retraining", unknown)


def test_a_type_for_another_function_says_what_this_one_wakes_on(home: Home) -> None:
    with pytest.raises(Reject, match=f"judge-candidate wakes on {TrainingCompleted.type}"):
        home.handle("judge-candidate", REQUESTED)


def test_every_bad_field_is_named_and_nothing_is_claimed(home: Home) -> None:
    with pytest.raises(Reject) as raised:
        home.handle("plan-retraining", event(TrainingRequested, data={"force": "perhaps", "trigger": "moon"}))
    assert sorted(fault.field for fault in raised.value.faults) == ["data.force", "data.trigger"]
    assert home.status() == Status()


def test_kserves_own_attribute_names_the_detector(home: Home) -> None:
    home.put(READY)
    one = event(TrainingRequested, None, inferenceservicename="pump")
    home.handle("plan-retraining", one)
    assert len(home.commands) == 1
