"""Align the rows, and hold back the tails that judge."""

from kfp import dsl

from . import IMAGE


@dsl.component(base_image=IMAGE, packages_to_install=[], install_kfp_package=False)
def features(
    spec: str,
    seed: int,
    screened: dsl.Input[dsl.Dataset],
    training: dsl.Output[dsl.Dataset],
    held_back: dsl.Output[dsl.Dataset],
) -> None:
    import json

    import pandas as pd

    from homeostat.pipelines.steps import split

    learn, held = split(pd.read_parquet(screened.path), json.loads(spec), seed)
    learn.save(training.path)
    held.save(held_back.path)
