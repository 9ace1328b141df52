"""Opening a studio: whose log it is, who may hold a folder, and what is closed afterwards."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from fixtures_studio import StudioFactory, is_alive

from adapters.files.lock import FolderLock, holder_of
from commands.story.worldline import ForkWorldline
from domain.errors import NotFound, Refused, Unavailable
from projections.story.worldline import ListWorldlines
from services import bootstrap
from services.bootstrap import log as reaching
from services.settings import Settings
from services.studio import Asker

ASKER = Asker("tester")


async def fork(opened: bootstrap.Opened, name: str) -> int:
    receipt = await opened.studio.ask(ForkWorldline(worldline_id=name), ASKER, project="demo")
    return receipt.position


async def worldlines(opened: bootstrap.Opened, position: int) -> list[str]:
    query = ListWorldlines(project="demo", min_position=position)
    found: dict[str, Any] = await opened.studio.look(opened.studio.registry.views["ListWorldlines"], query)
    return [one["id"] for one in found["items"]]


def test_what_is_asked_can_be_looked_at_and_is_there_after_opening_again(studio_factory: StudioFactory) -> None:
    async def story() -> None:
        async with studio_factory() as opened:
            position = await fork(opened, "what-if")
            assert await worldlines(opened, position) == ["main", "what-if"]
        async with studio_factory() as opened:
            assert await opened.counted_everything() == position
            assert await worldlines(opened, 0) == ["main", "what-if"]

    asyncio.run(story())


def test_closing_ends_the_embedded_server_and_frees_the_folder(studio_factory: StudioFactory, tmp_path: Path) -> None:
    async def story() -> int:
        async with studio_factory() as opened:
            assert opened.reached.server is not None
            assert holder_of(tmp_path / "studio" / "lock") is not None
            return opened.reached.server.pid

    pid = asyncio.run(story())
    assert not is_alive(pid)
    assert holder_of(tmp_path / "studio" / "lock") is None


def test_an_error_inside_closes_everything_too(studio_factory: StudioFactory, tmp_path: Path) -> None:
    pids: list[int] = []

    async def story() -> None:
        async with studio_factory() as opened:
            assert opened.reached.server is not None
            pids.append(opened.reached.server.pid)
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        asyncio.run(story())
    assert not is_alive(pids[0])
    assert holder_of(tmp_path / "studio" / "lock") is None


def test_who_comes_while_a_server_runs_uses_its_log(studio_factory: StudioFactory) -> None:
    async def story() -> None:
        async with studio_factory(role="server") as server, studio_factory() as console:
            assert console.reached.server is None
            assert console.reached.lock is None
            assert console.reached.attached_to is not None
            assert console.projector is None, "the server's worker projects"
            position = await fork(console, "from-the-console")
            assert await worldlines(server, position) == ["main", "from-the-console"]
            assert await worldlines(console, position) == ["main", "from-the-console"]

    asyncio.run(story())


def test_a_worker_that_attaches_projects(studio_factory: StudioFactory) -> None:
    async def story() -> None:
        async with studio_factory(role="server", projecting=False) as server, studio_factory(role="worker") as worker:
            assert worker.projector is not None
            position = await fork(server, "counted-by-the-worker")
            assert await worldlines(server, position) == ["main", "counted-by-the-worker"]

    asyncio.run(story())


def test_who_only_helps_never_keeps_a_server_out(studio_factory: StudioFactory, tmp_path: Path) -> None:
    async def story() -> None:
        async with studio_factory() as before:  # there was a server once, and it died
            await fork(before, "before")
        place = tmp_path / "studio" / "lock"
        helping, over = asyncio.Event(), asyncio.Event()

        async def help_out() -> None:
            async with studio_factory(role="worker", hold=False) as helper:
                assert helper.reached.attached_to is not None
                helping.set()
                await over.wait()

        helper = asyncio.create_task(help_out())
        for _ in range(5):  # it looks, and takes nothing
            await asyncio.sleep(0.05)
            assert holder_of(place) is None
        async with studio_factory(role="server"):
            await asyncio.wait_for(helping.wait(), 60)
            over.set()
            await helper

    asyncio.run(story())


def test_who_only_helps_says_so_where_nobody_serves(
    studio_factory: StudioFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaching, "PATIENCE_SECONDS", 0.3)

    async def story() -> None:
        async with studio_factory() as before:
            await fork(before, "before")
        with pytest.raises(Unavailable) as told:
            async with studio_factory(role="worker", hold=False):
                pytest.fail("it helps nobody")
        assert told.value.code == "nobody_serves"

    asyncio.run(story())


def test_a_second_server_is_refused_and_told_who_holds_the_folder(studio_factory: StudioFactory) -> None:
    async def story() -> None:
        async with studio_factory(role="server") as first:
            first.announce("http://127.0.0.1:8001", {})
            with pytest.raises(Refused) as refused:
                async with studio_factory(role="server"):
                    pytest.fail("two servers on one folder")
            assert refused.value.code == "data_folder_in_use"
            assert "http://127.0.0.1:8001" in refused.value.message
            assert await fork(first, "still-well") == 1

    asyncio.run(story())


def test_a_console_command_waits_for_another_one_to_be_done(studio_factory: StudioFactory, tmp_path: Path) -> None:
    async def story() -> None:
        async with studio_factory() as first:
            waiting = asyncio.create_task(_open_and_fork(studio_factory, "second"))
            await fork(first, "first")
            await asyncio.sleep(0)
            assert not waiting.done()
        assert await waiting == 2

    asyncio.run(story())


async def _open_and_fork(studio_factory: StudioFactory, name: str) -> int:
    async with studio_factory() as opened:
        return await fork(opened, name)


def test_patience_with_a_console_command_ends(
    studio_factory: StudioFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaching, "PATIENCE_SECONDS", 0.2)
    (tmp_path / "studio").mkdir()
    FolderLock(tmp_path / "studio" / "lock").acquire("console")

    async def story() -> None:
        async with studio_factory():
            pytest.fail("two holders")

    with pytest.raises(Refused, match="console command"):
        asyncio.run(story())


def test_a_holder_whose_log_never_answers_is_named(
    studio_factory: StudioFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaching, "PATIENCE_SECONDS", 0.2)
    (tmp_path / "studio").mkdir()
    FolderLock(tmp_path / "studio" / "lock").acquire("server")

    async def story() -> None:
        async with studio_factory():
            pytest.fail("there is no log")

    with pytest.raises(Unavailable, match="a running server"):
        asyncio.run(story())


def test_a_command_that_only_reads_makes_no_studio_where_there_is_none(
    studio_factory: StudioFactory, tmp_path: Path
) -> None:
    async def story() -> None:
        async with studio_factory(create=False):
            pytest.fail("there is no studio")

    with pytest.raises(NotFound) as missing:
        asyncio.run(story())
    assert missing.value.code == "no_studio"
    assert not (tmp_path / "studio").exists()


def test_an_outside_log_that_does_not_answer_is_unavailable_and_its_token_is_not_shown(tmp_path: Path) -> None:
    settings = Settings.load(data=tmp_path / "studio", nats_url="nats://s3cr3t@127.0.0.1:9")

    async def story() -> None:
        async with bootstrap.open_studio(settings):
            pytest.fail("nothing listens there")

    with pytest.raises(Unavailable) as unavailable:
        asyncio.run(story())
    assert "s3cr3t" not in unavailable.value.message + str(unavailable.value.detail)


def test_a_server_on_an_outside_log_says_so_to_who_was_not_told(
    studio_factory: StudioFactory, tmp_path: Path
) -> None:
    async def story() -> None:
        async with studio_factory(data=tmp_path / "elsewhere") as outside:
            assert outside.reached.server is not None
            url = outside.reached.server.url
            async with studio_factory(role="server", nats_url=url) as server:
                server.announce("http://127.0.0.1:8001", {"pid": os.getpid(), "log": "outside"})
                with pytest.raises(Refused) as refused:
                    async with studio_factory():
                        pytest.fail("which log?")
                assert refused.value.code == "outside_log"
                async with studio_factory(nats_url=url, projecting=False) as told:
                    assert await fork(told, "told") == 1

    asyncio.run(story())


def test_the_same_events_are_counted_into_postgresql(
    studio_factory: StudioFactory, tmp_path: Path, postgres_url: str
) -> None:
    async def story() -> None:
        async with studio_factory(database_url=postgres_url) as opened:
            position = await fork(opened, "in-postgres")
            assert await worldlines(opened, position) == ["main", "in-postgres"]
        assert not (tmp_path / "studio" / "read.db").exists()

    asyncio.run(story())


def test_log_and_read_side_outside_let_several_doors_share_a_folder(
    studio_factory: StudioFactory, tmp_path: Path, postgres_url: str
) -> None:
    async def story() -> None:
        async with studio_factory(data=tmp_path / "elsewhere", projecting=False) as outside:
            assert outside.reached.server is not None
            given = {"nats_url": outside.reached.server.url, "database_url": postgres_url}
            async with (
                studio_factory(role="server", projecting=False, **given) as one,
                studio_factory(role="server", projecting=False, **given) as two,
                studio_factory(role="worker", **given),
            ):
                assert one.reached.lock is None
                position = await fork(one, "asked-at-one")
                assert await worldlines(two, position) == ["main", "asked-at-one"]

    asyncio.run(story())


def test_one_of_two_workers_audits_and_the_other_takes_over(studio_factory: StudioFactory) -> None:
    async def story() -> None:
        async with studio_factory(role="server", projecting=False) as server:
            async with studio_factory(role="worker", auditing=True) as first:
                position = await fork(server, "first")
                await _audited(first, position)
                second = studio_factory(role="worker", auditing=True)
                opened = await second.__aenter__()
            try:
                position = await fork(server, "second")
                await _audited(opened, position)
            finally:
                await second.__aexit__(None, None, None)

    asyncio.run(story())


async def _audited(opened: bootstrap.Opened, position: int) -> None:
    async with asyncio.timeout(60):
        while await asyncio.to_thread(opened.chain.length) < position:  # noqa: ASYNC110 - a file grows
            await asyncio.sleep(0.02)
