"""Manifests are read as a cluster reads them; what cannot run is refused by file and field, all at once."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from homeostat.eventing.broker.manifests import Delivery, Destination, Trigger, read
from homeostat.eventing.errors import Reject

EVENTING = Path(__file__).parents[2] / "eventing"
FILES = [EVENTING / "broker.yaml", EVENTING / "triggers.yaml", EVENTING / "sources" / "canary-tick.yaml"]
LETTERS = {"deadLetterSink": {"uri": "http://letters/"}}
LISTENER = {"ref": {"apiVersion": "v1", "kind": "Service", "name": "listener"}}


def written(folder: Path, *documents: dict[str, Any]) -> list[Path]:
    file = folder / "manifests.yaml"
    file.write_text(yaml.safe_dump_all(documents))
    return [file]


def broker(**spec: Any) -> dict[str, Any]:
    metadata = {"name": "default", "namespace": "homeostat"}
    return {"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "metadata": metadata, "spec": spec}


def trigger(name: str = "listener", **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "homeostat"}
    spec = {"broker": "default", "subscriber": LISTENER} | spec
    return {"apiVersion": "eventing.knative.dev/v1", "kind": "Trigger", "metadata": metadata, "spec": spec}


def only(folder: Path, *documents: dict[str, Any]) -> Trigger:
    (found,) = read(written(folder, *documents)).triggers
    return found


def test_the_embedded_broker_reads_the_clusters_own_files() -> None:
    found = read(FILES)
    assert found.brokers == [("homeostat", "default")]
    assert next(iter(found.triggers)).name == "receive-data"
    assert [ping.name for ping in found.pings] == ["canary-tick"]
    assert (found.kafka_sources, found.kafka_sinks) == ([], [])
    assert all(trigger.delivery.retry == 10 for trigger in found.triggers)


# --- delivery ---


def test_a_broker_without_delivery_has_knatives_default(tmp_path: Path) -> None:
    assert only(tmp_path, broker(), trigger()).delivery == Delivery(
        retry=10, policy="exponential", delay=timedelta(seconds=0.2)
    )


def test_a_triggers_own_delivery_takes_the_place_of_the_brokers_as_a_whole(tmp_path: Path) -> None:
    ours = {"retry": 10, "backoffPolicy": "linear", "backoffDelay": "PT5S", "timeout": "PT60S"}
    found = only(tmp_path, broker(delivery=ours), trigger(delivery={"retry": 2}))
    assert found.delivery == Delivery(retry=2)
    assert only(tmp_path, broker(delivery=ours), trigger(delivery={})).delivery == Delivery()
    assert only(tmp_path, broker(delivery=ours), trigger()).delivery.retry == 10


def test_the_brokers_dead_letter_sink_stays_where_the_trigger_names_none(tmp_path: Path) -> None:
    letters = Destination(uri="http://letters/")
    found = only(tmp_path, broker(delivery={"retry": 1, **LETTERS}), trigger(delivery={"retry": 2}))
    assert found.delivery == Delivery(retry=2, dead_letter_sink=letters)
    own = {"deadLetterSink": {"uri": "https://own/"}}
    found = only(tmp_path, broker(delivery=LETTERS), trigger(delivery=own))
    assert found.delivery.dead_letter_sink == Destination(uri="https://own/")


def test_every_field_of_a_delivery_is_read(tmp_path: Path) -> None:
    sink = {**LISTENER, "uri": "/letters", "CACerts": "PEM", "audience": "letters"}
    spec = {
        "retry": 3,
        "backoffPolicy": "linear",
        "backoffDelay": "PT1S",
        "timeout": "PT5S",
        "retryAfterMax": "PT2M",
        "format": "json",
        "deadLetterSink": sink,
    }
    assert only(tmp_path, broker(), trigger(delivery=spec)).delivery == Delivery(
        retry=3,
        policy="linear",
        delay=timedelta(seconds=1),
        timeout=timedelta(seconds=5),
        retry_after_max=timedelta(minutes=2),
        format="json",
        dead_letter_sink=Destination(
            kind="Service",
            name="listener",
            namespace="homeostat",
            path="/letters",
            ca_certs="PEM",
            audience="letters",
        ),
    )


def test_a_trigger_may_name_a_broker_of_another_namespace(tmp_path: Path) -> None:
    document = trigger(brokerRef={"kind": "Broker", "name": "default", "namespace": "homeostat"})
    del document["spec"]["broker"]
    document["metadata"]["namespace"] = "elsewhere"
    assert only(tmp_path, broker(), document).broker == ("homeostat", "default")


def test_other_kinds_and_other_groups_kinds_are_left_alone(tmp_path: Path) -> None:
    tekton = {"apiVersion": "triggers.tekton.dev/v1", "kind": "Trigger", "metadata": {"name": "other"}}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {}}
    assert only(tmp_path, broker(), tekton, config, trigger()).name == "listener"


def test_a_trigger_may_deliver_to_a_kafka_sink_of_its_namespace_that_is_here(tmp_path: Path) -> None:
    sink = {"ref": {"apiVersion": "eventing.knative.dev/v1alpha1", "kind": "KafkaSink", "name": "anomalies"}}
    there = yaml.safe_load((EVENTING / "sources" / "anomalies.yaml").read_text())
    found = only(tmp_path, broker(), there, trigger(subscriber=sink, delivery={"deadLetterSink": sink}))
    target = Destination(kind="KafkaSink", name="anomalies", namespace="homeostat")
    assert (found.subscriber, found.delivery.dead_letter_sink) == (target, target)
    with pytest.raises(Reject, match="KafkaSink/anomalies"):
        read(written(tmp_path, broker(), trigger(delivery={"deadLetterSink": sink})))


# --- what cannot run ---


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"broker": "other"}, "spec.broker"),
        ({"filters": [{"unknown": "true"}]}, "spec.filters"),
        ({"subscribers": {}}, "spec.subscribers"),
        ({"subscriber": None}, "spec.subscriber"),
        ({"subscriber": {"uri": "/path"}}, "spec.subscriber"),
        ({"subscriber": {"uri": "file:///etc/passwd"}}, "spec.subscriber"),
        ({"subscriber": {**LISTENER, "uri": "http://else/"}}, "spec.subscriber.uri"),
        ({"subscriber": {"ref": {"kind": "Service"}}}, "spec.subscriber.ref"),
        ({"delivery": {"backoffPolicy": "random"}}, "spec.delivery.backoffPolicy"),
        ({"delivery": {"timeout": "soon"}}, "spec.delivery.timeout"),
        ({"delivery": {"timeout": "PT0S"}}, "spec.delivery.timeout"),
        ({"delivery": {"retry": -1}}, "spec.delivery.retry"),
        ({"delivery": {"retry": True}}, "spec.delivery.retry"),
        ({"delivery": {"retries": 3}}, "spec.delivery.retries"),
        ({"delivery": {"format": "xml"}}, "spec.delivery.format"),
        ({"delivery": {"deadLetterSink": {"url": "http://x/"}}}, "spec.delivery.deadLetterSink"),
        ({"delivery": []}, "spec.delivery"),
    ],
)
def test_a_trigger_that_cannot_run_is_refused_by_its_field(
    tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    with pytest.raises(Reject, match=f"manifests.yaml: Trigger listener: {named}"):
        read(written(tmp_path, broker(), trigger(**change)))


def test_all_faults_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    wrong = trigger(delivery={"retry": "x", "timeout": "soon"}, subscriber={})
    one.write_text(yaml.safe_dump_all([broker(delivery={"backoffPolicy": "random"}), wrong]))
    two.write_text("a: [")
    with pytest.raises(Reject) as refused:
        read([one, two, tmp_path / "missing.yaml"])
    assert {fault.field for fault in refused.value.faults} == {
        "one.yaml: Broker default: spec.delivery.backoffPolicy",
        "one.yaml: Trigger listener: spec.subscriber",
        "one.yaml: Trigger listener: spec.delivery.retry",
        "one.yaml: Trigger listener: spec.delivery.timeout",
        str(two),
        str(tmp_path / "missing.yaml"),
    }


def test_two_triggers_of_one_name_are_refused(tmp_path: Path) -> None:
    """They would share a cursor."""
    with pytest.raises(Reject, match="here twice"):
        read(written(tmp_path, broker(), trigger(), trigger()))


@pytest.mark.parametrize("text", ["- a list", "just text", "metadata: []\nkind: Broker", "kind: [1]"])
def test_no_file_breaks_the_reader(tmp_path: Path, text: str) -> None:
    file = tmp_path / "odd.yaml"
    file.write_text(text)
    try:
        read([file])
    except Reject as rejected:
        assert rejected.faults  # noqa: PT017 - being left alone is fine too
