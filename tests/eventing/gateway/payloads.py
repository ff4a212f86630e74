"""Alert groups as their vendors send them, to be changed one thing at a time."""

from __future__ import annotations

from typing import Any

NOT_ENDED = "0001-01-01T00:00:00Z"


def alert(status: str = "firing", fingerprint: str = "0fa5b04093904db0", **labels: str) -> dict[str, Any]:
    """The fields that https://prometheus.io/docs/alerting/latest/configuration/#webhook_config lists."""
    return {
        "status": status,
        "labels": {"alertname": "AnomalyRateShift", **(labels or {"detector": "pump"})},
        "annotations": {"summary": "anomaly rate of pump left its band"},
        "startsAt": "2026-11-23T12:51:42.123456789Z",
        "endsAt": NOT_ENDED if status == "firing" else "2026-11-23T12:55:00Z",
        "generatorURL": "http://prometheus:9090/graph?g0.expr=up",
        "fingerprint": fingerprint,
    }


def alertmanager(*alerts: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """The fields that https://prometheus.io/docs/alerting/latest/configuration/#webhook_config lists."""
    return {
        "version": "4",
        "groupKey": '{}:{alertname="AnomalyRateShift"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "homeostat",
        "groupLabels": {"alertname": "AnomalyRateShift"},
        "commonLabels": {"alertname": "AnomalyRateShift"},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager-0:9093",
        "alerts": list(alerts) or [alert()],
        **changed,
    }


def grafana(*alerts: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """The shape of the example and the tables of fields in https://grafana.com/docs/grafana/latest/alerting/
    configure-notifications/manage-contact-points/integrations/webhook-notifier/, with a plant's values."""
    more = {
        "values": {"B": 44.5, "C": 1},
        "silenceURL": "https://grafana.example.com/alerting/silence/new?alertmanager=grafana",
        "dashboardURL": "",
        "panelURL": "",
        "imageURL": "",
    }
    starts = {"startsAt": "2026-11-23T14:51:42.123456789+02:00"}
    return {
        "receiver": "Homeostat webhook",
        "status": "firing",
        "orgId": 1,
        "alerts": [one | more | starts for one in alerts or [alert()]],
        "groupLabels": {},
        "commonLabels": {"team": "plant"},
        "commonAnnotations": {},
        "externalURL": "https://grafana.example.com/",
        "version": "1",
        "groupKey": "{}:{}",
        "truncatedAlerts": 0,
        "title": "[FIRING:1]  (plant)",
        "state": "alerting",
        "message": "**Firing**",
        **changed,
    }
