"""Loading recorded events into the log exactly as they were, each at its own position.

The first message of a batch says where the whole stream must end, so a batch lands at its positions or not at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from secrets import token_urlsafe
from typing import Final

import orjson

from adapters.nats import wire
from adapters.nats.connection import Connection, Lost, Unanswered
from adapters.nats.reading import Reader
from domain.errors import ComfyVNError, Invalid, Remedy, Unavailable
from domain.ports import Conflict, Proposed, Recorded

MOST: Final = 1000
"""What JetStream takes in one atomic batch."""

WRONG_END: Final = frozenset({10071, 10164, 10201})
FULL: Final = frozenset({10023, 10028, 10047, 10077})
TOO_LARGE: Final = frozenset({10054, 10199})


async def load(
    connection: Connection, reader: Reader, events: Sequence[Recorded], *, event_limit: int, patience_seconds: float
) -> None:
    """Appends events that follow on one another, all or none; see ``domain.ports.Log.load``."""
    if not events:
        return
    messages = _messages(events, event_limit)
    loop = asyncio.get_running_loop()
    end = loop.time() + patience_seconds
    pause = 0.02
    while True:
        reason = await _attempt(connection, messages, events[0].position - 1)
        if reason is None:
            return
        if await _stands(reader, events):
            return
        if loop.time() + pause >= end:
            raise Unavailable(
                f"The log did not take positions {events[0].position} to {events[-1].position} ({reason}).",
                error="log_unreachable",
                remediation=[Remedy("Start the same import again: it goes on where it stopped.", "retry")],
            )
        await asyncio.sleep(pause)
        pause = min(pause * 2, 0.5)
        await connection.ready(end - loop.time())


def _messages(events: Sequence[Recorded], event_limit: int) -> list[tuple[str, bytes, bytes]]:
    first = events[0].position
    if [one.position for one in events] != list(range(first, first + len(events))) or len(events) > MOST:
        raise Invalid(
            f"Up to {MOST} events can be loaded at once, and their positions must have no holes.",
            error="positions_with_holes",
            remediation=[Remedy("Load a whole log from its first event on.", "export_again")],
        )
    for one in events:
        if len(one.data) > event_limit:
            raise _too_large(f"position {one.position} has {len(one.data)} bytes, the limit is {event_limit}")
    return [
        (one.stream.subject, wire.event_headers(one.stream, Proposed(*one[2:])), one.data) for one in events
    ]


async def _attempt(connection: Connection, messages: list[tuple[str, bytes, bytes]], stands_at: int) -> str | None:
    """``None`` when the events are recorded, else why they are not, or may not be."""
    where = b"Nats-Expected-Last-Sequence: %d\r\n" % stands_at
    batch = token_urlsafe(9).encode()
    sent = []
    for index, (subject, headers, body) in enumerate(messages, 1):
        if index == 1:
            headers += where
        if len(messages) > 1:
            headers += b"Nats-Batch-Id: %b\r\nNats-Batch-Sequence: %d\r\n" % (batch, index)
            if index == len(messages):
                headers += b"Nats-Batch-Commit: 1\r\n"
        sent.append((subject, headers, body))
    try:
        if len(sent) == 1:
            subject, headers, body = sent[0]
            _, told = await connection.ask(subject, body, headers, seconds=5)
        else:
            _, told = await connection.ask_batch(sent, seconds=5 + len(sent) / 100)
    except (Lost, Unanswered, TimeoutError) as error:
        return str(error) or "it did not answer"
    return _understood(told)


def _understood(body: bytes) -> str | None:
    try:
        told = orjson.loads(body)
        error = told.get("error")
        code, reason = (error.get("err_code", 0), str(error.get("description", ""))) if error else (0, "")
    except (ValueError, AttributeError):
        return "it gave an answer that is not understood"
    if error is None:
        return None
    if code in FULL:
        raise Unavailable(
            f"The log has no room left ({reason}).",
            error="log_full",
            remediation=[Remedy("Free disk space, then start the same import again: it goes on.", "free_space")],
        )
    if code in TOO_LARGE:
        raise _too_large(reason)
    return "it stands elsewhere" if code in WRONG_END else f"{reason} ({code})"


async def _stands(reader: Reader, events: Sequence[Recorded]) -> bool:
    """Whether exactly these events stand there; raises ``Conflict`` when others do, or the log is shorter."""
    first, last = events[0].position, events[-1].position
    head = await reader.head()
    if head == first - 1:
        return False
    there: list[Recorded] = []
    async for batch in reader.everything(first - 1, min(last, head), wire.EVERYTHING, MOST):
        there += batch
    if there == list(events):
        return True
    raise Conflict([events[0].stream])


def _too_large(what: str) -> ComfyVNError:
    return Invalid(
        f"An event is larger than the log takes: {what}.",
        error="event_too_large",
        remediation=[Remedy("Raise COMFYVN_EVENT_LIMIT to what the other studio allowed.", "raise_limit")],
    )
