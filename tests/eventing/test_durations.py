"""Lengths of time, as manifests spell them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.eventing.durations import parse_duration, print_duration


@given(st.integers(0, 10**12))
def test_what_is_printed_reads_back(milliseconds: int) -> None:
    length = timedelta(milliseconds=milliseconds)
    assert parse_duration(print_duration(length)) == length


@pytest.mark.parametrize(
    ("text", "seconds"), [("PT0.2S", 0.2), ("P1DT2H", 93600), ("1h30m", 5400), ("500ms", 0.5), ("0", 0)]
)
def test_gos_and_iso_spellings_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text).total_seconds() == pytest.approx(seconds)


@given(st.text(max_size=12))
def test_whatever_else_is_refused_with_the_spellings(text: str) -> None:
    try:
        assert parse_duration(text) >= timedelta(0)
    except ValueError as error:
        assert "1h30m" in str(error)  # noqa: PT017 - both ends are fine; only this message is


@pytest.mark.parametrize("text", ["99999999999999d", f"{'9' * 400}h", f"P{'9' * 30}D"])
def test_what_no_clock_can_hold_is_refused_too(text: str) -> None:
    with pytest.raises(ValueError, match="too long"):
        parse_duration(text)
