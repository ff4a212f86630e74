"""The drift test: calm on what a process does by itself, awake to what changed, on real alibi-detect."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from homeostat.models.drift_window import WindowTest
from homeostat.models.drift_words import Settings
from homeostat.models.simulator import CHANNELS, simulate

TESTS: Any = ("mmd", "ks", "cvm", "lsdd")
DAY = datetime(2026, 3, 1, 8)
WINDOW = 500


def rig(
    count: int, regime: str = "commissioned", hours: float = 0, seed: int = 1, faults: float = 0
) -> NDArray[Any]:
    start = DAY + timedelta(hours=hours)
    frame = simulate(count, regime=regime, start=start, seed=seed, faults=faults)
    return frame[list(CHANNELS)].to_numpy()


def noise(count: int, seed: int) -> NDArray[Any]:
    return np.random.default_rng(seed).normal(10, 1, (count, 4))


@pytest.fixture(scope="module")
def skab(shared: Path) -> Path:
    return shared / "data/skab"


@pytest.fixture(scope="module")
def normal(skab: Path) -> NDArray[Any]:
    frame = pd.read_csv(skab / "anomaly-free/anomaly-free.csv", sep=";")
    return frame[list(CHANNELS)].to_numpy()


def against(reference: NDArray[Any], channels: tuple[str, ...], **wanted: Any) -> WindowTest:
    return WindowTest.against(reference, channels, Settings(**wanted))


def start_of(file: Path) -> NDArray[Any]:
    return pd.read_csv(file, sep=";")[list(CHANNELS)].to_numpy()[:400]


@pytest.mark.parametrize("test", TESTS)
@pytest.mark.parametrize("regime", ["commissioned", "rebuilt"])
def test_the_rig_at_other_hours_is_no_drift_though_its_p_value_says_so(test: Any, regime: str) -> None:
    reference = against(rig(750, regime, seed=99), CHANNELS, test=test, window=WINDOW)
    verdicts = [reference.test(rig(WINDOW, regime, h, seed=100 + h)) for h in range(0, 24, 3)]
    assert not any(one.drifted for one in verdicts)
    assert (
        sum(one.p_value is not None and one.p_value < 0.01 for one in verdicts) > 4
    )  # what the threshold is for


@pytest.mark.parametrize("test", TESTS)
def test_a_few_faults_are_no_drift(test: Any) -> None:
    reference = against(rig(750, seed=99), CHANNELS, test=test, window=WINDOW)
    assert not any(reference.test(rig(WINDOW, hours=h, seed=h, faults=0.05)).drifted for h in range(8))


@pytest.mark.parametrize("test", TESTS)
@pytest.mark.parametrize("count", [250, 750, 2000])
def test_the_rebuilt_rig_is_drift_whatever_the_reference_is_long(test: Any, count: int) -> None:
    reference = against(rig(count, seed=99), CHANNELS, test=test, window=WINDOW)
    verdict = reference.test(rig(WINDOW, "rebuilt", 3))
    assert verdict.drifted
    assert set(verdict.channels) <= {
        "Accelerometer1RMS",
        "Accelerometer2RMS",
        "Temperature",
        "Thermocouple",
        "Volume Flow RateRMS",
    }


@pytest.mark.parametrize("test", TESTS)
def test_one_channel_that_moved_far_is_drift_and_is_named_first(test: Any) -> None:
    reference = against(noise(1000, 1), ("a", "b", "c", "d"), test=test, window=300)
    rows = noise(300, 2)
    rows[:, 2] += 6
    verdict = reference.test(rows)
    assert verdict.drifted
    assert verdict.channels[0] == "c"


def test_one_channel_that_became_much_noisier_is_drift() -> None:
    reference = against(noise(1000, 1), ("a", "b", "c", "d"), window=300)
    rows = noise(300, 2)
    rows[:, 1] = 10 + 8 * (rows[:, 1] - 10)
    assert reference.test(rows).drifted


def test_a_channel_that_was_constant_and_moves_is_drift() -> None:
    reference = noise(600, 1)
    reference[:, 0] = 5.0
    rows = noise(300, 2)
    rows[:, 0] = 5.5
    verdict = against(reference, ("a", "b", "c", "d"), window=300).test(rows)
    assert verdict.drifted
    assert verdict.channels[0] == "a"


def test_the_same_rows_get_the_same_verdict_and_torch_keeps_its_own_randomness() -> None:
    import torch

    reference = against(noise(500, 1), ("a", "b", "c", "d"), window=200)
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first, second = reference.test(noise(200, 2)), reference.test(noise(200, 2))
    assert (first.statistic, first.p_value) == (second.statistic, second.p_value)
    assert torch.equal(torch.rand(3), expected)


def test_one_test_of_500_rows_takes_less_than_three_tenths_of_a_second() -> None:
    reference = against(rig(2000, seed=99), CHANNELS, window=WINDOW)
    # The least of several: what a busy machine adds is not the test's cost.
    assert min(reference.test(rig(WINDOW, seed=s)).seconds for s in range(8)) < 0.3


@pytest.mark.parametrize("test", TESTS)
def test_skabs_normal_running_is_not_called_drift_although_it_warms_up_for_hours(
    test: Any, normal: NDArray[Any]
) -> None:
    reference = against(normal[-2000:], CHANNELS, test=test, window=WINDOW)
    verdicts = [reference.test(normal[i : i + WINDOW]) for i in range(0, len(normal) - 2500, 250)]
    drifted = [one.drifted for one in verdicts]
    # The first eight minutes are the coldest: MMD calls one of 28 windows, so never two in a row.
    assert sum(drifted) <= 1
    assert all(one.p_value is not None and one.p_value < 0.01 for one in verdicts)


@pytest.mark.parametrize("test", TESTS)
def test_skabs_valve_experiments_a_month_later_are_drift(test: Any, skab: Path, normal: NDArray[Any]) -> None:
    reference = against(normal[-2000:], CHANNELS, test=test, window=WINDOW)
    later = [*sorted((skab / "valve1").glob("*.csv")), *(skab / f"other/{n}.csv" for n in (1, 2, 3, 4))]
    assert len(later) == 20
    assert [file.name for file in later if not reference.test(start_of(file)).drifted] == []


def test_skabs_runs_of_the_same_evening_are_drift_only_where_the_rig_runs_otherwise(
    skab: Path, normal: NDArray[Any]
) -> None:
    reference = against(normal[-2000:], CHANNELS, window=WINDOW)
    drifted = {n for n in range(5, 15) if reference.test(start_of(skab / f"other/{n}.csv")).drifted}
    # Run 5 begins with rows of the reference itself, and 6 to 8 follow it within the hour: closer to the
    # reference than its own morning is.
    assert drifted.isdisjoint({5, 6, 7, 8})
    assert drifted >= {11, 12, 13, 14}


@pytest.mark.parametrize(
    ("reference", "rows", "named"),
    [
        (noise(500, 1)[:, :3], noise(200, 1), "reference has shape"),
        (noise(20, 1), noise(200, 1), "20 rows"),
        (noise(500, 1), noise(200, 1)[:, :2], r"rows has shape \(200, 2\)"),
        (noise(500, 1), noise(200, 1) * [1, np.nan, 1, 1], "'b' is nan"),
        (noise(500, 1), noise(5, 1), "5 rows"),
    ],
)
def test_input_that_cannot_be_tested_is_named(reference: Any, rows: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        against(reference, ("a", "b", "c", "d"), window=200).test(rows)


def test_importing_the_module_loads_neither_alibi_detect_nor_torch() -> None:
    code = "import sys, homeostat.models.drift_monitor; print({'alibi_detect', 'torch'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "set()"


@pytest.mark.parametrize("test", TESTS)
def test_what_follows_slow_change_is_told_of_another_world_only(test: Any, normal: NDArray[Any]) -> None:
    follows = against(noise(1000, 1), ("a", "b", "c", "d"), test=test, window=300, follows=True)
    plain = against(noise(1000, 1), ("a", "b", "c", "d"), test=test, window=300)
    moved = noise(300, 2)
    moved[:, 0] += 6
    assert plain.test(moved).drifted
    assert not follows.test(moved).drifted
    assert follows.test(noise(300, 2) + 50).drifted


def test_after_a_stop_a_hundred_rows_tell_another_day_from_the_same(skab: Path, normal: NDArray[Any]) -> None:
    reference = against(normal[-2000:], CHANNELS, window=300, follows=True)
    for file in ("other/1.csv", "valve1/0.csv"):
        assert reference.test(start_of(skab / file)[:100]).drifted
    assert not reference.test(start_of(skab / "other/6.csv")[:100]).drifted
