"""Every message of the loop is listed, frozen, told apart by its type, and comes back as it was sent."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeostat.eventing import codec, messages
from homeostat.eventing.messages import COMMANDS, EVENTS, Comparison, Gate, Span
from homeostat.functions import FUNCTIONS, wakes_on


def test_every_message_is_listed() -> None:
    written = {
        one
        for _, one in inspect.getmembers(messages, inspect.isclass)
        if one.__module__ == messages.__name__ and dataclasses.is_dataclass(one)
    }
    assert written == {*EVENTS, *COMMANDS, Comparison, Gate, Span}


def test_events_have_a_type_of_their_own_and_commands_none() -> None:
    types = [one.type for one in EVENTS]
    assert len(set(types)) == len(types)
    assert not any(hasattr(one, "type") for one in COMMANDS)


@pytest.mark.parametrize("kind", [*EVENTS, *COMMANDS, Comparison, Gate, Span])
def test_messages_are_frozen_and_written_by_name(kind: Any) -> None:
    assert kind.__dataclass_params__.frozen
    assert all(one.kw_only for one in dataclasses.fields(kind))


@pytest.mark.parametrize("kind", EVENTS)
def test_types_are_ours_or_a_known_sources(kind: Any) -> None:
    known = (
        "org.kubeflow.serving.inference.",
        "dev.knative.sources.",
        "dev.knative.kafka.",
        "dev.knative.apiserver.",
    )
    assert kind.type.startswith(("dev.homeostat.", *known))


def test_every_event_that_asks_for_something_wakes_a_function() -> None:
    woken = {kind for one in FUNCTIONS.values() for kind in wakes_on(one)}
    told = {
        "AnomalyDetected",
        "CanaryStarted",
        "CanaryJudged",
        "CanaryPaused",
        "CanaryResumed",
        "CanaryAdvanced",
        "ApprovalRequested",
        "QualityMeasured",
        "WorkHindered",
        "WorkResumed",
    }
    assert {one.__name__ for one in {*EVENTS} - woken} == told


@pytest.mark.parametrize("kind", EVENTS)
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_an_event_comes_back_from_its_data(kind: Any, data: st.DataObject) -> None:
    event = data.draw(st.builds(kind, **{one.name: field(one) for one in dataclasses.fields(kind)}))
    assert codec.message(kind, codec.data(event)) == event


TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
FIGURE = st.none() | st.floats(allow_nan=False, allow_infinity=False)
FIGURES = st.dictionaries(TEXT, FIGURE, max_size=3)
BY_ANNOTATION: dict[str, st.SearchStrategy[Any]] = {
    "Mapping[str, str]": st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
    "str": TEXT,
    "str | None": st.none() | TEXT,
    "int": st.integers(0, 2**53),
    "int | None": st.none() | st.integers(0, 2**53),
    "float": st.floats(allow_nan=False, allow_infinity=False),
    "float | None": FIGURE,
    "bool": st.booleans(),
    "Figures": FIGURES,
    "Figures | None": st.none() | FIGURES,
    "Mapping[str, Figures]": st.dictionaries(TEXT, FIGURES, max_size=2),
    "Mapping[str, Mapping[str, Any]]": st.dictionaries(TEXT, FIGURES, max_size=2),
    "tuple[str, ...]": st.lists(TEXT, max_size=3).map(tuple),
    "tuple[int, ...]": st.lists(st.integers(0, 2**53), max_size=3).map(tuple),
    "Mapping[str, Any]": FIGURES,
    "Mapping[str, float]": st.dictionaries(
        TEXT, st.floats(allow_nan=False, allow_infinity=False), max_size=3
    ),
    "Any": FIGURE | TEXT,
    "list[Any]": st.lists(st.lists(FIGURE, max_size=2), max_size=2),
    "list[Any] | None": st.none() | st.lists(st.lists(FIGURE, max_size=2), max_size=2),
}
PARTS = (Comparison, Gate, Span)
"""What messages are made of beside numbers and text."""


def field(one: dataclasses.Field[Any]) -> st.SearchStrategy[Any]:
    """By its annotation, which is text there."""
    text = str(one.type)
    if text.startswith("Literal["):
        return st.sampled_from(eval(text.removeprefix("Literal")))  # noqa: S307 - our own source
    if part := next((part for part in PARTS if part.__name__ in text), None):
        return in_place(
            text, st.builds(part, **{each.name: field(each) for each in dataclasses.fields(part)})
        )
    return BY_ANNOTATION[text]


def in_place(text: str, part: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    if text.startswith("tuple["):
        return st.lists(part, max_size=3).map(tuple)
    return st.none() | part if text.endswith("| None") else part
