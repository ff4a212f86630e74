"""What labels say of the revisions that scored the rows, and what is to be said of them without any.

The host joins labels with the scores that were answered (`QualityFacts`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from homeostat.eventing.messages import CanaryTick, InferenceResponse, LabelReceived

from .detector import Detector, Message, Quality


@dataclass(frozen=True, slots=True)
class QualityFacts:
    """By revision, what its labelled rows say."""

    quality: Mapping[str, Quality] = field(default_factory=dict)


def decide(
    event: LabelReceived | InferenceResponse | CanaryTick,
    detector: Detector,
    facts: QualityFacts | None = None,
) -> Iterable[Message]:
    if facts is not None and facts.quality:
        yield detector.remember(quality={**detector.status.quality, **facts.quality})
