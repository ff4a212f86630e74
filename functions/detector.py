"""The Detector: what its owner asks for (spec), what has become of it (status), and the snapshot of both
that a decision sees. The pydantic models are the one source of the manifest and of the CRD's schema."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from homeostat.eventing.durations import parse_duration, print_duration
from homeostat.eventing.messages import Command, Event
from homeostat.models import ALGORITHMS, FAMILIES

Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(print_duration, return_type=str),
    Field(json_schema_extra={"type": "string", "pattern": r"^(\d+(ms|s|m|h|d))+$"}),
]
"""A length of time as Prometheus and Go write it: 500ms, 60s, 1h30m."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


# --- spec ------------------------------------------------------------------------------------------------
def _some_step_below_whole(steps: tuple[int, ...]) -> tuple[int, ...]:
    if list(steps) != sorted(set(steps)) or any(not 0 < step < 100 for step in steps):
        raise ValueError("steps must rise and lie between 1 and 99 percent, such as [5, 25, 50]")
    return steps


def _none_or_some(rows: int) -> int:
    if rows == 1:
        raise ValueError("the median of one row is the row itself: give 2 rows or more, or 0 for none")
    return rows


def _known(names: tuple[str, ...]) -> tuple[str, ...]:
    """Better refused here than after an hour of training; what a family's members are called, it knows."""
    strange = [one for one in names if one not in ALGORITHMS and one.partition(":")[0] not in FAMILIES]
    if strange:
        known = ", ".join([*ALGORITHMS, *(f"{one}:NAME" for one in FAMILIES)])
        raise ValueError(f"{', '.join(map(repr, strange))} is no algorithm: choose from {known}")
    return names


class Data(_Model):
    """Where the rows land and how they read. `timezone` is where times without an offset were taken (an IANA
    name such as Europe/Berlin); UTC when there is none."""

    uri: str
    time: str = "datetime"
    timezone: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_+\-/]+$", max_length=64)
    period: Duration = timedelta(seconds=1)
    channels: tuple[str, ...] = Field(min_length=1)
    label: str | None = None


class Features(_Model):
    """What a detector sees of the rows: `window` of them at a time, each channel scaled; before that, less
    the median of the last `baseline` rows (0: not), which follows slow change and should be twice as long as
    the longest fault; season and trend taken out (`decompose`, with `periods` in rows, or found), and
    `statistics` such as "mean:10" over the last rows beside the values. `missing` says what becomes of rows
    that lack a number: "drop" them, or "hold:3", the last number stands in for up to 3 rows."""

    window: int = Field(default=60, ge=1, le=10_000)
    scaler: Literal["robust", "standard", "none"] = "robust"
    baseline: Annotated[int, AfterValidator(_none_or_some)] = Field(default=0, ge=0, le=20_000)
    decompose: Literal["none", "stl", "mstl"] = "none"
    periods: tuple[Annotated[int, Field(ge=2, le=20_000)], ...] = ()
    statistics: tuple[Annotated[str, Field(pattern=r"^(mean|std|min|max|slope|difference):\d+$")], ...] = (
        Field(default=(), max_length=32)
    )
    missing: str = Field(default="drop", pattern=r"^(drop|hold:\d+)$")


class Threshold(_Model):
    """Where scores become alarms: exceeded by a share of `false_alarm_rate` of normal rows, told by
    extreme-value theory (`spot`) or counted (`conformal`, `blocked`). Scores are means over `smoothing` rows,
    and an alarm is raised at the `min_duration`-th row in a row above it."""

    method: Literal["spot", "conformal", "blocked"] = "spot"
    false_alarm_rate: float = Field(default=0.02, gt=0, lt=1)
    smoothing: int = Field(default=1, ge=1, le=10_000)
    min_duration: int = Field(default=1, ge=1, le=10_000)


class GateSpec(_Model):
    """What a candidate must measure on held-back rows before it may see traffic."""

    metric: Literal["vus_pr", "average_precision", "f1"] = "vus_pr"
    min: float = Field(default=0.4, ge=0, le=1)
    improve: float = 0.0
    max_false_alarm_rate: float = Field(default=0.1, ge=0, le=1)
    max_latency_ms: float = Field(default=20.0, gt=0)


class Retrain(_Model):
    """When training may start. `max_rows` bounds what a run reads: the newest batches win. Drift does not
    wait for `min_new_rows`, but it needs `min_drift_rows` that no run has seen: old rows cannot answer it."""

    min_new_rows: int = Field(default=5000, ge=1)
    min_drift_rows: int = Field(default=500, ge=1)
    debounce: Duration = timedelta(0)
    cooldown: Duration = timedelta(minutes=10)
    budget_per_day: int = Field(default=12, ge=1)
    timeout: Duration = timedelta(hours=1)
    max_rows: int = Field(default=100_000, ge=1)


class Drift(_Model):
    """`every` new rows, test the last `window` rows; `consecutive` verdicts in a row make it drift."""

    test: Literal["mmd", "ks"] = "mmd"
    p_value: float = Field(default=0.01, gt=0, lt=1)
    window: int = Field(default=500, ge=10)
    every: int = Field(default=100, ge=1)
    consecutive: int = Field(default=3, ge=1)


class CanarySpec(_Model):
    """Traffic goes up by `steps`, at most one step `every`, each judged on `min_requests` of its own."""

    steps: Annotated[tuple[int, ...], AfterValidator(_some_step_below_whole)] = (5, 25, 50)
    every: Duration = timedelta(seconds=60)
    min_requests: int = Field(default=200, ge=1)
    max_error_increase: float = Field(default=0.01, ge=0, le=1)
    max_latency_ratio: float = Field(default=2.0, ge=1)
    max_anomaly_increase: float = Field(default=0.2, ge=0, le=1)


class Spec(_Model):
    data: Data
    features: Features = Features()
    threshold: Threshold = Threshold()
    candidates: Annotated[tuple[str, ...], AfterValidator(_known)] = Field(
        default=("ensemble", "kmeans-ad", "isolation-forest", "autoencoder"), min_length=1
    )
    gate: GateSpec = GateSpec()
    retrain: Retrain = Retrain()
    drift: Drift = Drift()
    canary: CanarySpec = CanarySpec()
    mode: Literal["act", "suggest"] = "act"


# --- status ----------------------------------------------------------------------------------------------
class Cause(_Model):
    """The event that something in the status goes back to; later events cite it."""

    id: str
    correlationid: str
    hops: int = 0
    traceparent: str | None = None


class Batch(_Model):
    """Rows that were looked at and accepted."""

    uri: str
    etag: str
    rows: int
    sequencer: str = ""
    first: datetime | None = None
    last: datetime | None = None
    landed: datetime


class Waiting(_Model):
    """Requests that could not be answered at once, merged into one that is looked at again later."""

    trigger: Literal["data", "drift", "hand"]
    reason: str
    since: datetime
    not_before: datetime
    candidates: tuple[str, ...] = ()
    parameters: dict[str, dict[str, Any]] = {}
    force: bool = False
    cause: Cause


class Run(_Model):
    """The training in flight."""

    name: str
    started: datetime
    reason: str
    cause: Cause


class Judging(_Model):
    """The run whose candidate passed its gates and waits for its canary."""

    run: str
    since: datetime


class Revision(_Model):
    """A model that serves or served: an immutable artifact under a name."""

    name: str
    uri: str
    algorithm: str
    version: str
    metrics: dict[str, float | None] = {}
    promoted: datetime | None = None


class RevisionFigures(_Model):
    """Counters of one revision since its process started. `latency` counts requests per bucket of
    `functions.canary.LATENCY_BUCKETS_MS`, not cumulated, the last bucket being everything slower."""

    requests: int = 0
    errors: int = 0
    rows: int = 0
    anomalies: int = 0
    latency: tuple[int, ...] = ()


class Canary(_Model):
    """The revision on trial. `base_*` are the counters when the step began, so that each step is judged on
    its own traffic; no `base_canary` yet means that the revision has not been seen ready in this step."""

    revision: Revision
    percent: int
    started: datetime
    step_started: datetime
    base_stable: RevisionFigures | None = None
    base_canary: RevisionFigures | None = None
    cause: Cause


class DriftState(_Model):
    """Verdicts in a row for `revision`; `latched` once they were reported, until another one serves."""

    revision: str = ""
    consecutive: int = 0
    latched: bool = False
    statistic: float | None = None
    threshold: float | None = None
    tested: datetime | None = None

    def unlatched(self) -> DriftState:
        """The state after an answer that failed: if the drift is still there, it is reported again."""
        return self.model_copy(update={"latched": False, "consecutive": 0})


class Held(_Model):
    """A decision that `mode: suggest` held back, kept so that it can be taken anew when it is approved."""

    id: str
    function: str
    commands: tuple[str, ...]
    type: str
    data: dict[str, Any]
    cause: Cause


class Status(_Model):
    batches: tuple[Batch, ...] = ()
    new_rows: int = 0
    starts: tuple[datetime, ...] = ()
    waiting: Waiting | None = None
    run: Run | None = None
    judging: Judging | None = None
    canary: Canary | None = None
    serving: Revision | None = None
    previous: Revision | None = None
    drift: DriftState = DriftState()
    held: tuple[Held, ...] = ()
    message: str = ""

    @property
    def phase(self) -> str:
        """One word for people: what the detector is busy with."""
        if self.run:
            return "Training"
        if self.judging:
            return "Judging"
        if self.canary:
            return "Canary"
        return "Serving" if self.serving else "Waiting"


class Detector(_Model):
    """A snapshot for one decision: spec, status, the time, and the event that woke it."""

    name: str
    spec: Spec
    status: Status = Status()
    now: datetime
    cause: Cause

    @property
    def busy(self) -> bool:
        """An episode, from the start of training to promotion or refusal, is under way."""
        return bool(self.status.run or self.status.judging or self.status.canary)

    def remember(self, **changes: Any) -> Remember:
        """The status after this decision."""
        return Remember(self.status.model_copy(update=changes))


# --- what a decision says --------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Remember:
    """The new status. A decision says it at most once; the shell stores it by compare-and-swap."""

    status: Status


Message = Event | Command | Remember
