"""A replay is played once, however it is walked through, and goes on when the play does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from door import Door, door, run

from domain.errors import Invalid, NotFound
from domain.story.replaying import Replay
from services.replay_tapes import Tapes
from services.replaying import recording

LOOP = {"id": "loop", "start": "a", "nodes": [
    {"id": "a", "text": "On.", "choices": [{"id": "go", "target": "b"}]},
    {"id": "b", "text": "And on.", "choices": [{"id": "back", "target": "a"}]},
]}


async def asked(here: Door, path: str, body: dict[str, Any]) -> Any:
    answer = await here.client.post(f"/api/playthroughs{path}", json=body, params={"project": "demo"})
    assert answer.is_success, answer.text
    return answer.json()


async def begun(here: Door, steps: int = 60) -> None:
    await here.ask("CreateScene", LOOP, status=201)
    await asked(here, "", {"playthrough_id": "p", "seed": 1})
    for _ in range(3):
        await asked(here, "/p/advance", {"steps": steps // 3})


def test_walking_step_by_step_plays_each_step_once() -> None:
    async def scenario() -> None:
        async with door() as here:
            await begun(here)
            tapes = Tapes(here.studio)
            tape, version = await tapes.tape("demo", "p")
            whole = await recording(here.studio, "demo", "p")
            marks = list(Replay(whole.story).marks(whole.events))
            walked: list[Any] = []
            more = True
            while more:
                again, same = await tapes.tape("demo", "p", version)
                assert (again, same) == (tape, version)
                found, more = tape.marked(version, len(walked), 1)
                walked += found
                assert len(tape.marks) <= len(walked) + 20, "nothing is played before it is asked for"
            assert walked == marks
            assert all(one is other for one, other in zip(walked, tape.marked(version, 0, 1000)[0], strict=True))
            with pytest.raises(Invalid):
                tape.marked(version, len(walked) + 1, 1)
            assert tape.marked(version, len(walked), 1) == ([], False)

    run(scenario)


def test_a_play_that_goes_on_is_read_on_and_earlier_versions_stay() -> None:
    async def scenario() -> None:
        async with door() as here:
            await begun(here)
            tapes = Tapes(here.studio)
            tape, early = await tapes.tape("demo", "p")
            before, more = tape.marked(early, 0, 1000)
            assert not more
            await asked(here, "/p/advance", {"steps": 5})
            found = await asyncio.gather(*(tapes.tape("demo", "p") for _ in range(5)))
            assert all(one is tape for one, _ in found)
            late = found[0][1]
            assert late > early
            assert len(tape.events) == len(tape.versions) == len(set(tape.versions)), "what was read is read once"
            assert tape.marked(early, 0, 1000) == (before, False)
            after, _ = tape.marked(late, 0, 1000)
            assert (after[: len(before)], len(after)) == (before, len(before) + 5)
            assert tape.traced(late)[0][: len(tape.traced(early)[0]) - 1] == tape.traced(early)[0][:-1]
            with pytest.raises(NotFound):
                await tapes.tape("demo", "p", late + 1)
            with pytest.raises(NotFound):
                await tapes.tape("demo", "nobody")

    run(scenario)


def test_what_is_not_kept_is_played_again() -> None:
    async def scenario() -> None:
        async with door() as here:
            await begun(here, 6)
            await asked(here, "", {"playthrough_id": "q", "seed": 2})
            tapes = Tapes(here.studio, kept=1)
            first, version = await tapes.tape("demo", "p")
            await tapes.tape("demo", "q")
            second, _ = await tapes.tape("demo", "p")
            assert second is not first
            assert second.marked(version, 0, 100) == first.marked(version, 0, 100)

    run(scenario)
