"""Words of the log's tests: streams, events and reading, the same for every log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from itertools import count
from typing import Any

from domain.ports import Log, Proposed, Recorded, Stream

_numbers = count(1)


def stream(name: str = "opening", project: str = "demo", category: str = "scene") -> Stream:
    """A stream on the main worldline."""
    return Stream(project, "main", category, name)


def event(version: int = 1, **changes: Any) -> Proposed:
    """An event that is like no other."""
    number = next(_numbers)
    proposed = Proposed(
        "SceneOpened", 1, b'{"title":"Harbour"}', f"event-{number}", version, "2026-01-02T03:04:05.678Z", "author",
        f"command-{number}", "request", f"correlation-{number}", "",
    )
    return proposed._replace(**changes)


def events(number: int, start: int = 1) -> tuple[Proposed, ...]:
    """Events with the versions from ``start`` on."""
    return tuple(event(start + index) for index in range(number))


async def everything(log: Log, **options: Any) -> list[Recorded]:
    """All that ``read`` gives."""
    return [one async for batch in log.read(**options) for one in batch]


async def taken(source: AsyncIterator[list[Recorded]], number: int) -> list[Recorded]:
    """The first so many events of a stream of batches, which is closed then."""
    found: list[Recorded] = []
    async with aclosing(source) as batches:  # type: ignore[type-var]
        async for batch in batches:
            assert batch, "an empty batch tells nothing"
            found += batch
            if len(found) >= number:
                break
    return found
