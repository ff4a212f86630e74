"""Kafka records in the order of their offsets, however concurrent deliveries overtook each other.

A KafkaSource's events have subjects of their own (`partition:0#5`), so a broker that keeps the order per
subject keeps none among them. Their ids, `partition:0/offset:5`, say it: a record waits for the one before it
to be let in, for `hold` seconds at most, because that one may never come (a tombstone, a compacted topic).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import OrderedDict
from dataclasses import dataclass, field

from homeostat.eventing.codec import Context
from homeostat.eventing.messages import KafkaRecord

HOLD_SECONDS = 0.25
MAX_LANES = 10_000
_RECORD = re.compile(r"partition:(\d{1,10})/offset:(\d{1,19})")

Lane = tuple[str, str]
"""Source and partition."""


@dataclass
class _Lane:
    due: int
    waiting: dict[int, asyncio.Event] = field(default_factory=dict)


class Order:
    """Belongs to one event loop. Lanes that were used least are forgotten: they begin where they go on."""

    def __init__(self, hold: float = HOLD_SECONDS) -> None:
        self._hold = hold
        self._lanes: OrderedDict[Lane, _Lane] = OrderedDict()

    async def turn(self, context: Context) -> bool:
        """Wait for the event's turn. False: records with later offsets were let in before it.

        What the caller does next, up to its next `await`, is done before the record behind it goes on.
        """
        said = _RECORD.fullmatch(context.id) if context.type == KafkaRecord.type else None
        if said is None:
            return True
        offset = int(said[2])
        lane = self._lane((context.source, said[1]), offset)
        if offset > lane.due:
            come = lane.waiting.setdefault(offset, asyncio.Event())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(come.wait(), self._hold)
            lane.waiting.pop(offset, None)
        in_order = offset >= lane.due
        lane.due = max(lane.due, offset + 1)
        if behind := lane.waiting.get(lane.due):
            behind.set()
        return in_order

    def _lane(self, key: Lane, offset: int) -> _Lane:
        lane = self._lanes.setdefault(key, _Lane(offset))
        self._lanes.move_to_end(key)
        while len(self._lanes) > MAX_LANES:
            self._lanes.popitem(last=False)
        return lane
