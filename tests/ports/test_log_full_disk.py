"""The log on a disk that is really full: it says so, records nothing by halves, and goes on when there is room."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from log_words import event, everything, stream
from small_disks import SmallDisk, small_disk

from adapters.nats.embedded import EmbeddedServer
from adapters.nats.log import JetStreamLog
from adapters.nats.room import LEAST_BYTES, Room, Wound
from domain.errors import Unavailable
from domain.ports import Commit

DISK = 48 * 2**20


@asynccontextmanager
async def opened(disk: SmallDisk, *, guarded: bool = True) -> AsyncIterator[tuple[EmbeddedServer, JetStreamLog]]:
    server = await EmbeddedServer.start(disk.place / "nats")
    log = await JetStreamLog.connect([server.url], patience_seconds=3)
    if guarded:
        log.stands_on(disk.place / "nats")
    try:
        yield server, log
    finally:
        await log.close()
        await server.stop()


def one(number: int, text: str = "x") -> list[Commit]:
    return [Commit(stream(f"s{number}"), 0, (event(data=b'{"title":"%b"}' % text.encode()),))]


async def anew(server: EmbeddedServer) -> None:
    async with asyncio.timeout(60):
        while server.restarts == 0:  # noqa: ASYNC110 - another process's end
            await asyncio.sleep(0.05)


def test_a_disk_that_is_nearly_full_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    async def scenario() -> None:
        with small_disk(tmp_path / "disk", DISK) as disk:
            async with opened(disk) as (server, log):
                await log.append(one(1))
                disk.fill(leave=LEAST_BYTES // 2)
                await asyncio.sleep(0.3)  # what was looked up a moment ago counts for that long
                with pytest.raises(Unavailable) as caught:
                    await log.append(one(2))
                assert (caught.value.code, caught.value.remediation[0].action) == ("log_full", "free_space")
                assert "nothing was recorded" in caught.value.message
                assert f"{LEAST_BYTES:,} are needed" in caught.value.message
                disk.make_room()
                await asyncio.sleep(0.3)
                await log.append(one(2))
                assert server.restarts == 0
                assert len(await everything(log)) == 2

    asyncio.run(scenario())


def test_a_server_that_could_not_write_is_started_anew_once_there_is_room(tmp_path: Path) -> None:
    async def scenario() -> None:
        with small_disk(tmp_path / "disk", DISK) as disk:
            async with opened(disk, guarded=False) as (server, log):
                await log.append(one(1))
                disk.fill()
                with pytest.raises(Unavailable) as caught:
                    await log.append(one(2, "y" * 100_000))
                assert caught.value.code in ("log_outcome_unknown", "log_full", "log_unreachable")
                assert server.restarts == 0, "while there is no room it would not help"
                disk.make_room()
                await anew(server)
                await log.append(one(3))
                told = [recorded.stream.id for recorded in await everything(log)]
                assert told[0] == "s1"
                assert told[-1] == "s3"
                assert told.count("s2") <= 1

    asyncio.run(scenario())


def test_a_log_that_is_larger_than_what_is_free_goes_on_after_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        with small_disk(tmp_path / "disk", DISK) as disk:
            async with opened(disk) as (_, log):
                for number in range(24):
                    await log.append(one(number, "y" * 700_000))
            disk.fill(leave=9 * 2**20)
            async with opened(disk) as (_, log):
                await log.append(one(100))
                assert len(await everything(log)) == 25

    asyncio.run(scenario())


def test_a_wound_is_that_of_the_server_that_runs_now(tmp_path: Path) -> None:
    place, wound = tmp_path / "nats-server.log", Wound(tmp_path)
    assert not wound.heals(), "there is no file yet"
    place.write_text("[1] [INF] Server is ready\n")
    assert not wound.heals()
    with place.open("a") as file:
        file.write("[1] [ERR] Filestore [COMFYVN] Critical write error: write 1.blk: no space left on device\n")
    assert wound.heals()
    assert wound.heals(), "until it was started anew"
    wound.begun()
    assert not wound.heals()
    place.write_text("new\n")
    assert not wound.heals()
    place.write_text("new\n[2] [ERR] disk quota exceeded\n")
    assert wound.heals()


def test_a_folder_that_cannot_be_asked_does_not_stop_the_log(tmp_path: Path) -> None:
    assert Room(tmp_path / "nowhere").lack() == ""
    assert Room(tmp_path).lack() == ""
