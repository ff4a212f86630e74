"""Synthetic anomalies: where the labels say, nowhere else, and big enough to be found."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeostat.models.fitting import fit
from homeostat.models.injection import inject
from homeostat.models.metrics import average_precision


def normal(n=3000, c=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal([0, 10, 100, -5][:c], [1, 2, 30, 0.1][:c], size=(n, c))


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(200, 2000),
    c=st.integers(1, 4),
    rate=st.floats(0.02, 0.4),
    seed=st.integers(0, 99),
    window=st.integers(1, 60),
)
def test_rows_change_where_the_labels_say_and_nowhere_else(n, c, rate, seed, window):
    rows = normal(n, c)
    injected, labels = inject(rows, rate=rate, seed=seed, window=window)
    changed = (injected != rows).any(axis=1)
    assert (injected[~labels] == rows[~labels]).all()
    assert changed[labels].mean() > 0.95
    assert not labels[:window].any()
    assert np.isfinite(injected).all()


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.3])
def test_about_the_rate_asked_for_is_anomalous(rate):
    shares = [inject(normal(), rate=rate, seed=seed, window=30)[1].mean() for seed in range(10)]
    assert np.mean(shares) == pytest.approx(rate, rel=0.35)


def test_the_same_seed_injects_the_same():
    first, second = (inject(normal(), seed=7, window=20) for _ in range(2))
    assert (first[0] == second[0]).all()
    assert (first[1] == second[1]).all()
    assert (inject(normal(), seed=8, window=20)[0] != first[0]).any()


def test_the_callers_rows_stay_as_they_are():
    rows = normal()
    kept = rows.copy()
    inject(rows, window=20)
    assert (rows == kept).all()


def test_a_detector_finds_most_of_them():
    fitted = fit("isolation-forest", normal(seed=1), channels=("a", "b", "c", "d"), window=10)
    rows, labels = inject(normal(seed=2), window=10)
    assert average_precision(fitted.score(rows), labels) > 4 * labels.mean()


@pytest.mark.parametrize(("n", "rate", "said"), [(30, 0.1, "too few"), (500, 0.9, "rate is 0.9")])
def test_what_cannot_be_done_is_refused(n, rate, said):
    with pytest.raises(ValueError, match=said):
        inject(normal(n), rate=rate, window=20)
