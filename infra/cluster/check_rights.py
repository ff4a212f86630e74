"""Whether the rights that an overlay's Roles give are effective: asked of the API server for each account
(SubjectAccessReview), and where nobody may ask that, reckoned from the Roles and bindings that are stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from ..findings import Finding
from .check_sources import Right, Source, Unknown
from .kinds import ROLE, ROLE_BINDING
from .kustomized import Object

AT_ONCE = 8
_APPLY = "homeostat cluster render | kubectl apply --server-side -f -"

YOURS = (
    (Right("get", "homeostat.dev", "detectors"), "homeostat why --context"),
    (Right("list", "homeostat.dev", "detectors"), "homeostat status --context"),
    (Right("create", "homeostat.dev", "detectors"), "homeostat apply --context"),
    (Right("update", "homeostat.dev", "detectors"), "homeostat apply --context"),
    (Right("patch", "serving.knative.dev", "services"), "homeostat cluster diff"),
)
"""Rights of whoever asks, and what they are for."""


def given(objects: Sequence[Object]) -> dict[tuple[str, str], list[Right]]:
    """By ServiceAccount (namespace, name): the rights that the overlay's bindings give it."""
    roles = {_named(one): one for one in objects if one["kind"] == "Role"}
    found: dict[tuple[str, str], list[Right]] = {}
    for binding in (one for one in objects if one["kind"] == "RoleBinding"):
        namespace = binding["metadata"]["namespace"]
        role = roles.get((namespace, binding["roleRef"]["name"]))
        for subject in binding["subjects"] if role else ():
            if subject["kind"] == "ServiceAccount":
                account = (subject.get("namespace", namespace), subject["name"])
                found.setdefault(account, []).extend(_rights(role or {}, namespace))
    return found


def accounts(source: Source, objects: Sequence[Object]) -> Iterator[Finding]:
    """One finding for each account."""
    wanted, asked = given(objects), True
    for (namespace, name), rights in wanted.items():
        user = f"system:serviceaccount:{namespace}:{name}"
        if asked:
            try:
                yield _judged(name, rights, _answers(source, user, rights))
                continue
            except Unknown as unknown:
                asked = False
                advice = f"{unknown.what}: {unknown.found}"
                yield Finding("rights of functions", True, "reckoned from Roles and bindings", advice=advice)
        yield _judged(name, rights, _reckoned(source, namespace, name, rights))


def yours(source: Source, namespace: str, ingress: str | None) -> Iterator[Finding]:
    """What the user may who asks: no fault of the cluster's. `ingress` is the broker's ingress' namespace."""
    asked = [(replace(right, namespace=namespace), use) for right, use in YOURS]
    if ingress:
        proxy = Right("create", "", "services", "proxy", namespace=ingress)
        asked.append((proxy, "homeostat emit --context"))
    for right, use in asked:
        if source.may(right):
            yield Finding(f"you may {right}", True, f"for `{use}`")
        else:
            yield Finding(f"you may not {right}", True, "no", advice=f"`{use}` needs it; ask for it")


def _answers(source: Source, user: str, rights: list[Right]) -> list[bool]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda right: source.may(right, user), rights))


def _judged(name: str, rights: list[Right], answers: list[bool]) -> Finding:
    lacking = [str(right) for right, yes in zip(rights, answers, strict=True) if not yes]
    what, found = f"rights of {name}", f"{len(rights) - len(lacking)} of {len(rights)} are effective"
    if not lacking:
        return Finding(what, True, found)
    return Finding(what, False, f"{found}; may not {', '.join(lacking)}", f"apply Role and binding: {_APPLY}")


def _reckoned(source: Source, namespace: str, name: str, rights: list[Right]) -> list[bool]:
    roles = {str(one["metadata"]["name"]): one for one in source.all(ROLE, namespace)}
    rules = [
        rule
        for binding in source.all(ROLE_BINDING, namespace)
        if binding["roleRef"]["kind"] == "Role" and _binds(binding, namespace, name)
        for rule in roles.get(binding["roleRef"]["name"], {}).get("rules") or ()
    ]
    return [any(_covers(rule, right) for rule in rules) for right in rights]


def _binds(binding: Mapping[str, Any], namespace: str, name: str) -> bool:
    wanted = ("ServiceAccount", namespace, name)
    return any(
        (one["kind"], one.get("namespace", ""), one["name"]) == wanted
        for one in binding.get("subjects") or ()
    )


def _covers(rule: Mapping[str, Any], right: Right) -> bool:
    """https://kubernetes.io/docs/reference/access-authn-authz/rbac/"""
    resource = f"{right.resource}/{right.sub}" if right.sub else right.resource
    asked = ((right.verb, "verbs"), (right.group, "apiGroups"), (resource, "resources"))
    names = rule.get("resourceNames") or ()
    return all({one, "*"} & set(rule.get(field) or ()) for one, field in asked) and (
        not names or right.name in names
    )


def _rights(role: Mapping[str, Any], namespace: str) -> Iterator[Right]:
    for rule in role.get("rules") or ():
        for group in rule["apiGroups"]:
            for whole in rule["resources"]:
                resource, _, sub = whole.partition("/")
                for verb in rule["verbs"]:
                    for name in rule.get("resourceNames") or ("",):
                        yield Right(verb, group, resource, sub, namespace, name)


def _named(one: Object) -> tuple[str, str]:
    return one["metadata"]["namespace"], one["metadata"]["name"]
