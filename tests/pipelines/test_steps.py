"""The steps as plain functions: what may teach, what judges, which candidate is best."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from homeostat.functions.spec import Spec
from homeostat.models import artifact
from homeostat.models.data import DataError
from homeostat.models.simulator import CHANNELS, simulate
from homeostat.pipelines import steps
from homeostat.pipelines.held import Held
from homeostat.pipelines.selection import best, pack, unpack

START = datetime(2026, 3, 1, 8)


def spec(folder: Path, label: str | None = "anomaly", **more: dict[str, Any]) -> dict[str, Any]:
    document = {
        "data": {"uri": f"{folder}/", "channels": list(CHANNELS), "label": label},
        **more,
        "features": {"window": 20, **more.get("features", {})},
    }
    return Spec.model_validate(document).model_dump(mode="json")


def rows(count: int = 1500, faults: float = 0.1, seed: int = 1, **more: Any) -> pd.DataFrame:
    return simulate(count, start=START, seed=seed, faults=faults, **more)


def test_batches_are_read_in_their_order_from_below_the_detectors_root_only(tmp_path: Path) -> None:
    for name, hours in (("a.csv", 0), ("b.csv", 1)):
        frame = simulate(100, start=START + timedelta(hours=hours), seed=hours)
        frame.to_csv(tmp_path / name, sep=";", index=False)
    uris = [str(tmp_path / "a.csv"), str(tmp_path / "b.csv")]
    frame = steps.gather(uris, spec(tmp_path))
    assert len(frame) == 200
    assert frame["datetime"].is_monotonic_increasing
    with pytest.raises(DataError, match=r"a\.csv"):
        steps.gather(uris, spec(tmp_path / "elsewhere"))


def test_labelled_anomalies_never_teach(tmp_path: Path) -> None:
    frame, figures = steps.screen(rows(), spec(tmp_path), "")
    assert not frame.loc[frame["anomaly"] == 1, "teaches"].any()
    assert frame.loc[frame["anomaly"] == 0, "teaches"].all()
    assert figures["labelled_anomalies"] == frame["anomaly"].sum() > 0


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A forest that knows the commissioned rig."""
    folder = tmp_path_factory.mktemp("models") / "champion"
    calm = rows(3000, faults=0.0)[list(CHANNELS)].to_numpy(float)
    fitted = steps.fit("isolation-forest", calm, np.zeros(3000, int), spec(folder), {}, 0)
    artifact.save(fitted, folder, {})
    return str(folder)


def test_what_the_champion_flags_is_kept_out_unless_a_label_clears_it(tmp_path: Path, champion: str) -> None:
    frame = rows(2000, faults=0.0, seed=3)
    channels = list(CHANNELS)
    frame.loc[1000:1099, channels] += 50 * frame[channels].std()
    unlabelled, figures = steps.screen(frame.drop(columns="anomaly"), spec(tmp_path), champion)
    assert not unlabelled.loc[1010:1090, "teaches"].any()
    assert 80 <= figures["quarantined"] < 600
    labelled, figures = steps.screen(frame, spec(tmp_path), champion)
    assert labelled["teaches"].all()
    assert figures["quarantined"] == 0


def test_a_champion_that_flags_nearly_everything_keeps_nothing_out(tmp_path: Path, champion: str) -> None:
    frame = rows(1000, faults=0.0, regime="rebuilt").drop(columns="anomaly")
    screened, figures = steps.screen(frame, spec(tmp_path), champion)
    assert screened["teaches"].all()
    assert figures["quarantine_lifted"] == 1.0


def test_the_tail_of_every_segment_judges_and_never_teaches(tmp_path: Path) -> None:
    later = rows(1000, seed=2).assign(datetime=lambda one: one["datetime"] + timedelta(hours=5))
    frame = pd.concat([rows(1000), later], ignore_index=True).assign(teaches=True, mark=np.arange(2000.0))
    frame["anomaly"] = (frame.index % 100 < 10).astype(int)
    marked = {**spec(tmp_path), "data": {**spec(tmp_path)["data"], "channels": [*CHANNELS, "mark"]}}
    training, held = steps.split(frame, marked, seed=0)
    taught, judging = set(training.rows[:, -1]), set(held.rows[:, -1])
    assert not taught & judging
    assert judging == {*range(700, 1000), *range(1700, 2000)}
    assert len(np.unique(training.segments)) == 2
    assert held.judged_on == "labels"


def test_no_window_reaches_across_rows_that_were_taken_out(tmp_path: Path) -> None:
    frame = rows(1000).assign(teaches=True)
    frame.loc[300:349, "teaches"] = False
    training, _ = steps.split(frame, spec(tmp_path), seed=0)
    _, segments, phase = training.normal
    assert segments[299] != segments[300]
    assert phase[300] - phase[299] == 51


def test_without_enough_labels_injected_anomalies_judge_and_it_is_said(tmp_path: Path) -> None:
    frame = rows(1000, faults=0.0).assign(teaches=True)
    _, held = steps.split(frame, spec(tmp_path), seed=0)
    assert held.judged_on == "injected"
    assert held.labels.any()


def test_where_the_tail_has_few_labelled_faults_the_others_judge_too_and_teach_nothing(
    tmp_path: Path,
) -> None:
    frame = rows(1000, faults=0.0).assign(teaches=True, mark=np.arange(1000.0), anomaly=0)
    for start in (100, 140, 800):
        frame.loc[start : start + 19, ["teaches", "anomaly"]] = [False, 1]
    marked = {**spec(tmp_path), "data": {**spec(tmp_path)["data"], "channels": [*CHANNELS, "mark"]}}
    training, held = steps.split(frame, marked, seed=0)
    assert held.judged_on == "labels"
    assert set(held.rows[:, -1]) == {*range(100, 120), *range(140, 160), *range(700, 1000)}
    assert held.labels.sum() == 60
    assert not set(training.rows[:, -1]) & set(held.rows[:, -1])
    assert training.labelled is None


def test_too_few_rows_say_how_many_are_needed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs 80"):
        steps.split(rows(90).assign(teaches=True), spec(tmp_path), seed=0)


def test_held_back_rows_survive_the_file(tmp_path: Path) -> None:
    _, held = steps.split(rows(1000).assign(teaches=True), spec(tmp_path), seed=0)
    held.save(str(tmp_path / "held"))
    again = Held.load(str(tmp_path / "held"))
    assert np.array_equal(again.rows, held.rows)
    assert np.array_equal(again.labels, held.labels)
    assert again.judged_on == held.judged_on


def evaluation(metric: float | None, alarms: float | None) -> dict[str, Any]:
    return {"metrics": {"vus_pr": metric, "false_alarm_rate": alarms}}


GATE = {"metric": "vus_pr", "max_false_alarm_rate": 0.1}


def test_the_best_candidate_is_the_best_within_the_false_alarm_budget() -> None:
    loud, fair, poor = evaluation(0.9, 0.5), evaluation(0.6, 0.05), evaluation(0.2, 0.0)
    assert best([loud, fair, poor], GATE) is fair
    assert best([loud, evaluation(0.7, None)], GATE) is loud
    assert best([evaluation(None, 0.0), poor], GATE) is poor
    with pytest.raises(ValueError, match="no candidate"):
        best([], GATE)


def test_a_packed_evaluation_has_no_character_that_json_would_quote() -> None:
    packed = pack({"a": 'quote " and \\ and ü'})
    assert packed.isascii()
    assert not set(packed) & set('"\\\n')
    assert unpack(packed) == {"a": 'quote " and \\ and ü'}
