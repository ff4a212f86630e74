"""One verdict is noise, several in a row are drift, and drift is reported once."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.eventing.messages import DriftDetected, InferenceRequest
from homeostat.functions.detect_drift import DriftFacts, decide
from homeostat.functions.detector import Detector, DriftState
from tests.functions.detectors import detector, later, none, only, remembered, revision, spec

REQUEST = InferenceRequest(instances=[[1.0]])


def verdict(drifted: bool = True, revision: str = "r1") -> DriftFacts:
    return DriftFacts(
        test="mmd",
        statistic=0.4 if drifted else 0.01,
        threshold=0.1,
        p_value=0.001,
        drifted=drifted,
        window=500,
        revision=revision,
        channels=("Pressure",),
    )


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
