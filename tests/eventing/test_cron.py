"""PingSources: read as a cluster reads them, due when their schedule says."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from homeostat.eventing.broker import cron
from homeostat.eventing.broker.manifests import read
from homeostat.eventing.errors import Reject
from tests.eventing.test_manifests import FILES, broker, written


def ping(**spec: Any) -> dict[str, Any]:
    metadata = {"name": "tick", "namespace": "homeostat"}
    sink = {"ref": {"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "name": "default"}}
    document = {"apiVersion": "sources.knative.dev/v1", "kind": "PingSource", "metadata": metadata}
    return document | {"spec": {"schedule": "* * * * *", "sink": sink} | spec}


def test_a_pings_data_may_be_base64(tmp_path: Path) -> None:
    (found,) = read(written(tmp_path, broker(), ping(dataBase64="AP8="))).pings
    assert cron.tick(found, datetime(2026, 11, 23, tzinfo=UTC)).data == b"\x00\xff"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"dataBase64": "?"}, "spec.dataBase64"),
        ({"dataBase64": "AP8=", "data": "{}"}, "beside"),
        ({"cron": "* * * * *"}, "spec.cron"),
        ({"sink": {"uri": "http://elsewhere/"}}, "spec.sink"),
        ({"sink": {"ref": {"kind": "Broker", "name": "other"}}}, "homeostat/other"),
        ({"ceOverrides": {"extensions": {"id": "1"}}}, "extensions.id"),
    ],
)
def test_a_ping_that_cannot_run_is_refused_by_its_field(
    tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    with pytest.raises(Reject, match=named):
        read(written(tmp_path, broker(), ping(**change)))


def test_a_ping_is_what_knatives_pingsource_sends() -> None:
    (ping,) = read(FILES).pings
    event = cron.tick(ping, datetime(2026, 11, 23, tzinfo=UTC))
    assert event.attributes["type"] == "dev.knative.sources.ping"
    assert event.attributes["source"] == "/apis/v1/namespaces/homeostat/pingsources/canary-tick"
    assert event.data == b"{}"


@pytest.mark.parametrize(
    ("schedule", "zone", "due"),
    [
        ("@every 90s", "UTC", timedelta(seconds=90)),
        ("*/5 * * * *", "UTC", timedelta(minutes=5)),
        ("0 9 * * *", "Europe/Berlin", timedelta(hours=8)),
    ],
)
def test_schedules_are_cron_in_their_own_time_zone(schedule: str, zone: str, due: timedelta) -> None:
    (ping,) = read(FILES).pings
    midnight = datetime(2026, 11, 23, tzinfo=UTC)
    assert cron.next_tick(replace(ping, schedule=schedule, timezone=zone), midnight) == midnight + due


@pytest.mark.parametrize(("schedule", "zone"), [("often", "UTC"), ("@every 0", "UTC"), ("* * * * *", "Mars")])
def test_a_schedule_that_cannot_be_read_is_refused(schedule: str, zone: str) -> None:
    (ping,) = read(FILES).pings
    with pytest.raises(Reject, match="PingSource canary-tick"):
        cron.check(replace(ping, schedule=schedule, timezone=zone))
