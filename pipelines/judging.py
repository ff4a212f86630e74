"""What is found of candidates and champion before the gates: figures as data, and what plots are made of."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from homeostat.models import artifact, shelf
from homeostat.models.bootstrap import Answers
from homeostat.models.fitted import Fitted

from . import comparison
from .held import Held
from .selection import best
from .steps import answers, champion_for, measure
from .tuned import apart

if TYPE_CHECKING:
    from homeostat.models.canary_inputs import Answered

REPORT = "report.html"


@dataclass(frozen=True)
class Seen:
    """The best candidate and the champion, if there is one, what they say of the held-back rows, the
    threshold's nominal rate, and the answers to the canary inputs."""

    candidate: tuple[Fitted, Answers]
    champion: tuple[Fitted, Answers] | None
    nominal: float
    canaries: Sequence[Answered]


def evaluated(model: Mapping[str, Any], held: Held, spec: Mapping[str, Any]) -> dict[str, Any]:
    """One candidate's figures; `model` names its algorithm, place and parameters (as JSON)."""
    with shelf.reading(model["folder"]) as folder:
        fitted, size = artifact.load(folder), comparison.size_mb(folder)
    parameters = json.loads(model["parameters"])
    said = answers(fitted, held)
    own = {
        "size_mb": size,
        "calibration": comparison.calibration(fitted, said, held, nominal(spec, parameters)),
    }
    return {
        "algorithm": model["algorithm"],
        "uri": model["folder"],
        "parameters": parameters,
        "metrics": measure(fitted, held, said) | own,
        "judged_on": held.judged_on,
    }


def nominal(spec: Mapping[str, Any], parameters: Mapping[str, Any]) -> float:
    """The share of normal rows that a candidate's threshold was asked to let through."""
    return float(apart(spec, parameters)[0].get("threshold", {}).get("false_alarm_rate", 0.02))


def found(
    evaluations: Sequence[Mapping[str, Any]], spec: Mapping[str, Any], champion: str, held: Held
) -> tuple[dict[str, Any], Seen]:
    """The best candidate's evaluation (`chosen`), now with canary inputs and beside the champion; the metrics
    of all `candidates`; and what these figures rest on. Raises ValueError without a candidate."""
    from homeostat.models import canary_inputs  # KServe with it, which only this step needs

    chosen = best(evaluations, spec["gate"])
    with shelf.reading(chosen["uri"]) as folder:
        fitted, canaries = artifact.load(folder), canary_inputs.answers(folder)
    serving = champion_for(champion, spec)
    said = answers(fitted, held)
    known = (serving, answers(serving, held)) if serving else None
    sound = sum(one.sound for one in canaries) / len(canaries)
    judged = {
        "chosen": {**chosen, "metrics": {**chosen["metrics"], "canary_inputs": sound}},
        "champion_metrics": measure(known[0], held, known[1]) if known else None,
        "comparison": comparison.compare(said, known[1], held, spec) if known else {},
        "candidates": {one["algorithm"]: one["metrics"] for one in evaluations},
    }
    return judged, Seen((fitted, said), known, nominal(spec, chosen["parameters"]), canaries)


def keep(page: str, uri: str) -> str:
    """Write the report beside the artifact at that URI, whole or not at all; where it lies then."""
    target = f"{uri.rpartition('/')[0]}/{REPORT}"
    shelf.keep(page.encode(), target)
    return target
