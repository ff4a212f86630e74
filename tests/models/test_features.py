"""Rows become windows that never cross a gap, in units that outliers do not bend."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from homeostat.models.features import Scaler, runs, windows

segment_lengths = st.lists(st.integers(1, 12), min_size=1, max_size=6)


@given(lengths=segment_lengths, window=st.integers(1, 8), channels=st.integers(1, 3))
def test_windows_are_every_stretch_of_a_segment_and_no_other(lengths, window, channels):
    n = sum(lengths)
    rows = np.arange(n * channels, dtype=float).reshape(n, channels)
    segments = np.repeat(np.arange(len(lengths)), lengths)
    expected = [
        rows[last - window + 1 : last + 1]
        for last in range(window - 1, n)
        if segments[last - window + 1] == segments[last]
    ]
    made = windows(rows, window, segments)
    assert made.shape == (len(expected), window, channels)
    assert all((a == b).all() for a, b in zip(made, expected, strict=True))


@given(lengths=segment_lengths)
def test_runs_cover_every_row_once(lengths):
    segments = np.repeat(np.arange(len(lengths)) % 2, lengths)
    assert [row for one in runs(len(segments), segments) for row in range(one.start, one.stop)] == list(
        range(len(segments))
    )


def test_windows_of_one_segment_share_the_memory_of_the_rows():
    rows = np.zeros((100, 3))
    assert np.shares_memory(windows(rows, 10), rows)
    assert np.shares_memory(windows(rows, 10, np.zeros(100, int)), rows)


LAYOUTS = {
    "plain": lambda rows: rows,
    "single precision": lambda rows: rows.astype(np.float32),
    "whole numbers": lambda rows: rows.astype(np.int64),
    "objects": lambda rows: rows.astype(object),
    "by column": np.asfortranarray,
    "backwards": lambda rows: rows[::-1],
    "every third row": lambda rows: rows[::3],
    "from the fifth row": lambda rows: rows[5:],
    "some channels": lambda rows: rows[:, 1:3],
    "one row for all": lambda rows: np.broadcast_to(rows[:1], rows.shape),
    "one channel": lambda rows: rows[:, :1].copy(),
    "no channel": lambda rows: rows[:, :0],
    "as many rows as a window": lambda rows: rows[:7],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_windows_equal_numpys_however_the_rows_lie_in_memory(layout):
    rows = LAYOUTS[layout](np.random.default_rng(0).normal(size=(50, 4)))
    made, numpys = windows(rows, 7), sliding_window_view(rows, 7, axis=0).transpose(0, 2, 1)
    assert (made.shape, made.dtype) == (numpys.shape, numpys.dtype)
    assert (made == numpys).all()


@pytest.mark.parametrize("order", ["C", "F"])
def test_windows_that_share_the_rows_memory_cannot_be_written_to_and_the_rows_still_can(order):
    rows = np.zeros((20, 2), order=order)
    made = windows(rows, 5)
    with pytest.raises(ValueError, match="read-only"):
        made[0, 0, 0] = 1
    rows[6, 1] = 3
    assert made[3, 3, 1] == 3


def test_windows_outlive_the_rows_that_they_were_made_of():
    made = windows(np.arange(2e5).reshape(-1, 2), 3)
    np.zeros((100_000, 2))  # would be laid where the rows were, were they let go of
    assert made[-1, -1].tolist() == [199_998, 199_999]


def test_segments_of_another_length_are_refused():
    with pytest.raises(ValueError, match="3 entries for 5 rows"):
        windows(np.zeros((5, 1)), 2, np.zeros(3))


def test_window_below_one_row_is_refused():
    with pytest.raises(ValueError, match="window is 0"):
        windows(np.zeros((5, 1)), 0)


def test_robust_scaling_hardly_moves_when_a_tenth_of_the_rows_is_far_out():
    rows = np.random.default_rng(0).normal(5, 2, size=(2000, 1))
    spoilt = rows.copy()
    spoilt[:200] = 1e5
    assert Scaler.fit(rows).scale[0] == pytest.approx(2, rel=0.1)
    assert Scaler.fit(spoilt).scale[0] == pytest.approx(2, rel=0.3)
    assert Scaler.fit(spoilt, "standard").scale[0] > 1000


@pytest.mark.parametrize("kind", ["robust", "standard"])
def test_constant_channel_is_zero_while_it_stays_and_far_off_once_it_moves(kind):
    scaler = Scaler.fit(np.full((100, 1), 32.0), kind)
    assert scaler.transform(np.array([[32.0]]))[0, 0] == 0
    assert abs(scaler.transform(np.array([[40.0]]))[0, 0]) > 10


def test_channel_mostly_on_one_level_is_scaled_by_its_deviation():
    rows = np.full((1000, 1), 32.0)
    rows[::10] = 33.0
    assert abs(Scaler.fit(rows).transform(np.array([[33.0]]))[0, 0]) < 10


def test_missing_cells_are_left_out_of_the_scale():
    rows = np.random.default_rng(1).normal(size=(500, 2))
    holed = np.vstack([rows, [[np.nan, np.inf]] * 50])
    assert Scaler.fit(holed).scale == pytest.approx(Scaler.fit(rows).scale)


def test_channel_without_any_number_is_refused():
    with pytest.raises(ValueError, match="channel 1 holds no number"):
        Scaler.fit(np.array([[1.0, np.nan], [2.0, np.nan]]))


def test_absurd_values_are_clipped_to_what_float32_can_square():
    scaled = Scaler.fit(np.random.default_rng(0).normal(size=(100, 1))).transform(np.array([[1e300]]))
    assert np.isfinite(scaled * scaled).all()


def test_scaler_comes_back_from_its_arrays():
    rows = np.random.default_rng(2).normal(size=(60, 3))
    scaler = Scaler.fit(rows)
    assert (Scaler.restore("robust", scaler.arrays()).transform(rows) == scaler.transform(rows)).all()


def test_unknown_scaler_is_refused_by_name():
    with pytest.raises(ValueError, match="'minmax': choose one of robust, standard, none"):
        Scaler.fit(np.ones((3, 1)), "minmax")  # type: ignore[arg-type]
