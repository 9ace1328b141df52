"""The log's promises, held by every log: in memory, on one nats-server, on a cluster of three."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from fixtures_nats import Cluster, Server
from log_words import event, events, everything, stream, taken

from adapters.memory.log import MemoryLog
from adapters.nats.log import JetStreamLog
from domain.errors import Invalid
from domain.ports import Commit, Conflict, Log, Recorded, Stream


class Home:
    """Where a log lives; ``open`` gives a log on it as one process sees it, and opening again another process."""

    def __init__(self, server: Server | Cluster | None) -> None:
        self.server = server
        self.memory = MemoryLog(event_limit=100_000)
        self.opened: list[JetStreamLog] = []

    async def open(self) -> Log:
        if self.server is None:
            return self.memory
        log = await self.server.connect(event_limit=100_000)
        self.opened.append(log)
        return log

    def run(self, body: Callable[[Log], Coroutine[Any, Any, None]]) -> None:
        """Runs a test on a new log."""

        async def scenario() -> None:
            try:
                async with asyncio.timeout(60):
                    await body(await self.open())
            finally:
                for log in self.opened:
                    await log.close()

        asyncio.run(scenario())


@pytest.fixture(params=["memory", "server", "cluster"])
def home(request: pytest.FixtureRequest) -> Home:
    if request.param == "memory":
        return Home(None)
    return Home(request.getfixturevalue(f"nats_{request.param}"))


# --- appending --------------------------------------------------------------------------------------------------------


def test_an_appended_event_comes_back_as_it_was(home: Home) -> None:
    async def body(log: Log) -> None:
        proposed = event()
        assert await log.append([Commit(stream(), 0, (proposed,))]) == (1,)
        expected = Recorded(1, stream(), *proposed)
        assert await log.last(stream()) == expected
        assert await log.read_stream(stream()) == [expected]
        assert await everything(log) == [expected]
        assert await log.head() == 1

    home.run(body)


def test_text_of_any_kind_survives_and_no_value_can_add_a_header(home: Home) -> None:
    async def body(log: Log) -> None:
        texts = ["Ana María 🎭", "a\r\nvn-actor: admin\r\n\r\nbody", "100% \"quoted\" \\ tab\t", " spaced ", "", "%41"]
        position = 0
        for version, text in enumerate(texts, 1):
            proposed = event(
                version, actor=text, command_id=text, request=text, correlation_id=text, causation_id=text,
                data="{\"text\":\"Füße\\r\\n€\"}\r\n\r\n".encode(),
            )
            (position,) = await log.append([Commit(stream(), position, (proposed,))])
            assert await log.last(stream()) == Recorded(position, stream(), *proposed)

    home.run(body)


def test_events_of_several_streams_are_appended_together_in_the_order_given(home: Home) -> None:
    async def body(log: Log) -> None:
        positions = await log.append([
            Commit(stream("a"), 0, events(2)), Commit(stream("b"), 0, events(1)), Commit(stream("c"), 0, events(3)),
        ])
        assert positions == (1, 2, 3, 4, 5, 6)
        assert [one.stream.id for one in await everything(log)] == ["a", "a", "b", "c", "c", "c"]

    home.run(body)


def test_a_stale_expectation_is_a_conflict_that_names_the_stream(home: Home) -> None:
    async def body(log: Log) -> None:
        (first,) = await log.append([Commit(stream(), 0, events(1))])
        for expected in (0, first + 5):
            with pytest.raises(Conflict) as caught:
                await log.append([Commit(stream(), expected, events(1, 2))])
            assert caught.value.streams == (stream(),)
        assert await log.append([Commit(stream(), first, events(1, 2))]) == (first + 1,)
        assert await log.head() == 2

    home.run(body)


def test_when_one_stream_of_several_has_moved_on_nothing_is_appended(home: Home) -> None:
    async def body(log: Log) -> None:
        await log.append([Commit(stream("b"), 0, events(1))])
        with pytest.raises(Conflict) as caught:
            await log.append([Commit(stream("a"), 0, events(3)), Commit(stream("b"), 0, events(2))])
        assert caught.value.streams == (stream("b"),)
        assert await log.head() == 1
        assert await log.last(stream("a")) is None

    home.run(body)


def test_appending_the_same_events_again_is_a_success_with_their_first_positions(home: Home) -> None:
    async def body(log: Log) -> None:
        one = Commit(stream("a"), 0, events(1))
        many = [Commit(stream("b"), 0, events(3)), Commit(stream("c"), 0, events(2))]
        first, second = await log.append([one]), await log.append(many)
        assert (first, second) == ((1,), (2, 3, 4, 5, 6))
        other = await home.open()
        for again in (log, other):
            assert await again.append([one]) == first
            assert await again.append(many) == second
        await log.append([Commit(stream("a"), 1, events(2, 2))])
        assert await log.append([one]) == first, "also when others came after"
        assert await log.head() == 8

    home.run(body)


def test_a_commit_of_which_only_a_part_is_there_is_a_conflict(home: Home) -> None:
    async def body(log: Log) -> None:
        first, second = events(2)
        await log.append([Commit(stream(), 0, (first,))])
        with pytest.raises(Conflict):
            await log.append([Commit(stream(), 0, (first, second))])
        await log.append([Commit(stream("noise"), 0, events(1))])
        with pytest.raises(Conflict):
            await log.append([Commit(stream(), 0, (first, second))])
        with pytest.raises(Conflict):
            await log.append([Commit(stream(), 0, (first,)), Commit(stream("other"), 0, (second,))])
        assert await log.head() == 2

    home.run(body)


def test_one_append_takes_a_thousand_events_and_not_one_more(home: Home) -> None:
    async def body(log: Log) -> None:
        positions = await log.append([Commit(stream(), 0, events(1000))])
        assert positions == tuple(range(1, 1001))
        with pytest.raises(Invalid) as caught:
            await log.append([Commit(stream("other"), 0, events(1001))])
        assert caught.value.code == "append_too_large"
        assert [one.version for one in await log.read_stream(stream())] == list(range(1, 1001))

    home.run(body)


def test_an_event_may_be_as_large_as_the_limit_and_no_larger(home: Home) -> None:
    async def body(log: Log) -> None:
        with pytest.raises(Invalid) as caught:
            await log.append([Commit(stream(), 0, (event(), event(2, data=b"x" * 100_001)))])
        assert caught.value.code == "event_too_large"
        assert await log.head() == 0
        whole = event(data=b"x" * 100_000)
        assert await log.append([Commit(stream(), 0, (whole, event(2)))]) == (1, 2)
        assert (await log.read_stream(stream()))[0].data == whole.data

    home.run(body)


def test_a_stream_stands_once_in_an_append_and_an_empty_append_does_nothing(home: Home) -> None:
    async def body(log: Log) -> None:
        with pytest.raises(Invalid) as caught:
            await log.append([Commit(stream(), 0, events(1)), Commit(stream(), 0, events(1))])
        assert caught.value.code == "stream_named_twice"
        assert await log.append([]) == ()
        assert await log.head() == 0

    home.run(body)


# --- at the same time -------------------------------------------------------------------------------------------------


def test_of_racing_writers_exactly_one_wins_each_version(home: Home) -> None:
    async def body(log: Log) -> None:
        logs = [log, await home.open()]
        won: list[int] = []

        async def write(writer: int) -> None:
            mine = logs[writer % 2]
            wins = 0
            while wins < 5:
                last = await mine.last(stream())
                position, version = (last.position, last.version) if last else (0, 0)
                try:
                    won.extend(await mine.append([Commit(stream(), position, (event(version + 1),))]))
                    wins += 1
                except Conflict:
                    continue

        await asyncio.gather(*(write(writer) for writer in range(6)))
        found = await log.read_stream(stream())
        assert [one.version for one in found] == list(range(1, 31))
        assert sorted(won) == [one.position for one in found]

    home.run(body)


def test_good_and_stale_commits_that_wait_together_each_get_their_own_answer(home: Home) -> None:
    async def body(log: Log) -> None:
        other = await home.open()
        heads = dict(zip(range(60), await log.append(
            [Commit(stream(f"s{index}"), 0, events(1)) for index in range(60)]), strict=True))
        # Another process moves every third stream on, unseen by the first one.
        for index in range(0, 60, 3):
            await other.append([Commit(stream(f"s{index}"), heads[index], events(1, 2))])
        outcomes = await asyncio.gather(*(
            log.append([Commit(stream(f"s{index}"), heads[index], events(1 + index % 2, 2))]) for index in range(60)
        ), return_exceptions=True)
        for index, outcome in enumerate(outcomes):
            if index % 3 == 0:
                assert isinstance(outcome, Conflict), outcome
                assert outcome.streams == (stream(f"s{index}"),)
            else:
                assert isinstance(outcome, tuple), outcome
                found = await log.read_stream(stream(f"s{index}"), after=heads[index])
                assert tuple(one.position for one in found) == outcome
        assert await log.head() == 60 + 20 + sum(1 + index % 2 for index in range(60) if index % 3)

    home.run(body)


def test_many_commits_at_once_on_one_stream_let_exactly_one_through(home: Home) -> None:
    async def body(log: Log) -> None:
        outcomes = await asyncio.gather(
            *(log.append([Commit(stream(), 0, events(1))]) for _ in range(40)), return_exceptions=True
        )
        assert sum(isinstance(one, tuple) for one in outcomes) == 1
        assert sum(isinstance(one, Conflict) for one in outcomes) == 39
        assert await log.head() == 1

    home.run(body)


def test_one_append_sent_many_times_at_once_takes_effect_once(home: Home) -> None:
    async def body(log: Log) -> None:
        other = await home.open()
        commits = [Commit(stream("a"), 0, events(1)), Commit(stream("b"), 0, events(2))]
        outcomes = await asyncio.gather(*((log, other)[index % 2].append(commits) for index in range(20)))
        assert set(outcomes) == {(1, 2, 3)}
        assert await log.head() == 3

    home.run(body)


def test_a_writer_that_gives_up_does_not_hurt_those_who_wait_with_it(home: Home) -> None:
    async def body(log: Log) -> None:
        tasks = [
            asyncio.create_task(log.append([Commit(stream(f"s{index}"), 0, events(1))])) for index in range(50)
        ]
        await asyncio.sleep(0)
        for task in tasks[::7]:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for index, outcome in enumerate(outcomes):
            last = await log.last(stream(f"s{index}"))
            if isinstance(outcome, tuple):
                assert last is not None
                assert (last.position,) == outcome
            else:
                assert isinstance(outcome, asyncio.CancelledError), outcome
                assert index % 7 == 0
        assert all(isinstance(one, tuple) for index, one in enumerate(outcomes) if index % 7)

    home.run(body)


# --- reading ----------------------------------------------------------------------------------------------------------


async def _story(log: Log) -> list[Recorded]:
    """25 events: two projects, three categories, appended one by one."""
    heads: dict[Stream, int] = {}
    for number in range(25):
        place = Stream(f"p{number % 2}", "main", ("scene", "job", "character")[number % 3], f"x{number % 4}")
        (heads[place],) = await log.append([Commit(place, heads.get(place, 0), events(1))])
    return await everything(log)


def test_reading_starts_after_a_position_and_ends_at_another_or_at_the_head(home: Home) -> None:
    async def body(log: Log) -> None:
        story = await _story(log)
        assert [one.position for one in story] == list(range(1, 26))
        assert await everything(log, after=10) == story[10:]
        assert await everything(log, after=10, upto=14) == story[10:14]
        assert await everything(log, upto=99) == story
        assert await everything(log, after=25) == []
        assert await everything(log, after=99) == []
        assert [len(batch) async for batch in log.read(batch=7)] == [7, 7, 7, 4]

    home.run(body)


@pytest.mark.parametrize("pattern", [
    "vn.>", "vn.p0.>", "vn.*.*.job.*", "vn.p1.main.scene.x1", "vn.*.main.character.>", "vn.nobody.>",
])
def test_a_pattern_selects_by_subject_and_positions_stay_those_of_the_log(home: Home, pattern: str) -> None:
    async def body(log: Log) -> None:
        story = await _story(log)
        wanted = [one for one in story if _matches(pattern, one.stream.subject)]
        assert await everything(log, pattern=pattern, batch=3) == wanted
        assert await everything(log, pattern=pattern, after=9, upto=20) == [
            one for one in wanted if 9 < one.position <= 20
        ]

    home.run(body)


def _matches(pattern: str, subject: str) -> bool:
    parts, tokens = pattern.split("."), subject.split(".")
    return all(part in (">", "*", token) for part, token in zip(parts, tokens, strict=False))


def test_one_stream_is_read_in_full_or_between_two_positions(home: Home) -> None:
    async def body(log: Log) -> None:
        await log.append([Commit(stream("noise"), 0, events(5))])
        first = await log.append([Commit(stream(), 0, events(700))])
        await log.append([Commit(stream("noise"), 5, events(5, 6))])
        second = await log.append([Commit(stream(), first[-1], events(700, 701))])
        found = await log.read_stream(stream())
        assert [one.version for one in found] == list(range(1, 1401))
        assert [one.version for one in await log.read_stream(stream(), after=first[9])] == list(range(11, 1401))
        assert [one.version for one in await log.read_stream(stream(), upto=first[299])] == list(range(1, 301))
        assert [one.version for one in await log.read_stream(stream(), after=first[99], upto=second[0])] == list(
            range(101, 702))
        assert await log.read_stream(stream("nobody")) == []
        assert await log.read_stream(stream(), after=second[-1]) == []
        assert await log.last(stream("nobody")) is None

    home.run(body)


def test_what_was_appended_is_read_at_once(home: Home) -> None:
    async def body(log: Log) -> None:
        position = 0
        for version in range(1, 40):
            (position,) = await log.append([Commit(stream(), position, events(1, version))])
            last = await log.last(stream())
            assert last is not None
            assert last.position == position
            assert [one.version for one in await log.read_stream(stream())] == list(range(1, version + 1))
            assert await log.head() == position

    home.run(body)


# --- following --------------------------------------------------------------------------------------------------------


def test_following_starts_with_the_past_and_goes_on_live(home: Home) -> None:
    async def body(log: Log) -> None:
        await _story(log)
        followers = [asyncio.create_task(taken(log.follow(after=after), 125 - after)) for after in (0, 0, 7, 25)]
        head = 25
        for number in range(100):
            (head,) = await log.append([Commit(stream(f"n{number}"), 0, events(1))])
        for after, follower in zip((0, 0, 7, 25), followers, strict=True):
            assert [one.position for one in await follower] == list(range(after + 1, head + 1))

    home.run(body)


def test_following_may_begin_in_the_future(home: Home) -> None:
    async def body(log: Log) -> None:
        follower = asyncio.create_task(taken(log.follow(after=3), 2))
        for number in range(5):
            await log.append([Commit(stream(f"n{number}"), 0, events(1))])
        assert [one.position for one in await follower] == [4, 5]

    home.run(body)


def test_a_follower_of_a_pattern_gets_its_own_events_and_their_true_positions(home: Home) -> None:
    async def body(log: Log) -> None:
        pattern = "vn.*.*.job.>"
        live = asyncio.create_task(taken(log.follow(pattern=pattern), 10))
        for number in range(30):
            place = stream(f"n{number}", category=("job", "scene", "prop")[number % 3])
            await log.append([Commit(place, 0, events(1))])
        expected = [number + 1 for number in range(30) if number % 3 == 0]
        assert [one.position for one in await live] == expected
        resumed = await taken(log.follow(after=expected[4], pattern=pattern), 5)
        assert [one.position for one in resumed] == expected[5:]

    home.run(body)


def test_followers_see_everything_once_and_in_order_while_many_write(home: Home) -> None:
    async def body(log: Log) -> None:
        other = await home.open()
        followers = [asyncio.create_task(taken(one.follow(), 600)) for one in (log, other)]
        await asyncio.gather(*(
            (log, other)[number % 2].append([Commit(stream(f"n{number}"), 0, events(1 + number % 2))])
            for number in range(400)
        ))
        for follower in followers:
            assert [one.position for one in await follower] == list(range(1, 601))

    home.run(body)


# --- snapshots --------------------------------------------------------------------------------------------------------


def test_the_newest_snapshot_of_a_stream_is_kept(home: Home) -> None:
    async def body(log: Log) -> None:
        assert await log.load_snapshot(stream()) is None
        await log.save_snapshot(stream(), b"one")
        await log.save_snapshot(stream(), b"\x00\xfftwo" * 100_000)
        await log.save_snapshot(stream("other"), b"")
        assert await log.load_snapshot(stream()) == b"\x00\xfftwo" * 100_000
        assert await log.load_snapshot(stream("other")) == b""
        assert await log.head() == 0, "a snapshot is no event"

    home.run(body)


# --- loading ----------------------------------------------------------------------------------------------------------


def test_recorded_events_can_be_loaded_into_an_empty_log(home: Home) -> None:
    async def body(log: Log) -> None:
        story = [Recorded(number, stream(f"s{number % 7}"), *event(number)) for number in range(1, 301)]
        await log.load(story[:200])
        await log.load(story[:200])
        with pytest.raises(Conflict):
            await log.load([one._replace(position=one.position + 50) for one in story[200:]])
        await log.load(story[200:])
        await log.load([])
        assert await everything(log) == story

    home.run(body)


