"""One trial of a search: fit a candidate with these parameters, as a training would, and print its figures.

    HOMEOSTAT_TRIAL='{"algorithm": …}' python -m homeostat.pipelines.trial --window=64 --trees=200

What every trial has in common is in the environment (see `tuning`). Figures are `name=value` lines, which
Katib's StdOut collector reads; a figure that could not be measured is left out. The exit code is 1 when the
candidate could not be fitted, or the objective not measured.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from .tuning import TASK

Figures = Mapping[str, float | None]


def main(arguments: Sequence[str], task: str) -> int:
    try:
        wanted, parameters = orjson.loads(task), parsed(arguments)
        figures = measured(wanted, parameters)
    except Exception as error:  # noqa: BLE001 - whatever went wrong is this trial's failure
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    for name, value in figures.items():
        if value is not None:
            print(f"{name}={value:.6g}", flush=True)
    metric = wanted["spec"]["gate"]["metric"]
    if figures.get(metric) is None:
        print(f"{metric} could not be measured on the held-back rows", file=sys.stderr)
        return 1
    return 0


def parsed(arguments: Sequence[str]) -> dict[str, str]:
    """`--name=value` arguments, whichever there are: the algorithm knows which it takes, and says so."""
    found = {}
    for one in arguments:
        name, given, value = one.partition("=")
        if not (name.startswith("--") and given):
            raise ValueError(f"{one!r} is no parameter: write --name=value")
        found[name.removeprefix("--")] = value
    return found


def measured(task: Mapping[str, Any], parameters: Mapping[str, Any]) -> Figures:
    """The figures on held-back rows, those that a training with the same data and parameters would tell."""
    from . import steps

    spec = task["spec"]
    screened, _ = steps.screen(steps.gather(task["data"], spec), spec, task["champion"])
    training, held = steps.split(screened, spec, 0)
    return steps.measure(steps.fit_training(task["algorithm"], training, spec, parameters, 0), held)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ.get(TASK, "{}")))
