"""What vendors' payloads are made of: JSON objects checked field by field, every fault kept with its path."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ...errors import Fault, Reject, shown

MAX_FAULTS = 100
"""A hostile payload could have a million faults, and an answer should be read by somebody."""
_MAX_DIGITS = 20


class Payload(BaseModel):
    """A part of a vendor's payload. Fields that are not named here are the vendor's business."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


def _digits(value: object) -> object:
    """A whole number, which some vendors and some of their samples write as text."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS:
        return int(value)
    return value


def _text(value: object) -> object:
    return "" if value is None else value


def _printable(value: str) -> str:
    if not (value.isascii() and value.isprintable()):
        raise ValueError("send printable ASCII")
    return value


Count = Annotated[int, BeforeValidator(_digits), Field(ge=0, lt=1 << 63)]
Text = Annotated[str, BeforeValidator(_text), Field(max_length=1024)]
"""A text that may be null, which means the same as empty."""
Tag = Annotated[str, BeforeValidator(_text), Field(max_length=256), AfterValidator(_printable)]
"""A version, an etag or a sequencer: printable ASCII, compared and never interpreted."""

M = TypeVar("M", bound=Payload)


class Faults:
    """The faults of one payload; `done` raises them together."""

    def __init__(self) -> None:
        self._found: list[Fault] = []
        self._more = 0

    def add(self, field: str, value: str, mend: str) -> None:
        if len(self._found) < MAX_FAULTS:
            self._found.append(Fault(field, value, mend))
        else:
            self._more += 1

    def read(self, kind: type[M], value: object, path: str) -> M | None:
        """The value as `kind`; None when it is none, and then its faults are kept."""
        try:
            return kind.model_validate(value)
        except ValidationError as error:
            for one in error.errors(include_url=False):
                found = "missing" if one["type"] == "missing" else shown(one["input"])
                mend = "send one JSON object" if one["type"] == "model_type" else one["msg"]
                self.add(_path(path, one["loc"]) or "body", found, mend)
        return None

    def done(self) -> None:
        """Raises Reject when there is a fault."""
        if self._more:
            self._found.append(Fault("body", f"{self._more} more faults", "mend those above first"))
        if self._found:
            raise Reject(self._found)


def json_object(body: bytes, field: str = "body") -> dict[str, Any]:
    """The JSON object in `body`. Raises Reject for anything else."""
    document = json_value(body, field)
    if not isinstance(document, dict):
        raise Reject(Fault(field, shown(document), "send one JSON object"))
    return document


def json_value(body: bytes, field: str = "body") -> Any:
    """The JSON in `body`. Raises Reject when it is none."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Reject(Fault(field, shown(body[:60]), f"is no JSON ({error}); send it whole")) from None


def _path(path: str, location: tuple[int | str, ...]) -> str:
    """Records[2].s3.object.key, as people write it."""
    for step in location:
        path += f"[{step}]" if isinstance(step, int) else f".{step}"
    return path.lstrip(".")
