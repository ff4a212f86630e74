"""`homeostat benchmark` fits and judges on the rows that it says, and tells the figures that are so."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score
from typer.testing import CliRunner

from homeostat.infra.benchmark.folder import read
from homeostat.infra.benchmark.protocol import Failed, Judged, Protocol, run
from homeostat.infra.benchmark.summary import of_one_seed, over_seeds, relative
from homeostat.infra.benchmark.table import markdown
from homeostat.infra.cli import cli
from homeostat.models import fitting
from tests.infra.labelled_folders import ROWS, frame, nab, plain, skab

invoke = CliRunner().invoke
QUICK = "kmeans-ad"


def judged(folder: Path, **changes: object) -> list[Judged]:
    protocol = Protocol(**{"algorithms": (QUICK,), "train": 150, "window": 5, **changes})  # type: ignore[arg-type]
    outcomes = run(read(folder).series, protocol)
    assert not [one for one in outcomes if isinstance(one, Failed)]
    return [one for one in outcomes if isinstance(one, Judged)]


def made_up(rng: np.random.Generator, n: int, threshold: float, period: float | None = 60.0) -> Judged:
    labels = np.zeros(n, bool)
    labels[n // 2 : n // 2 + n // 5] = True
    scores = threshold * (rng.random(n) + labels)
    return Judged("a", 0, f"{n}.csv", scores, threshold, scores > threshold, labels, period, 1.0, 0.5)


def test_a_detector_is_fitted_on_the_first_rows_and_judged_on_the_others(tmp_path: Path) -> None:
    one = judged(skab(tmp_path))[1]
    rows = read(tmp_path).series[1]
    alone = fitting.fit(QUICK, rows.rows[:150], channels=rows.channels, window=5)
    assert one.series == rows.name
    assert np.array_equal(one.scores, alone.score(rows.rows)[150:])
    assert one.threshold == alone.threshold
    assert np.array_equal(one.labels, rows.labels[150:])


def test_rows_that_are_judged_change_neither_fit_nor_threshold(tmp_path: Path) -> None:
    skab(tmp_path)
    before = judged(tmp_path)[0]
    changed = frame(2).assign(changepoint=0.0)
    changed.loc[150:, ["flow", "heat"]] *= 3
    changed.to_csv(tmp_path / "other" / "1.csv", sep=";", index=False)
    after = judged(tmp_path)[0]
    assert after.threshold == before.threshold
    assert not np.array_equal(after.scores, before.scores)


def test_a_share_is_that_of_each_series_rows(tmp_path: Path) -> None:
    assert {len(one.scores) for one in judged(skab(tmp_path), train=0.3)} == {ROWS - 90}


def test_processes_judge_as_one_does(tmp_path: Path) -> None:
    series = read(skab(tmp_path)).series
    protocol = Protocol(algorithms=(QUICK,), train=150, window=5, seeds=(0, 1))
    heard: list[str] = []
    alone, shared = (
        run(series, protocol),
        run(series, protocol, jobs=2, done=lambda one: heard.append(one.series)),
    )
    assert len(heard) == len(alone) == 6
    for one, same in zip(alone, shared, strict=True):
        assert isinstance(one, Judged)
        assert isinstance(same, Judged)
        assert (one.series, one.seed) == (same.series, same.seed)
        assert np.array_equal(one.scores, same.scores)


def test_a_series_that_leaves_nothing_to_judge_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"other/1\.csv has 300 rows, 400 of them to be fitted"):
        run(read(skab(tmp_path)).series, Protocol(algorithms=(QUICK,), train=400))


def test_pooled_figures_are_those_of_all_rows_and_means_those_of_the_series() -> None:
    rng = np.random.default_rng(0)
    parts = [made_up(rng, 100, 1.0), made_up(rng, 900, 50.0)]
    figures = of_one_seed(parts)
    labels = np.concatenate([one.labels for one in parts])
    alarms = np.concatenate([one.alarms for one in parts])
    pooled = np.concatenate([one.scores / one.threshold for one in parts])
    assert figures["f1"] == pytest.approx(f1_score(labels, alarms))
    assert figures["average_precision_pooled"] == pytest.approx(average_precision_score(labels, pooled))
    each = [average_precision_score(one.labels, one.scores) for one in parts]
    assert figures["average_precision_mean"] == pytest.approx(np.mean(each))
    assert figures["fit_seconds"] == 2.0


def test_false_alarms_and_delays_are_counted_in_each_series_and_never_across_two() -> None:
    def one(alarm: int, event: tuple[int, int], period: float | None) -> Judged:
        alarms, labels = np.zeros(720, bool), np.zeros(720, bool)
        alarms[alarm:] = True
        labels[slice(*event)] = True
        return Judged("a", 0, "s", alarms + 0.0, 0.5, alarms, labels, period, 1.0, 1.0)

    figures = of_one_seed([one(700, (10, 20), 60.0), one(30, (10, 40), 60.0)])
    assert (figures["events"], figures["events_found"]) == (2, 1)
    assert figures["false_alarms_per_day"] == pytest.approx(1.0)
    assert (figures["delay_median"], figures["delay_median_seconds"]) == (20, 1200)
    assert of_one_seed([one(700, (10, 20), None)])["false_alarms_per_day"] is None


@pytest.mark.parametrize("threshold", [2.0, 0.0, -3.0])
def test_in_units_of_the_threshold_1_is_the_threshold(threshold: float) -> None:
    scores = threshold + np.array([-1.0, 0.0, 1.0])
    one = Judged("a", 0, "s", scores, threshold, scores > threshold, scores > 9, None, 1.0, 1.0)
    assert np.array_equal(relative(one) > 1, scores > threshold)
    assert (np.diff(relative(one)) > 0).all()


def test_the_spread_is_that_over_seeds() -> None:
    rng = np.random.default_rng(1)
    runs = [made_up(rng, 400, 1.0) for _ in range(3)]
    seeded = [
        Judged("a", i, *[getattr(one, name) for name in Judged.__match_args__[2:]])
        for i, one in enumerate(runs)
    ]
    values = [of_one_seed([one])["f1"] for one in seeded]
    mean, deviation = over_seeds(seeded)["a"]["f1"]
    assert (mean, deviation) == (pytest.approx(np.mean(values)), pytest.approx(np.std(values, ddof=1)))


def test_an_algorithm_that_failed_on_some_series_is_marked() -> None:
    rng = np.random.default_rng(2)
    one, two = made_up(rng, 100, 1.0), made_up(rng, 200, 1.0)
    rows = over_seeds([one, two]) | {"b": over_seeds([one])["a"]}
    assert "| b (1/2) |" in markdown(rows)
    assert "| a |" in markdown(rows)


@pytest.mark.parametrize("made", [skab, nab, plain])
def test_every_layout_is_judged_and_the_protocol_comes_first(tmp_path: Path, made: object) -> None:
    options = ["--algorithms", QUICK, "--train", "150", "--window", "5"]
    options += ["--label", "broken"] if made is plain else []
    result = invoke(cli, ["benchmark", str(made(tmp_path)), *options])  # type: ignore[operator]
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("data ")
    assert lines[1].startswith("fitted     the first 150 rows of each series")
    assert any(line.startswith(QUICK) for line in lines[5:])


def test_json_holds_protocol_and_figures_and_nothing_else_is_on_standard_output(tmp_path: Path) -> None:
    command = ["benchmark", str(skab(tmp_path)), "--algorithms", QUICK, "--train", "0.5", "--seeds", "2"]
    result = invoke(cli, [*command, "--window", "5", "--output", "json"])
    document = json.loads(result.stdout)
    assert document["failed"] == []
    assert document["protocol"]["judged"].startswith("the 450 rows after them, 20.0% anomalous, 3 series")
    figures = document["algorithms"][QUICK]
    assert figures["events_found"]["mean"] == 3
    assert figures["average_precision_mean"]["mean"] > 0.9
    assert figures["average_precision_mean"]["std"] is not None


def test_tables_and_plots_are_written(tmp_path: Path) -> None:
    out = tmp_path / "report"
    command = ["benchmark", str(skab(tmp_path / "data")), "--algorithms", QUICK, "--train", "150"]
    result = invoke(cli, [*command, "--window", "5", "--out", str(out)])
    assert result.exit_code == 0, result.output
    with (out / "series.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [one["series"] for one in rows] == ["other/1.csv", "valve/2.csv", "valve/10.csv"]
    assert float(rows[0]["events_found"]) == 1
    assert f"| {QUICK} |" in (out / "table.md").read_text()
    assert (out / "table.csv").read_text().startswith("algorithm,series,precision,")
    pictures = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png"))
    drawn = ["scores/other-1.png", "scores/valve-10.png", "scores/valve-2.png"]
    assert pictures == ["bars.png", "curves.png", *drawn]
    assert all((out / name).read_bytes().startswith(b"\x89PNG") for name in pictures)


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (
            ["--algorithms", "oracle"],
            2,
            "--algorithms is 'oracle': no algorithm 'oracle': choose one of isolation-forest",
        ),
        (["--algorithms", ","], 2, "--algorithms is ',': no algorithm ''"),
        (["--train", "most"], 2, "--train is 'most': give a number of rows such as 400, or a share"),
        (["--train", "1000"], 2, "other/1.csv has 300 rows, 1000 of them to be fitted"),
        (["--label", "broken"], 1, "other/1.csv: the label column 'broken' is missing"),
    ],
)
def test_what_is_wrong_is_said_with_its_mend(
    tmp_path: Path, options: list[str], code: int, said: str
) -> None:
    result = invoke(cli, ["benchmark", str(skab(tmp_path)), "--algorithms", QUICK, *options])
    assert result.exit_code == code
    assert said in result.stderr


def test_a_folder_that_is_not_there_exits_3(tmp_path: Path) -> None:
    result = invoke(cli, ["benchmark", str(tmp_path / "nowhere")])
    assert (result.exit_code, "there is no folder" in result.stderr) == (3, True)


def test_a_detector_that_fails_is_told_and_the_others_still_judged(tmp_path: Path) -> None:
    """A window of 60 needs 128 consecutive rows; the short series has 100 to fit."""
    skab(tmp_path)
    frame(3, rows=200, fault=(150, 160)).assign(changepoint=0.0).to_csv(
        tmp_path / "other" / "2.csv", sep=";", index=False
    )
    command = ["benchmark", str(tmp_path), "--algorithms", QUICK, "--train", "0.5", "--window", "60"]
    result = invoke(cli, [*command, "--output", "json"])
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert [one["series"] for one in document["failed"]] == ["other/2.csv"]
    assert "needs 128" in document["failed"][0]["reason"]
    assert document["algorithms"][QUICK]["series"]["mean"] == 3
