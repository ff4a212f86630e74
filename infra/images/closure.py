"""What each image installs: the packages that some of our requirements need, with requirements.lock's pins.

    python -m homeostat.infra.images.closure

writes `function.lock`, `work.lock` and `build.lock`. They are read from the metadata of the environment that
`make install` sets up, so nothing is resolved anew: an image has what the tests ran with.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from importlib.metadata import requires
from itertools import chain
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
HEADER = "# Generated from requirements.lock: python -m homeostat.infra.images.closure"
EXTRAS: Mapping[str, tuple[str, ...]] = {
    "function": ("s3", "traces"),
    "work": ("pyod", "s3", "traces", "work"),
}
"""Kafka is a cluster's own affair: KafkaSource and KafkaSink carry its records. The gateway, a light one,
keeps objects that come as data in the object store."""


def locks(root: Path = ROOT) -> dict[str, str]:
    """The text of each lock file by its name. Raises LookupError for a package without a pin, and
    PackageNotFoundError for one that is not installed: both say that `make install` comes first."""
    document = tomllib.loads((root / "pyproject.toml").read_text())
    project, pinned = document["project"], pins((root / "requirements.lock").read_text())
    optional = project["optional-dependencies"]
    wanted = {
        f"{image}.lock": [*project["dependencies"], *chain.from_iterable(optional[one] for one in extras)]
        for image, extras in EXTRAS.items()
    }
    wanted["build.lock"] = document["build-system"]["requires"]
    return {name: _lock(closure(requirements), pinned) for name, requirements in wanted.items()}


def pins(lock: str) -> dict[str, str]:
    """Version by name.

    >>> pins("# of a comment\\nPyYAML==6.0.3\\n")
    {'pyyaml': '6.0.3'}
    """
    pairs = (line.split("==") for line in lock.splitlines() if "==" in line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


def closure(requirements: Iterable[str]) -> set[str]:
    """The requirements' packages and everything that those need, by name. A package is visited once per
    extra that somebody asks of it: `uvicorn[standard]` needs more than `uvicorn`."""
    todo = [Requirement(one) for one in requirements]
    seen: set[tuple[str, str]] = set()
    while todo:
        wanted = todo.pop()
        for extra in {"", *wanted.extras}:
            visit = (canonicalize_name(wanted.name), extra)
            if visit not in seen:
                seen.add(visit)
                needs = map(Requirement, requires(wanted.name) or ())
                todo += [one for one in needs if not one.marker or one.marker.evaluate({"extra": extra})]
    return {name for name, _ in seen}


def _lock(names: Iterable[str], pinned: Mapping[str, str]) -> str:
    names = sorted(names)
    missing = [name for name in names if name not in pinned]
    if missing:
        raise LookupError(f"not in requirements.lock: {', '.join(missing)}; run make lock, then make install")
    lines = [f"{name}=={pinned[name]}" for name in names]
    return "\n".join([HEADER, *lines, ""])


def main() -> None:
    for name, text in locks().items():
        (HERE / name).write_text(text)


if __name__ == "__main__":
    main()
