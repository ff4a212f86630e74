"""SKAB in the order of time, through the loop's drift test, decisions and training: what recovery is worth.

The rig changes between SKAB's three days. The first hours (its anomaly-free run) train a first detector; each
later row is scored before it can teach, and labels only judge. Side by side, of one algorithm:

* stale: trained once;
* loop: rows less their trailing median; drift tested every 100 rows, after a stop on what there is; two
  verdicts in a row, for they speak only of rows that have nothing in common with the reference;
  `detect_drift` and `plan_retraining` with their guards; training on those rows of the newest regime that
  `steps.screen` lets teach, or the revision of an old regime that is back; thresholds lifted by rehearsals on
  what is kept of old regimes;
* always: the same, retrained on the newest 1,000 rows at every 1,000 rows, without a drift test.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import pandas as pd

from homeostat.eventing.messages import DriftDetected, InferenceRequest, StartTraining
from homeostat.functions import detect_drift, plan_retraining
from homeostat.functions.detector import Batch, Cause, Detector, Remember, Revision, Status
from homeostat.models import metrics
from tests.bench.replay import ALGORITHM, MEMORY, SPEC, Loop, Stream
from tests.bench.skab import SKAB

PEER = f"trained once; drift by alibi-detect {version('alibi-detect')}"
DAYS = ("2020-03-01", "2020-03-09")


def skab() -> Stream:
    frames = [pd.read_csv(one, sep=";", parse_dates=["datetime"]) for one in sorted(SKAB.glob("*/*.csv"))]
    frames = [one if "anomaly" in one else one.assign(anomaly=0.0) for one in frames]
    return Stream.of(sorted(frames, key=lambda one: one["datetime"].iloc[0]))


def stale(stream: Stream) -> Loop:
    one = Loop(stream, follow=False)
    one.score(stream.first, len(stream.rows))
    return one


def always(stream: Stream) -> Loop:
    one = Loop(stream)
    for start, stop in one.blocks(MEMORY):
        one.score(start, stop)
        if stop - start >= SPEC.retrain.min_drift_rows:
            one.train(max(stop - MEMORY, one.regime(start)), stop)
    return one


def loop(stream: Stream) -> Loop:
    one = Loop(stream)
    detector = Detector(
        name="rig",
        spec=SPEC,
        status=Status(serving=_revision(one)),
        now=stream.times[stream.first],
        cause=Cause(id="replay", correlationid="replay"),
    )
    for start, stop in one.blocks(SPEC.drift.every):
        one.score(start, stop)
        detector = detector.model_copy(update={"now": stream.times[stop - 1]})
        detector = _landed(detector, stop - start)
        # A revision's own rows are no news of it, and what was before a stop is no news of what is after.
        seen = stop - max(stop - SPEC.drift.window, one.regime(start), one.begun)
        if seen < SPEC.drift.every:
            continue
        verdict = one.drift_test(start, stop - seen).test(stream.rows[stop - seen : stop])
        said = detect_drift.DriftVerdict(
            test=verdict.test,
            statistic=verdict.statistic,
            threshold=verdict.threshold,
            p_value=verdict.p_value,
            drifted=verdict.drifted,
            channels=verdict.channels,
        )
        facts = detect_drift.DriftFacts(revision=str(one.begun), window=seen, verdicts=(said,))
        detector = _decided(one, detector, facts, stop)
    return one


def _landed(detector: Detector, rows: int) -> Detector:
    batch = Batch(uri="/skab/rows", etag="", rows=rows, landed=detector.now)
    status = detector.status
    return detector.model_copy(
        update={"status": status.model_copy(update={"batches": (batch,), "new_rows": status.new_rows + rows})}
    )


def _decided(one: Loop, detector: Detector, facts: detect_drift.DriftFacts, now: int) -> Detector:
    """The detector after what the functions made of a verdict; a training takes no time here."""
    queue = list(detect_drift.decide(InferenceRequest(), detector, facts))
    while queue:
        message = queue.pop(0)
        if isinstance(message, Remember):
            detector = detector.model_copy(update={"status": message.status})
        elif isinstance(message, DriftDetected):
            queue += plan_retraining.decide(message, detector)
        elif isinstance(message, StartTraining):
            one.answer(one.regime(now - 1), now)
            settled = detector.status.model_copy(update={"run": None, "serving": _revision(one)})
            detector = detector.model_copy(update={"status": settled})
    return detector


def _revision(one: Loop) -> Revision:
    return Revision(name=str(one.begun), uri=one.uri, algorithm=ALGORITHM, version="1")


def run() -> dict[str, dict[str, Any]]:
    from tests.bench.__main__ import Metric

    stream = skab()
    arms = {"stale": stale(stream), "loop": loop(stream), "always": always(stream)}
    day = stream.times.strftime("%Y-%m-%d")
    found: dict[str, dict[str, Any]] = {}
    figures = {
        (name, one): metrics.report(arm.scores[day == one], stream.labels[day == one], 0.0)
        for name, arm in arms.items()
        for one in DAYS
    }
    for one in DAYS:
        for figure in ("average_precision", "vus_pr", "f1", "false_alarm_rate", "missed_alarm_rate"):
            for name in ("loop", "always"):
                ours, peer = figures[name, one][figure], figures["stale", one][figure]
                found[f"{one[5:]} {figure} {name}"] = Metric(ours or 0.0, peer, "against stale").document()
    for name in ("loop", "always"):
        found[f"retrains {name}"] = Metric(len(arms[name].trained) - 1, None, "trainings").document()
    return found
