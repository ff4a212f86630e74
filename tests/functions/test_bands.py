"""Bands are as wide as a revision's own warm-up makes them: they hold while nothing changes, however alike
rows are to those before them, and they are left when the alarm rate or the scores shift."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.signal import lfilter

from homeostat.functions.bands import BLOCKS, RECENT, TURNS, gained, total, watched
from homeostat.functions.canary import SCORE_BUCKETS
from homeostat.functions.detector import Bands, Block, RevisionFigures

WARM_UP = 10_000
BLOCK = WARM_UP // BLOCKS
EDGES = np.array([0.0, *SCORE_BUCKETS, np.inf])


def scores(blocks: int, alike: float, seed: int, shift: float = 0.0, at: int = 0) -> NDArray[np.float64]:
    """Score / threshold of rows, each as much like the one before as `alike` says (an AR(1)'s coefficient).
    2 % are alarms, until `shift` standard deviations are added from the block `at` on."""
    steps = np.random.default_rng(seed).standard_normal(blocks * BLOCK + 3000)
    rows = lfilter([1], [1, -alike], steps * np.sqrt(1 - alike**2))[3000:]
    rows[at * BLOCK :] += shift
    return np.asarray(np.exp(0.5 * rows - 1.03))


def counters(rows: NDArray[np.float64]) -> Iterator[RevisionFigures]:
    """As they stand after each block."""
    counts, anomalies = np.zeros(len(SCORE_BUCKETS) + 1, int), 0
    yield RevisionFigures(scores=tuple(counts.tolist()))
    for end, part in enumerate(rows.reshape(-1, BLOCK), 1):
        counts += np.histogram(part, EDGES)[0]
        anomalies += int((part > 1).sum())
        yield RevisionFigures(rows=end * BLOCK, anomalies=anomalies, scores=tuple(counts.tolist()))


def alerts(looks: Iterable[RevisionFigures]) -> list[tuple[int, str, bool]]:
    """The look, the figure, and whether its alert fired or was resolved."""
    bands, raised, news = Bands(), set[str](), []
    for look, figures in enumerate(looks):
        bands = watched(bands, "r1", figures, WARM_UP, raised)
        for figure in [one for one, turned in bands.turned.items() if turned >= TURNS]:
            raised ^= {figure}
            news.append((look, figure, figure in raised))
    return news


RATES = pytest.mark.parametrize(
    ("alike", "most"), [(0.0, 0.1), (0.9, 0.1), (0.99, 0.5)], ids=["independent", "alike", "much-alike"]
)
"""Most false alerts in 1,000 windows, which is half a million rows."""


def false_alerts(alike: float, detectors: int, windows: int) -> float:
    """Per 1,000 windows."""
    news = [
        one for seed in range(detectors) for one in alerts(counters(scores(windows + BLOCKS, alike, seed)))
    ]
    return sum(fires for _, _, fires in news) / (detectors * windows) * 1000


@RATES
def test_alarms_that_are_false_are_few(alike: float, most: float) -> None:
    assert false_alerts(alike, 8, 250) <= most


@pytest.mark.slow
@RATES
def test_alarms_that_are_false_are_few_of_many_detectors(alike: float, most: float) -> None:
    assert false_alerts(alike, 60, 500) <= most


@pytest.mark.parametrize("alike", [0.0, 0.9])
@pytest.mark.parametrize("figure", ["alarm_rate", "scores"])
def test_a_shift_is_told_once_and_soon(alike: float, figure: str) -> None:
    begins = 40
    delays = []
    for seed in range(10):
        news = [one for one in alerts(counters(scores(80, alike, seed, 1.0, begins))) if one[1] == figure]
        assert news[0][2]
        assert news[0][0] >= begins
        delays.append(news[0][0] - begins)
    assert np.median(delays) <= RECENT + TURNS


def test_what_comes_back_is_resolved() -> None:
    rows = scores(120, 0.0, 1, 1.0, 40)
    rows[70 * BLOCK :] = scores(50, 0.0, 2)
    news = alerts(counters(rows))
    assert {(figure, fires) for _, figure, fires in news[:2]} == {("alarm_rate", True), ("scores", True)}
    assert {(figure, fires) for _, figure, fires in news[2:]} == {("alarm_rate", False), ("scores", False)}
    assert news[2][0] >= 70


def test_a_single_burst_is_no_shift() -> None:
    rows = scores(60, 0.0, 3)
    rows[30 * BLOCK : 31 * BLOCK] = 5.0
    assert alerts(counters(rows)) == []


def test_a_predictor_without_scores_is_watched_by_its_alarms() -> None:
    looks = (one.model_copy(update={"scores": ()}) for one in counters(scores(80, 0.0, 1, 1.0, 40)))
    assert [(figure, fires) for _, figure, fires in alerts(looks)] == [("alarm_rate", True)]


def test_another_revision_starts_afresh() -> None:
    looks = list(counters(scores(40, 0.0, 1)))
    bands = Bands()
    for figures in looks:
        bands = watched(bands, "r1", figures, WARM_UP, ())
    assert bands.usual is not None
    assert watched(bands, "r2", looks[0], WARM_UP, ()) == Bands(revision="r2", base=looks[0])


def test_what_is_kept_is_small_however_long_it_goes_on() -> None:
    bands = Bands()
    sizes = []
    for figures in counters(scores(100, 0.0, 1)):
        bands = watched(bands, "r1", figures, WARM_UP, ())
        sizes.append(len(bands.model_dump_json()))
    assert max(sizes) < 4_000
    assert sizes[-1] < 1_500


def test_a_look_between_two_blocks_changes_nothing() -> None:
    looks = list(counters(scores(30, 0.0, 1)))
    bands = watched(Bands(), "r1", looks[0], WARM_UP, ())
    between = RevisionFigures(rows=BLOCK - 1, anomalies=3, scores=looks[0].scores)
    assert watched(bands, "r1", between, WARM_UP, ()) is bands


@given(st.lists(st.tuples(st.integers(0, 900), st.booleans()), max_size=40))
def test_a_process_that_starts_again_makes_no_rows_up(steps: Sequence[tuple[int, bool]]) -> None:
    """Its counters begin at zero; what is counted is never negative, nor more than was scored."""
    base = now = RevisionFigures(scores=(0, 0))
    scored = counted = 0
    for rows, again in steps:
        if again:
            now = RevisionFigures(scores=(0, 0))
        scored += rows
        now = RevisionFigures(
            rows=now.rows + rows, anomalies=now.anomalies + rows // 9, scores=(now.rows + rows, 0)
        )
        block = gained(now, base)
        assert min(block.rows, block.anomalies, *block.scores) >= 0
        counted, base = counted + block.rows, now
    assert counted <= scored


@given(st.lists(st.builds(Block, rows=st.integers(0, 99), scores=st.lists(st.integers(0, 9)).map(tuple))))
def test_nothing_is_lost_in_a_sum(blocks: list[Block]) -> None:
    whole = total(blocks)
    assert whole.rows == sum(one.rows for one in blocks)
    assert sum(whole.scores) == sum(sum(one.scores) for one in blocks)
