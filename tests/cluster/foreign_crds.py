"""Three kinds that our manifests name and ../shared/crds does not have: their definitions, as far as we use
them. Fields as in knative-extensions/eventing-kafka-broker (control-plane/config, 100-kafka-sink),
external-secrets (apis/externalsecrets/v1) and prometheus-operator (pkg/apis/monitoring/v1alpha1)."""

from __future__ import annotations

from typing import Any

TEXT: dict[str, Any] = {"type": "string"}
WHOLE: dict[str, Any] = {"type": "integer"}


def definitions() -> list[dict[str, Any]]:
    return [
        _crd("eventing.knative.dev", "v1alpha1", "KafkaSink", _KAFKA_SINK),
        _crd("external-secrets.io", "v1", "ExternalSecret", _EXTERNAL_SECRET),
        _crd("monitoring.coreos.com", "v1alpha1", "AlertmanagerConfig", _ALERTMANAGER_CONFIG),
    ]


def _object(_required: str = "", /, **properties: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "object", "properties": properties}
    return found | ({"required": _required.split()} if _required else {})


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _among(*values: str) -> dict[str, Any]:
    return {**TEXT, "enum": list(values)}


_KAFKA_SINK = _object(
    "topic bootstrapServers",
    topic=TEXT,
    bootstrapServers=_list(TEXT),
    contentMode=_among("binary", "structured"),
    numPartitions=WHOLE,
    replicationFactor=WHOLE,
    auth=_object(secret=_object(ref=_object("name", name=TEXT))),
)
_EXTERNAL_SECRET = _object(
    "",
    refreshInterval=TEXT,
    secretStoreRef=_object("name", name=TEXT, kind=_among("SecretStore", "ClusterSecretStore")),
    target=_object("", name=TEXT, creationPolicy=_among("Owner", "Orphan", "Merge", "None")),
    dataFrom=_list(_object("", extract=_object("key", key=TEXT))),
)
_LENGTH: dict[str, Any] = {**TEXT, "pattern": "^([0-9]+(ms|s|m|h|d|w|y))+$"}
_MATCHER = _object("name", name=TEXT, value=TEXT, matchType=_among("!=", "=", "=~", "!~"))
_SECRET_KEY = _object("key", name=TEXT, key=TEXT, optional={"type": "boolean"})
_ALERTMANAGER_CONFIG = _object(
    "",
    route=_object(
        "",
        receiver=TEXT,
        groupBy=_list(TEXT),
        groupWait=_LENGTH,
        groupInterval=_LENGTH,
        repeatInterval=_LENGTH,
        matchers=_list(_MATCHER),
        # The operator sets it, whatever is written.
        **{"continue": {"type": "boolean"}},
    ),
    receivers=_list(
        _object(
            "name",
            name={**TEXT, "minLength": 1},
            webhookConfigs=_list(
                _object(
                    "",
                    url=TEXT,
                    urlSecret=_SECRET_KEY,
                    sendResolved={"type": "boolean"},
                    maxAlerts={"type": "integer", "minimum": 0},
                    httpConfig=_object("", authorization=_object("", type=TEXT, credentials=_SECRET_KEY)),
                )
            ),
        )
    ),
)


def _crd(group: str, version: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    plural = f"{kind.lower()}s"
    status = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "names": {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"},
            "scope": "Namespaced",
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": _object("", spec=spec, status=status)},
                }
            ],
        },
    }
