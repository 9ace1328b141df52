"""A log goes into a file and comes back as it was; what is not a whole log is refused with its line and position."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from adapters.memory.log import MemoryLog
from domain.errors import Invalid, Refused, Unavailable
from domain.ports import Recorded, Stream
from services import transfer
from services.transfer import export_log, import_log
from services.wire import event_line, parse_line

STREAMS = [Stream("demo", "main", "scene", "harbour"), Stream("demo", "-", "ledger", "studio"),
           Stream("other", "night", "scene", "harbour")]


def events(count: int) -> list[Recorded]:
    return [
        Recorded(
            number, STREAMS[number % 3], "SceneCreated", 1, b'{"n":%d.0}' % number, f"e{number}", number // 3 + 1,
            f"2026-01-02T03:04:{number % 60:02}.000000Z", "author", f"c{number}", "r", f"c{number}", "",
        )
        for number in range(1, count + 1)
    ]


def log_of(found: Sequence[Recorded]) -> MemoryLog:
    log = MemoryLog()
    if found:
        asyncio.run(log.load(found))
    return log


def exported(log: MemoryLog, **options: Any) -> bytes:
    out = io.BytesIO()
    asyncio.run(export_log(log, out, **options))
    return out.getvalue()


def file_of(found: Sequence[Recorded]) -> io.BytesIO:
    return io.BytesIO(b"".join(event_line(one) + b"\n" for one in found))


def test_export_after_import_gives_the_same_file() -> None:
    file = exported(log_of(events(1234)))
    log = MemoryLog()
    told = asyncio.run(import_log(log, io.BytesIO(file)))
    assert (told.events, told.resumed, told.head) == (1234, 0, 1234)
    assert exported(log) == file
    assert log.events == events(1234)


@settings(max_examples=50, deadline=None)
@given(some.lists(some.binary(max_size=40) | some.sampled_from([b"1E5", b'{"a":0.10}', b'"\xc3\xbc"']), max_size=20))
def test_any_bodies_survive_the_round_trip(bodies: list[bytes]) -> None:
    found = [one._replace(data=body) for one, body in zip(events(len(bodies)), bodies, strict=True)]
    log = MemoryLog()
    asyncio.run(import_log(log, io.BytesIO(exported(log_of(found)))))
    assert log.events == found


def test_the_export_says_what_it_wrote() -> None:
    out, seen = io.BytesIO(), []
    told = asyncio.run(export_log(log_of(events(10)), out, after=3, upto=8, report=lambda *step: seen.append(step)))
    assert (told.events, told.first, told.last, told.size, told.missing) == (5, 4, 8, len(out.getvalue()), 0)
    assert [parse_line(line).position for line in out.getvalue().splitlines()] == [4, 5, 6, 7, 8]
    assert seen == [(5, 5)]
    nothing = asyncio.run(export_log(MemoryLog(), io.BytesIO()))
    assert (nothing.events, nothing.first, nothing.last) == (0, 0, 0)


def test_one_project_can_be_exported_alone() -> None:
    lines = exported(log_of(events(9)), pattern="vn.other.>").splitlines()
    assert {parse_line(line).stream.project for line in lines} == {"other"}
    assert len(lines) == 3


@pytest.mark.parametrize(("order", "error", "line", "position"), [
    ([1, 2, 4, 5], "position_missing", 3, 4),
    ([2, 3], "position_missing", 1, 2),
    ([1, 2, 7], "position_missing", 3, 7),
    ([1, 2, 2, 3], "position_twice", 3, 2),
    ([1, 2, 3, 1], "positions_out_of_order", 4, 1),
    ([1, 3, 2], "position_missing", 2, 3),
])
def test_gaps_doubles_and_disorder_are_named(order: list[int], error: str, line: int, position: int) -> None:
    all_events = events(9)
    with pytest.raises(Invalid) as caught:
        asyncio.run(import_log(MemoryLog(), file_of([all_events[one - 1] for one in order])))
    assert caught.value.code == error
    assert (caught.value.detail["line"], caught.value.detail["position"]) == (line, position)
    assert f"Line {line}" in caught.value.message


def test_an_event_larger_than_the_log_takes_is_refused() -> None:
    large = [events(1)[0]._replace(data=b'"' + b"x" * 2000 + b'"')]
    with pytest.raises(Invalid) as caught:
        asyncio.run(import_log(MemoryLog(), file_of(large), event_limit=1024))
    assert caught.value.code == "event_too_large"
    assert caught.value.detail["position"] == 1


def test_a_wrong_project_name_is_refused() -> None:
    wrong = [events(1)[0]._replace(stream=Stream("de>mo", "main", "scene", "a"))]
    with pytest.raises(Invalid, match="project"):
        asyncio.run(import_log(MemoryLog(), file_of(wrong)))


def test_an_endless_line_is_refused_before_it_is_held_in_memory() -> None:
    class Endless(io.RawIOBase):
        given = 0

        def readline(self, size: int | None = -1, /) -> bytes:
            assert size
            assert size > 0
            self.given += size
            return b"x" * size

    source = Endless()
    with pytest.raises(Invalid, match="longer than"):
        asyncio.run(import_log(MemoryLog(), source))
    assert source.given < 2 * transfer.LINE_LIMIT


def test_a_dry_run_checks_everything_and_changes_nothing() -> None:
    log = MemoryLog()
    told = asyncio.run(import_log(log, file_of(events(1200)), dry_run=True))
    assert (told.events, told.dry_run, told.head) == (1200, True, 0)
    assert log.events == []
    broken = file_of(events(1200)).getvalue().replace(b'"position":1100,', b'"position":1101,')
    with pytest.raises(Invalid) as caught:
        asyncio.run(import_log(log, io.BytesIO(broken), dry_run=True))
    assert caught.value.detail["line"] == 1100


def test_an_interrupted_import_goes_on_where_it_stopped() -> None:
    class Failing(MemoryLog):
        left = 2

        async def load(self, events: Sequence[Recorded]) -> None:
            self.left -= 1
            if self.left < 0:
                raise Unavailable("The log cannot answer now.")
            await super().load(events)

    log = Failing()
    with pytest.raises(Unavailable):
        asyncio.run(import_log(log, file_of(events(1700))))
    assert len(log.events) == 2 * transfer.BATCH_EVENTS
    log.left = 100
    told = asyncio.run(import_log(log, file_of(events(1700))))
    assert (told.events, told.resumed, told.head) == (1700, 1000, 1700)
    assert log.events == events(1700)
    again = asyncio.run(import_log(log, file_of(events(1700))))
    assert (again.events, again.resumed) == (1700, 1700)


def test_a_log_that_holds_something_else_is_left_alone() -> None:
    for there, wanted in [(events(3), 4), (events(700), 2)]:
        log = log_of(there)
        other = [one if one.position != 2 else one._replace(actor="somebody else") for one in events(wanted)]
        with pytest.raises(Refused) as caught:
            asyncio.run(import_log(log, file_of(other)))
        assert caught.value.code == "log_not_empty"
        assert caught.value.detail["position"] == 2
        assert log.events == there


def test_a_log_longer_than_the_file_is_refused() -> None:
    log = log_of(events(5))
    with pytest.raises(Refused) as caught:
        asyncio.run(import_log(log, file_of(events(3))))
    assert caught.value.detail["position"] == 4
    with pytest.raises(Refused):
        asyncio.run(import_log(log, io.BytesIO(b"")))


def test_lines_may_come_from_anywhere_and_end_as_on_windows() -> None:
    def lines() -> Iterator[bytes]:
        for one in events(3):
            yield event_line(one) + b"\r\n"
        yield b"\r\n"

    log = MemoryLog()
    assert asyncio.run(import_log(log, lines())).events == 3
    assert log.events == events(3)
    assert asyncio.run(import_log(MemoryLog(), io.BytesIO(b""))).events == 0
