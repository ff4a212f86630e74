"""What Prometheus, Alertmanager and Grafana read on one machine, beside a home: all in one folder.

prometheus.yml  rules.yml  alertmanager.yml  grafana/provisioning/  grafana/dashboards/  *.token
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from homeostat.eventing.doors import Tokens, token_file
from homeostat.eventing.doors.watched import write_private
from homeostat.eventing.durations import parse_duration
from homeostat.eventing.errors import Fault, Reject, shown

from ..local.settings import Settings
from . import rules

DASHBOARDS = rules.SOURCE.parent / "dashboards"
DOORS = ("admin", "alertmanager")
"""Doors of the home that are called: its metrics, and the gateway's for alerts."""
RECEIVER, NOBODY = "homeostat", "nobody"


@dataclass(frozen=True, slots=True)
class Stack:
    """Where everything of one machine listens. `scale`: every wait is so many times as long as in earnest."""

    folder: Path
    settings: Settings
    prometheus: str = "127.0.0.1:9090"
    alertmanager: str = "127.0.0.1:9093"
    grafana: str = "127.0.0.1:3000"
    scale: float = 1.0


class _Dumper(yaml.SafeDumper):
    """Queries of several lines are for people to read."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    ),
)


def write(stack: Stack) -> list[Path]:
    """Write all files, and return them. Raises Reject for a scale that is none."""
    if not 0 < stack.scale <= 10:
        raise Reject(Fault("--scale", shown(stack.scale), "more than 0, at most 10; 1 is in earnest"))
    tokens = {door: path for door in DOORS if (path := _token(stack, door))}
    documents = {
        "prometheus.yml": _prometheus(stack, tokens.get("admin")),
        "rules.yml": {"groups": rules.groups(stack.scale)},
        "alertmanager.yml": alertmanager(stack, tokens.get("alertmanager")),
        "grafana/provisioning/datasources/homeostat.yml": _source(stack),
        "grafana/provisioning/dashboards/homeostat.yml": _provider(stack),
    }
    written = list(tokens.values())
    for name, document in documents.items():
        path = stack.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=110))
        written.append(path)
    shelf = stack.folder / "grafana" / "dashboards"
    shelf.mkdir(parents=True, exist_ok=True)
    for dashboard in sorted(DASHBOARDS.glob("*.json")):
        (shelf / dashboard.name).write_bytes(dashboard.read_bytes())
        written.append(shelf / dashboard.name)
    return written


def commands(stack: Stack) -> list[str]:
    """How the three are started."""
    at = stack.folder.resolve()
    grafana, _, port = stack.grafana.rpartition(":")
    return [
        f"prometheus --config.file={at}/prometheus.yml --storage.tsdb.path={at}/prometheus"
        f" --web.listen-address={stack.prometheus}",
        f"prometheus-alertmanager --config.file={at}/alertmanager.yml --storage.path={at}/alertmanager"
        f" --web.listen-address={stack.alertmanager} --cluster.listen-address=",
        f"GF_PATHS_PROVISIONING={at}/grafana/provisioning GF_PATHS_DATA={at}/grafana/data"
        f" GF_SERVER_HTTP_ADDR={grafana} GF_SERVER_HTTP_PORT={port}"
        " grafana server --homepath /usr/share/grafana",
    ]


def _token(stack: Stack, door: str) -> Path | None:
    """A file with a token of the door, where it asks for one: the one that lies there while it is good."""
    home = stack.settings.tokens_file
    if door not in token_file.entries(home).closed:
        return None
    path = stack.folder / f"{door}.token"
    if not (path.exists() and Tokens(home).door_of(path.read_bytes().strip()) == door):
        _, token = token_file.create(home, door)
        write_private(path, token.encode())
    return path


def _called(settings: Settings, token: Path | None) -> dict[str, Any]:
    """How a client gets through the home's doors."""
    found: dict[str, Any] = {}
    if token:
        found["authorization"] = {"type": "Bearer", "credentials_file": str(token.resolve())}
    if settings.tls_cert:
        found["tls_config"] = {"ca_file": str(settings.tls_cert.resolve())}
    return found


def _prometheus(stack: Stack, token: Path | None) -> dict[str, Any]:
    scheme, _, address = stack.settings.url.partition("://")
    found = stack.settings.state.resolve() / "prometheus"
    # A canary's step is a minute, judged on its own requests.
    every = rules.scaled("10s", stack.scale, rules.SHORTEST)
    return {
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "rule_files": ["rules.yml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [stack.alertmanager]}]}]},
        "scrape_configs": [
            {
                "job_name": "home",
                "scheme": scheme,
                "static_configs": [{"targets": [address]}],
                **_called(stack.settings, token),
            },
            # Their addresses change with every start; the home writes them down, with the Detector's name.
            *(
                {
                    "job_name": job,
                    "file_sd_configs": [{"files": [str(found / f"{job}.json")], "refresh_interval": every}],
                }
                for job in ("model-servers", "functions")
            ),
        ],
    }


def alertmanager(stack: Stack, token: Path | None) -> dict[str, Any]:
    """What names a Detector goes to the gateway. People's own receivers are added by hand, after it."""
    webhook = {
        "url": f"{stack.settings.url}/gateway/alertmanager",
        "send_resolved": True,
        **({"http_config": called} if (called := _called(stack.settings, token)) else {}),
    }
    waits: Mapping[str, tuple[str, str]] = {
        "group_wait": ("10s", "100ms"),
        "group_interval": ("1m", "1s"),
        "repeat_interval": ("4h", "1m"),
    }
    times = {
        name: rules.scaled(wait, stack.scale, parse_duration(least)) for name, (wait, least) in waits.items()
    }
    return {
        "route": {
            "receiver": NOBODY,
            "group_by": ["detector", "alertname"],
            **times,
            "routes": [{"receiver": RECEIVER, "matchers": ['detector=~".+"'], "continue": True}],
        },
        "receivers": [{"name": NOBODY}, {"name": RECEIVER, "webhook_configs": [webhook]}],
    }


def _source(stack: Stack) -> dict[str, Any]:
    source = {
        "name": "Prometheus",
        "uid": "prometheus",
        "type": "prometheus",
        "access": "proxy",
        "url": f"http://{stack.prometheus}",
        "isDefault": True,
    }
    return {"apiVersion": 1, "datasources": [source]}


def _provider(stack: Stack) -> dict[str, Any]:
    shelf = {"path": str((stack.folder / "grafana" / "dashboards").resolve())}
    provider = {"name": "homeostat", "folder": "Homeostat", "type": "file", "options": shelf}
    return {"apiVersion": 1, "providers": [provider]}
