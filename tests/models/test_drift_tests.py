"""Each test by itself: alibi-detect's own figures, settled thresholds, corrections, and files that lie."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from homeostat.models import drift_online as online
from homeostat.models.artifact import ArtifactError
from homeostat.models.drift_calibration import Calibration, calibrate
from homeostat.models.drift_channels import ChannelTest, corrected
from homeostat.models.drift_kernels import Mmd, with_spread
from homeostat.models.drift_monitor import Monitor
from homeostat.models.drift_randomness import lent
from homeostat.models.drift_season import same_phase
from homeostat.models.drift_words import Settings
from homeostat.models.fitted import Fitted

NAMES = ("a", "b", "c", "d")
ANY = cast(Fitted, type("Any", (), {"channels": NAMES}))


def noise(count: int, seed: int, move: float = 0.0) -> NDArray[np.float32]:
    return (np.random.default_rng(seed).normal(0, 1, (count, 4)) + move).astype(np.float32)


@pytest.mark.parametrize("move", [0.0, 0.3, 3.0])
def test_mmd_is_alibi_detects(move: float) -> None:
    from alibi_detect.cd import MMDDrift

    known, rows = noise(300, 1), noise(100, 2, move)
    ours = Mmd.of(known, 0.01)
    theirs = MMDDrift(
        with_spread(known),
        backend="pytorch",
        sigma=np.array([ours.width], np.float32),
        configure_kernel_from_x_ref=False,
        n_permutations=100,
        device="cpu",
    )
    with lent(0):
        distances, p_value = ours.measure(known, rows)
        said = theirs.predict(with_spread(rows))["data"]
    assert distances[0] ** 2 == pytest.approx(max(said["distance"], 0), abs=2e-6)
    assert p_value == pytest.approx(said["p_val"], abs=0.15)


@pytest.mark.parametrize("name", ["ks", "cvm"])
def test_distances_by_channel_lie_between_alike_and_nothing_in_common(name: str) -> None:
    known = noise(300, 1)
    test = ChannelTest.of(name, known, 0.01, "bonferroni")
    assert test.measure(known, noise(200, 2))[0].max() < 0.15
    far, p_value = test.measure(known, noise(200, 3, 50.0))
    assert far == pytest.approx(1.0, abs=0.02)
    assert p_value < 1e-6


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.sampled_from([0.01, 0.05, 0.2]))
@settings(max_examples=200, deadline=None)
def test_a_corrected_p_value_decides_as_alibi_detect_does(p_values: list[float], p: float) -> None:
    from alibi_detect.utils.statstest import fdr

    each = np.array(p_values)
    ranked = np.sort(each) * len(each) / np.arange(1, len(each) + 1)
    if np.isclose(ranked, p).any() or np.isclose(each * len(each), p).any():
        return  # a rounding decides
    assert (corrected(each, "fdr") < p) == bool(fdr(each, p)[0])
    assert (corrected(each, "bonferroni") < p) == bool((each < p / len(each)).any())


def test_chi_square_looks_at_categories_alone_and_says_where_there_are_none() -> None:
    rows = noise(600, 1).astype(float)
    rows[:, 2] = np.random.default_rng(1).integers(0, 3, 600)
    wanted = Settings(test="chi2", window=200, every=200)
    monitor = Monitor(calibrate(ANY, rows, settings=wanted))
    (calm,) = monitor.update(rows[:200] + np.array([9, 9, 0, 9]))
    rows[:, 2] = 7
    (strange,) = monitor.update(rows[:200])
    assert (calm.drifted, strange.drifted, strange.correction) == (False, True, "none")
    with pytest.raises(ValueError, match="choose ks or cvm"):
        calibrate(ANY, noise(600, 1), settings=wanted)


@pytest.mark.parametrize("name", online.NAMES)
def test_settled_without_the_bootstrap_it_is_the_detector_that_ran_it(name: str) -> None:
    known, rows = noise(200, 1), noise(60, 2)
    fresh = online.settle(name, known, 20, seed=3)
    again = online.settled(name, known, 3, fresh.arrays)
    for row in rows:
        one, other = fresh.push(row), again.push(row)
        assert np.array_equal(one[0], other[0])
        assert one[1] == other[1]
    assert len(fresh.arrays["thresholds"]) == len(again.detector.thresholds)


@pytest.mark.slow
@pytest.mark.parametrize("name", online.NAMES)
def test_on_independent_rows_it_runs_about_as_long_as_expected(name: str) -> None:
    known = noise(200, 1)
    test = online.settle(name, known, 50, seed=0)
    runs = []
    for seed in range(6):
        test.resume(0, known[:0])
        beyond = [test.push(row)[1] for row in noise(250, 10 + seed)]
        runs.append(beyond.index(True) if True in beyond else 250)
    assert 10 < np.mean(runs) <= 250


@pytest.mark.parametrize("seconds", [0.0, 40_000.0, 86_000.0])
@given(st.integers(0, 20))
@settings(max_examples=20, deadline=None)
def test_rows_of_the_same_phase_are_near_in_the_cycle_however_many_days_lie_between(
    seconds: float, days: int
) -> None:
    reference = np.arange(0, 5 * 86_400, 60.0)
    wanted = seconds + days * 86_400 + np.arange(0, 3_600, 60.0)
    chosen = same_phase(reference, wanted, 86_400)
    assert chosen is not None
    middle = seconds + 1_800
    away = np.abs((reference[chosen] - middle + 43_200) % 86_400 - 43_200)
    assert away.max() <= 1_800 + 864
    assert len(np.unique(reference[chosen] // 86_400)) >= 5


def test_a_part_of_the_cycle_that_the_reference_never_saw_has_no_rows() -> None:
    morning = np.arange(0, 18_000, 60.0)
    assert same_phase(morning, np.array([60_000.0]), 86_400) is None
    assert same_phase(morning, np.array([9_000.0]), 86_400) is not None


def test_torch_and_numpy_keep_their_own_randomness() -> None:
    import torch

    torch.manual_seed(7)
    np.random.seed(7)
    expected = torch.rand(2).tolist(), np.random.rand()
    torch.manual_seed(7)
    np.random.seed(7)
    calibrate(ANY, noise(300, 1), settings=Settings(test="lsdd", window=100))
    assert (torch.rand(2).tolist(), np.random.rand()) == expected


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drift")
    calibrate(ANY, noise(300, 1), settings=Settings(test="ks", window=100)).save(folder)
    return folder


def _cut_off(document: dict[str, Any]) -> None:
    document["file"]["size"] -= 1


def _other_digest(document: dict[str, Any]) -> None:
    document["file"]["sha256"] = "0" * 64


def _no_limit(document: dict[str, Any]) -> None:
    document["parts"]["features"]["limits"] = []


def _strange_test(document: dict[str, Any]) -> None:
    document["parts"]["features"]["test"] = "magic"


def _more_channels(document: dict[str, Any]) -> None:
    document["channels"].append("e")


@pytest.mark.parametrize(
    "harm", [_cut_off, _other_digest, _no_limit, _strange_test, _more_channels, lambda one: one.clear()]
)
def test_a_file_that_was_tampered_with_is_refused(
    saved: Path, tmp_path: Path, harm: Callable[[dict[str, Any]], None]
) -> None:
    document = json.loads((saved / "drift.json").read_text())
    harm(document)
    (tmp_path / "drift.json").write_text(json.dumps(document))
    (tmp_path / "drift.safetensors").write_bytes((saved / "drift.safetensors").read_bytes())
    with pytest.raises(ArtifactError):
        Calibration.load(tmp_path)


def test_the_same_calibration_is_the_same_bytes(saved: Path, tmp_path: Path) -> None:
    Calibration.load(saved).save(tmp_path)
    for name in ("drift.json", "drift.safetensors"):
        assert (tmp_path / name).read_bytes() == (saved / name).read_bytes()


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"test": "magic"}, "choose one of mmd, ks"),
        ({"p_value": 2.0}, "between 0 and 1"),
        ({"window": 3}, "10 rows or more"),
        ({"on": ()}, "choose from features"),
        ({"season": -1.0}, "season"),
        ({"correction": "none"}, "bonferroni, fdr"),
    ],
)
def test_settings_name_the_field_the_value_and_the_mend(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Settings(**wrong)
