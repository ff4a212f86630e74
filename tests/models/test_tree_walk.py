"""Compiled tree walking: equal to scikit-learn, whatever the windows' layout and however many threads."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.ensemble import IsolationForest as Grown

from homeostat.models.features import windows
from homeostat.models.isolation_forest import IsolationForest, stirred
from homeostat.models.packed_trees import pack
from homeostat.models.tree_walk import _CHUNK, mean_depths


def rows(n: int, c: int, seed: int = 0, digits: int = 9) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, c)).round(digits).astype(np.float32)


def both(made: np.ndarray, trees: int, samples: int, seed: int) -> tuple[IsolationForest, Grown]:
    """Ours and scikit-learn's, grown alike: on the same noise where a cell never varies."""
    ours = IsolationForest(trees, samples, seed)
    ours.fit(made)
    peer = Grown(n_estimators=trees, max_samples=min(samples, len(made)), random_state=seed)
    return ours, peer.fit(stirred(made.reshape(len(made), -1).copy(), seed))


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(2, 700),
    w=st.integers(1, 12),
    c=st.integers(1, 5),
    trees=st.integers(1, 12),
    samples=st.integers(2, 2000),
    seed=st.integers(0, 9),
    digits=st.sampled_from([0, 1, 9]),  # round numbers lie exactly on cuts
)
def test_scores_equal_those_of_scikit_learn(n, w, c, trees, samples, seed, digits):
    made = windows(rows(n + w - 1, c, seed, digits), w)
    ours, peer = both(made, trees, samples, seed)
    fresh = windows(rows(n + w - 1, c, seed + 1, digits), w)
    for one in (made, fresh, fresh * 1e5):
        assert ours.score(one) == pytest.approx(-peer.score_samples(one.reshape(n, -1)), abs=1e-12)


def test_deep_trees_of_many_samples_score_alike_too():
    made = windows(rows(5003, 2), 4)
    ours, peer = both(made, 5, 5000, 1)
    assert ours.score(made) == pytest.approx(-peer.score_samples(made.reshape(len(made), -1)), abs=1e-12)


@pytest.fixture(scope="module")
def forest() -> IsolationForest:
    one = IsolationForest(trees=20)
    one.fit(windows(rows(500, 3), 7))
    return one


@pytest.mark.parametrize(
    "layout",
    [
        lambda made: made[::3],
        lambda made: made[::-1],
        lambda made: made[5:6],
        lambda made: np.asfortranarray(made),
        lambda made: np.array(made, np.float64),
        lambda made: np.broadcast_to(made[:1], made.shape),
        lambda made: np.ascontiguousarray(made.transpose(0, 2, 1)).transpose(0, 2, 1),
        lambda made: windows(np.hstack([rows(500, 2), rows(500, 3)])[:, 2:], 7),
    ],
)
def test_the_layout_in_memory_does_not_matter(forest, layout):
    view = layout(windows(rows(500, 3), 7))
    assert (forest.score(view) == forest.score(np.array(view, np.float32, order="C"))).all()


@given(start=st.integers(0, 3000), size=st.integers(1, 40))
def test_a_window_scores_alone_as_it_does_among_others(forest, start, size):
    made = windows(rows(3100, 3), 7)
    assert (forest.score(made[start : start + size]) == forest.score(made)[start : start + size]).all()


def test_the_number_of_threads_changes_nothing(forest, monkeypatch):
    made = windows(rows(5 * _CHUNK + 17, 3), 7)
    found = []
    for number in (1, 2, 5):
        monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", number)
        found.append(forest.score(made))
    assert (found[0] == found[1]).all()
    assert (found[0] == found[2]).all()


def test_many_threads_may_score_at_once(forest, monkeypatch):
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 2)
    sets = [windows(rows(2 * _CHUNK + 50, 3, seed), 7) for seed in range(8)]
    wanted = [forest.score(one) for one in sets]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(forest.score, sets))
    assert all((one == other).all() for one, other in zip(found, wanted, strict=True))


def test_no_window_has_no_depth(forest):
    assert mean_depths(np.empty((0, 7, 3), np.float32), forest._packed).shape == (0,)


@example(cut=-1.5e38 * 2.2, number=0.0)
@example(cut=-3.4028234663852886e38, number=0.0)
@example(cut=1e300, number=0.0)
@example(cut=1e-50, number=0.0)
@example(cut=-1e-50, number=0.0)
@given(cut=st.floats(-1e300, 1e300) | st.floats(-1, 1), number=st.floats(width=32, allow_nan=False))
def test_a_packed_cut_parts_the_same_float32_numbers(cut, number):
    near = np.float32(np.clip(cut, -3e38, 3e38))
    trees = pack(
        np.array([0], np.int32),
        np.array([1, 1, 2], np.int32),
        np.array([2, 1, 2], np.int32),
        np.array([0, 0, 0]),
        np.array([cut, 0.0, 0.0]),
        np.array([0.0, 1.0, 2.0]),
    )
    for one in (
        np.float32(number),
        near,
        np.nextafter(near, np.float32(9)),
        np.nextafter(near, np.float32(-9)),
    ):
        depth = mean_depths(np.full((1, 1, 1), one, np.float32), trees)
        assert depth[0] == (1.0 if float(one) <= cut else 2.0)


def test_a_node_that_two_others_lead_to_is_refused():
    with pytest.raises(ValueError, match="node 2 of the trees has not exactly one parent"):
        pack(
            np.array([0], np.int32),
            np.array([1, 2, 2], np.int32),
            np.array([2, 2, 2], np.int32),
            np.zeros(3, np.int64),
            np.zeros(3),
            np.zeros(3),
        )


ASK = """
import numpy as np
from homeostat.models.packed_trees import pack
from homeostat.models.tree_walk import mean_depths
ends, nothing = np.array([1, 1, 2], np.int32), np.zeros(3)
trees = pack(np.array([0], np.int32), ends, np.array([2, 1, 2], np.int32), np.zeros(3, np.int64), nothing,
             np.array([0.0, 1.0, 2.0]))
print(mean_depths(np.array([[[-1.0]], [[1.0]]], np.float32), trees).tolist())
"""


def test_a_walk_whose_copy_on_disk_is_cut_short_is_compiled_anew(tmp_path):
    def ask() -> str:
        command, environment = [sys.executable, "-c", ASK], os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert ask() == "[1.0, 2.0]"
    kept = list(tmp_path.rglob("*.nbc"))
    assert kept
    for path in kept:
        path.write_bytes(path.read_bytes()[:100])
    assert ask() == "[1.0, 2.0]"
