"""The watched folder, on a real one: what is complete is announced once, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import orjson

from homeostat.eventing.errors import Retry
from homeostat.eventing.wire import WireEvent
from homeostat.infra.local.files import fact
from homeostat.infra.local.folder import Folder

SETTLE = 0.2


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run the test in an event loop of its own."""

    @functools.wraps(test)
    def run(*args: Any, **named: Any) -> None:
        asyncio.run(test(*args, **named))

    return run


class Broker:
    """Takes events; the first `refusals` times it has no room."""

    def __init__(self, refusals: int = 0) -> None:
        self.events: list[WireEvent] = []
        self.refusals = refusals

    async def accept(self, events: Sequence[WireEvent]) -> None:
        if self.refusals:
            self.refusals -= 1
            raise Retry("full")
        self.events += events

    @property
    def landed(self) -> list[dict[str, Any]]:
        return [orjson.loads(event.data or b"") for event in self.events]

    @property
    def names(self) -> list[str]:
        return [Path(one["uri"]).name for one in self.landed]

    async def have(self, count: int) -> None:
        await until(lambda: len(self.events) >= count)


async def until(true: Callable[[], object], within: float = 10.0) -> None:
    async with asyncio.timeout(within):
        while not true():  # noqa: ASYNC110 - what is tested has no event to wait for
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def watching(
    detectors: dict[str, str], broker: Broker, settle: float = SETTLE
) -> AsyncIterator[Folder]:
    folder = Folder(lambda: detectors, broker.accept, settle=settle)
    task = asyncio.create_task(folder.run())
    await until(lambda: folder._surveyed)
    try:
        yield folder
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def quiet() -> None:
    await asyncio.sleep(SETTLE * 3)


@in_loop
async def test_a_file_is_announced_once_with_size_digest_and_detector(tmp_path: Path) -> None:
    broker = Broker()
    async with watching({"pump": str(tmp_path)}, broker):
        (tmp_path / "a b+c.csv").write_bytes(b"x\n1\n")
        await broker.have(1)
        await quiet()
    (event,) = broker.events
    expected = fact(tmp_path / "a b+c.csv", "pump")
    assert expected is not None
    assert broker.landed == [
        {
            "uri": str(tmp_path / "a b+c.csv"),
            "etag": hashlib.sha256(b"x\n1\n").hexdigest(),
            "size": 4,
            "sequencer": f"{(tmp_path / 'a b+c.csv').stat().st_ctime_ns:020d}",
        }
    ]
    assert (event.attributes["subject"], event.attributes["id"]) == ("pump", expected.id)


@in_loop
async def test_a_growing_file_waits_until_it_stands(tmp_path: Path) -> None:
    broker = Broker()
    async with watching({"pump": str(tmp_path)}, broker, settle=1.0):
        with (tmp_path / "a.csv").open("wb", buffering=0) as file:
            for _ in range(8):
                file.write(b"x" * 1000)
                await asyncio.sleep(0.2)
                assert broker.events == []
        await broker.have(1)
        await quiet()
    assert [one["size"] for one in broker.landed] == [8000]


@in_loop
async def test_a_file_renamed_into_place_counts_at_once(tmp_path: Path) -> None:
    broker = Broker()
    async with watching({"pump": str(tmp_path)}, broker, settle=60) as folder:
        (tmp_path / "a.csv.part").write_bytes(b"x\n1\n")
        await until(lambda: folder._arriving)
        (tmp_path / "slow.csv").write_bytes(b"x\n1\n")
        (tmp_path / "a.csv.part").rename(tmp_path / "a.csv")
        await broker.have(1)
        await until(lambda: folder._pending)
    assert broker.names == ["a.csv"]


@in_loop
async def test_hidden_temporary_and_empty_files_never_count(tmp_path: Path) -> None:
    broker = Broker()
    (tmp_path / ".git").mkdir()
    names = [".a.csv", "~a.csv", "a.csv.part", "a.csv.TMP", "a.csv~", "a.crdownload", ".git/a.csv"]
    async with watching({"pump": str(tmp_path)}, broker):
        for name in names:
            (tmp_path / name).write_bytes(b"x\n1\n")
        (tmp_path / "empty.csv").touch()
        (tmp_path / "good.csv").write_bytes(b"x\n1\n")
        await broker.have(1)
        await quiet()
    assert broker.names == ["good.csv"]


@in_loop
async def test_a_replaced_file_is_a_new_event_and_a_touched_one_is_not(tmp_path: Path) -> None:
    broker = Broker()
    async with watching({"pump": str(tmp_path)}, broker):
        (tmp_path / "a.csv").write_bytes(b"x\n1\n")
        await broker.have(1)
        (tmp_path / "a.csv").chmod(0o600)
        await quiet()
        assert len(broker.events) == 1
        (tmp_path / ".new").write_bytes(b"x\n2\n")
        os.utime(tmp_path / ".new", (1, 1))  # older than what it replaces
        (tmp_path / ".new").rename(tmp_path / "a.csv")
        await broker.have(2)
        (tmp_path / "a.csv").write_bytes(b"x\n1\n")  # and back to the first content
        await broker.have(3)
    first, second, third = broker.landed
    assert first["etag"] == third["etag"] != second["etag"]
    assert first["sequencer"] < second["sequencer"] < third["sequencer"]
    assert len({event.attributes["id"] for event in broker.events}) == 3


@in_loop
async def test_nested_folders_belong_to_the_closest_detector(tmp_path: Path) -> None:
    broker = Broker()
    inner = tmp_path / "plant" / "pump"
    inner.mkdir(parents=True)
    async with watching({"plant": str(tmp_path / "plant"), "pump": f"file://{inner}"}, broker):
        (inner / "2026" / "11").mkdir(parents=True)
        await asyncio.sleep(0.1)
        (inner / "2026" / "11" / "a.csv").write_bytes(b"x\n1\n")
        (tmp_path / "plant" / "b.csv").write_bytes(b"x\n1\n")
        await broker.have(2)
        await quiet()
    assert {
        Path(one["uri"]).name: event.attributes["subject"]
        for one, event in zip(broker.landed, broker.events, strict=True)
    } == {
        "a.csv": "pump",
        "b.csv": "plant",
    }


@in_loop
async def test_a_folder_moved_in_brings_its_files(tmp_path: Path) -> None:
    broker = Broker()
    outside = tmp_path / "outside"
    (outside / "day").mkdir(parents=True)
    (outside / "day" / "a.csv").write_bytes(b"x\n1\n")
    watched = tmp_path / "watched"
    watched.mkdir()
    async with watching({"pump": str(watched)}, broker):
        (outside / "day").rename(watched / "day")
        await broker.have(1)
    assert broker.landed[0]["uri"] == str(watched / "day" / "a.csv")


@in_loop
async def test_what_lay_there_before_is_left_to_the_listing(tmp_path: Path) -> None:
    broker = Broker()
    (tmp_path / "old.csv").write_bytes(b"x\n1\n")
    async with watching({"pump": str(tmp_path)}, broker):
        (tmp_path / "new.csv").write_bytes(b"x\n1\n")
        await broker.have(1)
        (tmp_path / "old.csv").write_bytes(b"x\n1\n2\n")
        await broker.have(2)
    assert broker.names == ["new.csv", "old.csv"]


@in_loop
async def test_the_folder_may_be_deleted_and_come_back(tmp_path: Path) -> None:
    broker = Broker()
    folder = tmp_path / "pump"
    folder.mkdir()
    async with watching({"pump": str(folder)}, broker):
        for round in range(3):
            shutil.rmtree(folder)
            await asyncio.sleep(0.3 * round)
            folder.mkdir()
            (folder / f"{round}.csv").write_bytes(b"x\n1\n")
            await broker.have(round + 1)
            (folder / f"{round}-later.csv").write_bytes(b"x\n1\n")
            await broker.have(round + 2)
            broker.events.pop()
    assert broker.names == ["0.csv", "1.csv", "2.csv"]


@in_loop
async def test_a_folder_that_is_made_later_and_a_detector_applied_later_are_watched(tmp_path: Path) -> None:
    broker = Broker()
    detectors = {"pump": str(tmp_path / "pump"), "lake": "s3://plant/lake"}
    async with watching(detectors, broker):
        (tmp_path / "pump").mkdir()
        (tmp_path / "pump" / "a.csv").write_bytes(b"x\n1\n")
        await broker.have(1)
        (tmp_path / "valve").mkdir()
        detectors["valve"] = str(tmp_path / "valve")
        await asyncio.sleep(1)
        (tmp_path / "valve" / "b.csv").write_bytes(b"x\n1\n")
        await broker.have(2)
    assert [event.attributes["subject"] for event in broker.events] == ["pump", "valve"]


@in_loop
async def test_a_broker_without_room_is_asked_again(tmp_path: Path) -> None:
    broker = Broker(refusals=3)
    async with watching({"pump": str(tmp_path)}, broker):
        (tmp_path / "a.csv").write_bytes(b"x\n1\n")
        await broker.have(1)
        await quiet()
    assert (broker.names, broker.refusals) == (["a.csv"], 0)


@in_loop
async def test_a_link_that_leads_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    broker = Broker()
    secret = tmp_path / "secret.csv"
    secret.write_bytes(b"x\n1\n")
    folder = tmp_path / "pump"
    folder.mkdir()
    async with watching({"pump": str(folder)}, broker):
        (folder / "link.csv").symlink_to(secret)
        (folder / "a.csv").write_bytes(b"x\n1\n")
        (folder / "inside.csv").symlink_to(folder / "a.csv")
        await broker.have(2)
        await quiet()
    assert sorted(broker.names) == ["a.csv", "inside.csv"]
