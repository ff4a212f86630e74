"""A canary's readiness as the InferenceService's status tells it, in both modes."""

from __future__ import annotations

from typing import Any

import pytest

from homeostat.functions.detector import Revision
from homeostat.infra.cluster.inference_service import Desired, Options, merged, whole
from homeostat.infra.cluster.kserve import step
from homeostat.infra.cluster.readiness import Readiness, of_canary
from tests.cluster.kserve_controller import Controller

OLD, NEW = (
    Revision(name=f"pump-{name}", uri=f"s3://models/{name}", algorithm="forest", version="1")
    for name in ("old", "new")
)
FAILED = {
    "transitionStatus": "BlockedByFailedLoad",
    "lastFailureInfo": {"reason": "ModelLoadFailed", "message": "no such object"},
    "states": {"activeModelState": "Loaded", "targetModelState": "FailedToLoad"},
}
MODES = pytest.mark.parametrize(
    "options", [Options("knative"), Options("standard")], ids=lambda one: one.mode
)


def trial(options: Options, controller: Controller, looks: int = 6) -> dict[str, Any]:
    """The object after the controller and we looked at it in turn: NEW on trial beside OLD."""
    desired, now = Desired("pump", OLD, NEW, 5), None
    for _ in range(looks):
        change = step(desired, now, options).document
        if change is not None:
            now = merged(now, change) if now else whole(desired, change, options, {"uid": "u"})
        now = controller.look(now or {})
    assert now is not None
    return now


def last(now: dict[str, Any], options: Options, model: dict[str, Any]) -> dict[str, Any]:
    """With that `modelStatus`, where the mode has it."""
    status = now["status"]
    where = status if options.mode == "knative" else status["canaryStatuses"][0]
    where["modelStatus"] = model
    return now


@MODES
def test_a_canary_is_ready_once_its_own_revision_is(options: Options) -> None:
    slow = Controller(lambda uri: uri == OLD.uri)
    assert of_canary("pump", NEW, trial(options, slow), options) == Readiness(False)
    assert of_canary("pump", NEW, trial(options, Controller()), options) == Readiness(True)


@MODES
def test_that_another_revision_is_ready_or_failed_says_nothing_of_the_canary(options: Options) -> None:
    before = trial(options, Controller(), looks=1)
    if options.mode == "knative":
        before = last(before, options, FAILED)
    other = Revision(name="pump-other", uri="s3://models/other", algorithm="forest", version="1")
    assert of_canary("pump", other, before, options) == Readiness(False)
    assert of_canary("pump", NEW, None, options) == Readiness(False)


@MODES
def test_an_artifact_that_cannot_be_loaded_is_refused_in_kserves_words(options: Options) -> None:
    now = last(trial(options, Controller(lambda uri: uri == OLD.uri)), options, FAILED)
    assert of_canary("pump", NEW, now, options) == Readiness(False, "ModelLoadFailed: no such object")
    loading = {"transitionStatus": "InProgress", "states": {"activeModelState": "Loading"}}
    assert of_canary("pump", NEW, last(now, options, loading), options) == Readiness(False)


def test_the_first_canary_in_standard_mode_is_the_predictor_itself() -> None:
    options = Options("standard")
    desired = Desired("pump", None, NEW, 100)
    now: Any = whole(desired, step(desired, None, options).document or {}, options, {"uid": "u"})
    assert of_canary("pump", NEW, now, options) == Readiness(False)
    now = {**now, "status": {"conditions": [{"type": "PredictorReady", "status": "True"}]}}
    assert of_canary("pump", NEW, now, options) == Readiness(True)
    now["status"]["modelStatus"] = FAILED
    assert of_canary("pump", NEW, now, options).refused
