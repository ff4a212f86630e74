"""Dense autoencoder: trained with torch, scored with numpy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from .algorithm import Float32Array, Scores, positive, whole
from .contributions import shares

_LAYERS = 4  # encoder: hidden, latent; decoder: hidden, output
_CHUNK = 2048  # windows scored at once, which bounds the memory
_LEAST_STEPS = 600  # a few hundred windows make few steps per epoch; go round until it has learned
_SELDOM = 0.9  # quantile of a channel's held-back errors that its errors are measured in
_FARTHEST = 8.0  # inputs are softly bounded, in robust units, so that an outlier cannot blow up the net


@dataclass
class Autoencoder:
    """Reconstruction error of a bottleneck network (Sakurada and Yairi, MLSDA 2014): windows unlike those it
    was fitted on come back changed.

    A window of w * c values passes through `hidden`, `latent` and `hidden` units (tanh) and back. Each
    channel's squared error, averaged over the window with the weight on its last rows, is divided by what
    it seldom exceeded (its 0.9 quantile) on windows held back from training; the score is the mean over
    channels of log(1 + that ratio). So neither a noisy channel nor a single one far out drowns the others;
    on SKAB the logarithm lifted average precision from 0.75 to 0.82.

    Range: 0 upwards, below about 0.7 for a normal window. Cost: a window takes 2 * hidden * (w * c + latent)
    multiplications, no torch at scoring time. Deterministic by `seed` on one machine.

    Parameters: `hidden`, `latent` (units), `epochs`, `learning_rate` (Adam), `batch` (windows).

    >>> rows = np.random.default_rng(0).normal(size=(500, 5, 2)).astype(np.float32)
    >>> network = Autoencoder(hidden=8, latent=2, epochs=2, seed=0)
    >>> network.fit(rows)
    >>> bool(network.score(rows + 8).min() > network.score(rows).mean())
    True
    """

    name: ClassVar[str] = "autoencoder"

    hidden: int = 64
    latent: int = 8
    epochs: int = 20
    learning_rate: float = 2e-3
    batch: int = 128
    seed: int = 0
    _shape: tuple[int, int] = field(default=(0, 0), init=False, repr=False)
    _weights: dict[str, Float32Array] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self.hidden = whole("hidden", self.hidden, 1, 4096)
        self.latent = whole("latent", self.latent, 1, 4096)
        self.epochs = whole("epochs", self.epochs, 1, 10_000)
        self.batch = whole("batch", self.batch, 1, 100_000)
        self.learning_rate = positive("learning_rate", self.learning_rate, 1.0)

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    def fit(self, windows: Float32Array) -> None:
        n, w, c = windows.shape
        self._shape = (w, c)
        held = np.zeros(n, bool)
        held[n - max(1, n // 6) :] = n > 1  # the last, for a random share would overlap with what it learns
        self._weights = self._train(_flat(windows[~held]))
        self._weights["usual"] = np.ones(c, np.float32)
        usual = np.concatenate([self._errors(part) for part in _chunks(windows[held if n > 1 else ~held])])
        self._weights["usual"] = np.maximum(np.quantile(usual, _SELDOM, axis=0), 1e-6).astype(np.float32)

    def _train(self, inputs: Float32Array) -> dict[str, Float32Array]:
        import torch

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)
                network = self.network(inputs.shape[1])
                self._descend(network, torch.from_numpy(inputs))
        finally:
            torch.set_num_threads(threads)
        linear = [layer for layer in network if isinstance(layer, torch.nn.Linear)]
        return {
            f"{kind}{place}": np.ascontiguousarray(tensor.detach().numpy())
            for place, layer in enumerate(linear)
            for kind, tensor in (("weight", layer.weight), ("bias", layer.bias))
        }

    def network(self, values: int) -> Any:
        """The torch module, `values` inputs and outputs."""
        from torch.nn import Linear, Sequential, Tanh

        return Sequential(
            Linear(values, self.hidden),
            Tanh(),
            Linear(self.hidden, self.latent),
            Tanh(),
            Linear(self.latent, self.hidden),
            Tanh(),
            Linear(self.hidden, values),
        )

    def _descend(self, network: Any, inputs: Any) -> None:
        import torch

        batch = min(self.batch, len(inputs))
        steps = math.ceil(len(inputs) / batch)
        epochs = max(self.epochs, math.ceil(_LEAST_STEPS / steps))
        optimizer = torch.optim.Adam(network.parameters(), lr=self.learning_rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=self.learning_rate, total_steps=epochs * steps
        )
        for _ in range(epochs):
            order = torch.randperm(len(inputs))
            for start in range(0, len(inputs), batch):
                part = inputs[order[start : start + batch]]
                optimizer.zero_grad()
                loss: Any = torch.nn.functional.mse_loss(network(part), part)
                loss.backward()
                optimizer.step()
                schedule.step()

    def score(self, windows: Float32Array) -> Scores:
        usual = self._weights["usual"]
        scores = [np.log1p(self._errors(part) / usual).mean(axis=1) for part in _chunks(windows)]
        return np.concatenate(scores).astype(np.float64) if scores else np.empty(0)

    def contributions(self, windows: Float32Array) -> Scores:
        return shares(np.log1p(self._errors(windows) / self._weights["usual"]))

    def _errors(self, windows: Float32Array) -> Float32Array:
        """(n, c) squared errors, averaged over the window with more weight on later rows."""
        n, w, c = windows.shape
        inputs = _flat(windows)
        missed = (self.reconstruct(inputs) - inputs).reshape(n, w, c)
        return np.asarray(np.einsum("nwc,w->nc", missed * missed, _emphasis(w)), np.float32)

    def reconstruct(self, inputs: Float32Array) -> Float32Array:
        """(n, w * c) inputs, as the network gives them back."""
        values = inputs
        for place in range(_LAYERS):
            values = values @ self._weights[f"weight{place}"].T + self._weights[f"bias{place}"]
            if place < _LAYERS - 1:
                values = np.tanh(values)
        return values

    def settings(self) -> dict[str, Any]:
        return {
            "hidden": self.hidden,
            "latent": self.latent,
            "epochs": self.epochs,
            "learning_rate": self.learning_rate,
            "batch": self.batch,
            "seed": self.seed,
            "shape": list(self._shape),
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        return dict(self._weights)

    @classmethod
    def restore(cls, settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        rest = dict(settings)
        window, channels = rest.pop("shape")
        network = cls(**rest)
        network._shape = (int(window), int(channels))
        network._weights = network._checked(arrays)
        return network

    def _checked(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, Float32Array]:
        values = self._shape[0] * self._shape[1]
        sizes = [values, self.hidden, self.latent, self.hidden, values]
        expected: dict[str, tuple[int, ...]] = {"usual": (self._shape[1],)}
        for place in range(_LAYERS):
            expected[f"weight{place}"] = (sizes[place + 1], sizes[place])
            expected[f"bias{place}"] = (sizes[place + 1],)
        for key, shape in expected.items():
            if key not in arrays or arrays[key].shape != shape or not np.isfinite(arrays[key]).all():
                raise ValueError(f"autoencoder: the array {key} must be finite and of shape {shape}")
        return {key: np.ascontiguousarray(arrays[key], np.float32) for key in expected}


def _flat(windows: Float32Array) -> Float32Array:
    """(n, w, c) windows as (n, w * c) inputs, softly bounded."""
    flat = np.ascontiguousarray(windows, np.float32).reshape(len(windows), -1)
    return np.asarray(np.arcsinh(flat / _FARTHEST) * _FARTHEST, np.float32)


def _chunks(windows: Float32Array) -> list[Float32Array]:
    return [windows[start : start + _CHUNK] for start in range(0, len(windows), _CHUNK)]


def _emphasis(window: int) -> Float32Array:
    """Weights over a window's rows that sum to 1 and halve every sixth of the window back in time, so that
    an anomaly shows as soon as it begins."""
    weights = np.exp2(-6.0 * np.arange(window)[::-1] / window)
    return np.asarray(weights / weights.sum(), np.float32)
