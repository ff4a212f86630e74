"""Rules and dashboards ask for what there is, Prometheus and Alertmanager take what is written for them, and
the rules fire on what they should."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from homeostat.eventing.doors import Tokens, token_file
from homeostat.eventing.durations import parse_duration
from homeostat.eventing.errors import Reject
from homeostat.infra.cli import cli
from homeostat.infra.local.settings import Settings
from homeostat.infra.monitoring import grafana, rules
from homeostat.infra.monitoring.dashboards import DASHBOARDS
from homeostat.infra.monitoring.machine import Stack, commands, write
from tests.infra.registries import registries, series

RULES = sorted((Path(__file__).parent / "rules").glob("*.yaml"))
_STRINGS = re.compile(r'"[^"]*"')
_NAMES = re.compile(r"\b(?:homeostat|process)[:_][a-z0-9_:]+")


def tool(name: str) -> str:
    """Where a program of Prometheus' is. Skips without it, fails where CI should have it."""
    found = shutil.which(name)
    if found:
        return found
    mend = f"no {name} here: `make system-deps` installs it"
    if os.environ.get("CI") == "true":
        pytest.fail(mend)
    pytest.skip(mend)


def run(*command: str | Path) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Every series that a home shows, and those that rules record."""
    with registries(tmp_path_factory.mktemp("home")) as rooms:
        counted = {name for registry in rooms.values() for name in series(registry)}
    return counted | {one["record"] for one in all_rules() if "record" in one}


def all_rules(scale: float = 1.0) -> list[dict[str, Any]]:
    return [rule for group in rules.groups(scale) for rule in group["rules"]]


def queries() -> Iterator[tuple[str, str]]:
    """Where each query of a dashboard is, and the query as Grafana asks it."""
    for dashboard in DASHBOARDS:
        for panel in dashboard.panels:
            for query in panel.queries.values():
                asked = query.replace("$__rate_interval", "5m").replace("$detector", ".*")
                yield f"{dashboard.uid}: {panel.title}", asked


def names(query: str) -> set[str]:
    return set(_NAMES.findall(_STRINGS.sub('""', query)))


def test_every_rule_asks_for_series_that_there_are(known: set[str]) -> None:
    for rule in all_rules():
        asked = names(rule["expr"])
        assert asked, rule
        assert asked <= known, rule.get("alert") or rule["record"]


def test_every_query_of_every_dashboard_asks_for_series_that_there_are(known: set[str]) -> None:
    assert {one.uid.removeprefix("homeostat-") for one in DASHBOARDS} == {
        *("loop", "detector", "serving", "broker")
    }
    for place, query in queries():
        assert names(query), place
        assert names(query) <= known, place


def test_a_query_for_what_is_not_there_would_be_found(known: set[str]) -> None:
    assert names('rate(homeostat_rows_totals{detector="homeostat_x"}[5m])') == {"homeostat_rows_totals"}
    assert not {"homeostat_rows_totals"} <= known


def test_promtool_parses_every_query(tmp_path: Path) -> None:
    recorded = [{"record": f"query:{number}", "expr": one} for number, (_, one) in enumerate(queries())]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": recorded}]}))
    assert f"{len(recorded)} rules found" in run(tool("promtool"), "check", "rules", file)


def test_the_dashboards_files_are_those_of_the_tables() -> None:
    mend = "run python -m homeostat.infra.monitoring.grafana"
    assert {one.name: one.read_bytes() for one in grafana.FOLDER.glob("*.json")} == grafana.files(), mend


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda one: one.uid)
def test_panels_lie_beside_and_not_upon_each_other(dashboard: Any) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in grafana.rendered(dashboard)["panels"]:
        place: Mapping[str, int] = panel["gridPos"]
        assert 0 <= place["x"] <= place["x"] + place["w"] <= grafana.COLUMNS
        cells = {
            (place["x"] + right, place["y"] + down)
            for right in range(place["w"])
            for down in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize("file", RULES, ids=lambda one: one.stem)
def test_the_rules_fire_on_what_they_should(file: Path, tmp_path: Path) -> None:
    groups = rules.groups()
    for rule in (rule for group in groups for rule in group["rules"]):
        rule.pop("annotations", None)
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": groups}))
    shutil.copy(file, tmp_path)
    assert "SUCCESS" in run(tool("promtool"), "test", "rules", tmp_path / file.name)


def test_every_alert_is_tried() -> None:
    tried = {
        case["alertname"]
        for file in RULES
        for one in yaml.safe_load(file.read_text())["tests"]
        for case in one.get("alert_rule_test", ())
        if case.get("exp_alerts")
    }
    assert tried == {one["alert"] for one in all_rules() if "alert" in one}


# --- one machine -----------------------------------------------------------------------------------------
def stack(folder: Path, **fields: Any) -> Stack:
    return Stack(folder / "watching", Settings(state=folder / "state", port=8123), **fields)


def read(one: Stack, name: str) -> Any:
    return yaml.safe_load((one.folder / name).read_text())


def test_prometheus_and_alertmanager_take_what_is_written(tmp_path: Path) -> None:
    one = stack(tmp_path, scale=0.02)
    write(one)
    assert "25 rules found" in run(tool("promtool"), "check", "config", one.folder / "prometheus.yml")
    run(tool("amtool"), "check-config", one.folder / "alertmanager.yml")
    assert len(commands(one)) == 3


def test_prometheus_finds_the_home_its_model_servers_and_its_drift_host(tmp_path: Path) -> None:
    one = stack(tmp_path)
    write(one)
    home, *others = read(one, "prometheus.yml")["scrape_configs"]
    assert home["static_configs"] == [{"targets": ["127.0.0.1:8123"]}]
    assert "authorization" not in home
    files = [Path(job["file_sd_configs"][0]["files"][0]) for job in others]
    assert files == [
        tmp_path / "state" / "prometheus" / f"{name}.json" for name in ("model-servers", "functions")
    ]


def test_what_names_a_detector_goes_to_the_gateway_and_so_does_its_end(tmp_path: Path) -> None:
    one = stack(tmp_path)
    write(one)
    document = read(one, "alertmanager.yml")
    (route,) = document["route"]["routes"]
    assert route["matchers"] == ['detector=~".+"']
    (webhook,) = document["receivers"][-1]["webhook_configs"]
    assert webhook == {"url": "http://127.0.0.1:8123/gateway/alertmanager", "send_resolved": True}


def test_a_closed_door_is_opened_with_a_token_that_only_its_owner_can_read(tmp_path: Path) -> None:
    one = stack(tmp_path)
    token_file.create(one.settings.tokens_file, "alertmanager")
    write(one)
    (webhook,) = read(one, "alertmanager.yml")["receivers"][-1]["webhook_configs"]
    file = Path(webhook["http_config"]["authorization"]["credentials_file"])
    assert Tokens(one.settings.tokens_file).door_of(file.read_bytes()) == "alertmanager"
    assert file.stat().st_mode & 0o077 == 0
    first = file.read_bytes()
    write(one)
    assert file.read_bytes() == first, "a good token is kept"
    token_file.revoke(one.settings.tokens_file, token_file.entries(one.settings.tokens_file).tokens[-1].name)
    write(one)
    assert file.read_bytes() != first, "a revoked one is made anew"
    assert not (one.folder / "admin.token").exists(), "no door is closed by this"


def test_the_command_writes_and_says_how_to_start(tmp_path: Path) -> None:
    said = CliRunner().invoke(
        cli, ["monitoring", str(tmp_path), "--fast", "--state", str(tmp_path), "-o", "json"]
    )
    assert said.exit_code == 0, said.output
    found = orjson.loads(said.stdout)
    assert all(Path(one).exists() for one in found["files"])
    assert {Path(one).name for one in found["files"]} >= {"prometheus.yml", "rules.yml", "loop.json"}


@pytest.mark.parametrize("scale", [0, -1, 11, float("nan")])
def test_a_scale_that_is_none_is_refused(tmp_path: Path, scale: float) -> None:
    with pytest.raises(Reject):
        write(stack(tmp_path, scale=scale))


@settings(max_examples=25, deadline=None)
@given(st.floats(0.001, 10))
def test_scaled_rules_keep_enough_scrapes_in_each_range_and_every_name(scale: float) -> None:
    before, after = all_rules(), all_rules(scale)
    every = parse_duration(rules.scaled("10s", scale, rules.SHORTEST))
    for old, new in zip(before, after, strict=True):
        assert names(old["expr"]) == names(new["expr"])
        for length in re.findall(r"\[([0-9a-z]+)\]", new["expr"]):
            assert parse_duration(length) >= rules.FEWEST * every
    assert all_rules(1.0) == before
