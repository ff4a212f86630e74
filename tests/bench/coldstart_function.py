"""`python -m tests.bench.coldstart_function FUNCTION DETECTORS SINK PORT`: one function and a host whose
detectors are a SQLite file, whose events and commands go to a sink, and which measures nothing: it hands in
facts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from homeostat.eventing.messages import COMMANDS
from homeostat.eventing.wire import WireEvent, encode
from homeostat.functions.alarms import Alarm
from homeostat.functions.canary import CanaryFacts
from homeostat.functions.detector import Batch
from homeostat.functions.score_stream import StreamFacts
from homeostat.infra.local.store import Store
from homeostat.infra.serve import function_app
from homeostat.infra.shell import Execute, Host, Observe


def host(detectors: Path, sink: str) -> Host:
    client = httpx.AsyncClient(timeout=30)
    facts = (
        Batch(uri="s3://plant/pump/b.csv", etag="2", rows=6000, landed=datetime.now(UTC)),
        CanaryFacts(ready=True),
        StreamFacts("", "r1", 1.0, (Alarm(rows=1, score=2.0, row=0),)),
    )

    async def emit(events: Sequence[WireEvent]) -> None:
        for event in events:
            headers, body = encode(event)
            (await client.post(sink, headers=headers, content=body)).raise_for_status()

    async def execute(*_: object) -> None:
        (await client.post(sink)).raise_for_status()

    def known(fact: Any) -> Observe:
        async def observe(*_: object) -> Any:
            return fact

        return observe

    executors: dict[type[Any], Execute] = dict.fromkeys(COMMANDS, execute)
    return Host(Store(detectors), emit, executors, {type(fact): known(fact) for fact in facts})


if __name__ == "__main__":
    function, detectors, sink, port = sys.argv[1:]
    app = function_app(function, host(Path(detectors), sink))
    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning")
