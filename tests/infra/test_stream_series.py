"""How much of a series' past is kept: enough for a revision that drops rows with a gap."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from homeostat.infra.observing.stream_series import recent


@given(st.lists(st.booleans(), max_size=60), st.integers(0, 12))
def test_the_shortest_end_with_enough_complete_rows_is_kept_but_twice_as_many_at_most(
    complete: list[bool], tail: int
) -> None:
    rows = np.arange(2.0 * len(complete)).reshape(-1, 2)
    rows[~np.array(complete, bool), 1] = np.nan
    kept = recent(rows, tail)
    assert np.array_equal(kept, rows[len(rows) - len(kept) :], equal_nan=True)
    assert len(kept) <= 2 * tail
    have = int(np.isfinite(kept).all(axis=1).sum())
    assert have <= tail
    if have < tail:
        assert len(kept) == min(len(rows), 2 * tail)
    elif tail:
        assert np.isfinite(kept[0]).all()
