"""An artifact is loaded whole or refused by name, and nothing in it ever runs."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle

import numpy as np
import pytest

from homeostat.models import artifact
from homeostat.models.artifact import ArtifactError
from homeostat.models.fitting import fit
from tests.models.quick import QUICK

ROWS = np.random.default_rng(0).normal([0, 50], [1, 10], size=(200, 2))


@pytest.fixture(scope="module")
def detectors():
    return {
        name: fit(name, ROWS, channels=("a", "b"), window=5, parameters=QUICK[name])
        for name in ("isolation-forest", "autoencoder")
    }


@pytest.fixture
def folder(detectors, tmp_path):
    artifact.save(detectors["isolation-forest"], tmp_path / "model", {"data": "sha256:1"})
    return tmp_path / "model"


def rewrite(folder, **changes):
    """A manifest changed by someone who knows its form."""
    path = folder / artifact.MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def plant(folder, content):
    """Other weights, with a manifest that vouches for them."""
    (folder / artifact.WEIGHTS).write_bytes(content)
    rewrite(
        folder,
        files={artifact.WEIGHTS: {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}},
    )


def test_threshold_channels_window_and_reference_come_back(detectors, folder):
    loaded, detector = artifact.load(str(folder)), detectors["isolation-forest"]
    assert (loaded.threshold, loaded.channels, loaded.window) == (detector.threshold, ("a", "b"), 5)
    assert (loaded.reference == detector.reference).all()


def test_the_manifest_tells_what_it_is_and_where_it_comes_from(folder):
    stated = artifact.manifest(folder)
    assert (stated.algorithm, stated.channels, stated.provenance) == (
        "isolation-forest",
        ["a", "b"],
        {"data": "sha256:1"},
    )
    weights = (folder / artifact.WEIGHTS).read_bytes()
    assert stated.files[artifact.WEIGHTS].sha256 == hashlib.sha256(weights).hexdigest()


def test_the_digest_is_that_of_the_manifest_and_the_same_for_the_same_fit(detectors, tmp_path):
    parameters = QUICK["isolation-forest"]
    again = fit("isolation-forest", ROWS, channels=("a", "b"), window=5, parameters=parameters)
    first = artifact.save(detectors["isolation-forest"], tmp_path / "one", {"x": 1})
    assert artifact.save(again, tmp_path / "two", {"x": 1}) == first
    assert (
        first == "sha256:" + hashlib.sha256((tmp_path / "one" / artifact.MANIFEST).read_bytes()).hexdigest()
    )
    assert artifact.save(again, tmp_path / "three", {"x": 2}) != first


def test_saving_the_same_again_is_no_error(detectors, folder):
    artifact.save(detectors["isolation-forest"], folder, {"data": "sha256:1"})


def test_another_artifact_never_takes_the_place_of_one(detectors, folder):
    before = (folder / artifact.MANIFEST).read_bytes()
    with pytest.raises(ArtifactError, match="artifacts never change"):
        artifact.save(detectors["autoencoder"], folder, {})
    assert (folder / artifact.MANIFEST).read_bytes() == before


def test_an_empty_folder_is_filled(detectors, tmp_path):
    (tmp_path / "given").mkdir()
    artifact.save(detectors["isolation-forest"], tmp_path / "given", {})
    artifact.load(tmp_path / "given")


def test_a_failed_save_leaves_nothing_behind(detectors, tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArtifactError, match="No space left"):
        artifact.save(detectors["isolation-forest"], tmp_path / "model", {})
    assert list(tmp_path.iterdir()) == []


def test_provenance_that_is_no_json_is_refused(detectors, tmp_path):
    with pytest.raises(ArtifactError, match="provenance is not JSON"):
        artifact.save(detectors["isolation-forest"], tmp_path / "model", {"loss": float("nan")})


def test_truncated_weights_are_refused(folder):
    path = folder / artifact.WEIGHTS
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ArtifactError, match=r"weights.safetensors is truncated: .* fetch it again"):
        artifact.load(folder)


def test_one_flipped_bit_is_refused(folder):
    path = folder / artifact.WEIGHTS
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"weights.safetensors is corrupted"):
        artifact.load(folder)


def test_weights_longer_than_stated_are_refused(folder):
    with (folder / artifact.WEIGHTS).open("ab") as file:
        file.write(b"more")
    with pytest.raises(ArtifactError, match="larger than"):
        artifact.load(folder)


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("form", ["pickle", "npz"])
def test_a_pickle_in_the_place_of_weights_is_refused_and_never_runs(folder, tmp_path, form):
    sprung = tmp_path / "sprung"
    content = io.BytesIO()
    if form == "pickle":
        pickle.dump(Trap(sprung), content)
    else:
        np.savez(content, allow_pickle=True, roots=np.array([Trap(sprung)], dtype=object))
    plant(folder, content.getvalue())
    with pytest.raises(ArtifactError, match="not in the safetensors format"):
        artifact.load(folder)
    assert not sprung.exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"algorithm": "os:system"}, "no algorithm 'os:system': choose one of"),
        ({"algorithm": "autoencoder"}, "no usable detector"),
        ({"kind": "sklearn"}, "kind: Input should be 'homeostat-detector'"),
        ({"format": 1}, "format: Input should be 2"),
        ({"window": 6}, r"not on \(6, 2\)"),
        ({"window": 0}, "window: Input should be greater"),
        ({"channels": ["a"]}, "must have 1 channels"),
        ({"channels": ["a", "a"]}, "repeat"),
        ({"preparation": {}}, "no usable detector: preparation has settings"),
        ({"threshold": "high"}, "threshold: Input should be a valid number"),
        ({"settings": {}}, "lacks 'trees'"),
        ({"surprise": 1}, "surprise: Extra inputs"),
        ({"files": {}}, "only weights.safetensors belongs there"),
        ({"files": {"../other": {"sha256": "0" * 64, "size": 1}}}, "only weights.safetensors belongs there"),
    ],
)
def test_a_foreign_manifest_is_refused_by_field(folder, changes, said):
    rewrite(folder, **changes)
    with pytest.raises(ArtifactError, match=said):
        artifact.load(folder)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"threshold": NaN}', "[" * 100_000, "\xff"])
def test_a_manifest_that_is_no_json_object_is_refused(folder, text):
    (folder / artifact.MANIFEST).write_bytes(text.encode("latin-1"))
    with pytest.raises(ArtifactError, match="no detector's manifest"):
        artifact.load(folder)


def test_a_huge_manifest_is_refused_before_it_is_read(folder):
    (folder / artifact.MANIFEST).write_bytes(b" " * (2 << 20))
    with pytest.raises(ArtifactError, match="larger than"):
        artifact.load(folder)


def test_weights_that_link_out_of_the_folder_are_refused(folder, tmp_path):
    (folder / artifact.WEIGHTS).rename(tmp_path / "elsewhere")
    (folder / artifact.WEIGHTS).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match="link out of its folder"):
        artifact.load(folder)


def test_a_folder_that_holds_no_detector_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match="cannot be read"):
        artifact.load(tmp_path / "nothing")


def test_weights_that_lack_an_array_are_refused(folder):
    from safetensors.numpy import load, save

    arrays = load((folder / artifact.WEIGHTS).read_bytes())
    del arrays["reference"]
    plant(folder, save(arrays))
    with pytest.raises(ArtifactError, match="lacks 'reference'"):
        artifact.load(folder)
