"""A run whose steps share nothing but an object store, as a cluster's pods do: S3, played by moto."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from homeostat.infra.cluster.artifacts import stored_model
from homeostat.pipelines import steps
from homeostat.pipelines.components.compare import compare
from homeostat.pipelines.components.evaluate import evaluate
from homeostat.pipelines.components.fit import fit
from tests.pipelines.test_steps import rows, spec

ROOT = "s3://plant/models"


class Output:
    """What KFP hands to a step for an artifact: a path of its own pod, and metadata that travel."""

    def __init__(self, path: Path) -> None:
        self.path, self.metadata = str(path), dict[str, Any]()

    def log_metric(self, name: str, value: float) -> None:
        self.metadata[name] = value


def trained(folder: Path, run: str, champion: str = "") -> dict[str, Any]:
    """What `compare` finds of one run with one candidate."""
    folder.mkdir()
    asked, read = spec(folder), rows(3000, seed=len(run))
    read["datetime"] = read["datetime"].dt.tz_localize("UTC")
    frame, _ = steps.screen(read, asked, champion)
    learn, held = steps.split(frame, asked, 0)
    training, held_back, model = (Output(folder / name) for name in ("training", "held", "model"))
    learn.save(training.path)
    held.save(held_back.path)
    named = {"run": run, "detector": "pump", "spec": json.dumps(asked)}
    fit.python_func(
        "kmeans-ad",
        parameters="{}",
        seed=0,
        models_root=ROOT,
        fingerprint="f",
        training=training,
        model=model,
        **named,
    )
    one = evaluate.python_func(named["spec"], held_back, model, Output(folder / "figures"))
    page = Output(folder / "page.html")
    found: dict[str, Any] = json.loads(
        compare.python_func(
            champion=champion,
            training=training,
            held_back=held_back,
            evaluations=[one],
            page=page,
            **named,
        )
    )
    return found


@pytest.fixture(autouse=True)
def elsewhere(s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written to the pod's own disk by mistake is written here."""
    monkeypatch.chdir(tmp_path)


def test_a_run_leaves_its_model_and_its_report_in_the_store_and_nothing_on_its_own_disk(
    s3: Any, tmp_path: Path
) -> None:
    found = trained(tmp_path / "pod", "pump-1")
    assert found["chosen"]["uri"] == f"{ROOT}/pump/pump-1/kmeans-ad"
    assert found["report"] == f"{ROOT}/pump/pump-1/report.html"
    assert found["chosen"]["metrics"]["canary_inputs"] == 1.0
    kept = {one["Key"] for one in s3.list_objects_v2(Bucket="plant")["Contents"]}
    folder = "models/pump/pump-1"
    files = ("manifest.json", "weights.safetensors", "drift.json", "drift.safetensors")
    assert kept == {f"{folder}/report.html", *(f"{folder}/kmeans-ad/{one}" for one in files)}
    assert {one.name for one in tmp_path.iterdir()} == {"pod"}


def test_the_next_run_lays_its_candidate_beside_the_champion_from_the_store(tmp_path: Path) -> None:
    first = trained(tmp_path / "one", "pump-1")
    second = trained(tmp_path / "two", "pump-22", champion=first["chosen"]["uri"])
    assert second["champion_metrics"]["vus_pr"] is not None


def test_the_drift_host_reads_it_there(tmp_path: Path) -> None:
    found = trained(tmp_path / "pod", "pump-1")
    model = stored_model(found["chosen"]["uri"])
    assert model.calibration is not None
    with pytest.raises(ValueError, match="cannot be fetched"):
        stored_model("s3://nobodys/models/pump")
