"""Numbers that are missing from a request, where the detector has an answer to them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kserve.errors import InvalidInput
from prometheus_client import CollectorRegistry

from homeostat.models import artifact, protocol
from homeostat.models.fitting import fit
from homeostat.models.micro_batching import judge_together, of_rows
from homeostat.models.predictor import Predictor
from homeostat.models.series import Tails
from tests.models.predictors import CHANNELS, WINDOW

Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def asked(tmp_path: Path) -> tuple[Predictor, Ask]:
    """A predictor that holds a channel's last number for two rows, and a way to ask it."""
    rows = np.random.default_rng(3).normal(size=(500, 2))
    parameters = {"trees": 20}
    detector = fit(
        "isolation-forest", rows, channels=CHANNELS, window=WINDOW, parameters=parameters, missing="hold:2"
    )
    artifact.save(detector, tmp_path / "model", {})
    predictor = Predictor("pump", tmp_path / "model", "pump-abc", CollectorRegistry())
    predictor.load()

    def ask(instances: Any, **options: Any) -> dict[str, Any]:
        return asyncio.run(predictor.predict({"instances": instances, **options}))  # type: ignore[return-value]

    return predictor, ask


def scores(answer: dict[str, Any]) -> list[float]:
    return [one["score"] for one in answer["predictions"]]


def test_a_missing_number_is_scored_as_in_training(asked: tuple[Predictor, Ask]) -> None:
    predictor, ask = asked
    rows = [[1.0, 2.0], [3.0, None], [None, 0.5]]
    wanted = predictor.fitted.score(np.array(rows, np.float64))
    assert scores(ask(rows)) == wanted.tolist()
    assert [scores(ask([row], series="pump"))[0] for row in rows] == pytest.approx(wanted.tolist())


def test_a_gap_too_long_is_refused_and_its_series_starts_anew(asked: tuple[Predictor, Ask]) -> None:
    predictor, ask = asked
    ask([[1.0, 2.0]] * 5, series="pump")
    with pytest.raises(InvalidInput, match="starts anew"):
        ask([[1.0, None]] * 3, series="pump")
    after = ask([[1.0, 2.0]], series="pump")
    assert after["past"] == 0
    assert scores(after) == predictor.fitted.score(np.array([[1.0, 2.0]])).tolist()


@pytest.mark.parametrize("settings", [{}, {"smoothing": 3}, {"smoothing": 2, "min_duration": 3}])
@pytest.mark.parametrize("step", [1, 7])
def test_dropped_rows_push_no_others_out_of_a_series_tail(settings: dict[str, int], step: int) -> None:
    rng = np.random.default_rng(3)
    model = fit(
        "isolation-forest",
        rng.normal(size=(500, 2)),
        channels=CHANNELS,
        window=WINDOW,
        parameters={"trees": 20},
        statistics=("mean:3",),
        missing="drop",
        **settings,  # type: ignore[arg-type]
    )
    rows = rng.normal(size=(120, 2))
    rows[rng.random(120) < 0.4, 0] = np.nan
    rows[50:75, 1] = np.nan  # for longer than the tail
    rows[0] = 1.0
    model = replace(model, threshold=float(np.median(model.score(rows))))
    tails, scores, flags = Tails(model.tail, keep=model.keep), list[float](), list[bool]()
    for start in range(0, len(rows), step):
        new = rows[start : start + step]
        whole = tails.extend("pump", new)
        assert min(start, model.tail) <= len(whole) - len(new) <= 2 * model.tail
        ((found, anomalies),) = judge_together(model, [of_rows(whole, len(new))])
        scores += found.tolist()
        flags += anomalies.tolist()
    assert scores == pytest.approx(model.score(rows).tolist(), abs=1e-12)
    assert flags == model.anomalies(model.score(rows)).tolist()


def test_a_predictor_that_drops_rows_keeps_whole_ones_and_tells_how_many_count(tmp_path: Path) -> None:
    rows = np.random.default_rng(3).normal(size=(500, 2))
    model = fit("mahalanobis", rows, channels=CHANNELS, window=WINDOW, missing="drop")
    artifact.save(model, tmp_path / "model", {})
    predictor = Predictor("pump", tmp_path / "model", "pump-abc", CollectorRegistry())
    predictor.load()
    fresh = np.concatenate([rows[:5], np.full((9, 2), np.nan), rows[5:6]])
    answers: list[dict[str, Any]] = [
        asyncio.run(predictor.predict({"instances": [[*row]], "series": "pump"}))  # type: ignore[misc]
        for row in fresh.tolist()
    ]
    assert [scores(one)[0] for one in answers] == pytest.approx(model.score(fresh).tolist())
    assert [one["past"] for one in answers] == [min(seen, WINDOW) for seen in range(15)]
    assert {one["tail"] for one in answers} == {model.tail} == {WINDOW}


@pytest.mark.parametrize("hole", [None, float("nan")])
def test_numbers_may_be_missing_where_there_may_be_gaps_and_nowhere_else(hole: float | None) -> None:
    rows = [[1.0, hole], [2, 3.0]]
    wanted = [[1.0, float("nan")], [2.0, 3.0]]
    flat = [*rows[0], *rows[1]]
    for found in (
        protocol.instances({"instances": rows}, CHANNELS, gaps=True),
        protocol.tensor("rows", [2, 2], "FP64", flat, CHANNELS, gaps=True),
    ):
        assert found == pytest.approx(np.array(wanted), nan_ok=True)
    with pytest.raises(protocol.InputError):
        protocol.instances({"instances": rows}, CHANNELS)
    with pytest.raises(protocol.InputError):
        protocol.tensor("rows", [2, 2], "FP64", flat, CHANNELS)
    for worse in ("1.5", True, float("inf"), [1.0]):
        with pytest.raises(protocol.InputError):
            protocol.instances({"instances": [[1.0, worse], [2.0, None]]}, CHANNELS, gaps=True)
