"""Whatever happens, in whatever order: one run at a time, within its budget, and no wish is ever lost."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from homeostat.eventing.messages import (
    ApprovalGiven,
    DataLanded,
    ExperimentChanged,
    InferenceRequest,
    RollbackRequested,
    TrainingFailed,
    TrainingRequested,
    TuningRequested,
)
from homeostat.functions.canary import CanaryFacts
from homeostat.functions.detect_drift import DriftFacts, DriftVerdict
from homeostat.functions.detector import RevisionFigures
from tests.functions.detectors import HOUR, MINUTE, added, batch, completed, figures, spec
from tests.functions.loop import Loop

WAITS = st.sampled_from([timedelta(seconds=1), MINUTE, 11 * MINUTE, HOUR, 3 * HOUR])
PLACES = st.integers(0, 7)
SEEN = st.sampled_from(["measured", "unmeasured", "not ready"])


class Life(RuleBasedStateMachine):
    """A detector's life, with events that come late, twice or never."""

    @initialize(mode=st.sampled_from(["act", "suggest"]), debounce=st.sampled_from(["0", "30s"]))
    def begin(self, mode: Literal["act", "suggest"], debounce: str) -> None:
        retrain = {"min_new_rows": 100, "min_drift_rows": 50, "budget_per_day": 3, "debounce": debounce}
        canary = {"steps": [50], "min_requests": 10}
        tuning = {"when": "drift-persists", "timeout": "1h"}
        self.loop = Loop(spec(mode, retrain=retrain, canary=canary, drift={"consecutive": 2}, tuning=tuning))
        self.landed = 0
        self.counters = RevisionFigures()

    # --- the world -----------------------------------------------------------------------------------------
    @rule(rows=st.integers(1, 150))
    def rows_land(self, rows: int) -> None:
        self.landed += 1
        arrived = batch(f"{self.landed}.csv", rows, landed=self.loop.now)
        self.loop.handle("receive-data", DataLanded(uri=arrived.uri), arrived)

    @rule(drifted=st.booleans())
    def the_drift_test_speaks(self, drifted: bool) -> None:
        serving = self.loop.status.serving
        verdict = DriftVerdict(test="mmd", statistic=0.4, threshold=0.1, p_value=None, drifted=drifted)
        facts = DriftFacts(serving.name if serving else "?", 500, (verdict,))
        self.loop.handle("detect-drift", InferenceRequest(), facts)

    @rule(force=st.booleans())
    def people_want_a_training(self, force: bool) -> None:
        self.loop.post(TrainingRequested(force=force))

    @rule(force=st.booleans())
    def people_want_better_parameters(self, force: bool) -> None:
        self.loop.post(TuningRequested(force=force))

    @rule()
    def people_want_the_last_revision_back(self) -> None:
        self.loop.post(RollbackRequested())

    @precondition(lambda self: self.loop.status.held)
    @rule(place=PLACES)
    def people_approve(self, place: int) -> None:
        held = self.loop.status.held
        self.loop.post(ApprovalGiven(approves=held[place % len(held)].id))

    @precondition(lambda self: self.loop.running)
    @rule(end=st.sampled_from(["good", "bad", "failed", "silent"]))
    def a_run_ends(self, end: str) -> None:
        name, _ = self.loop.running.popitem()
        if end == "failed":
            self.loop.post(TrainingFailed(run=name, error="out of memory"))
        if end in ("good", "bad"):
            self.loop.post(completed(name, **({"metrics": {}} if end == "bad" else {})))

    @precondition(lambda self: self.loop.searching)
    @rule(end=st.sampled_from(["Succeeded", "Failed", "unmeasured", "silent"]))
    def a_search_ends(self, end: str) -> None:
        name, _ = self.loop.searching.popitem()
        if end != "silent":
            self.loop.post(_ended(name, end))

    @rule(requests=st.integers(1, 40), broken=st.booleans())
    def requests_come(self, requests: int, broken: bool) -> None:
        gained = figures(requests, errors=requests if broken else 0)
        self.loop.seen = added(self.loop.seen, gained)
        self.counters = added(self.counters, figures(10 * requests))

    # --- deliveries ----------------------------------------------------------------------------------------
    @precondition(lambda self: self.loop.pending)
    @rule(place=PLACES, seen=SEEN)
    def an_event_arrives(self, place: int, seen: str) -> None:
        self.loop.deliver(place, self.facts(seen))

    @precondition(lambda self: self.loop.pending)
    @rule(place=PLACES, seen=SEEN)
    def an_event_is_told_twice(self, place: int, seen: str) -> None:
        self.loop.deliver(place, self.facts(seen), keep=True)

    @rule(wait=WAITS, seen=SEEN, order=st.sampled_from([1, -1]), asked=st.booleans())
    def time_passes(self, wait: timedelta, seen: str, order: int, asked: bool = True) -> None:
        self.loop.now += wait
        self.loop.tick(self.facts(seen), order, asked)

    def facts(self, seen: str) -> CanaryFacts:
        known = seen == "measured"
        return CanaryFacts(
            ready=seen != "not ready",
            canary=self.loop.seen if known else None,
            stable=self.counters if known else None,
        )

    # --- the end -------------------------------------------------------------------------------------------
    def settle(self) -> None:
        """Everything arrives, runs end, traffic flows, people approve, and time passes."""
        for _ in range(200):
            loop = self.loop
            while loop.pending:
                loop.deliver(0, self.facts("measured"))
            if loop.running:
                loop.post(completed(loop.running.popitem()[0]))
            if loop.searching:
                loop.post(_ended(loop.searching.popitem()[0], "Succeeded"))
            if loop.status.held:
                loop.post(ApprovalGiven(approves=loop.status.held[0].id))
            if not (loop.pending or loop.status.waiting or loop.busy):
                return
            self.requests_come(20, broken=False)
            self.time_passes(20 * MINUTE, "measured", 1)
        raise AssertionError(f"the loop does not come to rest: {self.loop.status.message}")

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        for _ in range(2):
            self.rows_land(60)
        self.settle()
        self.expect_a_training("a request by hand", self.people_want_a_training, False)
        for _ in range(2):
            self.rows_land(60)
        self.expect_a_training("new rows", lambda: None)
        if self.loop.status.serving:
            self.expect_a_training("drift", self.drift_persists)

    def drift_persists(self) -> None:
        self.rows_land(60)
        for _ in range(3):
            self.the_drift_test_speaks(True)

    def expect_a_training(self, why: str, cause: Any, *arguments: Any) -> None:
        before = len(self.loop.started)
        cause(*arguments)
        self.settle()
        assert len(self.loop.started) > before, f"{why} led to nothing"


def _ended(name: str, end: str) -> ExperimentChanged:
    """An Experiment as Katib leaves it."""
    best = {"parameterAssignments": [{"name": "trees", "value": "50"}]}
    status = {
        "conditions": [{"type": "Failed" if end == "Failed" else "Succeeded", "status": "True"}],
        "currentOptimalTrial": best if end == "Succeeded" else {},
    }
    return ExperimentChanged(experiment={"kind": "Experiment", "metadata": {"name": name}, "status": status})


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
