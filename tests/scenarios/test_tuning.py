"""A wish for better parameters, on a real home: searched for by trials, trained with, and served."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from homeostat.infra.chain import chain
from tests.scenarios.homes import RunningHome, rows


@pytest.mark.slow
def test_what_a_search_finds_is_trained_with_and_goes_back_to_who_asked(tmp_path: Path) -> None:
    home = RunningHome(tmp_path / "state")
    home.apply(tuning={"trials": 3, "parallel": 1, "algorithm": "random", "timeout": "5m"})
    home.start()
    try:
        home.wait_healthy()
        home.land(rows(1400), "a.csv", tmp_path)
        home.until(lambda: home.status()["batches"], 30, "the rows")
        asked = home.emit("dev.homeostat.tuning.requested", {"reason": "new sensor"})
        home.until(lambda: home.status()["tuning"], 30, "the search")
        (found,) = home.until(lambda: home.events("dev.homeostat.tuning.completed"), 240, "its end")
        (told,) = home.until(lambda: home.events("dev.homeostat.training.completed"), 120, "the training")
        data = orjson.loads(found.data or b"")
        assert data["algorithm"] == "isolation-forest"
        assert {"window", "trees"} <= data["parameters"].keys()
        assert data["trials"] == 3
        assert 0 < data["value"] <= 1
        assert orjson.loads(told.data or b"")["algorithm"] == "isolation-forest"
        kinds = [one.event.attributes["type"] for one in chain(home.events(), told)]
        assert kinds == [
            "dev.homeostat.tuning.requested",
            "dev.homeostat.tuning.completed",
            "dev.homeostat.training.completed",
        ]
        assert found.attributes["causationid"] == asked
        assert home.events("dev.homeostat.tuning.failed") == []
    finally:
        home.kill()
