"""Which of PyOD's detectors may be asked for, and why others may not."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_ANY = 1_000_000

DETECTORS: Mapping[str, int] = MappingProxyType(
    {
        "ABOD": _ANY,
        "CBLOF": _ANY,
        "COPOD": _ANY,
        "ECOD": _ANY,
        "GMM": 256,
        "HBOS": _ANY,
        "HDBSCAN": _ANY,
        "IForest": _ANY,
        "INNE": _ANY,
        "KDE": _ANY,
        "KNN": _ANY,
        "KPCA": _ANY,
        "LODA": _ANY,
        "LOF": _ANY,
        "MCD": 128,
        "OCSVM": _ANY,
        "PCA": _ANY,
        "Sampling": _ANY,
    }
)
"""The detectors, and of how many values a window may be at most, where their cost grows with its cube. Each
is `pyod.models.<lower case>:<name>`; nothing else of PyOD is imported by name."""

_BATCH = "it judges a batch of windows by itself, not by what it was fitted on"
_SERIES = "it takes whole series, not windows"
_TORCH = "it is a network, which no refit repeats to the last bit: choose autoencoder, lstm-vae or gan"
_PARTS = "it is made of other detectors: choose ensemble"
_SLOW = "it takes minutes for a few hundred windows"

REASONS: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(("CD", "COF", "LMDD", "QMCD", "ROD", "SOD", "SOS"), _BATCH)
    | dict.fromkeys(("KShape", "MatrixProfile", "SAND", "SpectralResidual", "TimeSeriesOD"), _SERIES)
    | dict.fromkeys(("AE1SVM", "ALAD", "AnoGAN", "AutoEncoder", "DeepSVDD", "DevNet", "DIF", "LUNAR"), _TORCH)
    | dict.fromkeys(("MO_GAAL", "SO_GAAL", "VAE", "LSTMAD", "AnomalyTransformer"), _TORCH)
    | dict.fromkeys(("FeatureBagging", "LSCP", "SUOD"), _PARTS)
    | dict.fromkeys(("LOCI", "RGraph"), _SLOW)
    | {"MAD": "it takes a single value, not a window", "XGBOD": "it needs labels"}
)
"""Why a detector that PyOD has is not among them."""

# fmt: off
OURS = frozenset(
    {
        "behaviour", "cache_size", "check_estimator", "clustering_estimator", "contamination", "copy",
        "copy_X", "eigen_solver", "iterated_power", "kernel_params", "max_iter", "means_init",
        "metric_params", "n_init", "n_jobs", "novelty", "precisions_init", "random_state",
        "remove_zero_eig", "store_precision", "svd_solver", "verbose", "warm_start", "weights_init",
    }
)
# fmt: on
"""Parameters that are not the user's: those that take no plain value, that would change what a score is
compared with, or that decide how long fitting may take."""
