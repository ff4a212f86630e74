"""Keep out of training what must not teach."""

from kfp import dsl

from . import IMAGE


@dsl.component(base_image=IMAGE, packages_to_install=[], install_kfp_package=False)
def validate(
    spec: str,
    champion: str,
    rows: dsl.Input[dsl.Dataset],
    screened: dsl.Output[dsl.Dataset],
    figures: dsl.Output[dsl.Metrics],
) -> int:
    """Returns the number of rows."""
    import json

    import pandas as pd

    from homeostat.pipelines.steps import screen

    frame, counted = screen(pd.read_parquet(rows.path), json.loads(spec), champion)
    frame.to_parquet(screened.path)
    for name, value in counted.items():
        figures.log_metric(name, value)
    return len(frame)
