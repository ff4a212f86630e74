"""The work in flight, a training or a search, as its engine says that it stands, and when it counts as lost.

A run says itself how it ended. One that was deleted, or whose last words got lost, says nothing: then the
engine is believed, once it has said the same for a while, for an event may still be on its way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from .detector import Run, Tuning

GRACE = timedelta(minutes=2)
"""So long may the event that tells an end take, after its engine was seen without the work. As long takes a
broker's last attempt to have the work started at all."""

State = Literal["running", "succeeded", "failed", "gone"]

WORDS: Mapping[str, str] = {
    "gone": "it vanished: its engine does not know it",
    "failed": "it failed, and did not say so",
    "succeeded": "it succeeded, and its result never arrived",
}


@dataclass(frozen=True, slots=True)
class WorkFacts:
    """What the engine says of the run or the search of this `name`; state None: it could not be asked."""

    name: str
    state: State | None
    detail: str = ""


def missed(work: Run | Tuning, facts: WorkFacts | None, now: datetime) -> datetime | None:
    """Since when the engine has not had it at work."""
    if facts is None or facts.name != work.name or facts.state is None:
        return work.missed
    return None if facts.state == "running" else work.missed or now


def lost(
    work: Run | Tuning, facts: WorkFacts | None, now: datetime, timeout: timedelta, setting: str
) -> str | None:
    """Why the work is given up; None while it is not."""
    since = missed(work, facts, now)
    if facts and facts.state and since and now - since >= GRACE:
        return WORDS[facts.state] + (f" ({facts.detail})" if facts.detail else "")
    if work.started < now - 2 * timeout:
        return f"nothing was heard of it for twice {setting}"
    return None
