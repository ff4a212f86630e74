"""HMAC signatures of senders that sign what they send, and the window in which a signature may be used.

`hub`: `X-Hub-Signature-256: sha256=<hex>` over the body (WebSub section 7, GitHub and many others).
`grafana`: `X-Grafana-Alerting-Signature: <hex>` over the body, or over `<Unix time>:<body>` where the contact
point names a timestamp header (Grafana's "Configure webhook notifications", HMAC signature).
Alertmanager, MinIO (`auth_token`) and Grafana's authorization settings send a bearer token instead, see
`tokens`. An HMAC secret has to lie as it is, for it signs; so its file is its owner's alone (mode 0600).
"""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from ..durations import parse_duration
from ..errors import Fault, Reject
from .door import DOORS
from .watched import Watched

SCHEMES = {"hub": (b"x-hub-signature-256", b"sha256="), "grafana": (b"x-grafana-alerting-signature", b"")}
MOST_SEEN = 65_536
_HEX = re.compile(rb"[0-9a-fA-F]{64}")
_TIME = re.compile(rb"\d{1,12}")

Header = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$")]
Seconds = Annotated[float, BeforeValidator(lambda value: parse_duration(value).total_seconds()), Field(gt=0)]


def _a_door(name: str) -> str:
    if name not in DOORS:
        raise ValueError(f"the doors are {', '.join(DOORS)}")
    return name


class Signing(BaseModel):
    """How one door's sender signs. Several secrets hold at once, so that one can be replaced."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scheme: Literal["hub", "grafana"]
    secrets: tuple[Annotated[SecretStr, Field(min_length=16)], ...] = Field(min_length=1)
    timestamp_header: Header | None = None
    window: Seconds = 300.0


class SigningFile(BaseModel):
    """`<state>/signatures.json`: {"doors": {"grafana": {"scheme": "grafana", "secrets": ["..."]}}}."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    doors: Mapping[Annotated[str, AfterValidator(_a_door)], Signing] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Signature:
    """One door's way to sign, ready to be checked. `window` is in seconds, both ways."""

    header: bytes
    prefix: bytes
    secrets: tuple[bytes, ...]
    timestamp_header: bytes | None
    window: float

    def holds(self, headers: Mapping[bytes, bytes], body: bytes, now: float) -> bool:
        """Whether one of the secrets signed this body, lately where the sender says when."""
        given = headers.get(self.header, b"")
        hexadecimal = given[len(self.prefix) :]
        if not given.startswith(self.prefix) or not _HEX.fullmatch(hexadecimal):
            return False
        signed = body
        if self.timestamp_header:
            stamp = headers.get(self.timestamp_header, b"")
            if not _TIME.fullmatch(stamp) or abs(now - int(stamp)) > self.window:
                return False
            signed = stamp + b":" + body
        told = bytes.fromhex(hexadecimal.decode())
        # Every secret is tried, so that the time it takes does not tell which one it was.
        matches = [hmac.compare_digest(hmac.digest(one, signed, "sha256"), told) for one in self.secrets]
        return any(matches)


class Signatures:
    """The signing of each door as its file stands, read again when it changes."""

    def __init__(
        self, path: Path, clock: Callable[[], float] = time.monotonic, now: Callable[[], float] = time.time
    ) -> None:
        self._file = Watched[Mapping[str, Signature]](path, _parse, {}, clock)
        self._now = now
        self._seen: dict[bytes, float] = {}

    def of(self, door: str) -> Signature | None:
        return self._file.current().get(door)

    def holds(self, signature: Signature, headers: Mapping[bytes, bytes], body: bytes) -> bool:
        """Whether the request is signed, in time, and was not taken before."""
        if not signature.holds(headers, body, self._now()):
            return False
        return not signature.timestamp_header or _replay_key(signature, headers) not in self._seen

    def taken(self, signature: Signature, headers: Mapping[bytes, bytes]) -> None:
        """Remember a delivery that was taken, while its signature would still hold; the sender of one that
        was not taken may send it again as it is. Without a timestamp nothing can be forgotten in time: there
        a replay is the same event again, and its id tells."""
        if not signature.timestamp_header:
            return
        now = self._now()
        self._seen[_replay_key(signature, headers)] = now + 2 * signature.window
        if len(self._seen) > MOST_SEEN:
            self._seen = {key: until for key, until in self._seen.items() if until > now}
            for key in list(self._seen)[: max(0, len(self._seen) - MOST_SEEN * 3 // 4)]:
                del self._seen[key]


def _replay_key(signature: Signature, headers: Mapping[bytes, bytes]) -> bytes:
    return headers[signature.header].lower()


def _parse(content: bytes) -> Mapping[str, Signature]:
    """Raises Reject with every fault, none of which shows a secret."""
    try:
        file = SigningFile.model_validate_json(content)
    except ValidationError as error:
        raise Reject(
            Fault(f"signatures.json {'.'.join(map(str, one['loc']))}", "not valid", one["msg"])
            for one in error.errors(include_input=False, include_url=False)
        ) from None
    return {door: _signature(one) for door, one in file.doors.items()}


def _signature(signing: Signing) -> Signature:
    header, prefix = SCHEMES[signing.scheme]
    return Signature(
        header=header,
        prefix=prefix,
        secrets=tuple(one.get_secret_value().encode() for one in signing.secrets),
        timestamp_header=signing.timestamp_header.lower().encode() if signing.timestamp_header else None,
        window=signing.window,
    )
