"""What is no artifact but lies where one should: pickles, archives, scripts, links, pipes, false sizes."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from homeostat.models import artifact
from homeostat.models.artifact import MANIFEST, WEIGHTS, ArtifactError
from tests.models.mutants import laid, outcome, sound, vouched


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.path), "w"))


def a_pickle(trap: Trap) -> bytes:
    return pickle.dumps(trap)


def an_npz(trap: Trap) -> bytes:
    content = io.BytesIO()
    np.savez(content, allow_pickle=True, centroids=np.array([trap], dtype=object))
    return content.getvalue()


def an_npy(trap: Trap) -> bytes:
    content = io.BytesIO()
    np.save(content, np.array([trap], dtype=object), allow_pickle=True)
    return content.getvalue()


def a_joblib_file(trap: Trap) -> bytes:
    import joblib

    content = io.BytesIO()
    joblib.dump(trap, content)
    return content.getvalue()


def a_torch_file(trap: Trap) -> bytes:
    import torch

    content = io.BytesIO()
    torch.save({"state": trap}, content)
    return content.getvalue()


def a_zip(trap: Trap) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("../../escaped", "x")
        archive.writestr("model.py", f"open({str(trap.path)!r}, 'w')")
    return content.getvalue()


def a_bomb(trap: Trap) -> bytes:
    return gzip.compress(bytes(50 << 20))


def an_onnx_model(trap: Trap) -> bytes:
    """The first fields of a ModelProto: IR version 8, a producer, an operator set."""
    return b"\x08\x08\x12\x07pytorch\x42\x02\x10\x11"


def a_script(trap: Trap) -> bytes:
    return f"#!/bin/sh\ntouch {trap.path}\n".encode()


FOREIGN = [a_pickle, an_npz, an_npy, a_joblib_file, a_torch_file, a_zip, a_bomb, an_onnx_model, a_script]


@pytest.mark.parametrize("file", [WEIGHTS, MANIFEST])
@pytest.mark.parametrize("make", FOREIGN)
def test_a_foreign_file_under_either_name_is_refused_and_never_runs(
    tmp_path: Path, make: Callable[[Trap], bytes], file: str
) -> None:
    content = make(Trap(tmp_path / "sprung"))
    files = sound("kmeans-ad")
    whole = vouched(files, content) if file == WEIGHTS else {**files, MANIFEST: content}
    result = outcome(laid(tmp_path, whole))
    assert isinstance(result, ArtifactError)
    assert file in str(result)
    assert not (tmp_path / "sprung").exists()


# --- links, pipes, sizes -----------------------------------------------------------------------------------
@pytest.mark.parametrize("file", [WEIGHTS, MANIFEST])
@pytest.mark.parametrize("target", ["/dev/zero", "/etc/passwd", "/nowhere", "elsewhere", "."])
def test_a_link_out_of_the_folder_is_refused(tmp_path: Path, file: str, target: str) -> None:
    folder = laid(tmp_path, sound("kmeans-ad"))
    (folder / file).rename(tmp_path / "elsewhere")
    (folder / file).symlink_to(tmp_path / target if target == "elsewhere" else target)
    result = outcome(folder)
    assert isinstance(result, ArtifactError)
    assert file in str(result)


@pytest.mark.parametrize("file", [WEIGHTS, MANIFEST])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_pipe_or_a_folder_in_place_of_a_file_is_refused_at_once(
    tmp_path: Path, file: str, make: Callable[[Path], None]
) -> None:
    folder = laid(tmp_path, sound("kmeans-ad"))
    (folder / file).unlink()
    make(folder / file)
    result = outcome(folder)
    assert isinstance(result, ArtifactError)
    assert f"{file} is no regular file" in str(result)


def test_the_two_files_in_each_others_place_are_refused(tmp_path: Path) -> None:
    files = sound("kmeans-ad")
    assert isinstance(
        outcome(laid(tmp_path, {MANIFEST: files[WEIGHTS], WEIGHTS: files[MANIFEST]})), ArtifactError
    )


@pytest.mark.parametrize("size", [0, 1, 2**30, 2**30 + 1, 2**63, 10**400, -1, 1.5, "1", None])
def test_a_size_that_is_not_the_files_is_refused(tmp_path: Path, size: object) -> None:
    stated = json.loads(sound("kmeans-ad")[MANIFEST])
    stated["files"][WEIGHTS]["size"] = size
    folder = laid(tmp_path, {**sound("kmeans-ad"), MANIFEST: json.dumps(stated).encode()})
    assert isinstance(outcome(folder), ArtifactError)
    with pytest.raises(ArtifactError, match=r"manifest.json|weights.safetensors"):
        artifact.load(folder)
