"""The TrainJob's document: valid by Trainer's own schema, and of names that Trainer and JobSet take."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from homeostat.pipelines.distributed import LONGEST, Work, job_name, train_job
from tests.cluster.kinds import wrong

OWNER = {
    "apiVersion": "homeostat.dev/v1alpha1",
    "kind": "Detector",
    "name": "pump",
    "uid": "u",
    "controller": True,
}
ALL = Work(
    command=("python",),
    arguments=("x",),
    environment={"A": "b"},
    resources={"requests": {"cpu": "4", "memory": "8Gi"}},
    image="registry.invalid/work",
    nodes=3,
    deadline=60,
)


def test_a_train_job_is_valid_with_all_that_may_be_said_and_with_little() -> None:
    for work in (ALL, Work(("python",))):
        assert wrong(train_job("pump-1", "pump", work, OWNER)) == []


def test_a_field_that_trainer_does_not_know_would_be_found() -> None:
    document = train_job("pump-1", "pump", ALL, OWNER)
    document["spec"]["trainer"]["nodes"] = 3
    assert [one.unknown for one in wrong(document)] == [True]


def test_nodes_image_resources_and_environment_are_those_of_the_work() -> None:
    spec = train_job("pump-1", "pump", ALL, OWNER)["spec"]
    assert spec["trainer"] == {
        "numNodes": 3,
        "command": ["python"],
        "args": ["x"],
        "env": [{"name": "A", "value": "b"}],
        "resourcesPerNode": {"requests": {"cpu": "4", "memory": "8Gi"}},
        "image": "registry.invalid/work",
    }
    assert (spec["runtimeRef"], spec["suspend"], spec["activeDeadlineSeconds"]) == (
        {"name": "homeostat"},
        False,
        60,
    )


def test_it_goes_with_its_detector_and_is_found_by_it() -> None:
    metadata = train_job("pump-1", "pump", ALL, OWNER)["metadata"]
    assert metadata["ownerReferences"] == [OWNER]
    assert metadata["labels"]["homeostat.dev/detector"] == "pump"


def test_a_run_gives_its_name_to_its_train_job() -> None:
    assert job_name("pump-0a1b2c3d4e") == "pump-0a1b2c3d4e"


@given(st.from_regex(r"[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?", fullmatch=True))
def test_whatever_a_detector_is_called_its_pods_have_names_that_kubernetes_takes(detector: str) -> None:
    name = job_name(f"{detector}-0a1b2c3d4e")
    assert len(name) <= LONGEST
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", f"{name}-node-0-999-abcde")
    assert len(f"{name}-node-0-999-abcde") <= 63


def test_runs_that_begin_alike_are_told_apart() -> None:
    long = "a" * 42
    assert job_name(f"{long}-1") != job_name(f"{long}-2")
    assert job_name("7pump-1") != job_name("run-7pump-1")
