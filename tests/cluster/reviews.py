"""Tokens of ServiceAccounts, and questions about them: who is this, and may they?

https://kubernetes.io/docs/reference/access-authn-authz/authentication/#tokenreview
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.cluster.answers import Refused
from tests.cluster.rights import Account, Asked, allowed

AUDIENCE = "https://kubernetes.default.svc"
"""Of a token that says nothing of its audience: the API server's own."""

Accounts = dict[str, Account]
Stored = Iterable[Mapping[str, Any]]


def issue(accounts: Accounts, account: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """Answers a TokenRequest for a stored ServiceAccount."""
    spec = asked.get("spec") or {}
    seconds = spec.get("expirationSeconds", 3600)
    if seconds < 600:
        raise Refused(
            422, "Invalid", "spec.expirationSeconds: may not specify a duration less than 10 minutes"
        )
    token, meta = uuid.uuid4().hex, account["metadata"]
    audiences = tuple(spec.get("audiences") or (AUDIENCE,))
    accounts[token] = Account(meta["namespace"], meta["name"], meta["uid"], audiences)
    until = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="seconds")
    status = {"token": token, "expirationTimestamp": until.replace("+00:00", "Z")}
    return {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec, "status": status}


def known(accounts: Accounts, token: str, stored: Stored, audience: str = AUDIENCE) -> Account | None:
    """Whose token it is; None for one that was never issued, is meant for others, or whose ServiceAccount is
    gone."""
    account = accounts.get(token)
    if account is None or (account.audiences and audience not in account.audiences):
        return None
    same = ("ServiceAccount", account.namespace, account.name, account.uid)
    living = not account.uid or any(_who(one) == same for one in stored)
    return account if living else None


def _who(one: Mapping[str, Any]) -> tuple[str, str, str, str]:
    meta = one["metadata"]
    return one["kind"], meta.get("namespace", ""), meta["name"], meta.get("uid", "")


def _token(spec: Mapping[str, Any], accounts: Accounts, stored: Stored, _: Account | None) -> Any:
    audiences = spec.get("audiences") or [AUDIENCE]
    found = [known(accounts, spec["token"], stored, one) for one in audiences]
    who = next(filter(None, found), None)
    if who is None:
        return {"authenticated": False, "error": "invalid bearer token"}
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{who.namespace}", "system:authenticated"]
    mine = [one for one, fits in zip(audiences, found, strict=True) if fits]
    return {"authenticated": True, "user": {"username": who.user, "groups": groups}, "audiences": mine}


def _subject(spec: Mapping[str, Any], _: Accounts, stored: Stored, asks: Account | None) -> Any:
    about = spec["resourceAttributes"]
    resource = "/".join(filter(None, (about["resource"], about.get("subresource", ""))))
    asked = Asked(
        about["verb"], about.get("group", ""), resource, about.get("namespace", ""), about.get("name", "")
    )
    who = Account.of(spec["user"]) if "user" in spec else asks
    if "user" not in spec and asks is None:
        return {"allowed": True}
    return {"allowed": who is not None and allowed(who, asked, stored)}


REVIEWS: Mapping[str, Callable[[Mapping[str, Any], Accounts, Stored, Account | None], Any]] = {
    "tokenreviews": _token,
    "subjectaccessreviews": _subject,
    "selfsubjectaccessreviews": _subject,
}
"""By plural: the status that answers a spec. The last argument is who asks; None is the administrator."""
