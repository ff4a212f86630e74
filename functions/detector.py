"""The Detector: what its owner asks for (`spec`), what has become of it (the status, whose CRD schema this
is), and the snapshot of both that a decision sees."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from homeostat.eventing.messages import Command, Event

from .frozen import Frozen
from .spec import Spec


class Cause(Frozen):
    """The event that something in the status goes back to; later events cite it."""

    id: str
    correlationid: str
    hops: int = 0
    traceparent: str | None = None


class Batch(Frozen):
    """Rows that were looked at and accepted."""

    uri: str
    etag: str
    rows: int
    sequencer: str = ""
    first: datetime | None = None
    last: datetime | None = None
    landed: datetime


Trigger = Literal["data", "drift", "alert", "hand", "tuning"]
"""Why there is a training: new rows, drift, an alert, people, or parameters that a search has found."""


class Waiting(Frozen):
    """Requests that could not be answered at once, merged into one that is looked at again later. `tune`:
    better parameters are wanted first."""

    trigger: Trigger
    reason: str
    since: datetime
    not_before: datetime
    candidates: tuple[str, ...] = ()
    parameters: dict[str, dict[str, Any]] = Field(default={})
    force: bool = False
    tune: bool = False
    cause: Cause


class Run(Frozen):
    """The training in flight. `missed`: since when its engine has it no more at work, without an event."""

    name: str
    started: datetime
    reason: str
    trigger: Trigger | None = None
    parameters: dict[str, dict[str, Any]] = Field(default={})
    missed: datetime | None = None
    cause: Cause


class Tuning(Frozen):
    """The search in flight, an Experiment of this name for the parameters of `algorithm`. `ended`: its end
    was told, once; `missed` as for a run."""

    name: str
    algorithm: str
    started: datetime
    reason: str
    trigger: Trigger | None = None
    ended: datetime | None = None
    missed: datetime | None = None
    cause: Cause


class Judging(Frozen):
    """The run whose candidate passed its gates and waits for its canary."""

    run: str
    since: datetime
    trigger: Trigger | None = None
    parameters: dict[str, dict[str, Any]] = Field(default={})


class Revision(Frozen):
    """A model that serves or served: an immutable artifact under a name. `trigger` is why it was trained,
    `parameters` what was asked for then; what is trained after it is trained with the same."""

    name: str
    uri: str
    algorithm: str
    version: str
    metrics: dict[str, float | None] = Field(default={})
    trigger: Trigger | None = None
    parameters: dict[str, dict[str, Any]] = Field(default={})
    promoted: datetime | None = None


class RevisionFigures(Frozen):
    """Counters of one revision since its process started. `latency` counts requests per bucket of
    `functions.canary.LATENCY_BUCKETS_MS`, not cumulated, the last bucket being everything slower; `scores`
    counts rows per bucket of score / threshold, `functions.canary.SCORE_BUCKETS`, likewise."""

    requests: int = 0
    errors: int = 0
    rows: int = 0
    anomalies: int = 0
    latency: tuple[int, ...] = ()
    scores: tuple[int, ...] = ()


class Canary(Frozen):
    """The revision on trial. `base_*` are the counters when the step began, so that each step is judged on
    its own traffic; no `base_canary` yet means that the revision has not been seen ready in this step.
    `shadow`: it is sent copies only, and its answers are discarded. `told` is the last verdict told."""

    revision: Revision
    percent: int
    shadow: bool = False
    paused: bool = False
    told: str = ""
    started: datetime
    step_started: datetime
    base_stable: RevisionFigures | None = None
    base_canary: RevisionFigures | None = None
    cause: Cause


class Watched(Frozen):
    """Verdicts in a row on one stream; `latched` once they were reported."""

    consecutive: int = 0
    latched: bool = False
    statistic: float | None = None
    threshold: float | None = None
    tested: datetime | None = None

    def unlatched(self) -> Watched:
        return self.model_copy(update={"latched": False, "consecutive": 0})


class DriftState(Frozen):
    """Verdicts in a row on the rows that `revision` is asked about, `latched` once they were reported, until
    another one serves; `others`: on its scores, and on its errors."""

    revision: str = ""
    consecutive: int = 0
    latched: bool = False
    statistic: float | None = None
    threshold: float | None = None
    tested: datetime | None = None
    others: dict[str, Watched] = Field(default={})

    def of(self, on: str) -> Watched:
        if on != "features":
            return self.others.get(on, Watched())
        return Watched(**{name: getattr(self, name) for name in Watched.model_fields})

    def having(self, on: str, watched: Watched) -> DriftState:
        if on != "features":
            return self.model_copy(update={"others": {**self.others, on: watched}})
        return self.model_copy(update={name: getattr(watched, name) for name in Watched.model_fields})

    def unlatched(self) -> DriftState:
        """The state after an answer that failed: if the drift is still there, it is reported again."""
        others = {on: watched.unlatched() for on, watched in self.others.items()}
        return self.model_copy(update={"latched": False, "consecutive": 0, "others": others})


class Incident(Frozen):
    """An alert that fires, and what was done about it."""

    fingerprint: str
    starts_at: str
    alertname: str
    action: str
    since: datetime


class Over(Frozen):
    """The alert of this fingerprint has been told to be over: what fired `until` then is no news."""

    fingerprint: str
    until: datetime


class Quality(Frozen):
    """What labels say of a revision's rows, asked about from `since` to `until`: anomalous ones that it
    flagged (`caught`) or did not (`missed`), normal ones that it flagged (`false_alarms`, in `false_events`
    stretches that touch no anomalous one) or let pass, in `days` of normal rows."""

    caught: int = 0
    missed: int = 0
    false_alarms: int = 0
    passed: int = 0
    false_events: int = 0
    days: float = 0.0
    since: datetime | None = None
    until: datetime | None = None
    measured: datetime


class Block(Frozen):
    """What was counted in rows that came one after another."""

    rows: int = 0
    anomalies: int = 0
    scores: tuple[int, ...] = ()


class Bands(Frozen):
    """What is usual of `revision`: the blocks of its warm-up, then their sum (`usual`) and how far by figure
    the `recent` ones may lie from it (`limits`). `base`: its counters when the last block ended. `turned`:
    windows in a row that contradict what is raised of a figure, or that nothing is."""

    revision: str = ""
    base: RevisionFigures | None = None
    warming: tuple[Block, ...] = ()
    usual: Block | None = None
    limits: dict[str, float] = Field(default={})
    recent: tuple[Block, ...] = ()
    turned: dict[str, int] = Field(default={})


class Raised(Frozen):
    """An alert that the detector's own figures fired, and that has not been resolved."""

    alertname: str
    fingerprint: str
    starts_at: str
    labels: dict[str, str]


class Held(Frozen):
    """A decision that `mode: suggest` held back, kept so that it can be taken anew when it is approved."""

    id: str
    function: str
    commands: tuple[str, ...]
    type: str
    data: dict[str, Any]
    cause: Cause


class Status(Frozen):
    batches: tuple[Batch, ...] = ()
    new_rows: int = 0
    starts: tuple[datetime, ...] = ()
    waiting: Waiting | None = None
    run: Run | None = None
    tuning: Tuning | None = None
    judging: Judging | None = None
    canary: Canary | None = None
    serving: Revision | None = None
    previous: Revision | None = None
    drift: DriftState = DriftState()
    incidents: tuple[Incident, ...] = ()
    over: tuple[Over, ...] = ()
    quality: dict[str, Quality] = Field(default={})
    unmatched: int = 0
    bands: Bands = Bands()
    raised: tuple[Raised, ...] = ()
    held: tuple[Held, ...] = ()
    message: str = ""

    @property
    def phase(self) -> str:
        """One word for people: what the detector is busy with."""
        if self.run:
            return "Training"
        if self.tuning:
            return "Tuning"
        if self.judging:
            return "Judging"
        if self.canary:
            return "Canary"
        return "Serving" if self.serving else "Waiting"

    @property
    def under_way(self) -> Cause | None:
        """What the work in flight goes back to, if there is any."""
        found = self.canary or self.run or self.tuning
        return found.cause if found else None


class Detector(Frozen):
    """A snapshot for one decision: spec, status, the time, and the event that woke it."""

    name: str
    spec: Spec
    status: Status = Status()
    now: datetime
    cause: Cause

    @property
    def busy(self) -> bool:
        """An episode, from the start of tuning or training to promotion or refusal, is under way."""
        status = self.status
        return bool(status.run or status.tuning or status.judging or status.canary)

    def remember(self, **changes: Any) -> Remember:
        """The status after this decision."""
        return Remember(self.status.model_copy(update=changes))


# --- what a decision says --------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Remember:
    """The new status. A decision says it at most once; the shell stores it by compare-and-swap."""

    status: Status


Message = Event | Command | Remember
