"""Rows with times come onto a grid, whatever their order, jitter, gaps and clocks; nothing is lost unseen."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.models.alignment import align
from homeostat.models.features import windows
from homeostat.models.localtime import to_utc

SECOND = timedelta(seconds=1)


def frame(*seconds: float) -> pd.DataFrame:
    start = pd.Timestamp("2020-03-09 10:00:00")
    stamps = [str(start + pd.Timedelta(seconds=one)) for one in seconds]
    return pd.DataFrame({"datetime": stamps, "x": [float(place) for place in range(len(seconds))]})


def test_rows_are_sorted_and_of_equal_times_the_last_wins():
    aligned = align(frame(0, 2, 1, 1), "datetime", timedelta(seconds=1))
    assert aligned.frame["x"].tolist() == [0, 3, 1]
    assert (aligned.moved, aligned.duplicates, aligned.filled) == (1, 1, 0)


def test_small_gap_is_filled_forward_and_a_large_one_starts_a_segment():
    aligned = align(frame(0, 3, 4, 8, 9), "datetime", timedelta(seconds=1))
    assert aligned.frame["x"].tolist() == [0, 0, 0, 1, 2, 3, 4]
    assert aligned.segments.tolist() == [0, 0, 0, 0, 0, 1, 1]
    assert aligned.filled == 2
    assert aligned.frame["datetime"].is_monotonic_increasing


def test_jitter_neither_fills_nor_splits():
    aligned = align(frame(0, 1.2, 1.9, 3.1, 4.0), "datetime", timedelta(seconds=1))
    assert (aligned.filled, aligned.segments.tolist()) == (0, [0] * 5)


def test_unreadable_times_are_dropped_and_counted():
    rows = frame(0, 1, 2)
    rows.loc[1, "datetime"] = "yesterday"
    aligned = align(rows, "datetime", timedelta(seconds=1))
    assert aligned.unreadable_times == 1
    assert "1 without a readable time dropped" in str(aligned)


def test_aligning_nothing_gives_nothing():
    aligned = align(frame(), "datetime", timedelta(seconds=1))
    assert (len(aligned.frame), len(aligned.segments)) == (0, 0)


def test_missing_time_column_is_named():
    with pytest.raises(ValueError, match="no column 'when' for the time: the columns are datetime, x"):
        align(frame(0), "when", timedelta(seconds=1))


@given(gaps=st.lists(st.integers(0, 8), max_size=20))
def test_aligned_rows_keep_the_pace_within_a_segment(gaps):
    aligned = align(frame(*np.cumsum([0, *gaps]).tolist()), "datetime", timedelta(seconds=1))
    steps = aligned.frame["datetime"].diff().dt.total_seconds().to_numpy()[1:]
    same = np.diff(aligned.segments) == 0
    assert (steps[same] == 1).all()
    assert (steps[~same] > 3).all()
    assert len(aligned.frame) == len(gaps) + 1 - aligned.duplicates + aligned.filled


milliseconds = st.lists(st.integers(0, 40_000), min_size=1, max_size=30, unique=True)


@given(times=milliseconds, data=st.data())
def test_the_order_of_rows_does_not_matter(times, data):
    rows = frame(*(one / 1000 for one in times))
    shuffled = rows.iloc[data.draw(st.permutations(range(len(rows))))].reset_index(drop=True)
    one, other = (align(each, "datetime", SECOND) for each in (rows, shuffled))
    pd.testing.assert_frame_equal(one.frame, other.frame)
    assert one.segments.tolist() == other.segments.tolist()
    assert (one.merged, one.snapped, one.filled) == (other.merged, other.snapped, other.filled)


@given(times=milliseconds)
def test_aligning_twice_changes_nothing(times):
    once = align(frame(*(one / 1000 for one in times)), "datetime", SECOND)
    twice = align(once.frame, "datetime", SECOND)
    pd.testing.assert_frame_equal(once.frame, twice.frame)
    assert once.segments.tolist() == twice.segments.tolist()
    assert once.phase.tolist() == twice.phase.tolist()
    assert (twice.moved, twice.duplicates, twice.merged, twice.snapped, twice.filled) == (0, 0, 0, 0, 0)


@given(times=milliseconds, window=st.integers(2, 6))
def test_no_window_crosses_a_gap(times, window):
    aligned = align(frame(*(one / 1000 for one in times)), "datetime", SECOND)
    place = aligned.phase.astype(float)[:, None]
    assert (np.diff(windows(place, window, aligned.segments)[:, :, 0], axis=1) == 1).all()


@given(times=milliseconds)
def test_a_row_moves_by_half_a_period_at_most_and_none_is_lost_uncounted(times):
    rows = frame(*(one / 1000 for one in times))
    aligned = align(rows, "datetime", SECOND)
    assert len(aligned.frame) == len(rows) - aligned.merged + aligned.filled
    own = pd.to_datetime(rows["datetime"], utc=True, format="ISO8601")[aligned.frame["x"].astype(int)]
    moved = (aligned.frame["datetime"] - own.reset_index(drop=True)).dt.total_seconds()
    first = aligned.frame["x"].diff() != 0  # a filled row stands further from the row that it repeats
    assert (moved[first].abs() <= 0.5).all()


def test_times_that_jitter_are_put_on_the_grid_where_most_rows_lie():
    rows = frame(0.7, 1.75, 2.7, 3.6, 4.7)
    aligned = align(rows, "datetime", SECOND)
    assert (aligned.frame["datetime"].dt.microsecond == 700_000).all()
    assert (aligned.snapped, aligned.merged, aligned.filled) == (2, 0, 0)


def test_a_grid_about_the_full_second_is_not_torn_by_it():
    aligned = align(frame(0.98, 2.01, 2.99, 4.0, 5.02), "datetime", SECOND)
    assert (len(aligned.frame), aligned.merged, aligned.filled) == (5, 0, 0)
    assert np.diff(aligned.phase).tolist() == [1, 1, 1, 1]


def test_of_rows_within_one_period_the_latest_stays():
    aligned = align(frame(0, 1.1, 0.9, 1.0, 2), "datetime", SECOND)
    assert aligned.frame["x"].tolist() == [0, 1, 4]
    assert aligned.merged == 2


def test_phase_counts_periods_since_1970():
    aligned = align(pd.DataFrame({"t": ["1970-01-01T01:00:00Z", "1970-01-01T01:00:10Z"]}), "t", 10 * SECOND)
    assert aligned.phase.tolist() == [360, 361]


def local(first: str, last: str, zone: str) -> list[str]:
    """What a logger in that zone writes every ten minutes: local times without an offset."""
    span = pd.date_range(first, last, freq="10min", tz="UTC").tz_convert(zone)
    return [str(one) for one in span.tz_localize(None)]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"])
def test_a_year_of_local_times_comes_back_in_utc(zone):
    written = local("2025-01-01", "2025-12-31T23:50", zone)
    aligned = align(pd.DataFrame({"t": written}), "t", timedelta(minutes=10), timezone=zone)
    expected = pd.date_range("2025-01-01", "2025-12-31T23:50", freq="10min", tz="UTC")
    assert (pd.DatetimeIndex(aligned.frame["t"]) == expected).all()
    assert (aligned.filled, aligned.duplicates, len(np.unique(aligned.segments))) == (0, 0, 1)
    hours = {"Europe/Berlin": 12, "America/New_York": 12, "Australia/Lord_Howe": 6, "Asia/Kolkata": 0}
    assert aligned.repeated == hours[zone]


def test_a_lone_time_in_the_repeated_hour_belongs_to_its_first_pass():
    found = to_utc(pd.Series(["2025-10-26T02:30:00"]), "Europe/Berlin")
    assert str(found.times[0]) == "2025-10-26 00:30:00+00:00"
    assert (found.repeated, found.skipped) == (1, 0)


def test_a_time_that_spring_leaves_out_is_read_as_from_a_clock_not_yet_put_forward():
    found = to_utc(pd.Series(["2025-03-30T02:30:00", "2025-03-30T03:40:00"]), "Europe/Berlin")
    assert found.times.dt.strftime("%H:%M").tolist() == ["01:30", "01:40"]
    assert (found.repeated, found.skipped) == (0, 1)


def test_a_time_with_an_offset_keeps_it_whatever_the_zone():
    written = ["2025-07-01T12:00:00Z", "2025-07-01T12:00:00+05:30", "2025-07-01 12:00:00-0300", "2025-07-01"]
    found = to_utc(pd.Series(written), "Europe/Berlin").times
    assert found.dt.strftime("%d %H:%M").tolist() == ["01 12:00", "01 06:30", "01 15:00", "30 22:00"]


def test_datetimes_are_taken_as_texts_are():
    naive = pd.Series(pd.to_datetime(["2025-10-26T02:30:00", "2025-10-26T02:30:00"]))
    assert to_utc(naive, "Europe/Berlin").times.dt.hour.tolist() == [0, 1]
    assert to_utc(naive).times.dt.hour.tolist() == [2, 2]
    assert to_utc(naive.dt.tz_localize("Asia/Tokyo"), "Europe/Berlin").times.dt.day.tolist() == [25, 25]


def test_an_unknown_time_zone_is_named():
    with pytest.raises(ValueError, match="timezone is 'Europe/Atlantis': give an IANA name"):
        align(frame(0), "datetime", SECOND, timezone="Europe/Atlantis")


def test_numbers_are_no_times():
    aligned = align(pd.DataFrame({"t": [1_700_000_000, 1_700_000_001]}), "t", SECOND)
    assert (len(aligned.frame), aligned.unreadable_times) == (0, 2)
