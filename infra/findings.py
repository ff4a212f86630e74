"""What a look at a machine or a cluster found: one line each, and the mend beside what is wrong."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Finding:
    """`mend` says what to do where it is not `ok`; `advice` is worth reading although it is."""

    what: str
    ok: bool
    found: str
    mend: str = ""
    advice: str = ""

    def document(self) -> dict[str, Any]:
        return asdict(self)
