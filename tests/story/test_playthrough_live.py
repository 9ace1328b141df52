"""Playthroughs on a running studio: repeated, raced, edited under, restarted, rebuilt and killed."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from door import Door, door, run
from fixtures_studio import RunningServer, StudioFactory
from playing_stories import HOME, PIER

from commands.story.playthrough_asks import AdvancePlaythrough, MakeChoice, StartPlaythrough
from commands.story.save import SavePlaythrough
from commands.story.scene import CreateScene, EditNode
from services.replaying import judged, recording
from services.studio import Asker

DEMO = {"project": "demo"}


async def written(here: Door) -> None:
    for scene in (PIER, HOME):
        assert (await here.client.post("/api/scenes", json=scene, params=DEMO)).status_code == 201


async def ask(here: Door, path: str, body: Any, status: int = 200, **given: Any) -> dict[str, Any]:
    answer = await here.client.post(f"/api/playthroughs{path}", json=body, params=DEMO, **given)
    assert answer.status_code == status, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def look(here: Door, path: str, **params: Any) -> Any:
    answer = await here.client.get(path, params={**DEMO, **params})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_story_is_played_through_the_door() -> None:
    async def scenario() -> None:
        async with door() as here:
            await written(here)
            begun = await ask(here, "", {"playthrough_id": "p", "seed": 1000, "title": "First"}, 201)
            assert begun["moment"]["text"] == "You came."
            asked = await ask(here, "/p/advance", {"to": "question"})
            assert [one["label"] for one in asked["moment"]["offered"]] == ["Stay", "Leave"]
            ended = await ask(here, "/p/choose", {"choice": "stay", "go_on": True})
            assert [one["type"] for one in ended["events"]] == ["ChoiceMade", "StoryAdvanced", "EndReached"]
            shown = await look(here, "/api/playthroughs/p", min_position=ended["position"])
            assert (shown["step"], shown["finished"], shown["moment"]["text"]) == (4, True, "Lamps.")
            assert shown["variables"] == {"luck": 1.0, "mood": {"mara": "glad", "sea": "calm"}}
            history = await look(here, "/api/playthroughs/p/history")
            assert [one["what"] for one in history["items"]] == [
                "began", "continued", "chosen", "drawn", "entered", "end",
            ]
            first = await look(here, "/api/playthroughs/p/history", limit=4)
            rest = await look(here, "/api/playthroughs/p/history", cursor=first["next"])
            assert [*first["items"], *rest["items"]] == history["items"]
            trace = await look(here, "/api/playthroughs/p/trace")
            assert [one["chosen"] for one in trace["steps"]] == ["ask", "stay", "tails", None, None]
            assert (await look(here, "/api/playthroughs"))["items"][0]["id"] == "p"
            assert (await look(here, "/api/playthroughs", finished="false"))["items"] == []

    run(scenario)


def test_a_repeated_request_takes_one_step_and_a_raced_one_is_told() -> None:
    async def scenario() -> None:
        async with door() as here:
            await written(here)
            await ask(here, "", {"playthrough_id": "p"}, 201)
            keyed = {"headers": {"Idempotency-Key": "one"}}
            first = await ask(here, "/p/advance", {}, **keyed)
            assert await ask(here, "/p/advance", {}, **keyed) == first
            one, other = await asyncio.gather(*(
                here.client.post("/api/playthroughs/p/choose", json={"choice": choice, "at_step": 1}, params=DEMO)
                for choice in ("stay", "leave")
            ))
            assert sorted((one.status_code, other.status_code)) == [200, 409]
            lost = one if one.status_code == 409 else other
            assert lost.json()["error"] in ("play_moved_on", "choice_unavailable")
            dry = await here.client.post(
                "/api/playthroughs/p/back", json={}, params={**DEMO, "dry_run": "true"}
            )
            assert dry.json()["would"][0]["type"] == "PlayRolledBack"
            assert (await look(here, "/api/playthroughs/p"))["step"] == 2

    run(scenario)


def test_what_a_point_of_view_cannot_know_is_not_shown_to_it() -> None:
    async def scenario() -> None:
        async with door() as here:
            await written(here)
            await here.ask("DeclareVariable", {
                "scope": "session", "name": "secret.love", "default": "Ivo", "known_to": ["mara"],
            }, status=201)
            for pov, seen in (("ivo", {"secret": {}}), ("mara", {"secret": {"love": "Ivo"}})):
                begun = await ask(here, "", {"pov": pov}, 201)
                shown = await look(here, f"/api/playthroughs/{begun['id']}", min_position=begun["position"])
                assert shown["variables"] == {"coins": 2, **seen}
                everything = await look(here, f"/api/playthroughs/{begun['id']}", everything="true")
                assert everything["variables"]["secret"] == {"love": "Ivo"}

    run(scenario)


def test_a_replay_is_asked_step_by_step() -> None:
    async def scenario() -> None:
        async with door() as here:
            await written(here)
            await ask(here, "", {"playthrough_id": "p", "seed": 1000}, 201)
            await ask(here, "/p/advance", {})
            await ask(here, "/p/choose", {"choice": "stay", "go_on": True})
            started = (await here.client.post("/replay/start", json={"playthrough_id": "p"}, params=DEMO)).json()
            marks, cursor, done = started["steps"], started["cursor"], started["done"]
            while not done:
                body = {"playthrough_id": "p", "cursor": cursor, "steps": 2, "version": started["version"]}
                told = (await here.client.post("/replay/step", json=body, params=DEMO)).json()
                assert told["ok"] is True
                marks, cursor, done = [*marks, *told["steps"]], told["cursor"], told["done"]
            assert [one["how"] for one in marks] == ["began", "continued", "chosen", "drawn", "entered", "end"]
            status = await look(here, "/replay/status", playthrough_id="p")
            assert (status["ok"], status["marks"], status["steps"]) == (True, 6, 4)
            assert status["digest"] == (await look(here, "/api/playthroughs/p/trace"))["digest"]
            early = await look(here, "/replay/status", playthrough_id="p", version=2)
            assert (early["steps"], early["finished"]) == (1, False)
            for body, code in (
                ({"playthrough_id": "nope"}, 404), ({"playthrough_id": "p", "version": 99}, 404), ({}, 422),
                ({"playthrough_id": "p", "version": "1"}, 422),
            ):
                assert (await here.client.post("/replay/start", json=body, params=DEMO)).status_code == code
            beyond = await here.client.post("/replay/step", json={"playthrough_id": "p", "cursor": 99}, params=DEMO)
            assert beyond.json()["error"] == "replay_over"

    run(scenario)


async def _play(opened: Any, id_: str, *, edit_between: bool) -> str:
    """Plays a story whose text is edited meanwhile; the digest of its trace."""
    studio, asker = opened.studio, Asker("reader")
    await studio.ask(StartPlaythrough(playthrough_id=id_, seed=1000, as_of=2), asker, project="demo")
    await studio.ask(AdvancePlaythrough(playthrough_id=id_, to="question"), asker, project="demo")
    if edit_between:
        edit = EditNode(scene_id="pier", node_id="toss", text=f"Edited while {id_} was played.", choices=())
        await studio.ask(edit, Asker("author"), project="demo")
    return await _finish(opened, id_)


async def _finish(opened: Any, id_: str) -> str:
    await opened.studio.ask(
        MakeChoice(playthrough_id=id_, choice="stay", go_on=True), Asker("reader"), project="demo"
    )
    return await _digest(opened, id_)


async def _seen(opened: Any) -> list[Any]:
    """Everything that the views of playthroughs and saves show."""
    await opened.studio.ask(SavePlaythrough(slot="kept", playthrough_id="half"), Asker("reader"), project="demo")
    await opened.counted_everything()
    asked = [("ListPlaythroughs", {}), ("ListSaves", {}), ("ShowSave", {"slot": "kept"})]
    for id_ in ("first", "edited", "half"):
        asked += [(name, {"playthrough_id": id_}) for name in ("ShowPlaythrough", "ListPlaythroughHistory")]
    views = opened.studio.registry.views
    return [await opened.studio.look(views[name], views[name].query(project="demo", **given)) for name, given in asked]


async def _digest(opened: Any, id_: str) -> str:
    verdict = judged(await recording(opened.studio, "demo", id_))
    assert verdict.diverged is None
    assert verdict.finished
    return verdict.trace


def test_the_same_seed_and_choices_lead_to_the_same_whatever_happens_meanwhile(
    studio_factory: StudioFactory, tmp_path: Path
) -> None:
    async def scenario() -> None:
        data = tmp_path / "studio"
        async with studio_factory(data) as opened:
            for scene in (PIER, HOME):
                await opened.studio.ask(CreateScene.model_validate(scene), Asker("author"), project="demo")
            first = await _play(opened, "first", edit_between=False)
            assert await _play(opened, "edited", edit_between=True) == first
            await opened.studio.ask(
                StartPlaythrough(playthrough_id="half", seed=1000, as_of=2), Asker("reader"), project="demo"
            )
            await opened.studio.ask(AdvancePlaythrough(playthrough_id="half"), Asker("reader"), project="demo")
        async with studio_factory(data) as opened:
            assert await _finish(opened, "half") == first
            seen = await _seen(opened)
        for path in data.rglob("*.db*"):
            path.unlink()
        shutil.rmtree(data / "read", ignore_errors=True)
        async with studio_factory(data) as opened:
            await opened.counted_everything()
            assert await _seen(opened) == seen, "a rebuild shows what was shown"
            for id_ in ("first", "edited", "half"):
                assert await _digest(opened, id_) == first
            assert await _play(opened, "rebuilt", edit_between=True) == first

    asyncio.run(scenario())


def test_a_playthrough_goes_on_after_a_kill_as_if_nothing_had_been(
    server_factory: Callable[..., RunningServer]
) -> None:
    server = server_factory()
    with server.client() as client:
        ring = {"id": "ring", "start": "a", "nodes": [
            {"id": "a", "type": "chance", "actions": [{"type": "increment", "key": "rounds"}], "choices": [
                {"id": "on", "target": "a", "weight": 3}, {"id": "over", "target": "b", "weight": 1},
                {"id": "round", "target": "a", "weight": 7, "actions": [{"type": "increment", "key": "luck"}]}]},
            {"id": "b", "choices": [{"target": "a"}]},
        ]}
        assert client.post("/api/scenes", json=ring).status_code == 201
        for id_ in ("whole", "killed"):
            assert client.post("/api/playthroughs", json={"playthrough_id": id_, "seed": 3}).status_code == 201
        for _ in range(30):
            assert client.post("/api/playthroughs/whole/advance", json={"steps": 2}).status_code == 200
        taken = 0
        while taken < 20:
            assert client.post("/api/playthroughs/killed/advance", json={"steps": 2}).status_code == 200
            taken += 1
    killed = server.process
    assert killed is not None
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait(30)
    server.restart()
    with server.client() as client:
        while (step := _step(client)) < 60:
            answer = client.post("/api/playthroughs/killed/advance", json={"steps": 2, "at_step": step})
            assert answer.status_code == 200, answer.text
        one, other = (client.get("/replay/status", params={"playthrough_id": id_}).json()
                      for id_ in ("whole", "killed"))
        assert one["ok"]
        assert other["ok"]
        assert one["digest"] == other["digest"]
        assert one["steps"] == other["steps"] == 60


def _step(client: httpx.Client) -> int:
    position = client.get("/api/log", params={"limit": 1}).json()["head"]
    shown = client.get("/api/playthroughs/killed", params={"min_position": position})
    assert shown.status_code == 200, shown.text
    return int(shown.json()["step"])
