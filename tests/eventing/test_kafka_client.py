"""Credentials for Kafka: read from Secrets as Kubernetes mounts them, and never from elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from homeostat.eventing.broker import kafka_client
from homeostat.eventing.broker.sources import Kafka
from homeostat.eventing.errors import Reject


def test_secrets_are_read_as_kubernetes_mounts_them(tmp_path: Path) -> None:
    (tmp_path / "kafka").mkdir()
    for key, value in (("user", "homeostat\n"), ("password", "s3cret"), ("ca.crt", "PEM")):
        (tmp_path / "kafka" / key).write_text(value)
    names = {"sasl.username": "user", "sasl.password": "password", "ssl.ca.pem": "ca.crt"}
    secrets = {setting: ("kafka", key) for setting, key in names.items()}
    kafka = Kafka(("one:9093", "two:9093"), "SASL_SSL", secrets)
    assert kafka_client.settings(kafka, "KafkaSource s", kafka_client.secrets_in(tmp_path)) == {
        "bootstrap.servers": "one:9093,two:9093",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "homeostat",
        "sasl.password": "s3cret",
        "ssl.ca.pem": "PEM",
    }


@pytest.mark.parametrize(("name", "key"), [("..", "x"), ("kafka", "../x"), ("kafka", ".."), ("a/b", "c")])
def test_no_secret_is_read_outside_its_folder(tmp_path: Path, name: str, key: str) -> None:
    (tmp_path / "x").write_text("no")
    (tmp_path / "secrets" / "kafka").mkdir(parents=True)
    assert kafka_client.secrets_in(tmp_path / "secrets")(name, key) is None


def test_every_missing_secret_is_told_at_once() -> None:
    secrets = {"sasl.username": ("kafka", "user"), "sasl.password": ("kafka", "password")}
    with pytest.raises(Reject) as refused:
        kafka_client.settings(
            Kafka(("a:1",), "SASL_PLAINTEXT", secrets), "KafkaSource s", kafka_client.no_secrets
        )
    assert "kafka/user" in str(refused.value)
    assert "kafka/password" in str(refused.value)


def test_a_mechanism_that_is_not_spoken_here_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kafka").mkdir()
    for key in ("user", "password"):
        (tmp_path / "kafka" / key).write_text("x")
    (tmp_path / "kafka" / "type").write_text("OAUTHBEARER")
    names = {"sasl.username": "user", "sasl.password": "password", "sasl.mechanism": "type"}
    kafka = Kafka(("a:1",), "SASL_SSL", {setting: ("kafka", key) for setting, key in names.items()})
    with pytest.raises(Reject, match="OAUTHBEARER"):
        kafka_client.settings(kafka, "KafkaSource s", kafka_client.secrets_in(tmp_path))


def test_without_confluent_kafka_the_mend_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(Reject, match=r"KafkaSource s .*pip install 'homeostat\[kafka\]'"):
        kafka_client.confluent("KafkaSource s")
