"""What stands in the way of work: one word for its kind, its reason in words, and since when.

It is told once, and once more when it is over. Trouble with a decision is kept beside the decision. Trouble
with the Detectors themselves cannot be kept there: this process remembers it (`Missed`) until they answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from homeostat.eventing.errors import Reject, Retry

LONGEST = 1024
"""Characters of a reason: it is stored in statuses, and travels in events."""

WAITING = "Waiting"
"""The kind of what is no trouble: something has to come first, and will without anybody's doing."""

REJECTED = "Rejected"
"""The kind of what will never be accepted as it is: its event is a dead letter."""

_KINDS: Mapping[type[Exception], str] = {Retry: "Postponed", Reject: REJECTED}
_CAMEL_CASE = re.compile(r"[A-Za-z][A-Za-z0-9]{0,62}")
_EVERYONE = "*"
"""No Detector's name."""


@dataclass(frozen=True, slots=True)
class Trouble:
    kind: str
    reason: str
    since: datetime

    def dump(self) -> dict[str, Any]:
        return {**asdict(self), "since": rfc3339(self.since)}

    @classmethod
    def load(cls, document: Mapping[str, Any] | None) -> Trouble | None:
        if not document:
            return None
        return cls(document["kind"], document["reason"], datetime.fromisoformat(document["since"]))


def of(error: Exception, now: datetime) -> Trouble:
    """What the error says about the work that it ended."""
    name = type(error).__name__
    kind = getattr(error, "kind", "") or _KINDS.get(type(error), name)
    text = str(error) if isinstance(error, tuple(_KINDS)) else f"{name}: {error}"
    return Trouble(kind if _CAMEL_CASE.fullmatch(kind) else "Failed", text[:LONGEST], now)


def rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


class Missed:
    """By Detector, what kept this process from reading or writing it, until that is told."""

    def __init__(self) -> None:
        self._by_name: dict[str, Trouble] = {}

    def note(self, name: str | None, error: Exception, now: datetime) -> None:
        """Keep it, under the time when it began. Without a name it is everyone's."""
        # A refused event and a lost race say nothing about whether Detectors can be reached.
        if isinstance(error, Reject) or (isinstance(error, Retry) and not error.kind):
            return
        found, before = of(error, now), self._by_name.get(name or _EVERYONE)
        self._by_name[name or _EVERYONE] = replace(found, since=before.since) if before else found

    def of(self, name: str) -> Trouble | None:
        return self._by_name.get(name)

    def listed(self, names: list[str]) -> None:
        """All names can be read again: what was everyone's trouble is each one's."""
        everyone = self._by_name.pop(_EVERYONE, None)
        for name in names if everyone else ():
            self._by_name.setdefault(name, everyone)  # type: ignore[arg-type]

    def told(self, name: str) -> None:
        self._by_name.pop(name, None)
