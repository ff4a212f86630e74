"""Rolling statistics: what the last k rows of a channel say, by its mean, spread, extremes, slope and change.

Every result depends on the k rows of its window and on nothing before them, to the last bit: a running sum
would carry the rounding of all earlier rows along, so that a stream begun elsewhere would differ. Windows
are instead put together from halves, quarters and so on, whose moments combine without cancellation (Chan,
Golub and LeVeque, 1983, "Algorithms for computing the sample variance", The American Statistician 37). That
costs about log2(k) passes over the rows, each of them vectorised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self, get_args

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]
Name = Literal["mean", "std", "min", "max", "slope", "difference"]

LONGEST = 10_000  # rows


@dataclass(frozen=True)
class Statistic:
    """One statistic over the last `rows` rows, the row itself among them.

    `std` is the sample's (divided by k - 1, as pandas does), `slope` the least-squares line's rise per row,
    and `difference:k` the row less the one k rows before it.

    >>> Statistic.parse("std:10")
    Statistic(name='std', rows=10)
    """

    name: Name
    rows: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """From "mean:10"; ValueError says what is wrong with the text."""
        name, _, count = str(text).partition(":")
        if name not in get_args(Name):
            raise ValueError(
                f"statistic is {text!r}: choose one of {', '.join(get_args(Name))}, as in mean:10"
            )
        least = 2 if name in ("std", "slope") else 1
        if not (count.isascii() and count.isdigit() and len(count) < 9 and least <= int(count) <= LONGEST):
            raise ValueError(f"statistic is {text!r}: give {name} {least} to {LONGEST} rows, as in {name}:10")
        return cls(name, int(count))  # type: ignore[arg-type]

    @property
    def reach(self) -> int:
        """How many rows before its own a value depends on."""
        return self.rows if self.name == "difference" else self.rows - 1

    def __str__(self) -> str:
        return f"{self.name}:{self.rows}"


def derive(rows: Rows, statistics: Iterable[Statistic], first: int = 0) -> Rows:
    """The (n, c) rows from `first` on, and beside them c channels for each of the statistics, in their order.

    Before its first row a stretch is taken to have been like it. Earlier rows than `first` serve as past.
    Gives (n - first, c * (1 + number of statistics)). Rows beyond 1e150 have no finite deviation.

    >>> derive(np.array([[1.0], [2.0], [4.0]]), [Statistic("mean", 2), Statistic("difference", 1)]).tolist()
    [[1.0, 1.0, 0.0], [2.0, 1.5, 1.0], [4.0, 3.0, 2.0]]
    """
    wanted = list(statistics)
    n, c = rows.shape
    out = np.empty((n - first, c * (1 + len(wanted))))
    out[:, :c] = rows[first:]
    moments: dict[Statistic, Rows] = {}
    for place, one in enumerate(wanted, 1):
        window = with_past(rows, one.reach, first)
        if one.name in _OF_WINDOW:
            found = _OF_WINDOW[one.name](window, one.rows)
        else:
            if one not in moments:
                moments |= _by_moments(window, [other for other in wanted if other.rows == one.rows])
            found = moments[one]
        out[:, c * place : c * (place + 1)] = found
    return out


def with_past(rows: Rows, past: int, first: int = 0) -> Rows:
    """The rows from `past` before `first` on; where there are none, the first row stands in for them."""
    if past <= first:
        return rows[first - past :]
    return np.concatenate([np.repeat(rows[:1], past - first, axis=0), rows])


def trailing_median(rows: Rows, width: int, first: int = 0) -> Rows:
    """The median of each row and the `width` - 1 before it, (n - first, c); `width` is odd, so that it is one
    of their values, and no rounding depends on where the rows begin."""
    from scipy.ndimage import median_filter

    past = with_past(rows, width - 1, first)
    if len(past) == width:  # one row of a stream
        return np.partition(past, width // 2, axis=0)[width // 2 : width // 2 + 1]
    medians: list[Rows] = [
        median_filter(np.ascontiguousarray(channel), width, mode="nearest", origin=width // 2)
        for channel in past.T
    ]
    return np.column_stack(medians)[width - 1 :]


class _Moments(NamedTuple):
    """Of blocks of rows: the mean, the sum of squared deviations from it, and the sum of products of those
    with the deviations in time. (m, c) each; the last two are None when nobody asks."""

    mean: Rows
    squares: Rows | None
    products: Rows | None

    def part(self, offset: int, blocks: int) -> _Moments:
        """Those of `blocks` blocks from the one that begins at row `offset`."""
        part = slice(offset, offset + blocks)
        squares = None if self.squares is None else self.squares[part]
        products = None if self.products is None else self.products[part]
        return _Moments(self.mean[part], squares, products)


def _by_moments(rows: Rows, wanted: list[Statistic]) -> dict[Statistic, Rows]:
    """Mean, deviation and slope over windows of one length, as far as they are wanted."""
    k = wanted[0].rows
    names = {one.name for one in wanted}
    moments = _moments(rows, k, "std" in names, "slope" in names)
    found = {Statistic("mean", k): moments.mean}
    if moments.squares is not None:
        found[Statistic("std", k)] = np.sqrt(moments.squares / (k - 1))
    if moments.products is not None:
        found[Statistic("slope", k)] = moments.products / (k * (k * k - 1) / 12)
    return found


def _moments(rows: Rows, k: int, squares: bool, products: bool) -> _Moments:
    """Of the n - k + 1 windows of k rows: blocks of 1, 2, 4, … rows, joined as the bits of k say."""
    zero = np.zeros_like(rows) if squares or products else None
    block = _Moments(rows, zero if squares else None, zero if products else None)
    size = 1
    while not k & size:
        block, size = _doubled(block, size), 2 * size
    found, done = block, size
    while done < k:
        block, size = _doubled(block, size), 2 * size
        if k & size:
            count = len(rows) - done - size + 1
            found = _joined(found.part(0, count), done, block.part(done, count), size)
            done += size
    return found


def _doubled(block: _Moments, size: int) -> _Moments:
    """Blocks of twice the rows."""
    count = len(block.mean) - size
    return _joined(block.part(0, count), size, block.part(size, count), size)


def _joined(older: _Moments, a: int, newer: _Moments, b: int) -> _Moments:
    """Moments of a rows and the b after them together."""
    apart = newer.mean - older.mean
    squares = products = None
    if older.squares is not None and newer.squares is not None:
        squares = apart * apart
        squares *= a * b / (a + b)
        squares += older.squares
        squares += newer.squares
    if older.products is not None and newer.products is not None:
        products = apart * (a * b / 2)
        products += older.products
        products += newer.products
    apart *= b / (a + b)
    apart += older.mean
    return _Moments(apart, squares, products)


def _extreme(rows: Rows, k: int, pick: Callable[[Rows, Rows], Rows]) -> Rows:
    """Of the n - k + 1 windows of k rows; windows may overlap within one, as an extreme counts once."""
    size = 1
    while 2 * size <= k:
        rows = pick(rows[:-size], rows[size:])
        size *= 2
    return pick(rows[: len(rows) - (k - size)], rows[k - size :])


_OF_WINDOW: dict[str, Callable[[Rows, int], Rows]] = {
    "min": lambda rows, k: _extreme(rows, k, np.minimum),
    "max": lambda rows, k: _extreme(rows, k, np.maximum),
    "difference": lambda rows, k: rows[k:] - rows[:-k],
}
