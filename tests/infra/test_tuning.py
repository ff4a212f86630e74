"""Experiments on one machine: real searches, real child trials, Katib's status, and crashes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest

from homeostat.infra.local import tuning
from homeostat.infra.local.tuning_algorithms import ALGORITHMS
from tests.cluster.kinds import wrong
from tests.eventing.brokers import until
from tests.infra.experiments import AXES, REPOSITORY, Home, conditions, home, manifest, run, strange

SETTINGS = {
    "hyperband": {"r_l": "4", "eta": "2", "resource_name": "n"},
    "bayesianoptimization": {"n_initial_points": "3"},
    "tpe": {"n_startup_trials": "3"},
    "multivariate-tpe": {"n_startup_trials": "3"},
}
ADDED, UPDATED = "dev.knative.apiserver.resource.add", "dev.knative.apiserver.resource.update"
DONE = {
    "Created": ("True", "ExperimentCreated"),
    "Running": ("False", "ExperimentRunning"),
    "Succeeded": ("True", "ExperimentMaxTrialsReached"),
}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_runs_its_trials_and_ends_as_in_katib(tmp_path: Path, algorithm: str) -> None:
    document = manifest("search", algorithm, SETTINGS.get(algorithm), AXES)
    found, engine = run(tmp_path, document)
    assert conditions(found) == DONE
    status, trials = found["status"], engine.trials("search")
    assert status["trials"] == status["trialsSucceeded"] == 6
    assert sorted(status["succeededTrialList"]) == sorted(trials)
    assert wrong(found) == []
    assert strange(found) == []
    assert found["spec"] == document["spec"]
    best = status["currentOptimalTrial"]
    assert trials[best["bestTrialName"]]["value"] == min(one["value"] for one in trials.values())
    assert [one["name"] for one in best["parameterAssignments"]] == ["x", "n", "word"]
    (metric,) = best["observation"]["metrics"]
    assert (metric["name"], float(metric["min"])) == ("loss", trials[best["bestTrialName"]]["value"])


def test_every_change_is_told_as_an_api_server_source_tells_it(tmp_path: Path) -> None:
    document = manifest("search", maxTrialCount=3)
    found, engine = run(tmp_path, document)
    told = [one.attributes for one in engine.events]
    assert [one["type"] for one in told] == [ADDED] + [UPDATED] * (len(told) - 1)
    for one in told:
        assert one["subject"] == "/apis/kubeflow.org/v1beta1/namespaces/plant/experiments/search"
        extensions = {name: one[name] for name in ("kind", "apiversion", "name", "namespace")}
        assert extensions == {
            "kind": "Experiment",
            "apiversion": "kubeflow.org/v1beta1",
            "name": "search",
            "namespace": "plant",
        }
    assert len({one["id"] for one in told}) == len(told)
    first, second, *_ = (conditions(one) for one in engine.told("search"))
    assert list(first) == ["Created"]
    assert second["Running"] == ("True", "ExperimentRunning")
    assert conditions(engine.told("search")[-1])["Succeeded"][0] == "True"
    assert found["metadata"]["labels"] == document["metadata"]["labels"]
    # Not once per trial's metric: a change is a trial that began or ended, and the Experiment's own.
    assert len(told) <= 3 + 2 * 3


def test_the_same_name_again_is_the_same_search(tmp_path: Path) -> None:
    async def story() -> None:
        async with home(tmp_path) as found:
            document = manifest("search", maxTrialCount=2)
            for _ in range(3):
                await found.engine.submit(document)
            assert found.engine.states() == {"search": "running"}
            await found.ended("search")
            await found.engine.submit(document)
            assert found.engine.states() == {"search": "succeeded"}
        assert [one.attributes["type"] for one in found.events].count(ADDED) == 1
        assert len(found.trials("search")) == 2

    asyncio.run(story())


def test_a_search_that_is_killed_goes_on_and_repeats_no_finished_trial(tmp_path: Path) -> None:
    document = slow(tmp_path, "tpe")
    kept: dict[str, int] = {}

    async def story() -> None:
        async with home(tmp_path) as found:
            await found.engine.submit(document)
            for least in (2, 5):
                await until(lambda least=least: len(finished(found)) >= least, 60)  # type: ignore[misc]
                (search,) = searches()
                os.kill(search.pid, signal.SIGKILL)
                kept.update(counted(found))
            ended = await found.ended("search")
        assert conditions(ended) == DONE
        assert ended["status"]["trialsSucceeded"] == 10

    asyncio.run(story())
    assert len(kept) >= 5
    no_trial_twice(tmp_path, kept)


HOME = """
import asyncio, sys
from pathlib import Path
import orjson
from tests.infra.experiments import home
async def main():
    async with home(Path(sys.argv[1])) as found:
        await found.engine.submit(orjson.loads(sys.argv[2]))
        await asyncio.sleep(600)
asyncio.run(main())
"""


def test_a_home_that_is_killed_takes_its_trials_along_and_the_next_one_goes_on(tmp_path: Path) -> None:
    x = {"parameterType": "double", "feasibleSpace": {"min": "0", "max": "1"}}
    document = slow(tmp_path, "random", settings={"random_state": "7"}, axes={"x": x})
    before = Home(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-c", HOME, str(tmp_path), orjson.dumps(document).decode()], cwd=REPOSITORY
    )

    async def killed() -> None:
        await until(lambda: len(finished(before)) >= 3, 90)
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 2
        process.kill()
        process.wait()
        await until(lambda: not any(map(alive, children)), 10)

    async def resumed() -> dict[str, Any]:
        async with home(tmp_path) as found:
            assert found.engine.states() == {"search": "running"}
            return await found.ended("search")

    try:
        asyncio.run(killed())
    finally:
        process.kill()
        process.wait()
    kept = finished(before)
    ended = asyncio.run(resumed())
    assert conditions(ended) == DONE
    trials = before.trials("search")
    assert {name: trials[name] for name in kept} == kept
    no_trial_twice(tmp_path, dict.fromkeys(kept, 1))
    # Nor does chance begin anew: the same seed again would try the same again.
    assert len({one["assignments"]["x"] for one in trials.values()}) == 10


def slow(folder: Path, algorithm: str, **more: Any) -> dict[str, Any]:
    """Ten trials, each of which writes down when it begins."""
    told = (f"--ledger={folder / 'ledger'}", "--name=${trialParameters.trialName}", "--seconds=0.25")
    return manifest("search", algorithm, arguments=told, maxTrialCount=10, **more)


def finished(found: Home) -> dict[str, Any]:
    return {name: one for name, one in found.trials("search").items() if one["condition"] != "Running"}


def counted(found: Home) -> dict[str, int]:
    """Of every finished trial, how often it was begun."""
    times = begun(found.folder)
    return {name: len(times[name]) for name in finished(found)}


def begun(folder: Path) -> dict[str, list[str]]:
    """By a trial's name: the value that it had each time that it was begun."""
    found: dict[str, list[str]] = {}
    for line in (folder / "ledger").read_text().splitlines():
        what, name, x = line.split()
        if what == "begun":
            found.setdefault(name, []).append(x)
    return found


def no_trial_twice(folder: Path, kept: Mapping[str, int]) -> None:
    """What was written down as finished at a kill, having been begun so often, was not begun again; and what
    was begun again had the same value. (One that ended in that very moment may be there twice.)"""
    found = begun(folder)
    assert len(found) == 10
    assert all(len(set(values)) == 1 for values in found.values())
    assert {name: len(found[name]) for name in kept} == kept


def searches() -> list[psutil.Process]:
    children = psutil.Process().children()
    return [one for one in children if "homeostat.infra.local.tune" in one.cmdline()]


def alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_what_was_not_told_before_a_crash_is_told_after_it_with_the_same_id(tmp_path: Path) -> None:
    _, first = run(tmp_path, manifest("search", maxTrialCount=2))
    (tmp_path / "experiments" / "search" / "emitted").write_text("1")

    async def story() -> Home:
        async with home(tmp_path) as found:
            await until(lambda: bool(found.events), 10)
            return found

    (again,) = asyncio.run(story()).events
    last = max(first.events, key=lambda one: int(one.attributes["id"].rpartition("-")[2]))
    assert (again.key, again.data) == (last.key, last.data)


def test_a_search_goes_on_while_its_changes_are_not_taken_and_they_are_told_later(tmp_path: Path) -> None:
    async def story() -> None:
        async with home(tmp_path) as found:
            found.failing = True
            with pytest.raises(OSError, match="no space"):
                await found.engine.submit(manifest("search", maxTrialCount=2))
            await until(lambda: found.engine.states() == {"search": "running"}, 10)
            await until(lambda: len(finished(found)) == 2, 60)
            found.failing = False
            await until(lambda: bool(found.events), 10)
            assert conditions(await found.ended("search")) == DONE

    asyncio.run(story())


def test_failed_trials_end_the_experiment_as_failed(tmp_path: Path) -> None:
    found, engine = run(tmp_path, manifest("search", arguments=["--fail-above=-1"], maxFailedTrialCount=3))
    assert conditions(found)["Failed"] == ("True", "ExperimentFailed")
    assert conditions(found)["Running"][0] == "False"
    assert "Succeeded" not in conditions(found)
    assert "currentOptimalTrial" not in found["status"]
    assert found["status"]["trialsFailed"] >= 3
    assert engine.engine.states() == {"search": "failed"}
    trials = engine.trials("search")
    assert "ended with 1: x is" in trials[found["status"]["failedTrialList"][0]]["message"]


def test_a_few_failed_trials_do_no_harm(tmp_path: Path) -> None:
    axes = {"x": {"parameterType": "discrete", "feasibleSpace": {"list": ["0.1", "0.2", "0.9"]}}}
    document = manifest("search", "grid", axes=axes, arguments=["--fail-above=0.5"], maxTrialCount=3)
    found, _ = run(tmp_path, document)
    assert conditions(found) == DONE
    assert (found["status"]["trialsSucceeded"], found["status"]["trialsFailed"]) == (2, 1)
    assert found["status"]["currentOptimalTrial"]["parameterAssignments"] == [{"name": "x", "value": "0.2"}]


def test_the_goal_ends_the_search_and_what_still_runs(tmp_path: Path) -> None:
    # A quarter of a second for most, so that others are under way when the goal is reached.
    axes = {"x": {"parameterType": "discrete", "feasibleSpace": {"list": ["0.3"]}}}
    document = manifest(
        "search",
        axes=axes,
        arguments=["--seconds=${trialParameters.pause}"],
        objective={"type": "minimize", "objectiveMetricName": "loss", "goal": 1.1},
    )
    document["spec"]["parameters"].append(
        {"name": "pause", "parameterType": "discrete", "feasibleSpace": {"list": ["0", "30"]}}
    )
    document["spec"]["trialTemplate"]["trialParameters"].append({"name": "pause", "reference": "pause"})
    document["spec"]["algorithm"] = {"algorithmName": "grid"}
    document["spec"]["maxTrialCount"] = 2
    found, _ = run(tmp_path, document, seconds=60)
    assert conditions(found)["Succeeded"] == ("True", "ExperimentGoalReached")
    status = found["status"]
    assert (status["trialsSucceeded"], status["trialsKilled"]) == (1, 1)
    assert "runningTrialList" not in status


def test_a_trial_without_the_metric_counts_as_failed(tmp_path: Path) -> None:
    found, _ = run(tmp_path, manifest("search", arguments=["--mute"], maxFailedTrialCount=2))
    assert conditions(found)["Failed"][0] == "True"
    assert found["status"]["trialMetricsUnavailable"] >= 2


def test_trials_that_fall_behind_the_median_are_stopped_early(tmp_path: Path) -> None:
    axes = {"x": {"parameterType": "discrete", "feasibleSpace": {"list": ["0.3", "5"]}}}
    document = manifest(
        "search",
        "grid",
        axes=axes,
        arguments=["--fail-above=9", "--steps=20", "--seconds=2"],
        maxTrialCount=2,
        parallelTrialCount=1,
        earlyStopping={
            "algorithmName": "medianstop",
            "algorithmSettings": [
                {"name": "min_trials_required", "value": "1"},
                {"name": "start_step", "value": "3"},
            ],
        },
    )
    # The good one first: the order of a grid is chance, and chance has a seed.
    document["spec"]["algorithm"]["algorithmSettings"] = [{"name": "random_state", "value": "4"}]
    found, engine = run(tmp_path, document)
    assert conditions(found) == DONE
    status = found["status"]
    assert (status["trialsSucceeded"], status["trialsEarlyStopped"]) == (1, 1)
    stopped = engine.trials("search")[status["earlyStoppedTrialList"][0]]
    assert stopped["assignments"] == {"x": "5"}
    assert len((tmp_path / "experiments/search/trials" / stopped["name"] / "log").read_text()) < 1000


def test_a_trial_that_takes_too_long_or_too_much_memory_fails_and_says_so(tmp_path: Path) -> None:
    once = {"maxTrialCount": 1, "maxFailedTrialCount": 1, "parallelTrialCount": 1}
    slow = manifest("slow", arguments=["--seconds=60"], job={"activeDeadlineSeconds": 1}, **once)
    limits = {"resources": {"limits": {"memory": "100Mi"}}}
    large = manifest("large", arguments=["--seconds=60", "--megabytes=300"], container=limits, **once)

    async def story() -> None:
        async with home(tmp_path) as found:
            for document in (slow, large):
                await found.engine.submit(document)
            for name, reason in (("slow", "activeDeadlineSeconds"), ("large", "limits.memory")):
                assert conditions(await found.ended(name))["Failed"][0] == "True"
                (trial,) = found.trials(name).values()
                assert reason in trial["message"]

    asyncio.run(story())


def test_trials_write_their_metrics_files_apart_though_the_manifest_names_one(tmp_path: Path) -> None:
    path = "/katib/metrics.json"
    document = manifest(
        "search",
        arguments=[f"--json={path}", "--steps=3"],
        metricsCollectorSpec={
            "collector": {"kind": "File"},
            "source": {"fileSystemPath": {"kind": "File", "path": path, "format": "JSON"}},
        },
    )
    found, engine = run(tmp_path, document)
    assert conditions(found) == DONE
    assert not Path(path).exists()
    for trial in engine.trials("search").values():
        x = float(trial["assignments"]["x"])
        assert trial["value"] == pytest.approx((x - 0.3) ** 2 + 1 / 3, abs=1e-6)


def test_a_manifest_sets_variables_of_homeostat_only_and_none_of_the_homes(tmp_path: Path) -> None:
    def said(folder: Path, **options: Any) -> str:
        given = {
            "HOMEOSTAT_TEST": "${trialParameters.x}",
            "PYTHONSTARTUP": "/evil.py",
            "LD_PRELOAD": "/x",
        }
        env = [{"name": name, "value": value} for name, value in given.items()]
        axes = {"x": {"parameterType": "discrete", "feasibleSpace": {"list": ["0.5"]}}}
        document = manifest(
            "search", axes=axes, container={"env": env}, maxTrialCount=1, parallelTrialCount=1
        )
        run(folder, document, **options)
        (log,) = folder.glob("experiments/search/trials/*/log")
        return log.read_text()

    assert "said=0.5" in said(tmp_path / "one")
    homes = said(tmp_path / "two", environment={"HOMEOSTAT_TEST": "the home's"})
    assert "said=the home's" in homes
    assert "LD_PRELOAD" not in homes


def test_hyperband_gives_the_best_more_until_its_brackets_are_done(tmp_path: Path) -> None:
    axes = {"x": AXES["x"], "n": AXES["n"]}
    document = manifest("search", "hyperband", SETTINGS["hyperband"], axes, parallelTrialCount=4)
    del document["spec"]["maxTrialCount"]
    found, engine = run(tmp_path, document)
    assert conditions(found)["Succeeded"] == ("True", "ExperimentSuggestionEndReached")
    trials = sorted(engine.trials("search").values(), key=lambda one: one["number"])
    amounts = [one["assignments"]["n"] for one in trials]
    assert amounts == ["1"] * 4 + ["2"] * 2 + ["4"] + ["2"] * 3 + ["4"] + ["4"] * 3
    best = sorted(trials[:4], key=lambda one: one["value"])[:2]
    assert [one["assignments"]["x"] for one in trials[4:6]] == [one["assignments"]["x"] for one in best]


def test_a_search_that_cannot_even_begin_ends_as_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(tuning, "MAX_CRASHES", 3)
    (tmp_path / "experiments" / "search" / "study.log").mkdir(parents=True)
    found, engine = run(tmp_path, manifest("search"))
    assert conditions(found)["Failed"] == ("True", "ExperimentFailed")
    assert "IsADirectoryError" in found["status"]["conditions"][-1]["message"]
    assert strange(found) == []
    assert engine.engine.states() == {"search": "failed"}


def test_the_home_itself_loads_nothing_of_what_a_search_needs() -> None:
    heavy = ["optuna", "cmaes", "scipy", "torch", "numpy", "sqlalchemy"]
    code = f"import sys, homeostat.infra.local.tuning; print([one for one in {heavy} if one in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
