"""Artifacts come back from wherever they were put, whole or not at all, and are never written over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec  # type: ignore[import-untyped]
import pytest

from homeostat.models import artifact, shelf
from homeostat.models.artifact import MANIFEST, WEIGHTS, ArtifactError
from tests.models.predictors import detector


@pytest.fixture
def store() -> Iterator[Any]:
    found = fsspec.filesystem("memory")
    yield found
    found.store.clear()


@pytest.fixture(params=["folder", "file", "store"])
def place(request: pytest.FixtureRequest, tmp_path: Path, store: Any) -> str:
    return {
        "folder": str(tmp_path / "models" / "r1"),
        "file": f"file://{tmp_path}/models/r1",
        "store": "memory://plant/models/r1",
    }[str(request.param)]


def put(place: str, seed: int = 0) -> None:
    with shelf.making(place) as folder:
        artifact.save(detector(), folder, {"seed": seed})


def test_what_was_put_there_is_read_there(place: str) -> None:
    put(place)
    with shelf.reading(place) as folder:
        assert artifact.load(folder).channels == detector().channels
        assert artifact.manifest(folder).provenance == {"seed": 0}


def test_the_same_again_is_no_error_and_another_one_is(place: str) -> None:
    put(place)
    put(place)
    with pytest.raises(ArtifactError, match="never change"):
        put(place, seed=1)
    with shelf.reading(place) as folder:
        assert artifact.manifest(folder).provenance == {"seed": 0}


def test_one_that_was_not_written_whole_is_none(store: Any) -> None:
    put("memory://plant/models/r1")
    store.rm(f"/plant/models/r1/{MANIFEST}")
    with pytest.raises(FileNotFoundError, match="whole"), shelf.reading("memory://plant/models/r1"):
        pass
    put("memory://plant/models/r1", seed=2)  # a second attempt may write what the first one did not end


def test_a_damaged_one_is_found_out(store: Any) -> None:
    put("memory://plant/models/r1")
    store.pipe(f"/plant/models/r1/{WEIGHTS}", b"else")
    with shelf.reading("memory://plant/models/r1") as folder, pytest.raises(ArtifactError):
        artifact.load(folder)


def test_nothing_is_put_there_when_making_it_failed(store: Any) -> None:
    def fail() -> None:
        with shelf.making("memory://plant/models/r1") as folder:
            artifact.save(detector(), folder, {})
            raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match="out of luck"):
        fail()
    assert not store.exists("/plant/models/r1")


@pytest.mark.parametrize(
    "uri", ["memory://plant/../etc/r1", "memory://plant/%2e%2e/r1", "simplecache::memory://a/b"]
)
def test_a_place_that_leads_elsewhere_is_refused(uri: str) -> None:
    with pytest.raises(ArtifactError, match="leads elsewhere"), shelf.reading(uri):
        pass


def test_a_page_is_put_beside_it(place: str) -> None:
    put(place)
    target = f"{place.rpartition('/')[0]}/report.html"
    for text in (b"one", b"two"):
        shelf.keep(text, target)
    with fsspec.open(target if "://" in target else f"file://{target}", "rb") as file:
        assert file.read() == b"two"
