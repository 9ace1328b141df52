"""Keys that aggregates have forgotten: the first answer comes from the timeline, and never from a guess."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from projected import Projected

from adapters.memory.log import MemoryLog
from commands.envelope import Asked
from commands.operations.ledger import GrantCredits
from commands.story.worldline import ForkWorldline, UpdateWorldline
from domain.errors import Invalid, Unavailable
from domain.ports import Stream
from services.aggregates import REMEMBERED, Outcome
from services.dispatcher import Dispatcher
from services.receipts import TimelineReceipts
from services.registry import REGISTRY


def asked(command_id: str, request: str = "r") -> Asked:
    return Asked(command_id, "author", "2026-01-02T03:04:05Z", "demo", request=request)


async def forgetful(log: MemoryLog) -> Dispatcher:
    """A worldline that was forked by ``c0`` and has had more commands since than it remembers."""
    dispatcher = Dispatcher(log, REGISTRY)
    await dispatcher.ask(ForkWorldline(worldline_id="night"), asked("c0"))
    for number in range(REMEMBERED + 5):
        await dispatcher.ask(UpdateWorldline(worldline_id="night", notes=str(number)), asked(f"n{number}"))
    return dispatcher


def test_an_old_key_gives_the_first_answer_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = MemoryLog()
        dispatcher = await forgetful(log)
        seen = Projected(tmp_path, ["timeline"])
        seen.count(log.events)
        dispatcher.receipts = TimelineReceipts(seen.models)
        again = await dispatcher.ask(ForkWorldline(worldline_id="night"), asked("c0"), keyed=True)
        assert (again.repeated, again.created, again.version, again.position) == (True, True, 1, 1)
        assert again.events == (Outcome("WorldlineForked", 1, 1),)
        assert len(log.events) == REMEMBERED + 6

    asyncio.run(scenario())


def test_an_old_key_with_another_body_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = MemoryLog()
        dispatcher = await forgetful(log)
        seen = Projected(tmp_path, ["timeline"])
        seen.count(log.events)
        dispatcher.receipts = TimelineReceipts(seen.models)
        for command in (UpdateWorldline(worldline_id="night", notes="new"), GrantCredits(account="team", amount=1)):
            with pytest.raises(Invalid) as caught:
                await dispatcher.ask(command, asked("c0", "another"), keyed=True)
            assert caught.value.code == "idempotency_key_reused"
        fresh = await dispatcher.ask(UpdateWorldline(worldline_id="night", notes="new"), asked("c9"), keyed=True)
        assert not fresh.repeated

    asyncio.run(scenario())


def test_a_batch_over_several_streams_is_answered_command_by_command(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = MemoryLog()
        batch = [ForkWorldline(worldline_id="day"), ForkWorldline(worldline_id="night"),
                 UpdateWorldline(worldline_id="night", notes="dark")]
        dispatcher = Dispatcher(log, REGISTRY)
        first = await dispatcher.ask_all(batch, asked("c0"))
        for number in range(REMEMBERED + 5):
            await dispatcher.ask_all(
                [UpdateWorldline(worldline_id=id_, notes=str(number)) for id_ in ("day", "night")], asked(f"n{number}")
            )
        seen = Projected(tmp_path, ["timeline"])
        seen.count(log.events)
        dispatcher.receipts = TimelineReceipts(seen.models)
        again = await dispatcher.ask_all(batch, asked("c0"), keyed=True)
        assert [one.events for one in again] == [one.events for one in first]
        assert [one.version for one in again] == [one.version for one in first] == [1, 1, 2]

    asyncio.run(scenario())


def test_the_index_is_waited_for_as_far_as_the_aggregate_has_forgotten(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = MemoryLog()
        dispatcher = await forgetful(log)
        seen = Projected(tmp_path, ["timeline"])
        dispatcher.receipts = TimelineReceipts(seen.models, wait_seconds=30)
        waiting = asyncio.create_task(
            dispatcher.ask(UpdateWorldline(worldline_id="night", notes="late"), asked("late"), keyed=True)
        )
        done, _ = await asyncio.wait({waiting}, timeout=0.05)
        assert not done, "a key was called new before the index had counted what was forgotten"
        forgotten = (await dispatcher.aggregates.load(Stream("demo", "-", "worldline", "night"))).forgotten
        seen.count(log.events[:forgotten])
        receipt = await waiting
        assert not receipt.repeated

    asyncio.run(scenario())


def test_an_index_that_stays_behind_is_an_error_and_not_a_guess(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = MemoryLog()
        dispatcher = await forgetful(log)
        count = len(log.events)
        seen = Projected(tmp_path, ["timeline"])
        dispatcher.receipts = TimelineReceipts(seen.models, wait_seconds=0.01)
        with pytest.raises(Unavailable) as caught:
            await dispatcher.ask(UpdateWorldline(worldline_id="night", notes="x"), asked("x"), keyed=True)
        assert caught.value.code == "read_side_behind"
        assert caught.value.remediation
        assert len(log.events) == count

    asyncio.run(scenario())


def test_a_read_side_that_fails_stops_only_what_needs_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        seen = Projected(tmp_path, ["timeline"])
        (tmp_path / "read.db").write_bytes(b"this is no database" * 1000)
        receipts = TimelineReceipts(seen.models, wait_seconds=0.01)
        assert await receipts.find("demo", "c0", counted=0) is None
        with pytest.raises(Unavailable):
            await receipts.find("demo", "c0", counted=7)

    asyncio.run(scenario())
