"""Detectors as custom resources, through the real client, against an API with RBAC, schemas and versions."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from homeostat.eventing import codec
from homeostat.eventing.errors import Reject, Retry
from homeostat.eventing.messages import DriftDetected, Promote, TrainingRequested
from homeostat.eventing.wire import WireEvent
from homeostat.functions.detector import Batch, Cause, Detector, Revision, Status
from homeostat.functions.spec import Spec
from homeostat.infra.cluster import claims
from homeostat.infra.cluster.detectors import BYTES, DetectorObjects
from homeostat.infra.outcome import Claim, Outcome
from homeostat.infra.trouble import REJECTED, Trouble
from tests.cluster.answers import Refused
from tests.cluster.api_server import ApiServer
from tests.cluster.callers import PATIENCE, detector, objects, roles

NOW = datetime(2026, 11, 24, 13, 0, tzinfo=UTC)
CAUSE = Cause(id="c", correlationid="c")
SPEC = Spec.model_validate({"data": {"uri": "s3://plant/pump/", "channels": ["a"]}})
MODEL = Revision(name="pump-1", uri="s3://models/pump-1", algorithm="isolation-forest", version="1")
PROMOTE = Promote(detector="pump", revision="pump-1", uri="s3://models/pump-1")


def of(server: ApiServer, function: str = "roll-out") -> DetectorObjects:
    return DetectorObjects(objects(server, function), function)


def seen(detectors: DetectorObjects) -> tuple[Detector, int]:
    found = detectors.snapshot("pump", NOW, CAUSE)
    assert found is not None
    return found


def outcome(of_detector: Detector, *commands: Promote, events: tuple[WireEvent, ...] = ()) -> Outcome:
    return Outcome(of_detector, list(commands), list(events))


def wire(event: Any, id: str = "e", subject: str = "pump") -> WireEvent:
    return codec.announce(event, id=id, source="/t", subject=subject, cause=CAUSE, now=NOW)


# --- snapshot and commit ---------------------------------------------------------------------------------
def test_a_status_and_its_claim_are_one_write_and_read_back_as_they_were(server: ApiServer) -> None:
    detectors = of(server)
    found, version = seen(detectors)
    status = Status(serving=MODEL, message="pump-1 promoted", batches=(batch(),))
    led_to = outcome(found.model_copy(update={"status": status}), PROMOTE, events=(wire(drift()),))
    server.calls.clear()
    assert detectors.commit("pump", version, status, "k e y roll-out", led_to)
    assert server.said("roll-out") == [("update", "detectors/status", "pump", 200)]
    assert seen(detectors)[0].status == status
    claimed = detectors.claimed("pump", "k e y roll-out")
    assert claimed is not None
    assert claimed.outcome is not None
    assert (claimed.outcome.commands, claimed.outcome.events) == ([PROMOTE], [wire(drift())])
    assert claimed.outcome.detector.spec == SPEC
    assert claimed.outcome.detector.status.serving == MODEL


def batch() -> Batch:
    return Batch(uri="s3://plant/pump/a.csv", etag="e", rows=90_000, landed=NOW)


def drift() -> DriftDetected:
    return DriftDetected(
        test="mmd", statistic=1.0, threshold=0.5, consecutive=3, window=500, revision="pump-1"
    )


def test_people_read_phase_ready_and_the_last_drift_beside_the_status(server: ApiServer) -> None:
    detectors = of(server)
    found, version = seen(detectors)
    status = Status(serving=MODEL, message="promoted")
    assert detectors.commit(
        "pump", version, status, "1 detect-drift", outcome(found, events=(wire(drift()),))
    )
    kept = stored(server)
    assert (kept["phase"], kept["last_drift"]) == ("Serving", "2026-11-24T13:00:00Z")
    (ready,) = kept["conditions"]
    assert (ready["type"], ready["status"], ready["message"]) == ("Ready", "True", "promoted")
    found, version = seen(detectors)
    assert detectors.commit("pump", version, Status(serving=MODEL), "2 roll-out", outcome(found))
    assert stored(server)["last_drift"] == "2026-11-24T13:00:00Z"


def stored(server: ApiServer) -> dict[str, Any]:
    found = server.get("Detector", "pump")
    assert found is not None
    return dict(found["status"])


def test_whoever_is_slower_is_told_and_has_changed_nothing(server: ApiServer) -> None:
    fast, slow = of(server), of(server)
    (found, version), (same, too) = seen(fast), seen(slow)
    assert fast.commit("pump", version, Status(new_rows=1), "1 roll-out", outcome(found))
    assert not slow.commit("pump", too, Status(new_rows=2), "2 roll-out", outcome(same))
    assert stored(server)["new_rows"] == 1
    assert slow.claimed("pump", "2 roll-out") is None
    assert slow.claimed("pump", "1 roll-out") == Claim(None)


def test_an_owner_who_changes_the_spec_meanwhile_is_not_decided_over(server: ApiServer) -> None:
    detectors, owner = of(server), DetectorObjects(objects(server, None))
    found, version = seen(detectors)
    assert owner.apply("pump", SPEC.model_copy(update={"mode": "suggest"})) == "changed"
    assert not detectors.commit("pump", version, Status(new_rows=1), "1 roll-out", outcome(found))
    assert seen(detectors)[0].spec.mode == "suggest"


def test_a_status_written_between_an_answer_and_its_loss_is_found_as_the_own_claim(server: ApiServer) -> None:
    """The API server stores and its answer is lost: the repetition is a conflict, and the claim is there."""
    detectors = of(server)
    found, version = seen(detectors)
    assert detectors.commit("pump", version, Status(new_rows=1), "1 roll-out", outcome(found, PROMOTE))
    assert not of(server).commit("pump", version, Status(new_rows=1), "1 roll-out", outcome(found, PROMOTE))
    claimed = detectors.claimed("pump", "1 roll-out")
    assert claimed is not None
    assert claimed.outcome is not None


def test_a_spec_is_created_changed_and_left_alone(server: ApiServer) -> None:
    owner = DetectorObjects(objects(server, None))
    assert owner.apply("fan-3", SPEC) == "created"
    assert owner.apply("fan-3", SPEC) == "unchanged"
    assert owner.apply("fan-3", SPEC.model_copy(update={"mode": "suggest"})) == "changed"
    assert owner.names() == ["fan-3", "pump"]
    fan = server.get("Detector", "fan-3")
    assert fan is not None
    assert set(fan["spec"]) <= {"data", "mode"}, "defaults are the models', not stored"


def test_a_detector_that_is_not_there_is_none_and_one_that_is_not_ours_is_refused(server: ApiServer) -> None:
    detectors = of(server)
    assert detectors.snapshot("nobody", NOW, CAUSE) is None
    assert detectors.claimed("nobody", "k roll-out") is None
    detectors.carried_out("nobody", "k roll-out", NOW)
    wrong = detector("pump")
    # Valid by schema: only a CEL rule and the model say more.
    wrong["spec"]["features"] = {"baseline": 1}
    server.put(wrong)
    with pytest.raises(Reject, match=r"spec\.features\.baseline"):
        detectors.snapshot("pump", NOW, CAUSE)


# --- claims ----------------------------------------------------------------------------------------------
def test_an_outcome_stays_until_it_is_carried_out_and_its_mark_after(server: ApiServer) -> None:
    detectors = of(server)
    found, version = seen(detectors)
    assert detectors.commit("pump", version, found.status, "a b roll-out", outcome(found, PROMOTE))
    ((name, key, open_one),) = detectors.unfinished()
    assert (name, open_one.commands) == ("pump", [PROMOTE])
    detectors.carried_out(name, key, NOW)
    assert detectors.unfinished() == []
    assert detectors.claimed("pump", "a b roll-out") == Claim(None)
    before = len(server.calls)
    detectors.carried_out(name, key, NOW)
    assert [one.verb for one in server.calls[before:]] == ["get"], "twice is once"


def test_a_function_finishes_only_what_itself_decided(server: ApiServer) -> None:
    detectors = of(server)
    found, version = seen(detectors)
    assert detectors.commit("pump", version, found.status, "a plan-retraining", outcome(found, PROMOTE))
    assert detectors.unfinished() == []
    assert [one[0] for one in of(server, "plan-retraining").unfinished()] == ["pump"]


def test_marks_are_bounded_and_the_oldest_goes_first(server: ApiServer) -> None:
    found, _ = seen(of(server))
    kept = claims.Claims()
    for number in range(claims.RECENT + 3):
        kept = kept.adding(f"{number} roll-out", outcome(found))
    assert len(kept.recent) == claims.RECENT
    assert kept.find("2 roll-out") is None
    assert kept.find("3 roll-out") == Claim(None)


def test_too_many_decisions_in_the_air_make_new_ones_wait(server: ApiServer) -> None:
    found, _ = seen(of(server))
    kept = claims.Claims()
    for number in range(claims.OPEN):
        kept = kept.adding(f"{number} roll-out", outcome(found, PROMOTE))
    with pytest.raises(Retry, match="roll-out"):
        kept.adding("one more roll-out", outcome(found, PROMOTE))
    kept.adding("one more roll-out", outcome(found))


def test_a_decision_that_was_refused_for_good_makes_room_for_a_new_one(server: ApiServer) -> None:
    found, _ = seen(of(server))
    kept = claims.Claims()
    for number in range(claims.OPEN):
        kept = kept.adding(f"{number} roll-out", outcome(found, PROMOTE))
    kept = kept.hindered("3 roll-out", Trouble(REJECTED, "no such kind", NOW))
    kept = kept.adding("one more roll-out", outcome(found, PROMOTE))
    assert kept.find("one more roll-out") is not None
    assert kept.find("3 roll-out") is None, "redriven, it is decided anew"
    assert kept.find("2 roll-out") is not None


def test_an_object_that_etcd_would_refuse_is_never_sent(server: ApiServer) -> None:
    detectors = of(server)
    found, version = seen(detectors)
    with pytest.raises(Retry, match="bytes"):
        detectors.commit("pump", version, Status(message="x" * 1_100_000), "1 roll-out", outcome(found))
    assert "status" not in (server.get("Detector", "pump") or {})


def test_of_a_detector_that_hardly_fits_history_goes_before_marks(server: ApiServer) -> None:
    detectors = of(server)
    for number in range(40):
        found, version = seen(detectors)
        led_to = replace(outcome(found), woke=wire(TrainingRequested(), f"e{number}"))
        assert detectors.commit("pump", version, Status(), f"{number} roll-out", led_to)
    assert len(stored(server)["history"]) == 40
    found, version = seen(detectors)
    size = len(orjson.dumps(server.get("Detector", "pump")))
    too_much = Status(message="x" * (BYTES - size + 1000))
    assert detectors.commit("pump", version, too_much, "40 roll-out", outcome(found))
    assert len(stored(server)["history"]) < 40
    assert len(stored(server)["claims"]["recent"]) == 41


def test_what_had_kept_us_is_stated_even_if_a_twin_was_faster_in_the_end(server: ApiServer) -> None:
    detectors = of(server)
    found, version = seen(detectors)
    assert detectors.commit("pump", version, found.status, "a roll-out", outcome(found, PROMOTE))
    assert of(server).carried_out("pump", "a roll-out", NOW) is None
    assert detectors.carried_out("pump", "a roll-out", NOW, Trouble("Timeout", "slow", NOW)) is None
    stated = {one["type"]: one["reason"] for one in stored(server)["conditions"]}
    assert stated == {"Ready": "Waiting", "Reachable": "Recovered"}


# --- rights and troubles ---------------------------------------------------------------------------------
def test_a_missing_right_is_named_with_its_object_and_verb(server: ApiServer) -> None:
    detectors = DetectorObjects(objects(server, "nobody"))
    with pytest.raises(Retry) as refused:
        detectors.snapshot("pump", NOW, CAUSE)
    text = str(refused.value)
    assert "cannot get detectors.homeostat.dev pump in homeostat" in text
    assert "grant the verb get on detectors.homeostat.dev" in text
    assert "system:serviceaccount:homeostat:nobody" in text


def test_a_function_may_write_the_status_and_never_the_spec(server: ApiServer) -> None:
    with pytest.raises(Retry, match=r"grant the verb update on detectors\.homeostat\.dev"):
        of(server).apply("pump", SPEC.model_copy(update={"mode": "suggest"}))


@pytest.mark.parametrize("code", [429, 500, 503, 504])
def test_what_passes_is_tried_again_in_a_moment(server: ApiServer, code: int) -> None:
    server.troubles += [Refused(code, "", "busy", headers={"Retry-After": "1"})] * 2
    assert seen(of(server))[0].name == "pump"
    assert [one.code for one in server.calls] == [code, code, 200]


def test_what_does_not_pass_ends_as_retry_with_the_last_reason(server: ApiServer) -> None:
    server.troubles += [Refused(500, "", "etcd is away")] * 9
    with pytest.raises(Retry, match=r"cannot get detectors\.homeostat\.dev pump in homeostat: 500 .*away"):
        seen(of(server))
    assert len(server.calls) == PATIENCE.attempts


def test_an_expired_token_is_waited_for(server: ApiServer) -> None:
    detectors = of(server)
    server.accounts.clear()
    with pytest.raises(Retry, match="renewed"):
        seen(detectors)


def test_a_server_that_is_away_is_retry(server: ApiServer) -> None:
    nowhere = ApiServer(url="http://127.0.0.1:9")
    with pytest.raises(Retry, match="no answer"):
        DetectorObjects(objects(nowhere, "roll-out")).names()


def test_a_cluster_without_our_crd_says_so_and_does_not_call_detectors_unknown(server: ApiServer) -> None:
    server.troubles.append(Refused(404, "NotFound", "the server could not find the requested resource"))
    with pytest.raises(Retry, match="no such kind"):
        seen(of(server))


# --- under the shell -------------------------------------------------------------------------------------
def test_every_right_on_detectors_is_granted_and_used(
    server: ApiServer,
) -> None:
    detectors = of(server)
    found, version = seen(detectors)
    detectors.commit("pump", version, found.status, "1 roll-out", outcome(found, PROMOTE))
    detectors.names()
    used = {(one.verb, one.resource) for one in server.calls if one.code == 200}
    granted = {
        (verb, resource)
        for role in roles()
        if (role["kind"], role["metadata"]["name"]) == ("Role", "roll-out")
        for rule in role["rules"]
        if "homeostat.dev" in rule["apiGroups"]
        for verb in rule["verbs"]
        for resource in rule["resources"]
    }
    assert used == granted
