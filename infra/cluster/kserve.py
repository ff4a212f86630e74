"""What an InferenceService has to say so that a Detector's revisions serve as its status wants it, in both of
KServe's modes. Pure: the object as it is in, the next step out. A step never waits; where something has to
load first, it says so, and whoever asked comes again.

The record of the good revision is ours: its name and artifact in the Detector's status, and its Knative
revision in an annotation, written down while it alone served. KServe remembers one revision, and was wrong
about it more than once (kserve#1968, #2097, #2130).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from homeostat.functions.detector import Revision

from .client import Document
from .inference_service import (
    BEFORE,
    STABLE,
    STABLE_REVISION,
    STOP,
    Desired,
    Options,
    Step,
    annotation,
    begin,
    change,
    predictor,
    predictor_status,
    short,
    stopped,
    uri_of,
)


def step(desired: Desired, now: Document | None, options: Options) -> Step:
    """The next step from the object as it is."""
    first = desired.stable or desired.canary
    if first is None:
        # Not deleted: that is a right for which there is no other use. KServe takes the pods away.
        return change(now, {"metadata": {"annotations": {STOP: "true"}}}) if now else Step(None)
    plan = _knative if options.mode == "knative" else _standard
    return plan(desired, first, now, options)


# --- Knative mode: two Knative revisions of one template ----------------------------------------------------
def _knative(desired: Desired, first: Revision, now: Document | None, options: Options) -> Step:
    stable, canary = desired.stable, desired.canary
    if now is None or stopped(now):
        # A canary without a revision before it gets all traffic, whatever its share.
        waits = f"{first.name} loads first" if stable and canary else ""
        return begin(_template(now, first, options), waits)
    if stable is None:
        return change(now, _template(now, first, options))
    if canary is None:
        return _knative_stable(stable, now, options)
    if uri_of(now) == canary.uri and _recorded(now, stable):
        return change(now, _share(desired.percent))
    if _split(now) and _recorded(now, stable):
        return change(now, _template(now, canary, options, desired.percent))
    if uri_of(now) != stable.uri or _split(now):
        found = _knative_stable(stable, now, options)
        return Step(found.document, found.waits or f"{stable.name} loads first")
    rolled = predictor_status(now).get("latestRolledoutRevision")
    if not loaded(now) or rolled != predictor_status(now).get("latestReadyRevision"):
        return Step(None, f"{stable.name} is not rolled out yet")
    record = {STABLE: stable.name, STABLE_REVISION: str(rolled)}
    return change(now, _template(now, canary, options, desired.percent, record))


def _knative_stable(stable: Revision, now: Document, options: Options) -> Step:
    """Promotion, rollback, or nothing: one revision gets all traffic, once it is there."""
    split = _split(now)
    if uri_of(now) == stable.uri:
        if split and not loaded(now):
            return Step(None, f"{stable.name} is not ready for all traffic")
        return change(now, _share(None))
    if split and _recorded(now, stable):
        # At once, and nothing has to load: the template stays the canary's, with no traffic.
        return change(now, _share(0))
    # Without a share, Knative gives all to the newest that is ready: while there is a canary, to the canary.
    # So this one loads without traffic first.
    loading = _template(now, stable, options, 0 if split else None)
    return Step(change(now, loading).document, f"{stable.name} loads first" if split else "")


def _template(
    now: Document | None,
    revision: Revision,
    options: Options,
    percent: int | None = None,
    record: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The template of a new Knative revision."""
    newest = predictor_status(now).get("latestCreatedRevision", "") if now else ""
    changed = now is None or uri_of(now) != revision.uri
    notes = {**(record or {}), **({BEFORE: newest} if changed else {})}
    patch = _share(percent)
    patch["spec"]["predictor"] |= predictor(revision, options)
    return {**patch, "metadata": {"annotations": notes}}


def _share(percent: int | None) -> dict[str, Any]:
    return {"spec": {"predictor": {"canaryTrafficPercent": percent}}}


def _recorded(now: Document, stable: Revision) -> bool:
    """Whether what KServe takes for the last good revision is what we wrote down."""
    written = annotation(now, STABLE_REVISION)
    rolled = predictor_status(now).get("latestRolledoutRevision")
    return bool(written) and annotation(now, STABLE) == stable.name and rolled == written


def _split(now: Document) -> bool:
    return now["spec"]["predictor"].get("canaryTrafficPercent") is not None


def loaded(now: Document) -> bool:
    """Whether the template as it is now has become a revision, and that is ready."""
    status = predictor_status(now)
    newest = status.get("latestCreatedRevision")
    return bool(newest) and newest == status.get("latestReadyRevision") and newest != annotation(now, BEFORE)


# --- Standard mode: two Deployments, weights at the gateway -------------------------------------------------
def _standard(desired: Desired, stable: Revision, now: Document | None, options: Options) -> Step:
    canary = desired.canary if desired.stable else None
    name = short(desired.detector, stable)
    beside = [_entry(desired.detector, canary, desired.percent, options)] if canary else None
    whole = {"spec": {"predictor": {**predictor(stable, options), "name": name}, "canary": beside}}
    if now is None or stopped(now):
        return begin(whole)
    if desired.stable is None or now["spec"]["predictor"].get("name") == name:
        return change(now, whole)
    if not any(one["predictor"].get("name") == name for one in now["spec"].get("canary") or ()):
        # A predictor that is renamed to what does not run yet leaves nothing that serves.
        loading = {"spec": {"canary": [_entry(desired.detector, stable, 0, options)]}}
        return Step(change(now, loading).document, f"{stable.name} loads first")
    states = {one.get("name"): one for one in now.get("status", {}).get("canaryStatuses") or ()}
    if not states.get(name, {}).get("ready"):
        return Step(None, f"{stable.name} is not ready for all traffic")
    return change(now, whole)


def _entry(detector: str, revision: Revision, percent: int, options: Options) -> dict[str, Any]:
    named = {**predictor(revision, options), "name": short(detector, revision)}
    return {"trafficPercent": percent, "predictor": named}
