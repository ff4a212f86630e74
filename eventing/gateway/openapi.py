"""The gateway's OpenAPI document: every door, its bodies and every answer that it gives.

Written as data and not derived from the code, so that it says what senders may rely on; schemathesis holds
the code to it (tests/eventing/test_gateway_fuzz.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from ..handshake import ORIGIN, RATE
from . import alertmanager, grafana

_REF = "#/components/schemas/"
_JSON = "application/json"
_ABOUT = "Vendors' payloads into events. What is taken twice is the same event, and wakes nobody again."
_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}

_ANSWERS: Mapping[str, str] = {
    "400": "The body or a header is wrong; every fault is named. Do not send it again as it is.",
    "401": "The door wants a token, and this one is missing, wrong or out of date.",
    "403": "The token belongs to another door.",
    "408": "The body came too slowly.",
    "413": "The body is larger than this gateway takes.",
    "415": "The content type or coding is not read here.",
    "431": "There are too many headers, or they are too long.",
    "429": "Too many requests; come again after Retry-After seconds.",
    "503": "The broker cannot take events now; nothing was taken, come again after Retry-After seconds.",
}
_COMES_AGAIN = {"429", "503"}


def _schema(name: str) -> dict[str, Any]:
    return {"$ref": _REF + name}


def _object(required: Iterable[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": properties}


def _json_answer(text: str, schema: str) -> dict[str, Any]:
    return {"description": text, "content": {_JSON: {"schema": _schema(schema)}}}


def _refusals(*statuses: str) -> dict[str, Any]:
    found = {status: _json_answer(_ANSWERS[status], "Refusal") for status in statuses}
    for status in _COMES_AGAIN & found.keys():
        seconds = {"description": "Seconds", "required": True, "schema": {"type": "integer", "minimum": 1}}
        found[status]["headers"] = {"Retry-After": seconds}
    return found


def _post(name: str, summary: str, body: Mapping[str, Any], parameters: Iterable[Any] = ()) -> dict[str, Any]:
    taken = _json_answer("The broker has them on disk, or knew them already.", "Accepted")
    return {
        "operationId": name,
        "summary": summary,
        "parameters": list(parameters),
        "requestBody": {"required": True, "content": dict(body)},
        "responses": {"202": taken, **_refusals(*_ANSWERS)},
    }


def _handshake(name: str, parameters: Iterable[Any] = ()) -> dict[str, Any]:
    asked = [
        _header("WebHook-Request-Origin", "The sender's DNS name.", pattern=ORIGIN),
        _header("WebHook-Request-Rate", "Requests per minute.", pattern=RATE),
    ]
    granted = {
        "WebHook-Allowed-Origin": {"description": "The origin that asked.", "schema": _TEXT},
        "WebHook-Allowed-Rate": {"description": "What it asked for, or *.", "schema": _TEXT},
        "Allow": {"description": "OPTIONS, POST", "required": True, "schema": _TEXT},
    }
    text = "Send here. Without an origin the request gets no permission, only Allow."
    return {
        "operationId": f"{name}-handshake",
        "summary": "CloudEvents HTTP Webhook 1.0.2, section 4: may I send here?",
        "parameters": [*parameters, *asked],
        "responses": {
            "200": {"description": text, "headers": granted},
            **_refusals("400", "401", "403", "429", "431"),
        },
    }


def _header(name: str, text: str, required: bool = False, **schema: Any) -> dict[str, Any]:
    one = {"name": name, "in": "header", "description": text, "required": required}
    return {**one, "schema": {"type": "string", **schema}}


def _door(name: str, summary: str, body: Mapping[str, Any], parameters: Iterable[Any] = ()) -> dict[str, Any]:
    given = list(parameters)
    return {"post": _post(name, summary, body, given), "options": _handshake(name, given)}


def _page(name: str, summary: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    shown = {"description": summary, "content": {_JSON: {"schema": schema}}}
    return {
        "get": {
            "operationId": name,
            "summary": summary,
            "responses": {"200": shown, **_refusals("401", "403", "429", "431")},
        }
    }


_NOTICES: Mapping[str, str] = {
    "s3": "S3's notifications: AWS, MinIO, Ceph; bare, through SNS, or as CloudEvents",
    "eventbridge": "S3 through Amazon EventBridge",
    "gcs": "Google Cloud Storage through Eventarc (CloudEvents)",
    "pubsub": "Google Cloud Storage through a Pub/Sub push subscription",
    "azure": "Azure Blob Storage through Event Grid, in CloudEvents' schema or its own",
    "knative-s3": "Knative's IntegrationSource for S3: the object itself, which is kept first",
}
_CE = [
    _header(f"ce-{name}", "CloudEvents' binary mode")
    for name in ("id", "source", "type", "specversion", "subject", "time")
]
_ONE = {"application/cloudevents+json": {"schema": _schema("CloudEvent")}}
_MANY = {"application/cloudevents-batch+json": {"schema": {"type": "array", "items": _schema("CloudEvent")}}}


def _bodies() -> dict[str, dict[str, Any]]:
    """What each door takes. Vendors' payloads are described by the vendors; here they are any JSON."""
    json: dict[str, Any] = {_JSON: {"schema": {}}}
    found: dict[str, dict[str, Any]] = {f"/storage/{name}": json | _ONE | _MANY for name in _NOTICES}
    found["/storage/s3"] |= {"text/plain": {"schema": _TEXT}}
    found["/storage/pubsub"] = {_JSON: {"schema": {"type": "object"}}}
    found["/storage/knative-s3"] = {"*/*": {"schema": {"type": "string", "format": "binary"}}} | _ONE
    found["/alertmanager"] = {_JSON: {"schema": _schema("AlertmanagerDelivery")}}
    found["/grafana"] = {_JSON: {"schema": _schema("GrafanaDelivery")}}
    found["/events"] = {**_ONE, **_MANY, _JSON: {"schema": {}}}
    return found


_SUMMARIES: Mapping[str, str] = {
    "/alertmanager": "Alertmanager's webhook, version 4",
    "/grafana": "Grafana alerting's webhook, version 1",
    "/events": "Any CloudEvent: structured, batched, or binary (ce- headers and any body)",
    **{f"/storage/{name}": text for name, text in _NOTICES.items()},
}

_EVENT_DOORS = frozenset(_SUMMARIES) - {"/alertmanager", "/grafana", "/storage/pubsub"}
"""These take CloudEvents, in binary mode too."""


def _schemas() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, kind in (
        ("AlertmanagerDelivery", alertmanager.Delivery),
        ("GrafanaDelivery", grafana.Delivery),
    ):
        schema = _of(kind)
        found |= schema.pop("$defs")
        found[name] = schema
    fault = _object(("field", "value", "mend"), field=_TEXT, value=_TEXT, mend=_TEXT)
    # An attribute that comes as a number or a truth value is read as its text.
    some = {"type": ["string", "integer", "boolean"], "minLength": 1}
    return found | {
        "Accepted": _object(("accepted", "unmatched"), accepted=_COUNT, unmatched=_COUNT),
        "Refusal": _object(("error", "faults"), error=_TEXT, faults={"type": "array", "items": fault}),
        "Validation": _object(("validationResponse",), validationResponse=_TEXT),
        "Unmatched": _object(
            ("counts", "last"),
            counts=_object(("data", "alerts"), data=_COUNT, alerts=_COUNT),
            last={"type": "array", "items": {"type": "object"}, "maxItems": 100},
        ),
        "CloudEvent": _object(
            ("specversion", "id", "source", "type"),
            specversion={"const": "1.0"},
            id=some,
            source=some,
            type=some,
        ),
    }


def _of(kind: type[BaseModel]) -> dict[str, Any]:
    return kind.model_json_schema(ref_template=_REF + "{model}")


def document(root: str, doors: Iterable[str]) -> dict[str, Any]:
    """The document for the app mounted at `root` with these doors (paths that take POST)."""
    bodies = _bodies()
    paths = {
        path: _door(
            path.strip("/").replace("/", "-"),
            _SUMMARIES[path],
            bodies[path],
            _CE if path in _EVENT_DOORS else (),
        )
        for path in doors
    }
    if azure := paths.get("/storage/azure"):
        azure["post"]["responses"]["200"] = _json_answer(
            "Event Grid asked to validate a subscription (aeg-event-type: SubscriptionValidation).",
            "Validation",
        )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Homeostat gateway",
            "version": "1",
            "description": (__doc__ or "").split("\n\n")[0],
        },
        "servers": [{"url": root or "/"}],
        "paths": {
            **paths,
            "/unmatched": _page("unmatched", "What came and belongs to no Detector", _schema("Unmatched")),
            "/openapi.json": _page("openapi", "This document", {"type": "object"}),
        },
        "components": {"schemas": _schemas()},
    }
