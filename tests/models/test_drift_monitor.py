"""Drift as rows arrive: when verdicts are due, what they say, and a state that goes on to the bit."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from homeostat.models.drift_calibration import Calibration, calibrate
from homeostat.models.drift_monitor import Monitor
from homeostat.models.drift_words import Settings, Verdict
from homeostat.models.fitted import Fitted
from homeostat.models.fitting import fit
from homeostat.models.simulator import CHANNELS, simulate

BATCH = ("mmd", "ks", "cvm", "lsdd")
ONLINE = ("mmd-online", "lsdd-online", "cvm-online")
SHORT: dict[str, Any] = {"window": 200, "every": 50, "expected_run_time": 400}
DAY = datetime(2026, 3, 1, 8)
MINUTES_A_DAY = 1440


def rig(count: int, regime: str = "commissioned", seed: int = 1) -> NDArray[Any]:
    frame = simulate(count, regime=regime, start=DAY + timedelta(hours=seed % 24), seed=seed)
    return frame[list(CHANNELS)].to_numpy()


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    return fit("mahalanobis", rig(2000, seed=9), channels=CHANNELS, window=5)


@pytest.fixture(scope="module")
def calibrations(fitted: Fitted) -> dict[str, Calibration]:
    return {
        test: calibrate(fitted, rig(2000, seed=9), settings=Settings(test=cast(Any, test), **SHORT))
        for test in (*BATCH, *ONLINE)
    }


def feed(monitor: Monitor, rows: NDArray[Any], step: int = 50, **beside: Any) -> list[Verdict]:
    return [
        one
        for start in range(0, len(rows), step)
        for one in monitor.update(
            rows[start : start + step],
            **{name: values[start : start + step] for name, values in beside.items()},
        )
    ]


@pytest.mark.parametrize("test", [*BATCH, *ONLINE])
def test_calm_rows_are_calm_and_the_rebuilt_rig_is_drift_until_it_is_gone(
    calibrations: dict[str, Calibration], test: str
) -> None:
    monitor = Monitor(calibrations[test])
    assert not any(one.drifted for one in feed(monitor, rig(1000, seed=30)))
    moved = feed(monitor, rig(600, "rebuilt", seed=31))
    assert all(one.drifted for one in moved[4:])
    assert all(one.statistic > one.threshold for one in moved[4:])
    assert {one.test for one in moved} == {test}
    back = feed(monitor, rig(600, seed=32))
    assert not any(one.drifted for one in back[5:])


@pytest.mark.parametrize("test", ["mmd", "cvm-online"])
def test_verdicts_come_once_the_window_is_full_and_then_every_so_many_rows(
    calibrations: dict[str, Calibration], test: str
) -> None:
    monitor = Monitor(calibrations[test])
    due = [bool(monitor.update(rows)) for rows in np.split(rig(350, seed=3), 35)]
    assert [i for i, one in enumerate(due) if one] == [19, 24, 29, 34]
    assert monitor.update(np.zeros((0, len(CHANNELS)))) == ()


@pytest.mark.parametrize("test", ["mmd", *ONLINE])
@given(cuts=st.lists(st.integers(1, 120), min_size=2, max_size=5), stop=st.integers(0, 4))
@settings(max_examples=3, deadline=None)
def test_a_restored_monitor_goes_on_to_the_bit(
    calibrations: dict[str, Calibration], test: str, cuts: list[int], stop: int
) -> None:
    rows = np.split(rig(sum(cuts), seed=5), np.cumsum(cuts)[:-1])
    whole, restored = Monitor(calibrations[test]), Monitor(calibrations[test])
    for number, part in enumerate(rows):
        one, other = whole.update(part), restored.update(part)
        assert [said(each) for each in one] == [said(each) for each in other]
        if number >= stop:
            restored = Monitor.restore(calibrations[test], restored.state())
    assert whole.state() == restored.state()


def said(verdict: Verdict) -> tuple[Any, ...]:
    return verdict.statistic, verdict.p_value, verdict.drifted, verdict.channels, verdict.tested


def test_the_state_is_bounded_and_belongs_to_its_calibration(calibrations: dict[str, Calibration]) -> None:
    monitor = Monitor(calibrations["cvm-online"])
    feed(monitor, rig(300, seed=3))
    early = len(monitor.state())
    feed(monitor, rig(3000, seed=4))
    assert len(monitor.state()) <= early + 200
    with pytest.raises(ValueError, match="another calibration"):
        Monitor.restore(calibrations["mmd"], monitor.state())
    with pytest.raises(ValueError, match="begin anew"):
        Monitor.restore(calibrations["mmd"], b"nonsense")


@pytest.mark.parametrize("test", [*BATCH, *ONLINE])
def test_what_was_saved_judges_as_before(
    calibrations: dict[str, Calibration], test: str, tmp_path: Path
) -> None:
    calibrations[test].save(tmp_path)
    one, other = Monitor(calibrations[test]), Monitor(Calibration.load(tmp_path))
    rows = rig(300, seed=6)
    assert [said(each) for each in feed(one, rows)] == [said(each) for each in feed(other, rows)]


def test_input_that_cannot_be_taken_is_named_and_leaves_the_monitor_as_it_was(
    calibrations: dict[str, Calibration],
) -> None:
    monitor = Monitor(calibrations["ks"])
    monitor.update(rig(100))
    before, broken = monitor.state(), rig(10)
    broken[3, 1] = np.nan
    for rows, beside, named in (
        (broken, {}, "row 3, 'Accelerometer2RMS'"),
        (rig(10)[:, :2], {}, "shape"),
        (rig(10), {"times": np.zeros(3)}, "times have shape"),
    ):
        with pytest.raises(ValueError, match=named):
            monitor.update(rows, **beside)
    assert monitor.state() == before


def test_scores_drift_though_each_row_looks_as_before(fitted: Fitted) -> None:
    known = rig(2000, seed=9)
    both = Settings(test="ks", on=("features", "scores"), **SHORT)
    monitor = Monitor(calibrate(fitted, known, settings=both))
    calm, odd = rig(400, seed=12), rig(400, seed=13)
    verdicts = feed(monitor, calm, scores=fitted.score(calm))
    verdicts += feed(monitor, odd, scores=3 * fitted.score(odd) + 5)
    assert not any(one.drifted for one in verdicts if one.on == "features")
    scores = [one for one in verdicts if one.on == "scores"]
    assert (scores[0].drifted, scores[-1].drifted) == (False, True)
    assert scores[-1].channels == ("score",)


@pytest.mark.parametrize("told", [True, False])
def test_more_errors_are_drift_and_fewer_are_not(fitted: Fitted, told: bool) -> None:
    def wrong(share: float, count: int, seed: int) -> NDArray[Any]:
        return (np.random.default_rng(seed).random(count) < share).astype(float)

    wanted = Settings(on=("errors",), **SHORT)
    calibration = calibrate(fitted, rig(100), settings=wanted, errors=wrong(0.1, 800, 1) if told else None)
    monitor = Monitor(calibration)
    none = rig(1)[:0]
    if not told:  # the first window of them stands in
        assert monitor.update(none, errors=wrong(0.1, 150, 1)) == ()
        monitor = Monitor.restore(calibration, monitor.state())
        assert monitor.update(none, errors=wrong(0.1, 50, 7)) == ()
    (calm,) = monitor.update(none, errors=wrong(0.1, 200, 2))
    (better,) = monitor.update(none, errors=wrong(0.0, 200, 3))
    (worse,) = monitor.update(none, errors=wrong(0.5, 200, 4))
    assert [one.drifted for one in (calm, better, worse)] == [False, False, True]
    assert (worse.on, worse.test, worse.statistic > 0.3) == ("errors", "fisher", True)


def day(days: float, seed: int, start: float = 0.0) -> tuple[NDArray[Any], NDArray[Any]]:
    """Rows by the minute with a strong cycle, and their times."""
    rows = np.arange(round(days * MINUTES_A_DAY)) + start * MINUTES_A_DAY
    noise = np.random.default_rng(seed).normal(0, 1, (len(rows), 2))
    return 5 * np.sin(2 * np.pi * rows / MINUTES_A_DAY)[:, None] * [1, -1] + noise, 60.0 * rows


@pytest.mark.parametrize("season", ["auto", 86_400.0])
def test_the_night_is_no_drift_where_nights_are_known_and_day_at_night_is(season: Any) -> None:
    two = cast(Fitted, type("Two", (), {"channels": ("a", "b")}))
    rows, times = day(4, 1)
    wanted = Settings(season=season, window=200, every=200)
    calibration = calibrate(two, rows, times=times, settings=wanted)
    assert calibration.parts["features"].season == 86_400
    monitor = Monitor(calibration)
    rows, times = day(1, 2, start=4)
    verdicts = feed(monitor, rows, times=times)
    assert len(verdicts) > 5
    assert not any(one.drifted for one in verdicts)
    assert verdicts[0].tested.phase == "00:00 to 03:19 of 24:00"
    assert (verdicts[0].tested.start, verdicts[0].tested.end) == (
        "1970-01-05T00:00:00Z",
        "1970-01-05T03:19:00Z",
    )
    assert feed(monitor, day(0.5, 3, start=6.5)[0], times=times[:720])[-1].drifted


def test_without_times_all_of_the_reference_serves_and_the_verdict_says_so() -> None:
    two = cast(Fitted, type("Two", (), {"channels": ("a", "b")}))
    rows, times = day(4, 1)
    wanted = Settings(season="auto", window=200, every=200)
    known, unknown = (calibrate(two, rows, times=one, settings=wanted) for one in (times, None))
    fresh, _ = day(0.2, 2)
    assert feed(Monitor(known), fresh)[0].reference.phase == "all: the rows came without times"
    assert feed(Monitor(unknown), fresh)[0].reference.phase == "all: the reference has no times"
    two_days = calibrate(two, rows[:2000], times=times[:2000], settings=wanted)
    assert two_days.parts["features"].season == 0
