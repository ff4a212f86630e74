"""What is usual of the revision that serves, when no label says whether it is right: its alarm rate, and how
its scores are spread (in buckets of score / threshold). Pure arithmetic on its counters.

The first rows of a revision are its warm-up: blocks of rows one after another. How far windows of some blocks
lie from the rest of it is measured, not derived, for rows are autocorrelated and alarms come in bursts; a
later window is out of its band where it lies `MARGIN` times as far off as any of them did, and farther than
chance takes independent rows. Rates are compared by their square roots, whose spread is the same at any rate
(Anscombe 1948, Biometrika 35, 246-254); chance is a quasi-Poisson's, whose dispersion the blocks tell
(McCullagh and Nelder 1989, 6.2), and the Kolmogorov-Smirnov table's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import accumulate
from math import sqrt

from .canary import increment
from .detector import Bands, Block, RevisionFigures

BLOCKS = 20
"""Of the warm-up."""
RECENT = 4
"""Blocks in a window."""
TURNS = 6
"""So many windows in a row must be out of the band, or back in it, for it to be said: more than share a
block, so that no single burst is a shift."""
MARGIN = 2.0
SIGMAS = 4.0
KS = 1.95
"""Kolmogorov-Smirnov's factor at a level of 0.001; buckets only make it smaller."""


def watched(
    before: Bands, revision: str, now: RevisionFigures, warm_up: int, raised: Collection[str]
) -> Bands:
    """What is known after a look at the revision's counters; unchanged while no block of rows is full.
    `raised` are the figures that an alert is out for."""
    if before.revision != revision or before.base is None:
        return Bands(revision=revision, base=now)
    block = gained(now, before.base)
    if block.rows < warm_up // BLOCKS:
        return before
    if before.usual is None:
        return _warmed(before, now, (*before.warming, block))
    recent = (*before.recent, block)[-RECENT:]
    turned = {}
    if len(recent) == RECENT:
        window = total(recent)
        for figure, limit in before.limits.items():
            contradicts = (distance(figure, window, before.usual) > limit) != (figure in raised)
            turned[figure] = before.turned.get(figure, 0) + 1 if contradicts else 0
    return before.model_copy(update={"base": now, "recent": recent, "turned": turned})


def _warmed(before: Bands, now: RevisionFigures, blocks: tuple[Block, ...]) -> Bands:
    if len(blocks) < BLOCKS:
        return before.model_copy(update={"base": now, "warming": blocks})
    return Bands(
        revision=before.revision,
        base=now,
        usual=total(blocks),
        limits={
            figure: _limit(figure, blocks) for figure in DISTANCES if figure != "scores" or _counted(blocks)
        },
    )


def _counted(blocks: Iterable[Block]) -> bool:
    """Whether every block has its scores; a predictor that is older than they are has none."""
    return all(block.scores for block in blocks)


def _limit(figure: str, blocks: Sequence[Block]) -> float:
    whole, widest = total(blocks), 0.0
    for start in range(len(blocks) - RECENT + 1):
        window = total(blocks[start : start + RECENT])
        rest = total([*blocks[:start], *blocks[start + RECENT :]])
        widest = max(widest, distance(figure, window, rest))
    share = whole.rows * RECENT / len(blocks)
    return max(MARGIN * widest, CHANCES[figure](blocks) * sqrt(1 / share + 1 / whole.rows))


# --- distances ---------------------------------------------------------------------------------------------
def distance(figure: str, window: Block, usual: Block) -> float:
    """From 0 to 1."""
    return DISTANCES[figure](window, usual)


def _rates(window: Block, usual: Block) -> float:
    ours, theirs = (sqrt((one.anomalies + 0.5) / (one.rows + 1)) for one in (window, usual))
    return abs(ours - theirs)


def _spreads(window: Block, usual: Block) -> float:
    """Kolmogorov-Smirnov's distance, as far as buckets tell it."""
    ours, theirs = sum(window.scores), sum(usual.scores)
    if not ours or not theirs or len(window.scores) != len(usual.scores):
        return 0.0
    pairs = zip(accumulate(window.scores), accumulate(usual.scores), strict=True)
    return max(abs(a / ours - b / theirs) for a, b in pairs)


def _chance_of_rates(blocks: Sequence[Block]) -> float:
    whole = total(blocks)
    rate = (whole.anomalies + 1) / (whole.rows + 2)
    pearson = sum((one.anomalies - rate * one.rows) ** 2 / (rate * one.rows) for one in blocks)
    return SIGMAS * sqrt(max(1.0, pearson / (len(blocks) - 1))) / 2


DISTANCES: dict[str, Callable[[Block, Block], float]] = {"alarm_rate": _rates, "scores": _spreads}
CHANCES: dict[str, Callable[[Sequence[Block]], float]] = {
    "alarm_rate": _chance_of_rates,
    "scores": lambda _: KS,
}
"""What chance does, to be multiplied by the root of the sum of one over each side's rows."""


# --- counting ----------------------------------------------------------------------------------------------
def gained(now: RevisionFigures, base: RevisionFigures) -> Block:
    """What the model server counted since."""
    more = increment(now, base)
    return Block(rows=more.rows, anomalies=more.anomalies, scores=more.scores if now.scores else ())


def total(blocks: Iterable[Block]) -> Block:
    kept = list(blocks)
    widest = max((len(one.scores) for one in kept), default=0)
    columns = [[*one.scores, *[0] * (widest - len(one.scores))] for one in kept]
    return Block(
        rows=sum(one.rows for one in kept),
        anomalies=sum(one.anomalies for one in kept),
        scores=tuple(map(sum, zip(*columns, strict=True))),
    )
