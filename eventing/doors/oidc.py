"""OIDC tokens, as Knative's sources and Triggers send them on a cluster: by audience, issuer and signature.

Knative Eventing's sender identity (feature flag `authentication-oidc`) lets each sender ask Kubernetes for a
service account's token that is made out to its receiver, and says in an Addressable's status which audience
that is. Issuer, audience and keys come from configuration only; a token is believed in what they vouch for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Fault, Reject
from .jwks import Jwk, Keys

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

ALGORITHMS = {"RS256": "RSA", "ES256": "EC"}
"""Asymmetric ones only: `none` proves nothing, and HS256 would take the public key for a secret."""
MOST_BYTES = 16 * 1024
LEEWAY_SECONDS = 30
MIN_RSA_BITS = 2048
_JWT = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")

VARIABLES = {
    "issuer": "HOMEOSTAT_OIDC_ISSUER",
    "audience": "HOMEOSTAT_OIDC_AUDIENCE",
    "keys": "HOMEOSTAT_OIDC_KEYS",
}


@dataclass(frozen=True, slots=True)
class Oidc:
    """Whose tokens count, made out to whom. `subjects` narrows them to these senders, exact or with a `*` at
    the end, as Knative's EventPolicy writes them (`system:serviceaccount:plant:pump-source`); none named:
    any."""

    issuer: str
    audience: str
    keys: Keys
    subjects: tuple[str, ...] = ()

    async def accepts(self, token: bytes) -> bool:
        """Whether the token holds. Raises Retry while the issuer's keys are not at hand."""
        if len(token) > MOST_BYTES or not _JWT.fullmatch(token):
            return False
        import jwt

        text = token.decode()
        try:
            header = jwt.get_unverified_header(text)
            algorithm, kid = header.get("alg"), header.get("kid")
            # What `crit` names would have to be understood (RFC 7515 section 4.1.11), and nothing is.
            if algorithm not in ALGORITHMS or "crit" in header or not isinstance(kid, str | None):
                return False
            if (jwk := await self.keys.find(kid, ALGORITHMS[algorithm])) is None:
                return False
            if (key := _public_key(jwk, algorithm)) is None:
                return False
            claims: Mapping[str, Any] = jwt.decode(
                text,
                key,
                algorithms=[algorithm],
                audience=self.audience,
                issuer=self.issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "aud", "iss", "sub"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError):
            # The last three: what PyJWT lets through of claims that are no numbers or no text.
            return False
        return self._known(claims["sub"])

    def _known(self, subject: str) -> bool:
        return not self.subjects or any(
            subject.startswith(one[:-1]) if one.endswith("*") else subject == one for one in self.subjects
        )


def _public_key(jwk: Jwk, algorithm: str) -> RSAPublicKey | EllipticCurvePublicKey | None:
    """The key, unless it is made for another algorithm or too short to trust."""
    import jwt
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    if jwk.get("alg", algorithm) != algorithm:
        return None
    key = jwt.PyJWK(jwk, algorithm).key
    if isinstance(key, RSAPublicKey) and key.key_size >= MIN_RSA_BITS:
        return key
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return key
    return None


def configured(environ: Mapping[str, str]) -> Oidc | None:
    """What `HOMEOSTAT_OIDC_*` says; None where nothing is said. Raises Reject, a fault for each gap.

    `_ISSUER`, `_AUDIENCE` and `_KEYS` (a file or https address) go together; `_CA` and `_BEARER` name files
    for the address, `_SUBJECTS` is a JSON list.
    """
    found = {field: environ.get(name, "") for field, name in VARIABLES.items()}
    if not any(found.values()):
        return None
    if missing := [field for field, value in found.items() if not value]:
        mend = "OIDC needs issuer, audience and keys: set {}"
        raise Reject(Fault(f"oidc.{one}", "missing", mend.format(VARIABLES[one])) for one in missing)
    ca, bearer = environ.get("HOMEOSTAT_OIDC_CA"), environ.get("HOMEOSTAT_OIDC_BEARER")
    keys = Keys(found["keys"], Path(ca) if ca else None, Path(bearer) if bearer else None)
    return Oidc(found["issuer"], found["audience"], keys, _subjects(environ))


def _subjects(environ: Mapping[str, str]) -> tuple[str, ...]:
    try:
        listed = json.loads(environ.get("HOMEOSTAT_OIDC_SUBJECTS", "[]"))
    except json.JSONDecodeError:
        listed = None
    if not isinstance(listed, list) or not all(isinstance(one, str) and one for one in listed):
        raise Reject(Fault("oidc.subjects", "no list", 'write JSON: ["system:serviceaccount:plant:*"]'))
    return tuple(listed)
