"""The words that a fit chooses from, here without numpy so that a Detector's spec can offer the same ones."""

from __future__ import annotations

from typing import Literal

ScalerKind = Literal["robust", "standard", "none"]
DecomposeKind = Literal["none", "stl", "mstl"]
ThresholdKind = Literal["spot", "conformal", "blocked"]
DriftKind = Literal["mmd", "ks", "cvm", "lsdd", "chi2", "mmd-online", "lsdd-online", "cvm-online"]
DriftStream = Literal["features", "scores", "errors"]
CorrectionKind = Literal["bonferroni", "fdr"]
