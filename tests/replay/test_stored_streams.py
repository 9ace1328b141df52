"""Streams stored by earlier releases fold and project with today's code. A stored stream is never edited.

``<name>.jsonl`` holds one event a line, as ``comfyvn log export`` writes them; ``<name>.views.json``, where there is
one, holds questions and the answers that must come out.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from story_reading import Telling

from adapters.memory.log import MemoryLog
from domain.ports import Commit, Proposed, Recorded
from services.dispatcher import Dispatcher
from services.registry import REGISTRY
from services.wire import event_line, parse_line

FOLDER = Path(__file__).parent
STREAMS = sorted(FOLDER.glob("*.jsonl"))


def stored(path: Path) -> list[Recorded]:
    return [parse_line(line, number=number) for number, line in enumerate(path.read_bytes().splitlines(), start=1)]


async def kept(events: list[Recorded]) -> MemoryLog:
    log = MemoryLog()
    heads: dict[object, int] = {}
    for one in events:
        proposed = Proposed(
            one.type, one.schema, one.data, one.event_id, one.version, one.time, one.actor, one.command_id,
            one.request, one.correlation_id, one.causation_id,
        )
        (position,) = await log.append([Commit(one.stream, heads.get(one.stream, 0), (proposed,))])
        assert position == one.position, "a stored stream is a whole log: its positions have no gaps"
        heads[one.stream] = position
    return log


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
def test_a_stored_stream_is_still_understood(path: Path) -> None:
    events = stored(path)
    assert b"".join(event_line(one) + b"\n" for one in events) == path.read_bytes()
    for one in events:
        assert REGISTRY.decode(one) is not None, f"{one.type} at position {one.position} is not known any more"


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
def test_a_stored_stream_folds_and_projects(path: Path) -> None:
    events = stored(path)

    async def fold() -> None:
        dispatcher = Dispatcher(await kept(events), REGISTRY)
        for stream in {one.stream for one in events}:
            found = await dispatcher.aggregates.load(stream)
            assert found.position == max(one.position for one in events if one.stream == stream)
            adapter = REGISTRY.states[stream.category]
            assert adapter.validate_json(adapter.dump_json(found.state)) == found.state

    asyncio.run(fold())
    for projection in REGISTRY.projections.values():
        counted = [one for one in events
                   if projection.categories is None or one.stream.category in projection.categories]
        for one in counted:
            list(projection.apply(REGISTRY.happened(one)))


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.views.json")), ids=lambda path: path.stem)
def test_views_of_a_stored_stream_answer_as_they_did(path: Path, tmp_path: Path) -> None:
    telling = Telling(tmp_path)
    telling.log = asyncio.run(kept(stored(path.with_name(path.name.replace(".views.json", ".jsonl")))))
    for one in json.loads(path.read_text()):
        answer = telling.look(one["view"], **one["query"])
        assert json.loads(json.dumps(answer)) == one["answer"], f"{one['view']} {one['query']}"


def test_every_event_of_the_story_is_in_a_stored_stream() -> None:
    seen = {one.type for path in STREAMS for one in stored(path)}
    for category in ("scene", "character", "worldline"):
        missing = {event.__name__ for event in REGISTRY.contexts[category].events} - seen
        assert not missing


def test_every_event_type_has_a_stored_example() -> None:
    seen = {one.type for path in STREAMS for one in stored(path)}
    assert sorted(set(REGISTRY.event_types) - seen) == [], "store a stream that holds them before they are released"
