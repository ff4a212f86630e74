"""Patterns of alert rules: RE2's, of whole values, and never slow."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.eventing.errors import Reject
from homeostat.functions.patterns import LONGEST, checked, matches
from homeostat.infra.manifest import parse
from tests.infra.test_manifest import GOOD

TEXTS = st.text("ab-0\n", max_size=8)


@given(TEXTS, st.sampled_from(["a|b", "[ab]+", "a.*", "", "a?b*", "(ab)+-0", "^a$", "b\\n"]))
def test_a_pattern_is_of_the_whole_value(value: str, pattern: str) -> None:
    assert matches({"x": f"~{pattern}"}, {"x": value}) == bool(re.fullmatch(pattern.strip("^$"), value))


@given(TEXTS, TEXTS)
def test_without_a_tilde_the_value_is_meant_as_it_is(wanted: str, value: str) -> None:
    assert matches({"x": wanted}, {"x": value}) == (wanted == value)


def test_every_label_that_is_named_counts_and_a_missing_one_has_no_value() -> None:
    labels = {"alertname": "AnomalyRateShift", "severity": "warning"}
    assert matches({"alertname": "~Anomaly.*", "severity": "warning"}, labels)
    assert not matches({"alertname": "~Anomaly.*", "severity": "critical"}, labels)
    assert not matches({"site": "~.*"}, labels)


@pytest.mark.parametrize("pattern", ["(a+)+b", "(a|a)*b", "(.*a){20}b", "a?" * 60 + "a" * 60])
def test_no_pattern_takes_longer_than_its_text(pattern: str) -> None:
    begun = time.perf_counter()
    matches({"x": f"~{pattern}"}, {"x": "a" * 50_000})
    assert time.perf_counter() - begun < 1


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ("~[", "unclosed character class"),
        ("~a)|(b", "unopened group"),
        ("~(?=a)", "look-around"),
        (r"~(a)\1", "backreferences"),
        ("~(?x)a #", "unclosed group"),
        ("~a{1000}{1000}", "size limit"),
        ("a" * (LONGEST + 1), f"{LONGEST} at most"),
    ],
)
def test_what_is_no_pattern_is_refused_when_it_is_applied(wanted: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        checked(wanted)
    rule = {"match": {"alertname": wanted}, "action": "retrain"}
    with pytest.raises(Reject) as refused:
        parse({**GOOD, "spec": {**GOOD["spec"], "alerts": [rule]}})  # type: ignore[dict-item]
    (fault,) = refused.value.faults
    assert fault.field == "spec.alerts.0.match.alertname"
    assert fault.value.startswith(repr(wanted)[:20])
    assert why in fault.mend
