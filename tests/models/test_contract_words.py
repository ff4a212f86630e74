"""What every detector's class says of itself, and how it speaks of parameters that it cannot take."""

from __future__ import annotations

import doctest
import inspect
import json
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import pytest

from homeostat.models import ALGORITHMS, artifact
from homeostat.models.algorithm import algorithm, create
from homeostat.models.fitting import fit
from tests.models.every import every, every_own, normal, parameters


def words(name: str) -> str:
    """The docstring as it stands in the source; a class made by PyOD's name has that of its base."""
    one = algorithm(name)
    return inspect.getdoc(one.__mro__[1] if ":" in name else one) or ""


def own_parameters(name: str) -> list[str]:
    return [one.name for one in fields(cast("Any", algorithm(name))) if one.init and one.name != "seed"]


@every
@pytest.mark.parametrize(
    "said",
    [
        r"\nRange: .*\S",
        r"\bCost: .*\S",
        r"\b(19|20)\d\d[);,]",
        "higher|upwards|towards|distance|rarer",
    ],
    ids=["range", "cost", "paper", "direction"],
)
def test_its_docstring_tells(name: str, said: str) -> None:
    assert re.search(said, words(name)), f"{name} does not tell {said!r}"


@every_own
def test_its_docstring_names_every_parameter(name: str) -> None:
    told = words(name).partition("Parameters:")[2]
    assert [one for one in own_parameters(name) if f"`{one}`" not in told] == []
    assert told or not own_parameters(name)


@every_own
def test_the_example_in_its_docstring_runs_and_prints_what_it_says(name: str) -> None:
    one = algorithm(name)
    module = sys.modules[one.__module__]
    found = doctest.DocTestFinder(recurse=False).find(one, name, module)
    assert sum(len(test.examples) for test in found) >= 3
    told: list[str] = []
    runner = doctest.DocTestRunner()
    for test in found:
        runner.run(test, out=told.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(told)


@every_own
def test_a_number_out_of_range_is_refused_by_name_and_value(name: str) -> None:
    numbers = [key for key, value in vars(create(name, {}, 0)).items() if type(value) in (int, float)]
    for key in set(numbers) & set(own_parameters(name)):
        for value in (-1, "many", float("nan"), 10**400):
            with pytest.raises(ValueError, match=re.escape(f"{key} is {value!r}")):
                create(name, {key: value}, 0)


@every_own
def test_numbers_as_text_are_taken_as_katib_hands_them_over(name: str) -> None:
    plain = create(name, parameters(name), 0).settings()
    text = {key: str(value) for key, value in parameters(name).items() if type(value) in (int, float)}
    assert create(name, parameters(name) | text, 0).settings() == plain


@every
def test_an_unknown_parameter_is_refused_with_those_that_exist(name: str) -> None:
    said = f"{name} has no parameter tree: it takes {', '.join(own_parameters(name))}"
    with pytest.raises(ValueError, match=re.escape(said)):
        create(name, {"tree": 5}, 0)


def test_an_unknown_algorithm_is_refused_with_those_that_exist() -> None:
    with pytest.raises(
        ValueError, match=r"'prophet': choose one of isolation-forest, autoencoder.*, pyod:NAME"
    ):
        algorithm("prophet")


PROBE = """
import json, sys
heavy = {"torch", "sklearn", "pandas", "pyod", "stumpy", "alibi_detect"}
from homeostat.models import artifact, fitted
told = {"import": sorted((heavy | {"numba"}) & set(sys.modules))}
import numpy as np
for folder in json.loads(sys.argv[1]):
    before = set(sys.modules)
    detector = artifact.load(folder)
    detector.score(np.zeros((20, 3)))
    told[folder.rpartition("/")[2]] = sorted(heavy & (set(sys.modules) - before))
print(json.dumps(told))
"""


def test_loading_and_scoring_need_none_of_the_heavy_packages(tmp_path: Path) -> None:
    """Those are for fitting. numba is compiled code's own, and is loaded by those that walk trees."""
    rows = normal(200)[:, 0].astype(float)
    for name in ALGORITHMS:
        one = fit(name, rows, channels=("a", "b", "c"), window=6, parameters=parameters(name))
        artifact.save(one, tmp_path / name, {})
    folders = json.dumps([str(tmp_path / name) for name in ALGORITHMS])
    done = subprocess.run([sys.executable, "-c", PROBE, folders], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"import": []} | {name: [] for name in ALGORITHMS}
