"""A shell in memory for the properties of the whole loop.

It applies what decisions remember, keeps the events that they emit until a test delivers them, in any order,
and checks every step against what must always hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from homeostat.eventing.messages import (
    COMMANDS,
    EVENTS,
    CanaryTick,
    Command,
    Event,
    Promote,
    RollBack,
    ShiftTraffic,
    StartCanary,
    StartTraining,
    StartTuning,
    TrainingRequested,
    TuningCompleted,
    TuningRequested,
)
from homeostat.functions import FUNCTIONS, wakes_on
from homeostat.functions.canary import CanaryFacts
from homeostat.functions.detector import Detector, Message, Remember, RevisionFigures, Status
from homeostat.functions.spec import Spec
from homeostat.functions.work import State, WorkFacts
from tests.functions.detectors import NOON, cause

DAY = timedelta(days=1)


@dataclass
class Router:
    """What the commands made of serving; it must always agree with the status."""

    stable: str | None = None
    canary: str | None = None
    percent: int = 0

    def obey(self, command: Command) -> None:
        match command:
            case StartCanary():
                assert self.canary is None, "two canaries at a time"
                self.canary, self.percent = command.revision, command.percent
            case ShiftTraffic():
                assert self.canary == command.revision
                assert command.percent > self.percent
                self.percent = command.percent
            case Promote():
                assert self.canary == command.revision
                self.stable, self.canary, self.percent = command.revision, None, 0
            case RollBack():
                if self.canary == command.revision:
                    self.canary, self.percent = None, 0
                self.stable = command.restore
            case StartTraining() | StartTuning():
                pass


@dataclass
class Loop:
    spec: Spec
    now: datetime = NOON
    status: Status = field(default_factory=Status)
    router: Router = field(default_factory=Router)
    pending: list[tuple[str, Event]] = field(default_factory=list)
    started: dict[str, datetime] = field(default_factory=dict)
    running: dict[str, datetime] = field(default_factory=dict)
    searched: dict[str, datetime] = field(default_factory=dict)
    searching: dict[str, datetime] = field(default_factory=dict)
    trials: list[str] = field(default_factory=list)
    seen: RevisionFigures = field(default_factory=RevisionFigures)
    forced: bool = False
    count: int = 0

    @property
    def busy(self) -> bool:
        status = self.status
        return bool(status.run or status.tuning or status.judging or status.canary)

    def post(self, *events: Event) -> None:
        """Every function gets the event on its own, at its own time."""
        for event in events:
            self.pending += [
                (name, event) for name, one in FUNCTIONS.items() if isinstance(event, wakes_on(one))
            ]

    def deliver(self, place: int, facts: CanaryFacts | None, *, keep: bool = False) -> None:
        """Hand one event over; one that is kept comes again, as another event that says the same."""
        place %= len(self.pending)
        function, event = self.pending[place] if keep else self.pending.pop(place)
        self.handle(function, event, *([facts] if function == "roll-out" else []))

    def tick(self, facts: CanaryFacts | None, order: int = 1, asked: bool = True) -> None:
        for function in ("plan-retraining", "roll-out")[::order]:
            seen = facts if function == "roll-out" else self.work(asked)
            self.handle(function, CanaryTick(), seen)

    def work(self, asked: bool) -> WorkFacts | None:
        """What the engines say of what the status has in flight, when they can be asked."""
        found = self.status.run or self.status.tuning
        if found is None:
            return None
        at_work: State = "running" if found.name in {**self.running, **self.searching} else "gone"
        return WorkFacts(found.name, at_work if asked else None)

    def handle(self, function: str, event: Event, *facts: object) -> None:
        self.count += 1
        self.forced |= isinstance(event, TrainingRequested | TuningRequested) and event.force
        self.forced |= isinstance(event, TuningCompleted)
        one = Detector(
            name="pump", spec=self.spec, status=self.status, now=self.now, cause=cause(f"e{self.count}")
        )
        messages = _decide(function, event, one, facts)
        self._remember(messages)
        for message in messages:
            if isinstance(message, COMMANDS):
                self._obey(message)
        self._check()
        self.post(*(one for one in messages if isinstance(one, EVENTS)))

    def _remember(self, messages: Sequence[Message]) -> None:
        statuses = [one.status for one in messages if isinstance(one, Remember)]
        assert len(statuses) <= 1
        for status in statuses:
            assert Status.model_validate_json(status.model_dump_json()) == status
            self.status = status

    def _obey(self, command: Command) -> None:
        if isinstance(command, StartTraining):
            assert command.run not in self.started, "the same run is started twice"
            self._start(command.data)
            self.started[command.run] = self.running[command.run] = self.now
        if isinstance(command, StartTuning):
            assert command.experiment not in self.searched, "the same search is started twice"
            self._start(command.data)
            self.searched[command.experiment] = self.searching[command.experiment] = self.now
        if isinstance(command, StartCanary):
            assert command.revision in self.started, "a canary of a run that was never started"
            assert command.revision not in self.trials, "the same candidate is tried twice"
            self.trials.append(command.revision)
            self.seen = RevisionFigures()
        if isinstance(command, Promote):
            assert self.seen.requests >= self.spec.canary.min_requests, "promoted on nothing"
        self.router.obey(command)

    def _start(self, data: Sequence[str]) -> None:
        assert data, "work without data"
        for at_work, section in (
            (self.running, self.spec.retrain),
            (self.searching, self.spec.tuning),
        ):
            lost = self.now - 2 * section.timeout
            assert all(began < lost for began in at_work.values()), "two at work"
        if not self.forced:
            before = sorted([*self.started.values(), *self.searched.values()])
            assert not before or self.now - before[-1] >= self.spec.retrain.cooldown, "no cooldown"
            today = [began for began in before if self.now - began < DAY]
            assert len(today) < self.spec.retrain.budget_per_day, "over budget"
        self.forced = False

    def _check(self) -> None:
        status = self.status
        flights = (status.run, status.tuning, status.judging, status.canary)
        assert sum(one is not None for one in flights) <= 1
        assert self.router.stable == (status.serving.name if status.serving else None)
        assert self.router.canary == (status.canary.revision.name if status.canary else None)
        assert not status.canary or self.router.percent == status.canary.percent
        questions = [(one.function, one.type) for one in status.held]
        assert len(questions) == len(set(questions)), "two questions about the same"


def _decide(function: str, event: Event, one: Detector, facts: tuple[Any, ...]) -> list[Message]:
    """Decide twice: the same snapshot leads to the same messages, and is left as it was."""
    before = one.model_dump_json()
    messages = list(FUNCTIONS[function](event, one, *facts))
    assert list(FUNCTIONS[function](event, one, *facts)) == messages
    assert one.model_dump_json() == before
    return messages
