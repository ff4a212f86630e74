"""Logs: a line for people, or one JSON object a line for what collects them (`HOMEOSTAT_LOG_FORMAT=json`).

What is handled at the moment is said with every line: the function, the Detector, the event and the chain
that it belongs to. What looks like a secret is not written.
"""

from __future__ import annotations

import contextlib
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TextIO

import orjson

from homeostat.eventing.errors import Fault, Reject
from homeostat.eventing.wire import WireEvent

from . import tracing

FORMATS = ("text", "json")
HIDDEN = "***"
MOST = 32_000
"""Characters of a message or an exception; what is longer is cut."""
_SECRETS = (
    (re.compile(r"\bhst_([a-z]+)_[A-Za-z0-9_-]{16,}"), rf"hst_\1_{HIDDEN}"),
    (re.compile(r"(?i)\b(bearer|basic) [A-Za-z0-9._~+/=-]{8,}"), rf"\1 {HIDDEN}"),
    (re.compile(r"(?<=://)[^\s/:@]*:[^\s/@]+(?=@)"), HIDDEN),
    (
        re.compile(
            r"(?i)\b([\w-]{0,20}(?:password|passwd|secret|token|api_?key)[\w-]{0,40}[\"']?\s*[=:]\s*)"
            r"(?:\"[^\"]*\"|'[^']*'|[^\s,;&\"']+)"
        ),
        rf"\1{HIDDEN}",
    ),
)
"""Our tokens; headers; credentials in addresses; values that are named so."""

_NOTHING: Mapping[str, str] = MappingProxyType({})
_about: ContextVar[Mapping[str, str]] = ContextVar("about", default=_NOTHING)


@contextlib.contextmanager
def about(**fields: str | None) -> Iterator[None]:
    """Every line that is written meanwhile, in this task and those that it starts, is about these."""
    found = {**_about.get(), **{name: text for name, text in fields.items() if text}}
    before = _about.set(found)
    try:
        yield
    finally:
        _about.reset(before)


def of_event(function: str, event: WireEvent) -> contextlib.AbstractContextManager[None]:
    """Lines about an event that a function has."""
    said = event.attributes
    parent = tracing.read(said.get("traceparent"))
    return about(
        function=function,
        detector=said.get("detector") or said.get("subject") or said.get("inferenceservicename"),
        event=said.get("id"),
        type=said.get("type"),
        correlationid=said.get("correlationid") or said.get("id"),
        trace=parent.trace if parent else None,
    )


def start(environment: Mapping[str, str], level: str = "info", stream: TextIO | None = None) -> None:
    """Log to stderr, as `HOMEOSTAT_LOG_LEVEL` and `HOMEOSTAT_LOG_FORMAT` say. Raises Reject."""
    level = environment.get("HOMEOSTAT_LOG_LEVEL") or level
    form = environment.get("HOMEOSTAT_LOG_FORMAT") or "text"
    known = logging.getLevelNamesMapping()
    if level.upper() not in known:
        raise Reject(Fault("HOMEOSTAT_LOG_LEVEL", repr(level), f"is none of {', '.join(known).lower()}"))
    if form not in FORMATS:
        raise Reject(Fault("HOMEOSTAT_LOG_FORMAT", repr(form), f"is none of {', '.join(FORMATS)}"))
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(Json() if form == "json" else Text())
    logging.basicConfig(level=known[level.upper()], handlers=[handler])
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it has a line for each call


class Json(logging.Formatter):
    """One object a line; an exception is one field of it."""

    def format(self, record: logging.LogRecord) -> str:
        found = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": without_secrets(record.getMessage()),
            **_about.get(),
        }
        if record.exc_info:
            found["exception"] = without_secrets(self.formatException(record.exc_info))
        if record.stack_info:
            found["stack"] = record.stack_info
        # A lone surrogate is no UTF-8: a name of a file can hold one.
        return orjson.dumps({key: _utf8(text) for key, text in found.items()}).decode()


class Text(logging.Formatter):
    """The line, and what it is about."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        line = without_secrets(super().format(record))
        said = " ".join(f"{name}={text}" for name, text in _about.get().items())
        first, rest, more = line.partition("\n")
        return f"{first} [{said}]{rest}{more}" if said else line


def without_secrets(text: str) -> str:
    if len(text) > MOST:
        text = f"{text[:MOST]} ... and {len(text) - MOST} characters more"
    for pattern, shown in _SECRETS:
        text = pattern.sub(shown, text)
    return text


def _utf8(text: str) -> str:
    return text.encode(errors="replace").decode()
