"""Events found, their delays, and false alarms a day are counted as people would."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.models.event_wise import DAY, event_wise

from .marked import marked, spread


def test_an_event_is_found_by_its_first_alarm_within():
    labels = spread(100, (10, 20), (40, 50), (90, 100))
    found = event_wise(spread(100, (13, 15), (17, 30), (60, 62), (99, 100)), labels)
    assert (found.events, found.found, found.false_alarms) == (3, 2, 1)
    assert found.delays.tolist() == [3, 9]
    assert (found.median_delay(), found.mean_delay()) == (6.0, 6.0)


def test_an_alarm_that_began_before_the_event_finds_it_at_once_and_is_no_false_one():
    found = event_wise(spread(30, (5, 12)), spread(30, (10, 20)))
    assert (found.found, found.false_alarms, found.delays.tolist()) == (1, 0, [0])


def test_false_alarms_are_counted_per_day_of_the_rows_that_were_judged():
    found = event_wise(spread(1440, (1, 3), (200, 300)), np.zeros(1440))
    assert found.false_alarms_per_day(60.0) == 2.0
    assert found.false_alarms_per_day(1.0) == 120.0


@given(seed=st.integers(0, 999), n=st.integers(1, 60))
def test_counts_equal_those_by_hand(seed, n):
    labels, alarms = marked(seed, n, 3, 9), marked(seed + 1, n, 5, 9)
    delays, false_alarms, i = [], 0, 0
    events = [list(range(n))[k] for k in range(n) if labels[k] and (k == 0 or not labels[k - 1])]
    for start in events:
        stop = next((k for k in range(start, n) if not labels[k]), n)
        hits = [k - start for k in range(start, stop) if alarms[k]]
        delays += hits[:1]
    while i < n:
        stop = next((k for k in range(i, n) if not alarms[k]), n)
        false_alarms += stop > i and not labels[i:stop].any()
        i = stop + 1
    found = event_wise(alarms, labels)
    assert (found.events, found.found, found.delays.tolist()) == (len(events), len(delays), delays)
    assert found.false_alarms == false_alarms


def test_what_was_not_found_has_no_delay():
    found = event_wise(np.zeros(10), spread(10, (2, 4)))
    assert (found.median_delay(), found.mean_delay()) == (None, None)


def test_a_day_has_86400_seconds():
    assert event_wise(np.ones(1), np.zeros(1)).false_alarms_per_day(DAY) == 1.0


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="one per row"):
        event_wise(np.ones(3), np.ones(2))
    with pytest.raises(ValueError, match=r"period is 0\.0"):
        event_wise(np.ones(3), np.ones(3)).false_alarms_per_day(0.0)
