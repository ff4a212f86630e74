"""Typed messages: faults by field, stable identity, causes cited, loops cut."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, get_type_hints

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.eventing import codec
from homeostat.eventing.errors import Reject
from homeostat.eventing.messages import (
    EVENTS,
    Comparison,
    DriftDetected,
    Event,
    Figures,
    Gate,
    KafkaRecord,
    Span,
    TrainingRequested,
)
from homeostat.eventing.wire import WireEvent

NOW = datetime(2026, 11, 23, tzinfo=UTC)
CAUSE = codec.Context(id="c", source="/s", type="t", subject="pump", correlationid="first", hops=3)


def wire(data: bytes, **attributes: str) -> WireEvent:
    core = {"id": "1", "source": "/s", "specversion": "1.0", "type": TrainingRequested.type}
    return WireEvent({**core, **attributes}, data)


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_every_event_survives_the_wire(kind: type[Event]) -> None:
    @given(st.builds(kind, **{name: _finite(hint) for name, hint in _fields(kind).items()}))
    def survives(message: Event) -> None:
        sent = codec.announce(message, id="2", source="/s", subject="pump", cause=CAUSE, now=NOW)
        read, context = codec.parse(sent)
        assert read == message
        assert (context.causationid, context.correlationid, context.hops) == ("c", "first", 4)

    survives()


def _fields(kind: type[Event]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(max_size=5)
LOOSE = st.none() | NUMBERS | st.booleans() | TEXTS | st.lists(NUMBERS, max_size=2)
BY_HINT: Mapping[Any, st.SearchStrategy[Any]] = {
    Any: LOOSE,
    float: NUMBERS,
    int: st.integers(-(2**53), 2**53),
    float | None: st.none() | NUMBERS,
    int | None: st.none() | st.integers(0, 2**53),
    list[Any]: st.lists(st.lists(st.none() | NUMBERS, max_size=3), max_size=3),
    list[Any] | None: st.none(),
    Mapping[str, Any]: st.dictionaries(TEXTS, LOOSE, max_size=3),
    Mapping[str, float]: st.dictionaries(TEXTS, NUMBERS, max_size=3),
    Mapping[str, str]: st.dictionaries(TEXTS, TEXTS, max_size=3),
    Figures: st.dictionaries(TEXTS, st.none() | NUMBERS, max_size=3),
    Figures | None: st.none() | st.dictionaries(TEXTS, st.none() | NUMBERS, max_size=3),
    Mapping[str, Figures]: st.just({}),
    Mapping[str, Mapping[str, Any]]: st.just({}),
    Mapping[str, Any] | None: st.none() | st.dictionaries(TEXTS, LOOSE, max_size=3),
    tuple[int, ...]: st.lists(st.integers(0, 2**53), max_size=3).map(tuple),
    tuple[Gate, ...]: st.just(()),
    tuple[Comparison, ...]: st.just(()),
    Span | None: st.none() | st.builds(Span, rows=st.integers(0, 2**53), start=TEXTS),
}
"""JSON has no NaN, and integers beyond 64 bits are nobody's figures."""


def _finite(hint: Any) -> st.SearchStrategy[Any]:
    return BY_HINT[hint] if hint in BY_HINT else st.from_type(hint)


def test_faults_are_told_by_field_all_at_once() -> None:
    with pytest.raises(Reject) as refused:
        codec.parse(wire(b'{"force": "perhaps", "candidates": 7}'))
    assert {fault.field for fault in refused.value.faults} == {"data.force", "data.candidates"}


@pytest.mark.parametrize("data", [b"[]", b"3", b"{", b"\xff"])
def test_data_that_is_no_object_is_refused(data: bytes) -> None:
    with pytest.raises(Reject, match="data"):
        codec.parse(wire(data))


def test_an_unknown_type_is_told_beside_the_known() -> None:
    with pytest.raises(Reject, match=r"dev\.homeostat\.data\.landed"):
        codec.parse(wire(b"{}", type="dev.homeostat.data.lande"))


@pytest.mark.parametrize("hops", ["65", "-1", "many"])
def test_a_chain_that_became_a_loop_is_cut(hops: str) -> None:
    with pytest.raises(Reject, match="hops"):
        codec.parse(wire(b"{}", hops=hops))


def test_the_same_decision_gives_the_same_id_and_another_place_another() -> None:
    one = codec.identity("c", "detect-drift", "pump", 0)
    assert one == codec.identity("c", "detect-drift", "pump", 0)
    others = {codec.identity("c", "detect-drift", "pump", 1), codec.identity("c", "detect-drift", "fan", 0)}
    assert one not in others


def test_a_figure_that_is_no_number_travels_as_null() -> None:
    drift = DriftDetected(
        test="mmd", statistic=1.0, threshold=0.5, p_value=math.nan, consecutive=3, window=9, revision="r"
    )
    assert codec.data(drift)["p_value"] is None


def test_kserves_events_name_their_detector_in_their_own_extension() -> None:
    kserve = wire(b"{}", type="org.kubeflow.serving.inference.request", inferenceservicename="pump")
    assert codec.parse(kserve)[1].subject == "pump"


def test_a_kafka_record_names_its_detector_in_an_extension_its_subject_being_its_offset() -> None:
    record = {"type": KafkaRecord.type, "subject": "partition:0#5", "key": "line-3"}
    assert codec.parse(wire(b"{}", **record))[1].subject == "partition:0#5"
    where = codec.parse(wire(b"{}", **record, detector="pump"))[1]
    assert (where.subject, where.key) == ("pump", "line-3")


@pytest.mark.parametrize("empty", ["detector", "subject"])
def test_an_empty_name_of_a_detector_is_none(empty: str) -> None:
    kserve = wire(b"{}", inferenceservicename="pump", **{empty: ""})
    assert codec.parse(kserve)[1].subject == "pump"


def test_a_kafka_record_is_the_whole_of_what_its_producer_wrote() -> None:
    written = {"datetime": "2026-03-01 08:00:00", "Current": 1.2, "value": None, "nested": {"a": [1]}}
    event, _ = codec.parse(wire(orjson.dumps(written), type=KafkaRecord.type))
    assert event == KafkaRecord(value=written)
    assert codec.data(event) == written


@pytest.mark.parametrize("data", [b"[1.2]", b"1.2", b"{", b"\x00\x01"])
def test_a_kafka_record_that_is_no_json_object_is_refused(data: bytes) -> None:
    with pytest.raises(Reject, match="data"):
        codec.parse(wire(data, type=KafkaRecord.type))


def test_an_event_without_correlation_starts_one() -> None:
    assert codec.parse(wire(b"{}"))[1].correlationid == "1"


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_the_rendered_schemas_are_fresh(kind: type[Event]) -> None:
    from homeostat.eventing.schemas import FOLDER

    rendered = orjson.loads((FOLDER / f"{kind.type}.json").read_bytes())
    assert rendered == codec.schema(kind), "run `make compile`"
