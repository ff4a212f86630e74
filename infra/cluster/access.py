"""How the API server is reached: from a pod by what every pod has, from elsewhere by a kubeconfig.

The functions' image has no `kubernetes` package (71 MB, 1 s of import, against a cold start of 0.6 s); what
they need of it is five HTTP requests. A kubeconfig, with its many ways to log in, is read by that package all
the same.

https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Generator
from pathlib import Path

import httpx

from .errors import SECONDS

POD = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class Bearer(httpx.Auth):
    """A token that is asked for anew with each request: the kubelet renews the files that it lies in."""

    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["authorization"] = f"Bearer {self._token()}"
        yield request


def token_in(file: Path) -> Callable[[], str]:
    return lambda: file.read_text().strip()


def from_pod(folder: Path = POD) -> httpx.Client:
    """The API server of the cluster that this pod runs in, as its ServiceAccount.

    Raises RuntimeError outside a pod, or in one whose token is not mounted.
    """
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (folder / "token").exists():
        raise RuntimeError(
            f"this is no pod with a ServiceAccount's token: {folder} is missing, name a context"
        )
    name = f"[{host}]" if ":" in host else host
    trusted = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    auth = Bearer(token_in(folder / "token"))
    return httpx.Client(base_url=f"https://{name}:{port}", auth=auth, verify=trusted, timeout=SECONDS)


def from_context(context: str | None = None, file: str | None = None) -> httpx.Client:
    """The API server of a kubeconfig's context; of its current one when none is named. Needs the package
    `kubernetes`, which comes with homeostat[work]. Raises its ConfigException for what it cannot read."""
    from kubernetes import client, config  # type: ignore[import-untyped]

    found = client.Configuration()
    config.load_kube_config(config_file=file, context=context, client_configuration=found)
    trusted = ssl.create_default_context(cafile=found.ssl_ca_cert)
    if found.cert_file:
        trusted.load_cert_chain(found.cert_file, found.key_file)
    if not found.verify_ssl:
        trusted.check_hostname, trusted.verify_mode = False, ssl.CERT_NONE
    # Its plugins renew the token when it is asked for.
    scheme = str(found.get_api_key_with_prefix("authorization") or "").partition(" ")[0]
    bearer = Bearer(lambda: str(found.get_api_key_with_prefix("authorization")).partition(" ")[2])
    auth = bearer if scheme == "Bearer" else None
    return httpx.Client(base_url=found.host, auth=auth, verify=trusted, timeout=SECONDS)
