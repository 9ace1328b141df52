"""Processes: an event in, commands out, once in effect, whatever fails in between."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest
import structlog
from fixtures_nats import Server
from PIL import Image
from studios import studio_on, until
from working import Stumbling

from adapters.memory.inbox import MemoryInboxes
from adapters.memory.log import MemoryLog
from commands.declaration import Command
from commands.studio.asset import DescribeAsset, RegisterAsset, TagAsset
from domain.errors import NotFound, Unavailable
from domain.ports import Recorded
from domain.studio.asset import AssetRegistered
from projections.declaration import Happened
from services.media.detection import detect
from services.processes.declaration import Process, React
from services.processes.declared import PROCESSES
from services.processes.runner import FAILURES, Runner
from services.studio import Asker, Studio

PERSON = Asker("mo", correlation_id="story-1")


def process(react: Callable[[Happened], Awaitable[Sequence[Command]]], name: str = "tagger") -> Process:
    @asynccontextmanager
    async def opened(studio: Studio) -> AsyncIterator[React]:
        yield react

    return Process(name, (AssetRegistered,), opened, ack_wait_seconds=0.6)


async def tagging(happened: Happened) -> Sequence[Command]:
    assert isinstance(happened.event, AssetRegistered)
    return [TagAsset(uid=happened.event.uid, add=("seen",))]


async def register(studio: Studio, data: bytes, **said: Any) -> str:
    stored = await studio.blobs.put(data)
    command = RegisterAsset(digest=stored.digest, size=stored.size, media_type="text/plain", kind="text", **said)
    return (await studio.ask(command, PERSON, project="demo")).id


@asynccontextmanager
async def running(runner: Runner) -> AsyncIterator[Runner]:
    task = asyncio.create_task(runner.run())
    try:
        yield runner
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def types(log: MemoryLog) -> list[str]:
    return [one.type for one in log.events]


def test_a_command_follows_from_an_event_and_says_why(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = MemoryLog()
        studio = studio_on(tmp_path, log)
        await register(studio, b"one")
        async with running(Runner(studio, MemoryInboxes(log), [process(tagging)])) as runner:
            await until(lambda: len(log.events) == 2)
            cause, follow = log.events
            assert (follow.type, follow.actor) == ("AssetDescribed", "process:tagger")
            assert follow.causation_id == cause.event_id
            assert follow.correlation_id == cause.correlation_id == "story-1"
            await until(lambda: runner.status()["tagger"].done == 2)  # the second is its own event
        assert len(log.events) == 2

    asyncio.run(scenario())


def test_a_redelivery_does_nothing_new(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = MemoryLog()
        studio = studio_on(tmp_path, log)
        uid = await register(studio, b"one")
        for worker in range(3):  # each with inboxes that remember nothing: everything is delivered again
            async with running(Runner(studio, MemoryInboxes(log), [process(tagging)])) as runner:
                await until(lambda: runner.status()["tagger"].done >= 2)
            if worker == 0:
                await studio.ask(TagAsset(uid=uid, remove=("seen",)), PERSON, project="demo")
        assert types(log) == ["AssetRegistered", "AssetDescribed", "AssetDescribed"]

    asyncio.run(scenario())


def test_a_reaction_in_other_words_to_the_same_event_does_nothing_new(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = MemoryLog()
        studio = studio_on(tmp_path, log)
        await register(studio, b"one")

        async def otherwise(happened: Happened) -> Sequence[Command]:
            return [TagAsset(uid=happened.recorded.stream.id, add=("seen by a newer release",))]

        for react in (tagging, otherwise):
            async with running(Runner(studio, MemoryInboxes(log), [process(react)])) as runner:
                await until(lambda: runner.status()["tagger"].done >= 2)
        assert types(log) == ["AssetRegistered", "AssetDescribed"]
        assert runner.status()["tagger"].parked == 0

    asyncio.run(scenario())


def test_what_is_away_is_tried_again_until_it_answers(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = MemoryLog()
        studio = studio_on(tmp_path, log)
        await register(studio, b"one")
        tries = 0

        async def react(happened: Happened) -> Sequence[Command]:
            nonlocal tries
            tries += 1
            if tries < 8:
                raise Unavailable("The kettle is cold.")
            return await tagging(happened)

        async with running(Runner(studio, MemoryInboxes(log), [process(react)], pause_seconds=0.001)) as runner:
            await until(lambda: len(log.events) == 2)
            assert runner.status()["tagger"].put_off == 7
            assert (await runner.survey())[0].parked == ()

    asyncio.run(scenario())


def test_what_fails_again_and_again_is_parked_shown_and_can_be_run_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = MemoryLog()
        studio = studio_on(tmp_path, log)
        await register(studio, b"one")
        broken = True

        async def react(happened: Happened) -> Sequence[Command]:
            if broken:
                raise ZeroDivisionError("a mistake in the process")
            return await tagging(happened)

        runner = Runner(studio, MemoryInboxes(log), [process(react)], pause_seconds=0.001)
        async with running(runner):
            await until(lambda: runner.status()["tagger"].parked == 1)
        (surveyed,) = await runner.survey()
        (parked,) = surveyed.parked
        assert (parked.position, parked.attempts) == (1, FAILURES)
        assert "a mistake in the process" in parked.reason
        with pytest.raises(ZeroDivisionError):
            await runner.rerun("tagger")
        assert len((await runner.survey())[0].parked) == 1
        broken = False
        assert await runner.rerun("tagger", dry_run=True) == [1]
        assert types(log) == ["AssetRegistered"]
        assert await runner.rerun("tagger", 1) == [1]
        assert types(log) == ["AssetRegistered", "AssetDescribed"]
        assert (await runner.survey())[0].parked == ()
        for name, position in (("tagger", 1), ("nobody", None)):
            with pytest.raises(NotFound) as caught:
                await runner.rerun(name, position)
            assert caught.value.remediation

    asyncio.run(scenario())


def test_what_a_rule_refuses_is_parked_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = MemoryLog()
        studio = studio_on(tmp_path, log)
        await register(studio, b"one")

        async def react(happened: Happened) -> Sequence[Command]:
            return [DescribeAsset(uid="0" * 16, name="nobody")]

        async with running(Runner(studio, MemoryInboxes(log), [process(react)])) as runner:
            await until(lambda: runner.status()["tagger"].parked == 1)
            assert (await runner.survey())[0].parked[0].attempts == 1

    asyncio.run(scenario())


def test_one_bad_event_does_not_hold_up_the_others(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = MemoryLog()
        studio = studio_on(tmp_path, log)
        for data in (b"bad", b"good", b"better"):
            await register(studio, data, name=data.decode())

        async def react(happened: Happened) -> Sequence[Command]:
            assert isinstance(happened.event, AssetRegistered)
            if happened.event.name == "bad":
                raise Unavailable("Never.")
            return await tagging(happened)

        async with running(Runner(studio, MemoryInboxes(log), [process(react)], pause_seconds=0.01)):
            await until(lambda: types(log).count("AssetDescribed") == 2)

    asyncio.run(scenario())


def test_a_process_outlives_what_nobody_foresaw(tmp_path: Path) -> None:
    async def scenario() -> list[str]:
        log = MemoryLog()
        studio = studio_on(tmp_path, log)
        await register(studio, b"one")
        async with running(Runner(studio, Stumbling(log), [process(tagging)], pause_seconds=0.01)):
            await until(lambda: len(log.events) == 2)
        return types(log)

    with structlog.testing.capture_logs() as logged:
        assert asyncio.run(scenario()) == ["AssetRegistered", "AssetDescribed"]
    assert [one["process"] for one in logged if one["event"] == "process_defect"] == ["tagger", "tagger"]
    assert all(isinstance(one["exc_info"], KeyError) for one in logged if one["event"] == "process_defect")


def test_a_worker_that_is_stopped_gives_its_work_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = MemoryLog()
        studio = studio_on(tmp_path, log)
        await register(studio, b"one")
        inboxes = MemoryInboxes(log)
        began = asyncio.Event()

        async def slow(happened: Happened) -> Sequence[Command]:
            began.set()
            await asyncio.Event().wait()
            return ()

        async with running(Runner(studio, inboxes, [process(slow)])):
            await began.wait()
        async with running(Runner(studio, inboxes, [process(tagging)])):
            await until(lambda: len(log.events) == 2)
        assert types(log) == ["AssetRegistered", "AssetDescribed"]
        assert log.events[1].causation_id == log.events[0].event_id

    asyncio.run(scenario())


# --- previews ----------------------------------------------------------------------------------------------------


def picture(path: Path) -> bytes:
    Image.linear_gradient("L").resize((800, 400)).save(path)
    return path.read_bytes()


async def registered(studio: Studio, path: Path) -> str:
    stored = await studio.blobs.put_file(str(path))
    found = detect(path)
    command = RegisterAsset(digest=stored.digest, size=stored.size, media_type=found.media_type, kind=found.kind)
    return (await studio.ask(command, PERSON, project="demo")).id


def test_pictures_get_thumbnails_and_what_cannot_be_drawn_a_reason(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = MemoryLog()
        studio = studio_on(tmp_path / "data", log)
        good, bad, text = tmp_path / "good", tmp_path / "bad", tmp_path / "text"
        bad.write_bytes(picture(tmp_path / "good.png")[:400])
        (tmp_path / "good.png").rename(good)
        text.write_text("nothing to draw")
        for path in (good, bad, text):
            await registered(studio, path)
        async with running(Runner(studio, MemoryInboxes(log), PROCESSES)) as runner:
            await until(lambda: runner.status()["previews"].done == 5)
        decoded = [studio.registry.decode(one) for one in log.events[3:]]
        made = next(one for one in decoded if type(one).__name__ == "PreviewMade")
        failed = next(one for one in decoded if type(one).__name__ == "PreviewFailed")
        assert [(one.name, one.width, one.height) for one in made.variants] == [("256", 256, 128), ("512", 512, 256)]
        for variant in made.variants:
            assert len(await studio.blobs.get(variant.digest)) == variant.size
        assert failed.reason in ("truncated", "damaged")
        assert len(log.events) == 5
        assert list((tmp_path / "data" / "scratch").iterdir()) == []

    asyncio.run(scenario())


def test_an_asset_whose_bytes_are_gone_says_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = MemoryLog()
        studio = studio_on(tmp_path / "data", log)
        picture(tmp_path / "a.png")
        await registered(studio, tmp_path / "a.png")
        await studio.blobs.delete(studio.registry.decode(log.events[0]).digest)  # type: ignore[union-attr]
        async with running(Runner(studio, MemoryInboxes(log), PROCESSES)):
            await until(lambda: len(log.events) == 2)
        assert studio.registry.decode(log.events[1]).reason == "blob_missing"  # type: ignore[union-attr]

    asyncio.run(scenario())


@pytest.mark.parametrize("moment", ["before_ask", "before_ack"])
def test_work_of_a_killed_worker_is_done_once_in_effect(tmp_path: Path, nats_server: Server, moment: str) -> None:
    worker = Path(__file__).parents[1] / "crashing_worker.py"

    def start(moment: str) -> Popen[bytes]:
        arguments = [",".join(nats_server.urls), nats_server.stream, str(tmp_path / "data"), moment]
        return Popen([sys.executable, str(worker), *arguments])

    async def events() -> list[Recorded]:
        return [one async for batch in log.read() for one in batch]

    async def scenario() -> None:
        nonlocal log
        log = await nats_server.connect()
        studio = studio_on(tmp_path / "data", log)
        picture(tmp_path / "a.png")
        await registered(studio, tmp_path / "a.png")
        first = start(moment)
        assert await asyncio.to_thread(first.wait, 60) == -9
        assert len(await events()) == (1 if moment == "before_ask" else 2)
        second = start("never")
        try:
            found: list[Recorded] = []
            async with asyncio.timeout(60):
                while len(found) < 2:
                    found = await events()
                    await asyncio.sleep(0.02)
                info: dict[str, Any] = {"num_ack_pending": 1}
                while info.get("num_pending", 1) or info["num_ack_pending"]:
                    _, body = await log.connection.ask(f"$JS.API.CONSUMER.INFO.{nats_server.stream}.previews")
                    info = json.loads(body)
                    await asyncio.sleep(0.02)
        finally:
            second.kill()
            second.wait()
        assert [one.type for one in await events()] == ["AssetRegistered", "PreviewMade"]
        await log.close()

    log: Any = None
    asyncio.run(scenario())
