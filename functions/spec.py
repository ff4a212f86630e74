"""What a Detector's owner asks for: the one source of the manifest and of the CRD's schema."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

from homeostat.eventing.durations import parse_duration, print_duration
from homeostat.models import ALGORITHMS, FAMILIES
from homeostat.models.choices import (
    CorrectionKind,
    DecomposeKind,
    DriftKind,
    DriftStream,
    ScalerKind,
    ThresholdKind,
)

from .frozen import Frozen
from .patterns import checked

Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(print_duration, return_type=str),
    Field(json_schema_extra={"type": "string", "pattern": r"^([0-9]+(ms|s|m|h|d))+$"}),
]
"""A length of time as Prometheus and Go write it: 500ms, 60s, 1h30m."""


def _duration_or_auto(given: object) -> object:
    return given if given == "auto" else parse_duration(given)


def _print_season(season: timedelta | Literal["auto"]) -> str:
    return "auto" if season == "auto" else print_duration(season)


Season = Annotated[
    timedelta | Literal["auto"],
    BeforeValidator(_duration_or_auto),
    PlainSerializer(_print_season, return_type=str),
    # A CRD knows no union of types; both are text.
    WithJsonSchema({"type": "string", "pattern": r"^(auto|([0-9]{1,6}(ms|s|m|h|d)){1,4})$"}),
]


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


class Data(Frozen):
    """Where the rows land and how they read. `timezone` is where times without an offset were taken (an IANA
    name such as Europe/Berlin); UTC when there is none."""

    uri: str
    time: str = "datetime"
    timezone: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_+\-/]+$", max_length=64)
    period: Duration = timedelta(seconds=1)
    channels: tuple[str, ...] = Field(min_length=1)
    label: str | None = None


class Features(Frozen):
    """What a detector sees of the rows: `window` of them at a time, each channel scaled; before that, less
    the median of the last `baseline` rows (0: not), which follows slow change and should be twice as long as
    the longest fault; season and trend taken out (`decompose`, with `periods` in rows, or found), and
    `statistics` such as "mean:10" over the last rows beside the values. `missing` says what becomes of rows
    that lack a number: "drop" them, or "hold:3", the last number stands in for up to 3 rows."""

    window: int = Field(default=60, ge=1, le=10_000)
    scaler: ScalerKind = "robust"
    baseline: Annotated[int, AfterValidator(_none_or_some)] = Field(default=0, ge=0, le=20_000)
    decompose: DecomposeKind = "none"
    periods: tuple[Annotated[int, Field(ge=2, le=20_000)], ...] = ()
    statistics: tuple[Annotated[str, Field(pattern=r"^(mean|std|min|max|slope|difference):[0-9]+$")], ...] = (
        Field(default=(), max_length=32)
    )
    missing: str = Field(default="drop", pattern=r"^(drop|hold:[0-9]+)$")


class Threshold(Frozen):
    """Where scores become alarms: exceeded by a share of `false_alarm_rate` of normal rows, told by
    extreme-value theory (`spot`) or counted (`conformal`, `blocked`). Scores are means over `smoothing` rows,
    and an alarm is raised at the `min_duration`-th row in a row above it."""

    method: ThresholdKind = "spot"
    false_alarm_rate: float = Field(default=0.02, gt=0, lt=1)
    smoothing: int = Field(default=1, ge=1, le=10_000)
    min_duration: int = Field(default=1, ge=1, le=10_000)


class GateSpec(Frozen):
    """What a candidate must measure on held-back rows before it may see traffic. It must `improve` on the
    champion by so much where rows are new to that one; where they are old to it, it must not have lost more
    than `max_loss` at the given `confidence` (null: it may forget them). `max_calibration`: by how many times
    calm rows may exceed the threshold's own false-alarm rate (null: by any). `min_canary_inputs`: the share
    of inputs made to try it that it must answer soundly."""

    metric: Literal["vus_pr", "average_precision", "f1"] = "vus_pr"
    min: float = Field(default=0.4, ge=0, le=1)
    improve: float = 0.0
    max_loss: float | None = Field(default=0.2, ge=0, le=1)
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    max_false_alarm_rate: float = Field(default=0.1, ge=0, le=1)
    max_calibration: float | None = Field(default=20.0, gt=0)
    max_latency_ms: float = Field(default=20.0, gt=0)
    max_size_mb: float = Field(default=200.0, gt=0)
    min_canary_inputs: float = Field(default=1.0, ge=0, le=1)


class Retrain(Frozen):
    """When training may start. `max_rows` bounds what a run reads: the newest batches win. Drift and alerts
    do not wait for `min_new_rows`, but need `min_drift_rows` that no run saw: old ones answer neither."""

    min_new_rows: int = Field(default=5000, ge=1)
    min_drift_rows: int = Field(default=500, ge=1)
    debounce: Duration = timedelta(0)
    cooldown: Duration = timedelta(minutes=10)
    budget_per_day: int = Field(default=12, ge=1)
    timeout: Duration = timedelta(hours=1)
    max_rows: int = Field(default=100_000, ge=1)


class Drift(Frozen):
    """`every` new rows, test the last `window` rows; `consecutive` verdicts in a row make it drift. `on` says
    of what: the rows, the detector's own scores, its errors on labelled rows. With a `season`, the length of
    a cycle such as 1d, or "auto" to find it in the training rows, rows are laid against those of the same
    part of the cycle. `correction` is for many channels, `expected_run_time` for online tests: so many rows
    go by, on independent rows, before one is wrong."""

    test: DriftKind = "mmd"
    on: tuple[DriftStream, ...] = Field(default=("features",), min_length=1, max_length=3)
    p_value: float = Field(default=0.01, gt=0, lt=1)
    window: int = Field(default=500, ge=10)
    every: int = Field(default=100, ge=1)
    consecutive: int = Field(default=3, ge=1)
    season: Season | None = None
    correction: CorrectionKind = "bonferroni"
    expected_run_time: int = Field(default=10_000, ge=1)


class TuningSpec(Frozen):
    """How better parameters are searched for (Katib's names of `algorithm`): so many `trials`, `parallel` at
    a time, given up after `max_failed` that failed or after `timeout`, of which each trial has its share.
    `when`: "drift-persists" searches instead of training when drift comes back on a revision that was
    promoted in answer to drift; "never" only when somebody asks."""

    algorithm: Literal[
        "random",
        "grid",
        "tpe",
        "multivariate-tpe",
        "bayesianoptimization",
        "cmaes",
        "sobol",
        "hyperband",
    ] = "tpe"
    trials: int = Field(default=20, ge=1, le=1000)
    parallel: int = Field(default=2, ge=1, le=100)
    max_failed: int = Field(default=5, ge=0, le=1000)
    timeout: Duration = timedelta(hours=4)
    when: Literal["drift-persists", "never"] = "never"


class CanarySpec(Frozen):
    """Traffic goes up by `steps`, at most one step `every`, each judged on `min_requests` of its own.

    Of canaries that are no worse than stable, at most a share of `false_rollback_rate` is rolled back,
    however often they are looked at. `max_*` are the differences that are allowed (1 of a share: any is, and
    it need not be measured). A step that has not ended after its `deadline` is settled by `at_deadline`;
    "promote" does so only on figures that are no worse, and rolls back where there are too few.
    `shadow`: so many copies of requests it must have answered before it gets its first percent.
    `approval`: "promotion" waits for people, in every mode. `judge_by` "labels" leaves the verdict to recall
    and precision, which may fall by `max_quality_loss`, on at least `min_labels` labelled rows of either
    side. `key` is the header by whose value requests stay on one side."""

    steps: Annotated[tuple[int, ...], AfterValidator(_some_step_below_whole)] = (5, 25, 50)
    every: Duration = timedelta(seconds=60)
    min_requests: int = Field(default=200, ge=1)
    max_error_increase: float = Field(default=0.005, ge=0, le=1)
    max_latency_ratio: float = Field(default=1.5, ge=1)
    max_anomaly_increase: float = Field(default=0.1, ge=0, le=1)
    max_score_shift: float = Field(default=0.5, ge=0, le=1)
    false_rollback_rate: float = Field(default=0.01, gt=0, lt=1)
    deadline: Duration = timedelta(hours=24)
    at_deadline: Literal["rollback", "promote", "hold"] = "rollback"
    shadow: int = Field(default=0, ge=0, le=1_000_000)
    approval: Literal["none", "promotion"] = "none"
    judge_by: Literal["traffic", "labels"] = "traffic"
    min_labels: int = Field(default=200, ge=1)
    max_quality_loss: float = Field(default=0.05, ge=0, le=1)
    key: str = Field(default="x-homeostat-series", pattern=r"^[a-z0-9-]+$", max_length=64)


class AlertRule(Frozen):
    """Alerts whose labels are these (after ~ comes a regular expression of the whole value, as Prometheus has
    them), and what is done when one fires: the first rule that matches counts."""

    match: dict[str, Annotated[str, AfterValidator(checked)]] = Field(min_length=1, max_length=16)
    action: Literal["retrain", "tune", "rollback", "ignore"]


class QualitySpec(Frozen):
    """What labels must say of a revision (None: not watched) once `min_labels` of its rows have one; told
    `every` so often at most. `bands`: what serves raises an alert where its alarm rate or its scores leave
    the bands of its first `warm_up` rows, which should hold a whole cycle of what is usual."""

    min_precision: float | None = Field(default=None, gt=0, le=1)
    min_recall: float | None = Field(default=None, gt=0, le=1)
    max_false_alarms_per_day: float | None = Field(default=None, gt=0)
    min_labels: int = Field(default=50, ge=1)
    every: Duration = timedelta(minutes=1)
    bands: bool = True
    warm_up: int = Field(default=10_000, ge=1000)


class Spec(Frozen):
    data: Data
    features: Features = Features()
    threshold: Threshold = Threshold()
    candidates: Annotated[tuple[str, ...], AfterValidator(_known)] = Field(
        default=("ensemble", "kmeans-ad", "isolation-forest", "autoencoder"), min_length=1
    )
    gate: GateSpec = GateSpec()
    retrain: Retrain = Retrain()
    tuning: TuningSpec = TuningSpec()
    drift: Drift = Drift()
    canary: CanarySpec = CanarySpec()
    alerts: tuple[AlertRule, ...] = Field(default=(), max_length=64)
    quality: QualitySpec = QualitySpec()
    mode: Literal["act", "suggest"] = "act"
