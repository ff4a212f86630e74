"""Figures equal hand-computed ones, scikit-learn's, and the VUS authors' own numbers."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score

from homeostat.models.metrics import FIGURES, average_precision, report, vus_pr


def labelled(seed, n, ranges, coarse=False):
    """Scores that lean towards `ranges` random labelled ranges; coarse ones are full of ties."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(n)
    for _ in range(ranges):
        start = rng.integers(0, n)
        labels[start : start + rng.integers(1, 40)] = 1
    scores = rng.random(n) + 0.3 * labels
    return (np.round(scores * 10) / 10 if coarse else scores), labels


def test_figures_equal_hand_computed_ones():
    figures = report(np.array([0.9, 0.8, 0.2, 0.7, 0.1]), np.array([1, 0, 1, 1, 0]), 0.5)
    assert figures["precision"] == pytest.approx(2 / 3)
    assert figures["recall"] == pytest.approx(2 / 3)
    assert figures["f1"] == pytest.approx(2 / 3)
    assert figures["false_alarm_rate"] == pytest.approx(1 / 2)
    assert figures["missed_alarm_rate"] == pytest.approx(1 / 3)
    assert figures["always_alarm_f1"] == pytest.approx(2 * 0.6 / 1.6)
    # hits at ranks 1, 3 and 4
    assert figures["average_precision"] == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)


@settings(deadline=None)
@given(seed=st.integers(0, 500), threshold=st.floats(0.05, 1.2))
def test_figures_equal_scikit_learns(seed, threshold):
    scores, labels = labelled(seed, 200, 3, coarse=seed % 2 == 0)
    figures = report(scores, labels, threshold)
    alarm = scores > threshold
    assert figures["average_precision"] == pytest.approx(average_precision_score(labels, scores))
    assert (figures["precision"] or 0.0) == pytest.approx(precision_score(labels, alarm, zero_division=0))
    assert figures["recall"] == pytest.approx(recall_score(labels, alarm))
    assert figures["f1"] == pytest.approx(f1_score(labels, alarm, zero_division=0))


def test_without_anomalies_only_false_alarms_are_measured():
    figures = report(np.array([0.1, 0.9]), np.zeros(2), 0.5, period=43_200)
    assert figures.pop("false_alarm_rate") == 0.5
    assert figures.pop("false_alarms_per_day") == 1.0
    assert set(figures.values()) == {None}


def test_without_normal_rows_there_is_no_false_alarm_rate():
    assert report(np.array([0.1, 0.9]), np.ones(2), 0.5)["false_alarm_rate"] is None


def test_without_an_alarm_precision_is_unknown_and_f1_zero():
    figures = report(np.array([0.1, 0.2]), np.array([0, 1]), 0.5)
    assert (figures["precision"], figures["f1"]) == (None, 0.0)


def test_a_score_at_the_threshold_is_no_alarm():
    assert report(np.array([0.5, 0.6]), np.array([0, 1]), 0.5)["false_alarm_rate"] == 0


def test_random_scores_reach_the_share_of_anomalies():
    rng = np.random.default_rng(0)
    labels = rng.random(20_000) < 0.2
    assert average_precision(rng.random(20_000), labels) == pytest.approx(0.2, abs=0.02)


# Computed once with RangeAUC_volume_opt of github.com/TheDatumOrg/VUS @ d0f2a443, 250 thresholds.
@pytest.mark.parametrize(
    ("seed", "n", "ranges", "buffer", "coarse", "authors"),
    [
        (0, 600, 3, 40, False, 0.47696607982561123),
        (1, 1000, 8, 100, False, 0.6881035569498465),
        (2, 300, 10, 30, True, 0.838417167933619),
        (3, 200, 1, 20, False, 0.5984937221900554),
        (4, 1500, 5, 100, True, 0.4538449042433914),
        (5, 400, 20, 60, False, 0.9598654808586019),
    ],
)
def test_vus_pr_equals_the_authors_figures(seed, n, ranges, buffer, coarse, authors):
    scores, labels = labelled(seed, n, ranges, coarse)
    assert vus_pr(scores, labels, buffer) == pytest.approx(authors, abs=1e-12)


def test_vus_pr_of_twenty_thousand_rows_takes_less_than_a_second():
    scores, labels = labelled(9, 20_000, 50)
    started = time.process_time()
    vus_pr(scores, labels)
    assert time.process_time() - started < 1.0


@given(seed=st.integers(0, 500), buffer=st.integers(0, 30))
def test_vus_pr_stays_between_nought_and_one(seed, buffer):
    scores, labels = labelled(seed, 150, 1 + seed % 6, coarse=seed % 3 == 0)
    assert 0 <= vus_pr(scores, labels, buffer) <= 1


def test_vus_pr_forgives_lateness_where_average_precision_does_not():
    labels = np.zeros(300)
    labels[100:140] = 1
    late = np.roll(labels, 10)
    assert vus_pr(late, labels) > average_precision(late, labels)


@settings(deadline=None)
@given(seed=st.integers(0, 500), n=st.integers(1, 40), ranges=st.integers(0, 3), threshold=st.floats(0, 1.4))
def test_every_report_has_the_same_figures_whatever_its_rows_can_tell(seed, n, ranges, threshold):
    scores, labels = labelled(seed, n, ranges)
    assert tuple(report(scores, labels, threshold)) == FIGURES


def test_what_a_report_says_of_always_alarming_is_what_always_alarming_reaches():
    scores, labels = labelled(3, 500, 4)
    figures = report(scores, labels, -1.0)
    for name in ("f1", "precision", "range_f1", "affiliation_f1"):
        assert figures[name] == pytest.approx(figures[f"always_alarm_{name}"]) != 0


def test_a_period_turns_rows_into_seconds_and_days():
    labels = np.zeros(1000)
    labels[100:150] = labels[500:550] = 1
    scores = np.zeros(1000)
    scores[[110, 520, 700]] = 1
    figures = report(scores, labels, 0.5, period=10.0)
    assert (figures["events"], figures["events_found"], figures["delay_median"]) == (2, 2, 15)
    assert figures["delay_median_seconds"] == figures["delay_mean_seconds"] == 150
    assert figures["false_alarms_per_day"] == pytest.approx(8.64)
    without = report(scores, labels, 0.5)
    assert without["false_alarms_per_day"] is without["delay_mean_seconds"] is None


def test_point_adjusted_f1_is_never_told_without_that_of_random_alarms():
    figures = report(*labelled(4, 300, 3), 0.9)
    assert figures["point_adjusted_f1"] > figures["f1"]
    assert figures["point_adjusted_random_f1"] > 0


def test_a_report_on_a_hundred_thousand_rows_with_many_events_takes_less_than_two_seconds():
    scores, labels = labelled(10, 100_000, 1000)
    started = time.process_time()
    report(scores, labels, 0.9, period=1.0)
    assert time.process_time() - started < 2.0


@pytest.mark.parametrize(
    ("scores", "labels", "said"),
    [([0.1, np.nan], [0, 1], "score 1 is not finite"), ([0.1], [0, 1], "of one length")],
)
def test_bad_input_is_refused(scores, labels, said):
    with pytest.raises(ValueError, match=said):
        report(np.array(scores), np.array(labels), 0.5)
