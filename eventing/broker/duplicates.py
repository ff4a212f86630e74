"""Which events have been here already: at-least-once senders repeat themselves.

The window is counted per type, so that a flood of logged payloads does not make the broker forget an alert
that Alertmanager repeats every four hours. KServe's request and response share source and id: the type tells
them apart.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from hashlib import blake2b

WINDOW = 20_000
"""So many events of each type are remembered."""
MOST = 200_000
"""So many of all types together; beyond, each new one takes the place of an older one of its type."""
RELOADED = 50_000
"""So many of the newest events are read back when the broker starts."""
_LONG = 120  # characters of source and id; longer ones are remembered by their hash


class Duplicates:
    """Remembers the events that were written. Not thread-safe: it belongs to the writer."""

    def __init__(self, window: int = WINDOW, most: int = MOST) -> None:
        self._window, self._most = window, most
        self._order: dict[str, deque[str]] = {}
        self._seen: dict[str, set[str]] = {}
        self._count = 0

    def add(self, attributes: Mapping[str, str]) -> bool:
        """Whether the event is new; from now on it is not."""
        kind = attributes["type"]
        key = f"{attributes['source']}\0{attributes['id']}"
        if len(key) > _LONG:
            key = blake2b(key.encode(), digest_size=16).hexdigest()
        seen = self._seen.get(kind)
        if seen is None:
            seen = self._seen[kind] = set()
            self._order[kind] = deque()
        elif key in seen:
            return False
        seen.add(key)
        order = self._order[kind]
        order.append(key)
        self._count += 1
        if len(order) > self._window:
            self._forget_oldest(kind)
        elif self._count > self._most:
            self._forget_oldest(kind if len(order) > 1 else next(iter(self._order)))
        return True

    def take_back(self, attributes: Mapping[str, str]) -> None:
        """The event last added of this type was not written after all."""
        kind = attributes["type"]
        self._seen[kind].discard(self._order[kind].pop())
        self._count -= 1
        self._drop_empty(kind)

    def _forget_oldest(self, kind: str) -> None:
        self._seen[kind].discard(self._order[kind].popleft())
        self._count -= 1
        self._drop_empty(kind)

    def _drop_empty(self, kind: str) -> None:
        if not self._order[kind]:
            del self._order[kind], self._seen[kind]
