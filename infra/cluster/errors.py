"""Calls to the cluster's APIs: each has a timeout, is tried again a few times, and fails in words that say
what was asked of which object, and what is missing.

Kubernetes and Kubeflow Pipelines answer in the same way: an HTTP status, and a JSON body with a `message`.
What a sender can do about it decides the class, as everywhere: `Retry` or `Reject`; a `Conflict` is for
whoever called.

https://kubernetes.io/docs/reference/using-api/api-concepts/#status-kind
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
import orjson

from homeostat.eventing.errors import Fault, Reject, Retry, shown

Found = TypeVar("Found")

SECONDS = 10.0
"""A call that takes longer is given up, and tried again."""

AGAIN = (408, 425, 429, 500, 502, 503, 504)
KINDS: Mapping[int, str] = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    408: "Timeout",
    429: "Throttled",
    504: "Timeout",
}
"""One word for what stands in the way, as conditions name it; 5xx are ServerErrors otherwise."""

TOO_LARGE = "request is too large"
"""etcd says so, in an answer of 500 that no repetition changes."""


@dataclass(frozen=True)
class Asking:
    """One call, for people: `update detectors/status.homeostat.dev pump in homeostat`."""

    verb: str
    resource: str
    name: str = ""
    namespace: str = ""

    def __str__(self) -> str:
        where = f"in {self.namespace}" if self.namespace else ""
        return " ".join(filter(None, (self.verb, self.resource, self.name, where)))


@dataclass(frozen=True)
class Patience:
    """How often a call is tried, with pauses that double and are drawn at random below that (full jitter), so
    that replicas which failed together do not come back together."""

    attempts: int = 4
    first: float = 0.25
    longest: float = 4.0
    sleep: Callable[[float], None] = time.sleep

    def pause(self, attempt: int, asked_for: float) -> float:
        """Never before the server asked us to, as far as that is bearable while an event waits."""
        drawn = random.uniform(0, min(self.longest, self.first * 2**attempt))  # noqa: S311 - no secret
        return max(drawn, min(asked_for, self.longest))


class Refusal(Exception):
    """An answer that is not a success."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__(f"{answer.status_code} {answer.reason_phrase}")
        self.status, self.body, self.headers = answer.status_code, answer.content, answer.headers
        self.reason = answer.reason_phrase


class Conflict(Exception):
    """Somebody was faster: the object changed, or is there already."""


def document(answer: httpx.Response) -> Mapping[str, Any]:
    """The answer's JSON. Raises Refusal when it is not a success."""
    if not answer.is_success:
        raise Refusal(answer)
    found: Mapping[str, Any] = orjson.loads(answer.content or b"{}")
    return found


def tried(asking: Asking, call: Callable[[], Found], patience: Patience | None = None) -> Found:
    """The call's answer.

    Raises Retry when it fails again and again, or a right is missing; Reject for what will never be accepted;
    Conflict for a 409.
    """
    patience = patience or Patience()
    reason = kind = ""
    for attempt in range(patience.attempts):
        asked_for = 0.0
        try:
            return call()
        except httpx.TransportError as error:
            reason = f"no answer ({type(error).__name__})"
            kind = "Timeout" if isinstance(error, httpx.TimeoutException) else "Unreachable"
        except Refusal as error:
            text = words(error)
            if error.status not in AGAIN or TOO_LARGE in text:
                raise classed(asking, error, text) from None
            reason, asked_for = f"{error.status} {text}", _retry_after(error)
            kind = KINDS.get(error.status, "ServerError")
        if attempt + 1 < patience.attempts:
            patience.sleep(patience.pause(attempt, asked_for))
    raise Retry(f"cannot {asking}: {reason}, {patience.attempts} times", after=5, kind=kind)


def classed(asking: Asking, refusal: Refusal, text: str) -> Exception:
    """What a refusal means for the event that led to the call."""
    kind = KINDS.get(refusal.status, "Refused")
    match refusal.status:
        case 401:
            mend = "the token was not accepted; an expired one is renewed by the kubelet within minutes"
            return Retry(f"cannot {asking}: {mend} ({text})", after=30, kind=kind)
        case 403:
            # Granting the right is enough: the event is still there.
            mend = f"grant the verb {asking.verb} on {asking.resource} to whom it names"
            return Retry(f"cannot {asking}: {mend} ({text})", after=60, kind=kind)
        case 404:
            return Retry(
                f"cannot {asking}: there is none, or the API has no such kind ({text})", after=30, kind=kind
            )
        case 409:
            return Conflict(f"cannot {asking}: {text}")
        case code if code < 400:
            where = refusal.headers.get("location", "")
            mend = f"the address leads elsewhere, as to a page where people log in: {shown(where)}"
            return Retry(f"cannot {asking}: {mend}", after=60, kind="Redirected")
        case _:
            return Reject(_faults(asking, refusal, text))


def words(refusal: Refusal) -> str:
    """The `message` of the answer's body, else what there is of it."""
    body = _body(refusal)
    message = body.get("message") or body.get("error") if isinstance(body, dict) else body
    return shown(" ".join(str(message or refusal.reason).split()), 400)


def names_an_object(refusal: Refusal) -> bool:
    """Whether a 404 speaks of the object; without a name the whole kind is unknown: its CRD is missing."""
    body = _body(refusal)
    details = body.get("details") if isinstance(body, dict) else None
    return isinstance(details, dict) and bool(details.get("name"))


def _faults(asking: Asking, refusal: Refusal, text: str) -> list[Fault]:
    body = _body(refusal)
    details = body.get("details") if isinstance(body, dict) else None
    causes = details.get("causes") if isinstance(details, dict) else None
    where = f"refused in {asking}"
    found = [
        Fault(str(one.get("field") or asking.resource), where, str(one.get("message") or text)[:400])
        for one in causes or ()
        if isinstance(one, dict)
    ]
    return found or [Fault(asking.resource, f"refused with {refusal.status} in {asking}", text)]


def _body(refusal: Refusal) -> Any:
    try:
        return orjson.loads(refusal.body or b"{}")
    except orjson.JSONDecodeError:
        return refusal.body.decode(errors="replace")


def _retry_after(refusal: Refusal) -> float:
    try:
        return max(0.0, float(refusal.headers.get("retry-after", 0)))
    except ValueError:  # a date: nobody who answers a program writes one
        return 0.0
