"""Several detectors as one: their scores made comparable, the better ones chosen in training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from .algorithm import Algorithm, Float32Array, Scores, algorithm, create, whole
from .folds import out_of_fold
from .proving import proving_ground, separation
from .restoring import number_of, shape_of

Choice = tuple[str, dict[str, Any], int]
"""A member before it is fitted: its algorithm, parameters, and how many of a window's last rows it sees."""

_CONTRADICTION = 3  # channels: with fewer, what all do together is nearly all there is
_SHARES = (0.8, 0.9)  # of the variance: no data can choose between them without labels
_BAR = "mahalanobis"
_LAGGING = 0.2  # of separation below the bar, on the mean over an algorithm's members; 0.5 would be chance
_TYPICAL, _SELDOM = 0.5, 0.99  # quantiles of out-of-fold scores that become 0 and 1
_LEAST_SPREAD = 1e-6
_MOST_MEMBERS = 64


@dataclass
class Ensemble:
    """The mean of its members' scores (Aggarwal and Sathe, 2015), each brought to one scale: 0 is its median
    and 1 its 0.99 quantile over training windows that it was not fitted on. Scores far out count by their
    logarithm (asinh), so that no member outvotes the others.

    Every algorithm of `members` is fitted on the last w, w/2, w/4, … rows of a window, as many `scales` as
    are asked for: sudden faults show in short windows, slow ones in long ones. Without `members` there are
    two sets. Where channels can contradict each other, it is sub-PCA with 0.8 and with 0.9 of the variance,
    and one Mahalanobis distance for what lies within these components; where there are one or two channels,
    whose main components are all that happens, it is k-means. With `choose`, an algorithm that tells
    synthetic anomalies much worse than the Mahalanobis distance does, which is blind to none, is left out
    (Goswami et al., ICLR 2023): sub-PCA where channels have little to do with each other.

    Range: about 0 for a usual window, 0.9 for one that is rarer than 99 in 100. Cost: that of all members;
    fitting takes five times that, for out-of-fold scores. Deterministic by `seed` on one machine.

    Parameters: `members` (names of algorithms, or none), `scales` (1 to 6), `choose` (1 or 0).

    >>> rows = np.random.default_rng(0).normal(size=(500, 5, 2)).astype(np.float32)
    >>> several = Ensemble(seed=0)
    >>> several.fit(rows)
    >>> bool(several.score(rows + 8).min() > several.score(rows).max())
    True
    """

    name: ClassVar[str] = "ensemble"

    members: Sequence[str] | str = ()
    scales: int = 3
    choose: int = 1
    seed: int = 0
    out_of_fold: Scores | None = field(default=None, init=False, repr=False, compare=False)
    _shape: tuple[int, int] = field(default=(0, 0), init=False, repr=False)
    _fitted: list[tuple[Algorithm, float, float]] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        named = self.members.split(",") if isinstance(self.members, str) else self.members
        self.members = tuple(one.strip() for one in named if one.strip())
        if self.name in self.members:
            raise ValueError(f"members is {', '.join(self.members)}: {self.name} cannot be its own member")
        for one in self.members:
            algorithm(one)
        self.scales = whole("scales", self.scales, 1, 6)
        self.choose = whole("choose", self.choose, 0, 1)

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    def fit(self, windows: Float32Array) -> None:
        """Sets `out_of_fold` too: the (n,) scores that the chosen members gave to windows unseen."""
        self._shape = (windows.shape[1], windows.shape[2])
        choices = self._choices()
        held = [out_of_fold(partial(create, *one[:2], self.seed), windows[:, -one[2] :]) for one in choices]
        fitted: list[tuple[Algorithm, float, float]] = []
        for (kind, parameters, rows), scores in zip(choices, held, strict=True):
            member = create(kind, parameters, self.seed)
            member.fit(windows[:, -rows:])
            middle, seldom = (float(one) for one in np.quantile(scores, [_TYPICAL, _SELDOM]))
            fitted.append((member, middle, max(seldom - middle, _LEAST_SPREAD)))
        kept = self._kept(fitted, held, windows)
        self._fitted = [fitted[place] for place in kept]
        self.out_of_fold = np.mean([_common(held[k], *fitted[k][1:]) for k in kept], axis=0)

    def _choices(self) -> list[Choice]:
        window, channels = self._shape
        rows = sorted({max(1, round(window / 2**scale)) for scale in range(self.scales)})
        if self.members:
            return [(name, {}, one) for name in self.members for one in rows]
        if channels < _CONTRADICTION:
            return [("kmeans-ad", {}, one) for one in rows]
        parts: list[Choice] = [("sub-pca", {"variance": share}, one) for share in _SHARES for one in rows]
        return [*parts, ("mahalanobis", {}, rows[len(rows) // 2])]

    def _kept(
        self, fitted: list[tuple[Algorithm, float, float]], held: list[Scores], windows: Float32Array
    ) -> list[int]:
        """The members of algorithms that tell synthetic anomalies from the windows that they were made of."""
        if not self.choose or len(fitted) == 1:
            return list(range(len(fitted)))
        places, struck = proving_ground(windows, self.seed)
        power: dict[str, list[float]] = {}
        for (one, _, _), scores in zip(fitted, held, strict=True):
            told = separation(scores[places], one.score(struck[:, -one.shape[0] :]))
            power.setdefault(one.name, []).append(told)
        means = {name: float(np.mean(told)) for name, told in power.items()}
        bar = means.get(_BAR, max(means.values())) - _LAGGING
        return [place for place, (one, _, _) in enumerate(fitted) if means[one.name] >= bar]

    def score(self, windows: Float32Array) -> Scores:
        total = np.zeros(len(windows))
        for member, middle, spread in self._fitted:
            total += _common(member.score(windows[:, -member.shape[0] :]), middle, spread)
        return total / max(len(self._fitted), 1)

    def contributions(self, windows: Float32Array) -> Scores:
        """The mean of the members' shares."""
        return np.asarray(
            np.mean([one.contributions(windows[:, -one.shape[0] :]) for one, _, _ in self._fitted], axis=0)
        )

    def settings(self) -> dict[str, Any]:
        return {
            "members": list(self.members),
            "scales": self.scales,
            "choose": self.choose,
            "seed": self.seed,
            "shape": list(self._shape),
            "fitted": [
                {"algorithm": one.name, "middle": middle, "spread": spread, "settings": one.settings()}
                for one, middle, spread in self._fitted
            ],
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Those of the members, as `0.center`: the member's place, and the array's own name."""
        return {
            f"{place}.{key}": array
            for place, (one, _, _) in enumerate(self._fitted)
            for key, array in one.arrays().items()
        }

    @classmethod
    def restore(cls, settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        rest = dict(settings)
        w, c = shape_of(cls.name, rest.pop("shape"))
        stated = rest.pop("fitted")
        if not isinstance(stated, list) or not 0 < len(stated) <= _MOST_MEMBERS:
            raise ValueError(f"{cls.name}: fitted must list 1 to {_MOST_MEMBERS} members")
        one = cls(**rest)
        one._shape = (w, c)
        parts: list[dict[str, NDArray[Any]]] = [{} for _ in stated]
        for key, array in arrays.items():
            place, _, own = key.partition(".")
            if not (place.isdecimal() and int(place) < len(stated) and own):
                raise ValueError(f"{cls.name}: the array {key} belongs to none of its members")
            parts[int(place)][own] = array
        one._fitted = [
            _member(place, member, part, (w, c))
            for place, (member, part) in enumerate(zip(stated, parts, strict=True))
        ]
        return one


def _common(scores: Scores, middle: float, spread: float) -> Scores:
    return np.asarray(np.arcsinh((scores - middle) / spread))


def _member(
    place: int, stated: Any, arrays: Mapping[str, NDArray[Any]], shape: tuple[int, int]
) -> tuple[Algorithm, float, float]:
    if not isinstance(stated, dict) or set(stated) != {"algorithm", "middle", "spread", "settings"}:
        raise ValueError(f"ensemble: member {place} must state algorithm, middle, spread and settings")
    if stated["algorithm"] == Ensemble.name:
        raise ValueError(f"ensemble: member {place} is an ensemble itself")
    one = algorithm(str(stated["algorithm"])).restore(stated["settings"], arrays)
    if one.shape[0] > shape[0] or one.shape[1] != shape[1]:
        raise ValueError(f"ensemble: member {place} sees windows of {one.shape}, the ensemble {shape}")
    middle = number_of("ensemble", f"fitted.{place}.middle", stated["middle"], -1e12, 1e12)
    return one, middle, number_of("ensemble", f"fitted.{place}.spread", stated["spread"], 1e-12, 1e12)
