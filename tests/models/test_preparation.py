"""What training learnt is applied to later rows alike, in batch and in stream, and survives being stored."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeostat.models.features import Scaler
from homeostat.models.preparation import Preparation

DAY = 12
STATISTICS = ("mean:5", "std:8", "min:3", "max:6", "slope:4", "difference:2")
NAN = np.nan


def rows(n: int, start: int = 0, seed: int = 0) -> np.ndarray:
    time = np.arange(start, start + n)
    season = np.stack([np.sin(2 * np.pi * time / DAY), (time % DAY < 4) * 1.0], axis=1)
    return 10 + season + np.random.default_rng(seed).normal(0, 0.2, size=(n, 2))


def spoil(values: np.ndarray, seed: int) -> np.ndarray:
    """A few cells without a number, never three in a row, and some spikes."""
    rng = np.random.default_rng(seed)
    spoilt = values.copy()
    spoilt[rng.random(spoilt.shape) < 0.03] += 50
    lacking = rng.random(spoilt.shape) < 0.1
    lacking[2:] &= ~(lacking[1:-1] | lacking[:-2])
    spoilt[lacking] = NAN
    return spoilt


CHAINS = [
    (decompose, statistics, missing, clocked)
    for decompose, statistics, missing, clocked in product(
        ("none", "stl", "mstl"), ((), STATISTICS), ("refuse", "drop", "hold:3"), (True, False)
    )
    if clocked or not (decompose != "none" and missing == "drop")
]


@pytest.fixture(scope="module")
def chains() -> dict[Any, Preparation]:
    """One fitted preparation for every combination of options."""
    training, segments, phase = rows(300, 7), np.repeat([0, 1], [200, 100]), np.arange(7, 307)
    made = {}
    for chain in CHAINS:
        decompose, statistics, missing, clocked = chain
        made[chain] = Preparation.fit(
            training if missing == "refuse" else spoil(training, 1),
            segments,
            decompose=decompose,
            periods={"none": (), "stl": (DAY,), "mstl": (4, DAY)}[decompose],
            statistics=statistics,
            missing=missing,
            phase=phase if clocked else None,
        )
    return made


def stream(chain: Preparation, values: np.ndarray, phase: np.ndarray | None, cuts: list[int]) -> np.ndarray:
    """Chunk by chunk, keeping no more rows of past than the preparation asks for."""
    past, past_phase = values[:0], None if phase is None else phase[:0]
    out = []
    for begin, end in zip([0, *cuts], [*cuts, len(values)], strict=True):
        given_rows = np.concatenate([past, values[begin:end]])
        given_phase = None if phase is None else np.concatenate([past_phase, phase[begin:end]])
        out.append(chain.transform(given_rows, phase=given_phase, past=len(past)))
        kept = chain.keep(given_rows)
        assert len(kept) <= chain.tail
        past, past_phase = given_rows[kept], None if phase is None else given_phase[kept]
    return np.concatenate(out)


@pytest.mark.parametrize("chain", CHAINS, ids=lambda one: "-".join(map(str, one)))
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    n=st.integers(0, 90),
    start=st.integers(0, 30),
    seed=st.integers(0, 1000),
    cuts=st.lists(st.integers(0, 90), max_size=8),
)
def test_a_stream_in_any_chunks_equals_a_batch_to_the_last_bit(chains, chain, n, start, seed, cuts):
    prepared = chains[chain]
    values = rows(n, start, seed)
    if prepared.missing.policy != "refuse":
        values = spoil(values, seed)
    phase = np.arange(start, start + n) if chain[0] != "none" and chain[3] else None
    batch = prepared.transform(values, phase=phase)
    streamed = stream(prepared, values, phase, sorted(min(cut, n) for cut in cuts))
    assert np.array_equal(batch, streamed, equal_nan=True)
    assert batch.dtype == np.float32
    assert batch.shape == (n, prepared.channels_out)


@pytest.mark.parametrize("chain", CHAINS, ids=lambda one: "-".join(map(str, one)))
def test_row_by_row_and_in_blocks_are_the_same(chains, chain, monkeypatch):
    prepared, values = chains[chain], rows(400, 3, 5)
    phase = np.arange(3, 403) if chain[0] != "none" and chain[3] else None
    batch = prepared.transform(values, phase=phase)
    monkeypatch.setattr("homeostat.models.preparation._CELLS", 2)
    assert np.array_equal(batch, prepared.transform(values, phase=phase), equal_nan=True)
    assert np.array_equal(batch, stream(prepared, values, phase, list(range(1, 400))), equal_nan=True)


@pytest.mark.parametrize("chain", CHAINS, ids=lambda one: "-".join(map(str, one)))
def test_what_is_restored_prepares_alike(chains, chain):
    prepared = chains[chain]
    again = Preparation.restore(json.loads(json.dumps(prepared.settings())), prepared.arrays())
    values, phase = rows(80), np.arange(80) if chain[0] != "none" and chain[3] else None
    assert np.array_equal(again.transform(values, phase=phase), prepared.transform(values, phase=phase))
    assert (again.tail, again.settings()) == (prepared.tail, prepared.settings())
    assert again.origin.tolist() == prepared.origin.tolist()


@pytest.mark.parametrize("kind", ["robust", "standard", "none"])
def test_by_default_it_is_the_scaler_and_nothing_else(kind):
    values = rows(200)
    prepared = Preparation.fit(values, scaler=kind)
    assert (prepared.transform(values * 3) == Scaler.fit(values, kind).transform(values * 3)).all()
    assert (prepared.tail, prepared.channels_out, prepared.origin.tolist()) == (0, 2, [0, 1])


def test_segments_know_nothing_of_each_other(chains):
    for chain, prepared in chains.items():
        values, segments = rows(90), np.repeat([3, 1, 3], 30)
        phase = np.arange(90) if chain[0] != "none" and chain[3] else None
        each = [
            prepared.transform(values[a : a + 30], phase=None if phase is None else phase[a : a + 30])
            for a in (0, 30, 60)
        ]
        together = prepared.transform(values, segments, phase)
        assert np.array_equal(together, np.concatenate(each), equal_nan=True)
        later = prepared.transform(values, segments, phase, past=40)
        assert np.array_equal(later, together[40:], equal_nan=True)


def test_segments_stay_apart_when_all_rows_between_them_are_dropped():
    values, segments = np.concatenate([np.zeros((9, 1)), np.full((1, 1), NAN), np.ones((9, 1))]), np.zeros(19)
    segments[9] = 1
    prepared = Preparation.fit(
        values, segments, statistics=("difference:1",), missing="drop", scaler="standard"
    )
    assert prepared.scaler.center[1] == 0  # no step from 0 to 1 within a segment
    assert (prepared.transform(values, segments)[[0, 10], 1] == 0).all()


def test_derived_channels_come_after_the_rows_in_the_order_of_the_statistics():
    values = np.arange(20.0)[:, None] * [1, 100]
    prepared = Preparation.fit(values, statistics=("difference:2", "max:3"), scaler="none")
    assert prepared.origin.tolist() == [0, 1, 0, 1, 0, 1]
    assert prepared.transform(values)[-1].tolist() == [19, 1900, 2, 200, 19, 1900]
    assert prepared.tail == 2


def test_a_segments_first_row_is_taken_to_have_lasted():
    prepared = Preparation.fit(rows(100), statistics=STATISTICS, scaler="none")
    first = prepared.transform(rows(1))[0].tolist()
    x = np.float32(rows(1)[0]).tolist()
    assert first == [*x, *x, 0, 0, *x, *x, 0, 0, 0, 0]


def test_rows_that_take_no_part_come_out_as_nan_and_leave_the_others_alone():
    prepared = Preparation.fit(rows(100), statistics=("mean:3",), missing="drop")
    whole, holed = rows(10), np.insert(rows(10), 4, [NAN, 1.0], axis=0)
    found = prepared.transform(holed)
    assert np.isnan(found[4]).all()
    assert (np.delete(found, 4, axis=0) == prepared.transform(whole)).all()


def test_what_is_left_of_a_channel_that_is_all_season_is_not_blown_up():
    pure = 1e6 + 1e3 * np.sin(2 * np.pi * np.arange(20 * DAY) / DAY)[:, None]
    prepared = Preparation.fit(pure, decompose="stl", periods=(DAY,))
    rounding = prepared.transform(pure + np.random.default_rng(0).normal(0, 1e-9, pure.shape))
    assert np.abs(rounding).max() < 1e-3


def test_absurd_values_stay_finite():
    for decompose, period in (("none", ()), ("stl", (DAY,))):
        prepared = Preparation.fit(rows(200), decompose=decompose, periods=period, statistics=STATISTICS)
        wild = rows(60)
        wild[20], wild[30] = 1.7e308, -1.7e308
        assert np.isfinite(prepared.transform(wild)).all()


def test_nothing_becomes_nothing(chains):
    for prepared in chains.values():
        phase = np.arange(0) if prepared.decomposition and prepared.decomposition.clocked else None
        assert prepared.transform(rows(0), phase=phase).shape == (0, prepared.channels_out)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"statistics": ("mean:5", "mean:5")}, "each once"),
        ({"statistics": ("mode:5",)}, "statistic is 'mode:5'"),
        ({"missing": "guess"}, "missing is 'guess'"),
        ({"decompose": "fourier", "periods": (4,)}, "decompose is 'fourier'"),
        ({"periods": (4,)}, r"periods is \(4,\), but decompose is none"),
        ({"scaler": "minmax"}, "scaler is 'minmax'"),
        ({"phase": np.arange(99)}, r"phase is int64 of shape \(99,\): give a whole number per row, \(100,\)"),
        ({"phase": np.arange(100.0)}, "phase is float64"),
        ({"decompose": "stl", "periods": (DAY,), "missing": "drop"}, "the rows have no phase"),
    ],
)
def test_unusable_options_are_named(options, said):
    with pytest.raises(ValueError, match=said):
        Preparation.fit(rows(100), **options)


def test_rows_of_which_none_takes_part_cannot_be_learnt_from():
    with pytest.raises(ValueError, match="none of 3 rows takes part"):
        Preparation.fit(np.full((3, 1), NAN), missing="drop")


def test_unusable_rows_are_named_when_scoring(chains):
    plain = chains["none", (), "refuse", False]
    with pytest.raises(ValueError, match=r"rows have shape \(3, 5\): give \(rows, 2\)"):
        plain.transform(np.zeros((3, 5)))
    with pytest.raises(ValueError, match="row 1, channel 0 is nan"):
        plain.transform(np.array([[0.0, 1.0], [NAN, 1.0]]))
    with pytest.raises(ValueError, match="past is 4: it must be from 0 to the 3 rows"):
        plain.transform(np.zeros((3, 2)), past=4)
    with pytest.raises(ValueError, match="needs each row's phase"):
        chains["stl", (), "drop", True].transform(rows(9))


@pytest.fixture
def stored(chains) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    prepared = chains["stl", STATISTICS, "hold:3", True]
    return prepared.settings(), dict(prepared.arrays())


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("scaler", "pickle", "scaler is 'pickle'"),
        ("scaler", ["robust"], "scaler is"),
        ("missing", "hold:99999999999", "missing is"),
        ("missing", 3, "missing is 3"),
        ("statistics", ["mean:5"] * 6, "each once"),
        ("statistics", "mean:5", "must be a list"),
        ("statistics", [["mean"]], "statistic is"),
        ("statistics", ["mean:5"], "cycle has 2 channels: center has 7"),
        ("decompose", "mstl", None),
        ("decompose", ["stl"], "decompose is"),
        ("periods", [10**30], "more than 20000"),
        ("periods", [DAY * 2], "cycle has shape"),
        ("periods", ["12"], "periods is"),
        ("periods", [True], "periods is"),
        ("periods", 12, "periods is 12"),
        ("clocked", 1, "clocked is 1"),
        ("surprise", 1, "preparation has settings"),
    ],
)
def test_settings_from_anywhere_are_checked(stored, key, value, said):
    changed = stored[0] | {key: value}
    if said is None:  # one period by mstl is as good as by stl
        assert Preparation.restore(changed, stored[1]).settings() == changed
        return
    with pytest.raises(ValueError, match=said):
        Preparation.restore(changed, stored[1])


@pytest.mark.parametrize("name", ["center", "scale", "cycle", "noise"])
@pytest.mark.parametrize(
    "change",
    [
        lambda array: array[:-1],
        lambda array: array[None],
        lambda array: array.astype(np.float32),
        lambda array: array * NAN,
        lambda array: array[:0],
        lambda array: np.full(len(array), "x"),
        lambda array: np.zeros(2_000_000),
        None,
    ],
    ids=["short", "deep", "float32", "nan", "empty", "text", "huge", "gone"],
)
def test_arrays_from_anywhere_are_checked_by_name(stored, name, change):
    broken = {key: array for key, array in stored[1].items() if key != name or change}
    if change:
        broken[name] = change(broken[name])
    with pytest.raises(ValueError, match=name if name != "scale" else "scale|center"):
        Preparation.restore(stored[0], broken)


@pytest.mark.parametrize(("name", "value"), [("scale", 0.0), ("noise", -1.0), ("noise", 1e-30)])
def test_scales_that_divide_by_nothing_are_refused(stored, name, value):
    broken = stored[1] | {name: np.full_like(stored[1][name], value)}
    with pytest.raises(ValueError, match=f"{name}.*above 0"):
        Preparation.restore(stored[0], broken)


def test_an_array_that_does_not_belong_is_named(stored):
    with pytest.raises(ValueError, match="knows no array code"):
        Preparation.restore(stored[0], stored[1] | {"code": np.ones(1)})
