"""Small networks run forward by compiled code, a window at a time: no torch, no copy of overlapping windows.

A window costs what its multiplications cost, for nothing is allocated, dispatched or recorded on the way.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .activations import bound, tanh
from .kernels import ERRORS, FLOATS, MATRIX, SCORES, WINDOWS, compiled, layers_of, part, summed

_NARROW = 16  # outputs that are too few to fill vectors
_NONE, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)


# --- parts, compiled into each kernel ----------------------------------------------------------------------
@part
def _read(windows: Any, i: int, x: Any, bits: Any) -> None:
    """Window i, bounded, as w * c values in x."""
    w, c = windows.shape[1:]
    for t in range(w):
        for k in range(c):
            x[t * c + k] = windows[i, t, k]
    bound(x, bits, w * c)


@part
def _affine(x: Any, weight: Any, bias: Any, y: Any) -> None:
    """y = x @ weight + bias, four inputs at a time so that y is read and written a quarter as often."""
    n, m = weight.shape
    for j in range(m):
        y[j] = bias[j]
    fours = n - n % 4
    for i in range(0, fours, 4):
        x0, x1, x2, x3 = x[i], x[i + 1], x[i + 2], x[i + 3]
        for j in range(m):
            y[j] += x0 * weight[i, j] + x1 * weight[i + 1, j] + x2 * weight[i + 2, j] + x3 * weight[i + 3, j]
    for i in range(fours, n):
        for j in range(m):
            y[j] += x[i] * weight[i, j]


@summed
def _dot(x: Any, turned: Any, bias: Any, y: Any) -> None:
    """The same along the inputs; `turned` is (outputs, inputs)."""
    m, n = turned.shape
    for j in range(m):
        total = _NONE
        for i in range(n):
            total += x[i] * turned[j, i]
        y[j] = total + bias[j]


@part
def _project(x: Any, weight: Any, turned: Any, bias: Any, y: Any) -> None:
    if len(bias) > _NARROW:
        _affine(x, weight, bias, y)
    else:
        _dot(x, turned, bias, y)


@part
def _miss(answer: Any, x: Any, emphasis: Any, out: Any) -> None:
    """out[k] = the squared error of channel k over the rows of x, weighted by `emphasis`."""
    c = len(out)
    out[:] = _NONE
    for t in range(len(emphasis)):
        for k in range(c):
            missed = answer[t * c + k] - x[t * c + k]
            out[k] += emphasis[t] * missed * missed


@part
def _convolve(x: Any, stride: int, weight: Any, bias: Any, y: Any, rows: int) -> None:
    """`rows` rows of y from the padded rows of x: three rows that lie side by side are one vector."""
    n, m = weight.shape
    for t in range(rows):
        _affine(x[t * stride * (n // 3) :], weight, bias, y[t * m : (t + 1) * m])


@part
def _recur(gates: Any, cell: Any, hidden: Any) -> None:
    """One step of an LSTM: gates i, f, g, o, of which the logistic ones come halved, for
    1 / (1 + exp(-x)) = (1 + tanh(x / 2)) / 2."""
    h = len(cell)
    tanh(gates, 4 * h)
    for k in range(h):
        kept = (gates[h + k] + _ONE) * _HALF * cell[k]
        cell[k] = kept + (gates[k] + _ONE) * _HALF * gates[2 * h + k]
        hidden[k] = cell[k]
    tanh(hidden, h)
    for k in range(h):
        hidden[k] *= (gates[3 * h + k] + _ONE) * _HALF


@part
def _encode(x: Any, rows: int, weight: Any, bias: Any, joint: Any, gates: Any, cell: Any) -> None:
    """An LSTM over `rows` rows of x, from rest. `joint` is a row beside the hidden state: one product feeds
    both to the gates, and the last hidden state is left in its tail."""
    c = len(joint) - len(cell)
    joint[:] = _NONE
    cell[:] = _NONE
    for t in range(rows):
        for k in range(c):
            joint[k] = x[t * c + k]
        _affine(joint, weight, bias, gates)
        _recur(gates, cell, joint[c:])


@part
def _halve(x: Any, rows: int, w1: Any, b1: Any, w2: Any, b2: Any, half: Any, quarter: Any) -> None:
    """Two convolutions of stride 2 over the padded rows of x; `half` is padded too, `quarter` is not."""
    f = len(b1)
    inner = half[f : len(half) - f]
    _convolve(x, 2, w1, b1, inner, (rows + 1) // 2)
    tanh(inner, len(inner))
    _convolve(half, 2, w2, b2, quarter, (rows + 3) // 4)
    tanh(quarter, len(quarter))


@part
def _twice(x: Any, f: int, y: Any) -> None:
    """The padded rows of y, each row of x taken twice."""
    for t in range(len(y) // f - 2):
        for k in range(f):
            y[(t + 1) * f + k] = x[t // 2 * f + k]


# --- kernels: errors (n, c) of windows (n, w, c); a layer is its weight (inputs, outputs) and its bias -----
@compiled(WINDOWS, layers_of(4), FLOATS, ERRORS)
def dense(windows: Any, layers: Any, emphasis: Any, out: Any) -> None:
    """A dense autoencoder; layers: hidden, latent, hidden, output."""
    (w1, b1), (w2, b2), (w3, b3), (w4, b4) = layers
    x, y = np.empty(len(b4), np.float32), np.empty(len(b4), np.float32)
    bits = np.empty(len(x), np.int32)
    hidden, latent = np.empty(len(b1), np.float32), np.empty(len(b2), np.float32)
    for i in range(len(windows)):
        _read(windows, i, x, bits)
        _affine(x, w1, b1, hidden)
        tanh(hidden, len(hidden))
        _affine(hidden, w2, b2, latent)
        tanh(latent, len(latent))
        _affine(latent, w3, b3, hidden)
        tanh(hidden, len(hidden))
        _affine(hidden, w4, b4, y)
        _miss(y, x, emphasis, out[i])


@compiled(WINDOWS, layers_of(6), FLOATS, ERRORS)
def convolutional(windows: Any, layers: Any, emphasis: Any, out: Any) -> None:
    """A convolutional autoencoder; layers: two that halve the rows, latent and back, two that double them."""
    (w1, b1), (w2, b2), (w3, b3), (w4, b4), (w5, b5), (w6, b6) = layers
    w, c, f = windows.shape[1], windows.shape[2], len(b1)
    x, y = np.zeros((w + 2) * c, np.float32), np.empty(w * c, np.float32)
    inner, turned = x[c : (w + 1) * c], np.ascontiguousarray(w6.T)
    bits = np.empty(w * c, np.int32)
    half, quarter = np.zeros(((w + 1) // 2 + 2) * f, np.float32), np.empty(len(b4), np.float32)
    latent, double = np.empty(len(b3), np.float32), np.zeros((w + 2) * f, np.float32)
    coarse, middle = np.zeros(len(half), np.float32), np.empty((w + 1) // 2 * f, np.float32)
    for i in range(len(windows)):
        _read(windows, i, inner, bits)
        _halve(x, w, w1, b1, w2, b2, half, quarter)
        _affine(quarter, w3, b3, latent)
        tanh(latent, len(latent))
        _affine(latent, w4, b4, quarter)
        tanh(quarter, len(quarter))
        _twice(quarter, f, coarse)
        _convolve(coarse, 1, w5, b5, middle, (w + 1) // 2)
        tanh(middle, len(middle))
        _twice(middle, f, double)
        for t in range(w):
            _project(double[t * f : (t + 3) * f], w6, turned, b6, y[t * c : (t + 1) * c])
        _miss(y, inner, emphasis, out[i])


@compiled(WINDOWS, layers_of(5), FLOATS, ERRORS)
def recurrent(windows: Any, layers: Any, emphasis: Any, out: Any) -> None:
    """A variational one, at its mean; layers: LSTM, mean, the decoder's constant input, LSTM, output."""
    (w1, b1), (w2, b2), (w3, b3), (w4, _), (w5, b5) = layers
    w, c, h = windows.shape[1], windows.shape[2], w5.shape[0]
    x, y = np.empty(w * c, np.float32), np.empty(w * c, np.float32)
    bits = np.empty(len(x), np.int32)
    joint, gates, cell = np.empty(c + h, np.float32), np.empty(4 * h, np.float32), np.empty(h, np.float32)
    latent, constant = np.empty(len(b2), np.float32), np.empty(4 * h, np.float32)
    hidden, turned = joint[c:], np.ascontiguousarray(w5.T)
    for i in range(len(windows)):
        _read(windows, i, x, bits)
        _encode(x, w, w1, b1, joint, gates, cell)
        _affine(hidden, w2, b2, latent)
        _affine(latent, w3, b3, constant)
        hidden[:] = _NONE
        cell[:] = _NONE
        for t in range(w):
            _affine(hidden, w4, constant, gates)
            _recur(gates, cell, hidden)
            _project(hidden, w5, turned, b5, y[t * c : (t + 1) * c])
        _miss(y, x, emphasis, out[i])


@compiled(WINDOWS, layers_of(3), FLOATS, ERRORS)
def convolutional_forecast(windows: Any, layers: Any, emphasis: Any, out: Any) -> None:
    """Last rows from those before them, or from a row of zeros; layers: two that halve the rows, output."""
    (w1, b1), (w2, b2), (w3, b3) = layers
    w, c, f = windows.shape[1], windows.shape[2], len(b1)
    past = w - len(emphasis)
    rows = max(past, 1)
    x, y = np.empty(w * c, np.float32), np.empty(len(b3), np.float32)
    bits = np.empty(len(x), np.int32)
    padded = np.zeros((rows + 2) * c, np.float32)
    half, quarter = np.zeros(((rows + 1) // 2 + 2) * f, np.float32), np.empty(len(w3), np.float32)
    for i in range(len(windows)):
        _read(windows, i, x, bits)
        padded[c : (past + 1) * c] = x[: past * c]
        _halve(padded, rows, w1, b1, w2, b2, half, quarter)
        _affine(quarter, w3, b3, y)
        _miss(y, x[past * c :], emphasis, out[i])


@compiled(WINDOWS, layers_of(2), FLOATS, ERRORS)
def recurrent_forecast(windows: Any, layers: Any, emphasis: Any, out: Any) -> None:
    """The last rows from those before them, or from a row of zeros; layers: encoder, output."""
    (w1, b1), (w2, b2) = layers
    w, c, h = windows.shape[1], windows.shape[2], len(w2)
    past = w - len(emphasis)
    rows = max(past, 1)
    x, y = np.empty(w * c, np.float32), np.empty(len(b2), np.float32)
    bits = np.empty(len(x), np.int32)
    before = np.zeros(rows * c, np.float32)
    joint, gates, cell = np.empty(c + h, np.float32), np.empty(4 * h, np.float32), np.empty(h, np.float32)
    for i in range(len(windows)):
        _read(windows, i, x, bits)
        before[: past * c] = x[: past * c]
        _encode(before, rows, w1, b1, joint, gates, cell)
        _affine(joint[c:], w2, b2, y)
        _miss(y, x[past * c :], emphasis, out[i])


@compiled(MATRIX, FLOATS, SCORES)
def mean_log_ratio(errors: Any, usual: Any, out: Any) -> None:
    """out[i] = the mean over channels of log(1 + errors[i] / usual)."""
    for i in range(len(errors)):
        total = 0.0
        for k in range(len(usual)):
            total += math.log1p(np.float64(errors[i, k] / usual[k]))
        out[i] = total / len(usual)
