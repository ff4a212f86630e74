"""Grafana alerting's webhook, version 1, into alert events.

The format: https://grafana.com/docs/grafana/latest/alerting/configure-notifications/manage-contact-points/
integrations/webhook-notifier/. It is Alertmanager's with more fields (`orgId`, `title`, `state`, `message`,
and per alert `values` and addresses); only the organisation is needed beside those. An alert that still fires
ends at `0001-01-01T00:00:00Z`; its status says so too, and that is what counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal
from urllib.parse import quote

from . import alerts
from .translated import Translated


class Delivery(alerts.Group):
    version: Literal["1"]
    orgId: alerts.Whole = 1


def translate(headers: Mapping[str, str], body: bytes) -> list[Translated]:
    """One event per alert. Raises Reject with every fault, by field.

    The source is organisation and contact point: Grafana's HA peers share them through their database,
    whatever address each of them has.
    """
    delivery = alerts.read(Delivery, body)
    return alerts.events(delivery, f"/grafana/{delivery.orgId}/{quote(delivery.receiver, safe='')}")
