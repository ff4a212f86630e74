"""A search is an Experiment that Katib takes, over parameters that the algorithms take."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any, cast

import orjson
import pytest

from homeostat.functions.spec import Spec
from homeostat.models import ALGORITHMS
from homeostat.models.algorithm import algorithm, create
from homeostat.pipelines.search_spaces import RESOURCES, SPACES, Axis, space
from homeostat.pipelines.tuned import PREPARING, apart
from homeostat.pipelines.tuning import BYTES, LABEL, TASK, Search, Trials, experiment
from tests.cluster.kinds import wrong
from tests.pipelines.katib import unknown

SEARCHES = (
    "random",
    "grid",
    "tpe",
    "multivariate-tpe",
    "bayesianoptimization",
    "cmaes",
    "sobol",
    "hyperband",
)


def spec(**sections: Any) -> dict[str, Any]:
    document = {"data": {"uri": "s3://plant/pump/", "channels": ["Current"]}, **sections}
    return Spec.model_validate(document).model_dump(mode="json")


def search(algorithm: str = "isolation-forest", data: tuple[str, ...] = ("a",), **sections: Any) -> Search:
    return Search("pump-tune-1", "pump", algorithm, data, spec(**sections), "s3://models/old")


def built(algorithm: str = "isolation-forest", **sections: Any) -> dict[str, Any]:
    return experiment(search(algorithm, **sections), Trials())


def job(document: dict[str, Any]) -> dict[str, Any]:
    return cast("dict[str, Any]", document["spec"]["trialTemplate"]["trialSpec"])


def container(document: dict[str, Any]) -> dict[str, Any]:
    (found,) = job(document)["spec"]["template"]["spec"]["containers"]
    return cast("dict[str, Any]", found)


# --- the parameters ----------------------------------------------------------------------------------------
def test_every_algorithm_has_a_space() -> None:
    assert set(SPACES) == set(ALGORITHMS)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_an_algorithm_takes_the_ends_of_every_range_as_text(name: str) -> None:
    own = {field.name for field in fields(cast("Any", algorithm(name)))}
    resources = {"epochs": RESOURCES[name]} if name in RESOURCES else {}
    for parameter, axis in {**SPACES[name], **resources}.items():
        assert parameter in own
        assert parameter not in PREPARING, "one name, two meanings"
        for value in axis.points():
            create(name, {parameter: value}, 0)


@pytest.mark.parametrize("window", [1, 7, 60, 10_000])
def test_whatever_is_searched_beside_is_a_field_of_the_spec(window: int) -> None:
    asked = spec(features={"window": window}, gate={"metric": "f1"})
    for name, axis in space("mahalanobis", asked).items():
        assert name in PREPARING
        for value in axis.points():
            changed, left = apart(asked, {name: value})
            assert left == {}
            if name != "window" or window <= 5_000:
                Spec.model_validate(changed)


def test_a_threshold_is_searched_only_where_the_metric_can_tell() -> None:
    assert "false_alarm_rate" in space("kmeans-ad", spec(gate={"metric": "f1"}))
    assert "false_alarm_rate" not in space("kmeans-ad", spec())


def test_parameters_are_taken_apart_and_the_spec_stays_as_it_was() -> None:
    before = spec()
    changed, left = apart(before, {"window": "30", "trees": "200", "smoothing": "3.0"})
    assert left == {"trees": "200"}
    assert (changed["features"]["window"], changed["threshold"]["smoothing"]) == (30, 3)
    assert before == spec()


# --- the document ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", [*ALGORITHMS, "pyod:KNN"])
def test_every_parameter_reaches_the_trial_and_no_other_is_asked_for(name: str) -> None:
    document = built(name)
    searched = [one["name"] for one in document["spec"]["parameters"]]
    template = document["spec"]["trialTemplate"]
    assert [(one["name"], one["reference"]) for one in template["trialParameters"]] == [
        (one, one) for one in searched
    ]
    assert container(document)["args"] == [f"--{one}=${{trialParameters.{one}}}" for one in searched]
    assert "window" in searched


def test_the_documents_are_valid() -> None:
    document = built()
    assert wrong(document) == []
    for one in SEARCHES:
        assert list(unknown(built("gan", tuning={"algorithm": one, "parallel": 9}))) == []
    assert wrong({**job(document), "metadata": {"name": "trial"}}) == []
    task = orjson.loads(container(document)["env"][-1]["value"])
    assert task["champion"] == "s3://models/old"
    Spec.model_validate(task["spec"])
    assert document["metadata"]["labels"][LABEL] == "pump"


def test_the_command_survives_being_joined_for_a_shell() -> None:
    """Katib's webhook runs `sh -c` with command and arguments joined by blanks, and not quoted."""
    one = container(built("forecaster"))
    for word in (*one["command"], *one["args"]):
        assert re.fullmatch(r"[\w.=-]+", re.sub(r"\$\{trialParameters\.\w+\}", "1", word)), word
    for axis in (axis for axes in SPACES.values() for axis in axes.values()):
        assert all(re.fullmatch(r"[\w.-]+", value) for value in axis.values)


def test_a_trial_is_the_homes_pod_with_the_searchs_command() -> None:
    template = {
        "metadata": {"labels": {"team": "plant"}},
        "spec": {
            "nodeSelector": {"gpu": "yes"},
            "containers": [{"name": "any", "image": "i", "env": [{"name": "A", "value": "b"}]}],
        },
    }
    document = experiment(search(), Trials("other", template))
    pod = job(document)["spec"]["template"]
    assert pod["spec"]["nodeSelector"] == {"gpu": "yes"}
    assert pod["spec"]["restartPolicy"] == "Never"
    assert pod["metadata"]["labels"]["team"] == "plant"
    assert [one["name"] for one in container(document)["env"]] == ["A", TASK]
    assert container(document)["image"] == "i"
    assert document["metadata"]["namespace"] == "other"


def test_the_objective_is_the_gates_metric_and_the_counts_are_the_specs() -> None:
    document = built(
        gate={"metric": "f1"}, tuning={"trials": 5, "parallel": 8, "max_failed": 9, "timeout": "1h"}
    )["spec"]
    assert document["objective"]["objectiveMetricName"] == "f1"
    # Katib refuses more at once, or more failures, than there are trials.
    assert (document["maxTrialCount"], document["parallelTrialCount"], document["maxFailedTrialCount"]) == (
        5,
        5,
        5,
    )
    assert document["trialTemplate"]["trialSpec"]["spec"]["activeDeadlineSeconds"] == 3600


def test_all_trials_together_end_within_the_timeout() -> None:
    document = built(tuning={"trials": 20, "parallel": 2, "timeout": "2h"})
    assert job(document)["spec"]["activeDeadlineSeconds"] == 720


# --- what each algorithm of Katib asks for -----------------------------------------------------------------
@pytest.mark.parametrize("name", SEARCHES)
def test_every_search_of_the_spec_can_be_built(name: str) -> None:
    document = built("autoencoder", tuning={"algorithm": name, "parallel": 9})["spec"]
    assert document["algorithm"]["algorithmName"] == name
    numbers = [one for one in document["parameters"] if one["parameterType"] in ("int", "double")]
    assert len(numbers) >= 2 or name == "grid", "cmaes wants two numbers at least"


def test_a_grid_has_lists_only_and_no_more_trials_than_places() -> None:
    document = built("mahalanobis", tuning={"algorithm": "grid", "trials": 100})["spec"]
    assert {one["parameterType"] for one in document["parameters"]} <= {"discrete", "categorical"}
    assert document["maxTrialCount"] == 3 * 2 * 3


def test_hyperband_gives_epochs_to_those_who_have_some() -> None:
    document = built("lstm-vae", tuning={"algorithm": "hyperband", "parallel": 9})["spec"]
    settings = {one["name"]: one["value"] for one in document["algorithm"]["algorithmSettings"]}
    assert settings["resource_name"] in [one["name"] for one in document["parameters"]]
    with pytest.raises(ValueError, match=r"kmeans-ad has none: set spec\.tuning\.algorithm"):
        built("kmeans-ad", tuning={"algorithm": "hyperband", "parallel": 9})
    with pytest.raises(ValueError, match=r"spec\.tuning\.parallel is 2"):
        built("lstm-vae", tuning={"algorithm": "hyperband"})


def test_more_data_than_a_trial_can_be_told_is_refused() -> None:
    many = tuple(f"s3://plant/pump/{'x' * 200}/{place}.csv" for place in range(600))
    with pytest.raises(ValueError, match=f"600 batches .* {BYTES}: land fewer"):
        experiment(search(data=many), Trials())


def test_points_are_the_ends_and_the_middle() -> None:
    assert Axis("int", 4, 100, log=True).points() == ("4", "20", "100")
    assert Axis("double", 0, 1).points() == ("0", "0.5", "1")
    assert Axis("int", 0, 1).points() == ("0", "1")


def test_what_trials_have_in_common_is_told_once() -> None:
    assert container(built())["env"][0]["name"] == TASK
