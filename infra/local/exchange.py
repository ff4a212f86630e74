"""One request and one answer as they pass the router, each read whole."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from homeostat.eventing.errors import Fault

_JSON = (b"content-type", b"application/json")


@dataclass(frozen=True, slots=True)
class Ask:
    """`path` is that of the model server; names of headers are in lower case."""

    method: str
    path: str
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def header(self, name: bytes) -> str:
        return next((value.decode("latin-1") for key, value in self.headers if key == name), "")


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    @property
    def outcome(self) -> str:
        """One of `meter.OUTCOMES`."""
        return "ok" if self.status < 400 else "rejected" if self.status < 500 else "error"


class Refused(Exception):
    """The router itself answers."""

    def __init__(self, status: int, fault: Fault, *headers: tuple[bytes, bytes]) -> None:
        document = {
            "error": str(fault),
            "faults": [{n: getattr(fault, n) for n in ("field", "value", "mend")}],
        }
        self.reply = Reply(status, [_JSON, *headers], orjson.dumps(document))
        super().__init__(str(fault))
