"""Trigger filters, dialect by dialect."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.eventing.broker.filters import DIALECTS, MAX_DEPTH, compile_filters
from homeostat.eventing.errors import Reject

EVENT = {
    "type": "dev.homeostat.data.landed",
    "source": "/plant/7",
    "subject": "pump",
    "hops": "5",
    "late": "true",
}


EXISTS = "EXISTS subject AND subject LIKE 'pu%'"


@pytest.mark.parametrize(
    ("filters", "passes"),
    [
        ([], True),
        (None, True),
        ([{"exact": {"type": "dev.homeostat.data.landed"}}], True),
        ([{"exact": {"type": "dev.homeostat"}}], False),
        ([{"exact": {"type": "dev.homeostat.data.Landed"}}], False),
        ([{"exact": {"absent": "x"}}], False),
        ([{"prefix": {"source": "/plant/"}}], True),
        ([{"prefix": {"absent": "x"}}], False),
        ([{"suffix": {"type": ".landed", "subject": "mp"}}], True),
        ([{"suffix": {"type": ".landed", "subject": "fan"}}], False),
        ([{"any": [{"exact": {"subject": "fan"}}, {"exact": {"subject": "pump"}}]}], True),
        ([{"all": [{"exact": {"subject": "fan"}}, {"exact": {"subject": "pump"}}]}], False),
        ([{"not": {"exact": {"subject": "fan"}}}], True),
        ([{"exact": {"subject": "pump"}}, {"exact": {"source": "/other"}}], False),
        ([{"cesql": "type = 'dev.homeostat.data.landed' AND subject = 'pump'"}], True),
        ([{"cesql": "subject = 'fan'"}], False),
        ([{"cesql": EXISTS}], True),
        ([{"cesql": "late"}], True),
        ([{"cesql": "subject"}], False),
        ([{"cesql": "absent = 'x'"}], False),
        ([{"cesql": "NOT absent = 'x'"}], False),
        ([{"not": {"cesql": "absent = 'x'"}}], True),
        ([{"cesql": "1 = 1 / 0"}], False),
        ([{"cesql": "NOT 10"}], False),  # its value is true, but an error stands beside it
        ([{"any": [{"cesql": "absent"}, {"cesql": "hops < 10"}]}], True),
        ([{"cesql": "hops < 10"}, {"exact": {"subject": "fan"}}], False),
    ],
)
def test_a_filter_lets_pass_what_it_says(filters: list[Any] | None, passes: bool) -> None:
    assert compile_filters({"filters": filters}, "t")(EVENT) is passes


@pytest.mark.parametrize(
    ("attributes", "passes"),
    [
        ({}, True),
        (None, True),
        ({"subject": "pump"}, True),
        ({"subject": "pump", "type": ""}, True),
        ({"subject": "fan"}, False),
        ({"subject": ""}, True),
        ({"absent": ""}, False),
        ({"absent": "x"}, False),
    ],
)
def test_the_old_filter_field_still_holds(attributes: dict[str, str] | None, passes: bool) -> None:
    assert compile_filters({"filter": {"attributes": attributes}}, "t")(EVENT) is passes


def test_an_empty_old_filter_lets_everything_pass() -> None:
    for nothing in ({}, {"filter": None}, {"filter": {}}):
        assert compile_filters(nothing, "t")(EVENT)


def test_filters_override_the_old_filter_and_an_empty_list_does_not() -> None:
    older = {"filter": {"attributes": {"subject": "fan"}}}
    assert compile_filters({**older, "filters": [{"exact": {"subject": "pump"}}]}, "t")(EVENT)
    assert not compile_filters({**older, "filters": []}, "t")(EVENT)


@pytest.mark.parametrize(
    ("filters", "field"),
    [
        ([{"exact": "pump"}], r"\[0\]\.exact is"),
        ([{"exact": {}}], r"\[0\]\.exact is"),
        ([{"exact": {"a": 1}}], r"\[0\]\.exact\.a is 1"),
        ([{"exact": {"a": ""}}], r"\[0\]\.exact\.a is '': .*EXISTS a"),
        ([{"prefix": {"": "a"}}], r"\[0\]\.prefix\. is ''"),
        ([{"suffix": {"Type": "a"}}], r"\[0\]\.suffix\.Type is"),
        ([{"exact": {"1a": "b"}}], r"\[0\]\.exact\.1a is"),
        ([{"exact": {5: "b"}}], r"\[0\]\.exact\.5 is"),
        ([{"any": []}], r"\[0\]\.any is"),
        ([{"all": {"exact": {"a": "b"}}}], r"\[0\]\.all is"),
        ([{"not": [{"exact": {"a": "b"}}]}], r"\[0\]\.not is"),
        ([{}], r"\[0\] is"),
        (["exact"], r"\[0\] is"),
        ([None], r"\[0\] is"),
        ({"exact": {"a": "b"}}, " is"),
        ([{"exact": {"a": "b"}, "prefix": {"a": "b"}}], r"\[0\] is"),
        ([{"sql": "TRUE"}], r"\[0\]\.sql is .*cesql"),
        ([{"cesql": ""}], r"\[0\]\.cesql is ''"),
        ([{"cesql": True}], r"\[0\]\.cesql is True"),
        ([{"cesql": "subject = "}], r"\[0\]\.cesql, character 11 is the end"),
        ([{"cesql": "NOWHERE(subject)"}], r"\[0\]\.cesql is no function: NOWHERE of 1"),
        ([{"cesql": "LENGTH(subject)"}], r"\[0\]\.cesql is of type Integer"),
        ([{"cesql": "UPPER(subject)"}], r"\[0\]\.cesql is of type String"),
    ],
)
def test_a_filter_that_cannot_be_run_is_refused_by_its_field(filters: Any, field: str) -> None:
    with pytest.raises(Reject, match=r"triggers\.yaml: spec\.filters" + field):
        compile_filters({"filters": filters}, "triggers.yaml: spec.filters")


@pytest.mark.parametrize(
    "older",
    ["subject", ["subject"], {"attributes": ["a"]}, {"attributes": {"a": 1}}, {"attributes": {"A": ""}}],
)
def test_an_old_filter_that_cannot_be_run_is_refused_even_where_it_is_overridden(older: Any) -> None:
    with pytest.raises(Reject, match=r"t: spec\.filter\.attributes"):
        compile_filters({"filter": older, "filters": [{"exact": {"a": "b"}}]}, "t: spec.filters")


def test_every_fault_is_told_at_once() -> None:
    wrong = [{"exact": {"A": "b", "c": ""}}, {"any": [{"cesql": "("}, {"exact": {"a": "b"}}, {"no": 1}]}]
    with pytest.raises(Reject) as refused:
        compile_filters({"filters": wrong}, "f")
    assert [fault.field for fault in refused.value.faults] == [
        "f[0].exact.A",
        "f[0].exact.c",
        "f[1].any[0].cesql, character 2",
        "f[1].any[2].no",
    ]


def test_filters_that_nest_without_end_are_refused() -> None:
    nested: dict[str, Any] = {"exact": {"subject": "pump"}}
    for _ in range(MAX_DEPTH):
        nested = {"not": nested}
    assert compile_filters({"filters": [nested]}, "t")(EVENT)
    for _ in range(5000):
        nested = {"all": [nested]}
    with pytest.raises(Reject, match="nest at most"):
        compile_filters({"filters": [nested]}, "t")


@given(st.dictionaries(st.sampled_from(["type", "source", "subject"]), st.text(max_size=8)))
def test_not_is_the_opposite(attributes: dict[str, str]) -> None:
    inner = {"prefix": {"subject": "p"}}
    yes = compile_filters({"filters": [inner]}, "t")
    no = compile_filters({"filters": [{"not": inner}]}, "t")
    assert yes(attributes) is not no(attributes)


@given(
    st.sampled_from(["exact", "prefix", "suffix"]),
    # CESQL has no way to write a backslash before a quote.
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\\"), min_size=1, max_size=8),
    st.dictionaries(st.sampled_from(["type", "subject"]), st.text(max_size=8)),
)
def test_cesql_says_the_same_as_the_other_dialects(
    dialect: str, text: str, attributes: dict[str, str]
) -> None:
    plain = compile_filters({"filters": [{dialect: {"subject": text}}]}, "t")
    quoted = text.replace("'", "\\'")
    like = quoted.replace("%", "\\%").replace("_", "\\_")
    expression = {
        "exact": f"subject = '{quoted}'",
        "prefix": f"subject LIKE '{like}%'",
        "suffix": f"subject LIKE '%{like}'",
    }[dialect]
    assert compile_filters({"filters": [{"cesql": expression}]}, "t")(attributes) is plain(attributes)
    alike = {**attributes, "subject": "a" * (dialect == "suffix") + text + "a" * (dialect == "prefix")}
    assert compile_filters({"filters": [{"cesql": expression}]}, "t")(alike)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.text(max_size=12)
        | st.sampled_from(["subject = 'pump'"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(DIALECTS) | st.text(max_size=4), inner, max_size=2)
        ),
        max_leaves=10,
    )
)
def test_no_document_breaks_the_compiler(document: Any) -> None:
    for spec in ({"filters": document}, {"filters": [document]}, {"filter": document}):
        try:
            assert compile_filters(spec, "t")(EVENT) in (True, False)
        except Reject as rejected:
            assert rejected.faults  # noqa: PT017
