"""Recurrent networks, for training with torch; `forward.py` runs them afterwards."""

from __future__ import annotations

from typing import Any

from torch.nn import LSTM, Linear, Module

from .conv_network import before


class VariationalLSTM(Module):
    """An LSTM reads (n, w, c) rows; mean and log-variance of a latent vector come from its last state; a
    second LSTM, fed that vector at every step, tells the rows again."""

    def __init__(self, window: int, channels: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.window = window
        self.encoder = LSTM(channels, hidden, batch_first=True)
        self.mean = Linear(hidden, latent)
        self.log_variance = Linear(hidden, latent)
        self.decoder = LSTM(latent, hidden, batch_first=True)
        self.output = Linear(hidden, channels)

    def encode(self, rows: Any) -> tuple[Any, Any]:
        _, (hidden, _) = self.encoder(rows)
        return self.mean(hidden[0]), self.log_variance(hidden[0])

    def decode(self, latent: Any) -> Any:
        steps = latent[:, None].expand(-1, self.window, -1).contiguous()
        return self.output(self.decoder(steps)[0])

    def forward(self, rows: Any) -> Any:
        """The rows told from the latent mean, without chance."""
        return self.decode(self.encode(rows)[0])


class LSTMForecaster(Module):
    """An LSTM reads the rows before the last `horizon` ones; a dense layer foretells these."""

    def __init__(self, channels: int, hidden: int, horizon: int) -> None:
        super().__init__()
        self.horizon = horizon
        self.encoder = LSTM(channels, hidden, batch_first=True)
        self.output = Linear(hidden, horizon * channels)

    def forward(self, rows: Any) -> Any:
        _, (hidden, _) = self.encoder(before(rows, self.horizon))
        return self.output(hidden[0]).reshape(len(rows), self.horizon, -1)
