"""A cell without a number is refused, held or its row dropped, by what came before it and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.models.missing import LONGEST_HELD, Missing

NAN, INF = np.nan, np.inf


def settle(policy: str, *cells: float, segments: list[int] | None = None) -> tuple[list[float], list[bool]]:
    rows, kept = Missing.parse(policy).settle(
        np.array(cells)[:, None], None if segments is None else np.array(segments)
    )
    return rows[kept, 0].tolist(), kept.tolist()


def test_refusing_names_row_channel_and_value():
    with pytest.raises(ValueError, match="row 1, channel 1 is inf: fill or drop such cells first"):
        Missing("refuse").settle(np.array([[1.0, 2.0], [1.0, INF]]))


def test_dropping_leaves_out_the_whole_row():
    assert settle("drop", 1, NAN, -INF, 4) == ([1, 4], [True, False, False, True])


def test_a_value_is_held_for_as_long_as_was_said():
    assert settle("hold:2", 1, NAN, NAN, 4, INF) == ([1, 1, 1, 4, 4], [True] * 5)
    with pytest.raises(ValueError, match="row 3, channel 0 is nan: there was no number for 2 rows before"):
        settle("hold:2", 1, NAN, NAN, NAN)


def test_a_value_is_not_held_across_a_segments_border():
    assert settle("hold:2", 1, NAN, NAN, 4, segments=[0, 0, 1, 1]) == ([1, 1, 4], [True, True, False, True])


def test_rows_before_a_channels_first_number_take_no_part():
    assert settle("hold:2", NAN, NAN, 3, NAN) == ([3, 3], [False, False, True, True])
    with pytest.raises(ValueError, match="row 2, channel 0 is nan"):
        settle("hold:2", NAN, NAN, NAN, 3)


@given(
    cells=st.lists(st.sampled_from([1.0, 2.0, 3.0, NAN]), min_size=1, max_size=30),
    limit=st.integers(1, 4),
    cut=st.integers(0, 30),
)
def test_holding_looks_back_as_far_as_its_reach_and_never_ahead(cells, limit, cut):
    policy, rows = Missing("hold", limit), np.array(cells)[:, None]
    cut = min(cut, len(rows))
    try:
        whole, kept = policy.settle(rows)
    except ValueError:
        return
    low = max(0, cut - policy.reach)
    part, part_kept = policy.settle(rows[low:])
    assert part_kept[cut - low :].tolist() == kept[cut:].tolist()
    assert part[cut - low :][kept[cut:]].tolist() == whole[cut:][kept[cut:]].tolist()
    before, before_kept = policy.settle(rows[:cut])
    assert before_kept.tolist() == kept[:cut].tolist()
    assert before[before_kept].tolist() == whole[:cut][kept[:cut]].tolist()


def test_rows_that_lack_nothing_are_handed_on_uncopied():
    rows = np.ones((3, 2))
    for policy in ("refuse", "drop", "hold:1"):
        settled, kept = Missing.parse(policy).settle(rows)
        assert settled is rows
        assert kept.all()


@pytest.mark.parametrize("text", ["", "guess", "hold", "hold:", "hold:-1", "drop:3", "refuse:"])
def test_an_unknown_policy_is_refused_with_the_choice(text):
    with pytest.raises(ValueError, match=r"choose refuse, drop or, to hold a value for 3 rows, hold:3"):
        Missing.parse(text)


@pytest.mark.parametrize("count", [0, LONGEST_HELD + 1])
def test_holding_for_ever_is_refused(count):
    with pytest.raises(ValueError, match="hold a value for 1 to 1000 rows"):
        Missing.parse(f"hold:{count}")


@pytest.mark.parametrize("text", ["refuse", "drop", "hold:3"])
def test_a_policy_is_written_as_it_is_read(text):
    assert str(Missing.parse(text)) == text
