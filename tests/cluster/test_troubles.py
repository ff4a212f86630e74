"""Trouble with the API server, and with the work itself: each ends in a condition on the Detector and in an
event, nothing is lost or done twice, and nobody has to lend a hand."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from homeostat.eventing import codec
from homeostat.eventing.errors import Fault, Reject, Retry
from homeostat.eventing.messages import (
    CanaryRolledBack,
    CanaryTick,
    DataLanded,
    EvalPassed,
    ExperimentChanged,
    ModelPromoted,
    RollbackRequested,
    StartTraining,
    TrainingCompleted,
    TrainingFailed,
    TrainingRequested,
    TuningFailed,
    WorkHindered,
    WorkResumed,
)
from homeostat.eventing.wire import WireEvent
from homeostat.functions.canary import CanaryFacts
from homeostat.functions.detector import Batch, RevisionFigures, Status, Tuning
from homeostat.functions.work import WorkFacts
from homeostat.infra.chain import chain, promotion, tell
from homeostat.infra.cluster import history
from tests.cluster.api_server import ApiServer
from tests.cluster.callers import detector
from tests.cluster.replicas import Replica, answering, away, condition, expired, mute, status_of
from tests.functions.detectors import NOON, SECOND, batch, canary, cause, completed, figures, revision, run

READY = Status(batches=(batch(rows=6000),), new_rows=6000)
FORBIDDEN = "cannot create runs: grant the verb create"


def wire(event: Any, id: str = "e1", subject: str | None = "pump") -> WireEvent:
    found = codec.announce(event, id=id, source="/t", subject="pump", cause=cause("c"), now=NOON)
    dropped = () if subject else ("subject",)
    kept = {name: value for name, value in found.attributes.items() if name not in dropped}
    kept.pop("causationid")
    return WireEvent(kept, found.data)


WANTED = wire(TrainingRequested(force=True))
TICK = wire(CanaryTick(), "tick", None)


def put(server: ApiServer, status: Status = READY) -> None:
    server.put({**detector("pump"), "status": {**status.model_dump(mode="json"), "phase": status.phase}})


@pytest.fixture
def replica(server: ApiServer, tmp_path: Path) -> Replica:
    put(server)
    return Replica(server, "plan-retraining", tmp_path / "token")


def of(server: ApiServer, function: str, tmp_path: Path, **more: Any) -> Replica:
    return Replica(server, function, tmp_path / function, **more)


async def nothing(*_: object) -> None:
    """What an observer answers that could not measure."""


# --- the API server -----------------------------------------------------------------------------------------
Trouble = Callable[[ApiServer, Replica], contextlib.AbstractContextManager[None]]
TROUBLES: dict[str, Trouble] = {
    "cannot {} detectors.*429 'not now'": partial(answering, code=429, retry_after="1"),
    "cannot {} detectors.*500 'not now'": partial(answering, code=500),
    "cannot {} detectors.*503 'not now'": partial(answering, code=503),
    "cannot {} detectors.*the token was not accepted": expired,
    "cannot {} detectors.*no answer .*Connect": away,
    "cannot {} detectors.*no answer .*Timeout": mute,
}
CALLS = {"claimed": 1, "snapshot": 2, "commit": 3, "look": 4, "carried out": 5}
"""What a decision asks of the API server, in order."""


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("words", TROUBLES, ids=["429", "500", "503", "401", "away", "mute"])
def test_an_event_in_trouble_is_carried_out_when_it_comes_again(
    server: ApiServer, replica: Replica, words: str, call: str
) -> None:
    trouble = contextlib.ExitStack()
    replica.from_call(CALLS[call], lambda: trouble.enter_context(TROUBLES[words](server, replica)))
    verb = "update" if call in ("commit", "carried out") else "get"
    with trouble, pytest.raises(Retry, match=words.format(verb)):
        replica.handle(WANTED)
    replica.later(seconds=30)
    replica.handle(WANTED)
    assert len({one.run for one in replica.done}) == 1, "a run that was begun already is the same run"
    status = status_of(server)
    assert status["run"]["name"] == replica.done[0].run
    assert status["claims"]["open"] == []
    found = condition(server, "Reachable")
    assert found is not None
    assert found[:2] == ("True", "Recovered")
    assert found[2].startswith(f"cannot {verb} detectors")
    assert found[2].endswith("from 2026-03-01T12:00:00Z to 2026-03-01T12:00:30Z")
    (resumed,) = replica.told(WorkResumed)
    assert resumed["function"] == "plan-retraining"
    assert resumed["since"] == "2026-03-01T12:00:00Z"
    assert resumed["reason"].startswith(f"cannot {verb} detectors")
    replica.handle(WANTED)
    assert len(replica.told(WorkResumed)) == 1
    assert [one["type"] for one in status["history"]] == [TrainingRequested.type, WorkResumed.type]


def test_what_passes_while_the_client_is_patient_is_not_told(server: ApiServer, replica: Replica) -> None:
    with answering(server, replica, 503):
        server.troubles.pop()
        replica.handle(WANTED)
    assert len(replica.done) == 1
    assert replica.emitted == []
    assert condition(server, "Reachable") is None


def test_trouble_at_a_tick_is_told_on_every_detector_even_if_nothing_is_to_be_done(
    server: ApiServer, replica: Replica
) -> None:
    server.put(detector("fan"))
    with away(server, replica), pytest.raises(Retry):
        replica.handle(TICK)
    replica.handle(wire(CanaryTick(), "another", None))
    found = [condition(server, "Reachable", name) for name in ("fan", "pump")]
    assert [one and one[:2] for one in found] == [("True", "Recovered")] * 2
    assert {one.attributes["subject"] for one in replica.emitted} == {"fan", "pump"}
    before = [status_of(server, name) for name in ("fan", "pump")]
    replica.handle(wire(CanaryTick(), "a third", None))
    assert [status_of(server, name) for name in ("fan", "pump")] == before, "once"


def test_two_troubles_in_a_row_are_one_with_its_first_hour_and_its_last_reason(
    server: ApiServer, replica: Replica
) -> None:
    for trouble in (away, expired):
        with trouble(server, replica), pytest.raises(Retry):
            replica.handle(WANTED)
        replica.later(seconds=10)
    replica.handle(WANTED)
    found = condition(server, "Reachable")
    assert found is not None
    assert "the token was not accepted" in found[2]
    assert found[2].endswith("from 2026-03-01T12:00:00Z to 2026-03-01T12:00:20Z")


@pytest.mark.parametrize("call", ["claimed", "carried out"])
def test_the_next_event_does_not_tell_it_again(server: ApiServer, replica: Replica, call: str) -> None:
    gone = contextlib.ExitStack()
    replica.from_call(CALLS[call], lambda: gone.enter_context(away(server, replica)))
    with gone, pytest.raises(Retry):
        replica.handle(WANTED)
    if call == "claimed":  # decided, and told with what is to be done, which something else hinders
        replica.failures = [Retry(FORBIDDEN, kind="Forbidden")]
        with pytest.raises(Retry, match="grant"):
            replica.handle(WANTED)
    else:
        replica.handle(WANTED)
    replica.handle(wire(TrainingRequested(), "e2"))
    replica.finish_all()
    told = [one["reason"] for one in replica.told(WorkResumed)]
    assert len([one for one in told if "no answer" in one]) == 1


# --- the work itself ----------------------------------------------------------------------------------------
def test_hindered_work_is_stated_and_told_once_and_once_when_it_is_resumed(
    server: ApiServer, replica: Replica
) -> None:
    replica.failures = [Retry(FORBIDDEN, kind="Forbidden"), Retry(FORBIDDEN + " on them", kind="Forbidden")]
    for _ in range(2):
        with pytest.raises(Retry, match="grant the verb"):
            replica.handle(WANTED)
        replica.later(seconds=60)
    found = condition(server, "CarriedOut")
    assert found == ("False", "Forbidden", f"plan-retraining: {FORBIDDEN}, since 2026-03-01T12:00:00Z")
    (hindered,) = replica.emitted
    run = status_of(server)["run"]["name"]
    assert replica.told(WorkHindered) == [
        {"function": "plan-retraining", "commands": [f"StartTraining {run}"], "reason": FORBIDDEN}
    ]
    assert hindered.attributes["subject"] == "pump"
    assert hindered.attributes["causationid"] == "e1"
    replica.handle(WANTED)
    assert [type(one) for one in replica.done] == [StartTraining]
    found = condition(server, "CarriedOut")
    assert found is not None
    assert found[:2] == ("True", "Recovered")
    assert found[2] == f"{FORBIDDEN}, from 2026-03-01T12:00:00Z to 2026-03-01T12:02:00Z"
    (resumed,) = replica.told(WorkResumed)
    assert (resumed["reason"], resumed["since"]) == (FORBIDDEN, "2026-03-01T12:00:00Z")
    assert len({one.attributes["id"] for one in replica.emitted}) == 2
    replica.handle(WANTED)
    assert len(replica.emitted) == 2


def test_another_kind_of_trouble_is_told_anew(server: ApiServer, replica: Replica) -> None:
    for failure in (Retry("503", kind="ServerError"), Reject(Fault("run", "too long", "shorten it"))):
        replica.failures = [failure]
        with pytest.raises(type(failure)):
            replica.handle(WANTED)
    told = replica.told(WorkHindered)
    assert [one["reason"] for one in told] == ["503", "run is too long: shorten it"]
    found = condition(server, "CarriedOut")
    assert found is not None
    assert found[:2] == ("False", "Rejected")


def test_what_only_has_to_wait_its_turn_is_stated_and_not_told(server: ApiServer, replica: Replica) -> None:
    replica.failures = [Retry("pump: the canary has to load first", kind="Waiting")]
    with pytest.raises(Retry):
        replica.handle(WANTED)
    found = condition(server, "CarriedOut")
    assert found is not None
    assert found[:2] == ("Unknown", "Waiting")
    replica.handle(WANTED)
    found = condition(server, "CarriedOut")
    assert found is not None
    assert found[:2] == ("True", "Recovered")
    assert replica.emitted == []


def test_a_defect_of_ours_is_stated_by_its_name(server: ApiServer, replica: Replica) -> None:
    replica.failures = [KeyError("run")]
    with pytest.raises(KeyError):
        replica.handle(WANTED)
    found = condition(server, "CarriedOut")
    assert found is not None
    assert found[1] == "KeyError"


def test_one_decision_that_is_resumed_leaves_another_one_stated(server: ApiServer, replica: Replica) -> None:
    roll_out = of(server, "roll-out", replica.token.parent, observers={CanaryFacts: nothing})
    put(server, READY.model_copy(update={"serving": revision("r2"), "previous": revision("r1")}))
    roll_out.failures = [Retry("500", kind="ServerError")]
    replica.failures = [Retry(FORBIDDEN, kind="Forbidden")]
    with pytest.raises(Retry):
        roll_out.handle(wire(RollbackRequested(), "bad"))
    with pytest.raises(Retry):
        replica.handle(WANTED)
    replica.handle(WANTED)
    found = condition(server, "CarriedOut")
    assert found is not None
    assert found[:2] == ("False", "ServerError")
    roll_out.finish_all()
    found = condition(server, "CarriedOut")
    assert found is not None
    assert found[:2] == ("True", "Recovered")


def test_the_broker_away_is_stated_and_told_when_it_is_back(server: ApiServer, tmp_path: Path) -> None:
    judge = of(server, "judge-candidate", tmp_path)
    put(server, READY.model_copy(update={"run": run()}))

    def broken(where: str) -> None:
        if where == "emit":
            raise Retry("the broker does not answer", kind="Unreachable")

    judge.before_each = broken
    done = wire(completed())
    with pytest.raises(Retry, match="broker"):
        judge.handle(done)
    found = condition(server, "CarriedOut")
    assert found is not None
    assert found[:2] == ("False", "Unreachable")
    judge.before_each = lambda _: None
    judge.handle(done)
    assert [one.attributes["type"] for one in judge.emitted] == [EvalPassed.type, WorkResumed.type]


def test_the_error_itself_reaches_the_sender_when_it_cannot_be_stated(
    server: ApiServer, replica: Replica
) -> None:
    gone = contextlib.ExitStack()
    replica.failures = [Retry(FORBIDDEN, kind="Forbidden")]
    replica.before_each = lambda _: gone.enter_context(away(server, replica)) if replica.failures else None
    with gone, pytest.raises(Retry, match="grant the verb"):
        replica.handle(WANTED)
    assert condition(server, "CarriedOut") is None
    replica.handle(WANTED)
    found = condition(server, "Reachable")
    assert found is not None
    assert "cannot get detectors" in found[2]
    assert len(replica.done) == len(replica.told(WorkResumed)) == 1


def test_what_a_dead_letter_left_is_finished_and_told_under_the_same_id(
    server: ApiServer, replica: Replica
) -> None:
    replica.failures = [Retry(FORBIDDEN, kind="Forbidden")] * 2
    with pytest.raises(Retry):
        replica.handle(WANTED)
    replica.finish_all()
    assert len(replica.told(WorkHindered)) == 1, "the same trouble, from a process that knows no event"
    replica.finish_all()
    assert len(replica.done) == len(replica.told(WorkResumed)) == 1
    assert status_of(server)["claims"]["open"] == []


def test_a_twin_that_was_hindered_meanwhile_is_told_to_be_over(server: ApiServer, replica: Replica) -> None:
    twin = Replica(server, "plan-retraining", replica.token.with_name("twin"))
    twin.failures = [Retry(FORBIDDEN, kind="Forbidden")]

    def meanwhile(where: str) -> None:
        replica.before_each = lambda _: None
        with ThreadPoolExecutor(1) as beside, pytest.raises(Retry):
            beside.submit(twin.handle, WANTED).result()

    replica.before_each = meanwhile
    replica.handle(WANTED)
    assert len(twin.told(WorkHindered)) == len(replica.told(WorkResumed)) == 1
    found = condition(server, "CarriedOut")
    assert found is not None
    assert found[:2] == ("True", "Recovered")


# --- deleted, and made anew ---------------------------------------------------------------------------------
def test_a_detector_that_is_deleted_while_its_work_is_done_ends_quietly(
    server: ApiServer, replica: Replica
) -> None:
    replica.before_each = lambda _: server.remove("Detector", "pump")
    replica.handle(WANTED)
    replica.failures = [Retry(FORBIDDEN)]
    put(server)
    with pytest.raises(Retry, match="grant"):
        replica.handle(wire(TrainingRequested(force=True), "e2"))
    assert server.get("Detector", "pump") is None
    with pytest.raises(Reject, match="apply a Detector of that name first"):
        replica.handle(WANTED)


def test_one_made_anew_under_the_name_inherits_nothing(server: ApiServer, replica: Replica) -> None:
    replica.failures = [Retry(FORBIDDEN, kind="Forbidden")]
    with pytest.raises(Retry):
        replica.handle(WANTED)
    assert len(replica.detectors.unfinished()) == 1
    server.remove("Detector", "pump")
    server.put(detector("pump"))
    assert replica.detectors.unfinished() == []
    replica.finish_all()
    assert replica.done == []
    replica.handle(WANTED)
    assert replica.done == [], "its own guards: it has no rows yet"
    assert condition(server, "CarriedOut") is None


def test_a_late_candidate_of_the_deleted_one_is_not_the_new_ones(
    server: ApiServer, replica: Replica, tmp_path: Path
) -> None:
    judge = of(server, "judge-candidate", tmp_path)
    replica.handle(WANTED)
    old = status_of(server)["run"]["name"]
    server.remove("Detector", "pump")
    put(server)
    replica.handle(wire(TrainingRequested(force=True), "e2"))
    new = status_of(server)["run"]["name"]
    assert old != new
    judge.handle(wire(completed(old), "late"))
    status = status_of(server)
    assert (status["run"]["name"], status["judging"]) == (new, None)
    assert judge.emitted == []
    found = condition(server, "Trained")
    assert found is not None
    assert found[:2] == ("Unknown", "Running")
    judge.handle(wire(completed(new), "its own"))
    found = condition(server, "Trained")
    assert found is not None
    assert found[:2] == ("True", "RunCompleted")


# --- what ends badly elsewhere ------------------------------------------------------------------------------
def test_a_run_that_fails_is_a_condition(server: ApiServer, replica: Replica) -> None:
    put(server, READY.model_copy(update={"run": run(), "starts": (NOON,)}))
    replica.handle(wire(TrainingFailed(run="pump-run", step="fit", error="out of memory")))
    assert condition(server, "Trained") == ("False", "RunFailed", "pump-run: fit out of memory")


def test_a_run_that_vanishes_is_a_condition_and_an_event(server: ApiServer, tmp_path: Path) -> None:
    async def gone(*_: object) -> WorkFacts:
        return WorkFacts("pump-run", "gone")

    planner = of(server, "plan-retraining", tmp_path, observers={WorkFacts: gone})
    put(server, READY.model_copy(update={"run": run(), "starts": (NOON,)}))
    for minute in range(4):
        planner.handle(wire(CanaryTick(), f"tick {minute}", None))
        planner.later(minutes=1)
    found = condition(server, "Trained")
    assert found is not None
    assert found[:2] == ("False", "RunVanished")
    assert len(planner.told(TrainingFailed)) == 1


def test_an_experiment_that_fails_is_a_condition_and_an_event(server: ApiServer, tmp_path: Path) -> None:
    tuner = of(server, "finish-tuning", tmp_path)
    search = Tuning(
        name="pump-t", algorithm="isolation-forest", started=NOON, reason="drift persists", cause=cause()
    )
    put(server, READY.model_copy(update={"tuning": search}))
    failed = {"type": "Failed", "status": "True", "reason": "TrialsFailed", "message": "4 of 4"}
    experiment = {
        "kind": "Experiment",
        "metadata": {"name": "pump-t", "labels": {codec.LABEL: "pump"}},
        "status": {"conditions": [failed]},
    }
    tuner.handle(wire(ExperimentChanged(experiment=experiment)))
    assert condition(server, "Tuned") == ("False", "ExperimentFailed", "pump-t: TrialsFailed: 4 of 4")
    assert len(tuner.told(TuningFailed)) == 1


@pytest.mark.parametrize(("seen", "reason"), [(False, "NeverReady"), (True, "RolledBack")])
def test_an_inference_service_that_is_never_ready_is_a_condition_and_an_event(
    server: ApiServer, tmp_path: Path, seen: bool, reason: str
) -> None:
    facts = [CanaryFacts(ready=True, canary=canary().base_canary)] if seen else []

    async def looked(*_: object) -> CanaryFacts:
        return facts.pop() if facts else CanaryFacts(ready=False)

    roll_out = of(server, "roll-out", tmp_path, observers={CanaryFacts: looked})
    trial = canary(percent=100) if not seen else canary(percent=100, step_started=NOON + SECOND)
    put(server, READY.model_copy(update={"canary": trial}))
    roll_out.later(minutes=6)
    roll_out.handle(TICK)
    found = condition(server, "RolledOut")
    if seen:
        roll_out.later(minutes=6)
        roll_out.handle(wire(CanaryTick(), "later", None))
        found = condition(server, "RolledOut")
    assert found is not None
    assert found[:2] == ("False", reason)
    assert "did not become ready" in found[2]
    (rolled_back,) = roll_out.told(CanaryRolledBack)
    assert rolled_back["revision"] == "r2"


# --- why ----------------------------------------------------------------------------------------------------
def test_the_history_tells_why_of_all_that(server: ApiServer, replica: Replica) -> None:
    replica.failures = [Retry(FORBIDDEN, kind="Forbidden")]
    with pytest.raises(Retry):
        replica.handle(WANTED)
    replica.handle(WANTED)
    told = history.events(server.get("Detector", "pump") or {})
    links = chain(told, told[-1])
    assert [one.event.attributes["type"] for one in links] == [TrainingRequested.type, WorkResumed.type]
    (hindered,) = links[0].beside
    assert tell(hindered) == f"plan-retraining: {FORBIDDEN}"
    assert tell(links[1].event) == f"plan-retraining, since 2026-03-01T12:00:00Z: {FORBIDDEN}"


def test_from_rows_to_the_model_that_serves_the_detector_alone_tells_why(
    server: ApiServer, tmp_path: Path
) -> None:
    facts = [CanaryFacts(ready=True, canary=RevisionFigures()), CanaryFacts(ready=True, canary=figures(300))]

    async def landed(*_: object) -> Batch:
        return batch(rows=6000)

    async def looked(*_: object) -> CanaryFacts:
        return facts.pop(0)

    put(server, Status())
    receive = of(server, "receive-data", tmp_path, observers={Batch: landed})
    plan = of(server, "plan-retraining", tmp_path)
    judge = of(server, "judge-candidate", tmp_path)
    roll_out = of(server, "roll-out", tmp_path, observers={CanaryFacts: looked})
    receive.handle(wire(DataLanded(uri="a.csv"), "landed"))
    plan.handle(receive.emitted[0])
    plan.later(minutes=1)
    plan.handle(wire(CanaryTick(), "t1", None))
    (started,) = plan.done
    trained = wire(completed(started.run), "trained")
    by = {"causationid": receive.emitted[0].attributes["id"]}
    judge.handle(WireEvent({**trained.attributes, **by}, trained.data))
    facts.insert(0, CanaryFacts(ready=False))
    roll_out.handle(judge.emitted[0])
    for minute in (1, 2):
        roll_out.later(minutes=minute)
        roll_out.handle(wire(CanaryTick(), f"t{minute + 1}", None))
    assert condition(server, "RolledOut") == ("True", "Promoted", f"{started.run} serves")
    told = history.events(server.get("Detector", "pump") or {})
    last = promotion(told, "pump", started.run)
    assert last is not None
    assert [one.event.attributes["type"] for one in chain(told, last)] == [
        DataLanded.type,
        TrainingRequested.type,
        TrainingCompleted.type,
        EvalPassed.type,
        ModelPromoted.type,
    ]
