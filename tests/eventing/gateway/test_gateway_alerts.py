"""Alertmanager's and Grafana's webhooks: one fact per alert, the same one however often it is told.

Alertmanager's format is documented at https://prometheus.io/docs/alerting/latest/configuration/#webhook_config,
Grafana's at https://grafana.com/docs/grafana/latest/alerting/configure-notifications/manage-contact-points/
integrations/webhook-notifier/; the two real deliveries of `shared/vectors/alertmanager` are an Alertmanager
0.25's.
"""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.eventing.errors import Reject
from homeostat.eventing.gateway import alertmanager, grafana
from homeostat.eventing.gateway.alerts import MAX_ALERTS, TRUNCATED, utc
from homeostat.eventing.gateway.translated import Translated
from homeostat.eventing.messages import AlertFired, AlertResolved
from tests.eventing.gateway import payloads
from tests.eventing.gateway.payloads import alert

Make = Callable[..., dict[str, Any]]
BOTH = [
    pytest.param(alertmanager.translate, payloads.alertmanager, id="alertmanager"),
    pytest.param(grafana.translate, payloads.grafana, id="grafana"),
]


def told(translate: Any, document: Any) -> list[Translated]:
    found: list[Translated] = translate({}, json.dumps(document).encode())
    return found


def faults(translate: Any, body: bytes) -> dict[str, str]:
    with pytest.raises(Reject) as caught:
        translate({}, body)
    return {fault.field: fault.value for fault in caught.value.faults}


def test_a_real_alertmanagers_deliveries_are_two_alerts_that_fire_and_end(shared: Path) -> None:
    bodies = [
        (shared / "vectors/alertmanager" / f"{name}.json").read_bytes() for name in ("firing", "resolved")
    ]
    fired, resolved = (alertmanager.translate({}, body) for body in bodies)
    assert [type(one.message) for one in fired + resolved] == [AlertFired] * 2 + [AlertResolved] * 2
    assert {one.subject for one in fired + resolved} == {"pump"}
    assert {one.source for one in fired + resolved} == {"/alertmanager/loop"}
    assert len({one.id for one in fired + resolved}) == 4
    for before, after in zip(fired, resolved, strict=True):
        assert isinstance(after.message, AlertResolved)
        assert before.message.fingerprint == after.message.fingerprint  # type: ignore[union-attr]
        assert after.message.ends_at == after.time == "2026-11-23T12:51:48Z"


@pytest.mark.parametrize(("translate", "make"), BOTH)
def test_the_documented_payload_keeps_every_field_that_a_decision_may_need(
    translate: Any, make: Make
) -> None:
    document = make()
    (found,) = told(translate, document)
    sent = document["alerts"][0]
    assert found.message == AlertFired(
        alertname="AnomalyRateShift",
        fingerprint=sent["fingerprint"],
        starts_at=sent["startsAt"],
        labels=sent["labels"],
        annotations=sent["annotations"],
        group_key=document["groupKey"],
        receiver=document["receiver"],
        generator_url=sent["generatorURL"],
    )
    assert (found.subject, found.time) == ("pump", sent["startsAt"])


@pytest.mark.parametrize(("translate", "make"), BOTH)
def test_one_group_may_hold_alerts_that_fire_and_alerts_that_ended(translate: Any, make: Make) -> None:
    found = told(translate, make(alert("firing", "a"), alert("resolved", "b"), alert("firing", "c")))
    assert [type(one.message) for one in found] == [AlertFired, AlertResolved, AlertFired]


@pytest.mark.parametrize(
    "reason", ["first notification", "repeat interval elapsed", "unknown", "a later one"]
)
def test_fields_of_newer_alertmanagers_may_be_there_or_not(reason: str) -> None:
    newer = payloads.alertmanager(notification_reason=reason, routeLabels={"team": "plant"}, another=[1])
    assert told(alertmanager.translate, newer) == told(alertmanager.translate, payloads.alertmanager())


@pytest.mark.parametrize(("translate", "make"), BOTH)
def test_a_truncated_group_says_so_in_each_of_its_events(translate: Any, make: Make) -> None:
    whole = told(translate, make(alert(), alert("firing", "b")))
    cut = told(translate, make(alert(), alert("firing", "b"), truncatedAlerts=7))
    assert [one.message.annotations.get(TRUNCATED) for one in cut] == ["7", "7"]  # type: ignore[union-attr]
    assert [one.message.annotations.get(TRUNCATED) for one in whole] == [None, None]  # type: ignore[union-attr]
    assert [one.id for one in cut] == [one.id for one in whole]


def test_nobody_else_may_say_that_a_group_was_truncated() -> None:
    boast = alert() | {"annotations": {TRUNCATED: "many", "summary": "s"}}
    (found,) = told(alertmanager.translate, payloads.alertmanager(boast))
    assert found.message.annotations == {"summary": "s"}  # type: ignore[union-attr]


@pytest.mark.parametrize(("translate", "make"), BOTH)
def test_a_repeat_from_another_ha_peer_is_the_same_event(translate: Any, make: Make) -> None:
    first = make()
    peer = make(externalURL="http://alertmanager-1:9093", status="firing")
    for one in peer["alerts"]:
        one["startsAt"] = "2026-11-23T13:51:42.1234567890+01:00"
        one["generatorURL"] = "http://prometheus-1:9090/graph"
        one["annotations"] = {"summary": "worded otherwise meanwhile"}
    (ours,), (theirs,) = told(translate, first), told(translate, peer)
    assert (ours.source, ours.id) == (theirs.source, theirs.id)


@pytest.mark.parametrize(
    "change",
    [
        {"status": "resolved", "endsAt": "2026-11-23T12:55:00Z"},
        {"fingerprint": "another"},
        {"startsAt": "2026-11-23T12:51:42.123456780Z"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_alert_start_or_status_is_another_event(change: dict[str, str]) -> None:
    (first,) = told(alertmanager.translate, payloads.alertmanager())
    (other,) = told(alertmanager.translate, payloads.alertmanager(alert() | change))
    assert first.id != other.id


def test_another_group_is_another_event() -> None:
    (first,) = told(alertmanager.translate, payloads.alertmanager())
    (other,) = told(alertmanager.translate, payloads.alertmanager(groupKey="{}/{a=b}:{}"))
    assert first.id != other.id


@pytest.mark.parametrize(
    ("labels", "subject"),
    [
        ({"detector": "pump"}, "pump"),
        ({"homeostat_detector": "pump-7"}, "pump-7"),
        ({"detector": "pump", "homeostat_detector": "other"}, "pump"),
        ({"detector": "", "homeostat_detector": "pump"}, "pump"),
        ({"detector": ""}, None),
        ({"service": "pump"}, None),
        ({"detector": "Pump 7"}, None),
        ({"detector": "pump\r\nce-evil: 1"}, None),
        ({"detector": "p" * 43}, None),
    ],
)
def test_the_detector_is_what_a_label_names_if_a_detector_could_be_called_so(
    labels: dict[str, str], subject: str | None
) -> None:
    (found,) = told(alertmanager.translate, payloads.alertmanager(alert("firing", "f", **labels)))
    assert found.subject == subject


def test_an_alert_of_grafana_that_ends_in_the_year_one_still_fires() -> None:
    (found,) = told(grafana.translate, payloads.grafana())
    assert payloads.grafana()["alerts"][0]["endsAt"] == "0001-01-01T00:00:00Z"
    assert isinstance(found.message, AlertFired)
    assert (found.source, found.subject) == ("/grafana/1/Homeostat%20webhook", "pump")


@pytest.mark.parametrize(
    ("translate", "make", "wrong"),
    [(*one.values, bad) for one in BOTH for bad in ("3", "1" if one.id == "alertmanager" else "4", 4, None)],
)
def test_another_version_is_refused(translate: Any, make: Make, wrong: Any) -> None:
    assert set(faults(translate, json.dumps(make(version=wrong)).encode())) == {"version"}


@pytest.mark.parametrize(("translate", "make"), BOTH)
def test_every_fault_is_named_at_once(translate: Any, make: Make) -> None:
    bad = alert() | {"status": "pending", "startsAt": "yesterday", "labels": {"a": 1}}
    document = make(alert(), bad, truncatedAlerts=-1)
    document["alerts"][1] |= bad
    del document["groupKey"]
    assert set(faults(translate, json.dumps(document).encode())) == {
        "groupKey",
        "truncatedAlerts",
        "alerts[1].status",
        "alerts[1].startsAt",
        "alerts[1].labels.a",
    }


@pytest.mark.parametrize(("translate", "make"), BOTH)
@pytest.mark.parametrize(
    "text", [b"", b"[]", b"null", b"3", b'"x"', b"\xff", b"{" * 5000, b'{"a":"\\ud800"}']
)
def test_what_is_no_json_object_is_refused(translate: Any, make: Make, text: bytes) -> None:
    assert set(faults(translate, text)) == {"body"}


@pytest.mark.parametrize(("translate", "make"), BOTH)
def test_a_payload_cut_anywhere_is_refused(translate: Any, make: Make) -> None:
    body = json.dumps(make()).encode()
    for length in range(len(body)):
        assert faults(translate, body[:length])


def test_a_group_too_large_to_be_answered_fault_by_fault_is_refused_whole() -> None:
    body = json.dumps(payloads.alertmanager(alerts=[1] * (MAX_ALERTS + 1))).encode()
    assert set(faults(alertmanager.translate, body)) == {"alerts"}


def test_maps_that_go_never_made_are_empty_ones() -> None:
    (found,) = told(
        alertmanager.translate, payloads.alertmanager(alert() | {"annotations": None, "labels": None})
    )
    assert (found.message.labels, found.message.annotations) == ({}, {})  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2026-11-23T12:51:42Z", "2026-11-23T12:51:42Z"),
        ("2026-11-23t12:51:42.000z", "2026-11-23T12:51:42Z"),
        ("2026-11-23T00:30:00.5+01:00", "2026-11-22T23:30:00.5Z"),
        ("2026-11-23T12:51:42.123456789-05:30", "2026-11-23T18:21:42.123456789Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("0001-01-01T00:00:00+01:00", "0001-01-01T00:00:00+01:00"),
        ("9999-12-31T23:59:59-01:00", "9999-12-31T23:59:59-01:00"),
    ],
)
def test_one_instant_has_one_text(text: str, same: str) -> None:
    assert utc(text) == same


@pytest.mark.parametrize(
    "text",
    ["2026-02-30T00:00:00Z", "2026-11-23", "2026-11-23T12:51:42", "0000-01-01T00:00:00Z", "", "now"],
)
def test_what_is_no_instant_is_told(text: str) -> None:
    with pytest.raises(ValueError):
        utc(text)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    steps = (
        document.items()
        if isinstance(document, dict)
        else enumerate(document)
        if isinstance(document, list)
        else ()
    )
    for step, inner in steps:
        yield from places(inner, (*path, step))


@pytest.mark.parametrize(("translate", "make"), BOTH)
def test_whatever_stands_in_any_place_is_translated_or_refused(translate: Any, make: Make) -> None:
    document = make(alert(), alert("resolved", "b"))

    @given(st.sampled_from(list(places(document))), ANYTHING)
    def holds(path: tuple[Any, ...], value: Any) -> None:
        changed = copy.deepcopy({"": document})
        inner: Any = changed
        for step in ("", *path)[:-1]:
            inner = inner[step]
        inner[("", *path)[-1]] = value
        with contextlib.suppress(Reject):
            found = translate({}, json.dumps(changed[""]).encode(errors="surrogatepass"))
            assert all(isinstance(one, Translated) for one in found)

    holds()
