"""What KServe's controller says of a canary: whether it is there, and whether it never will be.

`status.modelStatus` is of the newest revision in Knative mode, and of each entry in `canaryStatuses` in
Standard mode (fields: field notes, "KServe status").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from homeostat.functions.detector import Revision

from .client import Document
from .inference_service import Options, short, uri_of
from .kserve import loaded

_BLOCKED = ("BlockedByFailedLoad", "InvalidSpec")


@dataclass(frozen=True)
class Readiness:
    """`refused` says why the artifact cannot be served; empty when it can, as far as is known."""

    ready: bool
    refused: str = ""


def of_canary(detector: str, canary: Revision, now: Document | None, options: Options) -> Readiness:
    """How the canary stands, by the object's status. Not ready while the object is not there or says
    nothing."""
    if now is None:
        return Readiness(False)
    status: Mapping[str, Any] = now.get("status") or {}
    if options.mode == "knative":
        # Until the template is the canary's, and has become a revision, the status is about another one.
        ours = uri_of(now) == canary.uri
        return Readiness(ours and loaded(now), _refusal(status) if ours else "")
    name = short(detector, canary)
    if now["spec"]["predictor"].get("name") == name:  # the first canary: there is no stable one beside it
        ready = any(
            (one.get("type"), one.get("status")) == ("PredictorReady", "True")
            for one in status.get("conditions") or ()
        )
        return Readiness(ready, _refusal(status))
    for one in status.get("canaryStatuses") or ():
        if one.get("name") == name:
            return Readiness(bool(one.get("ready")), _refusal(one))
    return Readiness(False)


def _refusal(status: Mapping[str, Any]) -> str:
    model = status.get("modelStatus") or {}
    if model.get("transitionStatus") not in _BLOCKED:
        return ""
    failure = model.get("lastFailureInfo") or {}
    said = (failure.get("reason"), failure.get("message"))
    return ": ".join(str(one) for one in said if one) or str(model["transitionStatus"])
