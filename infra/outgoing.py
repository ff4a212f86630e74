"""An event as a person sends it from the command line, to either home."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx
from cloudevents.conversion import to_binary
from cloudevents.http import CloudEvent

from homeostat.eventing.doors.calling import TOKEN, authorization
from homeostat.eventing.errors import Fault, Reject, shown

SOURCE = "/homeostat/cli"
SECONDS = 30.0


@dataclass(frozen=True)
class Outgoing:
    """`cause` is the id of the event that it answers; `identity` gives id and source, which are new ones
    otherwise."""

    type: str
    subject: str
    data: Mapping[str, Any]
    cause: str | None = None
    identity: Mapping[str, str] = field(default_factory=lambda: {"id": str(uuid4()), "source": SOURCE})

    @property
    def id(self) -> str:
        return self.identity["id"]

    def encoded(self) -> tuple[dict[str, str], bytes]:
        """Headers and body, in binary mode."""
        attributes = {"type": self.type, "subject": self.subject, "datacontenttype": "application/json"}
        attributes |= {**self.identity, **({"causationid": self.cause} if self.cause else {})}
        headers, body = to_binary(CloudEvent(attributes, self.data))
        return headers, body


def send(sink: str, type: str, subject: str, data: Mapping[str, Any]) -> str:
    """Post one event to that address; its id. Raises Reject when it is not taken."""
    event = Outgoing(type, subject, data)
    headers, body = event.encoded()
    token = authorization(os.environ.get(TOKEN))
    try:
        answer = httpx.post(sink, headers={**headers, **token}, content=body, timeout=SECONDS)
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise Reject(Fault("--sink", shown(sink), f"does not answer ({error})")) from None
    if answer.status_code in (401, 403):
        mend = f"it asks for another token: set {TOKEN}" if token else f"it asks for a token: set {TOKEN}"
        raise Reject(Fault("--sink", shown(sink), mend))
    if not answer.is_success:
        mend = f"it refused the event with {answer.status_code}: {answer.text[:400]}"
        raise Reject(Fault("--sink", shown(sink), mend))
    return event.id
