"""Events a second that the broker makes durable, beside a bare uvicorn that only says 202; how fast it
delivers, how soon at a steady rate, and how it starts with a long backlog."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.eventing.brokers import event, running, until

PEER = f"bare uvicorn {version('uvicorn')}"
CLIENTS = 32
EVENTS = 10_000
DELIVERED = 20_000
RATE = 1_000
"""Events a second, for SECONDS."""
SECONDS = 10
BACKLOG = 1_000_000

SERVER = """
import asyncio, sys, uvicorn
from pathlib import Path
from tests.eventing.brokers import Subscriber, running
async def bare(scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 202, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})
async def serve(app):
    config = uvicorn.Config(app, port=0, log_level="critical", lifespan="off", access_log=False)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)
    await task
async def main():
    if sys.argv[1] == "bare":
        await serve(bare)
    else:
        # The trigger refuses everything: this measures the door and the disk alone.
        filters = [{"exact": {"type": "nobody"}}]
        async with running(Path(sys.argv[2]), Subscriber(), filters=filters) as broker:
            await serve(broker.app)
asyncio.run(main())
"""


def run() -> dict[str, dict[str, Any]]:
    from tests.bench.__main__ import Metric

    rounds = [(_ingest("broker"), _ingest("bare")) for _ in range(5)]
    started, megabytes = _backlog()
    ours, peer = (max(one[side] for one in rounds) for side in (0, 1))
    return {
        "durable_ingest": Metric(ours, peer, "events/s").document(),
        "delivery_in_process": Metric(
            max(asyncio.run(_deliver()) for _ in range(3)), None, "events/s"
        ).document(),
        "accept_to_deliver_p99": Metric(asyncio.run(_steady()), None, "ms").document(),
        "backlog_start": Metric(started, None, "s").document(),
        "backlog_memory": Metric(megabytes, None, "MB").document(),
    }


def _ingest(kind: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", SERVER, kind, folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            try:
                return asyncio.run(_post_all(port))
            finally:
                server.kill()


async def _post_all(port: int) -> float:
    begun = time.perf_counter()
    await asyncio.gather(*(_client(port, number) for number in range(CLIENTS)))
    return EVENTS // CLIENTS * CLIENTS / (time.perf_counter() - begun)


async def _client(port: int, number: int) -> None:
    """Raw sockets with keep-alive: a client library would be slower than the server it measures."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = (
        b'{"uri": "s3://plant/pump/2026-11-23T15-04-05.parquet", "etag": "0123456789abcdef", "size": 12345}'
    )
    for one in range(EVENTS // CLIENTS):
        writer.write(
            b"POST /homeostat/default HTTP/1.1\r\nhost: x\r\nce-specversion: 1.0\r\nce-source: /bench\r\n"
            b"ce-type: dev.homeostat.data.landed\r\nce-subject: pump\r\ncontent-type: application/json\r\n"
            b"ce-id: %d-%d\r\ncontent-length: %d\r\n\r\n%b" % (number, one, len(body), body)
        )
        answer = await reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 202"):
            raise RuntimeError(answer.decode())
    writer.close()
    await writer.wait_closed()


class _Function:
    """A subscriber in the same process that does nothing. `late` holds seconds from accept to arrival."""

    def __init__(self) -> None:
        self.count = 0
        self.begun: dict[bytes, float] = {}
        self.late: list[float] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        self.count += 1
        if self.begun:
            identity = next(value for name, value in scope["headers"] if name == b"ce-id")
            self.late.append(time.perf_counter() - self.begun.get(identity, 0.0))
        await send({"type": "http.response.start", "status": 202, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def _deliver() -> float:
    with tempfile.TemporaryDirectory() as folder:
        function = _Function()
        async with running(Path(folder), function) as broker:
            begun = time.perf_counter()
            for start in range(0, DELIVERED, 200):
                await broker.accept([event(str(one), f"s{one % 97}") for one in range(start, start + 200)])
            await until(lambda: function.count >= DELIVERED, 120)
            return DELIVERED / (time.perf_counter() - begun)


async def _steady() -> float:
    """The 0.99 quantile of milliseconds from accept() to the function, RATE events a second."""
    with tempfile.TemporaryDirectory() as folder:
        function = _Function()
        async with running(Path(folder), function) as broker:
            begun = asyncio.get_running_loop().time()
            posts = set()
            for one in range(RATE * SECONDS):
                await asyncio.sleep(begun + one / RATE - asyncio.get_running_loop().time())
                function.begun[str(one).encode()] = time.perf_counter()
                posts.add(asyncio.create_task(broker.accept([event(str(one), f"s{one % 97}")])))
            await asyncio.gather(*posts)
            await until(lambda: function.count >= RATE * SECONDS, 60)
        return sorted(function.late)[round(0.99 * len(function.late))] * 1000


def _backlog() -> tuple[float, float]:
    """Seconds until a broker with BACKLOG undelivered events delivers the first, and its largest MB while it
    delivers for some seconds."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-c", FILL, folder, str(BACKLOG)], check=True)
        ended = subprocess.run(
            [sys.executable, "-c", START, folder], check=True, capture_output=True, text=True
        )
        seconds, megabytes = map(float, ended.stdout.split())
        return seconds, megabytes


FILL = """
import asyncio, sys
from pathlib import Path
from tests.eventing.brokers import event, manifests
from homeostat.eventing.broker.store import BrokerStore
async def main():
    store = BrokerStore(Path(sys.argv[1]) / "broker.db")
    await store.register(["listener"])
    data = b'{"uri": "s3://plant/pump/2026-11-23T15-04-05.parquet", "etag": "0123456789abcdef"}'
    for start in range(0, int(sys.argv[2]), 10_000):
        await store.append([event(str(n), f"s{n % 97}", data=data) for n in range(start, start + 10_000)])
    store.close()
asyncio.run(main())
"""
START = """
import asyncio, resource, sys, time
from pathlib import Path
from tests.bench.broker import _Function
from tests.eventing.brokers import running, until
async def main():
    begun, function = time.perf_counter(), _Function()
    async with running(Path(sys.argv[1]), function):
        await until(lambda: function.count)
        print(time.perf_counter() - begun)
        await asyncio.sleep(5)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
asyncio.run(main())
"""
