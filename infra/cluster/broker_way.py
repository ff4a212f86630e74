"""From outside to the broker: its address is the cluster's own, so an event goes through the API server,
which passes it on to the ingress's Service (`services/proxy`) for whoever has that right."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import httpx
import orjson

from homeostat.eventing.errors import Fault, Reject, shown

from .kinds import BROKER
from .remote import Api, Unreachable

BROKER_NAME = "default"
PORTS = {"http": 80, "https": 443}


def service_of(url: str) -> tuple[str, str] | None:
    """Name and namespace of the Service that an address in the cluster is; None for another one."""
    name, _, rest = (urlsplit(url).hostname or "").partition(".")
    namespace, _, domain = rest.partition(".")
    return (name, namespace) if name and namespace and domain.split(".")[0] == "svc" else None


def proxied(url: str) -> str:
    """The API server's path to it. Raises Reject for an address that is not of the cluster."""
    parts, found = urlsplit(url), service_of(url)
    if found is None:
        mend = "is no Service of the cluster; give its address, as far as you reach it, with --sink"
        raise Reject(Fault("the Broker's status.address.url", shown(url), mend))
    service, namespace = found
    port = parts.port or PORTS[parts.scheme]
    return f"/api/v1/namespaces/{quote(namespace)}/services/{parts.scheme}:{service}:{port}/proxy{parts.path}"


def address(api: Api, namespace: str) -> str:
    """Where the broker takes events, in its own words. Raises Reject when it says nothing yet."""
    found = api.get(BROKER, namespace, BROKER_NAME)
    if found is None:
        mend = "install it: homeostat cluster render | kubectl apply --server-side -f -"
        raise Reject(Fault("Broker", f"{BROKER_NAME} in {namespace}, which is not there", mend))
    url = found.get("status", {}).get("address", {}).get("url")
    if not url:
        mend = f"kubectl -n {namespace} describe broker {BROKER_NAME}; `homeostat cluster check` says more"
        raise Reject(Fault("Broker", f"{BROKER_NAME} in {namespace}, not ready", mend))
    return str(url)


def post(http: httpx.Client, url: str, headers: dict[str, str], body: bytes) -> None:
    """Hand an event to the broker at that address of the cluster. Raises Reject with what is wrong."""
    path = proxied(url)
    try:
        answer = http.post(path, headers=headers, content=body)
    except httpx.TransportError as error:
        raise Unreachable(f"the API server does not answer ({type(error).__name__})") from None
    if answer.is_success:
        return
    said = _said(answer)
    where = " in ".join(service_of(url) or ())
    mends = _ITS_OWN if said.by_kubernetes else _BROKERS
    mend = mends.get(answer.status_code, mends[0]).format(where=where)
    raise Reject(Fault("broker", f"{where}, answering {answer.status_code}", f"{mend} ({said.text})"))


_ITS_OWN = {
    403: "ask for the right to create services/proxy on {where}, or give a --sink that you reach",
    0: "the API server does not reach its pods: kubectl get services,endpointslices of {where}",
}
_BROKERS = {
    401: "it asks for a token (authentication-oidc), which people do not have: give a --sink of the gateway",
    403: "its EventPolicies do not let this event in: give a --sink of the gateway",
    0: "the broker refused the event",
}
"""Mends by status, and 0 for every other."""


@dataclass(frozen=True)
class _Said:
    text: str
    by_kubernetes: bool


def _said(answer: httpx.Response) -> _Said:
    """What a refusal says, and whether it is the API server's own (a Status) or came from behind it."""
    try:
        said = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        said = answer.text
    found = said if isinstance(said, dict) else {}
    text = found.get("message") or found.get("error") or (answer.text or answer.reason_phrase)
    return _Said(str(text)[:400], found.get("kind") == "Status")
