"""What receive-data must know of an object: the rows in it, looked at off the event loop."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime

from homeostat.eventing.codec import Context
from homeostat.eventing.messages import DataLanded
from homeostat.functions.detector import Batch, Detector
from homeostat.functions.receive_data import recorded

from ..shell import Observe
from .inspect_data import inspect_batch

_FINER = re.compile(r"(\.\d{6})\d+")


def batches(max_bytes: int) -> Observe:
    """The eyes of receive-data; objects over `max_bytes` are refused."""

    async def batch(event: DataLanded, context: Context, detector: Detector) -> Batch | None:
        # A store has the newest version only: an older one would be waited for, and others behind it.
        if known := recorded(detector, event.uri, event.etag, event.sequencer):
            return known
        announced = _moment(context.time)
        return await asyncio.to_thread(
            inspect_batch, event, detector.spec, datetime.now(UTC), max_bytes, announced=announced
        )

    return batch


def _moment(text: str | None) -> datetime | None:
    """An event's time; senders may write more digits of a second than Python reads."""
    return datetime.fromisoformat(_FINER.sub(r"\1", text)).astimezone(UTC) if text else None
