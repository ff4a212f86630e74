"""A trained layer's arrays: the shapes that torch gives them, and the form that the compiled code takes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .algorithm import Float32Array

Arrays = Mapping[str, Float32Array]
Shapes = dict[str, tuple[int, ...]]
Layer = tuple[Float32Array, Float32Array]
"""A weight of (inputs, outputs) and a bias of (outputs,)."""

FARTHEST = 8.0
"""Where the bound on a network's inputs turns from linear to logarithmic, in robust units: no outlier can
blow it up."""

TAPS = 3  # rows that a convolution sees at once


def linear_shapes(name: str, inputs: int, outputs: int) -> Shapes:
    """
    >>> linear_shapes("latent", 64, 8)
    {'latent.weight': (8, 64), 'latent.bias': (8,)}
    """
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def convolution_shapes(name: str, inputs: int, outputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs, TAPS), f"{name}.bias": (outputs,)}


def lstm_shapes(name: str, inputs: int, hidden: int) -> Shapes:
    gates = 4 * hidden
    return {
        f"{name}.weight_ih_l0": (gates, inputs),
        f"{name}.weight_hh_l0": (gates, hidden),
        f"{name}.bias_ih_l0": (gates,),
        f"{name}.bias_hh_l0": (gates,),
    }


def linear(arrays: Arrays, name: str) -> Layer:
    return _layer(arrays[f"{name}.weight"].T, arrays[f"{name}.bias"])


def convolution(arrays: Arrays, name: str) -> Layer:
    """Three rows side by side in, one row out."""
    weight = arrays[f"{name}.weight"]
    return _layer(weight.transpose(2, 1, 0).reshape(-1, len(weight)), arrays[f"{name}.bias"])


def lstm(arrays: Arrays, name: str) -> tuple[Layer, Layer]:
    """What the input gives to the gates, and what the hidden state gives; both biases are the input's."""
    bias = arrays[f"{name}.bias_ih_l0"] + arrays[f"{name}.bias_hh_l0"]
    halved = np.full(len(bias), 0.5, np.float32)  # exact; see forward._recur
    halved[len(bias) // 2 : 3 * len(bias) // 4] = 1.0
    return (
        _layer(arrays[f"{name}.weight_ih_l0"].T * halved, bias * halved),
        _layer(arrays[f"{name}.weight_hh_l0"].T * halved, np.zeros_like(bias)),
    )


def joint(layers: tuple[Layer, Layer]) -> Layer:
    """An LSTM's two layers as one, over the input and the hidden state side by side."""
    (weight, bias), (recurrent, _) = layers
    return _layer(np.concatenate([weight, recurrent]), bias)


def _layer(weight: Float32Array, bias: Float32Array) -> Layer:
    return np.ascontiguousarray(weight, np.float32), np.ascontiguousarray(bias, np.float32)
