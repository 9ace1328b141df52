"""A replay is played once, however it is walked through, and goes on when the play does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from door import Door, door, run
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import Invalid, NotFound
from domain.story.dice import Dice
from domain.story.play import At, Station, recorded, story, trace_digest
from domain.story.replaying import Replay
from services.replay_digests import TraceDigest
from services.replay_tapes import Tapes
from services.replaying import judged, recording, traced

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


def test_a_verdict_plays_what_was_never_played_and_says_what_playing_everything_says() -> None:
    async def scenario() -> None:
        async with door() as here:
            await begun(here)
            tapes = Tapes(here.studio)
            tape, early = await tapes.tape("demo", "p")
            tape.marked(early, 0, 30)
            first = tape.judged(early)
            assert first == tape.judged(early, anew=True) == judged(tape.recording(early))
            assert first.diverged is None
            assert tape.judged(early) is first, "nothing is played or hashed for a second answer"
            known = list(tape.marks)
            versions = [early]
            for path, body in (("/p/advance", {"steps": 3}), ("/p/back", {"to_step": 20}), ("/p/advance", {"steps": 1}),
                               ("/p/back", {"to_step": 0}), ("/p/advance", {"steps": 90})):
                await asked(here, path, body)
                tape, version = await tapes.tape("demo", "p")
                assert tape.judged(version) == judged(tape.recording(version))
                assert tape.traced(version) == traced(tape.recording(version))
                assert tape.traced(version)[1] == tape.judged(version).trace
                versions.append(version)
            assert all(one is other for one, other in zip(known, tape.marks, strict=False)), "no mark was played twice"
            for version in versions:
                assert tape.judged(version) == judged(tape.recording(version))

    run(scenario)


def test_the_door_answers_from_what_was_played_and_plays_everything_when_it_is_asked_to() -> None:
    async def scenario() -> None:
        async with door() as here:
            await begun(here)
            told = {"project": "demo", "playthrough_id": "p"}
            first = (await here.client.get("/replay/status", params=told)).json()
            assert first["ok"]
            assert first["finished"] is False
            for more in ({}, {"anew": "true"}, {"version": str(first["version"])}):
                assert (await here.client.get("/replay/status", params=told | more)).json() == first
            wrong = await here.client.get("/replay/status", params=told | {"anew": "maybe"})
            assert (wrong.status_code, wrong.json()["error"]) == (422, "invalid_parameters")
            await asked(here, "/p/advance", {"steps": 1})
            after = (await here.client.get("/replay/status", params=told)).json()
            assert (after["steps"], after["marks"]) == (first["steps"] + 1, first["marks"] + 1)
            assert after == (await here.client.get("/replay/status", params=told | {"anew": "true"})).json()

    run(scenario)


STORY = story({"id": "s", "entries": [{"id": "e", "scene": "loop"}], "scenes": {"loop": LOOP}, "variables": {}})


def moment_at(step: int, salt: int) -> At:
    return At(0, "loop", "ab"[step % 2], {"step": step, "salt": salt}, Dice(1, 1, 0), "")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 150)), max_size=8))
def test_a_digest_that_grows_is_that_of_the_whole_trace(turns: list[tuple[int, int]]) -> None:
    """Each turn goes back to a moment and goes on from there for some more."""
    growing = TraceDigest(STORY)
    path: list[Station] = []
    for kept, more in turns:
        del path[kept:]
        path += [(moment_at(len(path) + step, kept), None) for step in range(more)]
        assert growing.of(path) == trace_digest(recorded(STORY, path))
        assert growing.of(path) == trace_digest(recorded(STORY, path)), "asked again it is the same"
