"""Which side of a canary a request goes to: by chance, or where the series that it names has always gone.

A revision keeps the last rows of each series, so a series' requests must not be split between two of them.
Its place in [0, 1) follows from its name: as the canary's percentage grows, series only move to the canary,
never back. The name stands in the header `x-homeostat-series`, or in the body (V1's `series`, V2's
`parameters.series`; see `models.scoring_request`). A body is read only while there are two sides to choose
from, and where its JSON has at most MAX_READ bytes, for decoding a larger one would hold up every other
request: who sends such names the series in the header too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import orjson

from ..observing.places import place
from .exchange import Ask

SERIES_HEADER = b"x-homeostat-series"
MAX_READ = 256 * 1024
_LENGTH_HEADER = b"inference-header-content-length"  # V2's binary tensors stand behind so many bytes of JSON


@dataclass(frozen=True, slots=True)
class Backend:
    """One ready model server."""

    revision: str
    url: str


@dataclass(frozen=True, slots=True)
class Route:
    """Where a detector's requests go; `percent` is the canary's share, `shadow` says that it gets none and
    answers nobody, and `key` names the header that decides. Only ready servers stand here."""

    stable: Backend | None = None
    canary: Backend | None = None
    percent: int = 0
    shadow: bool = False
    key: str = SERIES_HEADER.decode()

    @property
    def split(self) -> bool:
        return not self.shadow and self.stable is not None and self.canary is not None and self.percent > 0


def chosen(detector: str, route: Route, ask: Ask, chance: Callable[[], float]) -> Backend | None:
    """Where to send the request; None while no revision is ready. `chance` draws from [0, 1)."""
    if not route.split:
        alone = route.stable is None and route.percent > 0 and not route.shadow
        return route.canary if alone else route.stable
    named = ask.header(route.key.encode()) or series_of(ask)
    drawn = place(detector, named) if named else chance()
    return route.canary if drawn * 100 < route.percent else route.stable


def series_of(ask: Ask) -> str:
    """The name of the series that the request continues; empty when none is seen. The header's goes first:
    it costs nothing to read, and who says both means that one for the router."""
    if named := ask.header(SERIES_HEADER):
        return named
    length = ask.header(_LENGTH_HEADER)
    document = ask.body[: int(length)] if length.isdecimal() and len(length) < 9 else ask.body
    # Most bodies name none, and are not worth decoding; a key that is written in escapes goes unseen.
    if len(document) > MAX_READ or b'"series"' not in document:
        return ""
    try:
        options = orjson.loads(document)
        options = options["parameters"] if ask.path.startswith("v2/") else options
        series = options["series"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""  # the revision refuses the request, or finds a series in it nowhere either
    return series if isinstance(series, str) else ""
