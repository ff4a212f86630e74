"""The process of one search: an Experiment's trials, as many at once as it says, until it is over.

    python -m homeostat.infra.local.tune .homeostat/experiments/tune-pump-0a1b2c '{"modules": ["homeostat."]}'

Every change of the Experiment is on disk first, and then a line of standard output: the whole object. The
process dies with the home that started it, and its trials with it; started again, it repeats those that had
not ended, with the same parameters, and no other.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from .child import die_with_parent
from .tuning_experiment import MedianStop, experiment
from .tuning_metrics import Reading, Unreadable, chosen
from .tuning_plans import Not
from .tuning_state import Trial, load_object, load_trials, save_object, save_trial
from .tuning_status import state_of, updated
from .tuning_suggestions import Suggestions
from .tuning_trial import Limits, Process, begin, last_words

PAUSE_SECONDS = 0.02
EARLY = "early stopped"


@dataclass(frozen=True)
class Engine:
    """What a home allows: modules, and the limits of trials whose manifest has none."""

    modules: tuple[str, ...]
    memory: int | None = None
    seconds: float | None = None


@dataclass
class Running:
    """`median` is what its first values have to come up to, None without early stopping."""

    trial: Trial
    process: Process
    reading: Reading
    log_file: Path
    median: float | None


class Search:
    """One Experiment, from where it was."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        self._folder, self._engine = folder, engine
        self._object = load_object(folder)
        self._what = experiment(self._object, engine.modules)
        self._trials = load_trials(folder)
        uid = self._object["metadata"]["uid"]
        self._suggestions = Suggestions(self._what, uid, folder, self._trials)
        self._running: list[Running] = []
        self._exhausted = False

    def run(self) -> None:
        for trial in self._trials:
            if not trial.finished:
                self._running.append(self._begin(trial))
        while self._look():
            time.sleep(PAUSE_SECONDS)

    def _look(self) -> bool:
        """One round; False when the Experiment is over."""
        changed = [one for one in self._running if self._ended(one)]
        for one in changed:
            self._running.remove(one)
        if self._publish() and self._fill():
            self._publish()
        return state_of(self._object) == "running"

    def _fill(self) -> bool:
        """Begin trials while there is room; whether anything has changed."""
        before = len(self._trials)
        while len(self._running) < self._what.parallel and not self._full():
            trial = self._suggestions.following(self._trials)
            if isinstance(trial, Not):
                self._exhausted = trial is Not.ANY_MORE
                break
            save_trial(self._folder, trial)
            self._trials.append(trial)
            self._running.append(self._begin(trial))
        return len(self._trials) > before or (self._exhausted and not self._running)

    def _full(self) -> bool:
        most = self._what.max_trials
        return most is not None and len(self._trials) >= most

    def _publish(self) -> bool:
        """Write and tell what has changed; False when the Experiment is over. What still runs then is ended
        first, so that its last status is the whole truth."""
        new = self._now()
        if state_of(new) != "running" and self._running:
            self._end_all()
            new = self._now()
        if new["status"] != self._object["status"]:
            self._object = new
            save_object(self._folder, new)
            sys.stdout.buffer.write(orjson.dumps(new) + b"\n")
            sys.stdout.buffer.flush()
        return state_of(new) == "running"

    def _now(self) -> dict[str, Any]:
        return updated(self._object, self._what, self._trials, exhausted=self._exhausted)

    # --- one trial ----------------------------------------------------------------------------------------
    def _begin(self, trial: Trial) -> Running:
        place = self._folder / "trials" / trial.name
        log_file, collect, job = place / "log", self._what.collector, self._what.template
        file = place / "metrics" if collect.path else log_file
        if collect.path:
            file.unlink(missing_ok=True)  # of an attempt that was interrupted
        command, environment = job.filled(
            trial.assignments,
            trial.name,
            self._what.namespace,
            {collect.path: str(file)} if collect.path else {},
        )
        limits = Limits(job.memory or self._engine.memory, job.seconds or self._engine.seconds)
        threads = str(max(1, (os.cpu_count() or 1) // self._what.parallel))
        process = begin(
            command, {"OMP_NUM_THREADS": threads, **environment, **self._home()}, log_file, limits
        )
        return Running(trial, process, Reading(collect, file), log_file, self._median())

    @staticmethod
    def _home() -> dict[str, str]:
        """The home's own variables, which a manifest does not change."""
        return {name: value for name, value in os.environ.items() if name.startswith("HOMEOSTAT_")}

    def _median(self) -> float | None:
        """What Katib calls the median: the mean of what finished trials had reached this early."""
        stop = self._what.early_stopping
        told = [one.early for one in self._trials if one.condition == "Succeeded" and one.early is not None]
        return sum(told) / len(told) if stop and len(told) >= stop.min_trials_required else None

    def _ended(self, one: Running) -> bool:
        if not one.process.ended():
            if one.median is not None and one.process.reason is None and self._behind(one, one.median):
                one.process.stop(EARLY)
            return False
        self._conclude(one)
        save_trial(self._folder, one.trial)
        self._suggestions.tell(one.trial)
        return True

    def _behind(self, one: Running, median: float) -> bool:
        """Asked of its first values only, at the step where it begins to count, as Katib's collector asks."""
        count = self._what.early_stopping.start_step if self._what.early_stopping else 0
        try:
            one.reading.more()
        except Unreadable:
            return False  # said when the trial ends
        first = one.reading.of(self._what.objective.name)[:count]
        if len(first) < count:
            return False
        one.median = None  # asked and answered
        best = max(first) if self._what.objective.maximize else min(first)
        return self._what.objective.better(median, best)

    def _conclude(self, one: Running) -> None:
        """Write down how it ended."""
        trial, code, goal = one.trial, one.process.process.returncode, self._what.objective
        try:
            one.reading.more(last=True)
            broken = None
        except Unreadable as error:
            broken = str(error)
        trial.metrics = one.reading.observation(list(goal.strategies))
        trial.value = chosen(trial.metrics, goal.name, goal.strategies[goal.name])
        trial.early = _mean(one.reading.of(goal.name), self._what.early_stopping)
        if one.process.reason == EARLY:
            trial.condition, trial.message = "EarlyStopped", "Trial is early stopped"
        elif one.process.reason or code != 0 or broken:
            trial.condition = "Failed"
            trial.message = one.process.reason or broken or last_words(one.log_file, code)
        elif trial.value is None:
            trial.condition, trial.message = "MetricsUnavailable", "Metrics are not available"
        else:
            trial.condition, trial.message = "Succeeded", "Trial has succeeded"

    def _end_all(self) -> None:
        """End what still runs; it counts as killed."""
        for one in self._running:
            one.process.stop("the Experiment is over")
        while self._running:
            for one in [one for one in self._running if one.process.ended()]:
                self._running.remove(one)
                one.trial.condition, one.trial.message = "Killed", "the Experiment was over"
                save_trial(self._folder, one.trial)
            time.sleep(PAUSE_SECONDS)


def _mean(values: Sequence[float], stop: MedianStop | None) -> float | None:
    first = values[: stop.start_step] if stop else []
    return sum(first) / len(first) if first else None


def main() -> None:
    folder, options = Path(sys.argv[1]), orjson.loads(sys.argv[2])
    die_with_parent()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(1))
    with (folder / "lock").open("w") as lock:
        # Whoever still works on this search (an orphan, for a moment) is waited for, never joined.
        fcntl.flock(lock, fcntl.LOCK_EX)
        Search(folder, Engine(**{**options, "modules": tuple(options["modules"])})).run()


if __name__ == "__main__":
    main()
