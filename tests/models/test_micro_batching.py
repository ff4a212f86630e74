"""Requests that are scored together get what they get alone."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.models import micro_batching
from homeostat.models.fitted import Fitted
from homeostat.models.micro_batching import Batcher, Stretches, Verdict, judge_together, of_rows, of_windows
from homeostat.models.series import Tails
from tests.models.predictors import detector


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    return detector()


def values(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=(*shape, 2))


ASKED = st.lists(
    st.builds(lambda n: of_rows(values(n), n), st.integers(1, 9))
    | st.builds(lambda n, part: of_rows(values(n + part), n), st.integers(1, 5), st.integers(0, 9))
    | st.builds(lambda n, w: of_windows(values(n, w)), st.integers(1, 4), st.integers(1, 9)),
    min_size=1,
    max_size=6,
)


@given(batch=ASKED)
def test_scores_are_the_same_together_and_alone(fitted, batch):
    alone = [judge_together(fitted, [one])[0] for one in batch]
    for (scores, anomalies), other in zip(judge_together(fitted, batch), alone, strict=True):
        assert (scores == other[0]).all()
        assert (anomalies == other[1]).all()


@pytest.mark.parametrize(
    "settings", [{"min_duration": 3}, {"smoothing": 4}, {"min_duration": 2, "smoothing": 3}]
)
def test_new_rows_of_a_series_are_judged_as_at_the_end_of_the_whole_stretch(fitted, settings):
    lasting = replace(fitted, threshold=float(np.median(fitted.score(values(50)))), **settings)
    rows, tails = values(50), Tails(lasting.tail)
    scores, flags = [], []
    for start in range(0, 50, 5):
        new = rows[start : start + 5]
        ((found, anomalies),) = judge_together(lasting, [of_rows(tails.extend("pump", new), len(new))])
        scores += found.tolist()
        flags += anomalies.tolist()
    assert scores == pytest.approx(lasting.score(rows).tolist(), abs=1e-12)
    assert flags == lasting.anomalies(lasting.score(rows)).tolist()
    assert 0 < sum(flags) < 50


def test_a_window_is_scored_as_its_last_row(fitted):
    windows = values(5, 7)
    ((scores, anomalies),) = judge_together(fitted, [of_windows(windows)])
    assert scores.tolist() == [fitted.score(window)[-1] for window in windows]
    assert anomalies.tolist() == [fitted.anomalies(fitted.score(window))[-1] for window in windows]


class Counting:
    """Judges for real, remembers in how many calls and on which threads; slow when it is told to be."""

    def __init__(self, fitted: Fitted, seconds: float = 0.0) -> None:
        self.judge, self.seconds = partial(judge_together, fitted), seconds
        self.sizes: list[int] = []
        self.threads: list[int] = []

    def __call__(self, batch: Sequence[Stretches]) -> list[Verdict]:
        self.sizes.append(len(batch))
        self.threads.append(threading.get_ident())
        until = time.thread_time() + self.seconds
        while time.thread_time() < until:
            sum(range(100))
        return self.judge(batch)


def test_requests_that_arrive_together_are_scored_in_one_call(fitted):
    counting = Counting(fitted)
    batch = [of_rows(values(n), n) for n in range(1, 9)]

    async def all_at_once() -> list[Verdict]:
        batcher = Batcher(counting)
        return await asyncio.gather(*(batcher.judge(one) for one in batch))

    for found, one in zip(asyncio.run(all_at_once()), batch, strict=True):
        assert (found[0] == judge_together(fitted, [one])[0][0]).all()
    assert counting.sizes == [8]


def test_requests_that_arrive_during_a_slow_scoring_are_scored_together_next(fitted):
    counting = Counting(fitted, seconds=0.4)

    async def one_then_more() -> float:
        batcher = Batcher(counting)
        await batcher.judge(of_rows(values(1), 1))  # on the event loop; too slow for it, as it turns out
        first = asyncio.create_task(batcher.judge(of_rows(values(1), 1)))
        await asyncio.sleep(0.03)
        begun = time.perf_counter()
        more = [asyncio.create_task(batcher.judge(of_rows(values(1), 1))) for _ in range(5)]
        await asyncio.sleep(0)
        waited = time.perf_counter() - begun
        await asyncio.gather(first, *more)
        return waited

    assert asyncio.run(one_then_more()) < 0.2, "the event loop was held up"
    assert counting.sizes == [1, 1, 5]
    assert counting.threads[0] == threading.get_ident()
    assert threading.get_ident() not in counting.threads[1:]


def test_fast_scoring_comes_back_to_the_event_loop(fitted):
    counting = Counting(fitted, seconds=0.01)

    async def many() -> None:
        batcher = Batcher(counting)
        await batcher.judge(of_rows(values(1), 1))
        counting.seconds = 0.0
        for _ in range(50):
            await batcher.judge(of_rows(values(1), 1))

    asyncio.run(many())
    assert counting.threads[-1] == threading.get_ident()


def test_a_request_that_cannot_be_scored_fails_alone(fitted):
    bad = of_rows(np.array([[np.nan, 1.0]]), 1)
    good = [of_rows(values(n), n) for n in (1, 2)]

    async def together() -> list[Verdict | BaseException]:
        batcher = Batcher(partial(judge_together, fitted))
        return await asyncio.gather(
            *(batcher.judge(one) for one in (good[0], bad, good[1])), return_exceptions=True
        )

    first, failed, last = asyncio.run(together())
    assert isinstance(failed, ValueError)
    assert "row 0, channel 'pressure' is nan" in str(failed)
    assert (first[0] == judge_together(fitted, [good[0]])[0][0]).all()
    assert (last[0] == judge_together(fitted, [good[1]])[0][0]).all()


def test_a_client_that_leaves_does_not_harm_the_others(fitted):
    async def one_leaves() -> np.ndarray:
        batcher = Batcher(partial(judge_together, fitted))
        tasks = [asyncio.create_task(batcher.judge(of_rows(values(1), 1))) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        return np.concatenate([(await tasks[0])[0], (await tasks[2])[0]])

    assert asyncio.run(one_leaves()).tolist() == np.repeat(fitted.score(values(1)), 2).tolist()


def test_one_call_takes_no_more_rows_than_a_request_may_have(fitted, monkeypatch):
    monkeypatch.setattr(micro_batching, "BATCH_ROWS", 10)
    counting = Counting(fitted)

    async def many() -> None:
        batcher = Batcher(counting)
        await asyncio.gather(*(batcher.judge(of_rows(values(4), 4)) for _ in range(5)))

    asyncio.run(many())
    assert counting.sizes == [2, 2, 1]
