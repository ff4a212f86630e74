"""Who calls the API in tests: each function under its own token and the Roles that infra/base installs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from homeostat.infra.cluster.client import Objects
from homeostat.infra.cluster.errors import Patience
from tests.cluster.api_server import ApiServer
from tests.cluster.kube_apiserver import KubeApiServer

Server = ApiServer | KubeApiServer
NAMESPACE = "homeostat"
BASE = Path(__file__).parents[2] / "infra" / "base"
PATIENCE = Patience(attempts=4, sleep=lambda _: None)


def roles() -> list[dict[str, Any]]:
    """The Roles and RoleBindings of every function, as they lie."""
    documents = [
        one
        for file in sorted((BASE / "functions").glob("*.yaml"))
        for one in yaml.safe_load_all(file.read_text())
    ]
    return [one for one in documents if isinstance(one, dict) and one.get("kind") in ("Role", "RoleBinding")]


def trial() -> dict[str, Any]:
    """What the pods of Katib's trials are like, as it lies."""
    found: dict[str, Any] = yaml.safe_load((BASE / "training" / "trial.yaml").read_text())
    return found


def objects(server: Server, account: str | None) -> Objects:
    """The client with that ServiceAccount's token; with the administrator's without one."""
    token = server.token(NAMESPACE, account) if account else server.admin
    return Objects(server.http(token), NAMESPACE, PATIENCE)


def detector(name: str, **spec: Any) -> dict[str, Any]:
    """A Detector as its owner applies it."""
    return {
        "apiVersion": "homeostat.dev/v1alpha1",
        "kind": "Detector",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"data": {"uri": f"s3://plant/{name}/", "channels": ["a"]}, **spec},
    }


def eventually(so: Callable[[], bool], seconds: float = 20) -> None:
    """Asked again until it is so."""
    until = time.monotonic() + seconds
    while not so():
        assert time.monotonic() < until, "never"
        time.sleep(0.05)
