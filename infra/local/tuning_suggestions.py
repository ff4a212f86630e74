"""What to try next, on Optuna: its samplers behind Katib's names, its study as the memory of a search.

This file loads Optuna (and a Gaussian process torch), so only the process of a search imports it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from .tuning_experiment import Experiment
from .tuning_parameters import Parameter, Value
from .tuning_plans import Not, plan
from .tuning_state import Trial, trial_name

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.filterwarnings("ignore", module="optuna")  # deprecated and experimental arguments: the lock pins it


class Suggestions:
    """The study of one Experiment. It is opened again after a crash, and told what it missed."""

    def __init__(self, what: Experiment, uid: str, folder: Path, trials: Sequence[Trial]) -> None:
        self._what, self._uid = what, uid
        given = what.settings.get("random_state")
        seed = int(given) if given is not None else int(uid.replace("-", "")[:7], 16)
        self._plan = plan(what, seed)
        self._planned = Planned()
        # Chance goes on from where it was: the same seed again would try the same again.
        sampler = self._planned if self._plan else SAMPLERS[what.algorithm](what.settings, seed + len(trials))
        self._axes = {axis.name: distribution(axis) for axis in what.parameters}
        self._study = _study(folder / "study.log", what, sampler)
        self._catch_up(trials)

    def following(self, trials: Sequence[Trial]) -> Trial | Not:
        """The next trial, or that there is none (for now)."""
        slot = len(trials)
        if self._plan is not None:
            found = self._plan.following(trials)
            if isinstance(found, Not):
                return found
            slot, self._planned.values = found
        asked = self._study.ask(self._axes)
        # A plan's values count as they are: Optuna's may be bounded more narrowly (hyperband's resource).
        params: dict[str, Value] = dict(self._planned.values) if self._plan else asked.params
        return Trial(
            name=trial_name(self._what.name, self._uid, asked.number),
            number=asked.number,
            slot=slot,
            params=params,
            assignments={axis.name: self._text(axis, params[axis.name]) for axis in self._what.parameters},
        )

    def _text(self, axis: Parameter, value: Value) -> str:
        # Hyperband's resource is what its bracket says, whatever the parameter's own bounds.
        resource = axis.name == self._what.settings.get("resource_name")
        return str(value) if resource else axis.text(value)

    def tell(self, trial: Trial) -> None:
        """How a trial ended. Early stopped ones count with what they had reached, as in Katib."""
        if trial.value is not None and trial.condition in ("Succeeded", "EarlyStopped"):
            self._study.tell(trial.number, trial.value, skip_if_finished=True)
        else:
            self._study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)

    def _catch_up(self, trials: Sequence[Trial]) -> None:
        known = {one.number: one for one in trials}
        for one in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if one.number not in known:
                # Asked for, and then a crash before anything was begun.
                self._study.tell(one.number, state=TrialState.FAIL)
            elif known[one.number].finished:
                self.tell(known[one.number])


class Planned(BaseSampler):
    """Takes the values that a plan has."""

    def __init__(self) -> None:
        self.values: Mapping[str, Value] = {}

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self.values[param_name]


def _tpe(settings: Mapping[str, Any], seed: int, *, multivariate: bool) -> BaseSampler:
    named = {"n_startup_trials": "n_startup_trials", "n_ei_candidates": "n_ei_candidates"}
    named |= {"n_EI_candidates": "n_ei_candidates", "prior_weight": "prior_weight"}
    given = {ours: settings[name] for name, ours in named.items() if name in settings}
    if (share := settings.get("gamma")) is not None:
        given["gamma"] = lambda count: max(1, int(share * count))
    return TPESampler(
        seed=seed,
        multivariate=multivariate,
        constant_liar=True,
        warn_independent_sampling=False,
        **given,
    )


def _cmaes(settings: Mapping[str, Any], seed: int) -> BaseSampler:
    return CmaEsSampler(seed=seed, sigma0=settings.get("sigma"), warn_independent_sampling=False)


def _gaussian_process(settings: Mapping[str, Any], seed: int) -> BaseSampler:
    first = settings.get("n_initial_points", 10)
    return GPSampler(seed=seed, n_startup_trials=first, warn_independent_sampling=False)


SAMPLERS: Mapping[str, Callable[[Mapping[str, Any], int], BaseSampler]] = {
    "random": lambda _, seed: RandomSampler(seed=seed),
    "tpe": lambda settings, seed: _tpe(settings, seed, multivariate=False),
    "multivariate-tpe": lambda settings, seed: _tpe(settings, seed, multivariate=True),
    "bayesianoptimization": _gaussian_process,
    "cmaes": _cmaes,
}


def distribution(axis: Parameter) -> BaseDistribution:
    """A parameter as Optuna searches it."""
    if axis.values:
        return CategoricalDistribution(axis.values)
    if axis.normal:
        return FloatDistribution(*axis.quantiles)
    if axis.kind == "int":
        step = 1 if axis.log else int(axis.step or 1)
        return IntDistribution(int(axis.low), int(axis.high), log=axis.log, step=step)
    return FloatDistribution(axis.low, axis.high, log=axis.log, step=axis.step)


def _study(file: Path, what: Experiment, sampler: BaseSampler) -> Study:
    _mend(file)
    storage = JournalStorage(JournalFileBackend(str(file)))
    return optuna.create_study(
        storage=storage,
        sampler=sampler,
        study_name=what.name,
        direction="maximize" if what.objective.maximize else "minimize",
        load_if_exists=True,
    )


def _mend(file: Path) -> None:
    """Clear away what a crash has left: Optuna's lock (the folder's is held), for which it would wait, and an
    unfinished last line, for which it would refuse the whole file."""
    for lock in file.parent.glob(f"{file.name}.lock*"):
        lock.unlink()
    if file.exists() and (content := file.read_bytes()) and not content.endswith(b"\n"):
        with file.open("r+b") as journal:
            journal.truncate(content.rfind(b"\n") + 1)
