"""Artifacts changed by chance, by accident and on purpose: each is refused by name, or loads as what it says
it is; nothing in any of them runs, and none takes long or much memory.

Where the digests are recomputed, a changed number is another model, which none can tell from the right one:
there the statement is that loading and scoring end, soon, in scores or in a refusal.
"""

from __future__ import annotations

import json
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.models.artifact import MANIFEST, WEIGHTS, ArtifactError
from tests.models.mutants import SOUND, laid, many, outcome, sound, vouched
from tests.models.watched import watched


@pytest.fixture(scope="module", autouse=True)
def _little_memory() -> Iterator[None]:
    for name in SOUND:
        sound(name)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024  # KiB


def test_the_watch_sees_what_could_run(tmp_path: Path) -> None:
    with watched() as seen:
        exec("1 + 1")  # noqa: S102
        (tmp_path / "made").write_text("")
    assert [one.split()[0] for one in seen] == ["compile", "exec", "open"]


# --- bytes -------------------------------------------------------------------------------------------------
@st.composite
def byte_changes(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Flipped bits, a cut end, inserted or dropped bytes, a part overwritten with another."""
    kind = draw(st.sampled_from(["flip", "cut", "insert", "drop", "overwrite", "double"]))
    places = draw(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=8))
    more = draw(st.binary(min_size=1, max_size=40))

    def change(content: bytes) -> bytes:
        at = [int(place * len(content)) for place in places]
        changed = bytearray(content)
        if kind == "flip":
            for one in at:
                changed[one] ^= 1 << (more[0] % 8)
        elif kind == "cut":
            del changed[at[0] :]
        elif kind == "insert":
            changed[at[0] : at[0]] = more
        elif kind == "drop":
            del changed[at[0] : at[0] + len(more)]
        elif kind == "overwrite":
            changed[at[0] : at[0] + len(more)] = more
        else:
            changed += changed[at[0] :]
        return bytes(changed)

    return change


@many(200)
@given(name=st.sampled_from(SOUND), change=byte_changes())
def test_changed_weights_are_refused(tmp_path: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    changed = change(sound(name)[WEIGHTS])
    result = outcome(laid(tmp_path, {**sound(name), WEIGHTS: changed}))
    if changed == sound(name)[WEIGHTS]:
        assert not isinstance(result, ArtifactError)
    else:
        assert isinstance(result, ArtifactError)
        assert WEIGHTS in str(result)


@many(250)
@given(name=st.sampled_from(SOUND), change=byte_changes(), head=st.booleans())
def test_changed_weights_that_a_manifest_vouches_for_load_or_are_refused(
    tmp_path: Path, name: str, change: Callable[[bytes], bytes], head: bool
) -> None:
    weights = sound(name)[WEIGHTS]
    border = 8 + int.from_bytes(weights[:8], "little") if head else 0
    changed = change(weights[:border]) + weights[border:] if head else change(weights)
    outcome(laid(tmp_path, vouched(sound(name), changed)))


@many(200)
@given(name=st.sampled_from(SOUND), change=byte_changes())
def test_a_changed_manifest_loads_to_the_same_scores_or_is_refused(
    tmp_path: Path, name: str, change: Callable[[bytes], bytes]
) -> None:
    outcome(laid(tmp_path, {**sound(name), MANIFEST: change(sound(name)[MANIFEST])}))


# --- the manifest ------------------------------------------------------------------------------------------
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 20_000),
    st.sampled_from([10**9, 2**63, 10**400, -(10**400), 1e308, -1e308, 1e-308]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(
        [*SOUND, "pyod:LOCI", "pyod:os.system", "os:system", "builtins:eval", "../../etc/passwd"]
    ),
    st.text(max_size=20),
    st.recursive(
        st.integers(-1, 9),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        max_leaves=6,
    ),
)


def spots(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(spot for key, one in inner for spot in spots(one, (*path, key)))]


@many(350)
@given(name=st.sampled_from(SOUND), data=st.data())
def test_a_manifest_that_states_something_else_loads_or_is_refused(
    tmp_path: Path, name: str, data: st.DataObject
) -> None:
    stated = json.loads(sound(name)[MANIFEST])
    for _ in range(data.draw(st.integers(1, 3))):
        *path, last = data.draw(st.sampled_from([spot for spot in spots(stated) if spot]))
        parent = stated
        for key in path:
            parent = parent[key]
        how = data.draw(st.sampled_from(["replace", "replace", "drop", "add"]))
        if how == "replace":
            parent[last] = data.draw(JUNK)
        elif how == "drop":
            del parent[last]
        elif isinstance(parent, dict):
            parent[data.draw(st.text(max_size=8))] = data.draw(JUNK)
    outcome(laid(tmp_path, {**sound(name), MANIFEST: json.dumps(stated).encode()}))


@many(60)
@given(name=st.sampled_from(SOUND), other=st.sampled_from(SOUND), whole=st.booleans())
def test_the_manifest_of_one_detector_and_the_weights_of_another_are_refused(
    tmp_path: Path, name: str, other: str, whole: bool
) -> None:
    weights = sound(other)[WEIGHTS]
    files = vouched(sound(name), weights) if whole else {**sound(name), WEIGHTS: weights}
    assert isinstance(outcome(laid(tmp_path, files)), ArtifactError) == (name != other)
