"""The model registry (MLflow): one version per run, however often the run is told to register.

MLflow takes seconds to import, so nothing but the step that registers imports this module's insides.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version as package_version
from typing import Any

RUN_TAG = "homeostat.run"


@dataclass(frozen=True, slots=True)
class Registration:
    """What is recorded of a trained candidate. `run` is the run's name, and so the version's identity."""

    detector: str
    run: str
    uri: str
    algorithm: str
    parameters: Mapping[str, Any]
    metrics: Mapping[str, float | None]
    fingerprint: str
    cause: str
    report: str = ""


def register_once(tracking_uri: str, registration: Registration) -> str:
    """Record the candidate and return its version; a run that has one already gets the same again.

    The version is created together with the tag that names its run, so that a crash in between cannot leave
    one that a second attempt would not find.
    """
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
    found = _versions(client, registration.detector, registration.run)
    if found:
        return str(found[0].version)
    _ensure_model(client, registration.detector)
    run_id = _record(client, registration)
    made = client.create_model_version(
        registration.detector,
        source=registration.uri,
        run_id=run_id,
        tags={RUN_TAG: registration.run, "homeostat.algorithm": registration.algorithm},
    )
    return str(made.version)


def _versions(client: Any, detector: str, run: str) -> list[Any]:
    return list(client.search_model_versions(f"name = '{detector}' and tags.`{RUN_TAG}` = '{run}'"))


def _ensure_model(client: Any, detector: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(detector)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _record(client: Any, registration: Registration) -> str:
    """An MLflow run with parameters, metrics and origin, in the Detector's experiment."""
    from mlflow.entities import Metric, Param, RunTag

    experiment = client.get_experiment_by_name(registration.detector)
    identity = experiment.experiment_id if experiment else client.create_experiment(registration.detector)
    now = int(time.time() * 1000)
    recorded = client.create_run(identity, start_time=now, run_name=registration.run)
    tags = {
        RUN_TAG: registration.run,
        "homeostat.cause": registration.cause,
        "homeostat.data": registration.fingerprint,
        "homeostat.code": package_version("homeostat"),
        "homeostat.algorithm": registration.algorithm,
        "homeostat.report": registration.report,
    }
    client.log_batch(
        recorded.info.run_id,
        params=[Param(name, str(value)) for name, value in registration.parameters.items()],
        metrics=[
            Metric(name, value, now, 0)
            for name, value in registration.metrics.items()
            if value is not None and math.isfinite(value)
        ],
        tags=[RunTag(name, value) for name, value in tags.items()],
    )
    client.set_terminated(recorded.info.run_id)
    return str(recorded.info.run_id)
