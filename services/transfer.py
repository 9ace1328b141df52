"""The log as a file and back: one event per line, in order, and the same bytes again after a round trip.

Both directions hold a bounded stretch of the log in memory, whatever its length.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator
from typing import BinaryIO, Final, NamedTuple

from domain.errors import Invalid, Refused, Remedy
from domain.ports import Conflict, Log, Recorded
from services.wire import LINE_LIMIT, event_line, parse_line

Report = Callable[[int, int], None]
"""Told (events done, events in all); the second is 0 while nobody knows."""

BATCH_EVENTS: Final = 500
"""Events that are loaded in one atomic batch."""

BATCH_BYTES: Final = 4 * 2**20
"""Bytes of lines after which a batch is closed early."""

EVENT_LIMIT: Final = 2**20
"""Largest body in bytes that a log takes, unless the settings say otherwise (``event_limit``)."""


class Exported(NamedTuple):
    """What was written: ``digest`` is the SHA-256 of the file in hex; ``missing`` the positions that held nothing."""

    events: int
    first: int
    last: int
    size: int
    digest: str
    missing: int


class Imported(NamedTuple):
    """What was read: ``events`` in the file, of them ``resumed`` were in the log already; ``head`` of the log after."""

    events: int
    resumed: int
    head: int
    dry_run: bool


def silent(done: int, total: int) -> None:
    """Tells nobody."""


async def export_log(
    log: Log, out: BinaryIO, *, after: int = 0, upto: int | None = None, pattern: str = "vn.>", report: Report = silent
) -> Exported:
    """Writes the events with ``after < position <= upto`` (the head as it is now, when ``None``), one line each.

    A part of a log, or one project of it by ``pattern``, can be read but not imported.
    """
    head = await log.head()
    end = head if upto is None else min(upto, head)
    digest, events, size, first, last = hashlib.sha256(), 0, 0, 0, after
    async for batch in log.read(after=after, upto=end, pattern=pattern):
        text = b"".join([event_line(recorded) + b"\n" for recorded in batch])
        digest.update(text)
        await asyncio.to_thread(out.write, text)
        first = first or batch[0].position
        events, size, last = events + len(batch), size + len(text), batch[-1].position
        report(last - after, end - after)
    await asyncio.to_thread(out.flush)
    missing = max(0, end - after) - events if pattern == "vn.>" else 0
    return Exported(events, first, last if events else 0, size, digest.hexdigest(), missing)


async def import_log(
    log: Log, lines: Iterable[bytes], report: Report = silent, *, event_limit: int = EVENT_LIMIT, total: int = 0,
    dry_run: bool = False,
) -> Imported:
    """Loads a whole exported log into an empty one: same order, positions, ids and times.

    ``lines`` is a file opened for reading bytes, or any iterable of lines. An import that was interrupted goes on
    when what the log holds is the beginning of the file. ``dry_run`` checks every line and changes nothing; else a
    bad line stops the import, the lines before it are in the log, and a mended file goes on from there.

    Raises ``Invalid`` for a line that is no event or out of order, ``Refused`` when the log holds something else.
    """
    head = await log.head()
    standing = _standing(log, head)
    events = 0
    try:
        async for batch in _batches(lines, event_limit):
            new = batch
            if batch[0].event.position <= head:
                new = await _unlike(batch, standing, head)
            if new and not dry_run:
                await _load(log, [one.event for one in new])
            events += len(batch)
            report(events, total)
    finally:
        await standing.aclose()
    if events < head:
        raise _occupied(f"it holds {head} events and the file {events}", events + 1)
    return Imported(events, head, head if dry_run else max(head, events), dry_run)


async def read_lines(lines: Iterable[bytes]) -> AsyncIterator[list[Recorded]]:
    """The events of an exported file in batches, each line checked; raises ``Invalid`` as ``import_log``."""
    async for batch in _batches(lines, LINE_LIMIT):
        yield [line.event for line in batch]


class _Line(NamedTuple):
    number: int
    event: Recorded


async def _batches(lines: Iterable[bytes], event_limit: int) -> AsyncIterator[list[_Line]]:
    source = _checked(_numbered(lines), event_limit)
    while batch := await asyncio.to_thread(_take, source):
        yield batch


def _numbered(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    # Read by pieces of bounded size: a file that is one endless line must not be held in memory.
    readline = getattr(lines, "readline", None)
    source = iter(lambda: readline(LINE_LIMIT + 2), b"") if readline else iter(lines)
    for number, line in enumerate(source, start=1):
        if not isinstance(line, bytes):
            raise TypeError("the lines of a log are bytes: open its file with mode 'rb'")
        if line.strip():
            yield number, line.rstrip(b"\r\n")


def _checked(lines: Iterator[tuple[int, bytes]], event_limit: int) -> Iterator[tuple[_Line, int]]:
    expected = 1
    for number, line in lines:
        event = parse_line(line, number=number)
        if event.position != expected:
            raise _out_of_order(number, event.position, expected)
        if len(event.data) > event_limit:
            raise Invalid(
                f"Line {number}: the event at position {event.position} has a body of {len(event.data)} bytes; "
                f"this log takes at most {event_limit}.",
                error="event_too_large",
                remediation=[Remedy("Raise COMFYVN_EVENT_LIMIT to what the other studio allowed.", "raise_limit")],
                detail={"line": number, "position": event.position, "size": len(event.data), "limit": event_limit},
            )
        expected += 1
        yield _Line(number, event), len(line)


def _take(source: Iterator[tuple[_Line, int]]) -> list[_Line]:
    batch: list[_Line] = []
    size = 0
    for line, length in source:
        batch.append(line)
        size += length
        if len(batch) >= BATCH_EVENTS or size >= BATCH_BYTES:
            break
    return batch


async def _standing(log: Log, head: int) -> AsyncGenerator[Recorded, None]:
    """Every event that was in the log when the import began."""
    if head:
        async for batch in log.read(upto=head):
            for recorded in batch:
                yield recorded


async def _unlike(batch: list[_Line], standing: AsyncIterator[Recorded], head: int) -> list[_Line]:
    """The lines that are not in the log yet; raises ``Refused`` when the log holds something else at a line's place."""
    for index, line in enumerate(batch):
        if line.event.position > head:
            return batch[index:]
        there = await anext(standing, None)
        if there != line.event:
            raise _occupied(f"its position {line.event.position} is not what line {line.number} says",
                            line.event.position)
    return []


async def _load(log: Log, events: list[Recorded]) -> None:
    try:
        await log.load(events)
    except Conflict as conflict:
        raise Refused(
            f"Somebody else wrote to the log while position {events[0].position} was being imported.",
            error="log_in_use",
            remediation=[Remedy("Stop other studios on this log, empty it, import again.", "stop_holder")],
            detail={"position": events[0].position},
        ) from conflict


def _out_of_order(number: int, position: int, expected: int) -> Invalid:
    if position == expected - 1:
        what, code = f"position {position} stands there twice", "position_twice"
    elif position < expected:
        what, code = f"position {position} comes after position {expected - 1}", "positions_out_of_order"
    elif expected == position - 1:
        what, code = f"position {expected} is missing", "position_missing"
    else:
        what, code = f"positions {expected} to {position - 1} are missing", "position_missing"
    return Invalid(
        f"Line {number}: {what}.",
        error=code,
        remediation=[Remedy("Import a whole file as `comfyvn log export` wrote it, without --after.", "export_again")],
        detail={"line": number, "position": position, "expected": expected},
    )


def _occupied(why: str, position: int) -> Refused:
    return Refused(
        f"A log can only be imported into an empty one, or go on with the same import; this log is neither: {why}.",
        error="log_not_empty",
        remediation=[Remedy("Import into a new data folder.", "choose_data_folder")],
        detail={"position": position},
    )
