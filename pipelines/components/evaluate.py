"""Measure one candidate on the held-back rows."""

from kfp import dsl

from . import IMAGE


@dsl.component(base_image=IMAGE, packages_to_install=[], install_kfp_package=False)
def evaluate(
    spec: str,
    held_back: dsl.Input[dsl.Dataset],
    model: dsl.Input[dsl.Model],
    figures: dsl.Output[dsl.Metrics],
) -> str:
    """Returns the packed evaluation: algorithm, uri, parameters, metrics, what judged."""
    import json

    from homeostat.pipelines.held import Held
    from homeostat.pipelines.judging import evaluated
    from homeostat.pipelines.selection import pack

    evaluation = evaluated(dict(model.metadata), Held.load(held_back.path), json.loads(spec))
    for name, value in evaluation["metrics"].items():
        if value is not None:
            figures.log_metric(name, value)
    return pack(evaluation)
