"""The embedded broker: Knative's data plane in one process, driven by the cluster's own manifests."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
from prometheus_client import CollectorRegistry

from ..errors import Retry
from ..wire import WireEvent, check
from . import cron, kafka_client
from .courier import Courier
from .delivery import Deliverer
from .ingress import Ingress
from .kafka_sink import KafkaSink
from .kafka_source import KafkaSource, SourceMetrics
from .manifests import Destination, Trigger, read
from .metrics import Metrics, Standing, TriggerMetrics
from .retention import Forgetting, Retention
from .senders import Target
from .store import BrokerStore

log = logging.getLogger(__name__)

Resolve = Callable[[Destination], Target]
LOOK_SECONDS = 0.5
"""How often the broker looks for what was ordered by hand: pauses, and events wanted once more."""


class Broker:
    """`resolve` says where a manifest's Destination lives; `schedules` overrides PingSources by name; and
    `secret` reads what KafkaSources and KafkaSinks keep in Secrets.

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
        retention: Retention | None = None,
        secret: kafka_client.ReadSecret = kafka_client.no_secrets,
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
        self._metrics = Metrics(self.registry, self.standing)
        self._store = BrokerStore(path)
        self._forgetting = Forgetting(retention or Retention(), self._store, self._done)
        counts = SourceMetrics(self.registry)
        self._feeds = [
            KafkaSource(one, self.accept, secret=secret, metrics=counts)
            for one in self._manifests.kafka_sources
        ]
        self._sinks = {
            (one.namespace, one.name): KafkaSink(one, secret=secret) for one in self._manifests.kafka_sinks
        }
        self._deliverers: list[Deliverer] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._client: httpx.AsyncClient | None = None
        self.app = Ingress(self._manifests.brokers, self._take, max_body)

    def standing(self) -> Standing:
        """What was taken since the start, and how far each trigger is behind."""
        lag = {one.trigger.name: self._store.last - one.cursor for one in self._deliverers}
        return Standing(self._store.accepted, self._store.duplicates, lag)

    def _done(self) -> int:
        return min((one.cursor for one in self._deliverers), default=self._store.last)

    async def accept(self, events: Sequence[WireEvent]) -> None:
        """Take events; they are on disk when this returns. Duplicates are taken and forgotten.

        Raises Reject for attributes that are no CloudEvent's, Retry when the disk cannot take them.
        """
        for event in events:
            check(event)
        await self._take(events)

    async def _take(self, events: Sequence[WireEvent]) -> None:
        if self._forgetting.full:
            raise Retry("the broker's file is as large as it may be, and all of it is undelivered", after=30)
        await self._store.append(events)

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
        self._deliverers = [self._deliverer(one, self._client) for one in self._manifests.triggers]
        for deliverer in self._deliverers:
            deliverer.start()
        steady: list[Coroutine[Any, Any, None]] = [cron.run(ping, self.accept) for ping in self._pings]
        steady += [feed.run() for feed in self._feeds]
        steady += [self._look(), self._forgetting.run()]
        self._tasks = [asyncio.create_task(one) for one in steady]
        self.app.open = True

    def _deliverer(self, trigger: Trigger, client: httpx.AsyncClient) -> Deliverer:
        sink = trigger.delivery.dead_letter_sink
        courier = Courier(
            trigger,
            self._target(trigger.subscriber),
            self._target(sink) if sink else None,
            self._store,
            self._take,
            client,
            TriggerMetrics(self._metrics, trigger.name),
        )
        return Deliverer(courier, self._store)

    def _target(self, destination: Destination) -> Target:
        """KafkaSinks are the broker's own; everything else is found by the home."""
        if destination.kind == "KafkaSink":
            return self._sinks[destination.namespace, destination.name]
        target = self._resolve(destination)
        return (
            target.rstrip("/") + destination.path if isinstance(target, str) and destination.path else target
        )

    async def _look(self) -> None:
        """What people order lies in the file (see `control`), so that it holds across restarts."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                paused = self._store.log.paused()
                for one in self._deliverers:
                    one.pause(one.trigger.name in paused)
                    one.again(self._store.log.wanted_again(one.trigger.name))
            except sqlite3.Error as error:
                log.warning("the broker's file cannot be read: %s", error)

    async def stop(self, drain_seconds: float = 10.0) -> None:
        """Take no more events, finish what is on its way, write everything down."""
        self.app.open = False
        await asyncio.gather(*(feed.stop() for feed in self._feeds))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(deliverer.stop(drain_seconds) for deliverer in self._deliverers))
        await asyncio.gather(*(sink.close() for sink in self._sinks.values()))
        if self._client:
            await self._client.aclose()
        await asyncio.to_thread(self._store.close)
