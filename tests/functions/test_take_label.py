"""What labels and counters say becomes a status, an event now and then, and an alert that fires once."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.eventing.errors import Reject
from homeostat.eventing.messages import (
    AlertFired,
    AlertResolved,
    CanaryTick,
    InferenceResponse,
    LabelReceived,
    QualityMeasured,
)
from homeostat.functions import answer_alert, labels
from homeostat.functions.bands import TURNS
from homeostat.functions.detector import Bands, Block, Detector, Message, Quality, RevisionFigures
from homeostat.functions.take_label import QualityFacts, decide
from tests.functions.detectors import (
    MINUTE,
    NOON,
    canary,
    detector,
    later,
    none,
    only,
    remembered,
    revision,
    spec,
)

WATCHED: dict[str, Any] = {"quality": {"min_recall": 0.8, "min_labels": 20}}


def pump(**status: Any) -> Detector:
    return detector(asked=spec(**WATCHED), **{"serving": revision("r1"), **status})


def quality(caught: int = 0, missed: int = 0, passed: int = 0, **more: Any) -> Quality:
    return Quality(caught=caught, missed=missed, passed=passed, since=NOON, until=NOON, measured=NOON, **more)


def tick(one: Detector, facts: QualityFacts) -> list[Message]:
    return list(decide(CanaryTick(), one, facts))


def labelled(one: Detector, **revisions: Quality) -> list[Message]:
    return tick(one, QualityFacts(revisions))


def test_answers_and_labels_alone_decide_nothing() -> None:
    assert list(decide(InferenceResponse(), pump())) == []
    assert list(decide(LabelReceived(anomalous=True, request="a"), pump())) == []


def test_what_labels_say_is_told_and_remembered() -> None:
    said = labelled(pump(), r1=quality(caught=9, missed=1, passed=90))
    event = only(QualityMeasured, said)
    assert (event.revision, event.labelled, event.anomalous) == ("r1", 100, 10)
    assert event.figures["recall"] == 0.9
    assert event.figures["recall_low"] < 0.9 < event.figures["recall_high"]  # type: ignore[operator]
    assert event.since == "2026-03-01T12:00:00Z"
    assert remembered(said, pump()).quality["r1"].caught == 9


def test_the_same_figures_are_told_once() -> None:
    one = pump()
    said = labelled(one, r1=quality(caught=9))
    assert labelled(later(one, said, 2 * MINUTE), r1=quality(caught=9)) == []


def test_other_figures_are_told_a_minute_later_at_the_soonest() -> None:
    one = pump()
    soon = later(one, labelled(one, r1=quality(caught=9)), MINUTE / 2)
    assert labelled(soon, r1=quality(caught=10)) == []
    due = soon.model_copy(update={"now": one.now + MINUTE})
    assert only(QualityMeasured, labelled(due, r1=quality(caught=10))).labelled == 10


def test_only_what_serves_served_or_is_on_trial_is_kept() -> None:
    one = pump(
        previous=revision("r0"),
        canary=canary("r2"),
        quality={"r-9": quality(caught=1), "r0": quality(caught=1)},
    )
    said = labelled(one, r1=quality(caught=1), r2=quality(missed=1), r3=quality(missed=1))
    assert set(remembered(said, one).quality) == {"r0", "r1", "r2"}


# --- alerts ------------------------------------------------------------------------------------------------
FELL, WELL, UNSURE = (
    quality(caught=10, missed=40),
    quality(caught=95, missed=5),
    quality(caught=35, missed=15),
)


def told(one: Detector, *looks: Quality) -> tuple[Detector, list[Message]]:
    """The detector after each of the looks, two minutes apart, and all that was said."""
    everything: list[Message] = []
    for look in looks:
        said = labelled(one, r1=look)
        everything += said
        one = later(one, said, 2 * MINUTE)
    return one, everything


def of(kind: type[Any], messages: Iterable[Message]) -> list[Any]:
    return [one for one in messages if isinstance(one, kind)]


def test_what_has_surely_fallen_fires_an_alert_once() -> None:
    after, said = told(pump(), FELL, FELL, quality(caught=10, missed=41))
    alert = only(AlertFired, said)
    assert alert.alertname == "HomeostatQualityFell"
    assert {k: alert.labels[k] for k in ("detector", "revision", "figure")} == {
        "detector": "pump",
        "revision": "r1",
        "figure": "recall",
    }
    assert "recall of r1 is 0.2" in alert.annotations["summary"]
    assert len(after.status.raised) == 1


def test_it_is_resolved_once_it_is_as_asked_and_not_before() -> None:
    after, said = told(pump(), FELL, UNSURE)
    assert none(AlertResolved, said)
    end, more = told(after, WELL, WELL)
    fired, resolved = only(AlertFired, said), only(AlertResolved, more)
    assert (resolved.fingerprint, resolved.starts_at) == (fired.fingerprint, fired.starts_at)
    assert end.status.raised == ()


def test_an_alert_of_a_revision_that_is_gone_is_over() -> None:
    after, _ = told(pump(), FELL)
    gone = after.model_copy(
        update={"status": after.status.model_copy(update={"serving": revision("r2"), "previous": None})}
    )
    said = labelled(gone)
    assert only(AlertResolved, said).labels["revision"] == "r1"
    assert remembered(said, gone).raised == ()


def test_a_figure_that_is_watched_no_more_has_no_alert() -> None:
    after, _ = told(pump(), FELL)
    unwatched = after.model_copy(update={"spec": spec()})
    assert len(of(AlertResolved, labelled(unwatched, r1=FELL))) == 1


def test_a_fallen_canary_is_rolled_back_by_the_alert_map() -> None:
    rules = [{"match": {"alertname": "HomeostatQualityFell"}, "action": "rollback"}]
    one = detector(asked=spec(alerts=rules, **WATCHED), serving=revision("r1"), canary=canary("r2"))  # type: ignore[arg-type]
    alert = only(AlertFired, labelled(one, r2=FELL))
    answers = [found for found in answer_alert.decide(alert, one) if hasattr(found, "revision")]
    assert [found.revision for found in answers] == ["r2"]


@given(st.lists(st.sampled_from([FELL, WELL, UNSURE, quality()]), max_size=12))
def test_fired_and_resolved_take_turns(looks: list[Quality]) -> None:
    _, said = told(pump(), *looks)
    turns = [type(one) for one in said if isinstance(one, AlertFired | AlertResolved)]
    assert turns == [(AlertFired, AlertResolved)[place % 2] for place in range(len(turns))]


# --- without labels ----------------------------------------------------------------------------------------
USUAL = Bands(
    revision="r1",
    base=RevisionFigures(rows=10_000, anomalies=100),
    usual=Block(rows=10_000, anomalies=100),
    limits={"alarm_rate": 0.05},
)


def looks(one: Detector, count: int, anomalies: int) -> tuple[Detector, list[Message]]:
    """So many blocks of 500 rows, each with so many anomalies."""
    everything: list[Message] = []
    for _ in range(count):
        base = one.status.bands.base
        assert base is not None
        now = base.model_copy(update={"rows": base.rows + 500, "anomalies": base.anomalies + anomalies})
        said = tick(one, QualityFacts(counters=now))
        everything += said
        one = later(one, said)
    return one, everything


def test_an_alarm_rate_out_of_its_band_fires_and_comes_back() -> None:
    one, quiet = looks(pump(bands=USUAL), 10, 5)
    assert of(AlertFired, quiet) == []
    one, loud = looks(one, 20, 100)
    alert = only(AlertFired, loud)
    assert (alert.alertname, alert.labels["figure"]) == ("HomeostatAlarmRateShifted", "alarm_rate")
    assert "alarm_rate of r1 lies" in alert.annotations["summary"]
    one, back = looks(one, 4 + TURNS, 5)
    assert only(AlertResolved, back).fingerprint == alert.fingerprint
    assert one.status.raised == ()


def test_a_tick_without_new_rows_says_nothing() -> None:
    one, _ = looks(pump(bands=USUAL), 3 + TURNS, 100)
    assert len(one.status.raised) == 1
    assert tick(one, QualityFacts(counters=one.status.bands.base)) == []


def test_bands_that_are_switched_off_are_forgotten() -> None:
    one = detector(asked=spec(quality={"bands": False}), serving=revision("r1"), bands=USUAL, raised=raised())
    said = tick(one, QualityFacts())
    assert remembered(said, one).bands == Bands()
    assert len(of(AlertResolved, said)) == 1


def raised() -> Any:
    return looks(pump(bands=USUAL), 20, 100)[0].status.raised


def test_counters_that_are_not_to_be_had_change_nothing() -> None:
    assert tick(pump(bands=USUAL), QualityFacts()) == []


# --- labels ------------------------------------------------------------------------------------------------
def test_labels_that_fitted_no_row_are_told_of_once() -> None:
    one = pump(unmatched=2)
    said = tick(one, QualityFacts(unmatched=5))
    assert remembered(said, one).message == "3 labels fit no row that was answered"
    assert tick(later(one, said), QualityFacts(unmatched=5)) == []


@pytest.mark.parametrize(
    ("fields", "field", "mend"),
    [
        ({}, "data.request", "or give data.start and data.end"),
        ({"request": "a", "start": "2026-01-01T00:00:00Z"}, "data.request", "not both"),
        ({"rows": (1,), "start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"}, "data.rows", "name"),
        ({"request": "a", "rows": (0, -1)}, "data.rows", "from 0 to 9999"),
        ({"request": "a", "rows": (10_000,)}, "data.rows", "from 0 to 9999"),
        ({"start": "2026-01-01T00:00:00Z"}, "data.end", "RFC 3339"),
        ({"start": "2026-01-01", "end": "2026-01-02T00:00:00Z"}, "data.start", "RFC 3339"),
        ({"start": "2026-01-01T00:00:00", "end": "2026-01-02T00:00:00Z"}, "data.start", "RFC 3339"),
        ({"start": "2026-13-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"}, "data.start", "RFC 3339"),
        ({"start": "2026-01-02T00:00:00Z", "end": "2026-01-02T01:00:00+01:00"}, "data.end", "after"),
    ],
)
def test_a_label_of_nothing_is_refused_by_field_and_mend(
    fields: dict[str, Any], field: str, mend: str
) -> None:
    with pytest.raises(Reject) as refused:
        labels.read(LabelReceived(anomalous=True, **fields))
    assert field in {one.field for one in refused.value.faults}
    assert mend in str(refused.value)


def test_times_are_read_in_any_offset() -> None:
    found = labels.read(
        LabelReceived(anomalous=True, start="2026-03-01T13:00:00.5+01:00", end="2026-03-01t12:00:01z")
    )
    assert (found.start, found.end) == (NOON + timedelta(seconds=0.5), NOON + timedelta(seconds=1))
