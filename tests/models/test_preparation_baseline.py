"""A preparation that takes each row's recent median out: in stream as in batch, stored, and left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from homeostat.models.baseline import relative
from homeostat.models.fitting import fit
from homeostat.models.preparation import Preparation

CHAINS: dict[str, dict[str, Any]] = {
    "alone": {},
    "beside statistics": {"statistics": ("mean:5", "slope:9"), "missing": "hold:2"},
    "before a season": {"decompose": "stl", "periods": (12,), "statistics": ("difference:1",)},
    "with a clock": {"decompose": "stl", "periods": (12,), "missing": "drop", "phase": np.arange(400)},
}


def rows(n: int, start: int = 0, slope: float = 0.0) -> NDArray[np.float64]:
    time = np.arange(start, start + n)
    usual = np.stack([np.sin(2 * np.pi * time / 12), time % 12 < 4], axis=1) + slope * time[:, None]
    return usual + 10 + np.random.default_rng(start).normal(0, 0.2, (n, 2))


def prepared(chain: str, baseline: int = 40) -> Preparation:
    return Preparation.fit(rows(400), baseline=baseline, **CHAINS[chain])


def clocked(chain: str, n: int) -> NDArray[np.int64] | None:
    return np.arange(400, 400 + n) if "phase" in CHAINS[chain] else None


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("step", [1, 7, 50])
def test_a_stream_equals_a_batch_to_the_last_bit(chain: str, step: int) -> None:
    one, fresh = prepared(chain), rows(150, start=400)
    fresh[60:62, 1] = np.nan if "missing" in CHAINS[chain] else 10.0
    phase = clocked(chain, 150)
    batch = one.transform(fresh, phase=phase)
    kept = np.zeros(0, np.int64)
    for start in range(0, 150, step):
        seen = np.concatenate([kept, np.arange(start, min(start + step, 150))])
        times = None if phase is None else phase[seen]
        found = one.transform(fresh[seen], phase=times, past=len(kept))
        assert np.array_equal(found, batch[start : start + step], equal_nan=True)
        kept = seen[one.keep(fresh[seen])]
    assert len(kept) == one.tail


@pytest.mark.parametrize("chain", CHAINS)
def test_what_is_restored_prepares_alike(chain: str) -> None:
    one, fresh = prepared(chain), rows(90, start=400)
    again = Preparation.restore(one.settings(), one.arrays())
    assert again.baseline == 40
    phase = clocked(chain, 90)
    assert np.array_equal(again.transform(fresh, phase=phase), one.transform(fresh, phase=phase))


def test_each_segment_is_measured_by_its_own_rows() -> None:
    one = Preparation.fit(rows(400), scaler="none", baseline=41)
    fresh, segments = rows(200), np.repeat([3, 1], 100)
    fresh[100:] += 500
    found = one.transform(fresh, segments)
    for part in (slice(0, 100), slice(100, 200)):
        assert found[part][40:] == pytest.approx(relative(fresh[part], 41)[40:].astype(np.float32))
    assert np.abs(found).max() < 5


def test_without_a_baseline_nothing_is_otherwise() -> None:
    plain, off = Preparation.fit(rows(400)), Preparation.fit(rows(400), baseline=0)
    assert off.settings() == plain.settings()
    assert "baseline" not in off.settings()
    assert off.tail == 0
    assert np.array_equal(off.transform(rows(50)), plain.transform(rows(50)))


@pytest.mark.parametrize("baseline", [1, -2, 20_001, 2.0, True, "40"])
def test_a_baseline_that_cannot_be_is_named(baseline: Any) -> None:
    with pytest.raises(ValueError, match="baseline is"):
        Preparation.fit(rows(400), baseline=baseline)
    one = prepared("alone")
    with pytest.raises(ValueError, match="baseline is"):
        Preparation.restore(one.settings() | {"baseline": baseline}, one.arrays())


def test_the_tail_reaches_back_over_the_whole_chain() -> None:
    assert prepared("alone", 40).tail == 40
    assert prepared("alone", 41).tail == 40
    assert prepared("beside statistics", 40).tail == 40 + 8 + 2
    assert prepared("before a season", 40).tail == 40 + 12 + 1


@pytest.mark.parametrize("baseline", [0, 200])
def test_slow_change_is_followed_and_a_fault_is_not(baseline: int) -> None:
    calm = rows(1200)
    model = fit("sub-pca", calm, channels=("a", "b"), window=12, baseline=baseline)
    later = rows(1200, start=1200, slope=0.0004)
    later[1000:1030, 0] += 5
    alarms = model.anomalies(model.score(later))
    if baseline:
        assert alarms[300:1000].mean() < 0.2
        assert alarms[1005:1030].all()
    else:
        assert alarms[300:1000].mean() > 0.8
