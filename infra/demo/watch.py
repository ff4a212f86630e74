"""The demo's eyes: every event as it happens, printed once, and waiting for the one that matters."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from rich.console import Console

from homeostat.eventing.broker.log import EventLog
from homeostat.eventing.messages import Event

from ..local.settings import Settings
from ..local.views import BUSY, PAGE, POLL_SECONDS
from ..views import line


@dataclass(frozen=True, slots=True)
class Seen:
    """One event that the broker accepted; `at` is seconds since the demo began."""

    id: str
    type: str
    data: Mapping[str, Any]
    at: float


class Watch:
    """Follows the broker's log. Everything that `wait_for` passes by is printed and kept in `seen`."""

    def __init__(self, settings: Settings, *, quiet: bool) -> None:
        self.quiet = quiet
        self.console = Console(stderr=quiet)
        self.seen: list[Seen] = []
        self._settings = settings
        self._log: EventLog | None = None
        self._after = 0
        self._unread: list[Seen] = []
        self._begun = time.monotonic()
        self._act = 0

    def title(self, text: str) -> None:
        self.console.rule(f"Homeostat: {text}")

    def act(self, text: str) -> None:
        self.console.print(f"\n[bold]{self._act}. {text}[/bold]")
        self._act += 1

    def wait_for(
        self,
        kind: type[Event],
        timeout: float,
        *,
        unless: tuple[type[Event], ...] = (),
        where: Callable[[Seen], bool] = lambda _: True,
    ) -> Seen:
        """The next event of `kind`. Raises TimeoutError when it does not come, or another ends the wait."""
        deadline = time.monotonic() + timeout
        with self.console.status(f"waiting for {kind.type}"):
            while time.monotonic() < deadline:
                self._read()
                while self._unread:
                    seen = self._unread.pop(0)
                    if seen.type == kind.type and where(seen):
                        return seen
                    if seen.type in [other.type for other in unless]:
                        raise TimeoutError(f"{kind.type} was expected, {seen.type} came: {dict(seen.data)}")
                time.sleep(POLL_SECONDS)
        raise TimeoutError(f"no {kind.type} came within {timeout:g} s")

    def _read(self) -> None:
        self._log = self._log or EventLog(self._settings.broker_db)
        while page := self._log.events(self._after, PAGE):
            for logged in page:
                self._after = logged.sequence
                attributes = logged.event.attributes
                if attributes["type"] in BUSY:
                    continue
                at = time.monotonic() - self._begun
                data = orjson.loads(logged.event.data or b"{}")
                seen = Seen(attributes["id"], attributes["type"], data, round(at, 2))
                self.seen.append(seen)
                self._unread.append(seen)
                self.console.print(f"  {at:6.1f} s  {line(logged.event)}", highlight=False, soft_wrap=True)
