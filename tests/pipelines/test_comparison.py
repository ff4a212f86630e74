"""What a run says of its candidate beside the champion: on which rows, how surely, and on what page."""

from __future__ import annotations

import json
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from homeostat.models import artifact
from homeostat.models.bootstrap import Answers
from homeostat.models.canary_inputs import Answered
from homeostat.models.simulator import CHANNELS
from homeostat.pipelines import comparison, regimes, steps
from homeostat.pipelines.held import Flags, Held, enough
from homeostat.pipelines.judging import evaluated, found, keep
from homeostat.pipelines.report import render
from tests.pipelines.test_steps import rows, spec

LATER = timedelta(days=30)


def times(frame: pd.DataFrame, by: timedelta) -> pd.DataFrame:
    return frame.assign(datetime=pd.to_datetime(frame["datetime"], utc=True) + by)


def artifact_of(folder: Path, algorithm: str = "kmeans-ad", until: str = "", **more: Any) -> Path:
    calm = rows(2000, faults=0.0, **more)[list(CHANNELS)].to_numpy(float)
    fitted = steps.fit(algorithm, calm, np.zeros(len(calm), int), spec(folder), {}, 0)
    artifact.save(fitted, folder, {"until": until})
    return folder


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It knows the commissioned rig, up to the end of the first 2000 rows."""
    until = regimes.latest(times(rows(2000), timedelta(0))["datetime"])
    return artifact_of(tmp_path_factory.mktemp("models") / "champion", until=until)


@pytest.fixture(scope="module")
def challenger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It knows the rebuilt rig only."""
    return artifact_of(tmp_path_factory.mktemp("models") / "run" / "kmeans-ad", regime="rebuilt")


@pytest.fixture(scope="module")
def asked(champion: Path) -> dict[str, Any]:
    return spec(champion)


@pytest.fixture(scope="module")
def held() -> Held:
    """Rows of both worlds, with faults in each."""
    frames = [rows(3000, faults=0.2, seed=4), rows(3000, faults=0.2, seed=5, regime="rebuilt")]
    values = np.concatenate([one[list(CHANNELS)].to_numpy(float) for one in frames])
    labels = np.concatenate([one["anomaly"].to_numpy(bool) for one in frames])
    later = np.repeat([0, 1], 3000)
    return Held(values, labels, later, "labels", later.astype(bool))


def test_rows_after_all_that_the_champions_run_read_are_the_new_regime(
    asked: dict[str, Any], champion: Path
) -> None:
    old, new = times(rows(2000, seed=4), timedelta(0)), times(rows(2000, seed=5), LATER)
    screened, _ = steps.screen(pd.concat([old, new], ignore_index=True), asked, str(champion))
    both = steps.split(screened, asked, seed=0)[1]
    (border,) = np.flatnonzero(np.diff(both.recent.astype(int)))
    assert not both.recent[0]
    assert both.segments[border] != both.segments[border + 1]


def test_a_retrain_on_the_same_rows_has_no_new_regime_and_without_a_champion_all_is_new(
    asked: dict[str, Any], champion: Path
) -> None:
    frame = times(rows(2000), timedelta(0))
    assert not steps.screen(frame, asked, str(champion))[0]["recent"].any()
    assert steps.screen(frame, asked, "")[0]["recent"].all()


def test_a_champion_that_does_not_say_until_when_it_read_leaves_the_later_half(challenger: Path) -> None:
    frame = times(rows(1000), timedelta(0))
    assert regimes.recent(frame["datetime"], str(challenger)).tolist() == [False] * 500 + [True] * 500


def test_what_a_run_read_is_until_its_latest_row_held_back_or_not(asked: dict[str, Any]) -> None:
    frame = times(rows(1000), timedelta(0)).assign(teaches=True)
    training, _ = steps.split(frame, asked, seed=0)
    assert pd.Timestamp(training.until) == frame["datetime"].max()


def test_rows_from_before_there_were_regimes_are_judged_as_one(held: Held, tmp_path: Path) -> None:
    held.save(str(tmp_path / "held"))
    assert np.array_equal(Held.load(str(tmp_path / "held")).recent, held.recent)
    with np.load(tmp_path / "held") as stored:
        before = {name: stored[name] for name in stored if name != "recent"}
    with (tmp_path / "before").open("wb") as file:
        np.savez(file, **before)
    assert Held.load(str(tmp_path / "before")).recent.all()


def test_each_is_surely_better_in_the_world_it_knows(held: Held, asked: dict[str, Any]) -> None:
    def knows(world: Flags, seed: int) -> Answers:
        """Faults stand out from the noise in that world only."""
        scores = np.random.default_rng(seed).normal(size=len(world)) + 3 * (held.labels & world)
        return Answers(scores, scores > 2)

    told = comparison.compare(knows(held.recent, 1), knows(~held.recent, 2), held, asked)
    surely = {name: (one["low"] or 0.0, one["high"] or 0.0) for name, one in told.items()}
    assert surely["new"][0] > 0.3
    assert surely["old"][1] < -0.3
    assert (told["new"]["rows"] or 0) + (told["old"]["rows"] or 0) == len(held.labels)


def test_a_regime_with_few_anomalies_says_only_how_few(held: Held, asked: dict[str, Any]) -> None:
    few = Held(held.rows, held.labels & held.recent, held.segments, "labels", held.recent)
    said = Answers(np.arange(len(few.labels), dtype=float), few.labels)
    told = comparison.compare(said, said, few, asked)
    assert told["old"] == {
        **dict.fromkeys(("candidate", "champion", "difference", "low", "high")),
        **{"rows": float((~held.recent).sum()), "anomalies": 0.0},
    }
    assert told["new"]["difference"] == 0


def test_a_threshold_that_keeps_its_word_is_calibrated_at_one(held: Held, champion: Path) -> None:
    model = artifact.load(champion)
    calm = comparison.calm(model, held)
    assert not (calm & held.labels).any()
    scores = np.full(len(held.labels), model.threshold - 1)
    alarmed = np.flatnonzero(calm)[: round(0.02 * calm.sum())]
    scores[alarmed] += 2
    scores[held.labels] += 2
    said = Answers(scores, scores > model.threshold)
    assert comparison.calibration(model, said, held, 0.02) == pytest.approx(1, abs=0.05)
    assert comparison.calibration(model, said, held, 0.01) == pytest.approx(2, abs=0.1)
    assert comparison.calibration(model, said, held, 1e-6) is None


class Page(HTMLParser):
    """What a page needs from elsewhere, and how its tags close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.outside: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href") and not str(value).startswith("#"):
                self.outside.append(str(value))
            if name == "id":
                self.ids.append(str(value))


def test_the_page_of_a_run_tells_all_of_it_and_needs_nothing_else(
    held: Held, asked: dict[str, Any], champion: Path, challenger: Path
) -> None:
    model = {"algorithm": "kmeans-ad", "folder": str(challenger), "parameters": "{}"}
    evaluation = evaluated(model, held, asked)
    assert 0 < evaluation["metrics"]["size_mb"] < 10
    judged, seen = found([evaluation], asked, str(champion), held)
    assert json.loads(json.dumps(judged)) == judged
    assert judged["chosen"]["metrics"]["canary_inputs"] == 1
    odd = [*seen.canaries, Answered("<script>", 1, False, "a & b")]
    text = render(
        "pump <b>", asked, judged, type(seen)(seen.candidate, seen.champion, seen.nominal, odd), held
    )
    page = Page(text)
    assert page.outside == []
    assert "script" not in page.tags
    assert "&lt;script&gt;" in text
    assert page.tags.count("svg") == 3
    assert len(page.ids) == len(set(page.ids))
    assert {"title", "h1", "figcaption", "caption"} <= set(page.tags)
    assert text.count('role="img" aria-label=') == 3
    assert 'lang="en"' in text
    assert "prefers-color-scheme: dark" in text
    assert len(text) < 500_000
    place = keep(text, str(challenger))
    assert Path(place) == challenger.parent / "report.html"
    assert Path(place).read_text() == text


def test_anomalies_are_enough_when_there_are_rows_and_ranges_of_them() -> None:
    labels = np.zeros(200, bool)
    labels[10:50] = True
    assert not enough(labels, np.zeros(200, int))
    labels[[60, 80]] = True
    assert enough(labels, np.zeros(200, int))
    assert not enough(np.zeros(0, bool), np.zeros(0, int))
