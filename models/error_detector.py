"""What detectors share that score a window by a network's errors on it: training, scaling, scoring, state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from .algorithm import Float32Array, Scores, positive, whole
from .batches import batches
from .contributions import shares
from .descent import Pace, Player, descend, seeded
from .layers import Layer, Shapes
from .restoring import shape_of, taken

Kernel = Callable[..., None]

_SELDOM = 0.9  # quantile of a channel's held-back errors that its errors are measured in
_LEAST = 1e-6  # of it; a constant channel has no errors to measure in


@dataclass
class ErrorDetector(ABC):
    """A network answers for the last rows of a window, all of them or some. Each channel's squared error,
    averaged over those rows with the weight on the last, is divided by what it seldom exceeded (its 0.9
    quantile) on windows held back from training; the score is the mean over channels of log(1 + that ratio).
    So neither a noisy channel nor a single one far out drowns the others; on SKAB the logarithm lifted the
    dense autoencoder's average precision from 0.75 to 0.82.

    Training takes `epochs` rounds of the windows in batches of `batch`, but `least_steps` steps at least, for
    few windows make few, and no more than bound the time.

    Torch trains, compiled code scores: a window's score is the same to the last bit whichever windows come
    with it, and equals torch's within 1e-4.
    """

    name: ClassVar[str]
    _most_steps: ClassVar[int]

    epochs: int = 20
    learning_rate: float = 2e-3
    batch: int = 128
    least_steps: int = 600
    seed: int = 0
    _shape: tuple[int, int] = field(default=(0, 0), init=False, repr=False)
    _arrays: dict[str, Float32Array] = field(default_factory=dict, init=False, repr=False)
    _ready: tuple[Kernel, tuple[Layer, ...], Float32Array] | None = field(
        default=None, init=False, repr=False
    )

    def __post_init__(self) -> None:
        self.epochs = whole("epochs", self.epochs, 1, 10_000)
        self.batch = whole("batch", self.batch, 1, 100_000)
        self.least_steps = whole("least_steps", self.least_steps, 1, 100_000)
        self.learning_rate = positive("learning_rate", self.learning_rate, 1.0)

    @abstractmethod
    def network(self) -> Any:
        """The untrained torch module: (n, w, c) bounded windows in, answers for their last r rows (n, r, c)
        out. Its state holds the arrays of `_shapes`."""

    @abstractmethod
    def _shapes(self) -> Shapes:
        """The network's arrays by name, for windows of `_shape`."""

    @abstractmethod
    def _compiled(self) -> tuple[Kernel, tuple[Layer, ...]]:
        """The network as compiled code, and its layers as that code takes them."""

    def _answered(self) -> int:
        """r, how many of a window's rows the network answers for."""
        return self._shape[0]

    def _players(self, network: Any) -> Sequence[Player]:
        """Who lowers which loss in training; here the network its mean squared error."""
        import torch

        def loss(batch: Any) -> Any:
            return torch.nn.functional.mse_loss(network(batch), batch[:, -self._answered() :])

        return [(list(network.parameters()), loss)]

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    def fit(self, windows: Float32Array) -> None:
        n, w, c = windows.shape
        if n == 0:
            raise ValueError(f"{self.name}: windows is empty: give at least one window of {w} rows")
        self._shape = (w, c)
        # The last are held back, for a random share would overlap with what the network learns.
        learnt = n - n // 6 - (1 < n < 6)
        with seeded(self.seed):
            network = self.network()
            pace = Pace(self.epochs, self.learning_rate, self.batch, self.least_steps, self._most_steps)
            descend(self._players(network), windows[:learnt], pace)
        state = {key: value.detach().numpy().copy() for key, value in network.state_dict().items()}
        self._arrays = {key: state[key] for key in self._shapes()}
        self._ready = None
        errors = self._errors(windows[learnt:] if n > 1 else windows)
        self._arrays["usual"] = np.maximum(np.quantile(errors, _SELDOM, axis=0), _LEAST).astype(np.float32)

    def score(self, windows: Float32Array) -> Scores:
        from .forward import mean_log_ratio

        scores = np.empty(len(windows))
        mean_log_ratio()(self._errors(windows), self._arrays["usual"], scores)
        return scores

    def contributions(self, windows: Float32Array) -> Scores:
        return shares(np.log1p(self._errors(windows) / self._arrays["usual"]))

    def _errors(self, windows: Float32Array) -> Float32Array:
        """(n, c) squared errors, averaged over the answered rows with more weight on later ones."""
        if windows.shape[1:] != self._shape:  # compiled code checks no bounds
            raise ValueError(f"windows of {windows.shape[1:]} (rows, channels), fitted on {self._shape}")
        if self._ready is None:
            self._ready = (*self._compiled(), emphasis(self._answered()))
        kernel, layers, weights = self._ready
        errors = np.empty((len(windows), self._shape[1]), np.float32)
        if windows.dtype == np.float32:
            kernel(windows, layers, weights, errors)
        else:
            for place, part in batches(windows):
                kernel(np.asarray(part, np.float32), layers, weights, errors[place])
        return errors

    def settings(self) -> dict[str, Any]:
        parameters = {one.name: getattr(self, one.name) for one in fields(self) if one.init}
        return parameters | {"shape": list(self._shape)}

    def arrays(self) -> dict[str, NDArray[Any]]:
        return dict(self._arrays)

    @classmethod
    def restore(cls, settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        rest = dict(settings)
        shape = shape_of(cls.name, rest.pop("shape", None))
        known = {one.name for one in fields(cls) if one.init}
        if set(rest) != known:
            odd = ", ".join(sorted(set(rest) ^ known))
            raise ValueError(f"{cls.name}: settings lack, or should not have, {odd}: fit and save it again")
        detector = cls(**rest)
        detector._shape = shape
        kinds = {key: (np.float32, size) for key, size in detector._shapes().items()}
        detector._arrays = taken(cls.name, arrays, {**kinds, "usual": (np.float32, (shape[1],))})
        if (detector._arrays["usual"] < _LEAST / 2).any():
            raise ValueError(f"{cls.name}: the array usual must be above 0: fit and save it again")
        return detector


def emphasis(rows: int) -> Float32Array:
    """Weights over a window's rows that sum to 1 and halve every sixth of the window back in time, so that
    an anomaly shows as soon as it begins.

    >>> emphasis(6).round(2).tolist()
    [0.02, 0.03, 0.06, 0.13, 0.25, 0.51]
    """
    weights = np.exp2(-6.0 * np.arange(rows)[::-1] / rows)
    return np.asarray(weights / weights.sum(), np.float32)
