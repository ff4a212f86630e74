"""From rows to a detector: where its threshold comes from, and what smoothing, duration and gaps do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeostat.models import artifact
from homeostat.models.choices import ThresholdKind
from homeostat.models.fitted import Fitted
from homeostat.models.fitting import Labelled, fit

CHANNELS = ("flow", "heat", "hum")


def rows(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    swing = np.sin(np.arange(n) / 11)[:, None] * np.array([1.0, 20.0, 0.01])
    return swing + rng.normal(size=(n, 3)) * [0.2, 3.0, 0.002] + [0.0, 80.0, -3.0]


def made(**options: object) -> Fitted:
    return fit("sub-pca", rows(600), channels=CHANNELS, window=10, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("threshold", get_args(ThresholdKind))
def test_a_lower_false_alarm_rate_gives_a_higher_threshold(threshold: str) -> None:
    limits = [made(threshold=threshold, false_alarm_rate=rate).threshold for rate in (0.1, 0.02, 0.005)]
    assert limits == sorted(limits)
    assert limits[0] < limits[-1]


def test_an_unknown_threshold_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ValueError, match="threshold is 'magic': choose one of spot, conformal, blocked"):
        made(threshold="magic")


def test_labels_raise_the_threshold_to_where_they_part_the_scores_and_never_lower_it() -> None:
    plain = made(false_alarm_rate=0.1)
    taught, truth = rows(600, seed=2), np.zeros(600, int)
    taught[200:260, 1] += 60
    truth[200:260] = 1
    wiser = made(false_alarm_rate=0.1, labelled=Labelled(taught, truth))
    assert wiser.threshold > plain.threshold
    caught = wiser.anomalies(wiser.score(taught))[truth == 1].mean()
    assert caught > 0.9
    calm = made(false_alarm_rate=0.1, labelled=Labelled(taught, np.zeros(600, int)))
    assert calm.threshold == plain.threshold


def test_smoothing_is_the_mean_of_the_last_scores() -> None:
    plain, smooth = made(), made(smoothing=4)
    fresh = rows(50, seed=3)
    raw = plain.score(fresh)
    assert smooth.score(fresh)[10:] == pytest.approx([raw[k - 3 : k + 1].mean() for k in range(10, 50)])


def test_an_alarm_is_raised_once_it_has_lasted() -> None:
    patient = replace(made(), min_duration=3)
    above = np.array([0, 1, 1, 0, 1, 1, 1, 1, 0]) * 1e6
    assert patient.anomalies(above).tolist() == [False] * 6 + [True, True, False]
    assert patient.tail == made().tail + 2


@given(cut=st.integers(1, 199), seed=st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_a_stream_that_keeps_its_tail_is_scored_like_the_whole(cut: int, seed: int) -> None:
    detector = _PREPARED
    fresh = rows(200, seed=seed)
    whole = detector.score(fresh)
    start = max(0, cut - detector.tail)
    later = detector.score(fresh[start:])[cut - start :]
    # Before a whole tail is there, the first row stands in for the past, in the stream as in the whole.
    assert later == pytest.approx(whole[cut:], rel=1e-9, abs=1e-12)


def test_only_wanted_rows_are_computed_and_they_are_the_same() -> None:
    fresh, wanted = rows(120, seed=4), np.zeros(120, bool)
    wanted[[0, 50, 51, 119]] = True
    segments = np.repeat([0, 1, 2], 40)
    for detector in (made(), _PREPARED):
        some = detector.score(fresh, segments, wanted=wanted)[wanted]
        assert some == pytest.approx(detector.score(fresh, segments)[wanted], rel=1e-12)


def test_rows_that_lack_a_number_are_held_or_dropped_as_asked() -> None:
    fresh = rows(60, seed=5)
    fresh[30, 1] = np.nan
    with pytest.raises(ValueError, match="row 30, channel 'heat' is nan"):
        made().score(fresh)
    held, dropped = made(missing="hold:2"), made(missing="drop")
    assert np.isfinite(held.score(fresh)).all()
    scores = dropped.score(fresh)
    assert scores[30] == scores[29]
    assert scores[31:] == pytest.approx(dropped.score(np.delete(fresh, 30, axis=0))[30:])


def test_contributions_are_told_in_raw_channels() -> None:
    detector = made(statistics=("mean:5", "std:5"))
    fresh = rows(40, seed=6)
    fresh[30:, 1] += 60
    told = detector.contributions(fresh)
    assert told.shape == (40, 3)
    assert told.sum(axis=1) == pytest.approx(1)
    assert told[35].argmax() == 1


def test_everything_that_was_fitted_is_in_the_artifact(tmp_path: Path) -> None:
    artifact.save(_PREPARED, tmp_path / "one", {})
    again = artifact.load(tmp_path / "one")
    fresh = rows(100, seed=7)
    assert (again.score(fresh) == _PREPARED.score(fresh)).all()
    assert (again.anomalies(again.score(fresh)) == _PREPARED.anomalies(_PREPARED.score(fresh))).all()
    assert (again.smoothing, again.min_duration, again.tail) == (3, 2, _PREPARED.tail)


_PREPARED = made(statistics=("mean:5", "difference:1"), missing="hold:2", smoothing=3, min_duration=2)
