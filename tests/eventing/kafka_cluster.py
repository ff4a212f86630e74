"""Librdkafka's own mock cluster (`rdkafka_mock.h`), shared by any number of clients of this process.

confluent-kafka starts one too (`test.mock.num.brokers`), but cannot tell it anything: brokers that go away,
requests that fail, and how long a group waits for its first members need these calls. The
library is the one that confluent-kafka has loaded.
"""

from __future__ import annotations

import asyncio
import ctypes
import functools
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import confluent_kafka
from confluent_kafka import Consumer, Producer, TopicPartition

_FOLDER = Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs"
PRODUCE, OFFSET_COMMIT = 0, 8
"""Numbers of requests in Kafka's protocol."""
_PRODUCER = 0


def asynchronous(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """The test as pytest can run it."""

    @functools.wraps(test)
    def run(*arguments: Any, **fixtures: Any) -> None:
        asyncio.run(test(*arguments, **fixtures))

    return run


def _library() -> ctypes.CDLL:
    (path,) = _FOLDER.glob("librdkafka-*.so*")
    library = ctypes.CDLL(str(path))
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    for name, answer, arguments in (
        ("rd_kafka_conf_new", pointer, []),
        ("rd_kafka_conf_set", number, [pointer, text, text, text, ctypes.c_size_t]),
        ("rd_kafka_new", pointer, [number, pointer, text, ctypes.c_size_t]),
        ("rd_kafka_destroy", None, [pointer]),
        ("rd_kafka_mock_cluster_new", pointer, [pointer, number]),
        ("rd_kafka_mock_cluster_destroy", None, [pointer]),
        ("rd_kafka_mock_cluster_bootstraps", text, [pointer]),
        ("rd_kafka_mock_topic_create", number, [pointer, text, number, number]),
        ("rd_kafka_mock_group_initial_rebalance_delay_ms", None, [pointer, ctypes.c_int32]),
        ("rd_kafka_mock_broker_set_down", number, [pointer, ctypes.c_int32]),
        ("rd_kafka_mock_broker_set_up", number, [pointer, ctypes.c_int32]),
        ("rd_kafka_mock_coordinator_set", number, [pointer, text, text, ctypes.c_int32]),
        (
            "rd_kafka_mock_push_request_errors_array",
            None,
            [pointer, ctypes.c_int16, ctypes.c_size_t, pointer],
        ),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = answer, arguments
    return library


class Cluster:
    """Brokers 1 to `brokers`; topics are made by `topic`."""

    def __init__(self, brokers: int = 1) -> None:
        self._library = _library()
        error = ctypes.create_string_buffer(512)
        quiet = self._library.rd_kafka_conf_new()
        self._library.rd_kafka_conf_set(quiet, b"log_level", b"0", error, 512)
        self._handle = self._library.rd_kafka_new(_PRODUCER, quiet, error, 512)
        assert self._handle, error.value
        self._cluster = self._library.rd_kafka_mock_cluster_new(self._handle, brokers)
        assert self._cluster
        # A group's first members are otherwise waited for three seconds.
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 50)
        self.servers: str = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()
        self._producer = Producer({"bootstrap.servers": self.servers, "linger.ms": 0})

    def close(self) -> None:
        del self._producer
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._handle)

    def topic(self, name: str, partitions: int = 1) -> None:
        assert self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1) == 0

    def down(self, broker: int) -> None:
        assert self._library.rd_kafka_mock_broker_set_down(self._cluster, broker) == 0

    def up(self, broker: int) -> None:
        assert self._library.rd_kafka_mock_broker_set_up(self._cluster, broker) == 0

    def coordinate(self, group: str, broker: int) -> None:
        kind = b"group"
        assert self._library.rd_kafka_mock_coordinator_set(self._cluster, kind, group.encode(), broker) == 0

    def fail(self, request: int, errors: Sequence[int]) -> None:
        """The next requests of this kind are answered with these errors, one each."""
        array = (ctypes.c_int * len(errors))(*errors)
        self._library.rd_kafka_mock_push_request_errors_array(self._cluster, request, len(errors), array)

    def write(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None = None,
        headers: Sequence[tuple[str, bytes | None]] = (),
        partition: int = 0,
        timestamp: int = 0,
    ) -> None:
        """One record, on disk (as it were) when this returns."""
        failed: list[object] = []
        self._producer.produce(
            topic,
            value=value,
            key=key,
            headers=list(headers),
            partition=partition,
            timestamp=timestamp,
            on_delivery=lambda error, _: failed.append(error) if error else None,
        )
        assert self._producer.flush(10) == 0
        assert not failed, failed

    def committed(self, group: str, topic: str, partition: int = 0) -> int:
        """The next offset that the group would read; negative where nothing was ever committed."""
        looker = Consumer({"bootstrap.servers": self.servers, "group.id": group})
        try:
            (place,) = looker.committed([TopicPartition(topic, partition)], timeout=10)
            return int(place.offset)
        finally:
            looker.close()

    def read(self, topic: str, count: int, seconds: float = 10) -> list[confluent_kafka.Message]:
        """So many records from the beginning of a topic, which has at most four partitions."""
        reader = Consumer({"bootstrap.servers": self.servers, "group.id": "reader"})
        partitions = reader.list_topics(topic, timeout=10).topics[topic].partitions
        reader.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        found: list[confluent_kafka.Message] = []
        deadline = time.monotonic() + seconds
        while len(found) < count and time.monotonic() < deadline:
            found += [message for message in reader.consume(count, 0.2) if not message.error()]
        reader.close()
        return found


@contextmanager
def cluster(brokers: int = 1) -> Iterator[Cluster]:
    running = Cluster(brokers)
    try:
        yield running
    finally:
        running.close()
