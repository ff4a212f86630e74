"""What several kinds of manifest share: Destination, DeliverySpec, ceOverrides.

A reader appends what is wrong to `faults` and goes on, so that a file's faults are all told at once. A field
that nobody knows is a fault, as it is to Knative's admission webhook: a misspelt `retries` must not pass.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from ..durations import parse_duration
from ..errors import Fault, shown

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_EXTENSION = re.compile(r"[a-z0-9]+")
_CORE = frozenset({"id", "source", "specversion", "type", "datacontenttype", "dataschema", "subject", "time"})
_POLICIES = ("exponential", "linear")
_FORMATS = ("json", "binary")
_DELIVERY = frozenset(
    {"retry", "backoffPolicy", "backoffDelay", "timeout", "retryAfterMax", "deadLetterSink", "format"}
)


@dataclass(frozen=True, slots=True)
class Destination:
    """Where events go: a `uri`, or a reference to something that the home resolves.

    `path` is the relative `uri` that a manifest gives beside a reference. `ca_certs` (PEM) and `audience` (of
    an OIDC token) say what a cluster needs in order to speak with it.
    """

    kind: str = ""
    name: str = ""
    namespace: str = ""
    uri: str = ""
    path: str = ""
    ca_certs: str = ""
    audience: str = ""

    def __str__(self) -> str:
        return self.uri or f"{self.kind}/{self.name}{self.path}"


@dataclass(frozen=True, slots=True)
class Delivery:
    """Knative's DeliverySpec. `retry` counts the attempts after the first; `format` "" is no wish."""

    retry: int = 0
    policy: str = "exponential"
    delay: timedelta = timedelta(milliseconds=200)
    timeout: timedelta = timedelta(seconds=30)
    retry_after_max: timedelta = timedelta(0)
    dead_letter_sink: Destination | None = None
    format: str = ""


DEFAULT = Delivery()
KNATIVES_DEFAULT = Delivery(retry=10)
"""A Broker's without one of its own: Knative's `config-br-defaults`."""


@dataclass(frozen=True, slots=True)
class Document:
    """One Kubernetes object; `where` begins every fault that is found in it."""

    where: str
    namespace: str
    name: str
    spec: Mapping[str, Any]
    labels: Mapping[str, str] = field(default_factory=dict)


def mapping(where: str, value: object, faults: list[Fault]) -> Mapping[str, Any]:
    """The mapping, or an empty one in the place of nothing or of something else."""
    if value is not None and not isinstance(value, dict):
        faults.append(Fault(where, shown(value), "write a mapping"))
    return value if isinstance(value, dict) else {}


def only(where: str, spec: Mapping[str, Any], known: Collection[str], faults: list[Fault]) -> None:
    """Every field that is not known is a fault."""
    mend = f"no such field; there are {', '.join(sorted(known))}"
    faults.extend(Fault(f"{where}.{name}", shown(spec[name]), mend) for name in spec if name not in known)


def one_of(where: str, value: object, allowed: Collection[str], faults: list[Fault]) -> None:
    if value not in allowed:
        faults.append(Fault(where, shown(value), " or ".join(allowed)))


def texts(where: str, value: object, faults: list[Fault]) -> tuple[str, ...]:
    """A list of at least one text."""
    if isinstance(value, list) and value and all(isinstance(one, str) and one for one in value):
        return tuple(value)
    faults.append(Fault(where, "missing" if value is None else shown(value), "write a list of at least one"))
    return ()


def destination(where: str, value: object, namespace: str, faults: list[Fault]) -> Destination:
    """Knative's Destination (knative.dev/pkg, `apis/duck/v1/destination.go`): a ref, an absolute URI, or both
    a ref and a path at it. A ref without a namespace means the object's own, `namespace`."""
    spec = mapping(where, value, faults)
    only(where, spec, ("ref", "uri", "CACerts", "audience"), faults)
    ref = mapping(f"{where}.ref", spec.get("ref"), faults)
    only(f"{where}.ref", ref, ("apiVersion", "kind", "name", "namespace", "group", "address"), faults)
    uri = str(spec.get("uri") or "")
    absolute = bool(urlsplit(uri).scheme)
    if ref and not (ref.get("kind") and ref.get("name")):
        faults.append(Fault(f"{where}.ref", shown(ref), "name its kind and its name"))
    if ref and absolute:
        faults.append(Fault(f"{where}.uri", shown(uri), "beside a ref, write a path such as /inbox"))
    if not ref and not (absolute and urlsplit(uri).scheme in ("http", "https") and urlsplit(uri).netloc):
        found = shown(uri) if uri else "missing"
        faults.append(Fault(where, found, "write a ref, or a uri that begins with http:// or https://"))
    return Destination(
        kind=str(ref.get("kind", "")),
        name=str(ref.get("name", "")),
        namespace=str(ref.get("namespace") or namespace) if ref else "",
        uri="" if ref else uri,
        path=uri if ref else "",
        ca_certs=str(spec.get("CACerts") or ""),
        audience=str(spec.get("audience") or ""),
    )


def delivery(where: str, value: object, namespace: str, faults: list[Fault]) -> Delivery:
    """Knative's DeliverySpec (knative/eventing, `pkg/apis/duck/v1/delivery_types.go`)."""
    spec = mapping(where, value, faults)
    only(where, spec, _DELIVERY, faults)
    policy, form = spec.get("backoffPolicy") or "exponential", spec.get("format") or ""
    one_of(f"{where}.backoffPolicy", policy, _POLICIES, faults)
    if form:
        one_of(f"{where}.format", form, _FORMATS, faults)
    retry = spec.get("retry") or 0
    if not isinstance(retry, int) or isinstance(retry, bool) or retry < 0:
        faults.append(Fault(f"{where}.retry", shown(retry), "write a whole number, 0 or more"))
        retry = 0
    timeout = _duration(where, "timeout", spec.get("timeout"), DEFAULT.timeout, faults)
    if not timeout:
        faults.append(Fault(f"{where}.timeout", shown(spec["timeout"]), "must be longer than nothing"))
    sink = spec.get("deadLetterSink")
    return Delivery(
        retry=retry,
        policy=str(policy),
        delay=_duration(where, "backoffDelay", spec.get("backoffDelay"), DEFAULT.delay, faults),
        timeout=timeout,
        retry_after_max=_duration(where, "retryAfterMax", spec.get("retryAfterMax"), timedelta(0), faults),
        dead_letter_sink=destination(f"{where}.deadLetterSink", sink, namespace, faults) if sink else None,
        format=str(form),
    )


def _duration(where: str, name: str, value: object, default: timedelta, faults: list[Fault]) -> timedelta:
    try:
        return default if value is None else parse_duration(value)
    except ValueError as error:
        faults.append(Fault(f"{where}.{name}", shown(value), str(error)))
        return default


def extensions(where: str, value: object, faults: list[Fault]) -> Mapping[str, str]:
    """`ceOverrides.extensions`: attributes that the source sets on every event."""
    overrides = mapping(where, value, faults)
    only(where, overrides, ("extensions",), faults)
    found = mapping(f"{where}.extensions", overrides.get("extensions"), faults)
    for name, text in found.items():
        place = f"{where}.extensions.{name}"
        if not _EXTENSION.fullmatch(str(name)) or name in _CORE:
            mend = "lower-case letters and digits, and none of the core attributes' names"
            faults.append(Fault(place, shown(name), mend))
        if not isinstance(text, str):
            faults.append(Fault(place, shown(text), 'write text, in quotes if need be: "1"'))
        elif _CONTROL.search(text):
            faults.append(Fault(place, shown(text), "an attribute takes no control characters"))
    return {str(name): str(text) for name, text in found.items()}
