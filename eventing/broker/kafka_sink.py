"""KafkaSink on one machine: a Trigger's events written to a topic, each answered once Kafka has it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from typing import Any

from .. import kafka_binding
from ..wire import WireEvent
from . import kafka_client
from .senders import Answer
from .sources import KafkaTopic

log = logging.getLogger(__name__)

WRITE_SECONDS = 20.0
"""After so long a record is given up, the subscriber's answer being none; the Trigger then tries again."""
POLL_SECONDS = 0.1
_ENCODERS = {"binary": kafka_binding.encode, "structured": kafka_binding.encode_structured}


class KafkaSink:
    """Writes events to one topic. `send` never raises for what Kafka does.

    Raises Reject where confluent-kafka is not installed or a Secret is missing.
    """

    def __init__(
        self,
        topic: KafkaTopic,
        *,
        secret: kafka_client.ReadSecret = kafka_client.no_secrets,
        write_seconds: float = WRITE_SECONDS,
    ) -> None:
        where = f"KafkaSink {topic.name}"
        self.topic = topic
        self._kafka = kafka_client.confluent(where)
        self._encode = _ENCODERS[topic.mode]
        self._settings = {
            **kafka_client.settings(topic.kafka, where, secret),
            # No record twice and none out of order while Kafka is asked again.
            "enable.idempotence": True,
            "message.timeout.ms": round(write_seconds * 1000),
            "linger.ms": 5,
            "client.id": f"homeostat-{topic.name}",
        }
        self._producer: Any = None
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    async def send(self, event: WireEvent) -> Answer:
        """Write one event: 202 once every replica in sync has it, 413 for one that is too large for the
        topic, and no code, with the reason, for what may succeed later."""
        loop = asyncio.get_running_loop()
        written: asyncio.Future[Any] = loop.create_future()

        def deliver(error: Any, _message: Any) -> None:
            try:
                loop.call_soon_threadsafe(_settle, written, error)
            except RuntimeError:  # the loop has gone, and who waited with it
                log.debug("KafkaSink %s: answered too late", self.topic.name)

        headers, key, value = self._encode(event)
        try:
            self._open().produce(self.topic.topic, value=value, key=key, headers=headers, on_delivery=deliver)
        except BufferError:
            return Answer(None, [], b"the queue of records on their way to Kafka is full")
        except self._kafka.KafkaException as refused:
            return self._failed(refused.args[0])
        error = await written
        return Answer(202, [], b"") if error is None else self._failed(error)

    async def close(self, seconds: float = 5.0) -> None:
        """Give what is on its way some time."""
        self._closed.set()
        if self._producer is not None:
            await asyncio.to_thread(self._producer.flush, seconds)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    def _open(self) -> Any:
        if self._producer is None:
            self._producer = self._kafka.Producer(self._settings, logger=log)
        if self._thread is None:
            self._thread = threading.Thread(target=self._poll, name=f"kafka {self.topic.name}", daemon=True)
            self._thread.start()
        return self._producer

    def _poll(self) -> None:
        """Librdkafka answers whoever polls."""
        while not self._closed.is_set():
            if (producer := self._producer) is None:
                self._closed.wait(POLL_SECONDS)
                continue
            try:
                producer.poll(POLL_SECONDS)
            except self._kafka.KafkaException as error:
                log.warning("KafkaSink %s: %s", self.topic.name, error)
                self._replace(producer)

    def _replace(self, producer: Any) -> None:
        """An idempotent producer that has lost its place writes no more, and is silent about what is left."""
        self._producer = None
        producer.purge()
        while len(producer):
            with contextlib.suppress(self._kafka.KafkaException):
                producer.flush(POLL_SECONDS)

    def _failed(self, error: Any) -> Answer:
        large = error.code() == self._kafka.KafkaError.MSG_SIZE_TOO_LARGE
        return Answer(413 if large else None, [], f"Kafka: {error}".encode())


def _settle(written: asyncio.Future[Any], error: Any) -> None:
    if not written.done():
        written.set_result(error)
