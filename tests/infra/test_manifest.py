"""Detector manifests: every fault at once, by field, with its mend."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from homeostat.eventing.errors import Reject
from homeostat.infra.manifest import parse, read

GOOD = {
    "apiVersion": "homeostat.dev/v1alpha1",
    "kind": "Detector",
    "metadata": {"name": "pump"},
    "spec": {"data": {"uri": "s3://plant/pump/", "channels": ["Current"]}, "retrain": {"cooldown": "1h30m"}},
}


def test_a_manifest_gives_name_and_spec_with_the_defaults_filled_in() -> None:
    name, spec = parse(GOOD)
    assert name == "pump"
    assert spec.retrain.cooldown.total_seconds() == 5400
    assert spec.canary.steps == (5, 25, 50)


def test_every_fault_is_told_at_once() -> None:
    bad = {
        "apiVersion": "v1",
        "kind": "Detector",
        "metadata": {"name": "Pump 7"},
        "spec": {"data": {"uri": "x", "channels": []}, "canary": {"steps": [50, 25]}, "retrian": {}},
    }
    with pytest.raises(Reject) as refused:
        parse(bad)
    assert {fault.field for fault in refused.value.faults} == {
        "apiVersion",
        "metadata.name",
        "spec.data.channels",
        "spec.canary.steps",
        "spec.retrian",
    }


@pytest.mark.parametrize("cooldown", ["ten minutes", "10", "-5s", "5 s", ""])
def test_a_duration_that_is_none_names_the_spellings_that_are(cooldown: str) -> None:
    bad = {**GOOD, "spec": {**GOOD["spec"], "retrain": {"cooldown": cooldown}}}  # type: ignore[dict-item]
    with pytest.raises(Reject, match="500ms, 60s, 10m, 1h30m"):
        parse(bad)


def test_a_file_may_hold_many_detectors(tmp_path: Path) -> None:
    file = tmp_path / "detectors.yaml"
    fan = {**GOOD, "metadata": {"name": "fan"}}
    file.write_text(yaml.safe_dump_all([GOOD, fan]))
    assert [name for name, _ in read(file)] == ["pump", "fan"]


@pytest.mark.parametrize(
    ("content", "mend"),
    [(b"", "holds no document"), (b"a: [", "is no YAML"), (b"\xff\xfe\xff", "UTF-8"), (b"- 1", "kind")],
)
def test_a_file_that_is_no_manifest_says_why(tmp_path: Path, content: bytes, mend: str) -> None:
    file = tmp_path / "detector.yaml"
    file.write_bytes(content)
    with pytest.raises(Reject, match=mend):
        list(read(file))


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(Reject, match="no such file"):
        list(read(tmp_path / "nowhere.yaml"))
