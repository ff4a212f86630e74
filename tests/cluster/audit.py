"""What a real API server wrote down of its calls, and what a Role grants, in the same words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from tests.cluster.asked import Call

Right = tuple[str, str, str]
"""Verb, API group, resource with its subresource."""


def calls_in(log: Path, start: int = 0) -> Iterator[Call]:
    """Of people and ServiceAccounts, in the order of their answers (audit.k8s.io/v1, level Metadata)."""
    with log.open("rb") as file:
        file.seek(start)
        for line in file:
            if not line.endswith(b"\n"):
                return
            entry = orjson.loads(line)
            if "objectRef" in entry:
                yield _call(entry)


def _call(entry: Mapping[str, Any]) -> Call:
    about, user = entry["objectRef"], entry["user"].get("username", "")
    return Call(
        who=user.rpartition(":")[2],
        verb=entry["verb"],
        group=about.get("apiGroup", ""),
        resource="/".join(filter(None, (about["resource"], about.get("subresource", "")))),
        name=about.get("name", ""),
        code=entry["responseStatus"]["code"],
    )


def used(calls: Iterable[Call], who: str) -> set[Right]:
    """What an account did and was let do, whatever came of it: a 404 and a 409 are answers."""
    let = [one for one in calls if one.who == who and one.code not in (401, 403)]
    return {(one.verb, one.group, one.resource) for one in let}


def refused(calls: Iterable[Call], who: str) -> set[Right]:
    return {(one.verb, one.group, one.resource) for one in calls if one.who == who and one.code == 403}


def granted(roles: Iterable[Mapping[str, Any]], name: str) -> set[Right]:
    """Each rule's every verb on every resource, of the Role of that name."""
    return {
        (verb, group, resource)
        for role in roles
        if (role["kind"], role["metadata"]["name"]) == ("Role", name)
        for rule in role["rules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
