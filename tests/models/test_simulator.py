"""The simulated rig: physics that hold, labels that are true, rows that a detector can learn from."""

from __future__ import annotations

import time
from datetime import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeostat.models.fitting import fit
from homeostat.models.metrics import average_precision, report
from homeostat.models.simulator import CHANNELS, Fault, simulate

DAY = datetime(2026, 3, 1, 8)


def rows(count: int, regime: str = "commissioned", seed: int = 1, faults: object = 0.0) -> pd.DataFrame:
    return simulate(count, regime=regime, start=DAY, seed=seed, faults=faults)  # type: ignore[arg-type]


def with_fault(kind: str, **more: object) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The same 900 rows without a fault, and with one from row 300 to 600; only the faulty stretch."""
    fault = Fault(kind, 300, 300, **more)  # type: ignore[arg-type]
    return rows(900).iloc[400:600], rows(900, faults=[fault]).iloc[400:600]


def test_columns_are_those_of_skab_so_its_files_and_ours_read_alike(shared: object) -> None:
    with (shared / "data/skab/valve1/0.csv").open() as file:  # type: ignore[operator]
        assert ";".join(rows(5).columns) == file.readline().strip()


def test_the_same_seed_gives_the_same_rows_and_another_gives_others() -> None:
    pd.testing.assert_frame_equal(rows(400, seed=3, faults=0.1), rows(400, seed=3, faults=0.1))
    assert not np.allclose(rows(400, seed=3)["Current"], rows(400, seed=4)["Current"])


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(1, 700),
    share=st.floats(0, 0.5),
    seed=st.integers(0, 2**32),
    period=st.sampled_from([0.1, 1.0, 60.0]),
)
def test_any_length_rate_and_period_gives_finite_rows_at_that_pace(
    count: int, share: float, seed: int, period: float
) -> None:
    frame = simulate(count, start=DAY, seed=seed, faults=share, period_s=period)
    assert len(frame) == count
    assert np.isfinite(frame[list(CHANNELS)].to_numpy()).all()
    assert set(frame["anomaly"]) <= {0, 1}
    assert frame["anomaly"].sum() == pytest.approx(round(share * count), abs=1)
    assert (frame["datetime"].diff().dropna() == pd.Timedelta(seconds=period)).all()


def test_labels_and_changepoints_mark_exactly_the_faulty_rows() -> None:
    frame = rows(500, faults=[Fault("imbalance", 100, 50)])
    assert np.flatnonzero(frame["anomaly"]).tolist() == list(range(100, 150))
    assert np.flatnonzero(frame["changepoint"]).tolist() == [100, 150]
    before = rows(500)[list(CHANNELS)].iloc[:100]
    pd.testing.assert_frame_equal(frame[list(CHANNELS)].iloc[:100], before)


@pytest.mark.parametrize(
    ("kind", "channel", "direction"),
    [
        ("valve-closing", "Volume Flow RateRMS", -1),
        ("valve-closing", "Pressure", 1),
        ("imbalance", "Accelerometer1RMS", 1),
        ("bearing-wear", "Temperature", 1),
        ("bearing-wear", "Accelerometer2RMS", 1),
        ("leak", "Pressure", -1),
        ("cavitation", "Volume Flow RateRMS", -1),
        ("cavitation", "Accelerometer1RMS", 1),
    ],
)
def test_a_fault_moves_its_sensors_the_way_physics_has_it(kind: str, channel: str, direction: int) -> None:
    calm, faulty = with_fault(kind)
    assert direction * (faulty[channel].mean() - calm[channel].mean()) > calm[channel].std()


def test_a_stuck_sensor_repeats_one_value_and_leaves_the_others_alone() -> None:
    calm, faulty = with_fault("stuck-sensor", channel="Pressure")
    assert faulty["Pressure"].nunique() == 1
    pd.testing.assert_series_equal(faulty["Current"], calm["Current"])


def test_the_air_is_warmer_at_three_in_the_afternoon_than_at_night() -> None:
    night = simulate(600, start=datetime(2026, 3, 1, 3), seed=1)["Thermocouple"].mean()
    noon = simulate(600, start=datetime(2026, 3, 1, 15), seed=1)["Thermocouple"].mean()
    assert 0.3 < noon - night < 1


def test_100000_rows_take_less_than_a_second() -> None:
    begun = time.perf_counter()
    rows(100_000, faults=0.05)
    assert time.perf_counter() - begun < 1


def test_a_forest_finds_most_faults_but_not_all_and_a_stale_one_is_useless_after_the_rebuild() -> None:
    def scored(trained_on: str) -> dict[str, float | None]:
        return report(
            models[trained_on].score(later[list(CHANNELS)].to_numpy()),
            later["anomaly"].to_numpy(),
            models[trained_on].threshold,
        )

    models = {
        regime: fit(
            "isolation-forest", rows(4000, regime)[list(CHANNELS)].to_numpy(), channels=CHANNELS, window=20
        )
        for regime in ("commissioned", "rebuilt")
    }
    later = rows(5000, "rebuilt", seed=5, faults=0.1)
    stale, fresh = scored("commissioned"), scored("rebuilt")
    assert 0.4 < (fresh["average_precision"] or 0) < 0.95
    assert 0.5 < (fresh["recall"] or 0) < 0.98
    assert (fresh["false_alarm_rate"] or 0) < 0.15
    assert (stale["false_alarm_rate"] or 0) > 0.9
    assert (stale["average_precision"] or 0) < (fresh["average_precision"] or 0) - 0.1


def test_no_single_channel_tells_all_faults() -> None:
    frame = rows(8000, faults=0.1)
    for name in CHANNELS:
        away = (frame[name] - frame[name].median()).abs().to_numpy()
        assert (average_precision(away, frame["anomaly"].to_numpy()) or 0) < 0.8


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"rows": 0}, "rows is 0"),
        ({"regime": "broken"}, "commissioned, rebuilt"),
        ({"period_s": 0.0}, "period_s"),
        ({"faults": 0.9}, "faults is 0.9"),
        ({"faults": [Fault("leak", 500, 10)]}, "row 500"),
        ({"faults": [Fault("gremlins", 5, 10)]}, "gremlins"),  # type: ignore[arg-type]
        ({"faults": [Fault("stuck-sensor", 5, 10, channel="Torque")]}, "Torque"),
    ],
)
def test_arguments_that_make_no_sense_are_named(wrong: dict[str, object], named: str) -> None:
    arguments: dict[str, object] = {"rows": 100, "start": DAY, "seed": 1, **wrong}
    with pytest.raises(ValueError, match=named):
        simulate(arguments.pop("rows"), **arguments)  # type: ignore[arg-type]
