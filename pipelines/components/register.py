"""Register the best candidate, once per run."""

from typing import List  # noqa: UP035 - KFP reads typing's List

from kfp import dsl

from . import IMAGE


@dsl.component(base_image=IMAGE, packages_to_install=[], install_kfp_package=False)
def register(
    run: str,
    detector: str,
    spec: str,
    cause: str,
    tracking_uri: str,
    fingerprint: str,
    rows: int,
    seed: int,
    evaluations: List[str],  # noqa: UP006
) -> str:
    """Returns what `announce` tells, as JSON."""
    import json

    from homeostat.models.registry import Registration, register_once
    from homeostat.pipelines.selection import best, completed, unpack

    found = [unpack(one) for one in evaluations]
    chosen = best(found, json.loads(spec)["gate"])
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
        ),
    )
    return json.dumps(completed(run, chosen, found, version, rows, fingerprint))
