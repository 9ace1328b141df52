"""Playthroughs recorded by earlier releases are played again by today's runner, to the same digest."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from story_reading import Telling

from adapters.memory.log import MemoryLog
from domain.ports import Commit, Proposed, Recorded
from domain.story.play import recorded, story, trace_digest
from domain.story.replaying import Replay
from projections.boards.story import story_content
from services.registry import REGISTRY
from services.wire import parse_line

STREAM = Path(__file__).with_name("playthrough-0.2.jsonl")

DIGESTS = {
    "first": "sha256:60686e1a410a2e15bd31bbe33f0006403fd910986ae2f39c47c3051e893a075d",
    "second": "sha256:332f1b8b0c3a4d74745d83cec45b577e348ff734a173a325db3449e7e05488f5",
    "third": "sha256:ca6629bec071dc396bcfa084ff6684b9e2b0fe3c5c703169456e0c9c4cc86660",
}


def stored() -> list[Recorded]:
    return [parse_line(line, number=number) for number, line in enumerate(STREAM.read_bytes().splitlines(), start=1)]


async def kept(events: list[Recorded]) -> MemoryLog:
    log = MemoryLog()
    heads: dict[object, int] = {}
    for one in events:
        proposed = Proposed(
            one.type, one.schema, one.data, one.event_id, one.version, one.time, one.actor, one.command_id,
            one.request, one.correlation_id, one.causation_id,
        )
        (heads[one.stream],) = await log.append([Commit(one.stream, heads.get(one.stream, 0), (proposed,))])
    return log


@pytest.mark.parametrize("playthrough", sorted(DIGESTS))
def test_a_stored_play_takes_the_path_that_it_took(playthrough: str, tmp_path: Path) -> None:
    events = stored()
    telling = Telling(tmp_path)
    telling.log = asyncio.run(kept(events))
    telling.count()
    happened: list[Any] = [REGISTRY.decode(one) for one in events
                           if (one.stream.category, one.stream.id) == ("playthrough", playthrough)]
    pin = happened[0].pin
    with telling.models.reader() as reader:
        told = story(story_content(reader, "demo", pin.worldline, pin.position, pin.timeline, pin.scene))
    replay = Replay(told)
    assert [mark.differs for mark in replay.marks(happened) if mark.differs] == []
    assert trace_digest(recorded(told, replay.path)) == DIGESTS[playthrough]
