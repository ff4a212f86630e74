"""What a decision led to, in a form that survives a crash: the commands and events still to be carried out,
and the snapshot that they were decided for."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import TypeAdapter

from homeostat.eventing.messages import COMMANDS, Command
from homeostat.eventing.wire import WireEvent
from homeostat.functions.detector import Cause, Detector

from .trouble import Trouble

_COMMANDS: Mapping[str, TypeAdapter[Command]] = {kind.__name__: TypeAdapter(kind) for kind in COMMANDS}


@dataclass(frozen=True, slots=True)
class Outcome:
    """`detector` is the snapshot with its new status: executors read the spec and the run's cause there.

    `function` decided it; `cause` is what its events go back to. `trouble` has hindered it so far; `missed`
    had kept the process from the Detector before, and is told with the rest. `woke` is the event that was
    decided on: it is there while the decision is stored, and not kept.
    """

    detector: Detector
    commands: Sequence[Command]
    events: Sequence[WireEvent]
    function: str = ""
    cause: Cause | None = None
    trouble: Trouble | None = None
    missed: Trouble | None = None
    woke: WireEvent | None = field(default=None, compare=False)

    @property
    def is_empty(self) -> bool:
        return not (self.commands or self.events or self.missed)

    def dump(self) -> dict[str, Any]:
        return {
            "detector": self.detector.model_dump(mode="json"),
            "commands": [{"kind": type(one).__name__, "fields": asdict(one)} for one in self.commands],
            "events": [
                {"attributes": dict(one.attributes), "data": base64.b64encode(one.data or b"").decode()}
                for one in self.events
            ],
            "function": self.function,
            "cause": self.cause.model_dump(mode="json") if self.cause else None,
            "trouble": self.trouble.dump() if self.trouble else None,
            "missed": self.missed.dump() if self.missed else None,
        }

    @classmethod
    def load(cls, document: Mapping[str, Any]) -> Outcome:
        """What an earlier version wrote lacks the later fields."""
        cause = document.get("cause")
        return cls(
            detector=Detector.model_validate(document["detector"]),
            commands=[_COMMANDS[one["kind"]].validate_python(one["fields"]) for one in document["commands"]],
            events=[
                WireEvent(one["attributes"], base64.b64decode(one["data"])) for one in document["events"]
            ],
            function=document.get("function", ""),
            cause=Cause.model_validate(cause) if cause else None,
            trouble=Trouble.load(document.get("trouble")),
            missed=Trouble.load(document.get("missed")),
        )


@dataclass(frozen=True, slots=True)
class Claim:
    """An event that was decided. `outcome` is what is still to be carried out; None: nothing any more."""

    outcome: Outcome | None
