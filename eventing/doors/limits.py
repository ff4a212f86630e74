"""How much and how often: sizes, the time a body may take, and a rate per client in bounded memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_network

MOST_CLIENTS = 10_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What every door holds its requests to. The header limit lies above what the codec's attributes need
    (64 KiB of characters, most of them one byte on the wire)."""

    max_headers: int = 128
    max_header_bytes: int = 128 * 1024
    max_body: int = 16 * 1024 * 1024
    body_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests a second for ever, and `burst` at once after a rest."""

    per_second: float
    burst: float

    def __post_init__(self) -> None:
        if not (self.per_second > 0 and self.burst >= 1):
            raise ValueError(f"{self} lets nothing through: per_second above 0, burst from 1 up")


class Buckets:
    """A token bucket for each key, kept as one number: when the bucket will be full again (GCRA, ITU-T
    I.371). A full bucket needs no memory. Of more than `most` that are not full the oldest are forgotten;
    a crowd that large is what a door's `total` is for."""

    def __init__(
        self, rate: Rate, most: int = MOST_CLIENTS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cost = 1.0 / rate.per_second
        self._slack = (rate.burst - 1.0) / rate.per_second
        self._most, self._clock = most, clock
        self._full_at: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: str) -> float:
        """0.0 when the request may pass, else the seconds after which it may."""
        now = self._clock()
        full_at = self._full_at.get(key, now)
        if full_at < now:
            full_at = now
        wait = full_at - now - self._slack
        # What floating point loses near the edge is no reason to refuse.
        if wait > 1e-9:
            return wait
        self._full_at[key] = full_at + self._cost
        if len(self._full_at) > self._most:
            self._forget(now)
        return 0.0

    def _forget(self, now: float) -> None:
        kept = {key: at for key, at in self._full_at.items() if at > now}
        # A quarter at a time, so that a crowd is not sorted out anew at each of its requests.
        surplus = len(kept) - self._most * 3 // 4
        for key in list(kept)[: max(0, surplus)]:
            del kept[key]
        self._full_at = kept


def client_key(client: tuple[str, int] | None) -> str:
    """Whose bucket it is: an address, or the /64 that one IPv6 host can have all of."""
    if client is None:
        return ""
    # A proxy's word for its client can be of any length.
    host = client[0][:64]
    return _network(host) if ":" in host else host


@lru_cache(maxsize=4096)
def _network(host: str) -> str:
    try:
        return str(ip_network((host.partition("%")[0], 64), strict=False))
    except ValueError:
        return host
