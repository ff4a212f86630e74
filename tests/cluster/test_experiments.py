"""Searches on a cluster: an Experiment per StartTuning, under plan-retraining's own token and Role."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from homeostat.eventing.errors import Reject, Retry
from homeostat.eventing.messages import StartTuning
from homeostat.functions.detector import Cause, Detector
from homeostat.infra.cluster.detectors import DetectorObjects
from homeostat.infra.cluster.executors import Cluster, bound
from homeostat.infra.cluster.experiments import Experiments
from homeostat.infra.cluster.inference_service import Options
from tests.cluster.api_server import ApiServer
from tests.cluster.callers import detector, objects
from tests.cluster.kinds import wrong
from tests.pipelines.katib import unknown

NOW = datetime(2026, 11, 24, 13, 0, tzinfo=UTC)
CAUSE = Cause(id="c", correlationid="c")
COMMAND = StartTuning(
    experiment="pump-tune-1",
    detector="pump",
    algorithm="isolation-forest",
    data=("s3://plant/pump/a.csv",),
    champion=None,
)


class Home:
    """plan-retraining's hands, as its ServiceAccount (or another one)."""

    def __init__(self, server: ApiServer, function: str = "plan-retraining", katib: bool = True) -> None:
        api = objects(server, function)
        self.server, self.detectors = server, DetectorObjects(api, function)
        self.experiments = Experiments(api, self.detectors.owner)
        cluster = Cluster(
            api, self.detectors, Options("knative"), experiments=self.experiments if katib else None
        )
        self.execute = bound(cluster)[StartTuning]

    def snapshot(self) -> Detector:
        found = self.detectors.snapshot("pump", NOW, CAUSE)
        assert found is not None
        return found[0]

    def carry_out(self, command: StartTuning = COMMAND) -> None:
        asyncio.run(self.execute(command, self.snapshot()))

    def experiment(self) -> dict[str, Any]:
        found = self.server.get("Experiment", "pump-tune-1")
        assert found is not None
        return found

    def says(self, *conditions: dict[str, Any]) -> tuple[str, str] | None:
        """How the search stands once Katib's controller has written this."""
        self.server.put({**self.experiment(), "status": {"conditions": list(conditions)}})
        return self.experiments.state("pump-tune-1")


@pytest.fixture
def home(server: ApiServer) -> Home:
    return Home(server)


def test_an_experiment_is_created_that_belongs_to_its_detector(home: Home) -> None:
    home.carry_out()
    written = home.experiment()
    assert wrong(written) == []
    fields = {key: value for key, value in written.items() if key != "metadata"}
    assert list(unknown(fields)) == []
    assert written["metadata"]["labels"]["homeostat.dev/detector"] == "pump"
    (owner,) = written["metadata"]["ownerReferences"]
    uid = (home.server.get("Detector", "pump") or {})["metadata"]["uid"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("Detector", "pump", uid)
    assert owner["controller"] is True


def test_the_same_command_again_is_the_same_search(home: Home) -> None:
    home.carry_out()
    before = home.experiment()
    home.carry_out()
    assert home.experiment() == before
    made = [one for one in home.server.calls if (one.verb, one.resource) == ("create", "experiments")]
    assert [one.code for one in made] == [200, 409]


def test_every_right_on_experiments_is_used_and_no_other(home: Home) -> None:
    home.carry_out()
    home.experiments.state("pump-tune-1")
    used = {one.verb for one in home.server.calls if one.resource == "experiments" and one.code < 300}
    assert used == {"create", "get"}
    assert not [one for one in home.server.calls if one.code == 403]


@pytest.mark.parametrize("function", ["finish-tuning", "judge-candidate", "roll-out"])
def test_no_other_function_may_search(server: ApiServer, function: str) -> None:
    with pytest.raises(Retry, match=r"grant the verb get on podtemplates"):
        Home(server, function).carry_out()


def test_a_search_of_a_detector_that_was_deleted_is_not_begun(home: Home) -> None:
    one = home.snapshot()
    home.server.objects = {key: doc for key, doc in home.server.objects.items() if doc["kind"] != "Detector"}
    home.detectors.snapshot("pump", NOW, CAUSE)
    asyncio.run(home.execute(COMMAND, one))
    assert home.server.get("Experiment", "pump-tune-1") is None


def test_without_katib_a_search_is_refused_with_its_mend(server: ApiServer) -> None:
    with pytest.raises(Reject, match=r"no Katib: install Katib .* set spec\.tuning\.when to never"):
        Home(server, katib=False).carry_out()


def test_a_search_that_katib_cannot_do_is_refused_with_its_mend(server: ApiServer) -> None:
    server.put(detector("pump", tuning={"algorithm": "hyperband"}))
    with pytest.raises(Reject, match=r"set spec\.tuning\.algorithm to tpe"):
        Home(server).carry_out()


def test_how_a_search_stands_is_katibs_last_word(home: Home) -> None:
    assert home.experiments.state("pump-tune-1") is None
    home.carry_out()
    assert home.experiments.state("pump-tune-1") == ("Running", "")
    created = {"type": "Created", "status": "True", "reason": "ExperimentCreated", "message": "created"}
    running = {"type": "Running", "status": "False", "reason": "ExperimentRunning", "message": "running"}
    assert home.says(created, {**running, "status": "True"}) == ("Running", "")
    failed = {"type": "Failed", "status": "True", "reason": "ExperimentFailed", "message": "has failed"}
    assert home.says(created, running, failed) == ("Failed", "ExperimentFailed: has failed")
    done = {"type": "Succeeded", "status": "True", "reason": "ExperimentGoalReached", "message": "well"}
    assert home.says(created, running, done) == ("Succeeded", "ExperimentGoalReached: well")
