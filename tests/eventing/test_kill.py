"""SIGKILL at any moment: what was answered with 202 is there, and is delivered."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from pathlib import Path

from homeostat.eventing.broker.log import EventLog
from tests.eventing.brokers import Subscriber, event, running, until

POSTER = """
import asyncio, sys
from pathlib import Path
from tests.eventing.brokers import Subscriber, event, running
async def main():
    async with running(Path(sys.argv[1]), Subscriber()) as broker:
        async def post(client):
            number = 0
            while True:
                identity = f"{sys.argv[2]}-{client}-{number}"
                await broker.accept([event(identity, f"s{client}")])
                print(identity, flush=True)
                number += 1
        await asyncio.gather(*(post(client) for client in range(8)))
asyncio.run(main())
"""


def test_no_accepted_event_is_lost_however_often_the_broker_is_killed(tmp_path: Path) -> None:
    chance, accepted = random.Random(7), set()
    for round_number in range(6):
        with subprocess.Popen(
            [sys.executable, "-c", POSTER, str(tmp_path), str(round_number)],
            stdout=subprocess.PIPE,
            text=True,
        ) as poster:
            assert poster.stdout is not None
            accepted.add(poster.stdout.readline().strip())
            time.sleep(chance.uniform(0.0, 0.4))
            poster.kill()
            # A line that the kill cut short was never read by a sender either.
            lines = poster.stdout.read().splitlines(keepends=True)
            accepted.update(line.strip() for line in lines if line.endswith("\n"))
    assert len(accepted) > 100

    async def rest() -> set[str]:
        listener = Subscriber()
        async with running(tmp_path, listener) as broker:
            await broker.accept([event("last")])
            await until(lambda: not any(EventLog(tmp_path / "broker.db").lag().values()), 60)
            await until(lambda: "last" in listener.got, 60)
        return set(listener.got)

    late = asyncio.run(rest())
    stored, after = set(), 0
    log = EventLog(tmp_path / "broker.db")
    while page := log.events(after, 5000):
        after = page[-1].sequence
        stored |= {one.event.attributes["id"] for one in page}
    assert accepted <= stored
    assert late <= stored
    assert log.dead() == []
    assert log.lag() == {"listener": 0}
