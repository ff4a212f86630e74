"""`<state>/tokens.json`: what is kept of tokens, and how one is made and revoked. Never a token itself."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import math
import re
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from ..errors import Fault, Reject, shown
from .door import DOORS
from .watched import private_bytes, write_private

HOME = "home"
"""The name of the token that the home makes for its own children."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


class Entry(BaseModel):
    """One token of a door."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    door: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    created: AwareDatetime
    expires: AwareDatetime | None = None

    @property
    def until(self) -> float:
        """Unix time; infinite without an end."""
        return self.expires.timestamp() if self.expires else math.inf

    def document(self, now: datetime) -> dict[str, object]:
        """What may be shown: no digest, and whether it still opens its door."""
        state = "valid" if self.until > now.timestamp() else "expired"
        return {"name": self.name, "door": self.door, "state": state} | {
            "created": self.created.isoformat(timespec="seconds"),
            "expires": self.expires.isoformat(timespec="seconds") if self.expires else None,
        }


class TokenFile(BaseModel):
    """The file. `closed` are the doors that ask for a token: a revoked one must not open what it closed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    closed: tuple[str, ...] = ()
    tokens: tuple[Entry, ...] = ()


def new_token(door: str) -> str:
    """`hst_<door>_<256 random bits>`: the prefix lets people and secret scanners tell what it is."""
    return f"hst_{door}_{secrets.token_urlsafe(32)}"


def digest(token: bytes) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(token).digest()


def parse(content: bytes) -> TokenFile:
    """Raises Reject with every fault of a damaged file."""
    try:
        return TokenFile.model_validate_json(content)
    except ValidationError as error:
        mend = "restore it, or remove it and create the tokens anew with `homeostat tokens create`"
        # Its input could hold a digest, so only places and rules are told.
        raise Reject(
            Fault(f"tokens.json {'.'.join(map(str, one['loc']))}", "damaged", f"{one['msg']}; {mend}")
            for one in error.errors(include_input=False, include_url=False)
        ) from None


def entries(path: Path) -> TokenFile:
    """The file as it is now; empty where there is none. Raises Reject when it is damaged."""
    try:
        return parse(private_bytes(path))
    except FileNotFoundError:
        return TokenFile()


def create(
    path: Path, door: str, name: str | None = None, expires: timedelta | None = None
) -> tuple[Entry, str]:
    """Make a token; it is shown this once. Raises Reject for an unknown door or a name that is taken."""
    with _changing(path) as file:
        name = name or f"{door}-{secrets.token_hex(3)}"
        if faults := list(_faults(file, door, name, expires)):
            raise Reject(faults)
        now, token = datetime.now(UTC), new_token(door)
        entry = Entry(
            name=name,
            door=door,
            sha256=digest(token.encode()).hex(),
            created=now,
            expires=now + expires if expires else None,
        )
        closed = tuple(sorted({*file.closed, door}))
        _write(path, TokenFile(closed=closed, tokens=(*file.tokens, entry)))
    return entry, token


def revoke(path: Path, name: str) -> Entry:
    """Take a token away; its door stays closed, even without its last. Raises Reject for an unknown name."""
    with _changing(path) as file:
        found = [one for one in file.tokens if one.name == name]
        if not found:
            known = ", ".join(one.name for one in file.tokens) or "none"
            raise Reject(Fault("name", shown(name), f"there is no such token (known: {known})"))
        left = tuple(one for one in file.tokens if one.name != name)
        _write(path, TokenFile(closed=file.closed, tokens=left))
    return found[0]


def reopen(path: Path, door: str) -> None:
    """Ask for no token at this door any more. Raises Reject while it still has one."""
    with _changing(path) as file:
        if held := [one.name for one in file.tokens if one.door == door]:
            raise Reject(Fault("door", shown(door), f"it has tokens, revoke them first: {', '.join(held)}"))
        if door not in file.closed:
            closed = ", ".join(file.closed) or "none"
            raise Reject(Fault("door", shown(door), f"it is not closed (closed doors: {closed})"))
        left = tuple(one for one in file.closed if one != door)
        _write(path, TokenFile(closed=left, tokens=file.tokens))


def _faults(file: TokenFile, door: str, name: str, expires: timedelta | None) -> Iterator[Fault]:
    if door not in DOORS:
        yield Fault("door", shown(door), f"the doors are {', '.join(DOORS)}")
    if not _NAME.fullmatch(name) or name == HOME:
        mend = f"write up to 63 of a-z, 0-9, '.', '_' and '-'; {HOME!r} is the home's own"
        yield Fault("name", shown(name), mend)
    if any(one.name == name for one in file.tokens):
        yield Fault("name", shown(name), f"it is taken: revoke it first (homeostat tokens revoke {name})")
    if expires is not None and not timedelta(0) < expires <= timedelta(days=3650):
        yield Fault("expires", shown(str(expires)), "more than nothing, at most 3650d")


@contextlib.contextmanager
def _changing(path: Path) -> Iterator[TokenFile]:
    """Read, change and write under a lock: two commands at once would lose one of their tokens."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield entries(path)


def _write(path: Path, file: TokenFile) -> None:
    write_private(path, orjson.dumps(file.model_dump(mode="json"), option=orjson.OPT_INDENT_2) + b"\n")
