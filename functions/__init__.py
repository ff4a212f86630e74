"""The app on one screen: every function, what it wakes on, and what its host must measure first.

A function is one pure `decide(event, detector[, facts])`. It wakes on the types that annotate `event`; the
annotation of a third parameter names the facts that its host measures (`OBSERVERS` in a home).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from inspect import signature
from types import UnionType
from typing import Any, get_args, get_type_hints

from homeostat.eventing.messages import Event

from . import (
    answer_alert,
    detect_drift,
    finish_tuning,
    judge_candidate,
    plan_retraining,
    receive_data,
    roll_out,
    score_stream,
    take_label,
)
from .detector import Message

Decide = Callable[..., Iterable[Message]]

FUNCTIONS: Mapping[str, Decide] = {
    "receive-data": receive_data.decide,
    "detect-drift": detect_drift.decide,
    "answer-alert": answer_alert.decide,
    "take-label": take_label.decide,
    "plan-retraining": plan_retraining.decide,
    "finish-tuning": finish_tuning.decide,
    "judge-candidate": judge_candidate.decide,
    "roll-out": roll_out.decide,
    "score-stream": score_stream.decide,
}


@cache  # asked for every event, and reading annotations takes a millisecond
def wakes_on(decide: Decide) -> tuple[type[Event], ...]:
    """The event classes that annotate the first parameter."""
    return _classes(_annotation(decide, 0))


@cache
def observes(decide: Decide) -> type[Any] | None:
    """The class of the facts that a decision needs measured, if any."""
    annotation = _annotation(decide, 2)
    return next((one for one in _classes(annotation) if one is not type(None)), None)


def _annotation(decide: Decide, place: int) -> Any:
    names = list(signature(decide).parameters)
    return get_type_hints(decide)[names[place]] if place < len(names) else type(None)


def _classes(annotation: Any) -> tuple[type[Any], ...]:
    return get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
