"""Files that are uploaded to a bucket, or put into a folder, become a Detector's rows; each counts once."""

from __future__ import annotations

import contextlib
import io
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import httpx
import orjson
import pandas as pd
import pytest

from homeostat.eventing.messages import DataLanded, EvalFailed, EvalPassed, TrainingCompleted
from homeostat.infra.local.views import dead_letters
from tests.scenarios.homes import CHANNELS, RunningHome, rows

SETTLE = LIST = 2.0
"""Seconds: a file that was renamed into place counts sooner than either would find it."""


class Bucket:
    """The bucket `plant` of moto's S3 server, and the notifications that AWS would send of it."""

    def __init__(self, server: str, gateway: str) -> None:
        import boto3  # type: ignore[import-untyped]

        self._s3 = boto3.client("s3", endpoint_url=server, region_name="us-east-1", **_CREDENTIALS)
        self._s3.create_bucket(Bucket="plant")
        self._door = f"{gateway}/storage/s3"

    def put(self, key: str, frame: pd.DataFrame) -> dict[str, Any]:
        """Upload rows as Parquet; returns the notification, which is still to be sent."""
        body = io.BytesIO()
        frame.to_parquet(body, index=False)
        told = self._s3.put_object(Bucket="plant", Key=key, Body=body.getvalue())
        return notification(key, told["ETag"].strip('"'), len(body.getvalue()))

    def notify(self, told: dict[str, Any]) -> dict[str, int]:
        """As S3's subscriber posts it; returns the gateway's answer."""
        answer = httpx.post(self._door, json=told, timeout=10)
        assert answer.status_code == 202, answer.text
        counts: dict[str, int] = answer.json()
        return counts

    def close(self) -> None:
        self._s3.close()


_CREDENTIALS = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}


def notification(key: str, etag: str, size: int) -> dict[str, Any]:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html"""
    thing = {"key": quote_plus(key, safe="/"), "size": size, "eTag": etag}
    record = {
        "eventVersion": "2.6",
        "eventSource": "aws:s3",
        "awsRegion": "us-east-1",
        "eventTime": "2026-11-24T13:00:00.000Z",
        "eventName": "ObjectCreated:Put",
        "userIdentity": {"principalId": "AWS:AIDAINPONIXQXHT3IKHL2"},
        "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "responseElements": {"x-amz-request-id": "D82B88E5F771F645", "x-amz-id-2": "vlR7PnpV2Ce81l0PRw6j"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "uploads",
            "bucket": {
                "name": "plant",
                "ownerIdentity": {"principalId": "A3I5XTEXAMAI3E"},
                "arn": "arn:aws:s3:::plant",
            },
            # Hexadecimal digits that grow with every write of the key.
            "object": {**thing, "sequencer": f"{time.time_ns():018X}"},
        },
    }
    return {"Records": [record]}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    # moto keeps its buckets for the whole process.
    httpx.post(f"http://{host}:{port}/moto-api/reset").raise_for_status()
    try:
        yield f"http://{host}:{port}"
    finally:
        with contextlib.suppress(Exception):
            running.stop()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, server: str) -> Iterator[RunningHome]:
    """Detectors of two places in the bucket, and one of a folder."""
    running = RunningHome(tmp_path_factory.mktemp("home") / "state")
    environment = {name.upper(): value for name, value in _CREDENTIALS.items()}
    environment |= {"AWS_ENDPOINT_URL": server, "AWS_DEFAULT_REGION": "us-east-1"}
    environment |= {"HOMEOSTAT_LIST_SECONDS": str(LIST), "HOMEOSTAT_SETTLE_SECONDS": str(SETTLE)}
    running.settings.data("fan").mkdir(parents=True)
    for name, uri in (
        ("pump", "s3://plant/pump/"),
        ("lost", "s3://plant/lost/"),
        ("fan", f"{running.settings.data('fan')}/"),
    ):
        running.apply(name, data={"uri": uri, "channels": list(CHANNELS), "label": "anomaly"})
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        running.start()
    try:
        running.wait_healthy()
        yield running
    finally:
        running.kill()


@pytest.fixture(scope="module")
def bucket(home: RunningHome, server: str) -> Iterator[Bucket]:
    made = Bucket(server, f"{home.settings.url}/gateway")
    yield made
    made.close()


def recorded(home: RunningHome, detector: str) -> dict[str, int]:
    """The rows of each batch that the Detector has, by its file's name."""
    return {one["uri"].rpartition("/")[2]: one["rows"] for one in home.status(detector)["batches"]}


def landed(home: RunningHome, file: str) -> list[Any]:
    """What was accepted of the file: time of acceptance is not told, only the data."""
    found = [orjson.loads(one.data or b"") for one in home.events(DataLanded.type)]
    return [one for one in found if one["uri"].endswith(f"/{file}")]


# --- a bucket --------------------------------------------------------------------------------------------
def test_an_uploaded_parquet_file_is_recorded_and_its_redelivery_changes_nothing(
    home: RunningHome, bucket: Bucket
) -> None:
    told = bucket.put("pump/line 3/a+b.parquet", rows(600))
    assert bucket.notify(told) == {"accepted": 1, "unmatched": 0}
    home.until(lambda: recorded(home, "pump") == {"a+b.parquet": 600}, 15, "the batch")
    (batch,) = home.status("pump")["batches"]
    thing = told["Records"][0]["s3"]["object"]
    assert (batch["uri"], batch["etag"]) == ("s3://plant/pump/line 3/a+b.parquet", thing["eTag"])
    assert batch["sequencer"].strip("0") == thing["sequencer"].strip("0")
    assert home.status("pump")["new_rows"] == 600
    assert bucket.notify(told) == {"accepted": 1, "unmatched": 0}
    assert len(landed(home, "a+b.parquet")) == 1


def test_an_older_notification_changes_nothing_and_holds_nothing_up(
    home: RunningHome, bucket: Bucket
) -> None:
    before = home.status("pump")["new_rows"]
    older = bucket.put("pump/twice.parquet", rows(100, seed=2))
    newer = bucket.put("pump/twice.parquet", rows(200, seed=3))
    bucket.notify(newer)
    home.until(lambda: recorded(home, "pump").get("twice.parquet") == 200, 15, "the newer version")
    bucket.notify(older)
    bucket.notify(bucket.put("pump/next.parquet", rows(50, seed=4)))
    home.until(lambda: "next.parquet" in recorded(home, "pump"), 15, "what comes after it")
    assert home.status("pump")["new_rows"] == before + 250
    assert recorded(home, "pump")["twice.parquet"] == 200
    assert dead_letters(home.settings) == []


@pytest.mark.slow
def test_enough_uploaded_rows_start_a_training_run_that_reads_them_from_the_bucket(
    home: RunningHome, bucket: Bucket
) -> None:
    bucket.notify(bucket.put("pump/enough.parquet", rows(1500, seed=5)))
    (completed, *_) = home.until(lambda: home.events(TrainingCompleted.type), 120, "training.completed")
    assert orjson.loads(completed.data)["rows"] >= 1500
    home.until(lambda: home.events(EvalPassed.type, EvalFailed.type), 30, "the gate's answer")


def test_an_object_whose_notification_was_lost_is_found_by_the_listing(
    home: RunningHome, bucket: Bucket
) -> None:
    told = bucket.put("lost/silent.parquet", rows(70, seed=6))
    home.until(lambda: recorded(home, "lost") == {"silent.parquet": 70}, 5 * LIST, "the listing")
    bucket.notify(told)  # late, and another event: the listing knows no sequencer
    home.until(lambda: len(landed(home, "silent.parquet")) == 2, 10, "the late notification")
    home.until(lambda: idle(home, "receive-data"), 10, "all to be received")
    assert home.status("lost")["new_rows"] == 70


def test_an_object_of_no_detector_is_shown_and_not_lost(home: RunningHome, bucket: Bucket) -> None:
    assert bucket.notify(bucket.put("elsewhere/x.parquet", rows(10))) == {"accepted": 0, "unmatched": 1}
    shown = httpx.get(f"{home.settings.url}/gateway/unmatched", timeout=10).json()
    assert shown["counts"]["data"] == 1
    assert shown["last"][0]["data"]["uri"] == "s3://plant/elsewhere/x.parquet"
    assert shown["last"][0]["door"] == "/storage/s3"
    assert landed(home, "x.parquet") == []


# --- a folder --------------------------------------------------------------------------------------------
def test_a_file_that_grows_counts_once_after_it_stopped(home: RunningHome) -> None:
    whole = rows(120, seed=7).to_csv(sep=";", index=False)
    path, piece = home.settings.data("fan") / "slow.csv", len(whole) // 8
    with path.open("w") as file:
        while whole:
            assert landed(home, "slow.csv") == []
            file.write(whole[:piece])
            file.flush()
            whole = whole[piece:]
            time.sleep(SETTLE / 6)
    home.until(lambda: recorded(home, "fan").get("slow.csv") == 120, 5 * SETTLE, "the whole file")
    (once,) = landed(home, "slow.csv")
    assert once["size"] == path.stat().st_size


def test_a_file_that_is_renamed_into_place_counts_at_once(home: RunningHome) -> None:
    folder = home.settings.data("fan")
    rows(80, seed=8).to_csv(folder / ".moved.csv.part", sep=";", index=False)
    time.sleep(0.5)  # as any copy takes its time; the watch sees the temporary name
    begun = time.monotonic()
    (folder / ".moved.csv.part").rename(folder / "moved.csv")
    home.until(lambda: landed(home, "moved.csv"), 10, "the renamed file")
    assert time.monotonic() - begun < 0.9 * SETTLE
    home.until(lambda: recorded(home, "fan").get("moved.csv") == 80, 10, "its rows")


def test_a_file_that_is_landed_is_not_counted_twice(home: RunningHome, files: Path) -> None:
    """By the command and the watch together, and once more with the same content."""
    before = home.status("fan")["new_rows"]
    for _ in range(2):
        home.land(rows(60, seed=9), "landed.csv", files, detector="fan")
    home.until(lambda: recorded(home, "fan").get("landed.csv") == 60, 10, "its rows")
    time.sleep(SETTLE / 2)  # for the watch
    home.until(lambda: idle(home, "receive-data"), 10, "all to be received")
    assert home.status("fan")["new_rows"] == before + 60
    assert len(landed(home, "landed.csv")) == len({one["sequencer"] for one in landed(home, "landed.csv")})
    assert dead_letters(home.settings) == []


def idle(home: RunningHome, trigger: str) -> bool:
    text = httpx.get(f"{home.settings.url}/metrics", timeout=5).text
    return f'homeostat_broker_lag{{trigger="{trigger}"}} 0.0' in text
