"""How Kubeflow Pipelines, where it has several users, asks Kubernetes who calls and whether he may: a
TokenReview for its own audience, and a SubjectAccessReview for each call, in the words of its authoriser
(backend/src/apiserver/server: canAccessPipeline, canAccessExperiment, canAccessRun); versions are pipelines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.cluster.sending import said_yes

AUDIENCE = "pipelines.kubeflow.org"
_VERSION = "v1beta1"


@dataclass(frozen=True)
class Review:
    """What was asked of Kubernetes, and what it said. `who` is a ServiceAccount's name."""

    who: str
    verb: str
    resource: str
    namespace: str
    allowed: bool


@dataclass
class Reviewer:
    """`kubernetes` is the API server, as somebody who may ask."""

    kubernetes: httpx.Client
    asked: list[Review] = field(default_factory=list)

    def user(self, token: str) -> str:
        """Whose token it is; empty for nobody's, or one that is meant for others."""
        spec = {"token": token, "audiences": [AUDIENCE]}
        status = self._ask("authentication.k8s.io/v1", "TokenReview", spec)
        mine = status.get("authenticated") and AUDIENCE in status.get("audiences", ())
        return str(status["user"]["username"]) if mine else ""

    def may(self, user: str, verb: str, resource: str, namespace: str) -> bool:
        about = {"group": AUDIENCE, "version": _VERSION, "verb": verb, "resource": resource}
        spec = {"user": user, "resourceAttributes": {**about, "namespace": namespace}}
        allowed = bool(self._ask("authorization.k8s.io/v1", "SubjectAccessReview", spec)["allowed"])
        self.asked.append(Review(user.rpartition(":")[2], verb, resource, namespace, allowed))
        return allowed

    def _ask(self, version: str, kind: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        review = {"apiVersion": version, "kind": kind, "spec": spec}
        return dict(said_yes(self.kubernetes.post(f"/apis/{version}/{kind.lower()}s", json=review))["status"])
