"""What has to be so before a server listens: a token on every door that others can reach, a key that fits."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Collection, Iterator
from ipaddress import ip_address
from pathlib import Path

from ..errors import Fault, Reject, shown
from .door import DOORS
from .tokens import Tokens

log = logging.getLogger(__name__)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it. A name that needs a resolver may lead anywhere."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def check_binding(
    host: str,
    tokens: Tokens,
    tls: bool,
    doors: Collection[str] = DOORS,
    secured: Collection[str] = (),
) -> None:
    """Raises Reject, a fault for each door that others could walk in by. `secured` doors have a signature
    or OIDC and need no token."""
    if is_loopback(host):
        return
    bare = [door for door in doors if door not in secured and not tokens.valid(door)]
    if bare:
        mend = "is reachable by others and has no valid token: homeostat tokens create {}, or use 127.0.0.1"
        raise Reject(Fault("host", shown(host), f"the door {door} " + mend.format(door)) for door in bare)
    if not tls:
        log.warning(
            "%s is reachable by others without TLS, so tokens travel in the clear: set HOMEOSTAT_TLS_CERT and"
            " HOMEOSTAT_TLS_KEY, or put a TLS proxy in front",
            host,
        )


def check_tls(certificate: Path | None, key: Path | None) -> bool:
    """Whether TLS is asked for. Raises Reject when its files cannot be used together."""
    if certificate is None and key is None:
        return False
    if faults := list(_file_faults(certificate, key)):
        raise Reject(faults)
    try:
        # Without a password of our own OpenSSL would ask the terminal for one.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(str(certificate), str(key), lambda: "")
    except ssl.SSLError as error:
        mend = "give the certificate (with its chain) and its own key, both PEM, the key not encrypted"
        raise Reject(
            Fault("tls_key", shown(str(key)), f"does not fit {certificate} ({_reason(error)}): {mend}")
        ) from None
    return True


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or "no PEM").lower().replace("_", " ")


def _file_faults(certificate: Path | None, key: Path | None) -> Iterator[Fault]:
    for field, path in (("tls_cert", certificate), ("tls_key", key)):
        if path is None:
            yield Fault(field, "missing", "TLS needs both: HOMEOSTAT_TLS_CERT and HOMEOSTAT_TLS_KEY")
            continue
        try:
            with path.open("rb") as file:
                file.read(1)
        except OSError as error:
            yield Fault(field, shown(str(path)), f"cannot be read ({error.strerror}); give a PEM file")
