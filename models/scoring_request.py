"""What one request asks of the predictor: its rows or windows, and how they are to be scored.

V1 has the options beside `instances`, V2 and gRPC among the request's `parameters`:

    series   the name of the series that the rows continue (or the header `x-homeostat-series`): one new row
             is enough, for its last rows are kept
    reset    true: the series starts anew with these rows, such as after a gap in time
    explain  true: also answer each channel's share in each score

V1 has one more, for who keeps the series' rows and cannot know which process will answer:

    past     the rows that went before, which are not scored; all that matter are `tail` rows, as the answer
             says
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson
from kserve import InferRequest
from kserve.errors import InvalidInput
from kserve.protocol.infer_type import to_http_parameters
from numpy.typing import NDArray

from . import protocol

SERIES_HEADER = "x-homeostat-series"
LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class ScoringRequest:
    """`values` is (n, c) rows in the order of time or (n, w, c) windows, in raw units; `past` the rows before
    them, None where nothing was said of those."""

    values: NDArray[np.float64]
    series: str | None
    reset: bool
    explain: bool
    past: NDArray[np.float64] | None = None


def read(
    payload: object, headers: Mapping[str, str], channels: Sequence[str], gaps: bool = False
) -> ScoringRequest:
    """KServe's decoded V1 or V2 payload, in which numbers may be missing where there may be `gaps`. Raises
    ValueError that names field, value and the mend."""
    if isinstance(payload, InferRequest):
        return _request(_tensor(payload, channels, gaps), _parameters(payload), "parameters.", headers)
    if isinstance(payload, bytes):
        # KServe parses a V1 body only when its content type is exactly application/json.
        try:
            payload = orjson.loads(payload)
        except orjson.JSONDecodeError as error:
            raise protocol.InputError("body", f"no JSON ({error})", channels) from None
    values = protocol.instances(payload, channels, gaps)
    assert isinstance(payload, dict)  # or there would be no instances  # noqa: S101
    past = protocol.past(payload, channels, gaps)
    request = _request(values, payload, "", headers)
    if past is not None and (request.series is not None or values.ndim != 2):
        other = "windows" if request.series is None else f"the series {request.series[:40]!r}"
        raise ValueError(f"past is given with {other}: give it with rows alone, shape [n, {len(channels)}]")
    return replace(request, past=past)


def _request(
    values: NDArray[np.float64], options: Mapping[str, Any], place: str, headers: Mapping[str, str]
) -> ScoringRequest:
    series = options.get("series", headers.get(SERIES_HEADER))
    if series is not None and not (isinstance(series, str) and 0 < len(series) <= LONGEST_NAME):
        raise ValueError(
            f"{place}series is {str(series)[:40]!r}: name the series by 1 to {LONGEST_NAME} characters"
        )
    switches = {name: options.get(name, False) for name in ("reset", "explain")}
    for name, value in switches.items():
        if not isinstance(value, bool):
            raise ValueError(f"{place}{name} is {str(value)[:40]!r}: give true or false")
    if switches["reset"] and series is None:
        raise ValueError(f"{place}reset is True without a series: name the series that starts anew")
    if series is not None and values.ndim != 2:
        n, w, c = values.shape
        raise ValueError(
            f"{place}series is {series[:40]!r} with windows, shape [{n}, {w}, {c}]: a series is continued by"
            f" its new rows alone, shape [n, {c}]"
        )
    return ScoringRequest(values, series, **switches)


def _parameters(request: InferRequest) -> Mapping[str, Any]:
    # gRPC's are protobuf messages still.
    found = to_http_parameters(request.parameters) if request.parameters else {}
    return found if isinstance(found, Mapping) else {}


def _tensor(request: InferRequest, channels: Sequence[str], gaps: bool) -> NDArray[np.float64]:
    if len(request.inputs) != 1:
        raise protocol.InputError("inputs", f"{len(request.inputs)} tensors, not one", channels)
    one = request.inputs[0]
    data = one.data
    if data is None or one._raw_data is not None:  # the binary extension, or gRPC's raw contents
        try:
            data = one.as_numpy()
        except (ValueError, TypeError, InvalidInput) as error:
            raise protocol.InputError(f"inputs.{one.name[:40]}", str(error), channels) from None
    return protocol.tensor(one.name, one.shape, one.datatype, data, channels, gaps)
