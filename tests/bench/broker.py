"""Events a second that the broker makes durable, beside a bare uvicorn that only says 202; and delivers."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.eventing.brokers import Subscriber, event, running, until

PEER = f"bare uvicorn {version('uvicorn')}"
CLIENTS = 32
EVENTS = 10_000
DELIVERED = 20_000

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

    rounds = [(_ingest("broker"), _ingest("bare")) for _ in range(3)]
    ours, peer = (max(one[side] for one in rounds) for side in (0, 1))
    return {
        "durable_ingest": Metric(ours, peer, "events/s").document(),
        "delivery_in_process": Metric(asyncio.run(_deliver()), None, "events/s").document(),
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


async def _deliver() -> float:
    with tempfile.TemporaryDirectory() as folder:
        listener = Subscriber()
        async with running(Path(folder), listener) as broker:
            begun = time.perf_counter()
            for start in range(0, DELIVERED, 200):
                await broker.accept([event(str(one), f"s{one % 97}") for one in range(start, start + 200)])
            await until(lambda: len(listener.got) >= DELIVERED, 120)
            return DELIVERED / (time.perf_counter() - begun)
