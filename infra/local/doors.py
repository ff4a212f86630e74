"""The doors of the one-machine home: which path leads to which, how often, and what callers of our own take
along."""

from __future__ import annotations

import os
from typing import Any

import orjson

from homeostat.eventing.doors import (
    DOORS,
    Guard,
    Limits,
    Signatures,
    Tokens,
    check_binding,
    check_tls,
    is_loopback,
)
from homeostat.eventing.doors.calling import BROKER_TOKEN, CERTIFICATE
from homeostat.eventing.doors.refusal import App
from homeostat.eventing.doors.watched import write_private

from ..doors import RATES, doors_at, gateway_paths
from .settings import Settings

HOME = {"/serving": "serving", "/functions": "admin", "/metrics": "admin", "/": "broker"}
LOOPBACK_FACTOR = 20
"""How much more our own machine may send: more than the home could take anyway."""


def may_start(settings: Settings) -> Tokens:
    """The home's tokens, once nothing speaks against listening. Raises Reject with every mend."""
    tls = check_tls(settings.tls_cert, settings.tls_key)
    tokens = Tokens(settings.tokens_file)
    signatures = Signatures(settings.signatures_file)
    secured = [door for door in DOORS if signatures.of(door)]
    check_binding(settings.host, tokens, tls, secured=secured)
    return tokens


def guarded(app: App, settings: Settings, tokens: Tokens, gateway: str = "/gateway") -> Guard:
    """The home's app behind its doors; the gateway lies at `gateway` (an empty string: at the root)."""
    factor = LOOPBACK_FACTOR if is_loopback(settings.host) else 1
    rates = {name: rate * factor for name, rate in RATES.items()} | settings.rates
    doors = doors_at(rates, DOORS)
    return Guard(
        app,
        {prefix: doors[name] for prefix, name in (HOME | gateway_paths(gateway)).items()},
        tokens,
        signatures=Signatures(settings.signatures_file),
        limits=Limits(
            max_headers=settings.max_headers,
            max_header_bytes=settings.max_header_bytes,
            max_body=settings.max_body_bytes,
            body_seconds=settings.body_seconds,
        ),
        open_doors=is_loopback(settings.host),
    )


def tls_options(settings: Settings) -> dict[str, Any]:
    """What uvicorn.Config takes for TLS; nothing without it."""
    if settings.tls_cert is None or settings.tls_key is None:
        return {}
    return {"ssl_certfile": str(settings.tls_cert), "ssl_keyfile": str(settings.tls_key)}


def child_environment(settings: Settings, token: str) -> dict[str, str]:
    """What a child needs to post to the broker. An environment is its owner's; a command line is everyone's
    to read."""
    environment = {
        "HOMEOSTAT_STATE": str(settings.state),
        "HOMEOSTAT_HOST": settings.host,
        "HOMEOSTAT_PORT": str(settings.port),
        BROKER_TOKEN: token,
    }
    if settings.tls_cert:
        environment[CERTIFICATE] = str(settings.tls_cert.resolve())
    return environment


def announce(settings: Settings, token: str) -> None:
    """Write `<state>/home.json` for the command line: where the home is, and a token of the broker's door
    that lives as long as the home. Its owner's alone (mode 0600)."""
    address: dict[str, object] = {"url": settings.url, "sink": settings.sink, "pid": os.getpid()}
    if settings.tls_cert:
        address["certificate"] = str(settings.tls_cert.resolve())
    write_private(settings.address_file, orjson.dumps(address | {"token": token}))
