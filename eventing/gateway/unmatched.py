"""What came and belongs to no Detector: counted, logged, and the last of it kept to be looked at.

A notice of an object that no `spec.data.uri` covers is not emitted as `data.landed`, for no function could
handle it and it would only fill the broker. It stays here with its payload; once a Detector covers its place,
the periodic listing finds the object itself. An alert without a Detector is emitted all the same (people may
have triggers of their own on alerts) and shown here too.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from ..codec import data
from ..errors import shown
from ..messages import DataLanded
from .translated import Translated

log = logging.getLogger(__name__)

KEPT = 100
KEPT_BYTES = 1024 * 1024
"""An alert's annotations may be long; a hundred of the longest are not worth a gateway's memory."""


class Unmatched:
    """The last of them, newest first. One that is announced again takes its own place anew, not another's."""

    def __init__(self) -> None:
        self.counts = {"data": 0, "alerts": 0}
        self._last: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._bytes = 0

    def add(self, door: str, facts: Sequence[Translated]) -> None:
        objects = [fact.message.uri for fact in facts if isinstance(fact.message, DataLanded)]
        self.counts["data"] += len(objects)
        self.counts["alerts"] += len(facts) - len(objects)
        if objects:
            # The log outlives this process, and the list does not.
            log.warning("%s: no data.uri covers %d objects: %s", door, len(objects), shown(objects, 500))
        for fact in facts:
            self._add(door, fact)

    def _add(self, door: str, fact: Translated) -> None:
        self._keep(
            (fact.source, fact.id),
            orjson.dumps(
                {
                    "door": door,
                    "received": datetime.now(UTC).isoformat(),
                    "emitted": not isinstance(fact.message, DataLanded),
                    "type": fact.message.type,
                    "id": fact.id,
                    "source": fact.source,
                    "time": fact.time,
                    "data": data(fact.message),
                }
            ),
        )

    def _keep(self, key: tuple[str, str], document: bytes) -> None:
        self._bytes += len(document) - len(self._last.pop(key, b""))
        self._last[key] = document
        # The newest stays whatever its size: a body is bounded already.
        while len(self._last) > KEPT or (self._bytes > KEPT_BYTES and len(self._last) > 1):
            self._bytes -= len(self._last.popitem(last=False)[1])

    def shown(self) -> dict[str, Any]:
        last = [orjson.Fragment(document) for document in reversed(self._last.values())]
        return {"counts": self.counts, "last": last}
