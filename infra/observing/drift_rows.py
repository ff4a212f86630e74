"""What an event brings for the drift tests: rows that were asked about, or the scores that were answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homeostat.eventing.codec import Context
from homeostat.eventing.errors import Fault, Reject
from homeostat.eventing.messages import InferenceRequest, InferenceResponse
from homeostat.models import protocol

Rows = NDArray[np.float32]
Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Piece:
    """(m, c) raw rows, NaN where a number is missing, and their (m,) times in POSIX seconds, NaN where nobody
    knows; the (m,) scores of the rows, and (k,) errors of whichever rows were labelled, None where there are
    none. `rows` of None: scores that wait for their rows."""

    rows: Rows | None
    times: Numbers
    scores: Numbers | None = None
    errors: Numbers | None = None

    @property
    def size(self) -> int:
        return sum(len(one) for one in (self.rows, self.errors) if one is not None)

    def usable(self, most: int) -> Piece:
        """The last rows without gaps, with their own scores and times."""
        if self.rows is None:
            return self
        whole = np.flatnonzero(np.isfinite(self.rows).all(axis=1))[-most:]
        scores = self.scores if self.scores is not None and len(self.scores) == len(self.rows) else None
        return replace(
            self,
            rows=np.ascontiguousarray(self.rows[whole]),
            times=self.times[whole],
            scores=None if scores is None else scores[whole],
        )


def asked(
    event: InferenceRequest, context: Context, channels: tuple[str, ...], gaps: bool, period: timedelta
) -> Piece:
    """The rows of a V1 or V2 payload; there may be `gaps`. Of a window it is the last row, the one that is
    scored: windows overlap, and what came before was asked about already. Rows are a `period` apart, the last
    one is as old as the event. Raises Reject for a payload that holds no rows of these channels."""
    try:
        if event.inputs is not None:
            values = _tensor(event.inputs, channels, gaps)
        else:
            given = {} if event.instances is None else {"instances": event.instances}
            values = protocol.instances(given, channels, gaps)
    except protocol.InputError as error:
        said, _, mend = str(error).partition(": send ")
        field, _, value = said.partition(" is ")
        raise Reject(Fault(f"data.{field}", value, f"send {mend}")) from None
    rows = np.ascontiguousarray(values if values.ndim == 2 else values[:, -1], np.float32)
    return Piece(rows, seconds(context) - period.total_seconds() * np.arange(len(rows))[::-1])


def answered(event: InferenceResponse, context: Context, revision: str) -> Piece | None:
    """The scores of a V1 or V2 answer; None for another revision's answer, and for one without scores."""
    told = event.revision
    if event.outputs is not None:
        told = event.parameters.get("revision") if isinstance(event.parameters, Mapping) else None
    if told and told != revision:
        return None
    try:
        scores = np.array(_scores(event), np.float64)
    except (KeyError, TypeError, ValueError):
        return None  # no answer of ours
    if scores.ndim != 1 or not len(scores) or not np.isfinite(scores).all():
        return None
    return Piece(None, np.full(len(scores), seconds(context)), scores)


def seconds(context: Context) -> float:
    """When the event happened by its sender's clock, in POSIX seconds; NaN where it does not say."""
    try:
        found = datetime.fromisoformat(context.time or "")
    except ValueError:
        return float("nan")
    return found.timestamp() if found.tzinfo else float("nan")


def _scores(event: InferenceResponse) -> list[Any]:
    if event.outputs is None:
        return [one["score"] for one in event.predictions or []]
    return next((one["data"] for one in event.outputs if one["name"] == "score"), [])


def _tensor(inputs: list[Any], channels: tuple[str, ...], gaps: bool) -> NDArray[np.float64]:
    if len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise protocol.InputError("inputs", f"{len(inputs)} entries, not one tensor", channels)
    one = inputs[0]
    shape, name = one.get("shape"), str(one.get("name", ""))
    if not isinstance(shape, list) or not all(type(size) is int for size in shape):
        raise protocol.InputError(f"inputs.{name[:40]}.shape", "no list of whole numbers", channels)
    return protocol.tensor(name, shape, str(one.get("datatype")), one.get("data"), channels, gaps)
