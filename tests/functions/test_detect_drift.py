"""One verdict is noise, several in a row are drift, and drift is reported once."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.eventing.messages import DriftDetected, InferenceRequest, Span
from homeostat.functions.detect_drift import DriftFacts, DriftVerdict, decide
from homeostat.functions.detector import Detector, DriftState, Status, Watched
from homeostat.models.choices import DriftStream
from tests.functions.detectors import detector, later, none, only, remembered, revision, spec

REQUEST = InferenceRequest(instances=[[1.0]])


REFERENCE = Span(rows=2000, phase="06:00 to 07:00 of 24:00")
TESTED = Span(rows=500, start="2026-03-02T06:00:00Z", end="2026-03-02T06:08:20Z")


def one_verdict(drifted: bool = True, on: DriftStream = "features") -> DriftVerdict:
    return DriftVerdict(
        on=on,
        test="mmd",
        statistic=0.4 if drifted else 0.01,
        threshold=0.1,
        p_value=0.001,
        drifted=drifted,
        channels=("Pressure",) if on == "features" else (),
        correction="bonferroni",
        reference=REFERENCE,
        tested=TESTED,
    )


def verdict(drifted: bool = True, revision: str = "r1", on: DriftStream = "features") -> DriftFacts:
    return DriftFacts(revision, 500, (one_verdict(drifted, on),))


def told(one: Detector, verdicts: Iterable[bool]) -> tuple[list[int], Detector]:
    """The places at which drift was reported, and the detector after all verdicts."""
    reports = []
    for place, drifted in enumerate(verdicts):
        messages = list(decide(REQUEST, one, verdict(drifted)))
        reports += [place for message in messages if isinstance(message, DriftDetected)]
        one = later(one, messages)
    return reports, one


SERVING = detector(serving=revision("r1"))


def test_three_verdicts_in_a_row_are_drift() -> None:
    assert told(SERVING, [True, True])[0] == []
    assert told(SERVING, [True, True, True])[0] == [2]


def test_a_quiet_verdict_between_begins_the_count_anew() -> None:
    assert told(SERVING, [True, True, False, True, True])[0] == []


def test_drift_that_goes_on_is_reported_once() -> None:
    assert told(SERVING, [True] * 20)[0] == [2]


def test_drift_that_stopped_and_came_back_is_reported_again() -> None:
    assert told(SERVING, [True] * 4 + [False] + [True] * 4)[0] == [2, 7]


def test_after_an_answer_that_failed_the_same_drift_is_reported_again() -> None:
    _, one = told(SERVING, [True] * 5)
    failed = one.model_copy(
        update={"status": one.status.model_copy(update={"drift": one.status.drift.unlatched()})}
    )
    assert told(failed, [True] * 5)[0] == [2]


def test_the_report_tells_figures_and_channels() -> None:
    almost = detector(serving=revision("r1"), drift=DriftState(revision="r1", consecutive=2))
    report = only(DriftDetected, decide(REQUEST, almost, verdict()))
    assert (report.statistic, report.threshold, report.p_value) == (0.4, 0.1, 0.001)
    assert (report.consecutive, report.revision, report.channels) == (3, "r1", ("Pressure",))
    assert (report.on, report.correction, report.window) == ("features", "bonferroni", 500)
    assert (report.reference, report.tested) == (REFERENCE, TESTED)


def test_another_revision_begins_its_own_count() -> None:
    one = detector(serving=revision("r2"), drift=DriftState(revision="r1", consecutive=9, latched=True))
    status = remembered(decide(REQUEST, one, verdict(revision="r2")), one)
    assert (status.drift.revision, status.drift.consecutive, status.drift.latched) == ("r2", 1, False)


@pytest.mark.parametrize("serving", [None, revision("r2")])
def test_a_verdict_on_what_does_not_serve_says_nothing(serving: object) -> None:
    almost = detector(serving=serving, drift=DriftState(revision="r1", consecutive=2))
    assert list(decide(REQUEST, almost, verdict(revision="r1"))) == []


def test_without_a_verdict_nothing_happens() -> None:
    assert list(decide(REQUEST, SERVING, None)) == []


@given(st.lists(st.booleans(), max_size=40), st.integers(1, 5))
def test_every_stretch_of_drift_is_reported_once_after_n_verdicts(verdicts: list[bool], n: int) -> None:
    one = detector(asked=spec(drift={"consecutive": n}), serving=revision("r1"))
    expected, run = [], 0
    for place, drifted in enumerate(verdicts):
        run = run + 1 if drifted else 0
        expected += [place] if run == n else []
    reports, after = told(one, verdicts)
    assert reports == expected
    assert after.status.drift.latched == (run >= n)


def test_nothing_is_reported_before_its_time() -> None:
    assert none(DriftDetected, decide(REQUEST, SERVING, verdict()))


# --- rows, scores and errors apart -------------------------------------------------------------------------
def test_streams_are_counted_apart_and_each_is_reported_once() -> None:
    both = DriftFacts("r1", 500, (one_verdict(), one_verdict(on="scores")))
    one, reports = SERVING, []
    for turn in range(8):
        facts = both if turn >= 2 else verdict(on="scores")
        messages = list(decide(REQUEST, one, facts))
        reports += [(turn, told.on) for told in messages if isinstance(told, DriftDetected)]
        one = later(one, messages)
    assert reports == [(2, "scores"), (4, "features")]
    assert (one.status.drift.consecutive, one.status.drift.others["scores"].consecutive) == (6, 8)


def test_verdicts_of_one_event_count_one_after_the_other() -> None:
    facts = DriftFacts("r1", 500, (one_verdict(),) * 3)
    assert only(DriftDetected, decide(REQUEST, SERVING, facts)).consecutive == 3
    broken = DriftFacts("r1", 500, (one_verdict(), one_verdict(False), one_verdict()))
    assert none(DriftDetected, decide(REQUEST, SERVING, broken))


def test_an_answer_that_failed_unlatches_every_stream() -> None:
    state = DriftState(revision="r1", latched=True).having("errors", Watched(consecutive=4, latched=True))
    assert state.unlatched().of("errors") == Watched()
    assert not state.unlatched().latched


def test_what_was_stored_before_there_were_streams_still_loads() -> None:
    stored = {"drift": {"revision": "r1", "consecutive": 2, "latched": True, "statistic": 0.2}}
    found = Status.model_validate(stored).drift
    assert found.of("features") == Watched(consecutive=2, latched=True, statistic=0.2)
    assert found.of("scores") == Watched()


STREAMS: list[DriftStream] = ["features", "scores", "errors"]


@given(st.lists(st.tuples(st.sampled_from(STREAMS), st.booleans()), max_size=40), st.integers(1, 4))
def test_a_stream_is_told_as_if_it_were_alone(verdicts: list[tuple[DriftStream, bool]], n: int) -> None:
    one = detector(asked=spec(drift={"consecutive": n}), serving=revision("r1"))
    together, mixed = one, []
    for on, drifted in verdicts:
        messages = list(decide(REQUEST, together, verdict(drifted, on=on)))
        mixed += [(told.on, told.consecutive) for told in messages if isinstance(told, DriftDetected)]
        together = later(together, messages)
    for on in STREAMS:
        reports, alone = told(one, [drifted for other, drifted in verdicts if other == on])
        assert [stream for stream, _ in mixed].count(on) == len(reports)
        mine, its = together.status.drift.of(on), alone.status.drift
        assert (mine.consecutive, mine.latched) == (its.consecutive, its.latched)
