"""Requests that are scored together get what they get alone."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.models import micro_batching
from homeostat.models.algorithm import Scores
from homeostat.models.fitted import Fitted
from homeostat.models.micro_batching import Batcher, Stretches, of_rows, of_windows, score_together
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
    alone = [score_together(fitted, [one])[0] for one in batch]
    for one, other in zip(score_together(fitted, batch), alone, strict=True):
        assert (one == other).all()


def test_a_window_is_scored_as_its_last_row(fitted):
    windows = values(5, 7)
    assert score_together(fitted, [of_windows(windows)])[0].tolist() == [
        fitted.score(window)[-1] for window in windows
    ]


class Counting:
    """Scores for real, remembers in how many calls and on which threads; slow when it is told to be."""

    def __init__(self, fitted: Fitted, seconds: float = 0.0) -> None:
        self.score, self.seconds = partial(score_together, fitted), seconds
        self.sizes: list[int] = []
        self.threads: list[int] = []

    def __call__(self, batch: Sequence[Stretches]) -> list[Scores]:
        self.sizes.append(len(batch))
        self.threads.append(threading.get_ident())
        until = time.thread_time() + self.seconds
        while time.thread_time() < until:
            sum(range(100))
        return self.score(batch)


def test_requests_that_arrive_together_are_scored_in_one_call(fitted):
    counting = Counting(fitted)
    batch = [of_rows(values(n), n) for n in range(1, 9)]

    async def all_at_once() -> list[Scores]:
        batcher = Batcher(counting)
        return await asyncio.gather(*(batcher.score(one) for one in batch))

    for found, one in zip(asyncio.run(all_at_once()), batch, strict=True):
        assert (found == score_together(fitted, [one])[0]).all()
    assert counting.sizes == [8]


def test_requests_that_arrive_during_a_slow_scoring_are_scored_together_next(fitted):
    counting = Counting(fitted, seconds=0.4)

    async def one_then_more() -> float:
        batcher = Batcher(counting)
        await batcher.score(of_rows(values(1), 1))  # on the event loop; too slow for it, as it turns out
        first = asyncio.create_task(batcher.score(of_rows(values(1), 1)))
        await asyncio.sleep(0.03)
        begun = time.perf_counter()
        more = [asyncio.create_task(batcher.score(of_rows(values(1), 1))) for _ in range(5)]
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
        await batcher.score(of_rows(values(1), 1))
        counting.seconds = 0.0
        for _ in range(50):
            await batcher.score(of_rows(values(1), 1))

    asyncio.run(many())
    assert counting.threads[-1] == threading.get_ident()


def test_a_request_that_cannot_be_scored_fails_alone(fitted):
    bad = of_rows(np.array([[np.nan, 1.0]]), 1)
    good = [of_rows(values(n), n) for n in (1, 2)]

    async def together() -> list[Scores | BaseException]:
        batcher = Batcher(partial(score_together, fitted))
        return await asyncio.gather(
            *(batcher.score(one) for one in (good[0], bad, good[1])), return_exceptions=True
        )

    first, failed, last = asyncio.run(together())
    assert isinstance(failed, ValueError)
    assert "row 0, channel 'pressure' is nan" in str(failed)
    assert (first == score_together(fitted, [good[0]])[0]).all()
    assert (last == score_together(fitted, [good[1]])[0]).all()


def test_a_client_that_leaves_does_not_harm_the_others(fitted):
    async def one_leaves() -> Scores:
        batcher = Batcher(partial(score_together, fitted))
        tasks = [asyncio.create_task(batcher.score(of_rows(values(1), 1))) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        return np.concatenate([await tasks[0], await tasks[2]])

    assert asyncio.run(one_leaves()).tolist() == np.repeat(fitted.score(values(1)), 2).tolist()


def test_one_call_takes_no_more_rows_than_a_request_may_have(fitted, monkeypatch):
    monkeypatch.setattr(micro_batching, "BATCH_ROWS", 10)
    counting = Counting(fitted)

    async def many() -> None:
        batcher = Batcher(counting)
        await asyncio.gather(*(batcher.score(of_rows(values(4), 4)) for _ in range(5)))

    asyncio.run(many())
    assert counting.sizes == [2, 2, 1]
