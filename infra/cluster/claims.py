"""What each handled event led to, kept in the Detector's own status.

Kubernetes has no transaction over two objects. A new status and the claim of the event that led to it have to
be one write, or a crash between two would lose a decision or take it twice; so a ConfigMap beside the
Detector will not do. The status holds the marks of the last events that were decided, and the outcome of
those that are not carried out yet. Both are bounded: an object has to fit into etcd. An event so old that its
mark is gone is decided anew, and meets the guards (in flight, cooldown, names and ids that derive from the
event) that every other event meets.
"""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from homeostat.eventing.errors import Retry

from ..outcome import Claim, Outcome
from ..trouble import REJECTED, Trouble

FIELD = "claims"
"""The status's field."""

RECENT = 512
"""So many marks are kept (13 KiB): an event is redelivered within minutes, a Detector decides a few times a
minute."""

OPEN = 32
"""So many decisions may wait to be carried out before new ones have to wait themselves."""

SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "description": "Which events were decided, and what is still to be carried out. Not for people.",
    "properties": {
        "recent": {"type": "array", "maxItems": RECENT, "items": {"type": "string", "maxLength": 64}},
        "open": {
            "type": "array",
            "maxItems": OPEN,
            "items": {
                "type": "object",
                "required": ["mark", "function", "outcome"],
                "properties": {
                    "mark": {"type": "string", "maxLength": 64},
                    "function": {"type": "string", "maxLength": 63},
                    "outcome": {"type": "string", "format": "byte"},
                },
            },
        },
    },
}
"""What the CRD's status has to know of it."""

_MARK = re.compile(r"sha256:[A-Za-z0-9_-]{22}")


@dataclass(frozen=True)
class Open:
    """A decision that is not carried out yet, and the function whose it is: no other has the rights."""

    mark: str
    function: str
    outcome: str


@dataclass(frozen=True)
class Claims:
    recent: Sequence[str] = ()
    open: Sequence[Open] = field(default=())

    @classmethod
    def read(cls, status: Mapping[str, Any]) -> Claims:
        document = status.get(FIELD) or {}
        return cls(document.get("recent", ()), [Open(**one) for one in document.get("open", ())])

    def write(self) -> dict[str, Any]:
        opened = [{"mark": one.mark, "function": one.function, "outcome": one.outcome} for one in self.open]
        return {"recent": list(self.recent), "open": opened}

    def find(self, key: str) -> Claim | None:
        """What the event led to, if it was decided."""
        mark = mark_of(key)
        for one in self.open:
            if one.mark == mark:
                return Claim(_unpacked(one.outcome))
        return Claim(None) if mark in self.recent else None

    def adding(self, key: str, outcome: Outcome) -> Claims:
        """With this event's decision. Raises Retry while too many others wait to be carried out."""
        mark = mark_of(key)
        if outcome.is_empty:
            return replace(self, recent=[*self.recent, mark][-RECENT:])
        kept = self._with_room()
        return replace(self, open=[*kept, Open(mark, key.rpartition(" ")[2], _packed(outcome))])

    def _with_room(self) -> list[Open]:
        """What is open, less the oldest that was refused for good where there is no room: its event is a dead
        letter, and is decided anew when it is redriven. Raises Retry while none was."""
        if len(self.open) < OPEN:
            return list(self.open)
        for one in self.open:
            trouble = _unpacked(one.outcome).trouble
            if trouble and trouble.kind == REJECTED:
                return [other for other in self.open if other is not one]
        waiting = ", ".join(sorted({one.function for one in self.open}))
        raise Retry(f"{OPEN} decisions are not carried out yet ({waiting}): their log says why", after=10)

    def hindered(self, key: str, trouble: Trouble) -> Claims:
        """With what is in the way of an open decision."""
        mark = mark_of(key)
        return replace(
            self,
            open=[
                replace(one, outcome=_packed(replace(_unpacked(one.outcome), trouble=trouble)))
                if one.mark == mark
                else one
                for one in self.open
            ],
        )

    def troubles(self) -> list[tuple[str, Trouble]]:
        """What is in the way of open decisions, each with the function whose it is, oldest first."""
        found = [(one.function, _unpacked(one.outcome).trouble) for one in self.open]
        return [(function, trouble) for function, trouble in found if trouble]

    def trouble_of(self, key: str) -> Trouble | None:
        claim = self.find(key)
        return claim.outcome.trouble if claim and claim.outcome else None

    def carried_out(self, key: str) -> Claims:
        mark = mark_of(key)
        if not any(one.mark == mark for one in self.open):
            return self
        left = [one for one in self.open if one.mark != mark]
        return Claims([*self.recent, mark][-RECENT:], left)

    def shorter(self) -> Claims:
        """With an eighth of the marks, for a Detector that hardly fits."""
        return replace(self, recent=self.recent[-(RECENT // 8) :])

    def unfinished(self, function: str | None) -> list[tuple[str, Outcome]]:
        return [(one.mark, _unpacked(one.outcome)) for one in self.open if function in (None, one.function)]


def mark_of(key: str) -> str:
    """A key of any length in 29 characters. A mark is its own mark: keys have blanks in them, marks have
    none."""
    if _MARK.fullmatch(key):
        return key
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:16]
    return f"sha256:{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def _packed(outcome: Outcome) -> str:
    """Without the batches, the bulk of a status, which no command's executor asks for."""
    detector = outcome.detector
    light = detector.model_copy(update={"status": detector.status.model_copy(update={"batches": ()})})
    return base64.b64encode(zlib.compress(orjson.dumps(replace(outcome, detector=light).dump()))).decode()


def _unpacked(text: str) -> Outcome:
    return Outcome.load(orjson.loads(zlib.decompress(base64.b64decode(text))))
