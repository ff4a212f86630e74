"""What Alertmanager's and Grafana's webhooks have in common: groups of alerts, each one firing or resolved.

Both call at least once, Alertmanager from each of its HA peers, and again every `repeat_interval`. An event's
id is therefore made of what all those calls share: group key, fingerprint, start and status. The broker drops
what it has seen, so a repeat wakes nobody.
"""

from __future__ import annotations

import logging
import re
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, TypeVar, cast
from uuid import NAMESPACE_URL, uuid5

import orjson
from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from ..errors import shown
from ..messages import AlertFired, AlertResolved
from .storage.fields import Faults, Payload, json_object
from .translated import Translated

log = logging.getLogger(__name__)

MAX_ALERTS = 10_000
"""A larger group is refused before it is read: naming the faults of each would weigh more than the group."""

TRUNCATED = "homeostat.dev/truncated-alerts"
"""An annotation that events of a cut group carry. What a rule writes there is dropped."""

DETECTOR_LABELS = ("detector", "homeostat_detector")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?")
"""Names that a Detector can have; another label value (`Pump 7`) names none."""

_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))")


def utc(text: str) -> str:
    """The same instant as UTC text, whatever the offset and the trailing zeros that a peer writes.

    Raises ValueError for what is no RFC 3339 date and time.
    """
    found = _TIME.fullmatch(text)
    if not found:
        raise ValueError("write RFC 3339, such as 2026-11-23T15:04:05Z")
    day, clock, fraction, sign, hours, minutes = found.groups()
    moment = datetime.fromisoformat(f"{day}T{clock}")
    if sign:
        ahead = timedelta(hours=int(hours), minutes=int(minutes))
        try:
            moment = moment - ahead if sign == "+" else moment + ahead
        except OverflowError:
            return text  # an instant before the year 1 has no other spelling here
    # datetime stops at microseconds, Go writes nanoseconds.
    rest = f".{digits}" if (digits := (fraction or "").rstrip("0")) else ""
    return f"{moment.isoformat()}{rest}Z"


def _instant(text: str) -> str:
    utc(text)
    return text


def _some(value: Any) -> Any:
    """Go writes a map that was never made as null."""
    return {} if value is None else value


def _whole(value: Any) -> Any:
    """JSON knows one kind of number, and 3.0 is 3."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _few(value: Any) -> Any:
    if isinstance(value, list) and len(value) > MAX_ALERTS:
        raise ValueError(f"{len(value)} alerts are too many; set max_alerts to {MAX_ALERTS} or fewer")
    return value


Instant = Annotated[str, AfterValidator(_instant), WithJsonSchema({"type": "string", "format": "date-time"})]
Whole = Annotated[int, Field(ge=0, le=2**53), BeforeValidator(_whole)]
Pairs = Annotated[dict[str, str], BeforeValidator(_some, json_schema_input_type=dict[str, str] | None)]


class Alert(Payload):
    status: Literal["firing", "resolved"]
    labels: Pairs
    annotations: Pairs = Field(default_factory=dict)
    startsAt: Instant
    endsAt: Instant
    generatorURL: str = ""
    fingerprint: str = Field(min_length=1, max_length=128)


class Group(Payload):
    """Fields that nobody here needs are not read, so new ones of later releases do no harm."""

    groupKey: str = Field(min_length=1)
    receiver: str = Field(min_length=1, max_length=1024)
    truncatedAlerts: Whole = 0
    alerts: Annotated[list[Alert], BeforeValidator(_few)]


AnyGroup = TypeVar("AnyGroup", bound=Group)


def read(kind: type[AnyGroup], body: bytes) -> AnyGroup:
    """Read a group. Raises Reject with every fault, by field."""
    faults = Faults()
    group = faults.read(kind, json_object(body), "")
    faults.done()
    return cast(AnyGroup, group)


def events(group: Group, source: str) -> list[Translated]:
    """One fact per alert. A group that its sender cut says so in each: what it left out never comes."""
    if group.truncatedAlerts:
        log.warning("%s left out %d alerts of %s", source, group.truncatedAlerts, shown(group.groupKey))
    return [_event(alert, group, source) for alert in group.alerts]


def _event(alert: Alert, group: Group, source: str) -> Translated:
    annotations = {name: text for name, text in alert.annotations.items() if name != TRUNCATED}
    if group.truncatedAlerts:
        annotations[TRUNCATED] = str(group.truncatedAlerts)
    common: dict[str, Any] = {
        "alertname": alert.labels.get("alertname", ""),
        "fingerprint": alert.fingerprint,
        "starts_at": alert.startsAt,
        "labels": alert.labels,
        "annotations": annotations,
        "group_key": group.groupKey,
        "receiver": group.receiver,
        "generator_url": alert.generatorURL,
    }
    fires = alert.status == "firing"
    # JSON, because a key or fingerprint may hold any separator.
    same = orjson.dumps([group.groupKey, alert.fingerprint, utc(alert.startsAt), alert.status]).decode()
    return Translated(
        message=AlertFired(**common) if fires else AlertResolved(**common, ends_at=alert.endsAt),
        id=str(uuid5(NAMESPACE_URL, same)),
        source=source,
        subject=detector(alert.labels),
        time=alert.startsAt if fires else alert.endsAt,
    )


def detector(labels: dict[str, str]) -> str | None:
    """The Detector that an alert's labels name, if they name one."""
    named = next((labels[one] for one in DETECTOR_LABELS if labels.get(one)), "")
    return named if _NAME.fullmatch(named) else None
