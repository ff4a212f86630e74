"""Networks that torch trains and compiled code scores: equal to torch, alone or in company."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from homeostat.models.algorithm import algorithm, create
from homeostat.models.error_detector import ErrorDetector, emphasis
from homeostat.models.features import windows
from tests.models.every import normal
from tests.models.networks import KINDS, Kind, each


def torch_errors(detector: ErrorDetector, made: NDArray[np.float32]) -> NDArray[np.float32]:
    """The detector's errors by torch, from its arrays alone."""
    import torch

    network = detector.network()
    arrays = {key: torch.from_numpy(array.copy()) for key, array in detector.arrays().items()}
    del arrays["usual"]
    missing, unexpected = network.load_state_dict(arrays, strict=False)
    assert unexpected == []
    assert all(key.startswith("log_variance") for key in missing)  # only training needs it
    with torch.no_grad():
        rows = torch.asinh(torch.from_numpy(np.array(made)) / 8) * 8
        answers = network(rows)
        missed = (answers - rows[:, -answers.shape[1] :]).square()
        return np.asarray((missed * torch.from_numpy(emphasis(answers.shape[1]))[:, None]).sum(dim=1))


@each
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_compiled_errors_are_torchs_whatever_the_sizes(kind: Kind, data: st.DataObject) -> None:
    window, channels = data.draw(st.integers(1, 13)), data.draw(st.sampled_from([1, 2, 3, 8, 17]))
    sizes = {size: data.draw(st.integers(1, 19), label=size) for size in kind.sizes}
    made = normal(40 + window, channels, window)
    one = kind.fitted(made, least_steps=3, **sizes)
    for asked in (made, 1000 * made, made * np.float32(2e5)):
        expected = torch_errors(one, asked)
        assert one._errors(asked) == pytest.approx(expected, rel=1e-4, abs=1e-5)


@each
def test_a_window_scores_the_same_to_the_last_bit_alone_and_in_company(kind: Kind) -> None:
    made = normal(120, 3, 9)
    one = kind.fitted(made)
    together = one.score(made)
    alone = np.concatenate([one.score(made[i : i + 1]) for i in range(len(made))])
    assert (together == alone).all()
    assert (one.score(np.ascontiguousarray(made)) == together).all()
    assert (one.score(made.astype(np.float64)) == together).all()


@each
def test_a_detector_restored_from_its_arrays_scores_and_explains_the_same_to_the_last_bit(kind: Kind) -> None:
    made = normal(120, 3, 9)
    one = kind.fitted(made)
    again = algorithm(kind.name).restore(one.settings(), one.arrays())
    assert (again.score(made) == one.score(made)).all()
    assert (again.contributions(made) == one.contributions(made)).all()
    assert again.settings() == one.settings()


@each
def test_an_anomaly_in_the_last_row_shows_and_its_channel_is_named(kind: Kind) -> None:
    rows = np.sin(np.arange(700)[:, None] / [3.0, 5.0, 7.0]) + np.random.default_rng(0).normal(
        scale=0.1, size=(700, 3)
    )
    made = windows(rows.astype(np.float32), 12)
    one = kind.fitted(made[:500], least_steps=200)
    fresh = made[500:]
    for channel in range(3):
        struck = fresh.copy()
        struck[:, -1, channel] += 6
        assert (one.score(struck) > one.score(fresh)).mean() > 0.95
        assert (one.contributions(struck).argmax(axis=1) == channel).mean() > 0.95


@each
def test_a_pattern_told_backwards_is_noticed(kind: Kind) -> None:
    """Each row is as usual, and so is each channel's mean and spread: only the order in time is not."""
    saw = (np.arange(1200)[:, None] + [0, 5]) % 16 / 8.0 - 1
    made = windows((saw + np.random.default_rng(0).normal(scale=0.05, size=saw.shape)).astype(np.float32), 24)
    one = kind.fitted(made[:600], least_steps=400, learning_rate=5e-3)
    calm, backwards = one.score(made[700:]), one.score(made[700:, ::-1])
    assert np.median(backwards) > np.quantile(calm, 0.99)


@each
def test_the_seed_decides_and_another_one_decides_otherwise(kind: Kind) -> None:
    made = normal(120, 3, 9)
    first, again, other = (kind.fitted(made, seed=seed).score(made) for seed in (3, 3, 4))
    assert (first == again).all()
    assert (first != other).any()


@each
def test_constant_and_far_values_score_finite_and_in_order(kind: Kind) -> None:
    made = normal(120, 3, 9).copy()
    made[:, :, 1] = 0
    one = kind.fitted(made)
    scores = [one.score(made + np.float32(far)).mean() for far in (0, 30, 1e3, 1e6)]
    assert np.isfinite(scores).all()
    assert scores == sorted(scores)


@each
def test_eighty_windows_of_sixty_rows_are_enough_to_notice_a_shift(kind: Kind) -> None:
    made = normal(139 + 100, 8, 60)
    one = kind.fitted(made[:80], least_steps=100)
    assert one.score(made[80:] + 6).min() > one.score(made[80:]).max()


@each
def test_a_window_of_one_row_is_scored_by_how_far_it_lies_from_what_rows_mostly_were(kind: Kind) -> None:
    made = normal(300, 2, 1)
    one = kind.fitted(made + 2, least_steps=200)
    centre, beside, far = (one.score(np.full((1, 1, 2), value, np.float32))[0] for value in (2, 7, 20))
    assert centre < beside < far


@each
def test_a_long_view_of_windows_is_never_copied_whole(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    made = normal(60_000, 2, 60)  # 29 MB if copied, from rows of half a megabyte
    one = kind.unfitted(epochs=1, least_steps=1, batch=64)
    monkeypatch.setattr(type(one), "_most_steps", 5)
    tracemalloc.start()
    try:
        one.fit(made)
        one.score(made[:20_000])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12e6


@each
def test_windows_of_another_shape_and_no_windows_at_all_are_refused(kind: Kind) -> None:
    one = kind.fitted(normal(60, 3, 9), least_steps=1)
    with pytest.raises(ValueError, match=r"windows of \(8, 3\).* fitted on \(9, 3\)"):
        one.score(normal(60, 3, 8))
    with pytest.raises(ValueError, match="windows is empty"):
        one.fit(np.empty((0, 9, 3), np.float32))
    assert one.score(np.empty((0, 9, 3), np.float32)).shape == (0,)


@pytest.mark.parametrize(
    ("name", "parameter", "value"),
    [
        ("autoencoder", "kind", "round"),
        ("autoencoder", "filters", 0),
        ("lstm-vae", "latent", 0),
        ("lstm-vae", "kl_weight", -1),
        ("lstm-vae", "free_bits", "none"),
        ("gan", "adversarial", float("inf")),
        ("gan", "least_steps", 0),
        ("forecaster", "kind", "gru"),
        ("forecaster", "horizon", 0),
    ],
)
def test_a_parameter_out_of_range_is_refused_by_name_and_value(name: str, parameter: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{parameter} is {value!r}"):
        create(name, {parameter: value}, 0)


def test_a_heavier_divergence_leaves_the_latent_less_to_say() -> None:
    import torch

    made = windows(np.sin(np.arange(400)[:, None] / [3.0, 5.0]).astype(np.float32), 12)

    def spread(kl_weight: float) -> float:
        one = KINDS[2].fitted(made, least_steps=300, kl_weight=kl_weight, free_bits=1e-3)
        network = one.network()
        network.load_state_dict(
            {key: torch.from_numpy(array) for key, array in one.arrays().items() if key != "usual"},
            strict=False,
        )
        with torch.no_grad():
            return float(network.encode(torch.from_numpy(made.copy()))[0].square().mean())

    assert spread(1e3) < 0.1 * spread(0.01)


def test_a_discriminator_changes_what_is_learnt() -> None:
    made = normal(120, 3, 9)
    plain, taught = (KINDS[3].fitted(made, adversarial=weight).score(made) for weight in (1e-6, 10.0))
    assert np.abs(plain - taught).max() > 1e-3


@each
@pytest.mark.slow
@pytest.mark.parametrize(("count", "seconds"), [(400, 10), (5_000, 60)])
def test_training_is_done_in_time(kind: Kind, count: int, seconds: float) -> None:
    import time

    made = normal(count + 59, 8, 60)
    begun = time.process_time()
    kind.unfitted().fit(made)
    assert time.process_time() - begun < seconds
