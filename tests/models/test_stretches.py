"""Windows come in bounded pieces, and tell which rows they were cut from."""

from __future__ import annotations

import doctest
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeostat.models import batches as batches_module
from homeostat.models import contributions, empirical_tails, periodicity, restoring
from homeostat.models import stretches as stretches_module
from homeostat.models.batches import batches, drawn, thinned_and_drawn
from homeostat.models.features import windows
from homeostat.models.stretches import stretches
from tests.models.every import normal


@settings(max_examples=50, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    window=st.integers(2, 6),
    channels=st.integers(1, 3),
    seed=st.integers(0, 9),
)
def test_the_stretches_of_windows_are_the_segments_that_they_were_cut_from(
    lengths: list[int], window: int, channels: int, seed: int
) -> None:
    rows = np.random.default_rng(seed).normal(size=(sum(lengths), channels)).astype(np.float32)
    segments = np.repeat(np.arange(len(lengths)), lengths)
    found = stretches(windows(rows, window, segments))
    whole = [rows[segments == one] for one, length in enumerate(lengths) if length >= window]
    assert len(found) == len(whole)
    assert all((one == other).all() for one, other in zip(found, whole, strict=True))


def test_windows_of_one_row_make_one_stretch() -> None:
    assert [len(one) for one in stretches(normal(50, window=1))] == [50]


@settings(max_examples=50, deadline=None)
@given(n=st.integers(0, 300), window=st.integers(1, 50), beside=st.integers(0, 3_000_000))
def test_batches_cover_every_window_once_within_the_bound(n: int, window: int, beside: int) -> None:
    made = normal(n + window - 1, 2, window)[:n]
    places = [(place, part) for place, part in batches(made, beside)]
    assert [i for place, _ in places for i in range(place.start, place.stop)] == list(range(n))
    for place, part in places:
        assert np.shares_memory(part, made)
        assert (part == made[place]).all()
        assert len(part) == 1 or len(part) * (window * 2 + beside) <= 2_000_000


@pytest.mark.parametrize(("n", "most"), [(10, 20), (20, 10), (1, 1)])
def test_so_many_are_drawn_at_most_in_order_and_by_seed(n: int, most: int) -> None:
    chosen = drawn(n, most, 3)
    assert len(chosen) == min(n, most)
    assert (np.diff(chosen) > 0).all()
    assert (chosen == drawn(n, most, 3)).all()
    assert set(chosen) <= set(range(n))


@pytest.mark.parametrize(("cells", "kept"), [(10**6, 50), (10 * 3 * 2, 10), (1, 2)])
def test_what_is_fitted_at_once_is_bounded_and_ends_with_each_windows_last_row(
    monkeypatch: pytest.MonkeyPatch, cells: int, kept: int
) -> None:
    monkeypatch.setattr(batches_module, "_FITTED_CELLS", cells)
    every = windows(np.arange(2 * 69, dtype=np.float32).reshape(69, 2), 20)
    chosen = thinned_and_drawn(every, 6, 3)
    assert chosen.shape == (kept, 3, 2)
    assert (chosen[:, -1] == every[drawn(50, kept, 3), -1]).all()


SHARED = [batches_module, contributions, empirical_tails, periodicity, restoring, stretches_module]


@pytest.mark.parametrize("module", SHARED, ids=lambda one: one.__name__.rpartition(".")[2])
def test_the_examples_of_what_detectors_share_print_what_they_say(module: ModuleType) -> None:
    done = doctest.testmod(module)
    assert done.attempted > 0
    assert done.failed == 0
