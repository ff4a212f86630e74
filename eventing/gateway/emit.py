"""From what a translator found to the event that the broker takes: a first cause, which nothing caused."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import orjson

from .. import codec
from ..wire import WireEvent, check
from .translated import Translated

_TRACE = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def event(fact: Translated, subject: str | None, traceparent: str | None = None) -> WireEvent:
    """The CloudEvent, with the attributes that `codec.announce` gives; its own id starts the correlation.

    Raises Reject with every fault of the attributes.
    """
    attributes = {
        "specversion": "1.0",
        "id": fact.id,
        "source": fact.source,
        "type": fact.message.type,
        "time": fact.time or datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "correlationid": fact.id,
        "hops": "0",
    }
    if subject:
        attributes["subject"] = subject
    if traceparent and _TRACE.fullmatch(traceparent):
        attributes["traceparent"] = traceparent
    made = WireEvent(attributes, orjson.dumps(codec.data(fact.message)))
    check(made)
    return made
