"""Promotions and rollbacks under a steady load: no request fails, and none is answered by a revision that was
not meant to serve at any moment between its sending and its answer.

Real model servers behind the real router. What is meant is said by this test, not read from the router.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from homeostat.infra.local.serving import Desired, Served
from tests.infra.serving_home import BODY, Home, home, save_artifacts

PER_SECOND = 200
AT_ONCE = 64
"""Where the machine does not carry the pace, requests are sent later instead of piling up."""
URL = "/serving/pump/v1/models/pump:predict"


@dataclass
class Meant:
    """Which revisions were meant to serve, and since when; a request's time is held against that."""

    spans: list[tuple[float, frozenset[str]]] = field(default_factory=list)

    def now(self, *revisions: str) -> None:
        self.spans.append((time.monotonic(), frozenset(revisions)))

    def between(self, sent: float, answered: float) -> frozenset[str]:
        ends = [since for since, _ in self.spans[1:]] + [float("inf")]
        within = [
            names
            for (since, names), end in zip(self.spans, ends, strict=True)
            if since <= answered and end >= sent
        ]
        return frozenset[str]().union(*within)


@dataclass
class Answers:
    """Of a load: (sent, answered, revision) of those that succeeded, and what went wrong with the others."""

    good: list[tuple[float, float, str]] = field(default_factory=list)
    bad: list[tuple[float, str]] = field(default_factory=list)
    late: int = 0


@asynccontextmanager
async def load(here: Home) -> AsyncIterator[Answers]:
    """`PER_SECOND` requests a second, each sent at its time whether or not others are answered yet, as long
    as fewer than `AT_ONCE` are not; every other one continues a series. Clients hold their connections."""
    answers = Answers()
    tasks: set[asyncio.Task[None]] = set()
    going = True

    async def ask(number: int, client: aiohttp.ClientSession) -> None:
        body = {**BODY, "series": f"line-{number % 40}"} if number % 2 else BODY
        sent = time.monotonic()
        try:
            async with client.post(here.url + URL, json=body) as answer:
                text = await answer.text()
                revision = answer.headers.get("x-homeostat-revision", "")
                if answer.status == 200:
                    answers.good.append((sent, time.monotonic(), revision))
                else:
                    what = f"{answer.status} by {revision or 'the router'}: {text[:200]}"
                    answers.bad.append((sent, what))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            answers.bad.append((sent, repr(error)))

    async def pace() -> None:
        due, number = time.monotonic(), 0
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as client:
            while going:
                await asyncio.sleep(max(due - time.monotonic(), 0))
                if len(tasks) >= AT_ONCE:
                    answers.late += 1
                    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                task = asyncio.create_task(ask(number, client))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                number += 1
                due = max(due + 1 / PER_SECOND, time.monotonic() - 1)
            await asyncio.gather(*tasks)

    pacing = asyncio.create_task(pace())
    try:
        yield answers
    finally:
        going = False
        await pacing


async def swaps(here: Home, artifacts: Path, rounds: int) -> tuple[Answers, Meant]:
    """So many times: a canary that is promoted, and one that is taken back. A rollback to the revision
    before, whose process is gone by then, closes the story."""
    meant, number = Meant(), 0

    def new() -> Served:
        nonlocal number
        number += 1
        folder = artifacts / f"pump-{number}"
        shutil.copytree(artifacts / ("pump-a", "pump-b")[number % 2], folder)
        return Served(folder.name, str(folder))

    async def desire(
        stable: Served, canary: Served | None = None, percent: int = 0, shadow: bool = False
    ) -> None:
        meant.now(stable.revision, *([canary.revision] if canary and not shadow else []))
        await here.serving.desire(Desired("pump", stable, canary, percent, shadow))

    async def on_trial(stable: Served) -> Served:
        canary = new()
        await desire(stable, canary, 5, shadow=True)
        await here.until_serves(canary.revision)
        await asyncio.sleep(0.2)
        for percent in (5, 50):
            await desire(stable, canary, percent)
            await asyncio.sleep(0.2)
        return canary

    stable = new()
    await desire(stable)
    await here.until_serves(stable.revision)
    async with load(here) as answers:
        for _ in range(rounds):
            before, stable = stable, await on_trial(stable)
            await desire(stable)  # promoted
            await asyncio.sleep(0.1)
            await on_trial(stable)
            await desire(stable)  # rolled back
        # A restored revision has to load, and until then the one that serves goes on.
        meant.now(before.revision, stable.revision)
        await here.serving.desire(Desired("pump", before, None, 0))
        await here.until_serves(before.revision)
        meant.now(before.revision)
        await here.until(lambda: len(here.serving.conditions()) == 1)
    return answers, meant


@pytest.mark.parametrize("rounds", [1, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(1500)])])
def test_swaps_under_load_fail_no_request_and_ask_no_revision_that_was_not_meant(
    tmp_path: Path, rounds: int
) -> None:
    artifacts = tmp_path / "artifacts"
    save_artifacts(artifacts)

    async def story() -> tuple[Answers, Meant]:
        async with home(tmp_path / "state") as here:
            return await swaps(here, artifacts, rounds)

    begun = time.monotonic()
    answers, meant = asyncio.run(story())
    seconds = time.monotonic() - begun
    assert answers.bad == []
    wrong = [
        (revision, sorted(allowed))
        for sent, answered, revision in answers.good
        if revision not in (allowed := meant.between(sent, answered))
    ]
    assert wrong == []
    assert len(answers.good) > 500
    assert {revision for *_, revision in answers.good} >= {f"pump-{n}" for n in range(1, 2 * rounds + 2)}
    print(f"{len(answers.good)} requests in {seconds:.0f} s, {answers.late} sent late")
