"""PingSources: events that say that time passed. Ticks missed while nobody ran are not made up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from uuid import uuid4
from zoneinfo import ZoneInfo

from croniter import croniter

from ..durations import parse_duration
from ..errors import Fault, Reject, shown
from ..wire import WireEvent
from .manifests import Ping

EVERY = "@every "


def check(ping: Ping) -> None:
    """Raises Reject when the schedule or the time zone cannot be read."""
    try:
        ZoneInfo(ping.timezone)
        next_tick(ping, datetime.now(UTC))
    except (KeyError, ValueError, OSError) as error:
        mend = f"{error}; write cron's five fields or @every 10s, and a zone such as Europe/Berlin"
        raise Reject(Fault(f"PingSource {ping.name}: spec.schedule", shown(ping.schedule), mend)) from None


def next_tick(ping: Ping, after: datetime) -> datetime:
    """When the next event is due. Raises ValueError for a schedule that cannot be read."""
    if ping.schedule.startswith(EVERY):
        period = parse_duration(ping.schedule.removeprefix(EVERY))
        if not period:
            raise ValueError("a period must be longer than nothing")
        return after + period
    local = after.astimezone(ZoneInfo(ping.timezone))
    due = croniter(ping.schedule, local).get_next(datetime)
    return due.astimezone(UTC)  # type: ignore[no-any-return]


def tick(ping: Ping, now: datetime) -> WireEvent:
    """The event, with the attributes that Knative's PingSource gives it."""
    attributes = {
        "specversion": "1.0",
        "id": str(uuid4()),
        "source": f"/apis/v1/namespaces/{ping.namespace}/pingsources/{ping.name}",
        "type": "dev.knative.sources.ping",
        "time": now.isoformat().replace("+00:00", "Z"),
    }
    if ping.data is not None:
        attributes["datacontenttype"] = ping.content_type
    return WireEvent(attributes | dict(ping.extensions), ping.data)


async def run(ping: Ping, accept: Callable[[Sequence[WireEvent]], Awaitable[None]]) -> None:
    """Send for ever."""
    due = next_tick(ping, datetime.now(UTC))
    while True:
        await asyncio.sleep(max(0.0, (due - datetime.now(UTC)).total_seconds()))
        now = datetime.now(UTC)
        await accept([tick(ping, now)])
        # From now on, not from when it was due: a machine that slept does not catch up.
        due = next_tick(ping, max(due, now) if ping.schedule.startswith(EVERY) else now)
