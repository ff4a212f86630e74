"""The embedded broker: Knative's data plane in one process, driven by the cluster's own manifests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import httpx
from prometheus_client import CollectorRegistry

from ..wire import WireEvent, check
from . import cron
from .delivery import Deliverer
from .ingress import Ingress
from .manifests import Destination, read
from .metrics import Metrics
from .senders import App
from .store import BrokerStore

Resolve = Callable[[Destination], "str | App"]


class Broker:
    """`resolve` says where a manifest's Destination lives; `schedules` overrides PingSources by name.

    Raises Reject for manifests that cannot be run, DamagedStore for a file that cannot be used.
    """

    def __init__(
        self,
        path: Path,
        manifests: Sequence[Path],
        resolve: Resolve,
        *,
        schedules: Mapping[str, str] | None = None,
        max_body: int = 1024 * 1024,
    ) -> None:
        self.registry = CollectorRegistry()
        self._manifests = read(manifests)
        wanted = schedules or {}
        self._pings = [
            replace(ping, schedule=wanted.get(ping.name, ping.schedule)) for ping in self._manifests.pings
        ]
        for ping in self._pings:
            cron.check(ping)
        self._resolve = resolve
        self._metrics = Metrics(self.registry)
        self._store = BrokerStore(path)
        self._deliverers: list[Deliverer] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._client: httpx.AsyncClient | None = None
        self.app = Ingress(self._manifests.brokers, self._take, max_body)

    async def accept(self, events: Sequence[WireEvent]) -> None:
        """Take events; they are on disk when this returns. Duplicates are taken and forgotten.

        Raises Reject for attributes that are no CloudEvent's, Retry when the disk cannot take them.
        """
        for event in events:
            check(event)
        await self._take(events)

    async def _take(self, events: Sequence[WireEvent]) -> None:
        new = await self._store.append(events)
        self._metrics.accepted.inc(new)
        self._metrics.duplicates.inc(len(events) - new)

    async def start(self) -> None:
        """Deliver, tick, and open the door."""
        await self._store.register([trigger.name for trigger in self._manifests.triggers])
        limits = httpx.Limits(max_connections=256, max_keepalive_connections=64)
        self._client = httpx.AsyncClient(
            limits=limits,
            timeout=None,  # noqa: S113 - each Trigger has its own
            # A proxy for the outer world has no way to a subscriber on this machine.
            mounts={"all://127.0.0.1": None, "all://localhost": None},
        )
        for trigger in self._manifests.triggers:
            sink = trigger.delivery.dead_letter_sink
            deliverer = Deliverer(
                trigger,
                self._resolve(trigger.subscriber),
                self._resolve(sink) if sink else None,
                self._store,
                self._take,
                self._client,
                self._metrics,
            )
            deliverer.start()
            self._deliverers.append(deliverer)
        self._tasks = [asyncio.create_task(cron.run(ping, self.accept)) for ping in self._pings]
        self.app.open = True

    async def stop(self, drain_seconds: float = 10.0) -> None:
        """Take no more events, finish what is on its way, write everything down."""
        self.app.open = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(deliverer.stop(drain_seconds) for deliverer in self._deliverers))
        if self._client:
            await self._client.aclose()
        await asyncio.to_thread(self._store.close)
