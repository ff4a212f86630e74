"""infra -> functions | pipelines -> models | eventing: who may import whom, as pyproject.toml says it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def lint_imports(*arguments: str) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [Path(sys.executable).with_name("lint-imports"), "--no-cache", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_no_room_imports_what_it_must_not_see() -> None:
    checked = lint_imports()
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "KEPT" in checked.stdout


def test_every_room_has_its_layer() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    layers = settings["importlinter"]["contracts"][0]["layers"]
    ruled = {room.strip().removeprefix("homeostat.") for layer in layers for room in layer.split("|")}
    shipped = set(settings["hatch"]["build"]["targets"]["wheel"]["only-include"])
    rooms = {folder.parent.name for folder in ROOT.glob("*/__init__.py")} - {"tests"}
    assert ruled == shipped == rooms


def test_a_forbidden_import_is_found(tmp_path: Path) -> None:
    """The same contract over a copy of the rooms in which a decision looks into infra."""
    for room in ("infra", "functions", "pipelines", "models", "eventing"):
        (tmp_path / "homeostat" / room).mkdir(parents=True)
        (tmp_path / "homeostat" / room / "__init__.py").touch()
    (tmp_path / "homeostat" / "__init__.py").touch()
    (tmp_path / "homeostat" / "functions" / "bad.py").write_text("import homeostat.infra\n")
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    command = [
        sys.executable,
        "-c",
        "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports_command as c; c()",
    ]
    checked = subprocess.run(
        [*command, "--no-cache"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 1
    assert "homeostat.functions.bad -> homeostat.infra" in checked.stdout
