"""Knative manifests, read as they lie: Broker, Trigger and PingSource, with every fault by file and field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from ..durations import parse_duration
from ..errors import Fault, Reject, shown
from .filters import Filter, compile_filters


@dataclass(frozen=True, slots=True)
class Destination:
    """Where events go: a `uri`, or a reference to something that the home resolves."""

    kind: str = ""
    name: str = ""
    namespace: str = ""
    uri: str = ""

    def __str__(self) -> str:
        return self.uri or f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class Delivery:
    """Knative's DeliverySpec. `retry` counts the attempts after the first."""

    retry: int = 0
    policy: str = "exponential"
    delay: timedelta = timedelta(milliseconds=200)
    timeout: timedelta = timedelta(seconds=30)
    retry_after_max: timedelta = timedelta(0)
    dead_letter_sink: Destination | None = None


@dataclass(frozen=True, slots=True)
class Trigger:
    name: str
    broker: tuple[str, str]
    subscriber: Destination
    filter: Filter
    delivery: Delivery


@dataclass(frozen=True, slots=True)
class Ping:
    """A PingSource: what it sends, and when."""

    name: str
    namespace: str
    schedule: str
    timezone: str
    broker: tuple[str, str]
    content_type: str
    data: bytes | None
    extensions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Manifests:
    brokers: Sequence[tuple[str, str]]
    triggers: Sequence[Trigger]
    pings: Sequence[Ping]


def read(files: Iterable[Path]) -> Manifests:
    """Read the files. Raises Reject naming file, field, value and mend. Other kinds are left alone."""
    documents = [(file.name, document) for file in files for document in _documents(file)]
    found: dict[str, list[tuple[str, dict[str, Any]]]] = {"Broker": [], "Trigger": [], "PingSource": []}
    for file, document in documents:
        found.setdefault(str(document.get("kind")), []).append((file, document))
    brokers = {_name(document): _delivery(file, document, Delivery()) for file, document in found["Broker"]}
    triggers = [_trigger(file, document, brokers) for file, document in found["Trigger"]]
    return Manifests(
        list(brokers), triggers, [_ping(file, document) for file, document in found["PingSource"]]
    )


def _documents(file: Path) -> list[dict[str, Any]]:
    try:
        documents = [one for one in yaml.safe_load_all(file.read_text("utf-8")) if one]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Reject(Fault(str(file), "unreadable", " ".join(str(error).split()))) from None
    if not all(isinstance(one, dict) for one in documents):
        raise Reject(Fault(str(file), "no mapping", "write one Kubernetes object per document"))
    return documents


def _name(document: Mapping[str, Any]) -> tuple[str, str]:
    metadata = document.get("metadata", {})
    return str(metadata.get("namespace", "default")), str(metadata.get("name", ""))


def _delivery(file: str, document: Mapping[str, Any], inherited: Delivery) -> Delivery:
    """A Trigger's own delivery replaces the Broker's, as on a cluster."""
    spec = (document.get("spec") or {}).get("delivery")
    if not spec:
        return inherited
    policy = spec.get("backoffPolicy", "exponential")
    if policy not in ("exponential", "linear"):
        raise Reject(Fault(f"{file}: spec.delivery.backoffPolicy", shown(policy), "exponential or linear"))
    try:
        return Delivery(
            retry=int(spec.get("retry", 0)),
            policy=policy,
            delay=parse_duration(spec.get("backoffDelay", "PT0.2S")),
            timeout=parse_duration(spec.get("timeout", "PT30S")),
            retry_after_max=parse_duration(spec.get("retryAfterMax", "0")),
            dead_letter_sink=_destination(spec["deadLetterSink"]) if "deadLetterSink" in spec else None,
        )
    except ValueError as error:
        raise Reject(Fault(f"{file}: spec.delivery", shown(spec), str(error))) from None


def _destination(spec: Mapping[str, Any]) -> Destination:
    ref = spec.get("ref") or {}
    return Destination(
        kind=str(ref.get("kind", "")),
        name=str(ref.get("name", "")),
        namespace=str(ref.get("namespace", "")),
        uri=str(spec.get("uri", "")),
    )


def _trigger(file: str, document: Mapping[str, Any], brokers: Mapping[tuple[str, str], Delivery]) -> Trigger:
    namespace, name = _name(document)
    spec = document.get("spec") or {}
    broker = (namespace, str(spec.get("broker", "")))
    if broker not in brokers:
        known = ", ".join("/".join(one) for one in brokers) or "none"
        raise Reject(Fault(f"{file}: spec.broker", shown(spec.get("broker")), f"known brokers: {known}"))
    return Trigger(
        name=name,
        broker=broker,
        subscriber=_destination(spec.get("subscriber") or {}),
        filter=compile_filters(spec, f"{file}: {name}: spec.filters"),
        delivery=_delivery(file, document, brokers[broker]),
    )


def _ping(file: str, document: Mapping[str, Any]) -> Ping:
    namespace, name = _name(document)
    spec = document.get("spec") or {}
    sink = _destination(spec.get("sink") or {})
    if sink.kind != "Broker":
        raise Reject(
            Fault(f"{file}: spec.sink", shown(spec.get("sink")), "a PingSource here sends to a Broker")
        )
    data = spec.get("data")
    return Ping(
        name=name,
        namespace=namespace,
        schedule=str(spec.get("schedule", "* * * * *")),
        timezone=str(spec.get("timezone", "UTC")),
        broker=(sink.namespace or namespace, sink.name),
        content_type=str(spec.get("contentType", "application/json")),
        data=str(data).encode() if data is not None else None,
        extensions=(spec.get("ceOverrides") or {}).get("extensions") or {},
    )
