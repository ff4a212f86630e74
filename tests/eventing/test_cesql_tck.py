"""CloudEvents SQL's conformance kit (cloudevents/spec, cesql/cesql_tck), every case from its own YAML."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from homeostat.eventing.cesql import compile
from homeostat.eventing.errors import Reject

ROOT = Path(__file__).parents[2]
KIT = Path(os.environ.get("HOMEOSTAT_SHARED", ROOT.parent / "shared")) / "vectors" / "cesql_tck"
ANY_EVENT = {
    "specversion": "1.0",
    "id": "any",
    "source": "/any",
    "type": "any",
    "subject": "any",
    "time": "2026-11-24T12:00:00Z",
}


class PlainTimes(yaml.SafeLoader):
    """YAML as the kit means it: a timestamp is the text that stands there."""


PlainTimes.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in forms if not tag.endswith(":timestamp")]
    for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def cases() -> Iterator[Any]:
    """Without the kit one empty case is left, which the `shared` fixture skips or, in CI, fails."""
    files = sorted(KIT.glob("*.yaml"))
    for file in files:
        text = file.read_text()
        # Read once more without types: the expression `true` is what stands there, not YAML's boolean.
        written = yaml.load(text, yaml.BaseLoader)["tests"]  # noqa: S506 - it makes only strings
        for case, plain in zip(yaml.load(text, PlainTimes)["tests"], written, strict=True):  # noqa: S506
            yield pytest.param(case | {"expression": plain["expression"]}, id=f"{file.stem}: {case['name']}")
    if not files:
        yield pytest.param({}, id="no kit")


@pytest.mark.parametrize("case", cases())
def test_the_kit(case: dict[str, Any], shared: Path) -> None:
    if case.get("error") == "parse":
        with pytest.raises(Reject):
            compile(case["expression"])
        return
    attributes = case.get("event", ANY_EVENT) | case.get("eventOverrides", {})
    value, error = compile(case["expression"]).evaluate(attributes)
    assert error is None if "error" not in case else error is not None and error.kind == case["error"]
    if "result" in case:
        assert (type(value), value) == (type(case["result"]), case["result"])


def test_the_kit_is_whole(shared: Path) -> None:
    assert sum(1 for _ in cases()) >= 275
