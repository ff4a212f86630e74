"""`homeostat why`: the unbroken chain, or where it breaks."""

from __future__ import annotations

import orjson
import pytest

from homeostat.eventing.messages import (
    AlertFired,
    CanaryStarted,
    DataLanded,
    EvalPassed,
    ModelPromoted,
    TrainingCompleted,
    TrainingRequested,
)
from homeostat.eventing.wire import WireEvent
from homeostat.infra.chain import BrokenChain, chain, promotion, tell


def event(identity: str, kind: str, cause: str | None = None, **data: object) -> WireEvent:
    attributes = {"id": identity, "source": "/test", "type": kind, "specversion": "1.0", "subject": "pump"}
    return WireEvent(attributes | ({"causationid": cause} if cause else {}), orjson.dumps(data))


LOG = [
    event("1", DataLanded.type, uri="a.csv"),
    event("2", EvalPassed.type, "1", algorithm="iforest", version="1", gates=[]),
    event("3", CanaryStarted.type, "2", revision="r1", percent=5),
    event("4", ModelPromoted.type, "2", revision="r1"),
    event("5", DataLanded.type, uri="b.csv"),
]


def test_the_chain_runs_from_the_first_cause_to_the_promotion() -> None:
    links = chain(LOG, LOG[3])
    assert [link.event.attributes["id"] for link in links] == ["1", "2", "4"]


def test_what_else_a_cause_led_to_stands_beside_it() -> None:
    links = chain(LOG, LOG[3])
    assert [side.attributes["id"] for side in links[1].beside] == ["3"]


def test_a_cause_that_the_log_does_not_hold_is_named() -> None:
    with pytest.raises(BrokenChain, match="cites 1"):
        chain(LOG[1:], LOG[3])


def test_a_circle_is_no_chain() -> None:
    circle = [event("a", EvalPassed.type, "b"), event("b", EvalPassed.type, "a")]
    with pytest.raises(BrokenChain, match="its own cause"):
        chain(circle, circle[0])


def test_the_request_and_not_its_response_is_the_cause() -> None:
    twins = [event("x", "org.kubeflow.serving.inference.request"), event("x", "…response")]
    effect = event("y", EvalPassed.type, "x")
    assert chain([*twins, effect], effect)[0].event is twins[0]


def test_the_latest_promotion_of_the_revision_counts() -> None:
    again = event("9", ModelPromoted.type, "2", revision="r1")
    assert promotion([*LOG, again], "pump", "r1") is again
    assert promotion(LOG, "pump", "r2") is None
    assert promotion(LOG, "fan", "r1") is None


def test_an_event_tells_its_data_in_one_line() -> None:
    assert tell(LOG[0]) == "a.csv"
    assert tell(event("7", "somebody.elses.type", a=1)) == ""
    gates = [{"name": "vus_pr", "measured": 0.21, "limit": 0.4, "rule": ">=", "passed": False}]
    told = tell(event("8", EvalPassed.type, algorithm="iforest", version="2", gates=gates))
    assert told == "iforest 2 (vus_pr 0.21 is not >= 0.4)"


@pytest.mark.parametrize(
    "data", [b"no JSON", b"[1]", b'"text"', b'{"gates": 3, "algorithm": "a", "version": 1}']
)
def test_data_that_is_not_what_its_type_promises_is_told_as_nothing(data: bytes) -> None:
    odd = [WireEvent({**event("1", kind).attributes}, data) for kind in (EvalPassed.type, ModelPromoted.type)]
    assert [tell(one) for one in odd] == ["", ""]
    assert promotion([*odd, *LOG], "pump", "r1") is LOG[3]


def test_an_alert_is_the_first_cause_of_what_it_led_to() -> None:
    fired = event("a", AlertFired.type, alertname="AnomalyRateShift", starts_at="2026-11-24T10:00:00Z")
    log = [
        fired,
        event("b", TrainingRequested.type, "a", reason="alert AnomalyRateShift"),
        event("c", TrainingCompleted.type, "b", algorithm="iforest", version="2", rows=6000),
        event("d", EvalPassed.type, "c", algorithm="iforest", version="2", gates=[]),
        event("e", CanaryStarted.type, "d", revision="r2", percent=5),
        event("f", ModelPromoted.type, "d", revision="r2"),
    ]
    links = chain(log, log[-1])
    assert [link.event.attributes["id"] for link in links] == ["a", "b", "c", "d", "f"]
    assert tell(links[0].event) == "AnomalyRateShift, since 2026-11-24T10:00:00Z"
    assert tell(links[1].event) == "alert AnomalyRateShift"
