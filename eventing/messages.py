"""Every message of the loop on one page: events are facts (past tense), commands are intents (imperative).

An event's `type` is its CloudEvents type; its fields are the event's JSON data, and `eventing/schemas/` is
rendered from them. The detector that an event speaks of is the CloudEvent's `subject` (KServe's payload
logger names it in `inferenceservicename` instead). Commands never leave the process that decided them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

Figures = Mapping[str, float | None]
"""Named measurements. None says that the figure could not be measured, which is never the same as zero."""


# --- facts: new data -------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, kw_only=True)
class DataLanded:
    """An object with new rows lies complete in storage."""

    type: ClassVar[str] = "dev.homeostat.data.landed"
    uri: str
    etag: str = ""
    size: int | None = None
    sequencer: str = ""


# --- facts: alerts ---------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, kw_only=True)
class AlertFired:
    """An alert of Prometheus or Grafana fires. Times are RFC 3339, as its sender wrote them; addresses are
    for people, nothing opens them."""

    type: ClassVar[str] = "dev.homeostat.alert.fired"
    alertname: str
    fingerprint: str
    starts_at: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    group_key: str = ""
    receiver: str = ""
    generator_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertResolved:
    """The alert of that fingerprint and start no longer fires."""

    type: ClassVar[str] = "dev.homeostat.alert.resolved"
    alertname: str
    fingerprint: str
    starts_at: str
    ends_at: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    group_key: str = ""
    receiver: str = ""
    generator_url: str = ""


# --- facts: inference ------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceRequest:
    """KServe's payload logger saw a request (its own type). V1 bodies carry instances, V2 bodies inputs."""

    type: ClassVar[str] = "org.kubeflow.serving.inference.request"
    instances: list[Any] | None = None
    inputs: list[Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceResponse:
    """KServe's payload logger saw the answer; it shares id and source with its request. Which `revision` gave
    it, by which `threshold`, and of which `series`, our predictor says beside V1's predictions, and in V2's
    `parameters`; `id` is V2's own."""

    type: ClassVar[str] = "org.kubeflow.serving.inference.response"
    predictions: list[Any] | None = None
    outputs: list[Any] | None = None
    revision: Any = None
    threshold: Any = None
    series: Any = None
    parameters: Any = None
    id: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of rows. Times are RFC 3339, empty where nobody knows them."""

    rows: int
    start: str = ""
    end: str = ""
    phase: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftDetected:
    """The rows that arrive, the scores or the labelled errors (`on`) of the serving revision no longer look
    like those of its training. `reference` and `tested` say which rows were laid against which: how many,
    and from when to when (RFC 3339) where that is known."""

    type: ClassVar[str] = "dev.homeostat.drift.detected"
    test: str
    on: Literal["features", "scores", "errors"] = "features"
    statistic: float
    threshold: float
    p_value: float | None = None
    consecutive: int
    window: int
    revision: str
    channels: tuple[str, ...] = ()
    correction: str = ""
    reference: Span | None = None
    tested: Span | None = None


# --- facts: streams --------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, kw_only=True)
class SamplesReceived:
    """Rows of a stream, in the order of time: a number per channel, null where one is missing. `channels` is
    their order where it is not the Detector's own; `series` tells machines of one Detector apart; `times`,
    one per row, are repeated as they are."""

    type: ClassVar[str] = "dev.homeostat.samples.received"
    rows: list[Any]
    channels: tuple[str, ...] = ()
    series: str = ""
    times: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaRecord:
    """What Knative's KafkaSource makes of a record (its own type): `value` is the whole of the event's data,
    whatever JSON object the producer wrote. The extension `detector` names the Detector."""

    type: ClassVar[str] = "dev.knative.kafka.event"
    WHOLE: ClassVar[str] = "value"
    value: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalyDetected:
    """An alarm of a stream begins (`began`), is over (`ended`), both, or lasts (neither).

    `rows` have been anomalous so far, the first of them at `since`. `score` and `time` are those of the
    highest row of the event that brought it, in which `row` is its place, or of the last event that had one.
    `channels` are the shares of those that made the score, the largest three.
    """

    type: ClassVar[str] = "dev.homeostat.anomaly.detected"
    score: float
    threshold: float
    revision: str
    series: str = ""
    channels: Mapping[str, float] = field(default_factory=dict)
    began: bool
    ended: bool
    rows: int
    row: int | None = None
    time: str = ""
    since: str = ""


# --- facts: training -------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRequested:
    """Somebody, or the loop, wants a new candidate. `parameters` are per algorithm and override defaults."""

    type: ClassVar[str] = "dev.homeostat.training.requested"
    trigger: Literal["data", "alert", "hand"] = "hand"
    reason: str = "by hand"
    force: bool = False
    candidates: tuple[str, ...] = ()
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingCompleted:
    """A run registered its best candidate. All figures come from the same held-back rows. `comparison` has,
    for each regime of them (`old`, `new`), what a paired bootstrap says of candidate less champion; `report`
    is where all of it lies as a page."""

    type: ClassVar[str] = "dev.homeostat.training.completed"
    run: str
    algorithm: str
    uri: str
    version: str
    metrics: Figures
    champion_metrics: Figures | None = None
    judged_on: Literal["labels", "injected"] = "labels"
    candidates: Mapping[str, Figures] = field(default_factory=dict)
    comparison: Mapping[str, Figures] = field(default_factory=dict)
    report: str = ""
    rows: int
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFailed:
    """A run ended without a candidate."""

    type: ClassVar[str] = "dev.homeostat.training.failed"
    run: str
    step: str = ""
    error: str


# --- facts: tuning ---------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, kw_only=True)
class TuningRequested:
    """Somebody wants better parameters searched for; the first of `candidates`, or what serves, is tuned."""

    type: ClassVar[str] = "dev.homeostat.tuning.requested"
    trigger: Literal["alert", "hand"] = "hand"
    reason: str = "by hand"
    force: bool = False
    candidates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentAdded:
    """Knative's ApiServerSource found a Katib Experiment (its own type): `experiment` is the whole object.
    It says so of all that there are when it starts, and so of what ended while nobody watched."""

    type: ClassVar[str] = "dev.knative.apiserver.resource.add"
    WHOLE: ClassVar[str] = "experiment"
    experiment: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentChanged:
    """Knative's ApiServerSource saw a Katib Experiment change (its own type): `experiment` is the whole
    object as it is now. Its label `homeostat.dev/detector` names the Detector."""

    type: ClassVar[str] = "dev.knative.apiserver.resource.update"
    WHOLE: ClassVar[str] = "experiment"
    experiment: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningCompleted:
    """A search found the best `parameters` of `algorithm`: `value` of the objective `metric`, of so many
    `trials` that succeeded."""

    type: ClassVar[str] = "dev.homeostat.tuning.completed"
    experiment: str
    algorithm: str
    parameters: Mapping[str, Any]
    metric: str
    value: float | None
    trials: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningFailed:
    """A search ended without parameters."""

    type: ClassVar[str] = "dev.homeostat.tuning.failed"
    experiment: str
    error: str


# --- facts: judgement ------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One gate: what was measured, what it had to be, and whether it held."""

    name: str
    measured: float | None
    limit: float
    rule: Literal[">=", "<="]
    passed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalPassed:
    """The candidate passed every gate."""

    type: ClassVar[str] = "dev.homeostat.eval.passed"
    run: str
    algorithm: str
    uri: str
    version: str
    gates: tuple[Gate, ...]
    report: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalFailed:
    """The candidate failed at least one gate and gets no traffic."""

    type: ClassVar[str] = "dev.homeostat.eval.failed"
    run: str
    algorithm: str
    uri: str
    version: str
    gates: tuple[Gate, ...]
    report: str = ""


# --- facts: serving --------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryTick:
    """Time passed (a PingSource's own type). It speaks of no detector: every one is looked at."""

    type: ClassVar[str] = "dev.knative.sources.ping"


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryStarted:
    type: ClassVar[str] = "dev.homeostat.canary.started"
    revision: str
    percent: int
    stable: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One figure of the canary beside the stable revision's: between `low` and `high` lies the true
    difference, as sure as the Detector asked for, however often it was looked at. `limit` is the difference
    that is allowed."""

    name: str
    canary: float | None
    stable: float | None
    low: float | None
    high: float | None
    limit: float
    outcome: Literal["worse", "no worse", "inconclusive"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryJudged:
    """A verdict on the canary at its step, with the figures that it rests on. Told when it changes."""

    type: ClassVar[str] = "dev.homeostat.canary.judged"
    revision: str
    percent: int
    outcome: Literal["advance", "hold", "rollback"]
    reason: str
    requests: int
    comparisons: tuple[Comparison, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryPaused:
    """The canary stays at its share until it is resumed; it is still taken back when it is worse."""

    type: ClassVar[str] = "dev.homeostat.canary.paused"
    revision: str
    percent: int
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryResumed:
    type: ClassVar[str] = "dev.homeostat.canary.resumed"
    revision: str
    percent: int
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryAdvanced:
    type: ClassVar[str] = "dev.homeostat.canary.advanced"
    revision: str
    percent: int
    figures: Figures = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryRolledBack:
    type: ClassVar[str] = "dev.homeostat.canary.rolledback"
    revision: str
    reason: str
    restored: str | None = None
    figures: Figures = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPromoted:
    type: ClassVar[str] = "dev.homeostat.model.promoted"
    revision: str
    algorithm: str
    version: str
    uri: str
    replaced: str | None = None
    figures: Figures = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackRequested:
    """People or an alert want the last good revision back; where `revision` is named, only if that is the
    one on trial, or the one that serves."""

    type: ClassVar[str] = "dev.homeostat.rollback.requested"
    reason: str = "by hand"
    revision: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutRequested:
    """People steer the canary by hand: promote it as it is, hold it at its share, or let it go on."""

    type: ClassVar[str] = "dev.homeostat.rollout.requested"
    action: Literal["promote", "pause", "resume"]
    by: str = ""
    reason: str = "by hand"


# --- facts: labels ---------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, kw_only=True)
class LabelReceived:
    """Somebody knows what rows were: those of the inference request of the id `request` (its `rows`, by their
    places; all where none are named), or those of `series` that were asked about from `start` to `end`
    (RFC 3339, the end itself left out). A later label of the same rows corrects an earlier one."""

    type: ClassVar[str] = "dev.homeostat.label.received"
    anomalous: bool
    request: str = ""
    rows: tuple[int, ...] = ()
    start: str = ""
    end: str = ""
    series: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityMeasured:
    """What labels say of a revision, from `since` to `until` (RFC 3339): `figures` has precision, recall and
    false_alarms_per_day, each with its `_low` and `_high` at 95 %."""

    type: ClassVar[str] = "dev.homeostat.quality.measured"
    revision: str
    labelled: int
    anomalous: int
    since: str
    until: str
    figures: Figures = field(default_factory=dict)


# --- facts: people in the loop (mode: suggest) -----------------------------------------------------------
@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequested:
    """`mode: suggest` holds these commands back; answer with approval.given naming this event's id."""

    type: ClassVar[str] = "dev.homeostat.approval.requested"
    function: str
    commands: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalGiven:
    type: ClassVar[str] = "dev.homeostat.approval.given"
    approves: str
    by: str = ""


# --- facts: work that cannot be done now ------------------------------------------------------------------
@dataclass(frozen=True, slots=True, kw_only=True)
class WorkHindered:
    """What `function` decided is not carried out: `reason` says which object, which verb, which mend. Said
    once per decision and kind of trouble; the work is tried again without anybody's help."""

    type: ClassVar[str] = "dev.homeostat.work.hindered"
    function: str
    commands: tuple[str, ...] = ()
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkResumed:
    """What was hindered for `reason` is carried out. The trouble was first seen at `since` (RFC 3339)."""

    type: ClassVar[str] = "dev.homeostat.work.resumed"
    function: str
    commands: tuple[str, ...] = ()
    reason: str
    since: str


# --- intents ---------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, kw_only=True)
class StartTraining:
    """Run the training pipeline once under the name `run`; the same name twice is the same run.

    `data` are the URIs of the accepted batches, oldest first; `champion` is the artifact that now serves.
    """

    run: str
    detector: str
    data: tuple[str, ...]
    candidates: tuple[str, ...]
    parameters: Mapping[str, Mapping[str, Any]]
    champion: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StartTuning:
    """Search for better parameters of `algorithm` under the name `experiment`; the same name twice is the
    same search. `data` and `champion` are as in StartTraining."""

    experiment: str
    detector: str
    algorithm: str
    data: tuple[str, ...]
    champion: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StartCanary:
    """Serve the artifact at `uri` as `revision`, and give it `percent` of the traffic once it is ready."""

    detector: str
    revision: str
    uri: str
    percent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftTraffic:
    detector: str
    revision: str
    percent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Promote:
    """Give `revision` all traffic and retire the one that it replaces."""

    detector: str
    revision: str
    uri: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RollBack:
    """Take all traffic from `revision` and give it back to `restore`, our own record of the last good one."""

    detector: str
    revision: str
    restore: str | None
    restore_uri: str | None


Event = (
    DataLanded
    | AlertFired
    | AlertResolved
    | InferenceRequest
    | InferenceResponse
    | DriftDetected
    | SamplesReceived
    | KafkaRecord
    | AnomalyDetected
    | TrainingRequested
    | TrainingCompleted
    | TrainingFailed
    | TuningRequested
    | ExperimentAdded
    | ExperimentChanged
    | TuningCompleted
    | TuningFailed
    | EvalPassed
    | EvalFailed
    | CanaryTick
    | CanaryStarted
    | CanaryJudged
    | CanaryPaused
    | CanaryResumed
    | CanaryAdvanced
    | CanaryRolledBack
    | ModelPromoted
    | RollbackRequested
    | RolloutRequested
    | LabelReceived
    | QualityMeasured
    | ApprovalRequested
    | ApprovalGiven
    | WorkHindered
    | WorkResumed
)
Command = StartTraining | StartTuning | StartCanary | ShiftTraffic | Promote | RollBack

EVENTS: tuple[type[Event], ...] = Event.__args__
COMMANDS: tuple[type[Command], ...] = Command.__args__
