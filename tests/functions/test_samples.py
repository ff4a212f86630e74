"""Rows of a stream are read by the Detector's channels, and every fault of them is told at once."""

from __future__ import annotations

from math import isfinite
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.eventing.errors import Reject
from homeostat.eventing.messages import KafkaRecord, SamplesReceived
from homeostat.functions.samples import MAX_FAULTS, MAX_ROWS, Samples, read
from tests.functions.detectors import spec

DATA = {"uri": "data/", "channels": ["Current", "Pressure"], "label": "anomaly"}
SPEC = spec(data=DATA)
GAPS = spec(data=DATA, features={"missing": "hold:3"})


def faults(event: SamplesReceived | KafkaRecord, asked: Any = SPEC) -> list[str]:
    with pytest.raises(Reject) as refused:
        read(event, asked)
    return [fault.field for fault in refused.value.faults]


def test_rows_are_put_into_the_detectors_order() -> None:
    event = SamplesReceived(rows=[[1, 2.5], [3, 4]], channels=("Pressure", "Current"), times=("a", "b"))
    assert read(event, SPEC) == Samples("", [[2.5, 1], [4, 3]], ("a", "b"))


def test_a_kafka_record_is_a_row_by_name_beside_its_time_and_label() -> None:
    value = {"Pressure": 2, "datetime": 1_700_000_000, "Current": 1.5, "anomaly": 0, "series": "line-3"}
    assert read(KafkaRecord(value=value), SPEC) == Samples("line-3", [[1.5, 2]], ("1700000000",))


def test_a_kafka_record_may_hold_many_rows() -> None:
    value = {"rows": [[1, 2], [3, 4]], "series": "line-3"}
    assert read(KafkaRecord(value=value), SPEC) == Samples("line-3", [[1, 2], [3, 4]], ())
    assert faults(KafkaRecord(value={"rows": "many", "times": 7})) == ["data.rows", "data.times"]


def test_a_series_that_the_data_does_not_name_is_the_records_key() -> None:
    record = KafkaRecord(value={"Current": 1, "Pressure": 2})
    assert read(record, SPEC, key="line-3").series == "line-3"
    assert read(SamplesReceived(rows=[[1, 2]], series="a"), SPEC, key="line-3").series == "a"
    assert read(record, SPEC).series == ""


def test_missing_and_unknown_channels_are_told_together() -> None:
    assert faults(KafkaRecord(value={"Current": 1, "Druck": 2, "host": "x"})) == [
        "data.Pressure",
        "data.Druck",
        "data.host",
    ]
    given = SamplesReceived(rows=[[1, 2, 3]], channels=("Current", "Current", "Druck"))
    assert faults(given) == ["data.channels", "data.channels.1", "data.channels.2"]


@pytest.mark.parametrize("value", ["1.5", True, [1], {}, float("inf"), float("nan"), 10**400, None])
def test_what_is_no_finite_number_is_told_by_row_and_channel(value: Any) -> None:
    assert faults(SamplesReceived(rows=[[1, 2], [3, value]])) == ["data.rows.1.Pressure"]
    assert faults(KafkaRecord(value={"Current": value, "Pressure": 2})) == ["data.Current"]


def test_a_number_may_be_missing_where_the_detector_holds_the_last_one() -> None:
    assert read(SamplesReceived(rows=[[1, None]]), GAPS).rows == [[1, None]]
    assert faults(SamplesReceived(rows=[[1, "x"]]), GAPS) == ["data.rows.0.Pressure"]


@pytest.mark.parametrize("row", [[1], [1, 2, 3], 1, {"Current": 1}, None])
def test_a_row_of_another_form_is_told_by_its_place(row: Any) -> None:
    assert faults(SamplesReceived(rows=[[1, 2], row])) == ["data.rows.1"]


def test_rows_and_times_are_bounded() -> None:
    assert faults(SamplesReceived(rows=[])) == ["data.rows"]
    assert faults(SamplesReceived(rows=[[1, 2]] * (MAX_ROWS + 1))) == ["data.rows"]
    assert faults(SamplesReceived(rows=[[1, 2]], times=("a", "b"))) == ["data.times"]
    assert faults(SamplesReceived(rows=[[1, 2]], times=("a" * 65,))) == ["data.times.0"]
    assert faults(SamplesReceived(rows=[[1, 2]], series="a\nb")) == ["data.series"]
    assert faults(KafkaRecord(value={"Current": 1, "Pressure": 2, "series": 7})) == ["data.series"]


def test_a_batch_of_broken_rows_is_told_by_its_first_faults_and_their_number() -> None:
    told = faults(SamplesReceived(rows=[["x", "y"]] * 100))
    assert len(told) == MAX_FAULTS + 1
    with pytest.raises(Reject, match="180 more faults"):
        read(SamplesReceived(rows=[["x", "y"]] * 100), SPEC)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
NAMES = st.sampled_from(["Current", "Pressure", "rows", "series", "times", "channels", "datetime"])


@given(st.dictionaries(NAMES | st.text(max_size=5), JSON, max_size=6), st.sampled_from([SPEC, GAPS]))
def test_whatever_a_producer_writes_is_rows_or_is_refused_by_field(value: Any, asked: Any) -> None:
    found: Samples | Reject
    try:
        found = read(KafkaRecord(value=value), asked)
    except Reject as refused:
        found = refused
    if isinstance(found, Reject):
        assert all(fault.field.startswith("data") for fault in found.faults)
    else:
        assert all(len(row) == 2 and all(one is None or isfinite(one) for one in row) for row in found.rows)
