"""Convolutional networks over time, for training with torch; `forward.py` runs them afterwards."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import Conv1d, Linear, Module

from .conv_shapes import quartered
from .layers import TAPS


class Halving(Module):
    """(n, w, c) rows through two convolutions of stride 2 to (n, w/4 * filters) features."""

    def __init__(self, channels: int, filters: int) -> None:
        super().__init__()
        self.first = Conv1d(channels, filters, TAPS, stride=2, padding=1)
        self.second = Conv1d(filters, filters, TAPS, stride=2, padding=1)

    def forward(self, rows: Any) -> Any:
        half = torch.tanh(self.first(rows.transpose(1, 2)))
        return torch.tanh(self.second(half)).transpose(1, 2).flatten(1)


class ConvAutoencoder(Module):
    """Halving, a bottleneck of `latent` units, and convolutions over rows taken twice, back to (n, w, c)."""

    def __init__(self, window: int, channels: int, filters: int, latent: int) -> None:
        super().__init__()
        self.window = window
        features = quartered(window) * filters
        self.halve = Halving(channels, filters)
        self.latent = Linear(features, latent)
        self.back = Linear(latent, features)
        self.coarse = Conv1d(filters, filters, TAPS, padding=1)
        self.output = Conv1d(filters, channels, TAPS, padding=1)

    def forward(self, rows: Any) -> Any:
        quarter = torch.tanh(self.back(torch.tanh(self.latent(self.halve(rows)))))
        grid = quarter.reshape(len(rows), quartered(self.window), -1).transpose(1, 2)
        half = torch.tanh(self.coarse(_twice(grid, (self.window + 1) // 2)))
        return self.output(_twice(half, self.window)).transpose(1, 2)


class ConvForecaster(Module):
    """Halving of the rows before the last `horizon` ones, and a dense layer that foretells these."""

    def __init__(self, window: int, channels: int, filters: int, horizon: int) -> None:
        super().__init__()
        self.horizon = horizon
        self.halve = Halving(channels, filters)
        self.output = Linear(quartered(max(window - horizon, 1)) * filters, horizon * channels)

    def forward(self, rows: Any) -> Any:
        return self.output(self.halve(before(rows, self.horizon))).reshape(len(rows), self.horizon, -1)


class Discriminator(Module):
    """Features of a window, and from them the odds that it is a real one."""

    def __init__(self, window: int, channels: int, filters: int) -> None:
        super().__init__()
        self.halve = Halving(channels, filters)
        self.odds = Linear(quartered(window) * filters, 1)

    def forward(self, rows: Any) -> Any:
        return self.odds(self.halve(rows))


def before(rows: Any, horizon: int) -> Any:
    """The rows that a forecast starts from; where there are none, one row at its channels' centres, 0."""
    past = rows[:, : rows.shape[1] - horizon]
    return past if past.shape[1] else torch.zeros_like(rows[:, :1])


def _twice(rows: Any, length: int) -> Any:
    return rows.repeat_interleave(2, dim=2)[:, :, :length]
