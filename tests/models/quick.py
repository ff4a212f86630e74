"""Parameters with which each algorithm fits within a second, for tests that ask about all of them."""

from __future__ import annotations

from typing import Any

QUICK: dict[str, dict[str, Any]] = {
    "isolation-forest": {"trees": 50},
    "autoencoder": {"epochs": 2, "hidden": 16, "latent": 3},
    "lstm-vae": {"epochs": 1, "hidden": 8, "latent": 3, "least_steps": 200},
    "gan": {"epochs": 1, "filters": 8, "latent": 3, "least_steps": 100},
    "forecaster": {"epochs": 1, "filters": 8, "least_steps": 300},
    "one-class-svm": {"exact": 1000, "landmarks": 100},
    "kmeans-ad": {"clusters": 8},
    "matrix-profile": {"stored": 300},
    "seasonal": {},
    "sub-pca": {},
    "mahalanobis": {},
    "ensemble": {"scales": 2},
}
