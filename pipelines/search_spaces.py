"""What of a candidate is worth searching, as data: the parameters of each algorithm with their ranges, and
what all of them share, how rows are prepared and when scores become alarms.

Ranges lie around the defaults, which do well untuned; they are bounded by what a trial can afford.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Axis:
    """One parameter. `log`: what counts is by how many times it is larger, not by how much."""

    kind: Literal["int", "double", "categorical"]
    low: float = 0
    high: float = 0
    log: bool = False
    values: tuple[str, ...] = ()

    def points(self) -> tuple[str, ...]:
        """Three places on it, for a search that needs a list: the ends and the middle."""
        if self.kind == "categorical":
            return self.values
        middle = (self.low * self.high) ** 0.5 if self.log else (self.low + self.high) / 2
        every = (self.low, middle, self.high)
        return tuple(dict.fromkeys(text(round(one) if self.kind == "int" else one) for one in every))


def text(number: float) -> str:
    """A number as Katib takes it."""
    return f"{number:.6g}"


def whole(low: float, high: float, log: bool = False) -> Axis:
    return Axis("int", low, high, log)


def real(low: float, high: float, log: bool = False) -> Axis:
    return Axis("double", low, high, log)


def one_of(*values: str) -> Axis:
    return Axis("categorical", values=values)


_PACE = {"learning_rate": real(3e-4, 1e-2, log=True)}

SPACES: Mapping[str, Mapping[str, Axis]] = MappingProxyType(
    {
        "isolation-forest": {"trees": whole(50, 400), "max_samples": whole(64, 2048, log=True)},
        # `nu` is the share of the fitted rows that may lie outside: what others call contamination.
        "one-class-svm": {"nu": real(0.005, 0.3, log=True), "gamma": real(0.1, 10, log=True)},
        "kmeans-ad": {"clusters": whole(4, 100, log=True)},
        "matrix-profile": {"level": real(0.1, 10, log=True)},
        "sub-pca": {"variance": real(0.6, 0.99), "statistic": one_of("q", "t2", "both")},
        "ensemble": {"scales": whole(1, 4), "choose": whole(0, 1)},
        "mahalanobis": {},
        "seasonal": {},
        "autoencoder": {
            **_PACE,
            "kind": one_of("dense", "conv"),
            "hidden": whole(16, 256, log=True),
            "filters": whole(8, 64, log=True),
            "latent": whole(2, 32, log=True),
        },
        "lstm-vae": {
            **_PACE,
            "hidden": whole(16, 96, log=True),
            "latent": whole(2, 32, log=True),
            "kl_weight": real(0.01, 1, log=True),
        },
        "gan": {
            **_PACE,
            "filters": whole(8, 64, log=True),
            "latent": whole(2, 32, log=True),
            "adversarial": real(0.1, 10, log=True),
        },
        "forecaster": {
            **_PACE,
            "kind": one_of("cnn", "lstm"),
            "horizon": whole(1, 5),
            "filters": whole(8, 64, log=True),
            "hidden": whole(16, 64, log=True),
        },
    }
)
"""By algorithm. One of another library (`pyod:KNN`) has only what all share."""

RESOURCES: Mapping[str, Axis] = MappingProxyType(
    dict.fromkeys(("autoencoder", "lstm-vae", "gan", "forecaster"), whole(1, 9))
)
"""How many epochs hyperband may give, where there are any."""


def space(algorithm: str, spec: Mapping[str, Any]) -> dict[str, Axis]:
    """The axes of one candidate of a Detector. A threshold is searched only where the gate's metric can tell:
    the others rank scores, whatever the threshold."""
    gate, window = spec["gate"], int(spec["features"]["window"])
    shared = {
        "window": whole(max(1, window // 4), max(8, 2 * window), log=True),
        "scaler": one_of("robust", "standard"),
        "smoothing": whole(1, 10),
    }
    if gate["metric"] == "f1":
        most = max(0.002, float(gate["max_false_alarm_rate"]))
        shared["false_alarm_rate"] = real(0.001, most, log=True)
    return shared | dict(SPACES.get(algorithm, {}))
