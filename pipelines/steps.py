"""What the training pipeline's steps do, as plain functions on frames and arrays. The components are shims.

Only rows that may teach are fitted: labelled anomalies never (they can raise a threshold), rows that the
champion flags only when a label clears them. A candidate is judged on the tail of every segment, which no fit
has seen, and by labelled anomalies, all of them where the tail has few, or else by injected ones; and as it
will serve: without a clock, with its own answer to numbers that are missing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from homeostat.eventing.durations import parse_duration
from homeostat.models import alignment, artifact, data, features, fitted, fitting, injection, metrics, shelf
from homeostat.models.alarm_figures import alarm_figures
from homeostat.models.bootstrap import Answers
from homeostat.models.missing import Missing

from . import gaps, regimes
from .held import Held, enough
from .taught import Training
from .tuned import apart

HELD_BACK = 0.3
"""The share of each segment, its tail, that judges candidates."""
CREDIBLE = 0.5
"""A champion that flags more than this share of the unlabelled rows knows another world."""
LATENCY_SAMPLES = 30

Rows = NDArray[np.float64]


def gather(uris: Sequence[str], spec: Mapping[str, Any]) -> pd.DataFrame:
    """All batches in one frame. Raises data.DataError naming what is wrong with one."""
    section = spec["data"]
    frames = [
        data.read(
            uri,
            time=section["time"],
            channels=section["channels"],
            label=section["label"],
            timezone=section.get("timezone"),
            missing=_missing(spec),
            root=section["uri"],
            max_bytes=int(os.environ.get("HOMEOSTAT_MAX_OBJECT_BYTES", data.MAX_BYTES)),
        )
        for uri in uris
    ]
    return pd.concat(frames, ignore_index=True)


def screen(
    frame: pd.DataFrame, spec: Mapping[str, Any], champion: str
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Mark the rows that may teach in the column `teaches`, and those that the champion's run had not read in
    `recent` (`regimes`); says how many were kept out, and why."""
    section = spec["data"]
    label = section["label"]
    known = frame[label].notna() if label in frame else pd.Series(False, frame.index)
    anomalous = known & (frame[label] == 1) if label in frame else known
    suspect, lifted = np.zeros(len(frame), bool), False
    model = champion_for(champion, spec)
    if model:
        scores = gaps.scores(model, frame[section["channels"]].to_numpy(float))
        suspect = model.anomalies(scores) & ~known.to_numpy()
        unlabelled = int((~known).sum())
        lifted = bool(unlabelled) and suspect.sum() > CREDIBLE * unlabelled
        suspect &= not lifted
    figures = {
        "rows": float(len(frame)),
        "labelled_anomalies": float(anomalous.sum()),
        "quarantined": float(suspect.sum()),
        "quarantine_lifted": float(lifted),
    }
    recent = regimes.recent(frame[section["time"]], champion if model else "")
    return frame.assign(teaches=~(anomalous.to_numpy() | suspect), recent=recent), figures


def champion_for(uri: str, spec: Mapping[str, Any]) -> fitted.Fitted | None:
    """The serving detector; None without one, or when it watches other channels than the spec does now."""
    if not uri:
        return None
    with shelf.reading(uri) as folder:
        model = artifact.load(folder)
    return model if list(model.channels) == list(spec["data"]["channels"]) else None


def split(frame: pd.DataFrame, spec: Mapping[str, Any], seed: int) -> tuple[Training, Held]:
    """Rows to learn from, and the held-back rows that judge. Rows that lack a number for longer than the spec
    holds one are in neither.

    Raises ValueError when too little is left to train on, or to judge by.
    """
    section, window = spec["data"], int(spec["features"]["window"])
    period: timedelta = parse_duration(section["period"])
    aligned = alignment.align(frame, section["time"], period)
    rows = aligned.frame[section["channels"]].to_numpy(float)
    usable = ~gaps.unanswered(rows, Missing.parse(_missing(spec)), aligned.segments)
    teaches = aligned.frame["teaches"].to_numpy(bool) & usable
    label = section["label"]
    truth = (
        (aligned.frame[label] == 1).to_numpy(bool) if label in aligned.frame else np.zeros(len(rows), bool)
    )
    truth &= usable
    tail = _tails(aligned.segments)
    taught, judge = teaches & ~tail, tail & usable
    # Labelled anomalies are never fitted: where the tail has too few of them to judge by, all of them judge.
    if enough(truth, aligned.segments) and not enough(truth & tail, aligned.segments):
        judge |= truth
    if taught.sum() < 4 * window:
        kept, total = int(taught.sum()), len(rows)
        raise ValueError(f"{kept} of {total} rows may teach; a window of {window} needs {4 * window}")
    judging = gaps.apart(aligned.segments, judge)[judge]
    recent = aligned.frame.get("recent", pd.Series(True, aligned.frame.index)).to_numpy(bool)
    held = _held(rows[judge], truth[judge], judging, recent[judge], window, seed)
    # What the champion flags and nobody labelled is neither normal nor anomalous: it has no say at all. In
    # the threshold, labels that judge have none, nor have few: two to four faults raised it too far.
    learn = taught | (truth & ~judge & (held.judged_on == "labels"))
    borders, until = gaps.apart(aligned.segments, learn), regimes.latest(aligned.frame[section["time"]])
    return Training(rows[learn], teaches[learn], borders[learn], aligned.phase[learn], until), held


def _missing(spec: Mapping[str, Any]) -> str:
    return str(spec["features"].get("missing", "drop"))


def _tails(segments: NDArray[np.int64]) -> NDArray[np.bool_]:
    tail = np.zeros(len(segments), bool)
    for run in features.runs(len(segments), segments):
        cut = run.stop - round((run.stop - run.start) * HELD_BACK)
        tail[cut : run.stop] = True
    return tail


def _held(
    rows: Rows,
    truth: NDArray[np.bool_],
    segments: NDArray[np.int64],
    recent: NDArray[np.bool_],
    window: int,
    seed: int,
) -> Held:
    if enough(truth, segments):
        return Held(rows, truth, segments, "labels", recent)
    # What hangs or changes places has numbers, though one may be missing where it begins; what a source does
    # not send stays missing.
    whole = pd.DataFrame(rows).ffill().bfill().to_numpy(float)
    injected, labels = injection.inject(whole, rate=0.1, seed=seed, window=window)
    injected[np.isnan(rows)] = np.nan
    return Held(injected, labels | truth, segments, "injected", recent)


def fit_training(
    algorithm: str, training: Training, spec: Mapping[str, Any], parameters: Mapping[str, Any], seed: int
) -> fitted.Fitted:
    """Fit one candidate on what teaches; labelled anomalies have a say in its threshold."""
    rows, segments, phase = training.normal
    return fit(algorithm, rows, segments, spec, parameters, seed, phase, training.labelled)


def fit(
    algorithm: str,
    rows: Rows,
    segments: NDArray[np.int64],
    spec: Mapping[str, Any],
    parameters: Mapping[str, Any],
    seed: int,
    phase: NDArray[np.int64] | None = None,
    labelled: fitting.Labelled | None = None,
) -> fitted.Fitted:
    """Fit one candidate as spec (defaults for what an old one lacks) and parameters say; `phase`: (n,)."""
    spec, parameters = apart(spec, parameters)
    section, threshold = spec["features"], spec.get("threshold", {})
    decompose, missing = section.get("decompose", "none"), _missing(spec)
    if decompose != "none" and missing == "drop":
        # Serving has no clock: if it dropped rows, it would lose the season. Here none is left to drop.
        missing = "refuse"
    return fitting.fit(
        algorithm,
        rows,
        channels=tuple(spec["data"]["channels"]),
        window=int(section["window"]),
        scaler=section.get("scaler", "robust"),
        decompose=decompose,
        periods=tuple(section.get("periods", ())),
        statistics=tuple(section.get("statistics", ())),
        missing=missing,
        baseline=int(section.get("baseline", 0)),
        segments=segments,
        phase=None if decompose == "none" else phase,
        parameters=parameters,
        seed=seed,
        threshold=threshold.get("method", "spot"),
        false_alarm_rate=threshold.get("false_alarm_rate", 0.02),
        smoothing=threshold.get("smoothing", 1),
        min_duration=threshold.get("min_duration", 1),
        labelled=labelled,
    )


def answers(model: fitted.Fitted, held: Held) -> Answers:
    """What the model says of the held-back rows, alarms being those that it would raise there."""
    scores = gaps.scores(model, held.rows, held.segments)
    return Answers(scores, model.anomalies(scores, held.segments))


def measure(model: fitted.Fitted, held: Held, said: Answers | None = None) -> dict[str, float | None]:
    """Every figure of one model on the held-back rows, from what it said of them, and what one window costs
    it in milliseconds."""
    said = said or answers(model, held)
    figures = metrics.report(said.scores, held.labels, model.threshold)
    return {**figures, **alarm_figures(said.alarms, held.labels), "latency_ms": _latency(model, held.rows)}


def _latency(model: fitted.Fitted, rows: Rows) -> float:
    block = np.nan_to_num(rows[: model.window])  # what a cell holds costs nothing
    model.score(block)
    spent = []
    for _ in range(LATENCY_SAMPLES):
        begun = time.perf_counter()
        model.score(block)
        spent.append(time.perf_counter() - begun)
    return float(np.median(spent) * 1000)
