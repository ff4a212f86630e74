"""Adversarial reconstruction: a convolutional autoencoder that a discriminator teaches what is real."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from .algorithm import positive, whole
from .conv_shapes import autoencoder_layers, autoencoder_shapes
from .descent import Player
from .error_detector import ErrorDetector, Kernel
from .layers import Layer, Shapes


@dataclass
class Gan(ErrorDetector):
    """Reconstruction error of an adversarially trained autoencoder (BeatGAN; Zhou et al., IJCAI 2019). A
    discriminator learns to tell windows from their reconstructions; the autoencoder learns to lower squared
    error + `adversarial` * squared difference of the discriminator's features. Matching features rather than
    fooling the discriminator is what keeps the two from swinging. How errors become a score,
    `ErrorDetector` says; the discriminator has no part in it.

    Range: 0 upwards, below about 0.7 for a normal window. Cost: that of a convolutional autoencoder, and no
    torch (60 x 8: 30 µs); training takes twice its time. Deterministic by `seed` on one machine. Raises
    ValueError for a parameter out of its range.

    Parameters: `filters` (of both networks), `latent` (units), `adversarial` (weight of the features),
    `epochs`, `learning_rate` (Adam), `batch` (windows),
    `least_steps`.

    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(500, 5, 2)).astype(np.float32)
    >>> network = Gan(filters=8, latent=2, epochs=2, seed=0)
    >>> network.fit(rows)
    >>> bool(network.score(rows + 8).min() > network.score(rows).mean())
    True
    """

    name: ClassVar[str] = "gan"
    _most_steps: ClassVar[int] = 2000

    batch: int = 32
    filters: int = 32
    latent: int = 8
    adversarial: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.filters = whole("filters", self.filters, 1, 1024)
        self.latent = whole("latent", self.latent, 1, 4096)
        self.adversarial = positive("adversarial", self.adversarial, 1e3)

    def network(self) -> Any:
        from .conv_network import ConvAutoencoder

        return ConvAutoencoder(*self._shape, self.filters, self.latent)

    def _players(self, network: Any) -> Sequence[Player]:
        import torch

        from .conv_network import Discriminator

        discriminator = Discriminator(*self._shape, self.filters)
        judged = torch.nn.functional.binary_cross_entropy_with_logits

        def discern(batch: Any) -> Any:
            with torch.no_grad():
                told = network(batch)
            real, unreal = discriminator(batch), discriminator(told)
            return judged(real, torch.ones_like(real)) + judged(unreal, torch.zeros_like(unreal))

        def reconstruct(batch: Any) -> Any:
            told = network(batch)
            with torch.no_grad():
                features = discriminator.halve(batch)
            apart = (discriminator.halve(told) - features).square().mean()
            return (told - batch).square().mean() + self.adversarial * apart

        return [(list(discriminator.parameters()), discern), (list(network.parameters()), reconstruct)]

    def _shapes(self) -> Shapes:
        return autoencoder_shapes(*self._shape, self.filters, self.latent)

    def _compiled(self) -> tuple[Kernel, tuple[Layer, ...]]:
        from . import forward

        return forward.convolutional(), autoencoder_layers(self._arrays)
