"""Knative manifests, read as they lie: Broker, Trigger, sources and sinks, every fault by file and field."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml

from ..errors import Fault, Reject, shown
from . import sources, specs
from .filters import Filter, compile_filters
from .sources import KafkaFeed, KafkaTopic, Ping
from .specs import Delivery, Destination, Document

__all__ = ["Delivery", "Destination", "KafkaFeed", "KafkaTopic", "Manifests", "Ping", "Trigger", "read"]

_Read = TypeVar("_Read")
_TRIGGER = ("broker", "brokerRef", "filter", "filters", "subscriber", "delivery")
Brokers = Mapping[tuple[str, str], Delivery]


@dataclass(frozen=True, slots=True)
class Trigger:
    name: str
    broker: tuple[str, str]
    subscriber: Destination
    filter: Filter
    delivery: Delivery


@dataclass(frozen=True, slots=True)
class Manifests:
    brokers: Sequence[tuple[str, str]]
    triggers: Sequence[Trigger]
    pings: Sequence[Ping]
    kafka_sources: Sequence[KafkaFeed] = ()
    kafka_sinks: Sequence[KafkaTopic] = ()


def read(files: Iterable[Path]) -> Manifests:
    """Read the files; other kinds are left alone. Raises Reject with every fault, by file and field."""
    faults: list[Fault] = []
    documents: dict[tuple[str, str], list[Document]] = {}
    for file in files:
        for kind, document in _documents(file, faults):
            others = documents.setdefault(kind, [])
            # A Trigger's cursor goes by its name alone, so that one namespace for all names is none too wide.
            if any(other.name == document.name for other in others):
                faults.append(Fault(document.where, "here twice", "give each object a name of its own"))
            others.append(document)

    def all_of(group: str, kind: str, reader: Callable[[Document, list[Fault]], _Read]) -> list[_Read]:
        return [reader(document, faults) for document in documents.get((group, kind), ())]

    eventing, outside = "eventing.knative.dev", "sources.knative.dev"
    brokers = dict(all_of(eventing, "Broker", _broker))
    triggers = all_of(eventing, "Trigger", lambda document, _: _trigger(document, brokers, faults))
    pings = all_of(outside, "PingSource", sources.ping)
    feeds = all_of(outside, "KafkaSource", sources.kafka_source)
    topics = all_of(eventing, "KafkaSink", sources.kafka_sink)
    senders: list[Ping | KafkaFeed] = [*pings, *feeds]
    faults.extend(
        _unknown(f"source {source.name}: spec.sink", source.broker, brokers)
        for source in senders
        if source.broker[1] and source.broker not in brokers
    )
    sinks = {(topic.namespace, topic.name) for topic in topics}
    faults.extend(
        Fault(f"Trigger {trigger.name}", str(used), "no KafkaSink of that name in its namespace is here")
        for trigger in triggers
        for used in (trigger.subscriber, trigger.delivery.dead_letter_sink)
        if used and used.kind == "KafkaSink" and (used.namespace, used.name) not in sinks
    )
    if faults:
        raise Reject(faults)
    return Manifests(list(brokers), triggers, pings, feeds, topics)


def _documents(file: Path, faults: list[Fault]) -> Iterable[tuple[tuple[str, str], Document]]:
    try:
        documents = [one for one in yaml.safe_load_all(file.read_text("utf-8")) if one]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        faults.append(Fault(str(file), "unreadable", " ".join(str(error).split())))
        return
    for one in documents:
        if not isinstance(one, dict):
            faults.append(Fault(str(file), "no mapping", "write one Kubernetes object per document"))
            continue
        kind = (str(one.get("apiVersion")).partition("/")[0], str(one.get("kind")))
        yield kind, _document(file.name, kind[1], one, faults)


def _document(file: str, kind: str, one: Mapping[str, Any], faults: list[Fault]) -> Document:
    metadata = specs.mapping(f"{file}: {kind}: metadata", one.get("metadata"), faults)
    name = str(metadata.get("name") or "")
    where = f"{file}: {kind} {name or '?'}"
    return Document(
        where=where,
        namespace=str(metadata.get("namespace") or "default"),
        name=name,
        spec=specs.mapping(f"{where}: spec", one.get("spec"), faults),
        labels=specs.mapping(f"{where}: metadata.labels", metadata.get("labels"), faults),
    )


def _broker(document: Document, faults: list[Fault]) -> tuple[tuple[str, str], Delivery]:
    spec = document.spec.get("delivery")
    where = f"{document.where}: spec.delivery"
    delivery = (
        specs.KNATIVES_DEFAULT if spec is None else specs.delivery(where, spec, document.namespace, faults)
    )
    return (document.namespace, document.name), delivery


def _trigger(document: Document, brokers: Brokers, faults: list[Fault]) -> Trigger:
    spec, where = document.spec, f"{document.where}: spec"
    specs.only(where, spec, _TRIGGER, faults)
    broker = _broker_of(document, faults)
    if broker not in brokers:
        faults.append(_unknown(f"{where}.broker", broker, brokers))
    return Trigger(
        name=document.name,
        broker=broker,
        subscriber=specs.destination(
            f"{where}.subscriber", spec.get("subscriber"), document.namespace, faults
        ),
        filter=_filter(f"{where}.filters", spec, faults),
        delivery=_delivery(document, brokers.get(broker, specs.DEFAULT), faults),
    )


def _broker_of(document: Document, faults: list[Fault]) -> tuple[str, str]:
    """`brokerRef` may name a Broker of another namespace."""
    ref = specs.mapping(f"{document.where}: spec.brokerRef", document.spec.get("brokerRef"), faults)
    name = document.spec.get("broker") or ref.get("name") or ""
    return str(ref.get("namespace") or document.namespace), str(name)


def _filter(where: str, spec: Mapping[str, Any], faults: list[Fault]) -> Filter:
    try:
        return compile_filters(spec, where)
    except Reject as rejected:
        faults.extend(rejected.faults)
        return lambda _: False


def _delivery(document: Document, inherited: Delivery, faults: list[Fault]) -> Delivery:
    """A Trigger's own delivery takes the place of the Broker's as a whole; only the dead letter sink, where
    it names none, is still the Broker's (knative/eventing: broker/trigger/trigger.go, subscription.go)."""
    spec = document.spec.get("delivery")
    if spec is None:
        return inherited
    own = specs.delivery(f"{document.where}: spec.delivery", spec, document.namespace, faults)
    return replace(own, dead_letter_sink=own.dead_letter_sink or inherited.dead_letter_sink)


def _unknown(where: str, broker: tuple[str, str], brokers: Brokers) -> Fault:
    known = ", ".join("/".join(one) for one in brokers) or "none"
    return Fault(where, shown("/".join(broker)), f"known brokers: {known}")
