"""Register the best candidate, once per run."""

from kfp import dsl

from . import IMAGE


@dsl.component(base_image=IMAGE, packages_to_install=[], install_kfp_package=False)
def register(
    run: str,
    detector: str,
    cause: str,
    tracking_uri: str,
    fingerprint: str,
    rows: int,
    seed: int,
    judged: str,
) -> str:
    """Returns what `announce` tells, as JSON."""
    import json

    from homeostat.models.registry import Registration, register_once
    from homeostat.pipelines.selection import completed

    found = json.loads(judged)
    chosen = found["chosen"]
    version = register_once(
        tracking_uri,
        Registration(
            detector=detector,
            run=run,
            uri=chosen["uri"],
            algorithm=chosen["algorithm"],
            parameters={"seed": seed, "rows": rows, **chosen["parameters"]},
            metrics=chosen["metrics"],
            fingerprint=fingerprint,
            cause=json.loads(cause)["id"],
            report=found["report"],
        ),
    )
    return json.dumps(completed(run, found, version, rows, fingerprint))
