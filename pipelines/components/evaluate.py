"""Measure one candidate, and the champion, on the same held-back rows."""

from kfp import dsl

from . import IMAGE


@dsl.component(base_image=IMAGE, packages_to_install=[], install_kfp_package=False)
def evaluate(
    spec: str,
    champion: str,
    held_back: dsl.Input[dsl.Dataset],
    model: dsl.Input[dsl.Model],
    figures: dsl.Output[dsl.Metrics],
) -> str:
    """Returns the packed evaluation: algorithm, uri, metrics, champion's metrics, what judged."""
    import json

    from homeostat.models import artifact
    from homeostat.pipelines.selection import pack
    from homeostat.pipelines.steps import Held, champion_for, measure

    held = Held.load(held_back.path)
    serving = champion_for(champion, json.loads(spec))
    measured = measure(artifact.load(model.metadata["folder"]), held)
    for name, value in measured.items():
        if value is not None:
            figures.log_metric(name, value)
    return pack(
        {
            "algorithm": model.metadata["algorithm"],
            "uri": model.metadata["folder"],
            "parameters": json.loads(model.metadata["parameters"]),
            "metrics": measured,
            "champion_metrics": measure(serving, held) if serving else None,
            "judged_on": held.judged_on,
        }
    )
