"""KServe's V1 and V2 inference payloads to arrays, sans-IO. Every fault names the field, what was found
there, and what to send instead.

V2: https://github.com/kserve/open-inference-protocol; V1: TensorFlow Serving's REST API.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_ROWS = 10_000
"""Rows of one request, over all of its windows."""

DATATYPES = ("FP32", "FP64", "INT32", "INT64")


class InputError(ValueError):
    """The payload cannot be scored."""

    def __init__(self, field: str, value: object, channels: Sequence[str]) -> None:
        c = len(channels)
        super().__init__(
            f"{field} is {value}: send n rows in the order of time, shape [n, {c}], or n windows,"
            f" shape [n, w, {c}], of finite numbers, at most {MAX_ROWS} rows; channels: {', '.join(channels)}"
        )


def instances(payload: object, channels: Sequence[str], gaps: bool = False) -> NDArray[np.float64]:
    """V1 `{"instances": …}` as (n, c) rows or (n, w, c) windows. Raises InputError.

    Where there may be `gaps`, null is a number that is missing: NaN.
    """
    if not isinstance(payload, dict) or "instances" not in payload:
        found = (
            f"missing among {', '.join(map(str, payload)) or 'nothing'}"
            if isinstance(payload, dict)
            else (f"not in a JSON {type(payload).__name__}")
        )
        raise InputError("instances", found[:120], channels)
    rows = payload["instances"]
    return _checked(_numbers("instances", rows, channels, gaps), "instances", channels, gaps)


def past(payload: dict[str, Any], channels: Sequence[str], gaps: bool = False) -> NDArray[np.float64] | None:
    """V1's `past`, the (n, c) rows before its instances; None where it says nothing of them. Raises
    InputError."""
    if "past" not in payload:
        return None
    if payload["past"] == []:
        return np.empty((0, len(channels)))
    rows = _checked(_numbers("past", payload["past"], channels, gaps), "past", channels, gaps)
    if rows.ndim != 2:
        raise InputError("past", f"of shape {list(rows.shape)}, windows", channels)
    return rows


def tensor(
    name: str,
    shape: Sequence[int],
    datatype: str,
    data: object,
    channels: Sequence[str],
    gaps: bool = False,
) -> NDArray[np.float64]:
    """One V2 input, its data flat or nested, as (n, c) rows or (n, w, c) windows. Raises InputError.

    Where there may be `gaps`, NaN and null are numbers that are missing.
    """
    field = f"inputs.{name[:40]}"
    if datatype not in DATATYPES:
        raise InputError(
            f"{field}.datatype", f"{datatype[:20]!r}, not one of {', '.join(DATATYPES)}", channels
        )
    if not shape or any(size < 1 for size in shape):
        raise InputError(f"{field}.shape", list(shape)[:8], channels)
    values = _numbers(f"{field}.data", data, channels, gaps)
    if values.size != prod(shape):
        raise InputError(f"{field}.shape", f"{list(shape)[:8]} for {values.size} numbers", channels)
    return _checked(values.reshape(tuple(shape)), f"{field}.shape", channels, gaps)


def _numbers(field: str, data: object, channels: Sequence[str], gaps: bool) -> NDArray[np.float64]:
    try:
        values = np.array(data)
    except ValueError:  # ragged
        raise InputError(*_culprit(field, data), channels) from None
    if gaps and values.dtype == object and all(one is None or _is_number(one) for one in values.flat):
        return values.astype(np.float64)
    # Only numbers: numpy would also read true as 1 and, asked for floats, "1.5" as 1.5.
    if values.dtype.kind not in "iuf" or values.ndim == 0:
        raise InputError(*_culprit(field, data), channels)
    return values.astype(np.float64, copy=False)


def _checked(
    values: NDArray[np.float64], field: str, channels: Sequence[str], gaps: bool
) -> NDArray[np.float64]:
    if values.ndim not in (2, 3) or values.shape[-1] != len(channels) or not values.size:
        raise InputError(field, f"of shape {list(values.shape)}", channels)
    if values.size > MAX_ROWS * len(channels):
        raise InputError(field, f"{values.size // len(channels)} rows long", channels)
    broken = np.isinf(values) if gaps else ~np.isfinite(values)
    if broken.any():
        where = "".join(f"[{index}]" for index in np.argwhere(broken)[0])
        raise InputError(f"{field}{where}", "no finite number", channels)
    return values


def _culprit(field: str, data: object) -> tuple[str, str]:
    """The first entry that makes the nested list no array of numbers: its path and its value."""
    return _first(field, data, 0) or (field, _brief(data))


def _first(field: str, data: object, depth: int) -> tuple[str, str] | None:
    if not isinstance(data, list):
        return None if _is_number(data) else (field, _brief(data))
    if depth >= 4:
        return None
    for index, one in enumerate(data):
        here = f"{field}[{index}]"
        if _width(one) != _width(data[0]):
            return here, f"{_brief(one)} beside entries like {_brief(data[0])}"
        if found := _first(here, one, depth + 1):
            return found
    return None


def _width(one: object) -> int | None:
    return len(one) if isinstance(one, list) else None


def _is_number(one: object) -> bool:
    return isinstance(one, int | float) and not isinstance(one, bool) and isfinite(one)


def _brief(one: Any) -> str:
    if isinstance(one, list):
        return f"a list of {len(one)}"
    text = repr(one)
    return text if len(text) <= 40 else f"{text[:39]}…"
