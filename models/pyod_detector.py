"""Any detector of PyOD by its name, kept as the windows that it was fitted on: `pyod:KNN`."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields, make_dataclass
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from typing import Any, ClassVar, Self, cast

import numpy as np
from numpy.typing import NDArray

from .algorithm import Algorithm, Float32Array, Scores, whole
from .batches import batches, drawn, flat
from .contributions import occluded, shares
from .empirical_tails import EmpiricalTails
from .pyod_names import DETECTORS, OURS, REASONS
from .restoring import shape_of, taken

_MOST_CELLS = 2_000_000  # of the stored windows; 8 MB
_MOST_SAMPLES = 2_000
_MOST_WHOLE = 512  # of a parameter that counts: a model is fitted anew whenever it is loaded
_MOST_REAL = 1e6
_STILL = 1e-6  # deviation of a value that never varied
_JITTER = 1e-3  # in scaled units
_EXPECTED = 32  # windows by whose scores a refit is known to be the same
_FARTHEST = 1e100
_MOST_ROUNDS = 100_000  # of a support vector machine
_BREAKS = (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, RuntimeError, AssertionError)
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")


@dataclass
class PyodDetector:
    """A detector of PyOD (Zhao, Nasrullah and Li, JMLR 2019) over flattened windows. `pyod:NAME` makes a
    class of this one whose fields are the parameters that NAME takes in PyOD, besides `samples`.

    A fitted PyOD detector can only be pickled, and a pickle is code. So at most `samples` windows, drawn by
    seed, are kept instead and fitted anew on loading; a few scores are kept with them, and a PyOD that gives
    others is refused. A value that never varied is given 1e-3 of noise before it is fitted, since many
    detectors divide by its spread.

    Range: NAME's own, higher is more anomalous; a score that is no number becomes 1e100. Cost: NAME's own,
    from 10 µs (CBLOF) to 1.2 ms (KDE) a window of 480 values; loading it takes seconds and costs
    a fit. Contributions take a scoring per channel, except ECOD's and COPOD's, which fall into parts.

    Parameters: `samples` (10 to 2,000; fewer when windows are large) and NAME's, whole ones up to 512.

    >>> rows = np.random.default_rng(0).normal(size=(200, 5, 2)).astype(np.float32)
    >>> nearest = detector("KNN")(n_neighbors=3, seed=0)
    >>> nearest.fit(rows)
    >>> bool(nearest.score(rows + 8).min() > nearest.score(rows).max())
    True
    """

    name: ClassVar[str] = "pyod"

    samples: int = 1000
    seed: int = 0
    _shape: tuple[int, int] = field(default=(0, 0), init=False, repr=False)
    _windows: Float32Array = field(
        default_factory=lambda: np.zeros((0, 0), np.float32), init=False, repr=False
    )
    _fitted: Any = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.samples = whole("samples", self.samples, 10, _MOST_SAMPLES)
        self.seed = whole("seed", self.seed, 0, 2**32 - 1)
        for key in self._given():
            setattr(self, key, _plain(key, getattr(self, key)))

    def _given(self) -> dict[str, Any]:
        """The parameters of PyOD's class, as they are set here."""
        own = {one.name for one in fields(PyodDetector)}
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name not in own}

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    def fit(self, windows: Float32Array) -> None:
        n, w, c = windows.shape
        most = DETECTORS[self._kind]
        if w * c > most:
            raise ValueError(
                f"{self.name} takes windows of at most {most} values, these have {w} rows * {c} channels:"
                " shorten the window, or choose another detector"
            )
        chosen = drawn(n, max(10, min(self.samples, _MOST_CELLS // (w * c))), self.seed)
        values = flat(windows[chosen]).astype(np.float32)
        still = values.std(axis=0) < _STILL
        values[:, still] += np.random.default_rng(self.seed).normal(0, _JITTER, (len(values), still.sum()))
        self._shape, self._windows = (w, c), values
        self._refit()

    @property
    def _kind(self) -> str:
        return self.name.partition(":")[2]

    def _refit(self) -> None:
        values = self._windows.astype(np.float64)
        if self._kind in ("ECOD", "COPOD"):
            self._fitted = EmpiricalTails(cast("Any", self._kind), values)
            return
        takes = inspect.signature(_class_of(self._kind)).parameters
        fixed: dict[str, Any] = {"random_state": self.seed} if "random_state" in takes else {}
        if self._kind == "OCSVM":
            fixed["max_iter"] = _MOST_ROUNDS  # else without end
        try:
            with _seeded(self.seed), np.errstate(all="ignore"):
                self._fitted = _class_of(self._kind)(**self._given(), **fixed)
                self._fitted.fit(values)
        except _BREAKS as error:
            raise ValueError(
                f"{self.name} cannot be fitted on {len(values)} windows of {values.shape[1]} values: {error}"
            ) from error

    def score(self, windows: Float32Array) -> Scores:
        if windows.shape[1:] != self._shape:
            raise ValueError(f"windows of {windows.shape[1:]} (rows, channels), fitted on {self._shape}")
        scores = np.empty(len(windows))
        for place, part in batches(windows, self._beside):
            scores[place] = self._of(flat(part))
        return np.nan_to_num(scores, nan=_FARTHEST, posinf=_FARTHEST, neginf=-_FARTHEST)

    @property
    def _beside(self) -> int:
        """Values that are held per window while it is scored."""
        samples, values = self._windows.shape
        return 10 * values if isinstance(self._fitted, EmpiricalTails) else 2 * samples

    def _of(self, values: NDArray[np.float64]) -> Scores:
        if isinstance(self._fitted, EmpiricalTails):
            return np.asarray(self._fitted.parts(values).sum(axis=1))
        with np.errstate(all="ignore"):
            return np.asarray(self._fitted.decision_function(values), np.float64).reshape(len(values))

    def contributions(self, windows: Float32Array) -> Scores:
        if isinstance(self._fitted, EmpiricalTails):
            parts = np.empty((len(windows), self._shape[1]))
            for place, part in batches(windows, self._beside):
                parts[place] = self._fitted.parts(flat(part)).reshape(part.shape).sum(axis=1)
            return shares(parts)
        return occluded(self.score, windows)

    def settings(self) -> dict[str, Any]:
        return {
            "samples": self.samples,
            "seed": self.seed,
            "parameters": self._given(),
            "shape": list(self._shape),
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"windows": self._windows, "expected": self._of(self._windows[:_EXPECTED].astype(np.float64))}

    @classmethod
    def restore(cls, settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        w, c = shape_of(cls.name, settings["shape"])
        one = cls(samples=settings["samples"], seed=settings["seed"], **settings["parameters"])
        count = len(arrays["windows"]) if "windows" in arrays else 1
        kinds = {
            "windows": (np.float32, (None, w * c)),
            "expected": (np.float64, (min(count, _EXPECTED),)),
        }
        held = taken(cls.name, arrays, kinds)
        one._shape, one._windows = (w, c), held["windows"]
        if count > _MOST_SAMPLES or w * c > DETECTORS[one._kind]:
            raise ValueError(f"{cls.name}: the array windows is larger than any that is saved")
        one._refit()
        if not np.allclose(one.arrays()["expected"], held["expected"], rtol=1e-6, atol=1e-9):
            raise ValueError(
                f"{cls.name}: fitted anew, it does not give the scores in the array expected; this is"
                f" pyod {_version()}: fit and save the model with it"
            )
        return one


@cache
def detector(kind: str) -> type[Algorithm]:
    """The class of `pyod:<kind>`, its parameters taken from PyOD's own. ValueError says which names there
    are, or why PyOD's detector of that name is none of them, or that PyOD is not installed."""
    takes = inspect.signature(_class_of(kind)).parameters.values()
    made = [(one.name, Any, field(default=one.default)) for one in takes if one.name not in OURS]
    name = f"pyod:{kind}"
    return cast(
        "type[Algorithm]",
        make_dataclass(f"Pyod{kind}", made, bases=(PyodDetector,), namespace={"name": name}),
    )


@cache
def _class_of(kind: str) -> Any:
    if kind not in DETECTORS:
        near = get_close_matches(kind, [*DETECTORS, *REASONS], n=3, cutoff=0.5) or sorted(DETECTORS)
        why = REASONS.get(kind) or f"choose {', '.join(f'pyod:{one}' for one in near)}"
        raise ValueError(f"no algorithm 'pyod:{kind}': {why}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return getattr(import_module(f"pyod.models.{kind.lower()}"), kind)
    except ImportError as error:
        raise ValueError(f"pyod:{kind} needs PyOD: pip install pyod ({error})") from error


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Some detectors draw from numpy's global state whatever seed they are given: it is lent and put back."""
    before = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before)


def _plain(key: str, value: Any) -> Any:
    """A parameter as PyOD takes it. Katib hands numbers over as text."""
    if isinstance(value, str):
        for kind in (int, float):
            with suppress(ValueError):
                return _plain(key, kind(value))
    plain = value is None or isinstance(value, bool)
    word = isinstance(value, str) and _WORD.fullmatch(value) is not None
    count = isinstance(value, int) and abs(value) <= _MOST_WHOLE
    real = isinstance(value, float) and abs(value) <= _MOST_REAL
    if not (plain or word or count or real):
        raise ValueError(
            f"{key} is {value!r}: give a word, a whole number up to {_MOST_WHOLE} or a real one up to"
            f" {_MOST_REAL:g}"
        )
    return value


def _version() -> str:
    from importlib.metadata import version

    return version("pyod")
