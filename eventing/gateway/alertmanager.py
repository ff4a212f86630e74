"""Prometheus Alertmanager's webhook, version 4, into alert events.

The format: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config; what newer releases add
(`notification_reason`, `routeLabels`) is not needed and may be there or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal
from urllib.parse import quote

from . import alerts
from .translated import Translated


class Delivery(alerts.Group):
    version: Literal["4"]


def translate(headers: Mapping[str, str], body: bytes) -> list[Translated]:
    """One event per alert. Raises Reject with every fault, by field.

    The source is the receiver's name: HA peers share one configuration and so the name, while `externalURL`
    is each peer's own address and would make two events of one alert.
    """
    delivery = alerts.read(Delivery, body)
    return alerts.events(delivery, f"/alertmanager/{quote(delivery.receiver, safe='')}")
