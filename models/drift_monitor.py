"""The newest rows, scores and errors against a calibration, as they arrive."""

from __future__ import annotations

import hashlib
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .choices import DriftStream
from .drift_calibration import Calibration, error_settings, of_errors
from .drift_rows import checked
from .drift_watch import Watch
from .drift_words import Verdict

_IDENTITY = "calibration"
_FIRST_ERRORS = "errors.first"


class Monitor:
    """Takes rows in the order of time and tells when they drift. alibi-detect is loaded by the first test
    that is due (`load_backend` does it earlier). Memory is bounded by the window. Not thread-safe."""

    def __init__(self, calibration: Calibration) -> None:
        self._calibration = calibration
        self._identity = _identity(calibration)
        self._first_errors = np.zeros(0)
        self._watches = {on: self._watch(on) for on in calibration.parts}

    def update(
        self,
        rows: NDArray[Any],
        scores: NDArray[Any] | None = None,
        errors: NDArray[Any] | None = None,
        times: NDArray[Any] | None = None,
    ) -> tuple[Verdict, ...]:
        """The verdicts that (m, c) raw rows, their (m,) scores and times (POSIX seconds, NaN where unknown)
        make due, none or one for each of `on`. (k,) errors, 0 or 1, are of whichever rows were labelled
        since; rows may then be (0, c). Raises ValueError, naming the fault, for input that is not finite;
        nothing has been taken then."""
        on = self._calibration.settings.on
        values = checked(rows, self._calibration.channels, "rows", 0)
        given: dict[DriftStream, NDArray[np.float64]] = {"features": values}
        if scores is not None and "scores" in on:
            given["scores"] = _column(scores, "scores", len(values))
        if errors is not None and "errors" in on:
            given["errors"] = _column(errors, "errors", None)
        moments = _moments(times, len(values))
        found = (self._take(one, given[one], moments) for one in on if one in given)
        return tuple(verdict for verdict in found if verdict)

    def _take(
        self, on: DriftStream, values: NDArray[np.float64], moments: NDArray[np.float64]
    ) -> Verdict | None:
        if on != "errors":
            return self._watches[on].take(values, moments)
        if on not in self._watches:
            values = self._learn_errors(values)
        watch = self._watches.get(on)
        return watch.take(values, np.full(len(values), np.nan)) if watch else None

    def _learn_errors(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Training knew of no errors: the first window of them is the reference. What is left of them."""
        wanted = error_settings(self._calibration.settings).window
        lack = max(wanted, 30) - len(self._first_errors)
        self._first_errors = np.concatenate([self._first_errors, values[:lack, 0]])
        if lack <= len(values):
            self._watches["errors"] = self._watch("errors")
        return values[lack:]

    def _watch(self, on: DriftStream) -> Watch:
        settings = self._calibration.settings
        if on == "features":
            return Watch(on, self._calibration.channels, self._calibration.parts[on], settings)
        if on == "scores":
            return Watch(on, ("score",), self._calibration.parts[on], settings)
        part = self._calibration.parts.get(on) or of_errors(self._first_errors, settings)
        return Watch(on, ("error",), part, error_settings(settings))

    def state(self) -> bytes:
        """What `restore` needs to go on as if nothing had happened, to the bit."""
        from safetensors.numpy import save

        arrays: dict[str, NDArray[Any]] = {_IDENTITY: self._identity, _FIRST_ERRORS: self._first_errors}
        for on, watch in self._watches.items():
            arrays |= {f"{on}.{key}": np.ascontiguousarray(one) for key, one in watch.state().items()}
        return save(arrays)

    @classmethod
    def restore(cls, calibration: Calibration, state: bytes) -> Self:
        """Raises ValueError for a state that is not of this calibration."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        one = cls(calibration)
        try:
            arrays = load(state)
            if not np.array_equal(arrays[_IDENTITY], one._identity):
                raise ValueError("the state is of another calibration: begin anew")
            one._first_errors = arrays[_FIRST_ERRORS]
            if "errors.rows" in arrays and "errors" not in one._watches:
                one._watches["errors"] = one._watch("errors")
            for on, watch in one._watches.items():
                watch.resume({key.removeprefix(f"{on}."): value for key, value in arrays.items()})
        except (LookupError, SafetensorError) as error:
            raise ValueError(f"this is no monitor's state ({error}): begin anew") from error
        return one


def load_backend() -> None:
    """Imports alibi-detect and torch now (3 to 11 s, half a gigabyte) rather than at the first test."""
    import alibi_detect.cd
    import alibi_detect.cd.pytorch  # noqa: F401


def _identity(calibration: Calibration) -> NDArray[np.uint8]:
    found = hashlib.sha256()
    for content in calibration.pack():
        found.update(content)
    return np.frombuffer(found.digest(), np.uint8)


def _column(values: NDArray[Any], what: str, rows: int | None) -> NDArray[np.float64]:
    column = np.asarray(values, np.float64)
    if column.ndim != 1 or (rows is not None and len(column) != rows):
        raise ValueError(f"{what} have shape {column.shape}: give one for each of {rows} rows")
    if what == "errors" and not np.isin(column, (0.0, 1.0)).all():
        raise ValueError("errors must be 0 or 1: whether each answer was wrong")
    return checked(column[:, None], (what,), what, 0)


def _moments(times: NDArray[Any] | None, rows: int) -> NDArray[np.float64]:
    if times is None:
        return np.full(rows, np.nan)
    values = np.asarray(times, np.float64)
    if values.shape != (rows,):
        raise ValueError(f"times have shape {values.shape} for {rows} rows: give one for each, in seconds")
    return values
