"""What a translator of the gateway makes of a payload: facts, with an identity that a redelivery shares."""

from __future__ import annotations

from dataclasses import dataclass

from ..messages import AlertFired, AlertResolved, DataLanded


@dataclass(frozen=True, slots=True, kw_only=True)
class Translated:
    """One fact. `id` and `source` are the same whenever the same thing is announced again. `subject` is the
    Detector, where the sender names one; a `DataLanded` without it belongs to the longest matching
    `spec.data.uri`. `time` is RFC 3339, when it happened by its sender's clock."""

    message: DataLanded | AlertFired | AlertResolved
    id: str
    source: str
    subject: str | None = None
    time: str | None = None
