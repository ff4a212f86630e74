"""Role-based access control as Kubernetes decides it, from the stored Roles and bindings.

https://kubernetes.io/docs/reference/access-authn-authz/rbac/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_PREFIX = "system:serviceaccount"


@dataclass(frozen=True)
class Account:
    """A ServiceAccount that calls. Its token is good while the ServiceAccount of that `uid` is there (any,
    where it is empty), and for those `audiences`."""

    namespace: str
    name: str
    uid: str = ""
    audiences: tuple[str, ...] = ()

    @property
    def user(self) -> str:
        return f"{_PREFIX}:{self.namespace}:{self.name}"

    @classmethod
    def of(cls, user: str) -> Account | None:
        """Whose name for people it is; None for a user who is no ServiceAccount."""
        head, _, rest = user.partition(f"{_PREFIX}:")
        namespace, colon, name = rest.partition(":")
        return cls(namespace, name) if not head and colon else None


@dataclass(frozen=True)
class Asked:
    """One request, as it is authorised. `resource` has its subresource: `detectors/status`."""

    verb: str
    group: str
    resource: str
    namespace: str
    name: str


def allowed(account: Account, asked: Asked, objects: Iterable[Mapping[str, Any]]) -> bool:
    """Whether some binding gives the account a rule that covers the request."""
    stored = list(objects)
    for binding in stored:
        if binding["kind"] not in ("RoleBinding", "ClusterRoleBinding") or not _binds(binding, account):
            continue
        if binding["kind"] == "RoleBinding" and binding["metadata"]["namespace"] != asked.namespace:
            continue
        role = _role(binding, stored)
        if role is not None and any(_covers(rule, asked) for rule in role.get("rules") or ()):
            return True
    return False


def _binds(binding: Mapping[str, Any], account: Account) -> bool:
    return any(
        (one["kind"], one["name"]) == ("ServiceAccount", account.name)
        and one.get("namespace") == account.namespace
        for one in binding.get("subjects") or ()
    )


def _role(binding: Mapping[str, Any], stored: list[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    wanted = binding["roleRef"]
    for one in stored:
        if (one["kind"], one["metadata"]["name"]) != (wanted["kind"], wanted["name"]):
            continue
        if one["kind"] == "ClusterRole" or one["metadata"]["namespace"] == binding["metadata"]["namespace"]:
            return one
    return None


def _covers(rule: Mapping[str, Any], asked: Asked) -> bool:
    names = rule.get("resourceNames") or ()
    # A list and a create have no name yet: a rule of names never covers them.
    return (
        _among(asked.verb, rule.get("verbs") or ())
        and _among(asked.group, rule.get("apiGroups") or ())
        and _among(asked.resource, rule.get("resources") or ())
        and (not names or (asked.verb != "create" and asked.name in names))
    )


def _among(one: str, some: Iterable[str]) -> bool:
    return any(other in ("*", one) for other in some)
