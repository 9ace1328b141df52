"""The sample project in a real studio: everything it promises is there, and loading it again changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from commands.operations.ledger import GrantCredits
from commands.story.scene import CreateScene, DeleteScene
from domain.errors import Refused
from services.demo import DemoAccount, load_demo
from services.studio import Asker, Studio

SCENE = "the-tide-clerk"


async def seen(studio: Studio, view: str, **asked: Any) -> Any:
    declared = studio.registry.views[view]
    asked = {"project": "demo", "min_position": await studio.log.head(), **asked}
    return await studio.look(declared, declared.query.model_validate(asked))


async def checked(studio: Studio, account: DemoAccount) -> None:
    """What people see of the loaded project."""
    scenes = await seen(studio, "ListScenes")
    assert {one["id"] for one in scenes["items"]} == set(account.scenes)
    main = await seen(studio, "ShowScene", scene_id=SCENE)
    branch = await seen(studio, "ShowScene", scene_id=SCENE, worldline="the-dry-can")
    texts = [{node["id"]: node.get("text") for node in one["nodes"]} for one in (main, branch)]
    assert {name for name in texts[0] | texts[1] if texts[0].get(name) != texts[1].get(name)} == {
        *account.differences["the-dry-can"]["added"], *account.differences["the-dry-can"]["edited"],
        *account.differences["main"]["edited"],
    }
    world = await seen(studio, "ShowWorld", world_id="saltmere")
    assert {place["art"]["asset"] for place in world["locations"].values()} <= set(account.assets.values())
    for id_ in account.characters:
        character = await seen(studio, "ShowCharacter", character_id=id_)
        assert character["expressions"]["glad"]["asset"] == account.assets[f"art/{id_}_glad.png"]
        assert character["card"]["data"]["name"] == character["name"]
        assert sum(lora["weight"] for lora in character["loras"].values()) > 1
        found = await seen(studio, "CharacterScenes", character_id=id_)
        assert SCENE in {one["scene_id"] for one in found["items"]}
    order = await seen(studio, "ShowTimelineDocument", timeline_id="main")
    assert {entry["scene"] for entry in order["entries"]} == set(account.scenes)
    drawn = [node for node in main["nodes"] if any("weight" in choice for choice in node.get("choices", []))]
    assert {node["type"] for node in drawn} == {"chance"}
    named = {cue["asset"] for node in main["nodes"] for cue in node.get("directives", []) if cue.get("asset")}
    assert named <= set(account.assets.values())
    assets = await seen(studio, "ListAssets", limit=100)
    assert {one["uid"] for one in assets["items"]} == set(account.assets.values())
    for one in assets["items"]:
        assert await studio.blobs.head(one["digest"]) is not None
    ledger = await seen(studio, "ShowAccount", account="saltmere")
    assert ledger["balance"] == account.credits["balance"] == 10_520_000
    assert ledger["reserved"] == 0


async def asked_for(studio: Studio) -> int:
    """Events of the log: all of them follow from what steps asked for."""
    return sum([len(batch) async for batch in studio.log.read()])


def test_the_sample_project_is_loaded_once_and_for_all(studio_factory: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with studio_factory() as opened:
            studio: Studio = opened.studio
            steps: list[tuple[int, int]] = []
            account = await load_demo(studio, lambda done, total: steps.append((done, total)))
            assert account.recorded == await asked_for(studio)
            assert await studio.log.head() == account.position
            assert steps[-1] == (len(account.steps), len(account.steps)), "progress ends at its end"
            assert [one.refused for one in account.steps if one.refused] == [
                "insufficient_credits", "acknowledgement_missing", "policy_blocked"]
            assert account.worldlines == ["main", "the-dry-can"]
            assert account.characters == {"mara": "Mara", "ivo": "Ivo"}
            await checked(studio, account)

            again = await load_demo(studio)
            assert (again.recorded, again.position) == (0, account.position)
            assert await studio.log.head() == account.position
            await checked(studio, again)

    asyncio.run(scenario())


def test_what_people_did_since_is_left_alone(studio_factory: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with studio_factory() as opened:
            studio: Studio = opened.studio
            await load_demo(studio)
            me = Asker("somebody")
            await studio.ask(DeleteScene(scene_id="the-logbook"), me, project="demo")
            await studio.ask(GrantCredits(account="saltmere", amount=10**9), me, project="demo")
            head = await studio.log.head()
            again = await load_demo(studio)
            assert (again.recorded, await studio.log.head()) == (0, head)
            assert any("nobody buys one" in one.sentence for one in again.steps)
            assert (await seen(studio, "ShowAccount", account="saltmere"))["balance"] == 10_520_000 + 10**9

    asyncio.run(scenario())


def test_an_interrupted_loading_goes_on(studio_factory: Callable[..., Any]) -> None:
    class Interrupted(Exception):
        pass

    async def scenario() -> None:
        async with studio_factory() as opened:
            studio: Studio = opened.studio

            def stop(done: int, total: int) -> None:
                if done == 27:
                    raise Interrupted

            try:
                await load_demo(studio, stop)
            except Interrupted:
                half = await asked_for(studio)
            account = await load_demo(studio)
            assert account.recorded == await asked_for(studio) - half
            await checked(studio, account)

    asyncio.run(scenario())


def test_a_project_of_that_name_that_is_another_is_not_written_over(studio_factory: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with studio_factory() as opened:
            nodes = [{"id": "a", "text": "mine", "end": True}]
            mine = CreateScene.model_validate({"id": SCENE, "start": "a", "nodes": nodes})
            await opened.studio.ask(mine, Asker("somebody"), project="demo")
            with pytest.raises(Refused) as caught:
                await load_demo(opened.studio)
            assert caught.value.code == "scene_exists"
            assert (await load_demo(opened.studio, project="demo-2")).recorded > 40

    asyncio.run(scenario())
