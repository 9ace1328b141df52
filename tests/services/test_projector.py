"""The projector: counted once and in order, whatever fails, and rebuilt to the same rows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

import pytest
from any_events import histories
from hypothesis import given, settings

import services.projector
import services.renewal
from adapters.memory.log import MemoryLog
from adapters.sql.read_models import SqlReadModels
from domain.context import Context
from domain.errors import NotFound, Refused, Unavailable
from domain.ports import Progress, Proposed, Recorded, Stream
from domain.tables import Add, Change, Put, Table
from domain.values import Event, Value
from projections.declaration import Happened, Projection
from services.projector import Projector
from services.rebuild import rebuild, resume, verify
from services.registry import REGISTRY, Registry

PATIENCE_SECONDS = 30.0
TALLY = Table("tally", {"project": "text", "words": "int", "last": "text"}, ("project",))
ROWS = Table("told", {"project": "text", "position": "int", "word": "text"}, ("project", "position"))


class Told(Event):
    """Something was told."""

    SCHEMA = 2

    word: str


class Nothing(Value):
    """No state is needed here."""


def tally(happened: Happened) -> Iterable[Change]:
    if isinstance(happened.event, Told):
        key = {"project": happened.recorded.stream.project}
        yield Add("tally", key, {"words": 1}, {"last": happened.event.word})


def told(happened: Happened) -> Iterable[Change]:
    event, recorded = happened.event, happened.recorded
    if not isinstance(event, Told):
        return
    yield Put("told", {"project": recorded.stream.project, "position": recorded.position, "word": event.word})
    if event.word == "poison":
        raise ValueError("this cannot be told")
    if event.word == "too much":
        yield Put("told", {"project": recorded.stream.project, "position": 2**70, "word": ""})


CONTEXT = Context("tale", False, (Told,), Nothing, Nothing(), lambda state, event: state,
                  upcasters={("Told", 1): lambda body: {"word": body["text"]}})
TALE = Projection("tale", 1, (ROWS,), told, frozenset({"tale"}))
COUNT = Projection("count", 1, (TALLY,), tally)


def registry(*projections: Projection) -> Registry:
    return Registry({"tale": CONTEXT}, {}, {}, {one.name: one for one in projections or (TALE, COUNT)}, {})


def append(log: MemoryLog, *words: str, type_: str = "Told", schema: int = 2, data: bytes | None = None) -> int:
    """Events of one stream as if a command had made them; the last position."""
    for word in words:
        number = len(log.events) + 1
        body = data or b'{"word": "%s"}' % word.encode()
        log._record(
            Stream("demo", "-", "tale", "t"),
            Proposed(type_, schema, body, f"e{number}", number, "2026-01-02T03:04:05Z", "a", f"c{number}", "", "", ""),
        )
    return len(log.events)


async def tell(log: MemoryLog, *words: str, **how: Any) -> int:
    """``append`` that wakes followers."""
    position = append(log, *words, **how)
    async with log._grown:
        log._grown.notify_all()
    return position


@pytest.fixture
def models(tmp_path: Path) -> Iterator[SqlReadModels]:
    made = SqlReadModels(f"sqlite:///{tmp_path}/read.db")
    yield made
    made.close()


@pytest.fixture(params=["sqlite", "postgres"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlReadModels]:
    """Each database in turn, for what depends on how they lock."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else f"sqlite:///{tmp_path}/either.db"
    made = SqlReadModels(url)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _quick_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services.projector, "WATCH_SECONDS", 0.02)
    monkeypatch.setattr(services.renewal, "WATCH_SECONDS", 0.02)
    monkeypatch.setattr(services.renewal, "ABANDONED_SECONDS", 0.2)


@asynccontextmanager
async def running(projector: Projector) -> Any:
    task = asyncio.create_task(projector.run())
    try:
        yield projector
    finally:
        task.cancel()
        (ended,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(ended, asyncio.CancelledError), ended


async def until(true: Callable[[], Any]) -> None:
    deadline = monotonic() + PATIENCE_SECONDS
    while not await asyncio.to_thread(true):
        assert monotonic() < deadline, "it did not come about"
        await asyncio.sleep(0.005)


def reached(models: SqlReadModels, position: int, *names: str) -> Callable[[], bool]:
    def true() -> bool:
        known = models.checkpoints()
        return all(name in known and known[name].position >= position for name in names or known) and bool(known)

    return true


def stopped(models: SqlReadModels, name: str) -> Callable[[], bool]:
    return lambda: name in (known := models.checkpoints()) and known[name].status == "stopped"


def words(models: SqlReadModels) -> list[str]:
    with models.reader() as reader:
        return [row["word"] for row in reader.rows("told", order=("position",), limit=100_000)]


def counted(models: SqlReadModels) -> int:
    with models.reader() as reader:
        row = reader.row("tally", project="demo")
        return row["words"] if row else 0


# Counting


def test_what_was_there_and_what_comes_is_counted_once(either: SqlReadModels) -> None:
    models = either

    async def scenario() -> None:
        log = MemoryLog()
        append(log, *[f"w{number}" for number in range(2500)])
        async with running(Projector(log, models, registry())) as projector:
            await until(reached(models, 2500, "tale", "count"))
            for number in range(20):
                await until(reached(models, await tell(log, f"live{number}"), "tale", "count"))
            status = projector.status()
            assert status.head == 2520
            assert {one.state for one in status.projections.values()} == {"live"}
            assert {one.lag for one in status.projections.values()} == {0}
        assert counted(models) == 2520
        assert words(models)[-1] == "live19"

    asyncio.run(scenario())


def test_it_goes_on_where_it_left_off(models: SqlReadModels) -> None:
    async def scenario() -> None:
        log = MemoryLog()
        for _ in range(3):
            append(log, "one", "two")
            async with running(Projector(log, models, registry())):
                await until(reached(models, len(log.events), "tale", "count"))
        assert counted(models) == 6

    asyncio.run(scenario())


@settings(max_examples=15, deadline=None)
@given(history=histories(), cuts=...)
def test_caught_up_equals_rebuilt_for_every_projection(history: list[Recorded], cuts: tuple[int, int]) -> None:
    async def scenario(models: SqlReadModels) -> None:
        log = MemoryLog()
        cut = cuts[0] % (len(history) + 1)
        await log_of(log, history[:cut])
        async with running(Projector(log, models, REGISTRY)):
            await until(lambda: broken(models) or reached(models, cut, *REGISTRY.projections)())
            for one in history[cut:]:
                await log_of(log, [one])
            await until(lambda: broken(models) or reached(models, len(history), *REGISTRY.projections)())
            assert broken(models) == {}
            compared = await verify(log, models, REGISTRY)
            assert {one.projection for one in compared} == set(REGISTRY.projections)
            assert [one for one in compared if not one.equal] == []
            before = {name: models.digests(name) for name in REGISTRY.projections}
            await rebuild(log, models, REGISTRY)
            assert {name: models.digests(name) for name in REGISTRY.projections} == before

    with TemporaryDirectory() as folder:
        models = SqlReadModels(f"sqlite:///{folder}/read.db")
        asyncio.run(scenario(models))
        models.close()


def broken(models: SqlReadModels) -> dict[str, str]:
    """The projections that an event has stopped, and why."""
    return {name: one.error for name, one in models.checkpoints().items() if one.status == "stopped"}


async def log_of(log: MemoryLog, events: Sequence[Recorded]) -> None:
    for one in events:
        log.events.append(one)
        log._streams.setdefault(one.stream, []).append(one)
    async with log._grown:
        log._grown.notify_all()


# What fails


@pytest.mark.parametrize("word", ["poison", "too much"])
def test_an_event_that_cannot_be_applied_stops_its_projection_alone(either: SqlReadModels, word: str) -> None:
    models = either

    async def scenario() -> None:
        log = MemoryLog()
        append(log, "one", "two", word, "four")
        async with running(Projector(log, models, registry())) as projector:
            await until(stopped(models, "tale"))
            await until(reached(models, await tell(log, "five"), "count"))
            assert counted(models) == 5
            assert words(models) == ["one", "two"]
            one = models.checkpoints()["tale"]
            assert (one.position, one.failed_position) == (2, 3)
            assert "this cannot be told" in one.error or "position" in one.error
            shown = projector.status().projections["tale"]
            assert (shown.state, shown.failed_position, shown.lag) == ("stopped", 3, 3)
            # Nothing has changed, so it stops at the same event again, and nothing is skipped.
            await resume(models, registry(), "tale")
            await until(stopped(models, "tale"))
            assert models.checkpoints()["tale"].position == 2
        mended = replace(TALE, apply=lambda happened: () if happened.recorded.position == 3 else told(happened))
        await resume(models, registry(mended, COUNT), "tale")
        async with running(Projector(log, models, registry(mended, COUNT))):
            await until(reached(models, 5, "tale"))
        assert words(models) == ["one", "two", "four", "five"]
        assert counted(models) == 5

    asyncio.run(scenario())


def test_a_resumed_projection_is_taken_up_while_the_projector_runs(models: SqlReadModels) -> None:
    async def scenario() -> None:
        log = MemoryLog()
        append(log, "one", "two")
        async with running(Projector(log, models, registry())):
            await until(reached(models, 2, "tale", "count"))
            await asyncio.to_thread(models.stop, "tale", 3, "by hand")
            await tell(log, "three")
            await until(reached(models, 3, "count"))
            await resume(models, registry(), "tale")
            await until(reached(models, 3, "tale"))

    asyncio.run(scenario())


def test_a_stored_body_that_does_not_fit_stops_only_who_needs_it(models: SqlReadModels) -> None:
    async def scenario() -> None:
        log = MemoryLog()
        append(log, "one")
        append(log, "x", data=b'{"word": 5}')
        append(log, "three")
        bare = Projection("bare", 1, (replace(TALLY, name="bare"),), bare_tally, decodes=False)
        async with running(Projector(log, models, registry(TALE, bare))):
            await until(stopped(models, "tale"))
            await until(reached(models, 3, "bare"))
            assert models.checkpoints()["tale"].failed_position == 2
            assert "Undecodable" in models.checkpoints()["tale"].error

    asyncio.run(scenario())


def bare_tally(happened: Happened) -> Iterable[Change]:
    assert happened.event is None
    yield Add("bare", {"project": "demo"}, {"words": 1}, {"last": ""})


def test_unknown_types_are_skipped_and_counted(models: SqlReadModels) -> None:
    async def scenario() -> None:
        log = MemoryLog()
        append(log, "one")
        append(log, "x", "y", type_="Sung")
        append(log, "z", schema=3)
        append(log, "five")
        async with running(Projector(log, models, registry())) as projector:
            await until(reached(models, 5, "tale", "count"))
            assert projector.status().unknown == {"Sung": (2, 2, 3), "Told (schema 3)": (1, 4, 4)}
        assert words(models) == ["one", "five"]

    asyncio.run(scenario())


def test_events_of_an_older_schema_are_upcast(models: SqlReadModels) -> None:
    async def scenario() -> None:
        log = MemoryLog()
        append(log, "old", schema=1, data=b'{"text": "old"}')
        append(log, "new")
        async with running(Projector(log, models, registry())):
            await until(reached(models, 2, "tale"))
        assert words(models) == ["old", "new"]

    asyncio.run(scenario())


def test_a_database_that_is_gone_is_waited_for_and_nothing_is_lost(models: SqlReadModels, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = MemoryLog()
        append(log, "one")
        gate = Gate(models)
        async with running(Projector(log, gate, registry())) as projector:  # type: ignore[arg-type]
            await until(reached(models, 1, "tale", "count"))
            gate.closed = True
            position = await tell(log, "two", "three")
            await until(lambda: projector.status().trouble == "gone")
            assert projector.status().projections["tale"].lag == 2
            gate.closed = False
            await until(reached(models, position, "tale", "count"))
            await until(lambda: projector.status().trouble == "")
        assert (counted(models), words(models)) == (3, ["one", "two", "three"])

    asyncio.run(scenario())


class Gate:
    """A database that can be out of reach, before or after it has done what was asked."""

    def __init__(self, models: SqlReadModels) -> None:
        self._models, self.closed, self.answers_lost = models, False, 0

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **given: Any) -> Any:
            if self.closed:
                raise Unavailable("gone")
            result = getattr(self._models, name)(*args, **given)
            if name == "advance" and self.answers_lost:
                self.answers_lost -= 1
                raise Unavailable("gone")
            return result

        return call


def test_a_commit_whose_answer_is_lost_is_not_counted_twice(models: SqlReadModels) -> None:
    async def scenario() -> None:
        log = MemoryLog()
        gate = Gate(models)
        gate.answers_lost = 3
        append(log, "one")
        async with running(Projector(log, gate, registry())):  # type: ignore[arg-type]
            await until(reached(models, await tell(log, "two"), "tale", "count"))
            await until(reached(models, await tell(log, "three"), "tale", "count"))
        assert counted(models) == 3

    asyncio.run(scenario())


def test_a_table_of_somebody_else_holds_up_nobody_else(models: SqlReadModels) -> None:
    async def scenario() -> None:
        log = MemoryLog()
        append(log, "one")
        models.create("squatter", 1, (ROWS,))
        async with running(Projector(log, models, registry())) as projector:
            await until(reached(models, 1, "count"))
            assert projector.status().projections["tale"].state == "refused"

    asyncio.run(scenario())


# Several at once


def test_several_projectors_count_each_event_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = MemoryLog()
        append(log, *[f"w{number}" for number in range(3000)])
        three = [SqlReadModels(f"sqlite:///{tmp_path}/read.db") for _ in range(3)]
        async with (
            running(Projector(log, three[0], registry())), running(Projector(log, three[1], registry())),
            running(Projector(log, three[2], registry())),
        ):
            for number in range(60):
                await tell(log, f"live{number}")
                await asyncio.sleep(0)
            await until(reached(three[0], 3060, "tale", "count"))
        assert counted(three[0]) == 3060
        for one in three:
            one.close()

    asyncio.run(scenario())


def test_one_that_is_far_behind_does_not_hold_up_the_others(
    models: SqlReadModels
) -> None:
    async def scenario() -> None:
        log = MemoryLog()
        append(log, *["w"] * 5000)
        async with running(Projector(log, models, registry(COUNT))):
            await until(reached(models, 5000, "count"))
        async with running(Projector(log, models, registry(TALE, COUNT), far_behind=100)):
            await until(reached(models, await tell(log, "live"), "count", "tale"))
        assert (len(words(models)), counted(models)) == (5001, 5001)

    asyncio.run(scenario())


# Renewing


def test_a_raised_version_is_rebuilt_beside_the_old_tables(either: SqlReadModels) -> None:
    models = either

    async def scenario() -> None:
        log = MemoryLog()
        append(log, *["w"] * 3000)
        async with running(Projector(log, models, registry())):
            await until(reached(models, 3000, "tale", "count"))
        longer = Projection(
            "tale", 2, (replace(ROWS, columns={**ROWS.columns, "length": "int"}),),
            lambda happened: [
                Put("told", {**one.row, "length": len(one.row["word"])})
                for one in told(happened) if isinstance(one, Put)
            ],
            frozenset({"tale"}),
        )
        seen: set[int] = set()
        async with running(Projector(log, models, registry(longer, COUNT))):
            await tell(log, "live")

            def swapped() -> bool:
                with models.reader() as reader:
                    seen.add(len(reader.rows("told", limit=10_000)))
                return models.checkpoints()["tale"].version == 2

            await until(swapped)
            await until(reached(models, await tell(log, "again"), "tale", "count"))
        assert seen <= {3000, 3001, 3002}, "a half-built table was seen"
        with models.reader() as reader:
            assert reader.rows("told", order=("-position",), limit=1)[0]["length"] == 5
        assert counted(models) == 3002

    asyncio.run(scenario())


def test_tables_of_another_shape_are_rebuilt_even_if_the_version_was_not_raised(models: SqlReadModels) -> None:
    async def scenario() -> None:
        log = MemoryLog()
        append(log, "one", "two")
        async with running(Projector(log, models, registry())):
            await until(reached(models, 2, "tale", "count"))
        indexed = replace(TALE, tables=(replace(ROWS, indexes=(("word",),)),))
        async with running(Projector(log, models, registry(indexed, COUNT))):
            await until(lambda: models.checkpoints()["tale"].generation == 2)
            await until(reached(models, await tell(log, "three"), "tale", "count"))
        assert words(models) == ["one", "two", "three"]

    asyncio.run(scenario())


def test_of_two_projectors_that_find_outdated_tables_one_rebuilds(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = MemoryLog()
        append(log, *["w"] * 3000)
        pair = [SqlReadModels(f"sqlite:///{tmp_path}/read.db") for _ in range(2)]
        async with running(Projector(log, pair[0], registry())):
            await until(reached(pair[0], 3000, "tale", "count"))
        raised = registry(replace(TALE, version=2), replace(COUNT, version=2))
        async with running(Projector(log, pair[0], raised)), running(Projector(log, pair[1], raised)):
            await until(lambda: {one.version for one in pair[0].checkpoints().values()} == {2})
            await until(reached(pair[0], await tell(log, "live"), "tale", "count"))
        assert (counted(pair[0]), len(words(pair[0])), pair[0].rebuilds()) == (3001, 3001, {})
        for one in pair:
            one.close()

    asyncio.run(scenario())


def test_a_rebuild_left_by_a_dead_process_is_taken_over(models: SqlReadModels) -> None:
    async def scenario() -> None:
        log = MemoryLog()
        append(log, "one")
        async with running(Projector(log, models, registry())):
            await until(reached(models, 1, "tale", "count"))
        raised = replace(TALE, version=2)
        models.begin_rebuild("tale", 2, raised.tables)
        async with running(Projector(log, models, registry(raised, COUNT))):
            await until(lambda: models.checkpoints()["tale"].version == 2)
        assert words(models) == ["one"]

    asyncio.run(scenario())


def test_a_newer_version_is_left_alone(models: SqlReadModels) -> None:
    async def scenario() -> None:
        log = MemoryLog()
        append(log, "one")
        async with running(Projector(log, models, registry(replace(TALE, version=2), COUNT))):
            await until(reached(models, 1, "tale", "count"))
        async with running(Projector(log, models, registry())) as projector:
            await until(reached(models, await tell(log, "two"), "count"))
            assert projector.status().projections["tale"].state == "newer"
            assert models.checkpoints()["tale"].position == 1
            await rebuild(log, models, registry(), ["tale"])
            await until(reached(models, await tell(log, "three"), "tale"))
        assert words(models) == ["one", "two", "three"]

    asyncio.run(scenario())


def test_a_raised_version_that_fails_keeps_the_old_tables_and_says_why(models: SqlReadModels) -> None:
    async def scenario() -> None:
        log = MemoryLog()
        append(log, "one", "poison", "three")
        fine = replace(TALE, apply=lambda happened: tuple(told_always(happened)))
        async with running(Projector(log, models, registry(fine, COUNT))):
            await until(reached(models, 3, "tale", "count"))
        async with running(Projector(log, models, registry(replace(TALE, version=2), COUNT))) as projector:
            await until(stopped(models, "tale"))
            one = models.checkpoints()["tale"]
            assert (one.version, one.failed_position) == (1, 2)
            assert words(models) == ["one", "poison", "three"]
            await until(reached(models, await tell(log, "four"), "count"))
            assert projector.status().projections["tale"].state == "stopped"
        assert models.rebuilds() == {}

    asyncio.run(scenario())


def told_always(happened: Happened) -> Iterable[Change]:
    assert isinstance(happened.event, Told)
    yield Put("told", {"project": "demo", "position": happened.recorded.position, "word": happened.event.word})


# Rebuilding and comparing


def test_rebuilding_goes_on_while_others_write(either: SqlReadModels) -> None:
    models = either

    async def scenario() -> None:
        log = MemoryLog()
        append(log, *["w"] * 4000)
        reports: list[tuple[int, int, float]] = []
        async with running(Projector(log, models, registry())):
            await until(reached(models, 4000, "tale", "count"))

            async def write() -> None:
                for number in range(200):
                    await tell(log, f"live{number}")
                    await asyncio.sleep(0.001)

            writing = asyncio.create_task(write())
            built = await rebuild(log, models, registry(), [], lambda *given: reports.append(given))
            await writing
            assert [(one.projection, one.failure) for one in built] == [("count", None), ("tale", None)]
            await until(reached(models, 4200, "tale", "count"))
        assert {one.generation for one in models.checkpoints().values()} == {2}
        assert (counted(models), len(words(models))) == (4200, 4200)
        assert reports[-1][0] == reports[-1][1] >= 4000
        assert reports[-1][2] > 0

    asyncio.run(scenario())


def test_a_rebuild_that_breaks_off_leaves_the_live_tables_and_a_clean_start(models: SqlReadModels) -> None:
    async def scenario() -> None:
        log = MemoryLog()
        append(log, *["w"] * 6000)
        async with running(Projector(log, models, registry())):
            await until(reached(models, 6000, "tale", "count"))
        before = {name: models.digests(name) for name in ("tale", "count")}
        dying = Dying(models)
        with pytest.raises(KeyboardInterrupt):
            await rebuild(log, dying, registry())  # type: ignore[arg-type]
        assert models.rebuilds().keys() == {"tale", "count"}, "as after a crash"
        assert {name: models.digests(name) for name in ("tale", "count")} == before
        await rebuild(log, models, registry())
        assert {name: models.digests(name) for name in ("tale", "count")} == before
        assert models.rebuilds() == {}

    asyncio.run(scenario())


class Dying:
    """A database whose process dies in the middle of a rebuild."""

    def __init__(self, models: SqlReadModels) -> None:
        self._models, self._left = models, 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._models, name)

    def advance(self, steps: Sequence[Progress]) -> None:
        self._left -= 1
        if self._left < 0:
            raise KeyboardInterrupt
        self._models.advance(steps)

    def drop_rebuild(self, projection: str, generation: int) -> None:
        raise RuntimeError("a dead process cleans nothing up")


def test_a_rebuild_that_fails_at_an_event_keeps_the_live_tables(models: SqlReadModels) -> None:
    async def scenario() -> None:
        log = MemoryLog()
        append(log, "one", "poison")
        async with running(Projector(log, models, registry(replace(TALE, apply=told_always), COUNT))):
            await until(reached(models, 2, "tale", "count"))
        count, tale = await rebuild(log, models, registry())
        assert count.failure is None
        assert tale.failure is not None
        assert tale.failure.position == 2
        assert words(models) == ["one", "poison"]

    asyncio.run(scenario())


def test_tables_that_counted_beyond_this_log_are_shown_and_can_be_rebuilt(models: SqlReadModels) -> None:
    async def scenario() -> None:
        longer = MemoryLog()
        append(longer, "a", "b", "c")
        async with running(Projector(longer, models, registry())):
            await until(reached(models, 3, "tale", "count"))
        log = MemoryLog()
        append(log, "x")
        async with running(Projector(log, models, registry())) as projector:
            await until(lambda: projector.status().projections["tale"].state == "beyond")
            await rebuild(log, models, registry())
            await until(reached(models, await tell(log, "y"), "tale", "count"))
            assert models.checkpoints()["tale"].position == 2
        assert words(models) == ["x", "y"]

    asyncio.run(scenario())


def test_verifying_finds_a_row_that_somebody_changed(models: SqlReadModels, tmp_path: Path) -> None:
    import sqlite3

    async def scenario() -> None:
        log = MemoryLog()
        append(log, *["w"] * 1500)
        async with running(Projector(log, models, registry())):
            await until(reached(models, 1500, "tale", "count"))
            compared = await verify(log, models, registry())
            assert [(one.table, one.equal) for one in compared] == [("tally", True), ("told", True)]
            connection = sqlite3.connect(tmp_path / "read.db")
            with connection:
                connection.execute("UPDATE told SET word = 'forged' WHERE position = 700")
            connection.close()
            await tell(log, "goes on")
            compared = await verify(log, models, registry())
            assert [(one.table, one.equal) for one in compared] == [("tally", True), ("told", False)]
            assert compared[1].live != compared[1].rebuilt
        assert models.rebuilds() == {}

    asyncio.run(scenario())


def test_verifying_while_events_come_compares_at_one_position(either: SqlReadModels) -> None:
    models = either

    async def scenario() -> None:
        log = MemoryLog()
        append(log, *["w"] * 500)
        async with running(Projector(log, models, registry())):
            await until(reached(models, 500, "tale", "count"))

            async def write() -> None:
                for number in range(300):
                    await tell(log, f"live{number}")
                    await asyncio.sleep(0.001)

            writing = asyncio.create_task(write())
            for _ in range(3):
                assert all(one.equal for one in await verify(log, models, registry()))
            await writing

    asyncio.run(scenario())


def test_names_that_nobody_declares_and_outdated_tables_are_told(models: SqlReadModels) -> None:
    async def scenario() -> None:
        log = MemoryLog()
        for work in (rebuild, verify):
            with pytest.raises(NotFound):
                await work(log, models, registry(), ["none"])  # type: ignore[operator]
        with pytest.raises(NotFound):
            await verify(log, models, registry())
        await rebuild(log, models, registry())
        with pytest.raises(Refused):
            await verify(log, models, registry(replace(TALE, version=2), COUNT))

    asyncio.run(scenario())


def test_a_damaged_file_is_moved_aside_and_built_anew(models: SqlReadModels, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = MemoryLog()
        append(log, *["word " * 20] * 2000)
        async with running(Projector(log, models, registry())) as projector:
            await until(reached(models, 2000, "tale", "count"))
        models.close()
        file = tmp_path / "read.db"
        content = bytearray(file.read_bytes())
        content[0:100] = b"\xff" * 100
        content[8192:] = b"\x5a" * (len(content) - 8192)
        file.write_bytes(content)
        async with running(Projector(log, models, registry())) as projector:
            await until(lambda: "damaged" in projector.status().trouble)
            await rebuild(log, models, registry())
            await until(reached(models, await tell(log, "live"), "tale", "count"))
            assert projector.status().trouble == ""
        assert counted(models) == 2001
        assert (tmp_path / "read.db.damaged-1").exists()

    asyncio.run(scenario())
