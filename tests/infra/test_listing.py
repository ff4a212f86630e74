"""The periodic listing, on a real folder and on moto's S3 server."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import logging
import os
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from homeostat.eventing.errors import Retry
from homeostat.eventing.gateway.storage import STORAGE
from homeostat.eventing.messages import DataLanded
from homeostat.eventing.wire import WireEvent
from homeostat.infra.local import files, objects
from homeostat.infra.local import listing as module
from homeostat.infra.local.files import fact
from homeostat.infra.local.listing import Listing


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run the test in an event loop of its own."""

    @functools.wraps(test)
    def run(*args: Any, **named: Any) -> None:
        asyncio.run(test(*args, **named))

    return run


class Home:
    """What a listing sees of a home: Detectors, a broker, and the record that grows with its events."""

    def __init__(self, **uris: str) -> None:
        self.uris = uris
        self.events: list[WireEvent] = []
        self.record: dict[str, dict[str, str]] = {}
        self.recording = True
        self.full = False

    async def accept(self, events: Sequence[WireEvent]) -> None:
        if self.full:
            raise Retry("full")
        for event in events:
            self.events.append(event)
            data = orjson.loads(event.data or b"")
            if self.recording:
                self.record.setdefault(event.attributes["subject"], {})[data["uri"]] = data["etag"]

    def known(self, detector: str) -> Mapping[str, str]:
        return self.record.get(detector, {})

    def listing(self, every: float = 60, **options: Any) -> Listing:
        return Listing(lambda: self.uris, self.accept, self.known, every, **options)

    @property
    def landed(self) -> list[dict[str, Any]]:
        return [orjson.loads(event.data or b"") for event in self.events]

    @property
    def names(self) -> list[str]:
        return [one["uri"].rpartition("/")[2] for one in self.landed]


async def looks(listing: Listing, times: int = 2) -> list[int]:
    return [await listing.look() for _ in range(times)]


def write(path: Path, content: bytes = b"x\n1\n", modified: float | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    if modified is not None:
        os.utime(path, (modified, modified))
    return path


# --- a folder --------------------------------------------------------------------------------------------
@in_loop
async def test_a_lost_file_is_announced_at_the_second_look_and_then_never_again(tmp_path: Path) -> None:
    home = Home(pump=str(tmp_path))
    path = write(tmp_path / "2026" / "a.csv")
    assert await looks(home.listing(), 4) == [0, 1, 0, 0]
    expected = fact(path, "pump")
    assert expected is not None
    assert [event.attributes["id"] for event in home.events] == [expected.id]
    assert home.events[0].attributes["subject"] == "pump"


@in_loop
async def test_a_file_that_grows_between_two_looks_waits(tmp_path: Path) -> None:
    home, path = Home(pump=str(tmp_path)), write(tmp_path / "a.csv")
    listing = home.listing()
    for rows in range(2, 5):
        await listing.look()
        write(path, b"x\n" + b"1\n" * rows)
    assert home.events == []
    assert await looks(listing) == [0, 1]
    assert home.landed[0]["size"] == 10


@in_loop
async def test_what_is_recorded_is_left_alone_until_its_content_changes(tmp_path: Path) -> None:
    home, path = Home(pump=str(tmp_path)), write(tmp_path / "a.csv", b"x\n1\n")
    known = fact(path, None)
    assert known is not None
    assert isinstance(known.message, DataLanded)
    home.record = {"pump": {str(path): known.message.etag}}
    listing = home.listing()
    assert await looks(listing, 3) == [0, 0, 0]
    write(path, b"x\n2\n")
    assert await looks(listing) == [0, 1]


@in_loop
async def test_files_are_announced_in_their_order_and_hidden_ones_never(tmp_path: Path) -> None:
    home = Home(pump=str(tmp_path))
    for name, modified in (("c.csv", 3000), ("a.csv", 1000), ("b.csv", 2000), (".d.csv", 1), ("e.part", 1)):
        write(tmp_path / name, modified=modified)
    await looks(home.listing())
    assert home.names == ["a.csv", "b.csv", "c.csv"]


@in_loop
async def test_what_has_left_the_record_is_not_announced_again_by_a_new_home(tmp_path: Path) -> None:
    home = Home(pump=str(tmp_path))
    for day in range(5):
        write(tmp_path / f"{day}.csv", f"x\n{day}\n".encode(), modified=1000 + day)
    await looks(home.listing())
    # The record keeps the newest two, and one of those behind them was never announced.
    home.record["pump"] = {
        str(tmp_path / f"{day}.csv"): home.record["pump"][str(tmp_path / f"{day}.csv")] for day in (2, 4)
    }
    home.events.clear()
    listing = home.listing()
    await looks(listing, 3)
    assert home.names == ["3.csv"]
    write(tmp_path / "0.csv", b"x\nnew\n")
    await looks(listing)
    assert home.names == ["3.csv", "0.csv"]


@in_loop
async def test_only_the_newest_are_looked_at_and_older_ones_do_not_move_up(tmp_path: Path) -> None:
    home = Home(pump=str(tmp_path))
    for day in range(6):
        write(tmp_path / f"{day}.csv", f"x\n{day}\n".encode(), modified=1000 + day)
    listing = home.listing(limit=3)
    await looks(listing)
    assert home.names == ["3.csv", "4.csv", "5.csv"]
    (tmp_path / "5.csv").unlink()
    await looks(listing, 3)
    assert home.names == ["3.csv", "4.csv", "5.csv"]
    memory = listing._memory["pump"]
    assert max(len(memory.seen), len(memory.done)) <= 3


@in_loop
async def test_a_file_under_two_detectors_belongs_to_the_closest(tmp_path: Path) -> None:
    home = Home(plant=str(tmp_path), pump=str(tmp_path / "pump"))
    write(tmp_path / "pump" / "a.csv")
    write(tmp_path / "b.csv")
    await looks(home.listing())
    subjects = [event.attributes["subject"] for event in home.events]
    assert sorted(zip(subjects, home.names, strict=True)) == [("plant", "b.csv"), ("pump", "a.csv")]


@in_loop
async def test_a_broker_without_room_is_asked_again_at_the_next_look(tmp_path: Path) -> None:
    home = Home(pump=str(tmp_path))
    write(tmp_path / "a.csv")
    listing = home.listing()
    home.full = True
    assert await looks(listing, 3) == [0, 0, 0]
    assert "takes nothing now" in listing.errors["pump"]
    home.full = False
    assert await listing.look() == 1
    assert listing.errors == {}


@in_loop
async def test_errors_of_one_detector_do_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    home = Home(lake="nowhere://lake", missing=str(tmp_path / "missing"), pump=str(tmp_path))
    write(tmp_path / "a.csv")
    listing = home.listing()
    with caplog.at_level(logging.WARNING):
        assert await looks(listing, 3) == [0, 1, 0]
    assert list(listing.errors) == ["lake"]
    assert "nowhere://lake cannot be listed: ValueError" in listing.errors["lake"]
    assert len(caplog.records) == 1  # said once, not at each look
    del home.uris["lake"]
    await listing.look()
    assert listing.errors == {}


@in_loop
async def test_an_unreadable_file_keeps_no_other_from_being_announced(tmp_path: Path) -> None:
    home = Home(pump=str(tmp_path))
    write(tmp_path / "a.csv", modified=1000)
    write(tmp_path / "b.csv", modified=2000)
    listing = home.listing()
    await listing.look()
    real = files.fact

    def failing(path: Path, subject: str | None) -> Any:
        if path.name == "a.csv":
            raise PermissionError("not yours")
        return real(path, subject)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "fact", failing)
        assert await looks(listing) == [1, 0]
    assert home.names == ["b.csv"]
    assert await looks(listing) == [1, 0]
    assert home.names == ["b.csv", "a.csv"]


@in_loop
async def test_a_store_that_hangs_does_not_hold_the_others_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(lake="hang://lake", pump=str(tmp_path))
    write(tmp_path / "a.csv")
    release, calls = threading.Event(), []

    def newest(uri: str, limit: int) -> list[objects.Object]:
        if uri.startswith("hang"):
            calls.append(uri)
            release.wait(30)
            return []
        return objects.newest(uri, limit)

    monkeypatch.setattr(module, "newest", newest)
    monkeypatch.setattr(module, "_PATIENCE", 0.2)
    listing = home.listing()
    assert await looks(listing) == [0, 1]
    assert "no answer" in listing.errors["lake"]
    assert len(calls) == 1  # the first call is still waited for
    release.set()


@in_loop
async def test_the_loop_looks_again_and_ends_when_cancelled(tmp_path: Path) -> None:
    home = Home(pump=str(tmp_path))
    write(tmp_path / "a.csv")
    task = asyncio.create_task(home.listing(every=0.05).run())
    async with asyncio.timeout(5):
        while not home.events:  # noqa: ASYNC110 - what is tested has no event to wait for
            await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# --- S3 --------------------------------------------------------------------------------------------------
@in_loop
async def test_a_lost_object_of_s3_is_found_with_its_etag(s3: Any) -> None:
    home = Home(pump="s3://plant/pump/")
    answer = s3.put_object(Bucket="plant", Key="pump/2026/a b+ü.csv", Body=b"x\n1\n")
    s3.put_object(Bucket="plant", Key="pump/folder/", Body=b"")
    s3.put_object(Bucket="plant", Key="pump2/other.csv", Body=b"x\n1\n")
    listing = home.listing()
    assert await looks(listing, 3) == [0, 1, 0]
    assert home.landed == [
        {
            "uri": "s3://plant/pump/2026/a b+ü.csv",
            "etag": answer["ETag"].strip('"'),
            "size": 4,
            "sequencer": "",
        }
    ]
    assert home.events[0].attributes["source"] == "s3://plant"
    s3.put_object(Bucket="plant", Key="pump/2026/a b+ü.csv", Body=b"x\n2\n")
    assert await looks(listing) == [0, 1]


@in_loop
async def test_an_object_whose_notification_came_is_left_alone(s3: Any) -> None:
    home = Home(pump="s3://plant/pump")
    answer = s3.put_object(Bucket="plant", Key="pump/a b.csv", Body=b"x\n1\n")
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "s3": {
            "bucket": {"name": "plant"},
            "object": {"key": "pump/a+b.csv", "eTag": answer["ETag"].strip('"')},
        },
    }
    (told,) = STORAGE["s3"]({}, orjson.dumps({"Records": [record]}))
    assert isinstance(told.message, DataLanded)
    home.record = {"pump": {told.message.uri: told.message.etag}}
    assert await looks(home.listing(), 3) == [0, 0, 0]


@in_loop
async def test_a_bucket_that_is_not_there_is_an_error_and_not_the_end(s3: Any) -> None:
    home = Home(lost="s3://nobody/pump", pump="s3://plant/pump")
    s3.put_object(Bucket="plant", Key="pump/a.csv", Body=b"x\n1\n")
    assert await looks(home.listing()) == [0, 1]


# --- what other stores tell ------------------------------------------------------------------------------
def test_a_generation_gives_the_id_of_google_own_notification() -> None:
    told = {
        "size": 352,
        "generation": "1587627537231057",
        "etag": "CNHZkbuF/ugCEAE=",
        "updated": "2020-04-23T07:38:57.230Z",
    }
    listed = objects._object("gs://sample-bucket/folder/Test.cs", told).fact("pump")
    attributes = {
        "eventType": "OBJECT_FINALIZE",
        "payloadFormat": "NONE",
        "bucketId": "sample-bucket",
        "objectId": "folder/Test.cs",
        "objectGeneration": "1587627537231057",
    }
    (notified,) = STORAGE["pubsub"]({}, orjson.dumps({"message": {"attributes": attributes}}))
    assert listed is not None
    assert (listed.id, listed.source) == (notified.id, notified.source)
    assert isinstance(notified.message, DataLanded)
    assert listed.message == dataclasses.replace(notified.message, size=352)


def test_an_etag_of_azure_gives_the_id_of_event_grid_own_notification() -> None:
    told = {"size": 5, "etag": '"0x8D4BCC2E4835CD0"', "last_modified": "2017-06-26T18:41:00+00:00"}
    listed = objects._object("az://test-container/new-file.txt", told).fact("pump")
    event = {
        "eventType": "Microsoft.Storage.BlobCreated",
        "subject": "/blobServices/default/containers/test-container/blobs/new-file.txt",
        "data": {"api": "PutBlob", "eTag": "0x8D4BCC2E4835CD0", "contentLength": 5, "sequencer": "00"},
    }
    (notified,) = STORAGE["azure"]({}, orjson.dumps([event]))
    assert listed is not None
    assert (listed.id, listed.source) == (notified.id, notified.source)
