"""SPOT holds a rate too low for counting, whatever the tail; DSPOT holds it while the level drifts."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import genpareto

from homeostat.models.dspot import Dspot
from homeostat.models.spot import MAX_PEAKS, Spot, fit_tail, spot_threshold
from homeostat.models.threshold import conformal_quantile

DRAWS = {
    "exponential": lambda rng, n: rng.exponential(size=n),
    "gaussian": lambda rng, n: rng.normal(size=n),
    "heavy (Student's t, 3 degrees)": lambda rng, n: rng.standard_t(3, size=n),
    "bounded (uniform)": lambda rng, n: rng.random(n),
}


@pytest.mark.parametrize("shape", [-0.4, 0.0, 0.3])
def test_a_tail_that_is_known_is_found_as_by_scipys_maximum_likelihood(shape):
    excesses = genpareto.rvs(shape, scale=2.0, size=3000, random_state=1)
    found, scale = fit_tail(excesses)
    theirs, _, their_scale = genpareto.fit(excesses, floc=0)
    assert found == pytest.approx(shape, abs=0.06)
    assert (found, scale) == (pytest.approx(theirs, abs=0.02), pytest.approx(their_scale, rel=0.02))


@given(exponent=st.integers(-200, 200), n=st.integers(1, 60), seed=st.integers(0, 99))
def test_a_tail_has_a_scale_in_the_unit_of_its_excesses(exponent, n, seed):
    excesses = np.random.default_rng(seed).exponential(size=n) + 1e-6
    shape, scale = fit_tail(excesses)
    assert scale > 0
    larger = fit_tail(excesses * 2.0**exponent)
    assert larger == (pytest.approx(shape, abs=1e-9), pytest.approx(scale * 2.0**exponent))


@pytest.mark.parametrize("draw", DRAWS.values(), ids=list(DRAWS))
@pytest.mark.parametrize("rate", [0.01, 0.001])
def test_fresh_scores_exceed_the_threshold_at_between_half_and_twice_the_rate(draw, rate):
    rng = np.random.default_rng(0)
    fresh = np.sort(draw(rng, 200_000))
    thresholds = [spot_threshold(draw(rng, 1000), rate) for _ in range(100)]
    shares = 1 - np.searchsorted(fresh, thresholds, side="right") / len(fresh)
    assert rate / 2 < np.mean(shares) < 2 * rate


def test_it_reaches_rates_at_which_a_conformal_quantile_can_only_take_the_largest_score():
    rng = np.random.default_rng(1)
    shares = {"spot": [], "conformal": []}
    for _ in range(200):
        scores = rng.exponential(size=500)
        for name, threshold in (
            ("spot", spot_threshold(scores, 0.0002)),
            ("conformal", conformal_quantile(scores, 0.0002)),
        ):
            shares[name].append(np.exp(-threshold))
    assert np.median(shares["spot"]) == pytest.approx(0.0002, rel=0.5)
    assert np.median(shares["conformal"]) > 0.001


@settings(deadline=None)
@given(seed=st.integers(0, 300), n=st.integers(1, 600), coarse=st.booleans())
def test_a_lower_rate_never_has_a_lower_threshold(seed, n, coarse):
    rng = np.random.default_rng(seed)
    scores = rng.standard_t(2, size=n)
    scores = np.round(scores) if coarse else scores
    rates = [0.5, 0.2, 0.1, 0.0999, 0.05, 0.02, 0.01, 0.001, 1e-5]
    assert np.all(np.diff([spot_threshold(scores, rate) for rate in rates]) >= 0)


@pytest.mark.parametrize("scores", [np.arange(150.0), np.ones(5000), np.repeat([0.0, 1.0], [4990, 10])])
def test_with_too_few_peaks_it_is_the_conformal_quantile(scores):
    assert spot_threshold(scores, 0.01) == conformal_quantile(scores, 0.01)


@pytest.mark.parametrize("rate", [-0.1, 0.0, 1.0])
def test_a_rate_that_is_no_share_is_refused(rate):
    with pytest.raises(ValueError, match="between 0 and 1"):
        spot_threshold(np.arange(1000.0), rate)


@pytest.mark.parametrize("draw", DRAWS.values(), ids=list(DRAWS))
def test_over_a_stream_alarms_stay_near_the_rate(draw):
    rng = np.random.default_rng(2)
    shares = [Spot.start(draw(rng, 500), 0.01).update(draw(rng, 5000)).mean() for _ in range(10)]
    assert 0.005 < np.mean(shares) < 0.02


def test_what_a_stream_learns_brings_its_threshold_nearer_to_the_true_one():
    rng = np.random.default_rng(3)
    before, after = [], []
    for _ in range(20):
        spot = Spot.start(rng.exponential(size=300), 0.001)
        before.append(abs(spot.threshold - np.log(1000)))
        spot.update(rng.exponential(size=10_000))
        after.append(abs(spot.threshold - np.log(1000)))
    assert np.mean(after) < np.mean(before) / 2


def test_an_alarm_that_chance_does_not_explain_teaches_nothing():
    rng = np.random.default_rng(4)
    spot = Spot.start(rng.normal(size=1000), 0.001)
    before = spot.arrays()
    assert spot.update(np.full(50, 100.0)).all()
    assert all(np.array_equal(before[name], array) for name, array in spot.arrays().items())


@pytest.mark.parametrize("kind", [Spot, Dspot])
@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 99), cuts=st.lists(st.integers(0, 400), max_size=5))
def test_pieces_and_the_whole_give_the_same_alarms_even_over_a_restart(kind, seed, cuts):
    rng = np.random.default_rng(seed)
    calm, scores = rng.normal(size=300), 1.3 * rng.normal(size=400)
    whole = kind.start(calm, 0.02)
    alarms = whole.update(scores)
    pieces = kind.start(calm, 0.02)
    got = []
    for piece in np.split(scores, sorted(cuts)):
        got.append(pieces.update(piece))
        pieces = kind.restore(pieces.arrays())
    assert np.array_equal(np.concatenate(got), alarms)
    assert pieces.threshold == whole.threshold


def test_dspot_follows_a_drifting_level_where_spot_does_not():
    rng = np.random.default_rng(5)
    calm, drifting = rng.normal(size=1000), rng.normal(size=10_000) + np.linspace(0, 20, 10_000)
    assert Spot.start(calm, 0.01).update(drifting).mean() > 0.5
    assert Dspot.start(calm, 0.01).update(drifting).mean() < 0.02


def test_dspot_still_finds_a_spike_on_the_drifting_level():
    rng = np.random.default_rng(6)
    drifting = rng.normal(size=5000) + np.linspace(0, 20, 5000)
    drifting[4000:4005] += 8
    alarms = Dspot.start(rng.normal(size=1000), 0.001).update(drifting)
    assert alarms[4000:4005].all()


def test_a_stream_remembers_no_more_than_its_latest_peaks():
    rng = np.random.default_rng(7)
    spot = Spot.start(rng.random(30_000), 0.001)
    spot.update(rng.random(20_000))
    assert spot.peaks > 3 * MAX_PEAKS
    assert len(spot.arrays()["excesses"]) == MAX_PEAKS


@pytest.mark.parametrize("kind", [Spot, Dspot])
def test_fifty_thousand_scores_take_less_than_five_seconds(kind):
    rng = np.random.default_rng(8)
    stream = kind.start(rng.normal(size=2000), 0.001)
    started = time.process_time()
    stream.update(rng.normal(size=50_000))
    assert time.process_time() - started < 5.0


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (
            lambda: Spot.start(np.arange(1000.0), 0.3),
            "false_alarm_rate is 0.3: give a share between 0 and 0.1",
        ),
        (lambda: Dspot.start(np.arange(10.0), 0.01, depth=10), "depth is 10: give 1 to 9 rows"),
        (lambda: Spot.start(np.arange(1000.0), 0.01).update(np.array([np.nan])), "every one finite"),
        (lambda: Spot.restore({"spot": np.ones(4), "excesses": np.ones(3)}), "no state of a stream"),
        (lambda: fit_tail(np.array([1.0, 0.0])), "each above 0"),
    ],
)
def test_what_makes_no_stream_is_refused(made, said):
    with pytest.raises(ValueError, match=said):
        made()
