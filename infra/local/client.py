"""What the command line does to a home from outside: post events, land files, read a status."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import orjson

from homeostat.eventing import codec
from homeostat.eventing.doors.calling import authorization, trust
from homeostat.eventing.errors import Fault, Reject, shown
from homeostat.eventing.messages import DataLanded

from ..outgoing import Outgoing
from ..views import named
from .files import fact
from .settings import Settings
from .store import Store


@dataclass(frozen=True, slots=True)
class Home:
    """How a running home is reached."""

    sink: str
    token: str | None
    certificate: Path | None


def home(settings: Settings) -> Home:
    """The running home. `HOMEOSTAT_TOKEN` comes before the token that the home left for its own user.

    Raises Reject when no home runs on this state.
    """
    own = settings.token or settings.broker_token
    try:
        address = orjson.loads(settings.address_file.read_bytes())
        left, certificate = address.get("token"), address.get("certificate")
        return Home(
            sink=str(address["sink"]),
            token=own.get_secret_value() if own else left,
            certificate=settings.tls_cert or (Path(certificate) if certificate else None),
        )
    except FileNotFoundError:
        mend = "no home has run here; start one with `homeostat up` or give its --state"
        raise Reject(Fault("--state", shown(str(settings.state)), mend)) from None
    except PermissionError:
        mend = "another user's home: set HOMEOSTAT_TOKEN to a token of its broker's door, and HOMEOSTAT_PORT"
        if own is None:
            raise Reject(Fault("--state", shown(str(settings.state)), mend)) from None
        return Home(settings.sink, own.get_secret_value(), settings.tls_cert)
    except (orjson.JSONDecodeError, AttributeError, KeyError):
        mend = "damaged; start the home again, it writes the file anew"
        raise Reject(Fault("home", shown(str(settings.address_file)), mend)) from None


def post(
    settings: Settings,
    type: str,
    subject: str,
    data: Mapping[str, Any],
    cause: str | None = None,
    identity: Mapping[str, str] | None = None,
) -> str:
    """Send one event to the broker; returns its id, a new one unless `identity` gives id and source. Raises
    Reject with the broker's own faults."""
    event = Outgoing(type, subject, data, cause, **({"identity": identity} if identity else {}))
    headers, body = event.encoded()
    reached = home(settings)
    try:
        answer = httpx.post(
            reached.sink,
            headers={**headers, **authorization(reached.token)},
            content=body,
            timeout=30,
            verify=trust(reached.certificate),
        )
    except (httpx.TransportError, OSError) as error:
        mend = f"does not answer ({error}); start it with `homeostat up`"
        raise Reject(Fault("home", shown(reached.sink), mend)) from None
    if answer.status_code in (401, 403):
        mend = "set HOMEOSTAT_TOKEN to what `homeostat tokens create broker` shows"
        raise Reject(Fault("token", "not accepted" if reached.token else "missing", mend))
    if answer.status_code != 202:
        raise Reject(Fault("event", shown(type), f"the broker refused it: {answer.text}"))
    return event.id


def status_of(settings: Settings, detector: str) -> Mapping[str, Any]:
    """The Detector's manifest with its status. Raises Reject for an unknown one."""
    store = Store(settings.detectors_db)
    documents = store.documents()
    store.close()
    return named(documents, detector)


def land_file(settings: Settings, detector: str, file: Path) -> dict[str, Any]:
    """Copy a file into the Detector's data folder, whole or not at all, and announce it."""
    uri = str(status_of(settings, detector)["spec"]["data"]["uri"])
    parts = urlsplit(uri)
    if parts.scheme not in ("", "file"):
        mend = "files land in local folders only; upload it there and let the store notify"
        raise Reject(Fault("spec.data.uri", shown(uri), mend))
    if not file.is_file():
        raise Reject(Fault("file", shown(str(file)), "there is no such file"))
    folder = Path(parts.path)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / file.name
    arriving = folder / f".{file.name}.{uuid4().hex}"
    shutil.copyfile(file, arriving)
    with arriving.open("rb") as copy:
        os.fsync(copy.fileno())
    arriving.replace(target)
    # The event that the watched folder makes of it too: whichever comes later is a duplicate.
    found = fact(target, detector)
    if found is None:
        raise Reject(Fault("file", shown(str(target)), "it was changed while it landed; land it again"))
    landed = codec.data(found.message)
    identity = {"id": found.id, "source": found.source}
    return landed | {"id": post(settings, DataLanded.type, detector, landed, identity=identity)}
