"""One member of a Kafka consumer group. Its calls block, and belong to one thread.

Offsets are committed for records that were accepted, and for nothing else: a partition that this group never
read is given its first offset at once, so that `latest` does not mean another place after each restart.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .kafka_records import Record
from .sources import KafkaFeed

log = logging.getLogger(__name__)

BATCH = 500
CALL_SECONDS = 10.0
_FIXED: Mapping[str, Any] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    # Where a first reading begins is committed below; this is for what retention has deleted since.
    "auto.offset.reset": "earliest",
    "socket.timeout.ms": 10_000,
    # What is fetched ahead lies in memory.
    "queued.max.messages.kbytes": 16_384,
    "fetch.max.bytes": 8 * 1024 * 1024,
}


class Reader:
    """`settings` are librdkafka's, for the connection. Whatever goes wrong is raised as KafkaException."""

    def __init__(self, kafka: Any, feed: KafkaFeed, settings: Mapping[str, Any]) -> None:
        self._kafka, self._feed = kafka, feed
        self._owed: dict[tuple[str, int], int] = {}
        self._mine: set[tuple[str, int]] = set()
        self._lost: set[tuple[str, int]] = set()
        self._paused = False
        self._told: dict[int, float] = {}
        own = {"group.id": feed.group, "client.id": f"homeostat-{feed.name}"}
        self._consumer = kafka.Consumer({**settings, **_FIXED, **own}, logger=log)
        self._consumer.subscribe(
            list(feed.topics), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked
        )

    def read(self, seconds: float) -> list[Record]:
        """The next records, those of each partition in its order; none after so many seconds without."""
        if self._owed:
            self._commit()
        first = self._consumer.poll(seconds)
        if first is None:
            return []
        # One record does not wait for company, but takes what has come with it.
        found = [first, *self._consumer.consume(BATCH - 1, 0)]
        return [_record(message, self._kafka) for message in found if self._sound(message)]

    def kept(self, records: Iterable[Record]) -> list[Record]:
        """Those whose partitions were not taken away since the last call: the others are read again, by
        whoever has them now."""
        lost, self._lost = self._lost, set()
        return [record for record in records if (record.topic, record.partition) not in lost]

    def pause(self) -> None:
        """Read no more, and stay in the group."""
        self._consumer.pause(self._consumer.assignment())
        self._paused = True

    def done(self, records: Sequence[Record]) -> None:
        """These were accepted. A commit that fails is made up for by the next `read`."""
        self._owed |= {(record.topic, record.partition): record.offset + 1 for record in records}
        self._commit()
        if self._paused:
            self._consumer.resume(self._consumer.assignment())
            self._paused = False

    def close(self) -> None:
        self._consumer.close()

    def _commit(self) -> None:
        place = self._kafka.TopicPartition
        offsets = [
            place(*partition, offset) for partition, offset in self._owed.items() if partition in self._mine
        ]
        self._owed = {partition: self._owed[partition] for partition in self._owed if partition in self._mine}
        if not offsets:
            return
        try:
            answers = self._consumer.commit(offsets=offsets, asynchronous=False)
        except self._kafka.KafkaException as error:
            self._tell(error.args[0])
            return
        for answer in answers:
            if answer.error:
                self._tell(answer.error)
            elif self._owed.get((answer.topic, answer.partition)) == answer.offset:
                del self._owed[answer.topic, answer.partition]

    def _assigned(self, consumer: Any, partitions: list[Any]) -> None:
        places = consumer.committed(partitions, timeout=CALL_SECONDS)
        for place in places:
            if place.error:
                raise self._kafka.KafkaException(place.error)
        fresh = [place for place in places if place.offset < 0]
        for place in fresh:
            low, high = consumer.get_watermark_offsets(place, timeout=CALL_SECONDS)
            place.offset = high if self._feed.initial_offset == "latest" else low
        consumer.assign(places)
        self._mine = {(place.topic, place.partition) for place in places}
        self._owed |= {(place.topic, place.partition): place.offset for place in fresh}
        self._commit()

    def _revoked(self, _consumer: Any, partitions: list[Any]) -> None:
        lost = {(place.topic, place.partition) for place in partitions}
        self._mine -= lost
        self._lost |= lost

    def _sound(self, message: Any) -> bool:
        if (error := message.error()) is None:
            return True
        if error.fatal():
            raise self._kafka.KafkaException(error)
        self._tell(error)
        return False

    def _tell(self, error: Any) -> None:
        """Each kind of trouble once a minute: a cluster that is away would fill the log."""
        now = time.monotonic()
        if now - self._told.get(error.code(), -60.0) >= 60:
            self._told[error.code()] = now
            log.warning("KafkaSource %s: %s", self._feed.name, error)


def _record(message: Any, kafka: Any) -> Record:
    kind, timestamp = message.timestamp()
    return Record(
        topic=message.topic(),
        partition=message.partition(),
        offset=message.offset(),
        timestamp=None if kind == kafka.TIMESTAMP_NOT_AVAILABLE else timestamp,
        key=message.key(),
        value=message.value(),
        headers=tuple(message.headers() or ()),
    )
