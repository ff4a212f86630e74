"""Forecast residuals of a convolutional or recurrent network: trained with torch, scored by compiled code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from .algorithm import whole
from .conv_shapes import halving_layers, halving_shapes, quartered
from .error_detector import ErrorDetector, Kernel
from .layers import Layer, Shapes, joint, linear, linear_shapes, lstm, lstm_shapes


@dataclass
class Forecaster(ErrorDetector):
    """Residuals of a forecast (DeepAnT; Munir, Siddiqui, Dengel and Ahmed, IEEE Access 2019): the window's
    last `horizon` rows, foretold from those before them by a network that has seen only normal ones. How
    residuals become a score, `ErrorDetector` says.

    `cnn`: two convolutions over time of `filters` features, each halving the rows, and a dense layer.
    `lstm`: the last state of an LSTM of `hidden` units, and a dense layer. A window of w rows foretells at
    most w - 1; one of a single row has no past, so the forecast is what the row mostly was in training.

    Range: 0 upwards, below about 0.7 for a normal window. Cost: a window takes about 3 * w * filters *
    (c / 2 + filters / 4) multiplications (cnn; 60 x 8: 11 µs) or 4 * w * hidden * (c + hidden) (lstm; 25 µs),
    and no torch. Deterministic by `seed` on one machine. Raises ValueError for a parameter out of its range.

    Parameters: `kind` (`cnn` or `lstm`), `horizon` (rows), `filters` (of the cnn kind), `hidden` (units, of
    the lstm kind), `epochs`, `learning_rate` (Adam), `batch` (windows),
    `least_steps`.

    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(500, 5, 2)).astype(np.float32)
    >>> network = Forecaster(filters=8, epochs=2, seed=0)
    >>> network.fit(rows)
    >>> bool(network.score(rows + 8).min() > network.score(rows).mean())
    True
    """

    name: ClassVar[str] = "forecaster"
    _most_steps: ClassVar[int] = 4000

    batch: int = 64
    kind: Literal["cnn", "lstm"] = "cnn"
    horizon: int = 5
    filters: int = 32
    hidden: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind not in ("cnn", "lstm"):
            raise ValueError(f"kind is {self.kind!r}: choose cnn or lstm")
        self.horizon = whole("horizon", self.horizon, 1, 10_000)
        self.filters = whole("filters", self.filters, 1, 1024)
        self.hidden = whole("hidden", self.hidden, 1, 1024)

    def _answered(self) -> int:
        return max(1, min(self.horizon, self._shape[0] - 1))

    def network(self) -> Any:
        if self.kind == "cnn":
            from .conv_network import ConvForecaster

            return ConvForecaster(*self._shape, self.filters, self._answered())
        from .lstm_network import LSTMForecaster

        return LSTMForecaster(self._shape[1], self.hidden, self._answered())

    def _shapes(self) -> Shapes:
        window, channels = self._shape
        values = self._answered() * channels
        if self.kind == "cnn":
            past = max(window - self._answered(), 1)
            return halving_shapes(channels, self.filters) | linear_shapes(
                "output", quartered(past) * self.filters, values
            )
        return lstm_shapes("encoder", channels, self.hidden) | linear_shapes("output", self.hidden, values)

    def _compiled(self) -> tuple[Kernel, tuple[Layer, ...]]:
        from . import forward

        output = linear(self._arrays, "output")
        if self.kind == "cnn":
            return forward.convolutional_forecast(), (*halving_layers(self._arrays), output)
        return forward.recurrent_forecast(), (joint(lstm(self._arrays, "encoder")), output)
