"""What a listener wants, and how it gets it from any position of the log and on into the future."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final

from domain.ids import UNBRANCHED, token
from domain.ports import Recorded
from gateways.http.gate import Pass
from gateways.http.hub import Behind, Hub, Subscription
from gateways.http.problems import in_future, wrong_fields
from gateways.http.ring import CHUNK_BYTES, Chunk, Entry, Wanted
from services.studio import Studio

SCOPE: Final = "log:read"

FILTERS: Final = ("project", "worldline", "category", "id", "event")

PARAMETERS: Final = frozenset({*FILTERS, "after", "access_token"})

NAMES_LIMIT: Final = 50
"""Most names in one filter."""

PAST: Final = 100
"""Events of the past that are read at a time: everybody else waits that long."""

Send = Callable[[Any], Any]
"""How an ASGI app speaks to its client."""


def read_wanted(given: Mapping[str, Any]) -> Wanted:
    """Filters from parameters or a message."""
    return Wanted(**read_names(given, FILTERS, _name))


def read_names(
    given: Mapping[str, Any], filters: Sequence[str], checked: Callable[[str, str], str],
) -> dict[str, frozenset[str]]:
    """The names under each filter: parted by commas, or a list where a message gives one.

    ``checked`` takes the filter and one name, and gives the name; its ``ValueError`` says what is wrong with it.
    """
    sets, wrong = {}, []
    for name in filters:
        value = given.get(name)
        if value is None:
            continue
        names = value.split(",") if isinstance(value, str) else value
        if not isinstance(names, list) or not 1 <= len(names) <= NAMES_LIMIT:
            wrong.append({"path": name, "message": f"1 to {NAMES_LIMIT} names are needed"})
        elif not all(isinstance(one, str) for one in names):
            wrong.append({"path": name, "message": "names are texts"})
        else:
            try:
                sets[name] = frozenset(checked(name, one) for one in names)
            except ValueError as error:
                wrong.append({"path": name, "message": str(error)})
    if wrong:
        raise wrong_fields("The filter", "invalid_parameters", wrong)
    return sets


def _name(kind: str, text: str) -> str:
    return text if kind == "worldline" and text == UNBRANCHED else token(text)


def read_after(value: Any) -> int | None:
    """A position from a parameter or a message."""
    if value is None:
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 18:
        return int(value)
    if type(value) is int and 0 <= value < 10**18:
        return value
    raise wrong_fields("The position", "invalid_parameters", [
        {"path": "after", "message": "a position, a whole number from 0, is needed"}
    ])


def check_scope(passed: Pass, wanted: Wanted) -> None:
    """Raises ``Denied`` unless everything wanted may be read; no filter means every project."""
    projects: list[str | None] = [*sorted(wanted.project)] or [None]
    for project in projects:
        passed.need(SCOPE, project)


async def subscribed(studio: Studio, hub: Hub, wanted: Wanted, after: int | None) -> Subscription:
    """A subscription; raises ``Invalid`` for a position that has not happened, ``Unavailable`` without a log."""
    await hub.ready()
    await check_after(studio, hub, after)
    return hub.subscribe(wanted, after)


async def check_after(studio: Studio, hub: Hub, after: int | None) -> None:
    """Raises ``Invalid`` for a position that has not happened."""
    if after is not None and after > hub.head:
        head = await studio.log.head()
        if after > head:
            raise in_future("after", after, head)


async def chunks(studio: Studio, hub: Hub, subscription: Subscription) -> AsyncIterator[Chunk | None]:
    """Everything wanted, first from the log as far as the ring does not reach, then live; ``None`` is a heartbeat."""
    while True:
        turn = subscription.turn
        while subscription.cursor < hub.floor and subscription.turn == turn:
            if subscription.closed is not None:
                raise Behind(subscription.cursor, subscription.closed)
            async for chunk in _past(studio, hub, subscription):
                yield chunk
        # Once live, a subscriber that falls off the ring is too slow: ``next`` says so.
        while subscription.turn == turn:
            yield await subscription.next()


async def _past(studio: Studio, hub: Hub, subscription: Subscription) -> AsyncIterator[Chunk]:
    wanted, turn, upto = subscription.wanted, subscription.turn, hub.head

    def ended() -> bool:
        return subscription.turn != turn or subscription.closed is not None

    reading = studio.log.read(after=subscription.cursor, upto=upto, pattern=wanted.pattern, batch=PAST)
    async with aclosing(reading) as batches:  # type: ignore[type-var]
        while True:
            # Few read at a time, and nobody while its client is slow: after a restart everybody comes at once.
            async with hub.reading:
                batch = await anext(batches, None)
                told = [] if batch is None else await _told(batch, wanted)
            if batch is None:
                break
            for chunk in told:
                if ended():
                    return
                subscription.cursor = chunk.upto
                if chunk.entries:
                    yield chunk
            if ended():
                return
    if not ended():
        subscription.cursor = max(subscription.cursor, upto)


async def _told(batch: Sequence[Recorded], wanted: Wanted) -> list[Chunk]:
    """What is wanted of a batch, in chunks; the last one reaches to its end. Others get their turn in between."""
    chunks, found, size = [], [], 0
    for number, recorded in enumerate(batch, start=1):
        if wanted.matches(recorded.stream, recorded.type):
            found.append(Entry.of(recorded))
            size += len(found[-1].frame)
        if size >= CHUNK_BYTES or number == len(batch):
            chunks.append(Chunk.of(found, recorded.position))
            found, size = [], 0
        if number % 50 == 0:
            await asyncio.sleep(0)
    return chunks
