"""Trigger filters, dialect by dialect."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.eventing.broker.filters import compile_filters
from homeostat.eventing.errors import Reject

EVENT = {"type": "dev.homeostat.data.landed", "source": "/plant/7", "subject": "pump"}


@pytest.mark.parametrize(
    ("filters", "passes"),
    [
        ([], True),
        ([{"exact": {"type": "dev.homeostat.data.landed"}}], True),
        ([{"exact": {"type": "dev.homeostat"}}], False),
        ([{"exact": {"absent": ""}}], False),
        ([{"prefix": {"source": "/plant/"}}], True),
        ([{"suffix": {"type": ".landed", "subject": "mp"}}], True),
        ([{"suffix": {"type": ".landed", "subject": "fan"}}], False),
        ([{"any": [{"exact": {"subject": "fan"}}, {"exact": {"subject": "pump"}}]}], True),
        ([{"all": [{"exact": {"subject": "fan"}}, {"exact": {"subject": "pump"}}]}], False),
        ([{"not": {"exact": {"subject": "fan"}}}], True),
        ([{"exact": {"subject": "pump"}}, {"exact": {"source": "/other"}}], False),
    ],
)
def test_a_filter_lets_pass_what_it_says(filters: list[Any], passes: bool) -> None:
    assert compile_filters({"filters": filters}, "t")(EVENT) is passes


def test_the_old_filter_field_still_holds() -> None:
    chosen = compile_filters({"filter": {"attributes": {"subject": "pump", "type": ""}}}, "t")
    assert chosen(EVENT)
    assert not chosen({**EVENT, "subject": "fan"})


@pytest.mark.parametrize(
    "filters",
    [
        [{"cesql": "subject = 'pump'"}],
        [{"exact": "pump"}],
        [{"exact": {"a": 1}}],
        [{"any": []}],
        [{}],
        ["exact"],
        [{"exact": {"a": "b"}, "prefix": {"a": "b"}}],
    ],
)
def test_a_filter_that_cannot_be_run_is_refused_by_its_field(filters: list[Any]) -> None:
    with pytest.raises(Reject, match=r"triggers\.yaml: spec\.filters"):
        compile_filters({"filters": filters}, "triggers.yaml: spec.filters")


@given(st.dictionaries(st.sampled_from(["type", "source", "subject"]), st.text(max_size=8)))
def test_not_is_the_opposite(attributes: dict[str, str]) -> None:
    inner = {"prefix": {"subject": "p"}}
    yes = compile_filters({"filters": [inner]}, "t")
    no = compile_filters({"filters": [{"not": inner}]}, "t")
    assert yes(attributes) is not no(attributes)
