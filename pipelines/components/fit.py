"""Fit one candidate and write its artifact to its immutable place."""

from kfp import dsl

from . import IMAGE


@dsl.component(base_image=IMAGE, packages_to_install=[], install_kfp_package=False)
def fit(
    algorithm: str,
    run: str,
    detector: str,
    spec: str,
    parameters: str,
    seed: int,
    models_root: str,
    fingerprint: str,
    training: dsl.Input[dsl.Dataset],
    model: dsl.Output[dsl.Model],
) -> None:
    import json
    from pathlib import Path

    from homeostat.models import artifact, shelf
    from homeostat.pipelines.steps import fit_training
    from homeostat.pipelines.taught import Training

    learn, chosen = Training.load(training.path), json.loads(parameters).get(algorithm, {})
    fitted = fit_training(algorithm, learn, json.loads(spec), chosen, seed)
    place = f"{models_root.rstrip('/')}/{detector}/{run}/{algorithm}"
    origin = {"run": run, "detector": detector, "data": fingerprint, "seed": seed, "until": learn.until}
    with shelf.making(place) as folder:
        artifact.save(fitted, folder, origin)
    model.metadata.update({"algorithm": algorithm, "folder": place, "parameters": json.dumps(chosen)})
    Path(model.path).write_text(place)
