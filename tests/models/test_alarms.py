"""Smoothed scores and lasting alarms look back only, keep to their segment, and stream as in bulk."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from homeostat.models.alarms import exponential, labelled_threshold, lasting, trailing_mean

SEEDS = st.integers(0, 500)
ROWS = st.integers(1, 12)


def drawn(seed, n=60):
    """Scores, and segments of unequal length; the last number comes back as a segment anew."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=n), np.sort(rng.integers(0, 4, n)) % 3


@given(seed=SEEDS, rows=ROWS)
def test_a_trailing_mean_is_the_mean_of_the_rows_up_to_each(seed, rows):
    scores, _ = drawn(seed)
    padded = np.concatenate([np.repeat(scores[0], rows - 1), scores])
    expected = [padded[i : i + rows].mean() for i in range(len(scores))]
    assert trailing_mean(scores, rows) == pytest.approx(np.array(expected))


@settings(deadline=None)  # the first example imports scipy
@given(seed=SEEDS, rows=ROWS, cut=st.integers(1, 59), half_life=st.floats(0.3, 30))
def test_a_stream_in_pieces_equals_the_whole_to_the_last_bit(seed, rows, cut, half_life):
    scores, _ = drawn(seed)
    first, second = scores[:cut], scores[cut:]
    mean = np.concatenate([trailing_mean(first, rows), trailing_mean(second, rows, past=first)])
    assert np.array_equal(mean, trailing_mean(scores, rows))
    begin = exponential(first, half_life)
    faded = np.concatenate([begin, exponential(second, half_life, last=float(begin[-1]))])
    assert np.array_equal(faded, exponential(scores, half_life))
    over = scores > 0
    held = int(np.argmin(np.append(over[:cut][::-1], False)))
    kept = np.concatenate([lasting(over[:cut], rows), lasting(over[cut:], rows, past=held)])
    assert np.array_equal(kept, lasting(over, rows))


@given(seed=SEEDS, rows=ROWS)
def test_no_row_is_judged_by_another_segments_rows(seed, rows):
    scores, segments = drawn(seed)
    borders = np.flatnonzero(np.diff(segments)) + 1
    for smooth in (
        lambda values, of=None: trailing_mean(values, rows, of),
        lambda values, of=None: exponential(values, rows, of),
        lambda values, of=None: lasting(values > 0, rows, of),
    ):
        alone = np.concatenate([smooth(part) for part in np.split(scores, borders)])
        assert np.array_equal(smooth(scores, segments), alone)


@given(seed=SEEDS, rows=ROWS, at=st.integers(0, 59))
def test_a_row_is_not_judged_by_later_ones(seed, rows, at):
    scores, segments = drawn(seed)
    changed = scores.copy()
    changed[at:] += 5
    for smooth in (
        lambda values: trailing_mean(values, rows, segments),
        lambda values: exponential(values, rows, segments),
        lambda values: lasting(values > 0, rows, segments),
    ):
        assert np.array_equal(smooth(scores)[:at], smooth(changed)[:at])


def test_a_mean_of_one_row_and_a_run_of_one_row_change_nothing():
    scores, segments = drawn(0)
    assert np.array_equal(trailing_mean(scores, 1, segments), scores)
    assert np.array_equal(lasting(scores > 0, 1, segments), scores > 0)


def test_a_score_counts_half_as_much_after_its_half_life():
    assert exponential(np.array([1.0, *np.zeros(8)]), 4)[[4, 8]] == pytest.approx([0.5, 0.25])


@given(seed=SEEDS, rows=ROWS)
def test_an_alarm_is_raised_at_the_last_row_of_its_minimum_duration(seed, rows):
    over = drawn(seed)[0] > -0.5
    expected = [i + 1 >= rows and over[i + 1 - rows : i + 1].all() for i in range(len(over))]
    assert lasting(over, rows).tolist() == expected


@settings(deadline=None)  # the first example imports scipy
@given(seed=SEEDS, budget=st.sampled_from([0.0, 0.05, 0.2, 1.0]), coarse=st.booleans())
def test_no_threshold_within_the_budget_reaches_a_higher_f1(seed, budget, coarse):
    rng = np.random.default_rng(seed)
    labels = rng.random(80) < 0.3
    scores = np.round(rng.normal(size=80) + labels, 1 if coarse else 12)
    chosen = labelled_threshold(scores, labels, budget)
    reached = {
        cut: 2 * (labels & (scores > cut)).sum() / (labels.sum() + (scores > cut).sum())
        for cut in np.unique(scores)
        if (scores > cut)[~labels].mean() <= budget
    }
    if chosen is None:
        assert max(reached.values()) == 0
    else:
        assert (scores > chosen)[~labels].mean() <= budget
        assert f1_score(labels, scores > chosen) == pytest.approx(max(reached.values()))
        assert chosen not in scores or np.diff(np.unique(scores)).min() < 1e-12


@pytest.mark.parametrize("labels", [np.zeros(100), np.ones(100), np.arange(100) < 9])
def test_a_handful_of_labels_of_one_kind_chooses_no_threshold(labels):
    assert labelled_threshold(np.arange(100.0), labels, 0.5) is None


def test_neighbouring_scores_that_no_number_lies_between_are_still_told_apart():
    low = 1.0
    high = np.nextafter(low, 2)
    scores = np.array([low] * 10 + [high] * 10)
    assert labelled_threshold(scores, np.arange(20) >= 10, 0.0) == low


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: trailing_mean(np.ones(3), 0), "rows is 0"),
        (lambda: lasting(np.ones(3, bool), 0), "rows is 0"),
        (lambda: exponential(np.ones(3), 0), "half_life is 0"),
        (lambda: labelled_threshold(np.ones(3), np.ones(2), 0.1), "one per row"),
        (lambda: labelled_threshold(np.ones(3), np.ones(3), 2), "max_false_alarm_rate is 2"),
    ],
)
def test_what_cannot_be_done_is_refused(made, said):
    with pytest.raises(ValueError, match=said):
        made()
