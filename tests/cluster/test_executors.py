"""What each command does to the cluster's objects, under its own function's token and Role."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeostat.eventing.errors import Reject, Retry
from homeostat.eventing.messages import COMMANDS, Promote, RollBack, ShiftTraffic, StartCanary
from homeostat.functions.detector import Canary, Cause, Revision, Status
from homeostat.infra.cluster.aliases import Aliases
from homeostat.infra.cluster.detectors import DetectorObjects
from homeostat.infra.cluster.executors import EXECUTORS, Cluster, bound
from homeostat.infra.cluster.inference_service import Desired, Options, merged, whole
from homeostat.infra.cluster.kserve import step
from tests.cluster.answers import Refused
from tests.cluster.api_server import ApiServer
from tests.cluster.audit import granted, used
from tests.cluster.callers import NAMESPACE, Server, detector, objects, roles
from tests.cluster.kserve_controller import Controller
from tests.cluster.sending import Unwelcome, apply

NOW = datetime(2026, 11, 24, 13, 0, tzinfo=UTC)
CAUSE = Cause(id="c", correlationid="c")
SINK = "http://broker-ingress.knative-eventing.svc.cluster.local/homeostat/default"
MODES = ("knative", "standard")


def model(name: str, version: str = "1") -> Revision:
    return Revision(name=f"pump-{name}", uri=f"s3://models/{name}", algorithm="forest", version=version)


OLD, NEW, NEXT = model("old"), model("new", "2"), model("next", "3")


class Told(Aliases):
    """Keeps what MLflow would be told: versions of the champion and the challenger."""

    def __init__(self, url: str, told: list[tuple[str | None, str | None]]) -> None:
        super().__init__(url)
        self._told = told

    def want(self, detector: str, champion: str | None, challenger: str | None) -> bool:
        self._told.append((champion, challenger))
        return False


class Home:
    """A Detector `pump`, the roll-out function's hands, and KServe's controller, over one API server."""

    def __init__(self, server: Server, mode: str) -> None:
        self.server, self.controller = server, Controller()
        api = objects(server, "roll-out")
        self.detectors = DetectorObjects(api, "roll-out")
        options = Options(mode, SINK)  # type: ignore[arg-type]
        self.told: list[tuple[str | None, str | None]] = []
        cluster = Cluster(api, self.detectors, options, aliases=Told("http://nowhere", self.told))
        self.execute = bound(cluster)
        self.seen: list[dict[str, int]] = []

    def status(self, stable: Revision | None, canary: Revision | None = None, percent: int = 0) -> None:
        trial = canary and Canary(
            revision=canary, percent=percent, started=NOW, step_started=NOW, cause=CAUSE
        )
        status = Status(serving=stable, canary=trial).model_dump(mode="json")
        self.server.put({**(self.server.get("Detector", "pump") or detector("pump")), "status": status})

    def carry_out(self, command: Any) -> None:
        """Once, as one delivery of its event does."""
        found = self.detectors.snapshot("pump", NOW, CAUSE)
        assert found is not None
        asyncio.run(self.execute[type(command)](command, found[0]))

    def look(self) -> None:
        """KServe's controller looks, and writes what it sees into the status."""
        service = self.server.get("InferenceService", "pump")
        if service:
            self.server.put(self.controller.look(service))
            self.seen.append(self.controller.traffic)

    def until_done(self, command: Any) -> dict[str, int]:
        """Redelivered until it is carried out, while the controller works; the traffic in the end."""
        for _ in range(8):
            try:
                self.carry_out(command)
            except Retry:
                self.look()
            else:
                self.look()
                return self.controller.traffic
        raise AssertionError("never carried out")

    def serve(self, revision: Revision) -> None:
        """The revision serves alone, as after its promotion."""
        self.status(None, revision, 100)
        self.until_done(canary(revision, 100))
        self.status(revision)
        assert self.until_done(promote(revision)) == {revision.uri: 100}

    def service(self) -> dict[str, Any]:
        found = self.server.get("InferenceService", "pump")
        assert found is not None
        return found


def canary(revision: Revision, percent: int) -> StartCanary:
    return StartCanary(detector="pump", revision=revision.name, uri=revision.uri, percent=percent)


def shift(revision: Revision, percent: int) -> ShiftTraffic:
    return ShiftTraffic(detector="pump", revision=revision.name, percent=percent)


def promote(revision: Revision) -> Promote:
    return Promote(detector="pump", revision=revision.name, uri=revision.uri)


def back(revision: Revision, to: Revision | None) -> RollBack:
    uri = to.uri if to else None
    return RollBack(detector="pump", revision=revision.name, restore=to.name if to else None, restore_uri=uri)


@pytest.fixture(params=MODES)
def home(cluster: Server, request: pytest.FixtureRequest) -> Home:
    return Home(cluster, request.param)


def test_every_command_has_an_executor_and_nothing_else_has() -> None:
    assert set(EXECUTORS) == set(COMMANDS)


def test_mlflow_is_told_what_serves_and_what_challenges_once_it_does(home: Home) -> None:
    home.serve(OLD)
    home.told.clear()
    home.status(OLD, NEW, 20)
    home.until_done(canary(NEW, 20))
    home.status(NEW)
    home.until_done(promote(NEW))
    home.status(NEW, NEXT, 20)
    home.until_done(canary(NEXT, 20))
    home.status(NEW)
    home.until_done(back(NEXT, NEW))
    assert home.told == [("1", "2"), ("2", None), ("2", "3"), ("2", None)]


# --- the story -------------------------------------------------------------------------------------------
def test_a_canary_gets_its_share_step_by_step_and_then_everything(home: Home) -> None:
    home.serve(OLD)
    home.status(OLD, NEW, 20)
    assert home.until_done(canary(NEW, 20)) == {OLD.uri: 80, NEW.uri: 20}
    home.status(OLD, NEW, 50)
    assert home.until_done(shift(NEW, 50)) == {OLD.uri: 50, NEW.uri: 50}
    home.status(NEW)
    assert home.until_done(promote(NEW)) == {NEW.uri: 100}
    assert home.controller.started == [OLD.uri, NEW.uri], "a promotion restarts nothing"


def test_a_canary_that_is_rolled_back_loses_its_traffic_at_once(home: Home) -> None:
    home.serve(OLD)
    home.status(OLD, NEW, 20)
    home.until_done(canary(NEW, 20))
    home.status(OLD)
    home.carry_out(back(NEW, OLD))
    home.look()
    assert home.controller.traffic == {OLD.uri: 100}
    assert home.controller.started == [OLD.uri, NEW.uri], "the good one was never taken away"
    home.status(OLD, NEXT, 5)
    assert home.until_done(canary(NEXT, 5)) == {OLD.uri: 95, NEXT.uri: 5}


def test_the_revision_before_comes_back_once_it_has_loaded(home: Home) -> None:
    home.serve(OLD)
    home.status(OLD, NEW, 20)
    home.until_done(canary(NEW, 20))
    home.status(NEW)
    home.until_done(promote(NEW))
    home.status(OLD)
    home.controller.ready = lambda uri: uri != OLD.uri
    for _ in range(3):
        with contextlib.suppress(Retry):
            home.carry_out(back(NEW, OLD))
        home.look()
        assert home.controller.traffic == {NEW.uri: 100}, "what serves goes on until its successor is there"
    home.controller.ready = lambda _: True
    home.look()
    assert home.until_done(back(NEW, OLD)) == {OLD.uri: 100}


def test_a_rollback_during_a_canary_to_the_revision_before_never_favours_the_canary(home: Home) -> None:
    home.serve(OLD)
    home.status(OLD, NEW, 50)
    home.until_done(canary(NEW, 50))
    home.seen.clear()
    home.status(NEXT)
    assert home.until_done(back(NEW, NEXT)) == {NEXT.uri: 100}
    assert all(one.get(NEW.uri, 0) <= 50 for one in home.seen)


def test_the_first_canary_takes_all_traffic_and_is_stopped_when_nothing_can_be_restored(home: Home) -> None:
    home.status(None, OLD, 100)
    assert home.until_done(canary(OLD, 100)) == {OLD.uri: 100}
    home.status(None)
    assert home.until_done(back(OLD, None)) == {}
    home.status(None, NEW, 100)
    assert home.until_done(canary(NEW, 100)) == {NEW.uri: 100}


# --- whatever happens in between -------------------------------------------------------------------------
def test_the_same_command_again_writes_nothing(home: Home) -> None:
    home.serve(OLD)
    home.status(OLD, NEW, 20)
    home.until_done(canary(NEW, 20))
    before = home.service()["metadata"]["resourceVersion"]
    home.carry_out(canary(NEW, 20))
    assert home.service()["metadata"]["resourceVersion"] == before


def test_a_promotion_that_comes_late_does_not_undo_the_rollback_after_it(home: Home) -> None:
    home.serve(OLD)
    home.status(OLD, NEW, 20)
    home.until_done(canary(NEW, 20))
    home.status(OLD)
    home.until_done(back(NEW, OLD))
    assert home.until_done(promote(NEW)) == {OLD.uri: 100}


def test_a_service_deleted_under_a_canary_comes_back_with_the_stable_one_first(home: Home) -> None:
    home.serve(OLD)
    home.status(OLD, NEW, 20)
    home.until_done(canary(NEW, 20))
    home.server.remove("InferenceService", "pump")
    home.controller = Controller()
    assert home.until_done(shift(NEW, 20)) == {OLD.uri: 80, NEW.uri: 20}
    assert home.controller.started[0] == OLD.uri


def test_a_canary_waits_until_the_stable_one_has_everything(cluster: Server) -> None:
    """Without one that is rolled out, KServe gives a canary all traffic, whatever its share."""
    home = Home(cluster, "knative")
    home.controller.ready = lambda _: False
    home.status(OLD, NEW, 5)
    for _ in range(3):
        with pytest.raises(Retry, match="pump-old"):
            home.carry_out(canary(NEW, 5))
        home.look()
    assert home.controller.started == [OLD.uri]


def test_a_deleted_detector_leaves_nothing_to_do(home: Home) -> None:
    home.status(OLD)
    found = home.detectors.snapshot("pump", NOW, CAUSE)
    assert found is not None
    home.server.remove("Detector", "pump")
    asyncio.run(home.execute[Promote](promote(OLD), found[0]))
    assert home.server.get("InferenceService", "pump") is None


@pytest.mark.parametrize("mode", MODES)
def test_a_change_by_somebody_else_is_looked_at_again(server: ApiServer, mode: str) -> None:
    home = Home(server, mode)
    home.serve(OLD)
    home.status(OLD, NEW, 20)
    conflict = Refused(409, "Conflict", "the object has been modified", name="pump")
    real = server._do
    refused: list[str] = []

    def once(verb: str, *rest: Any) -> Any:
        if verb == "patch" and not refused:
            refused.append(verb)
            raise conflict
        return real(verb, *rest)

    server._do = once  # type: ignore[method-assign]
    try:
        assert home.until_done(canary(NEW, 20)) == {OLD.uri: 80, NEW.uri: 20}
    finally:
        server._do = real  # type: ignore[method-assign]
    assert refused == ["patch"]


# --- what is written -------------------------------------------------------------------------------------
def test_the_object_says_whose_it_is_how_it_serves_and_where_payloads_go(home: Home) -> None:
    home.serve(OLD)
    written = home.service()
    (owner,) = written["metadata"]["ownerReferences"]
    uid = (home.server.get("Detector", "pump") or {})["metadata"]["uid"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("Detector", "pump", uid)
    predictor = written["spec"]["predictor"]
    assert predictor["logger"] == {"mode": "all", "url": SINK}
    assert predictor["model"]["storageUri"] == OLD.uri
    assert predictor["minReplicas"] == 1
    mode = written["metadata"]["annotations"]["serving.kserve.io/deploymentMode"]
    assert (mode == "Standard") == (predictor.get("name") == "old")


def test_each_mode_writes_its_own_canary_field_and_never_the_other_ones(home: Home) -> None:
    home.serve(OLD)
    home.status(OLD, NEW, 20)
    home.until_done(canary(NEW, 20))
    spec = home.service()["spec"]
    standard = home.service()["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] == "Standard"
    assert ("canary" in spec) == standard
    assert ("canaryTrafficPercent" in spec["predictor"]) == (not standard)


def test_the_api_refuses_a_canary_whose_model_is_not_named(cluster: Server) -> None:
    """That the tests' server is as strict as the real one where KServe is surprising."""
    desired = Desired("pump", OLD, NEW, 20)
    first = step(desired, None, Options("standard"))
    owner = {"apiVersion": "v1", "kind": "X", "name": "x", "uid": "u"}
    document = whole(desired, first.document or {}, Options("standard"), owner)
    del document["spec"]["canary"][0]["predictor"]["model"]["name"]
    with cluster.http(cluster.admin) as http, pytest.raises(Unwelcome, match=r"model.*name.*[Rr]equired"):
        apply(http, {**document, "metadata": {**document["metadata"], "namespace": NAMESPACE}})


@pytest.mark.parametrize("name", ["7pump", "pump"])
def test_names_that_kserve_takes_not_are_refused_before_it_does(name: str) -> None:
    revision = Revision(name=f"{name}-{'x' * 60}", uri="s3://m", algorithm="a", version="1")
    faults = list(Desired(name, None, revision, 100).faults())
    assert [one.field for one in faults] == (["detector"] if name == "7pump" else []) + ["revision"]


def test_a_run_is_called_by_figures_and_its_predictor_begins_with_a_letter(home: Home) -> None:
    """KServe refuses `53d3265036`, which every other run may be called."""
    figures = model("53d3265036")
    home.serve(OLD)
    home.status(OLD, figures, 20)
    assert home.until_done(canary(figures, 20)) == {OLD.uri: 80, figures.uri: 20}
    home.status(figures)
    assert home.until_done(promote(figures)) == {figures.uri: 100}


# --- rights ----------------------------------------------------------------------------------------------
def test_every_right_of_roll_out_is_used_and_no_other(home: Home) -> None:
    home.serve(OLD)
    home.status(OLD, NEW, 20)
    home.until_done(canary(NEW, 20))
    home.detectors.names()
    calls = home.server.calls
    deciding = {("update", "homeostat.dev", "detectors/status")}
    assert used(calls, "roll-out") == granted(roles(), "roll-out") - deciding
    assert not [one for one in calls if one.code == 403]


def test_another_functions_token_may_not_touch_what_serves(cluster: Server) -> None:
    home = Home(cluster, "knative")
    home.status(OLD)
    api = objects(cluster, "plan-retraining")
    execute = bound(Cluster(api, DetectorObjects(api), Options("knative")))
    found = home.detectors.snapshot("pump", NOW, CAUSE)
    assert found is not None
    with pytest.raises(Retry, match=r"grant the verb get on inferenceservices\.serving\.kserve\.io"):
        asyncio.run(execute[Promote](promote(OLD), found[0]))


def test_what_the_schema_refuses_is_rejected_with_its_field(cluster: Server) -> None:
    home = Home(cluster, "knative")
    home.status(OLD)
    api = objects(cluster, "roll-out")
    wrong = Options("knative", sink=7)  # type: ignore[arg-type]
    execute = bound(Cluster(api, DetectorObjects(api), wrong))
    found = home.detectors.snapshot("pump", NOW, CAUSE)
    assert found is not None
    with pytest.raises(Reject, match=r"spec\.predictor\.logger\.url is refused in create inferenceservices"):
        asyncio.run(execute[Promote](promote(OLD), found[0]))


# --- the steps alone, whatever the order -----------------------------------------------------------------
MODELS = st.sampled_from([OLD, NEW, NEXT])
WISHES = st.tuples(st.none() | MODELS, st.none() | MODELS, st.sampled_from([5, 50])).filter(
    lambda one: one[0] != one[1] or one[0] is None
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(MODES), st.lists(st.tuples(WISHES, st.integers(0, 3)), min_size=1, max_size=6))
def test_whatever_was_wished_before_the_last_wish_comes_true(mode: Any, wishes: list[Any]) -> None:
    options, controller, now = Options(mode, SINK), Controller(), None
    for (stable, trial, percent), looks in [*wishes, (wishes[-1][0], 8)]:
        desired = Desired("pump", stable, trial, percent)
        for _ in range(looks):
            found = step(desired, now, options)
            if found.document is not None and now is None:
                now = whole(desired, found.document, options, {"uid": "u"})
            elif found.document is not None:
                now = merged(now, found.document)
            now = controller.look(now) if now else None
    if stable and trial:
        expected = {stable.uri: 100 - percent, trial.uri: percent}
    else:
        alone = stable or trial
        expected = {alone.uri: 100} if alone else {}
    assert controller.traffic == expected
    assert step(desired, now, options).document is None, "and nothing is left to write"
