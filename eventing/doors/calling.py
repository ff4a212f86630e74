"""What one of ours takes along when it calls on a home: its token, and which certificate it trusts.

A child of the home finds `HOMEOSTAT_BROKER_TOKEN` in its environment (never on its command line, which every
user of the machine can read); people set `HOMEOSTAT_TOKEN`. In a cluster's pod the token is a file, and who
vouches for the broker is in `K_CA_CERTS`.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path

BROKER_TOKEN = "HOMEOSTAT_BROKER_TOKEN"  # noqa: S105 - the variable's name
TOKEN = "HOMEOSTAT_TOKEN"  # noqa: S105 - the variable's name
CERTIFICATE = "HOMEOSTAT_TLS_CERT"
AUTHORITIES = "K_CA_CERTS"
MOUNTED = Path("/oidc/token")
"""Where Knative's SinkBinding mounts a token for its sink, and the pods of our TrainJobs have theirs. The
kubelet renews it, so it is read for each call."""
_END = "-----END CERTIFICATE-----"


def authorization(token: str | None) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"} if token else {}


def authorization_of(environ: Mapping[str, str], mounted: Path = MOUNTED) -> dict[str, str]:
    """The header for the broker's door, where the environment or the pod holds a token for it."""
    named = environ.get(BROKER_TOKEN) or environ.get(TOKEN)
    if named is None and mounted.exists():
        named = mounted.read_text().strip()
    return authorization(named)


def trust(certificate: Path | None) -> ssl.SSLContext | bool:
    """For httpx's `verify`: the home's own certificate and no other, whichever name it was made out to, for
    we call it by its address. Without one, what this machine trusts."""
    if certificate is None:
        return True
    leaf, _, _ = certificate.read_text().partition(_END)
    pinned = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    pinned.check_hostname = False
    # A certificate that another authority signed is an anchor all the same.
    pinned.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    pinned.load_verify_locations(cadata=leaf[leaf.index("-----BEGIN") :] + _END + "\n")
    return pinned


def trust_of(environ: Mapping[str, str]) -> ssl.SSLContext | bool:
    """The home's own certificate; else whom everybody trusts, and the cluster's authority if it has one."""
    certificate = environ.get(CERTIFICATE)
    return trust(Path(certificate)) if certificate else trust_also(environ.get(AUTHORITIES, ""))


def trust_also(authorities: str) -> ssl.SSLContext | bool:
    """Whom everybody trusts, and these authorities (PEM) where there are some."""
    if not authorities:
        return True
    trusted = ssl.create_default_context()
    trusted.load_verify_locations(cadata=authorities)
    return trusted
