"""The Experiment of a StartTuning, the same in both homes."""

from __future__ import annotations

from typing import Any

from homeostat.eventing.errors import Fault, Reject
from homeostat.eventing.messages import StartTuning
from homeostat.functions.spec import Spec
from homeostat.pipelines.tuning import Search, Trials, experiment


def document(command: StartTuning, spec: Spec, trials: Trials) -> dict[str, Any]:
    """Raises Reject for a search that cannot be done: what is in the way, and its mend."""
    search = Search(
        name=command.experiment,
        detector=command.detector,
        algorithm=command.algorithm,
        data=command.data,
        spec=spec.model_dump(mode="json"),
        champion=command.champion or "",
    )
    try:
        return experiment(search, trials)
    except ValueError as error:
        raise Reject(Fault("spec.tuning", spec.tuning.algorithm, str(error))) from None
