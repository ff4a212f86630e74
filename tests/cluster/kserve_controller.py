"""KServe's controller as far as status and traffic go, for tests: one look at an InferenceService per call.

Knative mode: a changed template becomes a new revision; the share goes to the newest that is ready, the rest
to the one that last had everything (`pkg/controller/v1beta1/inferenceservice/reconcilers/knative`). Standard
mode: a Deployment per predictor's name, weights by `trafficPercent` (kserve#5672).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

Ready = Callable[[str], bool]
"""Whether the artifact at this address loads."""


class Controller:
    """Remembers the revisions, or Deployments, of one InferenceService. `traffic` is by artifact."""

    def __init__(self, ready: Ready = lambda _: True) -> None:
        self.ready = ready
        self.traffic: dict[str, int] = {}
        self.started: list[str] = []
        self._revisions: list[str] = []
        self._running: dict[str, str] = {}

    def look(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """The document with the status as the controller would have written it."""
        seen = copy.deepcopy(dict(document))
        notes = seen["metadata"].get("annotations", {})
        if notes.get("serving.kserve.io/stop") == "true":
            self.traffic, self._running = {}, {}
            return seen
        standard = notes["serving.kserve.io/deploymentMode"] == "Standard"
        seen["status"] = self._standard(seen) if standard else self._knative(seen)
        return seen

    def _knative(self, seen: Mapping[str, Any]) -> dict[str, Any]:
        predictor = seen["spec"]["predictor"]
        status = seen.get("status", {}).get("components", {}).get("predictor", {})
        uri, percent = predictor["model"]["storageUri"], predictor.get("canaryTrafficPercent")
        if not self._revisions or self._revisions[-1] != uri:
            self._revisions.append(uri)
            self.started.append(uri)
        names = {f"pump-predictor-{place:05d}": one for place, one in enumerate(self._revisions, 1)}
        newest = list(names)[-1]
        latest = newest if self.ready(uri) else status.get("latestReadyRevision", "")
        rolled = status.get("latestRolledoutRevision", "")
        if percent is None or percent == 100 or not rolled:
            self.traffic = {names[latest]: 100} if latest else {}
            rolled = latest if latest == newest else rolled
        else:
            self.traffic = _sum((names[latest], percent), (names[rolled], 100 - percent))
        found = {
            "latestCreatedRevision": newest,
            "latestReadyRevision": latest,
            "latestRolledoutRevision": rolled,
        }
        parts = {"predictor": {key: value for key, value in found.items() if value}}
        return {"components": parts, "conditions": _conditions(bool(latest))}

    def _standard(self, seen: Mapping[str, Any]) -> dict[str, Any]:
        canaries = seen["spec"].get("canary") or []
        wanted = {one["name"]: one["model"]["storageUri"] for one in self._predictors(seen)}
        self.started += [uri for name, uri in wanted.items() if self._running.get(name) != uri]
        self._running = wanted
        stable = seen["spec"]["predictor"]["model"]["storageUri"]
        rest = 100 - sum(one["trafficPercent"] for one in canaries)
        shares = [(one["predictor"]["model"]["storageUri"], one["trafficPercent"]) for one in canaries]
        self.traffic = _sum((stable, rest), *shares)
        states = [
            {
                "name": one["predictor"]["name"],
                "ready": self.ready(one["predictor"]["model"]["storageUri"]),
                "trafficPercent": one["trafficPercent"],
            }
            for one in canaries
        ]
        conditions = {"conditions": _conditions(self.ready(stable))}
        return {"canaryStatuses": states, **conditions} if states else conditions

    def _predictors(self, seen: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        canaries = [one["predictor"] for one in seen["spec"].get("canary") or ()]
        return [seen["spec"]["predictor"], *canaries]


def _conditions(ready: bool) -> list[dict[str, str]]:
    status = "True" if ready else "False"
    return [{"type": one, "status": status} for one in ("PredictorReady", "IngressReady", "Ready")]


def _sum(*shares: tuple[str, int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for uri, percent in shares:
        if percent:
            found[uri] = found.get(uri, 0) + percent
    return found
