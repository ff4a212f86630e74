"""tanh and a soft bound over float32 arrays, in place, in loops that compile to vector instructions.

A call into libm would keep a loop from vectorising, and costs 5 to 10 ns a value; these cost 0.4 and 2 ns.
numba's cache on disk notices a change only in the file that it compiled: whoever changes this one must
touch forward.py too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .kernels import part
from .layers import FARTHEST

_MOST = np.float32(7.90531110763549805)  # tanh is 1 in float32 beyond it
_ODD = tuple(
    np.float32(one)
    for one in (
        *(-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08),
        *(1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03),
    )
)
_EVEN = tuple(
    np.float32(one)
    for one in (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)
)
_LOG = tuple(
    np.float32(one)
    for one in (
        *(7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1),
        *(-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1),
    )
)
_ROOT_HALF = np.int32(0x3F3504F3)  # the bits of sqrt(1/2)
_MANTISSA = np.int32(23)
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_ONE, _HALF, _FARTHEST = np.float32(1), np.float32(0.5), np.float32(FARTHEST)


@part
def tanh(x: Any, n: int) -> None:
    """Eigen's rational approximation, within 3e-7: a libm call in the loop would keep it from vectorising."""
    for i in range(n):
        v = min(max(x[i], -_MOST), _MOST)
        s = v * v
        p = s * _ODD[0] + _ODD[1]
        p = s * p + _ODD[2]
        p = s * p + _ODD[3]
        p = s * p + _ODD[4]
        p = s * p + _ODD[5]
        p = s * p + _ODD[6]
        q = s * _EVEN[0] + _EVEN[1]
        q = s * q + _EVEN[2]
        q = s * q + _EVEN[3]
        x[i] = v * p / q


@part
def bound(x: Any, bits: Any, n: int) -> None:
    """x becomes 8 asinh(x / 8), within 1e-6 of its size: linear near 0, logarithmic far out. The logarithm is
    Cephes', of mantissa and exponent apart; `bits` is scratch seen as integers."""
    y = bits.view(np.float32)
    for i in range(n):
        a = abs(x[i]) / _FARTHEST
        y[i] = a + np.sqrt(a * a + _ONE)
    for i in range(n):
        exponent = (bits[i] - _ROOT_HALF) >> _MANTISSA
        bits[i] = np.int32(bits[i] - (exponent << _MANTISSA))
        m = y[i] - _ONE
        z = m * m
        p = _LOG[0] * m + _LOG[1]
        p = p * m + _LOG[2]
        p = p * m + _LOG[3]
        p = p * m + _LOG[4]
        p = p * m + _LOG[5]
        p = p * m + _LOG[6]
        p = p * m + _LOG[7]
        p = p * m + _LOG[8]
        e = np.float32(np.int32(exponent))
        log = (m + (m * z * p + e * _LN2_LOW - _HALF * z)) + e * _LN2_HIGH
        x[i] = np.copysign(_FARTHEST * log, x[i])
