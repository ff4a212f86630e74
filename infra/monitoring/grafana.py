"""Dashboards as Grafana's JSON model (schema 39, Grafana 10 and later).

python -m homeostat.infra.monitoring.grafana     writes `infra/base/monitoring/dashboards` anew
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from .dashboards import DASHBOARDS
from .panels import Dashboard, Panel
from .rules import SOURCE

FOLDER = SOURCE.parent / "dashboards"
COLUMNS, HEIGHT = 24, 8
SOURCE_OF_DATA = {"type": "prometheus", "uid": "${datasource}"}

_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "timeseries": {"tooltip": {"mode": "multi", "sort": "desc"}, "legend": {"displayMode": "list"}},
    "stat": {"reduceOptions": {"calcs": ["lastNotNull"]}},
    "state-timeline": {"showValue": "never", "mergeValues": True},
    "table": {},
}


def files() -> dict[str, bytes]:
    """Each dashboard's file name and content."""
    option = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
    return {
        f"{one.uid.removeprefix('homeostat-')}.json": orjson.dumps(rendered(one), option=option)
        for one in DASHBOARDS
    }


def rendered(dashboard: Dashboard) -> dict[str, Any]:
    variables = [{"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"}]
    if dashboard.by_detector:
        variables.append(_DETECTOR)
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "tags": ["homeostat"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": variables},
        "links": [{"type": "dashboards", "tags": ["homeostat"], "title": "Homeostat", "asDropdown": True}],
        "panels": list(_placed(dashboard.panels)),
    }


_DETECTOR: dict[str, Any] = {
    "name": "detector",
    "type": "query",
    "label": "Detector",
    "datasource": SOURCE_OF_DATA,
    "query": "label_values(homeostat_detector_phase, detector)",
    "refresh": 2,
    "multi": True,
    "includeAll": True,
    "allValue": ".*",
    "current": {"text": "All", "value": "$__all"},
}


def _placed(panels: tuple[Panel, ...]) -> Iterator[dict[str, Any]]:
    """From left to right, in rows of `COLUMNS`."""
    x = y = height = 0
    for number, one in enumerate(panels, 1):
        if x + one.width > COLUMNS:
            x, y = 0, y + height
        height = HEIGHT // 2 if one.kind == "stat" else HEIGHT
        yield _panel(one, number, {"x": x, "y": y, "w": one.width, "h": height})
        x += one.width


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    targets = [
        {
            "refId": chr(ord("A") + place_of),
            "datasource": SOURCE_OF_DATA,
            "expr": expression,
            "legendFormat": legend,
            **({"format": "table", "instant": True} if panel.kind == "table" else {}),
        }
        for place_of, (legend, expression) in enumerate(panel.queries.items())
    ]
    return {
        "id": number,
        "title": panel.title,
        "description": panel.text,
        "type": panel.kind,
        "datasource": SOURCE_OF_DATA,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "options": dict(_OPTIONS[panel.kind]),
        "targets": targets,
    }


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, content in files().items():
        (FOLDER / name).write_bytes(content)


if __name__ == "__main__":
    main()
