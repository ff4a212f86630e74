"""A change of an Experiment, told as Knative's ApiServerSource tells it in Resource mode.

https://github.com/knative/eventing/blob/main/pkg/adapter/apiserver/events/events.go
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from homeostat.eventing.wire import WireEvent

SOURCE = "/apis"
ADDED, UPDATED = "dev.knative.apiserver.resource.add", "dev.knative.apiserver.resource.update"


def change(document: Mapping[str, Any]) -> WireEvent:
    """The same version of an object is the same event, however often it is told."""
    metadata = document["metadata"]
    place = (
        f"/apis/{document['apiVersion']}/namespaces/{metadata['namespace']}/experiments/{metadata['name']}"
    )
    version = metadata["resourceVersion"]
    return WireEvent(
        {
            "specversion": "1.0",
            "id": f"{metadata['uid']}-{version}",
            "source": SOURCE,
            "type": ADDED if version == "1" else UPDATED,
            "subject": place,
            "time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "datacontenttype": "application/json",
            "kind": document["kind"],
            "apiversion": document["apiVersion"],
            "name": metadata["name"],
            "namespace": metadata["namespace"],
        },
        orjson.dumps(document),
    )
