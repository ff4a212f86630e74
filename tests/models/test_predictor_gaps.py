"""Numbers that are missing from a request, where the detector has an answer to them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kserve.errors import InvalidInput
from prometheus_client import CollectorRegistry

from homeostat.models import artifact, protocol
from homeostat.models.fitting import fit
from homeostat.models.predictor import Predictor
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
