"""Where in the season's cycle a row lies, told from the rows themselves when no clock tells it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]

_CELLS = 1 << 20  # of windows at once: 8 MB, as many again for their spectra
_SPREADS = 8.0  # beyond the season's range: further out a row says no more about the phase
_TIE = 1e-9  # of the squares at hand: alignments closer than that are alike, but for rounding


def infer(rows: Rows, level: Rows, cycle: Rows, first: int = 0) -> NDArray[np.int64]:
    """The phase in 0 … L - 1 of each of the (n, c) rows from `first` on: that which fits best to it and the
    L - 1 rows before it.

    `cycle` is (L, c), the season in units of each channel's noise, summing to zero; `rows` are in the same
    units, and `level` (n - first, c) is what the rows stand at. The best circular alignment is the one with
    the least squared error after the mean has been taken out. A stretch shorter than a cycle is aligned by
    the rows it has: its early phases are a guess that errs towards small residuals, so that not knowing the
    season raises no alarm. Of alike alignments the first is taken.

    Costs c + 1 Fourier transforms of length L per row; a row's phase depends on nothing but its window.
    """
    n, c = rows.shape
    length = len(cycle)
    spectrum = np.conj(np.fft.rfft(cycle, axis=0).T)
    bound = np.abs(cycle).max(initial=0.0) + _SPREADS
    sums = _sums(cycle) if first < length - 1 else None
    phases = np.empty(n - first, np.int64)
    step = max(1, _CELLS // (length * c))
    for start in range(first, n, step):
        stop = min(start + step, n)
        windows = _windows(rows, level[start - first : stop - first], start, stop, length, bound)
        errors = -2 * _match(windows, spectrum)
        if sums is not None:
            for i in range(start, min(stop, length - 1)):
                errors[i - start] += _unbalanced(windows[:, i - start], *sums, i + 1)
        scale = (windows**2).sum(axis=(0, 2)) + (cycle**2).sum()
        alike = errors <= (errors.min(axis=1) + _TIE * scale)[:, None]
        phases[start - first : stop - first] = alike.argmax(axis=1)
    return phases


def _windows(rows: Rows, level: Rows, start: int, stop: int, length: int, bound: float) -> Rows:
    """(c, m, L) deviations from the level, newest last; zero where there is no row."""
    lack = max(0, length - 1 - start)
    part = np.ascontiguousarray(rows[max(0, start - length + 1) : stop].T)
    padded = np.concatenate([np.zeros((len(part), lack)), part], axis=1)
    away: Rows = np.lib.stride_tricks.sliding_window_view(padded, length, axis=1) - level.T[:, :, None]
    np.clip(away, -bound, bound, out=away)
    for i in range(min(lack, stop - start)):
        away[:, i, : lack - i] = 0.0
    return away


def _match(windows: Rows, spectrum: NDArray[np.complex128]) -> Rows:
    """(m, L): the inner product of each window with the cycle that has its newest row at phase 0, 1, …"""
    total = np.zeros((windows.shape[1], spectrum.shape[1]), np.complex128)
    for channel, of_cycle in zip(windows, spectrum, strict=True):
        total += np.fft.rfft(channel) * of_cycle
    length = windows.shape[2]
    # The product of spectra is indexed by how far the window is ahead of the cycle.
    ahead = np.fft.irfft(total, length, axis=1)
    return np.asarray(ahead[:, ::-1])


def _sums(cycle: Rows) -> tuple[Rows, Rows]:
    """Running sums, over two turns of the cycle, of its values per channel (2 L + 1, c) and of its squares in
    all channels (2 L + 1,)."""
    twice = np.concatenate([np.zeros((1, cycle.shape[1])), cycle, cycle])
    return np.cumsum(twice, axis=0), np.cumsum((twice**2).sum(axis=1))


def _unbalanced(window: Rows, sums: Rows, squares: Rows, count: int) -> Rows:
    """(L,): what a window of fewer rows than a cycle adds to the error, for each phase of its newest row: the
    part of the cycle that it covers has squares and a mean of its own."""
    length = window.shape[1]
    end = np.arange(length) + length + 1
    covered = sums[end] - sums[end - count]
    unmatched = window.sum(axis=1) - covered
    return np.asarray(squares[end] - squares[end - count] - (unmatched**2).sum(axis=1) / count)
