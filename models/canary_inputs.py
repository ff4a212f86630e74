"""Fixed inputs that a candidate answers before it gets any traffic, as its server would answer them.

They go through the artifact as it was saved and loaded and through the predictor's own steps, from a body of
KServe's V1 protocol to its answer. What must hold of every answer: one for each row, finite, and the same the
second time; and rows that nobody could take for normal ones raise an alarm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from kserve.errors import InferenceError, InvalidInput
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from .features import Scaler
from .fitted import Fitted
from .predictor import Predictor
from .protocol import MAX_ROWS

PLAIN = 30.0
"""Robust standard deviations off: rows that nobody could take for normal ones."""
_EXTREME = 1e30  # its square is no float32
_LONGEST_GAP = 3  # rows
_REPEATED = 2_000  # rows; to judge more of them twice would take long


@dataclass(frozen=True)
class Case:
    """(n, c) raw rows, NaN where a number is missing; one of the last `anomalous` of them must be flagged."""

    name: str
    rows: NDArray[np.float64]
    anomalous: int = 0


@dataclass(frozen=True)
class Answered:
    """Whether the answer to a case was sound, and what was wrong with it."""

    name: str
    rows: int
    sound: bool
    fault: str = ""


def cases(fitted: Fitted) -> tuple[Case, ...]:
    """The inputs for a detector, made of the normal rows that it carries."""
    reference = fitted.reference.astype(np.float64)
    middle, spread = np.median(reference, axis=0), Scaler.fit(reference).scale
    stretch = fitted.window + fitted.smoothing + fitted.min_duration
    calm = _of_length(reference, 2 * stretch)
    signs = np.where(np.arange(reference.shape[1]) % 2, -1.0, 1.0)
    turns = np.where(np.arange(stretch) % 2, -1.0, 1.0)[:, None]
    found = [
        Case("normal rows", calm),
        Case("constant rows", np.tile(middle, (2 * stretch, 1))),
        Case(
            "extreme values", np.where(np.arange(stretch)[:, None] % 2, -_EXTREME, _EXTREME) * np.abs(signs)
        ),
        Case("a single row", calm[-1:]),
        Case("the longest batch", _of_length(reference, MAX_ROWS)),
        Case("a jump of every channel", _with(calm, calm[-stretch:] + PLAIN * signs * spread), stretch),
        Case("channels that swing", _with(calm, calm[-stretch:] + PLAIN * turns * signs * spread), stretch),
    ]
    policy = fitted.preparation.missing
    if policy.policy != "refuse":
        gap = calm.copy()
        gap[fitted.window : fitted.window + min(policy.limit or _LONGEST_GAP, _LONGEST_GAP), 0] = np.nan
        found.insert(3, Case("a gap", gap))
    return tuple(found)


def _of_length(rows: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """The last ones, over again where there are too few."""
    return np.tile(rows, (-(-length // len(rows)), 1))[-length:]


def _with(calm: NDArray[np.float64], odd: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([calm, odd])


def answers(folder: Path, revision: str = "candidate") -> tuple[Answered, ...]:
    """What the artifact in the folder answers to its cases, in one process, without a socket. Raises
    ArtifactError. Takes the time of judging some 10,000 rows."""
    predictor = Predictor(revision, folder, revision, CollectorRegistry())
    predictor.load()
    return asyncio.run(_all(predictor, cases(predictor.fitted)))


async def _all(predictor: Predictor, every: Sequence[Case]) -> tuple[Answered, ...]:
    return tuple([Answered(case.name, len(case.rows), *await _judged(predictor, case)) for case in every])


async def _judged(predictor: Predictor, case: Case) -> tuple[bool, str]:
    try:
        once = await _asked(predictor, case)
        again = await _asked(predictor, case) if len(case.rows) <= _REPEATED else once
    except (InferenceError, InvalidInput) as error:
        return False, str(error)
    fault = _fault(case, once) or ("" if once == again else "it was answered otherwise the second time")
    return not fault, fault


async def _asked(predictor: Predictor, case: Case) -> list[dict[str, Any]]:
    body = orjson.dumps({"instances": case.rows}, option=orjson.OPT_SERIALIZE_NUMPY)  # NaN is null
    answer, _ = await predictor(body)
    predictions: list[dict[str, Any]] = orjson.loads(orjson.dumps(answer))["predictions"]
    return predictions


def _fault(case: Case, predictions: Sequence[dict[str, Any]]) -> str:
    """What is wrong with the answer as JSON; a score that is not finite is null there."""
    if len(predictions) != len(case.rows):
        return f"{len(predictions)} answers to {len(case.rows)} rows"
    for row, one in enumerate(predictions):
        if not isinstance(one["score"], float):
            return f"the score of row {row} is not finite"
    if case.anomalous and not any(one["anomaly"] for one in predictions[-case.anomalous :]):
        return "no row of it raised an alarm"
    return ""
