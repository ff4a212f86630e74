"""Render every event's data schema: `python -m homeostat.eventing.schemas`. A test holds the files fresh."""

from __future__ import annotations

from pathlib import Path

import orjson

from . import codec
from .messages import EVENTS

FOLDER = Path(__file__).parent / "schemas"


def render(folder: Path = FOLDER) -> None:
    """One JSON Schema per event type; files of types that are gone go too."""
    folder.mkdir(exist_ok=True)
    for stale in folder.glob("*.json"):
        stale.unlink()
    for kind in EVENTS:
        text = orjson.dumps(codec.schema(kind), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
        (folder / f"{kind.type}.json").write_bytes(text + b"\n")


if __name__ == "__main__":
    render()
