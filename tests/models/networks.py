"""The networks of every kind, small or as they come, for the tests that ask about all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from homeostat.models.algorithm import create
from homeostat.models.error_detector import ErrorDetector


@dataclass(frozen=True)
class Kind:
    """A network, and the parameters that say how large it is."""

    name: str
    sizes: tuple[str, ...]
    kind: str | None = None

    def unfitted(self, **parameters: Any) -> ErrorDetector:
        seed = parameters.pop("seed", 0)
        chosen = {"kind": self.kind} if self.kind else {}
        one = create(self.name, chosen | parameters, seed)
        assert isinstance(one, ErrorDetector)
        return one

    def fitted(self, made: NDArray[np.float32], **parameters: Any) -> ErrorDetector:
        one = self.unfitted(**{"epochs": 1, "least_steps": 60, "batch": 32} | parameters)
        one.fit(made)
        return one


KINDS = (
    Kind("autoencoder", ("hidden", "latent"), "dense"),
    Kind("autoencoder", ("filters", "latent"), "conv"),
    Kind("lstm-vae", ("hidden", "latent")),
    Kind("gan", ("filters", "latent")),
    Kind("forecaster", ("filters", "horizon"), "cnn"),
    Kind("forecaster", ("hidden", "horizon"), "lstm"),
)
each = pytest.mark.parametrize("kind", KINDS, ids=[f"{one.name}-{one.kind or 'only'}" for one in KINDS])
