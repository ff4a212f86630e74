"""The maths: arrays in, arrays out. One file per algorithm; what they share lies beside them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

ALGORITHMS: Mapping[str, str] = MappingProxyType(
    {
        "isolation-forest": "homeostat.models.isolation_forest:IsolationForest",
        "autoencoder": "homeostat.models.autoencoder:Autoencoder",
        "lstm-vae": "homeostat.models.lstm_vae:LstmVae",
        "gan": "homeostat.models.gan:Gan",
        "forecaster": "homeostat.models.forecaster:Forecaster",
        "one-class-svm": "homeostat.models.one_class_svm:OneClassSVM",
        "kmeans-ad": "homeostat.models.kmeans_ad:KMeansAD",
        "matrix-profile": "homeostat.models.matrix_profile:MatrixProfile",
        "mahalanobis": "homeostat.models.mahalanobis:Mahalanobis",
        "sub-pca": "homeostat.models.sub_pca:SubPCA",
        "ensemble": "homeostat.models.ensemble:Ensemble",
        "seasonal": "homeostat.models.seasonal:Seasonal",
    }
)
"""Every detector by its name, as `module:class`, loaded when it is first asked for."""

FAMILIES: Mapping[str, str] = MappingProxyType({"pyod": "homeostat.models.pyod_detector:detector"})
"""Detectors that another library names, as in `pyod:KNN`: the function that makes a class of such a name."""
