"""Autoencoder, dense or convolutional: trained with torch, scored by compiled code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from .algorithm import whole
from .conv_shapes import autoencoder_layers, autoencoder_shapes
from .error_detector import ErrorDetector, Kernel
from .layers import Layer, Shapes, linear, linear_shapes

_DENSE = ("hidden", "latent", "back", "output")


@dataclass
class Autoencoder(ErrorDetector):
    """Reconstruction error of a bottleneck network (Sakurada and Yairi, MLSDA 2014): windows unlike those it
    was fitted on come back changed. How errors become a score, `ErrorDetector` says.

    `dense`: w * c values pass through `hidden`, `latent` and `hidden` units (tanh) and back. `conv`: two
    convolutions over time of `filters` features, each halving the rows, `latent` units, and the same way
    back; it has fewer weights than a dense one over long windows, and knows a pattern wherever it lies.

    Range: 0 upwards, below about 0.7 for a normal window. Cost: a window takes 2 * hidden * (w * c + latent)
    multiplications (dense; 60 x 8: 7 µs) or w * filters * (4 c + 3 filters) and some (conv; 30 µs), and no
    torch. Deterministic by `seed` on one machine. Raises ValueError for a parameter out of its range.

    Parameters: `kind` (`dense` or `conv`), `hidden` (units, of the dense kind), `filters` (of the conv kind),
    `latent` (units), `epochs`, `learning_rate` (Adam), `batch` (windows),
    `least_steps`.

    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(500, 5, 2)).astype(np.float32)
    >>> network = Autoencoder(hidden=8, latent=2, epochs=2, seed=0)
    >>> network.fit(rows)
    >>> bool(network.score(rows + 8).min() > network.score(rows).mean())
    True
    """

    name: ClassVar[str] = "autoencoder"
    _most_steps: ClassVar[int] = 6000

    kind: Literal["dense", "conv"] = "dense"
    hidden: int = 64
    filters: int = 32
    latent: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind not in ("dense", "conv"):
            raise ValueError(f"kind is {self.kind!r}: choose dense or conv")
        self.hidden = whole("hidden", self.hidden, 1, 4096)
        self.filters = whole("filters", self.filters, 1, 1024)
        self.latent = whole("latent", self.latent, 1, 4096)

    def network(self) -> Any:
        if self.kind == "conv":
            from .conv_network import ConvAutoencoder

            return ConvAutoencoder(*self._shape, self.filters, self.latent)
        from torch.nn import Flatten, Linear, Sequential, Tanh, Unflatten

        network = Sequential(Flatten())
        for place, (name, (inputs, outputs)) in enumerate(self._dense().items()):
            if place:
                network.append(Tanh())
            network.add_module(name, Linear(inputs, outputs))
        return network.append(Unflatten(1, self._shape))

    def _dense(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of each dense layer."""
        values = self._shape[0] * self._shape[1]
        sizes = (values, self.hidden, self.latent, self.hidden, values)
        return {name: (sizes[place], sizes[place + 1]) for place, name in enumerate(_DENSE)}

    def _shapes(self) -> Shapes:
        if self.kind == "conv":
            return autoencoder_shapes(*self._shape, self.filters, self.latent)
        return {
            key: size
            for name, sides in self._dense().items()
            for key, size in linear_shapes(name, *sides).items()
        }

    def _compiled(self) -> tuple[Kernel, tuple[Layer, ...]]:
        from . import forward

        if self.kind == "conv":
            return forward.convolutional(), autoencoder_layers(self._arrays)
        return forward.dense(), tuple(linear(self._arrays, name) for name in _DENSE)
