"""Weights made to mislead, under a manifest that vouches for them: other arrays, false headers."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load, save

from homeostat.models.artifact import WEIGHTS, ArtifactError
from tests.models.mutants import SOUND, laid, many, outcome, sound, vouched


@pytest.fixture(scope="module", autouse=True)
def _all_loaded() -> None:
    for name in SOUND:
        sound(name)


# --- arrays that a manifest vouches for --------------------------------------------------------------------
KINDS = (np.float64, np.float32, np.float16, np.int64, np.int32, np.int8, np.uint8, np.bool_)


@st.composite
def other_arrays(draw: st.DrawFn, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Up to three arrays dropped, renamed, cast, reshaped, grown, filled or with some values changed."""
    changed = {key: array.copy() for key, array in arrays.items()}
    for _ in range(draw(st.integers(1, 3))):
        key = draw(st.sampled_from(sorted(changed)))
        array = changed.pop(key)
        how = draw(
            st.sampled_from(["drop", "rename", "cast", "flat", "one more", "none", "fill", "some", "swap"])
        )
        extreme = draw(st.sampled_from([np.nan, np.inf, -np.inf, 1e38, -1e38, 1e-38, -1.0, 0.0, 2.0**31 - 1]))
        with np.errstate(all="ignore"):
            if how == "rename":
                changed[
                    draw(st.sampled_from(["algorithm", "algorithm.", "scaler.center", "x", "reference"]))
                ] = array
            elif how == "swap":
                other = draw(st.sampled_from(sorted(arrays)))
                changed[key], changed[other] = arrays[other].copy(), array
            elif how != "drop":
                changed[key] = _other(
                    array, how, extreme, draw(st.sampled_from(KINDS)), draw(st.integers(0, 99))
                )
    return changed


def _other(array: NDArray[Any], how: str, extreme: float, kind: Any, seed: int) -> NDArray[Any]:
    if how == "cast":
        return array.astype(kind)
    if how == "flat":
        return array.reshape(-1)
    if how == "one more":
        return np.concatenate([array, array[:1]])
    if how == "none":
        return array[:0]
    if how == "fill":
        return np.full(array.shape, np.float64(extreme)).astype(array.dtype)
    struck = np.random.default_rng(seed).random(array.shape) < 0.1
    return np.where(struck, np.float64(extreme).astype(array.dtype), array)


@many(300)
@given(name=st.sampled_from(SOUND), data=st.data())
def test_other_arrays_load_or_are_refused(tmp_path: Path, name: str, data: st.DataObject) -> None:
    arrays = data.draw(other_arrays(load(sound(name)[WEIGHTS])))
    outcome(laid(tmp_path, vouched(sound(name), save(arrays))))


# --- headers -----------------------------------------------------------------------------------------------
def packed(header: Any, body: bytes, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + body


def parts(name: str) -> tuple[dict[str, Any], bytes]:
    weights = sound(name)[WEIGHTS]
    border = 8 + int.from_bytes(weights[:8], "little")
    return json.loads(weights[8:border]), weights[border:]


ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(
            ["F64", "F32", "BF16", "F8_E4M3", "U64", "BOOL", "C64", "object", "O", "", None]
        ),
        "shape": st.lists(st.sampled_from([-1, 0, 1, 2, 2**31, 2**62, 2**64, 10**400, 1.5]), max_size=4),
        "data_offsets": st.lists(
            st.sampled_from([-1, 0, 4, 8, 64, 2**31, 2**63, 2**64 - 1, 10**400]), min_size=0, max_size=3
        ),
        "more": st.none(),
    },
)


@many(200)
@given(
    name=st.sampled_from(SOUND),
    entry=ENTRIES,
    pick=st.integers(0, 99),
    fresh=st.booleans(),
    length=st.none() | st.sampled_from([0, 1, 7, 2**20, 2**31, 2**63, 2**64 - 1]),
)
def test_a_false_header_loads_or_is_refused(
    tmp_path: Path, name: str, entry: dict[str, Any], pick: int, fresh: bool, length: int | None
) -> None:
    header, body = parts(name)
    key = "algorithm.more" if fresh else sorted(header)[pick % len(header)]
    header[key] = header.get(key, {}) | entry
    outcome(laid(tmp_path, vouched(sound(name), packed(header, body, length))))


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"{}",
        b"[" * 200_000,
        b'{"a":' * 50_000,
        b"{" + b'"a":1,' * 200_000 + b"}",
        b'{"__metadata__":{"run":"__import__(\'os\').system(\'true\')"}}',
        b"\xff\xfe{\x00}\x00",
        b'{"reference":{"dtype":"F32","shape":[0,4611686018427387904],"data_offsets":[0,0]}}',
        b'{"reference":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}',
    ],
    ids=[
        "empty",
        "none",
        "deep list",
        "deep object",
        "wide",
        "metadata",
        "utf-16",
        "huge and empty",
        "overflow",
    ],
)
def test_a_hostile_header_is_refused_in_little_memory(tmp_path: Path, header: bytes) -> None:
    folder = laid(tmp_path, vouched(sound("kmeans-ad"), packed(header, b"")))
    tracemalloc.start()
    try:
        assert isinstance(outcome(folder), ArtifactError)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()
