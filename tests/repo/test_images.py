"""The images: the functions' one stays small; both hold what the lock names, run as nobody, and list it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from homeostat.functions import FUNCTIONS
from homeostat.infra.images import closure, sbom

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "infra" / "images"
CONTAINERFILES = sorted(IMAGES.glob("*.Containerfile"))
LOCKS = ("build.lock", "function.lock", "work.lock")
HEAVY = {
    "alibi-detect": "alibi_detect",
    "kfp": "kfp",
    "kserve": "kserve",
    "kubernetes": "kubernetes",
    "mlflow": "mlflow",
    "numba": "numba",
    "numpy": "numpy",
    "pandas": "pandas",
    "scikit-learn": "sklearn",
    "scipy": "scipy",
    "torch": "torch",
}
"""Module by package."""

SHAPE: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": [
        "bomFormat",
        "specVersion",
        "serialNumber",
        "version",
        "metadata",
        "components",
        "dependencies",
    ],
    "properties": {
        "$schema": {"const": "http://cyclonedx.org/schema/bom-1.6.schema.json"},
        "bomFormat": {"const": "CycloneDX"},
        "specVersion": {"const": "1.6"},
        "serialNumber": {"pattern": r"^urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"},
        "version": {"const": 1},
        "metadata": {
            "additionalProperties": False,
            "required": ["component"],
            "properties": {"component": {"$ref": "#/$defs/component"}},
        },
        "components": {"type": "array", "uniqueItems": True, "items": {"$ref": "#/$defs/component"}},
        "dependencies": {
            "type": "array",
            "items": {
                "additionalProperties": False,
                "required": ["ref"],
                "properties": {
                    "ref": {"type": "string"},
                    "dependsOn": {"type": "array", "uniqueItems": True, "items": {"type": "string"}},
                },
            },
        },
    },
    "$defs": {
        "component": {
            "type": "object",
            "additionalProperties": False,
            "required": ["type", "bom-ref", "name", "version", "purl"],
            "properties": {
                "type": {"enum": ["application", "library"]},
                "purl": {"pattern": r"^pkg:pypi/[a-z0-9-]+@[^+]+$"},
                "bom-ref": {"type": "string"},
                "name": {"type": "string"},
                "version": {"type": "string"},
                "licenses": {
                    "oneOf": [
                        {"type": "array", "items": {"required": ["license"]}},
                        {"type": "array", "items": {"required": ["expression"]}, "maxItems": 1},
                    ]
                },
            },
        }
    },
}
"""CycloneDX 1.6, as much of it as we write."""


def pinned(name: str) -> dict[str, str]:
    return closure.pins((IMAGES / name).read_text())


def test_the_locks_are_fresh() -> None:
    stale = [name for name, text in closure.locks().items() if (IMAGES / name).read_text() != text]
    assert not stale, "python -m homeostat.infra.images.closure writes them anew"
    assert set(closure.locks()) == set(LOCKS) == {path.name for path in IMAGES.glob("*.lock")}


@pytest.mark.parametrize("name", LOCKS)
def test_every_pin_is_the_one_that_the_tests_run_with(name: str) -> None:
    everything = closure.pins((ROOT / "requirements.lock").read_text())
    assert pinned(name).items() <= everything.items()


def test_the_functions_image_is_free_of_what_trains_and_serves() -> None:
    light = pinned("function.lock")
    assert {"fastapi", "uvicorn", "uvloop", "cryptography", "orjson"} <= light.keys(), "extras count too"
    assert not HEAVY.keys() & light.keys()


def test_the_work_image_has_everything_of_the_functions_image_but_no_tool_of_ours() -> None:
    work = pinned("work.lock")
    assert pinned("function.lock").items() <= work.items()
    assert HEAVY.keys() | {"pyod", "s3fs"} <= work.keys()
    assert not {"hypothesis", "moto", "mypy", "pytest", "ruff"} & work.keys()


def test_a_requirement_without_a_pin_is_named(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    lock = (ROOT / "requirements.lock").read_text()
    (tmp_path / "requirements.lock").write_text(re.sub(r"(?m)^(uvloop|httptools)==.*\n", "", lock))
    with pytest.raises(LookupError, match=r"requirements\.lock: httptools, uvloop; run make lock"):
        closure.locks(tmp_path)


def instructions(path: Path) -> list[tuple[str, str]]:
    text = re.sub(r"(?m)^\s*#.*\n", "", path.read_text()).replace("\\\n", " ")
    return [
        (word.upper(), rest) for word, _, rest in (line.partition(" ") for line in text.splitlines()) if word
    ]


@pytest.mark.parametrize("path", CONTAINERFILES, ids=lambda path: path.stem)
def test_an_image_is_built_in_two_stages_from_a_base_by_digest(path: Path) -> None:
    steps = instructions(path)
    assert [rest for word, rest in steps if word == "FROM"] == ["${PYTHON_IMAGE} AS build", "${PYTHON_IMAGE}"]
    arguments = [rest for word, rest in steps if word == "ARG" and rest.startswith("PYTHON_IMAGE")]
    assert set(arguments) == {"PYTHON_IMAGE"}, "no default that could move"
    guard = next(rest for word, rest in steps if word == "RUN")
    for image, code in {"python@sha256:abc": 0, "python:3.11-slim": 1, "": 1}.items():
        assert (
            subprocess.run(["sh", "-c", guard], env={"PYTHON_IMAGE": image}, check=False).returncode == code
        )


@pytest.mark.parametrize("path", CONTAINERFILES, ids=lambda path: path.stem)
def test_an_image_runs_as_nobody_on_what_the_script_installed(path: Path) -> None:
    steps = instructions(path)
    last = steps[max(place for place, (word, _) in enumerate(steps) if word == "FROM") + 1 :]
    words = [word for word, _ in last]
    assert [rest for word, rest in last if word == "USER"] == ["65532:65532"]
    assert words.index("USER") < words.index("ENTRYPOINT")
    assert [rest for word, rest in last if word == "COPY"] == ["--from=build /opt/homeostat /opt/homeostat"]
    assert "RUN" not in words
    runs = [rest for word, rest in steps if word == "RUN"]
    assert runs[1:] == [f"infra/images/install {path.stem} /opt/homeostat"]


@pytest.mark.parametrize("path", CONTAINERFILES, ids=lambda path: path.stem)
def test_an_image_is_given_no_secret_and_fetches_nothing_by_itself(path: Path) -> None:
    assert {word for word, _ in instructions(path)} <= {
        *("ARG", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "RUN", "USER", "WORKDIR")
    }
    text = path.read_text()
    assert not re.search(r":latest|curl|wget|(?i:token|password|secret)|://[^/\s]*@", text)


@pytest.mark.parametrize("path", CONTAINERFILES, ids=lambda path: path.stem)
def test_the_build_sees_only_what_it_copies(path: Path) -> None:
    copied = [
        source
        for word, rest in instructions(path)
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    ]
    let_in = [
        line[1:] for line in (ROOT / ".containerignore").read_text().splitlines() if line.startswith("!")
    ]
    assert sorted(copied) == sorted(let_in)
    assert all((ROOT / source).exists() for source in copied)


@pytest.mark.parametrize("arguments", [[], ["function"], ["everything", "prefix"], ["work", "there"]])
def test_the_install_script_says_how_it_is_used(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    done = install(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert re.search(r"usage: .*install function\|work PREFIX|is there already", done.stderr)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_the_bill_of_materials_has_cyclonedx_shape_and_names_every_package() -> None:
    bill = sbom.bill(distributions())
    jsonschema.validate(bill, SHAPE)
    named = {component["name"]: component["version"] for component in bill["components"]}
    assert pinned("work.lock").keys() <= named.keys()
    refs = [one["ref"] for one in bill["dependencies"]]
    assert len(refs) == len(set(refs)) == len(bill["components"]) + 1
    assert all(set(one["dependsOn"]) <= set(refs) for one in bill["dependencies"])
    assert bill == sbom.bill(distributions()), "the same packages, the same bill"


def install(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [IMAGES / "install", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHON": sys.executable},
    )


PROBE = """
import importlib, importlib.util, json, pkgutil, sys
import homeostat.eventing, homeostat.functions
for room in (homeostat.functions, homeostat.eventing):
    for found in pkgutil.walk_packages(room.__path__, f"{room.__name__}."):
        importlib.import_module(found.name)
import homeostat.infra.cli, homeostat.infra.serve
there = [name for name in json.loads(sys.argv[1]) if importlib.util.find_spec(name)]
print(json.dumps([there, sorted(homeostat.functions.FUNCTIONS), homeostat.functions.__file__]))
"""


@pytest.mark.slow
class TestTheFunctionsImageInstalled:
    """What the Containerfile runs, run here: half a minute, 120 MB."""

    @pytest.fixture(scope="class")
    def prefix(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("image")
        done = install("function", "prefix", cwd=folder)
        assert done.returncode == 0, done.stdout + done.stderr
        return folder / "prefix"

    def run(self, prefix: Path, *arguments: str) -> str:
        done = subprocess.run(
            [prefix / "bin" / "python", *arguments],
            cwd=prefix,
            capture_output=True,
            text=True,
            check=False,
            env={"PYTHONDONTWRITEBYTECODE": "1"},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def test_every_function_is_imported_without_the_heavy_packages(self, prefix: Path) -> None:
        there, known, place = json.loads(self.run(prefix, "-c", PROBE, json.dumps([*HEAVY.values()])))
        assert there == []
        assert known == sorted(FUNCTIONS)
        assert Path(place).is_relative_to(prefix), "the installed package, not the checkout"

    @pytest.mark.parametrize("function", sorted(FUNCTIONS))
    def test_the_entry_point_answers(self, prefix: Path, function: str) -> None:
        assert "Serve one function" in self.run(prefix, "-m", "homeostat.infra.serve", function, "--help")

    def test_it_holds_what_the_lock_names_and_its_bill_says_so(self, prefix: Path) -> None:
        bill = json.loads((prefix / "sbom.cdx.json").read_text())
        jsonschema.validate(bill, SHAPE)
        assert {one["name"]: one["version"] for one in bill["components"]} == pinned("function.lock")
        assert bill["metadata"]["component"]["name"] == "homeostat"

    def test_its_bytecode_is_there_and_asks_no_clock(self, prefix: Path) -> None:
        sources = [*prefix.glob("lib/python3.11/site-packages/homeostat/functions/*.py")]
        compiled = [source.parent / "__pycache__" / f"{source.stem}.cpython-311.pyc" for source in sources]
        assert sources
        # PEP 552: flags 0b01 are an unchecked hash.
        assert {int.from_bytes(one.read_bytes()[4:8], "little") for one in compiled} == {1}
