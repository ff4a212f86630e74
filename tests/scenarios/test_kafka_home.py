"""A home between two Kafka topics, by the cluster's own manifests: records come in, anomalies go out."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

import homeostat.eventing
from homeostat.eventing import kafka_binding
from homeostat.eventing.messages import AnomalyDetected, KafkaRecord
from homeostat.infra.local.home import free_port
from homeostat.infra.local.views import dead_letters
from tests.eventing.kafka_cluster import Cluster, cluster
from tests.scenarios.homes import CHANNELS, RunningHome, rows

SOURCES = Path(homeostat.eventing.__file__).parent / "sources"
TRIGGER = """
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: to-kafka, namespace: homeostat}
spec:
  broker: default
  filters: [{exact: {type: dev.homeostat.anomaly.detected}}]
  subscriber:
    ref: {apiVersion: eventing.knative.dev/v1alpha1, kind: KafkaSink, name: anomalies}
"""
ANOMALY = {"score": 9.5, "threshold": 3.0, "revision": "pump-1", "series": "rig-7", "channels": ["Pressure"]}


@pytest.fixture(scope="module")
def kafka() -> Iterator[Cluster]:
    with cluster() as running:
        running.topic("samples", 2)
        running.topic("anomalies")
        yield running


@dataclass(frozen=True)
class Manifests:
    """The loop's own KafkaSource and KafkaSink, in a folder, and a Trigger in a file beside it."""

    folder: Path
    trigger: Path

    def __str__(self) -> str:
        return f"{self.folder}:{self.trigger}"


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory, kafka: Cluster) -> Manifests:
    top = tmp_path_factory.mktemp("manifests")
    made = Manifests(top / "kafka", top / "trigger.yaml")
    made.folder.mkdir()
    for name in ("samples.yaml", "anomalies.yaml"):
        text = (SOURCES / name).read_text().replace("kafka-bootstrap.kafka:9092", kafka.servers)
        # What is written before the home has joined is to be read too.
        (made.folder / name).write_text(text.replace("initialOffset: latest", "initialOffset: earliest"))
    made.trigger.write_text(TRIGGER)
    return made


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, manifests: Manifests) -> Iterator[RunningHome]:
    running = RunningHome(tmp_path_factory.mktemp("home") / "state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOMEOSTAT_MANIFESTS", str(manifests))
        running.apply()
        running.start()
        try:
            running.wait_healthy()
            yield running
        finally:
            running.kill()


def sample(number: int) -> bytes:
    values = rows(1, seed=number)[list(CHANNELS)].to_numpy(float)[0].tolist()
    return orjson.dumps(dict(zip(CHANNELS, values, strict=True)))


def places(home: RunningHome) -> list[str]:
    return [one.attributes["id"] for one in home.events(KafkaRecord.type)]


def test_records_become_events_of_the_detector_that_the_source_names(
    home: RunningHome, kafka: Cluster
) -> None:
    for offset in range(5):
        kafka.write("samples", sample(offset), key=b"rig-7", partition=1)
    kafka.write("samples", b"no JSON at all")
    home.until(lambda: len(places(home)) >= 6, 30, "the records' events")
    found = {one.attributes["id"]: one for one in home.events(KafkaRecord.type)}
    assert set(found) == {"partition:0/offset:0", *(f"partition:1/offset:{n}" for n in range(5))}
    first = found["partition:1/offset:0"]
    source = "/apis/v1/namespaces/homeostat/kafkasources/samples#samples"
    assert first.attributes.items() >= {"source": source, "key": "rig-7", "detector": "pump"}.items()
    assert first.data == sample(0)
    assert found["partition:0/offset:0"].data == b"no JSON at all"


def test_an_ordinary_trigger_writes_anomalies_to_a_topic(home: RunningHome, kafka: Cluster) -> None:
    identities = [home.emit(AnomalyDetected.type, ANOMALY | {"row": row}) for row in range(3)]
    messages = kafka.read("anomalies", 3)
    events = [kafka_binding.decode(one.headers(), one.key(), one.value()) for one in messages]
    assert [one.attributes["id"] for one in events if one] == identities
    for row, event in enumerate(events):
        assert event is not None
        assert (event.attributes["type"], event.attributes["subject"]) == (AnomalyDetected.type, "pump")
        assert orjson.loads(event.data or b"") == ANOMALY | {"row": row}
    assert not [one for one in dead_letters(home.settings) if one["trigger"] == "to-kafka"]


@pytest.mark.slow  # the mock coordinator waits a session's 45 s for a member that has left; Kafka does not
def test_a_home_that_starts_again_goes_on_where_it_was_in_kafka(home: RunningHome, kafka: Cluster) -> None:
    before, offset = len(places(home)), len([one for one in places(home) if one.startswith("partition:1/")])
    written = len(kafka.read("anomalies", 4, seconds=1))
    kafka.write("samples", sample(0), partition=1)
    home.until(lambda: f"partition:1/offset:{offset}" in places(home), 30, "the record's event")
    assert home.stop() == 0
    assert kafka.committed("homeostat-samples", "samples", 1) == offset + 1
    kafka.write("samples", sample(1), partition=1)
    home.start()
    home.wait_healthy()
    home.until(lambda: f"partition:1/offset:{offset + 1}" in places(home), 90, "what came meanwhile")
    assert len(places(home)) == len(set(places(home))) == before + 2
    assert len(kafka.read("anomalies", 4, seconds=1)) == written


def test_a_manifest_that_cannot_be_run_is_told_at_the_start(manifests: Manifests, tmp_path: Path) -> None:
    """A sink that no manifest here names, a Secret that is not there, a path that leads nowhere."""
    text = (manifests.folder / "samples.yaml").read_text()
    secret = "{secretKeyRef: {name: kafka, key: user}}"
    net = f"  net: {{sasl: {{enable: true, user: {secret}, password: {secret}}}}}\n"
    (tmp_path / "secret.yaml").write_text(text.replace("  topics:", f"{net}  topics:"))
    for named, mend in (
        (manifests.trigger, "no KafkaSink of that name"),
        (tmp_path / "secret.yaml", "put it in the secrets folder, as kafka/user"),
        (tmp_path / "nowhere.yaml", "correct HOMEOSTAT_MANIFESTS"),
    ):
        ended = subprocess.run(
            [sys.executable, "-m", "homeostat.infra.cli", "up", "--state", str(tmp_path / "state")],
            env={**os.environ, "HOMEOSTAT_MANIFESTS": str(named), "HOMEOSTAT_PORT": str(free_port())},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == 1, ended.stderr
        assert mend in ended.stderr
        assert "Traceback" not in ended.stderr
