"""Variational autoencoder of LSTMs: trained with torch, scored by compiled code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from .algorithm import positive, whole
from .descent import Player
from .error_detector import ErrorDetector, Kernel
from .layers import Layer, Shapes, joint, linear, linear_shapes, lstm, lstm_shapes


@dataclass
class LstmVae(ErrorDetector):
    """Reconstruction error of a recurrent variational autoencoder (Park, Hoshi and Kemp, RA-L 2018): an LSTM
    reads the window into a gaussian over `latent` values, a second LSTM tells it again from them. How errors
    become a score, `ErrorDetector` says; scoring takes the gaussian's mean, so it is without chance.

    Training lowers squared error / 2 + `kl_weight` * divergence from the standard gaussian, of which each
    latent value has `free_bits` for nothing (Kingma et al., NeurIPS 2016), so that the decoder does not learn
    to do without it.

    Range: 0 upwards, below about 0.7 for a normal window. Cost: a window takes 4 * w * hidden *
    (c + 2 * hidden) multiplications, and no torch (60 x 8: 50 µs). Deterministic by `seed` on one machine.
    Raises ValueError for a parameter out of its range.

    Parameters: `hidden` (units of both LSTMs), `latent`, `kl_weight`, `free_bits` (nats), `epochs`,
    `learning_rate` (Adam), `batch` (windows),
    `least_steps`.

    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(500, 5, 2)).astype(np.float32)
    >>> network = LstmVae(hidden=8, latent=2, epochs=2, seed=0)
    >>> network.fit(rows)
    >>> bool(network.score(rows + 8).min() > network.score(rows).mean())
    True
    """

    name: ClassVar[str] = "lstm-vae"
    _most_steps: ClassVar[int] = 2000

    epochs: int = 10
    learning_rate: float = 5e-3
    batch: int = 32
    least_steps: int = 500
    hidden: int = 32
    latent: int = 8
    kl_weight: float = 0.1
    free_bits: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        self.hidden = whole("hidden", self.hidden, 1, 1024)
        self.latent = whole("latent", self.latent, 1, 1024)
        self.kl_weight = positive("kl_weight", self.kl_weight, 1e3)
        self.free_bits = positive("free_bits", self.free_bits, 1e3)

    def network(self) -> Any:
        from .lstm_network import VariationalLSTM

        return VariationalLSTM(*self._shape, self.hidden, self.latent)

    def _players(self, network: Any) -> Sequence[Player]:
        import torch

        def loss(batch: Any) -> Any:
            mean, log_variance = network.encode(batch)
            log_variance = log_variance.clamp(-12.0, 12.0)
            latent = mean + torch.randn_like(mean) * torch.exp(log_variance / 2)
            missed = (network.decode(latent) - batch).square().mean()
            nats = (mean.square() + log_variance.exp() - 1 - log_variance).mean(dim=0) / 2
            paid = nats.clamp_min(self.free_bits).sum()
            return missed + 2 * self.kl_weight * paid / batch[0].numel()

        return [(list(network.parameters()), loss)]

    def _shapes(self) -> Shapes:
        channels = self._shape[1]
        return (
            lstm_shapes("encoder", channels, self.hidden)
            | linear_shapes("mean", self.hidden, self.latent)
            | lstm_shapes("decoder", self.latent, self.hidden)
            | linear_shapes("output", self.hidden, channels)
        )

    def _compiled(self) -> tuple[Kernel, tuple[Layer, ...]]:
        from . import forward

        encoder, decoder = joint(lstm(self._arrays, "encoder")), lstm(self._arrays, "decoder")
        return forward.recurrent(), (
            encoder,
            linear(self._arrays, "mean"),
            *decoder,
            linear(self._arrays, "output"),
        )
