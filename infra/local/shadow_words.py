"""What the answers of two revisions to one request say of each other, and how a request says that its series
starts anew (`models.scoring_request`, `models.scoring_answer`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from .exchange import Ask, Reply

MAX_READ = 1024 * 1024
"""Decoding more would hold up the requests of clients."""
_BINARY = b"inference-header-content-length"


def compared(path: str, stable: Reply, shadow: Reply) -> tuple[int, int]:
    """How many rows both judged on the same rows before them, and how many of those got the same flag.
    Answers that say less, or in V2's binary form, are not compared."""
    said, echoed = _read(path, stable), _read(path, shadow)
    if said is None or echoed is None:
        return 0, 0
    (flags, before), (others, others_before) = said, echoed
    if len(flags) != len(others) or others_before < before:
        return 0, 0
    return len(flags), sum(one == other for one, other in zip(flags, others, strict=True))


def _read(path: str, reply: Reply) -> tuple[list[bool], float] | None:
    """The flags, and how many rows of all that matter went before them: without end, once all did."""
    if reply.status != 200 or len(reply.body) > MAX_READ:
        return None
    try:
        document = orjson.loads(reply.body)
        if path.startswith("v2/"):
            options: Mapping[str, Any] = document.get("parameters") or {}
            flags = next(one["data"] for one in document["outputs"] if one["name"] == "anomaly")
        else:
            options, flags = document, [one["anomaly"] for one in document["predictions"]]
        past, tail = options.get("past", 0), options.get("tail", 0)
        return list(flags), float("inf") if past >= tail else past
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError, StopIteration):
        return None


def reset(ask: Ask) -> Ask | None:
    """The request, its series starting anew; None where that cannot be said in its place."""
    if ask.header(_BINARY) or len(ask.body) > MAX_READ:
        return None
    try:
        document = orjson.loads(ask.body)
        if ask.path.startswith("v2/"):
            document["parameters"] = {**(document.get("parameters") or {}), "reset": True}
        else:
            document["reset"] = True
        return replace(ask, body=orjson.dumps(document))
    except (orjson.JSONDecodeError, TypeError, AttributeError):
        return None
