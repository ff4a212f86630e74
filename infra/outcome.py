"""What a decision led to, in a form that survives a crash: the commands and events still to be carried out,
and the snapshot that they were decided for."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter

from homeostat.eventing.messages import COMMANDS, Command
from homeostat.eventing.wire import WireEvent
from homeostat.functions.detector import Detector

_COMMANDS: Mapping[str, TypeAdapter[Command]] = {kind.__name__: TypeAdapter(kind) for kind in COMMANDS}


@dataclass(frozen=True, slots=True)
class Outcome:
    """`detector` is the snapshot with its new status: executors read the spec and the run's cause there."""

    detector: Detector
    commands: Sequence[Command]
    events: Sequence[WireEvent]

    @property
    def is_empty(self) -> bool:
        return not self.commands and not self.events

    def dump(self) -> dict[str, Any]:
        return {
            "detector": self.detector.model_dump(mode="json"),
            "commands": [{"kind": type(one).__name__, "fields": asdict(one)} for one in self.commands],
            "events": [
                {"attributes": dict(one.attributes), "data": base64.b64encode(one.data or b"").decode()}
                for one in self.events
            ],
        }

    @classmethod
    def load(cls, document: Mapping[str, Any]) -> Outcome:
        return cls(
            detector=Detector.model_validate(document["detector"]),
            commands=[_COMMANDS[one["kind"]].validate_python(one["fields"]) for one in document["commands"]],
            events=[
                WireEvent(one["attributes"], base64.b64decode(one["data"])) for one in document["events"]
            ],
        )


@dataclass(frozen=True, slots=True)
class Claim:
    """An event that was decided. `outcome` is what is still to be carried out; None: nothing any more."""

    outcome: Outcome | None
