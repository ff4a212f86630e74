"""How to reach Kafka: confluent-kafka, imported only where a manifest asks for it, and its settings."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import Fault, Reject, shown
from .sources import Kafka

ReadSecret = Callable[[str, str], str | None]
"""The value of a key in a Secret; None where there is none."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


def no_secrets(_name: str, _key: str) -> str | None:
    return None


def secrets_in(folder: Path) -> ReadSecret:
    """Secrets as Kubernetes mounts them: a folder per Secret, and in it a file per key."""

    def read(name: str, key: str) -> str | None:
        # A manifest says both names; neither may lead out of the folder.
        if not _NAME.fullmatch(name) or not _NAME.fullmatch(key):
            return None
        try:
            return (folder / name / key).read_text("utf-8").rstrip("\n")
        except (OSError, UnicodeDecodeError):
            return None

    return read


def confluent(where: str) -> Any:
    """The confluent_kafka module. Raises Reject with the mend where it is not installed."""
    try:
        return importlib.import_module("confluent_kafka")
    except ImportError:
        mend = "pip install 'homeostat[kafka]', or leave this manifest out"
        raise Reject(Fault(where, "in need of confluent-kafka, which is missing", mend)) from None


def settings(kafka: Kafka, where: str, secret: ReadSecret) -> dict[str, Any]:
    """librdkafka's settings for the connection. Raises Reject with every Secret that is missing or no use."""
    faults: list[Fault] = []
    values = {setting: secret(*place) for setting, place in kafka.secrets.items()}
    protocol = kafka.protocol or values.pop("security.protocol", None) or "PLAINTEXT"
    if protocol not in _PROTOCOLS:
        faults.append(Fault(f"{where}: protocol", shown(protocol), " or ".join(_PROTOCOLS)))
    found = {"bootstrap.servers": ",".join(kafka.servers), "security.protocol": protocol}
    if protocol.startswith("SASL"):
        mechanism = (values.get("sasl.mechanism") or "PLAIN").upper()
        if mechanism not in _MECHANISMS:
            faults.append(Fault(f"{where}: sasl.mechanism", shown(mechanism), " or ".join(_MECHANISMS)))
        found["sasl.mechanism"] = mechanism
        for setting in ("sasl.username", "sasl.password"):
            found |= _required(setting, values, kafka, where, faults)
    if protocol.endswith("SSL"):
        for setting in ("ssl.ca.pem", "ssl.certificate.pem", "ssl.key.pem"):
            # A source names each Secret that it wants; a sink's one Secret need not hold them all.
            if kafka.protocol and setting in kafka.secrets:
                found |= _required(setting, values, kafka, where, faults)
            elif value := values.get(setting):
                found[setting] = value
    if faults:
        raise Reject(faults)
    return found


def _required(
    setting: str, values: dict[str, str | None], kafka: Kafka, where: str, faults: list[Fault]
) -> dict[str, str]:
    if value := values.get(setting):
        return {setting: value}
    name, key = kafka.secrets.get(setting, ("?", "?"))
    faults.append(Fault(f"{where}: {setting}", "missing", f"put it in the secrets folder, as {name}/{key}"))
    return {}
