"""The dispatcher: accepted, refused, repeated, raced, and read along a chain of worldlines."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from adapters.memory.log import MemoryLog
from commands.envelope import Asked
from commands.operations.ledger import GrantCredits
from commands.story.worldline import ForkWorldline, UpdateWorldline
from domain.errors import Invalid, NotFound, Refused, Stale, Unavailable
from domain.ports import Commit, Proposed, Stream
from domain.story.worldline import Forked
from services.aggregates import REMEMBERED, SNAPSHOT_EVERY, Seen
from services.dispatcher import Dispatcher
from services.registry import REGISTRY

STREAM = Stream("demo", "-", "worldline", "night")


def asked(command_id: str, request: str = "r", **given: object) -> Asked:
    return Asked(command_id, "author", "2026-01-02T03:04:05Z", "demo", request=request)._replace(**given)


def studio() -> tuple[MemoryLog, Dispatcher]:
    log = MemoryLog()
    return log, Dispatcher(log, REGISTRY)


def test_an_accepted_command_tells_where_its_event_stands() -> None:
    async def scenario() -> None:
        log, dispatcher = studio()
        receipt = await dispatcher.ask(ForkWorldline(worldline_id="night"), asked("c1"))
        assert (receipt.id, receipt.version, receipt.position, receipt.created) == ("night", 1, 1, True)
        assert [tuple(one) for one in receipt.events] == [("WorldlineForked", 1, 1)]
        (event,) = log.events
        assert (event.command_id, event.actor, event.stream) == ("c1", "author", STREAM)
        assert event.correlation_id == "c1"

    asyncio.run(scenario())


def test_a_thing_without_an_id_gets_the_same_one_on_every_retry() -> None:
    async def scenario() -> None:
        _, dispatcher = studio()
        first = await dispatcher.ask(ForkWorldline(), asked("c1"))
        again = await dispatcher.ask(ForkWorldline(), asked("c1"))
        other = await dispatcher.ask(ForkWorldline(), asked("c2"))
        assert first.id == again.id != other.id
        assert again.repeated

    asyncio.run(scenario())


def test_a_repeated_command_gets_the_first_answer_and_leaves_no_second_event() -> None:
    async def scenario() -> None:
        log, dispatcher = studio()
        first = await dispatcher.ask(ForkWorldline(worldline_id="night"), asked("c1"))
        await dispatcher.ask(UpdateWorldline(worldline_id="night", notes="darker"), asked("c2"))
        again = await dispatcher.ask(ForkWorldline(worldline_id="night"), asked("c1"))
        assert (again.events, again.version, again.position) == (first.events, first.version, first.position)
        assert again.created
        assert len(log.events) == 2

    asyncio.run(scenario())


def test_a_key_used_for_another_request_is_refused() -> None:
    async def scenario() -> None:
        _, dispatcher = studio()
        await dispatcher.ask(ForkWorldline(worldline_id="night"), asked("c1", "one"))
        with pytest.raises(Invalid) as caught:
            await dispatcher.ask(ForkWorldline(worldline_id="night"), asked("c1", "two"))
        assert caught.value.code == "idempotency_key_reused"

    asyncio.run(scenario())


class OldReceipts:
    """An index that remembers one command and what it was asked for."""

    def __init__(self, command_id: str, seen: Seen) -> None:
        self.command_id, self.seen = command_id, seen
        self.counted = 0

    async def find(self, project: str, command_id: str, *, counted: int) -> Seen | None:
        self.counted = counted
        return self.seen if command_id == self.command_id else None


def test_a_command_older_than_the_aggregates_memory_is_found_in_the_index() -> None:
    async def scenario() -> None:
        _, dispatcher = studio()
        first = await dispatcher.ask(ForkWorldline(worldline_id="night"), asked("c0"))
        for number in range(REMEMBERED + 5):
            await dispatcher.ask(UpdateWorldline(worldline_id="night", notes=str(number)), asked(f"n{number}"))
        receipts = OldReceipts("c0", Seen("r", first.events))
        dispatcher.receipts = receipts
        again = await dispatcher.ask(ForkWorldline(worldline_id="night"), asked("c0"), keyed=True)
        assert again.repeated
        assert again.events == first.events
        assert receipts.counted == 6, "the index must have counted what the aggregate has forgotten"

    asyncio.run(scenario())


def test_a_stale_expected_version_names_the_current_one() -> None:
    async def scenario() -> None:
        log, dispatcher = studio()
        await dispatcher.ask(ForkWorldline(worldline_id="night"), asked("c1"))
        with pytest.raises(Stale) as caught:
            await dispatcher.ask(UpdateWorldline(worldline_id="night", notes="x"), asked("c2"), expected_version=7)
        assert caught.value.detail == {"expected": 7, "current": 1, "id": "night"}
        accepted = await dispatcher.ask(
            UpdateWorldline(worldline_id="night", notes="x"), asked("c3"), expected_version=1
        )
        assert accepted.version == 2
        assert len(log.events) == 2

    asyncio.run(scenario())


def test_a_dry_run_shows_the_events_and_appends_nothing() -> None:
    async def scenario() -> None:
        log, dispatcher = studio()
        receipt = await dispatcher.ask(ForkWorldline(worldline_id="night"), asked("c1"), dry_run=True)
        assert receipt.would is not None
        assert [type(event).__name__ for event in receipt.would] == ["WorldlineForked"]
        assert log.events == []
        real = await dispatcher.ask(ForkWorldline(worldline_id="night"), asked("c1"))
        assert not real.repeated

    asyncio.run(scenario())


def test_two_dispatchers_racing_on_one_aggregate_lose_nothing() -> None:
    async def scenario() -> None:
        log = MemoryLog()
        left, right = Dispatcher(log, REGISTRY), Dispatcher(log, REGISTRY)
        await left.ask(ForkWorldline(worldline_id="night"), asked("c0"))
        await asyncio.gather(*(
            side.ask(UpdateWorldline(worldline_id="night", notes=f"{name} {number}"), asked(f"{name}{number}"))
            for number in range(25) for name, side in (("left", left), ("right", right))
        ))
        versions = [one.version for one in log.events]
        assert versions == list(range(1, 52))

    asyncio.run(scenario())


def test_a_no_said_on_an_outdated_state_is_taken_back() -> None:
    async def scenario() -> None:
        log = MemoryLog()
        here, there = Dispatcher(log, REGISTRY), Dispatcher(log, REGISTRY)
        with pytest.raises(NotFound):
            await here.ask(UpdateWorldline(worldline_id="night", notes="x"), asked("c1"))
        await there.ask(ForkWorldline(worldline_id="night"), asked("c2"))
        receipt = await here.ask(UpdateWorldline(worldline_id="night", notes="x"), asked("c3"))
        assert receipt.version == 2

    asyncio.run(scenario())


def test_a_nothing_said_on_an_outdated_state_is_decided_again() -> None:
    async def scenario() -> None:
        log = MemoryLog()
        here, there = Dispatcher(log, REGISTRY), Dispatcher(log, REGISTRY)
        await here.ask(ForkWorldline(worldline_id="night", notes="calm"), asked("c1"))
        await there.ask(UpdateWorldline(worldline_id="night", notes="wild"), asked("c2"))
        receipt = await here.ask(UpdateWorldline(worldline_id="night", notes="calm"), asked("c3"))
        assert receipt.version == 3

    asyncio.run(scenario())


def test_several_commands_are_one_or_none() -> None:
    async def scenario() -> None:
        log, dispatcher = studio()
        receipts = await dispatcher.ask_all(
            [ForkWorldline(worldline_id="day"), ForkWorldline(worldline_id="night"),
             UpdateWorldline(worldline_id="day", notes="bright")], asked("c1"),
        )
        assert [(one.id, one.version) for one in receipts] == [("day", 1), ("night", 1), ("day", 2)]
        with pytest.raises(Refused):
            await dispatcher.ask_all([ForkWorldline(worldline_id="dusk"), ForkWorldline(worldline_id="day")],
                                     asked("c2"))
        assert len(log.events) == 3
        assert len({event.event_id for event in log.events}) == 3
        again = await dispatcher.ask_all(
            [ForkWorldline(worldline_id="day"), ForkWorldline(worldline_id="night"),
             UpdateWorldline(worldline_id="day", notes="bright")], asked("c1"),
        )
        assert all(one.repeated for one in again)
        assert len(log.events) == 3

    asyncio.run(scenario())


def test_a_cold_dispatcher_opens_from_the_snapshot_and_remembers_commands() -> None:
    class CountingLog(MemoryLog):
        reads = 0

        async def read_stream(self, stream: Stream, *, after: int = 0, upto: int | None = None):  # type: ignore[no-untyped-def]
            found = await super().read_stream(stream, after=after, upto=upto)
            type(self).reads += len(found)
            return found

    async def scenario() -> None:
        log = CountingLog()
        warm = Dispatcher(log, REGISTRY)
        await warm.ask(ForkWorldline(worldline_id="night"), asked("c0"))
        for number in range(3 * SNAPSHOT_EVERY):
            await warm.ask(UpdateWorldline(worldline_id="night", notes=str(number)), asked(f"n{number}"))
        await warm.close()
        CountingLog.reads = 0
        cold = Dispatcher(log, REGISTRY)
        found = await cold.aggregates.load(STREAM)
        assert isinstance(found.state, Forked)
        assert found.state.notes == str(3 * SNAPSHOT_EVERY - 1)
        assert found.version == 3 * SNAPSHOT_EVERY + 1
        assert CountingLog.reads < SNAPSHOT_EVERY + 5
        again = await cold.ask(UpdateWorldline(worldline_id="night", notes="140"), asked("n140"))
        assert again.repeated

    asyncio.run(scenario())


def test_an_unreadable_snapshot_costs_time_and_nothing_else() -> None:
    async def scenario() -> None:
        log, dispatcher = studio()
        await dispatcher.ask(ForkWorldline(worldline_id="night"), asked("c1"))
        for broken in (b"", b"\n", b"nonsense", b'{"shape": 1}\n{}', b'{"shape":1,"version":1,"position":1,'
                       b'"forgotten":0,"seen":[]}\n{"kind":"unheard of"}'):
            await log.save_snapshot(STREAM, broken)
            found = await Dispatcher(log, REGISTRY).aggregates.load(STREAM)
            assert isinstance(found.state, Forked)
            assert found.version == 1

    asyncio.run(scenario())


def test_bad_names_are_refused_before_anything_is_read() -> None:
    async def scenario() -> None:
        log, dispatcher = studio()
        for project in ("", "a.b", "a b", "*", ">", "-x", "é", "x" * 97, "a\nb"):
            with pytest.raises(Invalid) as caught:
                await dispatcher.ask(ForkWorldline(worldline_id="night"), asked("c1", project=project))
            assert caught.value.code == "invalid_name"
            assert caught.value.remediation
        assert log.events == []

    asyncio.run(scenario())


class DeafLog(MemoryLog):
    """A log that takes events and dies before it can say so."""

    deaf = True

    async def append(self, commits: Sequence[Commit]) -> tuple[int, ...]:
        positions = await super().append(commits)
        if self.deaf:
            raise Unavailable("The log does not answer.")
        return positions


def test_after_an_unknown_outcome_the_same_command_id_finds_its_own_event() -> None:
    async def scenario() -> None:
        log = DeafLog()
        dispatcher = Dispatcher(log, REGISTRY)
        with pytest.raises(Unavailable):
            await dispatcher.ask(ForkWorldline(worldline_id="night"), asked("c1"))
        log.deaf = False
        again = await dispatcher.ask(ForkWorldline(worldline_id="night"), asked("c1"))
        assert (again.position, again.version, again.created) == (1, 1, True)
        assert len(log.events) == 1
        with pytest.raises(Invalid) as caught:
            await Dispatcher(log, REGISTRY).ask(ForkWorldline(worldline_id="night", notes="x"), asked("c1", "other"))
        assert caught.value.code == "idempotency_key_reused"

    asyncio.run(scenario())


def test_a_repeated_batch_gets_each_of_its_first_answers() -> None:
    async def scenario() -> None:
        log, dispatcher = studio()
        await dispatcher.ask(ForkWorldline(worldline_id="night"), asked("c1"))
        await dispatcher.ask(ForkWorldline(worldline_id="dawn", notes="pale"), asked("c2"))
        batch = [
            UpdateWorldline(worldline_id="dawn", notes="pale"),  # it is so already
            *(UpdateWorldline(worldline_id="night", notes=notes) for notes in ("dark", "darker", "darker")),
            ForkWorldline(worldline_id="noon"),
        ]
        first = await dispatcher.ask_all(batch, asked("c3"), keyed=True)
        for one in (dispatcher, Dispatcher(log, REGISTRY)):
            again = await one.ask_all(batch, asked("c3"), keyed=True)
            assert all(receipt.repeated for receipt in again)
            assert [receipt.events for receipt in again] == [receipt.events for receipt in first]
            assert [receipt.version for receipt in again] == [receipt.version for receipt in first] == [1, 2, 3, 3, 1]
            assert [receipt.created for receipt in again] == [receipt.created for receipt in first]
        assert len(log.events) == 5

    asyncio.run(scenario())


def test_commands_of_a_batch_make_things_of_their_own() -> None:
    async def scenario() -> None:
        log, dispatcher = studio()
        grants = [GrantCredits(account="studio", amount=amount) for amount in (5, 5, 7)]
        for _ in range(2):
            receipts = await dispatcher.ask_all(grants, asked("c1"))
            assert [len(receipt.events) for receipt in receipts] == [1, 1, 1]
        assert len(log.events) == 3

    asyncio.run(scenario())


def test_versions_go_on_after_something_foreign_in_the_stream() -> None:
    async def scenario() -> None:
        log, dispatcher = studio()
        await dispatcher.ask(ForkWorldline(worldline_id="night"), asked("c1"))
        await dispatcher.ask(UpdateWorldline(worldline_id="night", notes="dark"), asked("c2"))
        await log.append([Commit(STREAM, 2, (Proposed("", 0, b"garbage", "", 0, "", "", "", "", "", ""),))])
        for one in (dispatcher, Dispatcher(log, REGISTRY)):
            receipt = await one.ask(UpdateWorldline(worldline_id="night", notes=f"{id(one)}"), asked(f"d{id(one)}"))
            assert not receipt.created
        assert [event.version for event in log.events] == [1, 2, 0, 3, 4]

    asyncio.run(scenario())
