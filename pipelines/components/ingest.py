"""Read the accepted batches into one dataset."""

from typing import List  # noqa: UP035 - KFP reads typing's List

from kfp import dsl

from . import IMAGE


@dsl.component(base_image=IMAGE, packages_to_install=[], install_kfp_package=False)
def ingest(data: List[str], spec: str, rows: dsl.Output[dsl.Dataset]) -> str:  # noqa: UP006
    """Returns the data's fingerprint."""
    import json

    from homeostat.models.data import fingerprint
    from homeostat.pipelines.steps import gather

    frame = gather(data, json.loads(spec))
    frame.to_parquet(rows.path)
    rows.metadata["rows"] = len(frame)
    return fingerprint(frame)
