"""What a candidate must answer before it gets traffic, through its server's own steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from homeostat.models import artifact
from homeostat.models.canary_inputs import answers, cases
from homeostat.models.fitted import Fitted
from homeostat.models.fitting import fit
from homeostat.models.protocol import MAX_ROWS
from tests.models.quick import QUICK

CHANNELS = ("pressure", "flow")
ROWS = np.random.default_rng(3).normal(size=(600, 2)) + np.array([5, 500])


def fitted(name: str = "isolation-forest", missing: str = "refuse", **more: object) -> Fitted:
    parameters = {**QUICK.get(name, {}), **more}
    return fit(name, ROWS, channels=CHANNELS, window=4, missing=missing, parameters=parameters)


def faults(model: Fitted, folder: Path) -> dict[str, str]:
    artifact.save(model, folder / "model", {})
    return {one.name: one.fault for one in answers(folder / "model") if not one.sound}


@pytest.mark.parametrize("name", ["isolation-forest", "kmeans-ad", "mahalanobis"])
def test_a_sound_detector_answers_all_of_them(name: str, tmp_path: Path) -> None:
    assert faults(fitted(name, missing="hold:3"), tmp_path) == {}


def test_gaps_are_tried_where_they_are_allowed_and_never_longer_than_that() -> None:
    assert "a gap" not in [one.name for one in cases(fitted())]
    (gap,) = [one for one in cases(fitted(missing="hold:2")) if one.name == "a gap"]
    assert np.isnan(gap.rows).sum() == 2


def test_the_longest_batch_is_as_long_as_a_request_may_be() -> None:
    assert max(len(one.rows) for one in cases(fitted())) == MAX_ROWS


def test_a_detector_that_never_raises_an_alarm_is_not_sound(tmp_path: Path) -> None:
    deaf = replace(fitted(), threshold=1e9)
    assert set(faults(deaf, tmp_path)) == {"a jump of every channel", "channels that swing"}


def test_one_tree_that_has_seen_four_windows_is_not_sound(tmp_path: Path) -> None:
    assert faults(fitted(trees=1, max_samples=4), tmp_path)


def test_alarms_that_have_to_last_have_the_time_to(tmp_path: Path) -> None:
    slow = replace(fitted(), min_duration=20, smoothing=5)
    assert faults(slow, tmp_path) == {}


def test_an_artifact_that_cannot_be_trusted_is_not_asked(tmp_path: Path) -> None:
    artifact.save(fitted(), tmp_path / "model", {})
    (tmp_path / "model" / artifact.WEIGHTS).write_bytes(b"")
    with pytest.raises(artifact.ArtifactError):
        answers(tmp_path / "model")
