"""A threshold holds the false-alarm rate that was asked for."""

from __future__ import annotations

import numpy as np
import pytest

from homeostat.models.threshold import blocked_quantile, conformal_quantile, wander


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.2])
def test_fresh_scores_exceed_it_at_the_rate_asked_for(rate):
    rng = np.random.default_rng(0)
    shares = [
        (rng.normal(size=1000) > conformal_quantile(rng.normal(size=199), rate)).mean() for _ in range(200)
    ]
    assert np.mean(shares) == pytest.approx(rate, abs=0.004)


def test_with_too_few_scores_it_is_the_largest():
    assert conformal_quantile(np.array([3.0, 1.0, 2.0]), 0.01) == 3.0


@pytest.mark.parametrize(
    ("scores", "rate", "said"),
    [([1.0], 0.0, "between 0 and 1"), ([], 0.1, "at least one"), ([1.0, np.nan], 0.1, "every score finite")],
)
def test_what_cannot_be_measured_is_refused(scores, rate, said):
    with pytest.raises(ValueError, match=said):
        conformal_quantile(np.array(scores), rate)


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.2])
def test_over_blocks_fresh_scores_exceed_it_at_most_at_the_rate_asked_for(rate):
    rng = np.random.default_rng(1)
    shares = [
        (rng.normal(size=1000) > blocked_quantile(rng.normal(size=1200), rate)).mean() for _ in range(200)
    ]
    assert rate / 2 < np.mean(shares) < 1.05 * rate


def test_a_block_that_is_far_off_does_not_lift_the_threshold_over_blocks():
    scores = np.random.default_rng(2).normal(size=800)
    off = scores.copy()
    off[200:400] += 100
    assert conformal_quantile(off, 0.02) > 100
    assert blocked_quantile(off, 0.02) < scores.max()


def test_a_level_that_wanders_is_followed_by_half_of_the_blocks():
    steps = np.repeat([0.0, 10.0, 0.0, 10.0], 100) + np.random.default_rng(3).random(400)
    assert 1 < blocked_quantile(steps, 0.02) < 10


def test_fewer_scores_than_blocks_are_one_block():
    assert blocked_quantile(np.array([3.0, 1.0, 2.0]), 0.01) == 3.0


def test_scores_on_one_level_wander_little_and_drifting_ones_as_far_as_they_go():
    noise = np.random.default_rng(0).normal(size=4000)
    assert wander(noise) < 0.2
    assert wander(noise + np.linspace(0, 8, 4000)) == pytest.approx(6, abs=0.3)


def test_too_few_scores_to_tell_do_not_wander():
    assert wander(np.array([1.0, 9.0])) == 0.0
