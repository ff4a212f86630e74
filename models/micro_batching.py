"""Requests that arrive together, or while others are being judged, are judged in one call."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import thread_time

import numpy as np
from numpy.typing import NDArray

from .algorithm import Scores
from .fitted import Fitted

INLINE_SECONDS = 0.002
"""What takes longer is scored in a thread, so that probes and other requests do not wait for it."""

BATCH_ROWS = 10_000
_INLINE_ROWS = 64


Verdict = tuple[Scores, NDArray[np.bool_]]
"""The scores of the rows that a request asks for, and which of them are anomalies."""


@dataclass(frozen=True, slots=True)
class Stretches:
    """What one request wants scored: unbroken stretches of rows, one after the other.

    `rows` is (m, c) in raw units, `lengths` (k,) adds up to m, and `wanted` (m,) marks the rows whose scores
    are asked for; the others are their past.
    """

    rows: NDArray[np.float64]
    lengths: NDArray[np.int64]
    wanted: NDArray[np.bool_]


def of_rows(rows: NDArray[np.float64], wanted: int) -> Stretches:
    """One stretch of (n, c) rows, of which the last `wanted` are to be scored."""
    mask = np.zeros(len(rows), np.bool_)
    mask[-wanted:] = True
    return Stretches(rows, np.array([len(rows)]), mask)


def of_windows(windows: NDArray[np.float64]) -> Stretches:
    """(n, w, c) windows as stretches of which only the last row is to be scored."""
    n, w, c = windows.shape
    mask = np.zeros(n * w, np.bool_)
    mask[w - 1 :: w] = True
    return Stretches(windows.reshape(n * w, c), np.full(n, w), mask)


def judge_together(fitted: Fitted, batch: Sequence[Stretches]) -> list[Verdict]:
    """The verdict on each of the requests, the same as when it is judged alone, from one call.

    Raises ValueError for a value that the detector refuses, whichever request it is in.
    """
    rows = np.concatenate([one.rows for one in batch])
    segments = segments_of(np.concatenate([one.lengths for one in batch]))
    wanted = np.concatenate([one.wanted for one in batch])
    # An alarm that has to last looks at the scores before its own.
    scores = fitted.score(rows, segments, wanted=wanted if fitted.min_duration == 1 else None)
    anomalies = fitted.anomalies(scores, segments)[wanted]
    if len(batch) == 1:
        return [(scores[wanted], anomalies)]
    cuts = np.cumsum([np.count_nonzero(one.wanted) for one in batch])[:-1]
    return list(zip(np.split(scores[wanted], cuts), np.split(anomalies, cuts), strict=True))


def segments_of(lengths: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """The number of its stretch for each row; None when there is but one."""
    return np.repeat(np.arange(len(lengths)), lengths) if len(lengths) > 1 else None


class Batcher:
    """Judges what waits, as much of it at once as `BATCH_ROWS` rows allow, until nothing waits any more.

    While nothing is being scored a request waits for one turn of the event loop, in which those that came
    with it join. The same requests scored one by one get the same scores; one that cannot be scored fails
    alone. Up to how many rows the event loop scores by itself is found out: half as many after a scoring
    that took too long for it, twice as many after one that need not have gone to a thread. Not for use from
    several threads.
    """

    def __init__(self, judge: Callable[[Sequence[Stretches]], list[Verdict]]) -> None:
        self._judge, self._inline_rows = judge, _INLINE_ROWS
        self._waiting: deque[tuple[Stretches, asyncio.Future[Verdict]]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def judge(self, request: Stretches) -> Verdict:
        """The verdict on one request. Raises what judging it raised."""
        future: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, future))
        if self._task is None:
            self._task = asyncio.create_task(self._work(), name="judge what waits")
        return await future

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch = self._take()
                requests = [request for request, _ in batch]
                rows = sum(len(request.rows) for request in requests)
                if rows <= self._inline_rows:
                    answers, seconds = self._timed(requests)
                    if seconds > INLINE_SECONDS:
                        self._inline_rows = rows // 2
                else:
                    answers, seconds = await asyncio.to_thread(self._timed, requests)
                    if seconds < INLINE_SECONDS / 2:
                        self._inline_rows = max(rows, 2 * self._inline_rows)
                for (_, future), answer in zip(batch, answers, strict=True):
                    if future.done():  # its client has gone
                        continue
                    if isinstance(answer, Exception):
                        future.set_exception(answer)
                    else:
                        future.set_result(answer)
        finally:
            self._task = None

    def _take(self) -> list[tuple[Stretches, asyncio.Future[Verdict]]]:
        batch = [self._waiting.popleft()]
        rows = len(batch[0][0].rows)
        while self._waiting and (rows := rows + len(self._waiting[0][0].rows)) <= BATCH_ROWS:
            batch.append(self._waiting.popleft())
        return batch

    def _timed(self, requests: Sequence[Stretches]) -> tuple[Sequence[Verdict | Exception], float]:
        """The answers, and the seconds of this thread's own work: on a busy machine waiting is no measure."""
        begun = thread_time()
        return self._each(requests), thread_time() - begun

    def _each(self, requests: Sequence[Stretches]) -> Sequence[Verdict | Exception]:
        try:
            return self._judge(requests)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer to one of them
            if len(requests) == 1:
                return [error]
            return [self._each([request])[0] for request in requests]
