"""The autoencoder learns relations, and trains in seconds."""

from __future__ import annotations

import time

import numpy as np
import pytest

from homeostat.models.algorithm import create
from homeostat.models.autoencoder import Autoencoder
from homeostat.models.features import windows
from tests.models.every import normal


def test_autoencoder_learns_what_its_channels_have_in_common():
    rng = np.random.default_rng(0)
    common = np.sin(np.arange(1500) / 5)[:, None] * [1, -1, 2] + 0.05 * rng.normal(size=(1500, 3))
    made = windows(common.astype(np.float32), 12)
    one = Autoencoder(seed=0)
    one.fit(made[:1000])
    broken = made[1000:].copy()
    broken[:, :, 1] *= -1  # each value as usual; only their relation is not
    assert np.median(one.score(broken)) > np.quantile(one.score(made[1000:]), 0.99)


def test_one_noisy_channel_does_not_drown_an_anomaly_in_a_quiet_one():
    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.normal(size=3000) * 30, np.sin(np.arange(3000) / 9)]).astype(np.float32)
    made = windows(rows, 10)
    one = Autoencoder(seed=0)
    one.fit(made[:2000])
    moved = made[2000:].copy()
    moved[:, :, 1] += 3
    assert np.median(one.score(moved)) > np.quantile(one.score(made[2000:]), 0.98)


def test_ten_thousand_windows_of_sixty_rows_and_eight_channels_train_in_seconds():
    made = normal(n=10_059, c=8, window=60)
    started = time.process_time()
    Autoencoder(seed=0).fit(made)
    assert time.process_time() - started < 12


@pytest.mark.parametrize(("parameter", "value"), [("hidden", "many"), ("learning_rate", float("nan"))])
def test_a_parameter_out_of_range_is_refused_by_name_and_value(parameter, value):
    with pytest.raises(ValueError, match=f"{parameter} is {value!r}"):
        create("autoencoder", {parameter: value}, 0)
