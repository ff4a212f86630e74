"""Sources and sinks as their manifests describe them: PingSource, KafkaSource, KafkaSink."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from ..errors import Fault, shown
from . import specs
from .specs import Document

KEY_TYPE = "kafkasources.sources.knative.dev/key-type"
_KEY_TYPES = ("string", "int", "float", "byte-array")
_OFFSETS = ("latest", "earliest")
_ORDERINGS = ("ordered", "unordered")
_MODES = ("binary", "structured")
_PING = ("schedule", "timezone", "contentType", "data", "dataBase64", "sink", "ceOverrides")
_KAFKA_SOURCE = (
    "bootstrapServers", "topics", "consumerGroup", "consumers", "initialOffset", "ordering", "delivery",
    "net", "sink", "ceOverrides",
)  # fmt: skip
_KAFKA_SINK = ("topic", "bootstrapServers", "contentMode", "numPartitions", "replicationFactor", "auth")
# From a source's `spec.net` to librdkafka's settings. A cluster reads the values from Secrets, and so do we.
_SASL = {"user": "sasl.username", "password": "sasl.password", "type": "sasl.mechanism"}
_TLS = {"caCert": "ssl.ca.pem", "cert": "ssl.certificate.pem", "key": "ssl.key.pem"}
# A KafkaSink names one Secret; these are the keys in it (Knative's documentation of KafkaSink).
_SINK_SECRET = {
    "security.protocol": "protocol",
    "sasl.mechanism": "sasl.mechanism",
    "sasl.username": "user",
    "sasl.password": "password",
    "ssl.ca.pem": "ca.crt",
    "ssl.certificate.pem": "user.crt",
    "ssl.key.pem": "user.key",
}


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
class Kafka:
    """How to reach a Kafka cluster. `secrets` says which Secret, and which key in it, holds a value of
    librdkafka's settings; `protocol` "" means that a Secret says that too."""

    servers: tuple[str, ...]
    protocol: str = "PLAINTEXT"
    secrets: Mapping[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KafkaFeed:
    """A KafkaSource: which topics become events, and where the reading begins."""

    name: str
    namespace: str
    kafka: Kafka
    topics: tuple[str, ...]
    group: str
    initial_offset: str
    consumers: int
    key_type: str
    broker: tuple[str, str]
    extensions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KafkaTopic:
    """A KafkaSink: the topic that events are written to, and in which content mode."""

    name: str
    namespace: str
    kafka: Kafka
    topic: str
    mode: str


def ping(document: Document, faults: list[Fault]) -> Ping:
    where, spec = f"{document.where}: spec", document.spec
    specs.only(where, spec, _PING, faults)
    return Ping(
        name=document.name,
        namespace=document.namespace,
        schedule=str(spec.get("schedule") or "* * * * *"),
        timezone=str(spec.get("timezone") or "UTC"),
        broker=_broker(document, faults),
        content_type=str(spec.get("contentType") or "application/json"),
        data=_ping_data(where, spec, faults),
        extensions=specs.extensions(f"{where}.ceOverrides", spec.get("ceOverrides"), faults),
    )


def _ping_data(where: str, spec: Mapping[str, Any], faults: list[Fault]) -> bytes | None:
    text, encoded = spec.get("data"), spec.get("dataBase64")
    if encoded is None:
        return None if text is None else str(text).encode()
    try:
        if text is not None:
            raise ValueError("beside data")
        return base64.b64decode(str(encoded), validate=True)
    except (binascii.Error, ValueError) as error:
        mend = f"{error}; write base64 text, and no data beside it"
        faults.append(Fault(f"{where}.dataBase64", shown(encoded), mend))
        return None


def kafka_source(document: Document, faults: list[Fault]) -> KafkaFeed:
    where, spec = f"{document.where}: spec", document.spec
    specs.only(where, spec, _KAFKA_SOURCE, faults)
    offset, key_type = spec.get("initialOffset") or "latest", document.labels.get(KEY_TYPE) or "string"
    specs.one_of(f"{where}.initialOffset", offset, _OFFSETS, faults)
    specs.one_of(f"{where}.ordering", spec.get("ordering") or "ordered", _ORDERINGS, faults)
    specs.one_of(f"{document.where}: metadata.labels.{KEY_TYPE}", key_type, _KEY_TYPES, faults)
    consumers = spec.get("consumers", 1)
    if not isinstance(consumers, int) or not 0 <= consumers <= 16:
        faults.append(Fault(f"{where}.consumers", shown(consumers), "write 0 to 16; 0 reads nothing"))
        consumers = 0
    # What is delivered here is delivered to the broker in this very process; on a cluster it counts.
    specs.delivery(f"{where}.delivery", spec.get("delivery"), document.namespace, faults)
    path = f"/apis/v1/namespaces/{document.namespace}/kafkasources/{document.name}"
    return KafkaFeed(
        name=document.name,
        namespace=document.namespace,
        kafka=_net(where, spec, faults),
        topics=specs.texts(f"{where}.topics", spec.get("topics"), faults),
        # Knative invents a group at creation and writes it into the object; a file must stay the same.
        group=str(spec.get("consumerGroup") or f"knative-kafka-source-{uuid5(NAMESPACE_URL, path)}"),
        initial_offset=str(offset),
        consumers=consumers,
        key_type=str(key_type),
        broker=_broker(document, faults),
        extensions=specs.extensions(f"{where}.ceOverrides", spec.get("ceOverrides"), faults),
    )


def _net(where: str, spec: Mapping[str, Any], faults: list[Fault]) -> Kafka:
    net = specs.mapping(f"{where}.net", spec.get("net"), faults)
    specs.only(f"{where}.net", net, ("sasl", "tls"), faults)
    sasl = _refs(f"{where}.net.sasl", net.get("sasl"), _SASL, faults)
    tls = _refs(f"{where}.net.tls", net.get("tls"), _TLS, faults)
    for name in ("sasl.username", "sasl.password"):
        if sasl is not None and name not in sasl:
            place = f"{where}.net.sasl.{name.removeprefix('sasl.').replace('username', 'user')}"
            faults.append(Fault(place, "missing", "name a secretKeyRef"))
    protocol = ("SASL_" if sasl is not None else "") + ("SSL" if tls is not None else "PLAINTEXT")
    servers = specs.texts(f"{where}.bootstrapServers", spec.get("bootstrapServers"), faults)
    return Kafka(servers, protocol, {**(sasl or {}), **(tls or {})})


def _refs(
    where: str, value: object, settings: Mapping[str, str], faults: list[Fault]
) -> dict[str, tuple[str, str]] | None:
    """Settings by librdkafka's name with their Secret and key; None where this is not enabled."""
    spec = specs.mapping(where, value, faults)
    # MSK's tokenProvider and roleARN are refused here by name: they mean nothing on one machine.
    specs.only(where, spec, ("enable", *settings), faults)
    if not spec.get("enable"):
        return None
    found = {}
    for name in settings.keys() & spec.keys():
        ref = (spec[name] or {}).get("secretKeyRef") if isinstance(spec[name], dict) else None
        if not isinstance(ref, dict) or not ref.get("name") or not ref.get("key"):
            faults.append(
                Fault(f"{where}.{name}", shown(spec[name]), "write secretKeyRef: {name: …, key: …}")
            )
            continue
        found[settings[name]] = (str(ref["name"]), str(ref["key"]))
    return found


def kafka_sink(document: Document, faults: list[Fault]) -> KafkaTopic:
    where, spec = f"{document.where}: spec", document.spec
    specs.only(where, spec, _KAFKA_SINK, faults)
    mode, topic = spec.get("contentMode") or "binary", spec.get("topic")
    specs.one_of(f"{where}.contentMode", mode, _MODES, faults)
    if not isinstance(topic, str) or not topic:
        faults.append(Fault(f"{where}.topic", shown(topic), "name a topic"))
    auth = specs.mapping(f"{where}.auth", spec.get("auth"), faults)
    secret = specs.mapping(f"{where}.auth.secret", auth.get("secret"), faults)
    ref = specs.mapping(f"{where}.auth.secret.ref", secret.get("ref"), faults)
    if auth and not ref.get("name"):
        faults.append(Fault(f"{where}.auth", shown(auth), "write secret: {ref: {name: …}}"))
    servers = specs.texts(f"{where}.bootstrapServers", spec.get("bootstrapServers"), faults)
    name = str(ref.get("name") or "")
    secrets = {setting: (name, key) for setting, key in _SINK_SECRET.items()} if name else {}
    kafka = Kafka(servers, "" if name else "PLAINTEXT", secrets)
    return KafkaTopic(document.name, document.namespace, kafka, str(topic), str(mode))


def _broker(document: Document, faults: list[Fault]) -> tuple[str, str]:
    where = f"{document.where}: spec.sink"
    sink = specs.destination(where, document.spec.get("sink"), document.namespace, faults)
    if sink.kind != "Broker":
        faults.append(Fault(where, shown(document.spec.get("sink")), "a source here sends to a Broker"))
    return sink.namespace, sink.name
