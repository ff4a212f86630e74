"""Which manifests a home runs: the loop's own always, then what its user names, files and folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from homeostat.eventing.broker.control import NoSuch
from homeostat.eventing.broker.manifests import read
from homeostat.eventing.errors import Reject, shown
from homeostat.infra.local.manifest_files import LOOP, filter_of, manifest_files
from homeostat.infra.local.settings import Settings

TRIGGER = """
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {{name: {name}, namespace: homeostat}}
spec:
  broker: default
  filters: [{{exact: {{type: dev.homeostat.alert.fired}}}}]
  subscriber: {{uri: "http://127.0.0.1:1/"}}
"""


def home(tmp_path: Path, *manifests: Path) -> Settings:
    return Settings(state=tmp_path / "state", manifests=manifests)


def write(path: Path, name: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(TRIGGER.format(name=name))
    return path


def test_the_loops_own_manifests_can_be_run_as_they_are(tmp_path: Path) -> None:
    assert manifest_files(home(tmp_path)) == list(LOOP)
    assert {one.name for one in read(LOOP).triggers} >= {"receive-data", "plan-retraining"}


def test_a_folder_stands_for_its_yaml_files_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "more"
    second, first = write(folder / "b.yaml", "b"), write(folder / "a.yml", "a")
    (folder / "notes.txt").write_text("no manifest")
    (folder / "deeper").mkdir()
    alone = write(tmp_path / "alone.yaml", "alone")
    files = manifest_files(home(tmp_path, alone, folder))
    assert files == [*LOOP, alone, *sorted([first, second])]


def test_hidden_files_of_a_folder_are_left_alone(tmp_path: Path) -> None:
    """An editor's, or a Mac's `._trigger.yaml`, which is no YAML."""
    folder = tmp_path / "more"
    kept = write(folder / "trigger.yaml", "kept")
    (folder / "._trigger.yaml").write_bytes(b"\x00\x05\x16\x07")
    (folder / "folder.yaml").mkdir()
    assert manifest_files(home(tmp_path, folder)) == [*LOOP, kept]


def test_paths_are_given_as_path_gives_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = write(tmp_path / "one.yaml", "one"), write(tmp_path / "other" / "other.yaml", "other")
    monkeypatch.setenv("HOMEOSTAT_MANIFESTS", f"{one}:{other.parent}:")
    assert manifest_files(Settings(state=tmp_path)) == [*LOOP, one, other]


def test_what_is_not_there_is_told_all_at_once(tmp_path: Path) -> None:
    settings = home(tmp_path, tmp_path / "no.yaml", write(tmp_path / "a.yaml", "a"), tmp_path / "nor")
    with pytest.raises(Reject) as told:
        manifest_files(settings)
    assert [one.value for one in told.value.faults] == [
        shown(str(tmp_path / "no.yaml")),
        shown(str(tmp_path / "nor")),
    ]
    assert all("HOMEOSTAT_MANIFESTS" in one.mend for one in told.value.faults)


def test_a_triggers_filter_is_its_own(tmp_path: Path) -> None:
    settings = home(tmp_path, write(tmp_path / "pager.yaml", "pager"))
    passes = filter_of(settings, "pager")
    assert passes({"type": "dev.homeostat.alert.fired"})
    assert not passes({"type": "dev.homeostat.data.landed"})
    assert filter_of(settings, "receive-data")({"type": "dev.homeostat.data.landed"})


def test_an_unknown_trigger_is_told_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(NoSuch, match=r"'nobody'; there are: .*pager, .*receive-data"):
        filter_of(home(tmp_path, write(tmp_path / "pager.yaml", "pager")), "nobody")
