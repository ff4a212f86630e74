"""The public keys of an OIDC issuer (JWKS, RFC 7517), from a file or an https address of the configuration.

Nothing of a token says where keys come from: `jku`, `jwk` and `x5u` in its header are never looked at.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson

from ..errors import Fault, Reject, Retry, shown

FRESH_SECONDS = 300.0
PAUSE_SECONDS = 10.0
"""How often, at most, the issuer is asked anew: somebody who makes up key ids must not make us ask."""
MOST_BYTES = 256 * 1024

Jwk = dict[str, Any]


class Keys:
    """The issuer's signing keys, kept for five minutes and fetched anew when a token names an unknown one.

    Keys once had are used while the issuer does not answer. `ca` is a PEM file to trust (a cluster's own),
    `bearer` a file with a token for the address (a pod's service account; read anew, for it is rotated).
    """

    def __init__(
        self,
        location: str,
        ca: Path | None = None,
        bearer: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if "://" in location and not location.startswith("https://"):
            raise Reject(Fault("oidc.keys", shown(location), "give an https address or a file"))
        self._location, self._ca, self._bearer, self._clock = location, ca, bearer, clock
        self._keys: list[Jwk] = []
        self._fetched = self._tried = -1e9
        self._lock = asyncio.Lock()

    async def find(self, kid: str | None, kty: str) -> Jwk | None:
        """The key of that id, or the only one of that type for a token that names none. Raises Retry when
        there has been no key to look at yet."""
        if self._clock() - self._fetched > FRESH_SECONDS:
            await self._refresh()
        found = self._pick(kid, kty)
        if found is None:
            await self._refresh()
            found = self._pick(kid, kty)
        return found

    def _pick(self, kid: str | None, kty: str) -> Jwk | None:
        fit = [one for one in self._keys if one.get("kty") == kty and one.get("use", "sig") == "sig"]
        if kid is not None:
            fit = [one for one in fit if one.get("kid") == kid]
        return fit[0] if len(fit) == 1 else None

    async def _refresh(self) -> None:
        async with self._lock:
            now = self._clock()
            if now - self._tried >= PAUSE_SECONDS:
                self._tried = now
                try:
                    self._keys = _keys(await asyncio.to_thread(self._load))
                    self._fetched = self._clock()
                except (OSError, ValueError) as error:
                    if not self._keys:
                        raise Retry(f"the keys at {self._location}: {error}", PAUSE_SECONDS) from error
            if not self._keys:
                raise Retry(f"there are no keys at {self._location} yet", PAUSE_SECONDS)

    def _load(self) -> bytes:
        """Raises OSError or ValueError, whatever goes wrong."""
        if not self._location.startswith("https://"):
            return Path(self._location).read_bytes()
        import httpx

        trust = ssl.create_default_context(cafile=str(self._ca) if self._ca else None)
        headers = {"authorization": f"Bearer {self._bearer.read_text().strip()}"} if self._bearer else {}
        content = bytearray()
        try:
            with httpx.stream("GET", self._location, headers=headers, verify=trust, timeout=5) as answer:
                if answer.status_code != 200:
                    raise ValueError(f"it answered {answer.status_code}")
                for part in answer.iter_bytes():
                    content += part
                    if len(content) > MOST_BYTES:
                        raise ValueError(f"it is larger than {MOST_BYTES} bytes")
        except httpx.HTTPError as error:
            raise ValueError(str(error)) from error
        return bytes(content)


def _keys(content: bytes) -> list[Jwk]:
    document = orjson.loads(content)
    keys: Sequence[Any] = document.get("keys", ()) if isinstance(document, dict) else ()
    found = [one for one in keys if isinstance(one, dict)] if isinstance(keys, list) else []
    if not found:
        raise ValueError('it is no key set: {"keys": [...]} is expected')
    return found
