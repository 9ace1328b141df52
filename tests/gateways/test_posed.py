"""Questions with a body and the confirmed switch, at the door: what they answer, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
from door import Door, door, run

SCENE: dict[str, Any] = {
    "id": "intro", "start": "gate", "nodes": [
        {"id": "gate", "speaker": "Mira", "data": {"speaker_id": "mira"}, "choices": [{"target": "road"}],
         "directives": [{"kind": "background", "asset": "pier"}, {"kind": "portrait", "character": "mira"}]},
        {"id": "road", "speaker": "Ivo", "data": {"pov": "ivo"},
         "directives": [{"kind": "portrait", "character": "mira", "position": "left"}]},
    ],
}


async def begun(here: Door) -> None:
    await here.ask("CreateScene", SCENE, status=201)
    await here.fork("dark", status=201)


async def posed(here: Door, path: str, body: Any, status: int = 200, **given: Any) -> Any:
    answer = await here.client.post(path, json=body, params={"project": "demo", **given.pop("params", {})}, **given)
    assert answer.status_code == status, answer.text
    return answer.json()


# --- presentation -------------------------------------------------------------------------------------------------


def test_a_node_is_planned_as_it_is_brought_and_by_its_names() -> None:
    async def scenario() -> None:
        async with door() as here:
            await begun(here)
            brought = await posed(here, "/api/presentation/plan", {
                "scene_state": {"scene_id": "intro", "characters": {"mira": {"portrait": "mira.png"}}, "weather": "x"},
                "node": SCENE["nodes"][0],
            })
            assert [(step["kind"], step["does"], step["asset"]) for step in brought["steps"]] == [
                ("background", "cut", "pier"), ("portrait", "enter", "mira.png"),
            ]
            listed = await posed(here, "/api/presentation/plan", {
                "scene_state": {"scene_id": "intro", "characters": [{"id": "mira", "portrait": "mira.png"}]},
                "node": "gate",
            })
            assert listed["steps"] == brought["steps"]
            named = await posed(here, "/api/presentation/plan", {"scene": "intro", "node": "road", "path": ["gate"]})
            assert (named["before"]["background"], named["steps"][0]["does"]) == ("pier", "move")
            shown = await here.client.get(
                "/api/presentation/plan", params={"project": "demo", "scene": "intro", "node": "road", "path": "gate"}
            )
            assert shown.json() == named
            stage = await posed(here, "/api/presentation/stage", {
                "path": [{"scene": "intro", "node": "gate"}, {"scene": "intro", "node": "road"}],
            })
            assert stage["stage"] == named["after"]
            again = await posed(here, "/api/presentation/plan", {
                "stage": stage["stage"], "scene": "intro", "node": {"id": "x", "directives": []},
            })
            assert again["after"] == stage["stage"]

    run(scenario)


@pytest.mark.parametrize(("body", "status", "error"), [
    ({"node": {"directives": [{"kind": "explode"}]}}, 400, "invalid_directives"),
    ({"node": {"directives": "fade"}}, 400, "invalid_directives"),
    ({"node": {"directives": [{"kind": "camera"}] * 201}}, 400, "invalid_directives"),
    ({"node": "gate"}, 400, "scene_missing"),
    ({"scene": "nowhere", "node": "gate"}, 404, "unknown_scene"),
    ({"scene": "intro", "node": "nowhere"}, 404, "unknown_node"),
    ({"scene": "intro", "node": "road", "path": ["nowhere"]}, 404, "unknown_node"),
    ({"scene": "intro", "node": "gate", "worldline": "nowhere"}, 404, "unknown_worldline"),
    ({"scene": "intro", "node": "gate", "as_of": 10**6}, 400, "position_in_future"),
    ({"scene_state": {"characters": {}}, "node": {}}, 422, "invalid_fields"),
    ({"scene": "intro", "node": "gate", "stage": {"background": 7}}, 422, "invalid_fields"),
    ({"scene": "intro"}, 422, "invalid_fields"), ({"node": 7}, 422, "invalid_fields"),
    ({"node": {}, "colour": "red"}, 422, "invalid_fields"),
    ({"scene": "intro", "node": "gate", "path": ["gate"] * 10_001}, 422, "invalid_fields"),
])
def test_what_cannot_be_planned_is_told_clearly(body: Any, status: int, error: str) -> None:
    async def scenario() -> None:
        async with door() as here:
            await begun(here)
            told = await posed(here, "/api/presentation/plan", body, status)
            assert told["error"] == error
            assert told["remediation"]

    run(scenario)


def test_where_and_when_stand_in_the_address_or_in_the_body() -> None:
    async def scenario() -> None:
        async with door() as here:
            await begun(here)
            path, body = "/api/presentation/plan", {"scene": "intro", "node": "gate"}
            for given in ({"worldline": "dark"}, {"as_of": "1"}, {"min_position": "2"}):
                assert (await posed(here, path, body, params=given))["scene"] == "intro"
            for given in ({"as_of": "x"}, {"colour": "red"}):
                await posed(here, path, body, 422, params=given)
            await posed(here, path, {**body, "worldline": "dark"}, 422, params={"worldline": "dark"})
            for raw in (b"{", b"[]", b'{"scene": "intro", "scene": "x"}', b'{"node": "\\ud800"}', b"\xff"):
                answer = await here.client.post(
                    f"{path}?project=demo", content=raw, headers={"content-type": "application/json"}
                )
                assert answer.status_code in (400, 422), answer.text
            assert (await here.client.post(path, content=b"{}")).status_code == 415

    run(scenario)


# --- points of view -----------------------------------------------------------------------------------------------


def test_candidates_are_found_in_a_document_and_in_the_studio() -> None:
    async def scenario() -> None:
        async with door() as here:
            await begun(here)
            document = {
                "cast": [{"id": "alice", "name": "Alice"}, "bob", {"name": "nobody"}, 7],
                "nodes": [
                    {"id": "a", "metadata": {"pov": "carol", "speaker_id": "alice"}, "pov": "dora", "speaker": "Eve"},
                    {"speaker": "carol"}, "odd", {"speaker": ["x"], "metadata": "y"},
                ],
            }
            told = await posed(here, "/api/pov/candidates", {"scene": document, "debug": True})
            assert told["candidates"] == [
                {"id": "alice", "name": "Alice", "source": "cast"}, {"id": "bob", "name": "bob", "source": "cast"},
                {"id": "carol", "name": "carol", "source": "node.meta"},
                {"id": "dora", "name": "dora", "source": "node"}, {"id": "Eve", "name": "Eve", "source": "node"},
            ]
            assert [one["taken"] for one in told["trace"]] == [True, True, True, False, True, True, False]
            assert told["filters"]["first_wins"]
            stored = await posed(here, "/api/pov/candidates", {"scene_id": "intro"})
            assert [one["id"] for one in stored["candidates"]] == ["mira", "Mira", "ivo", "Ivo"]
            assert await posed(here, "/api/pov/candidates", {"scene": "intro"}) == stored
            assert (await posed(here, "/api/pov/candidates", {}, 400))["error"] == "scene_missing"
            await posed(here, "/api/pov/candidates", {"scene_id": "nowhere"}, 404)
            assert (await posed(here, "/api/pov/candidates", {"scene": {"nodes": {"a": {"pov": "z"}}}}))["candidates"]

    run(scenario)


def test_views_are_set_at_the_old_addresses() -> None:
    async def scenario() -> None:
        async with door() as here:
            await begun(here)
            assert (await posed(here, "/api/pov/set", {"pov": "mira"}, 201))["pov"] == "mira"
            assert (await posed(here, "/api/pov/fork", {"slot": "evening"}))["slot"] == "evening__pov_mira"
            assert (await posed(here, "/api/pov/fork", {"slot": "evening"}))["slot"] == "evening__pov_mira_2"
            await posed(here, "/api/pov/worlds/switch", {"id": "dark"})
            shown = (await here.client.get("/api/pov/get?project=demo")).json()
            assert (shown["pov"], shown["worldline"], shown["history"]) == ("narrator", "dark", ["narrator", "mira"])
            await posed(here, "/api/pov/worlds/main/activate", {})
            await posed(here, "/api/pov/worlds/switch", {"id": "nowhere"}, 404)
            answer = await here.client.delete("/api/pov/worlds/dark?project=demo")
            assert answer.status_code == 200, answer.text
            assert (await posed(here, "/api/pov/worlds/switch", {"id": "dark"}, 409))["error"] == "worldline_archived"

    run(scenario)


# --- the confirmed switch -----------------------------------------------------------------------------------------


def test_a_switch_forks_keeps_a_moment_and_looks_there_all_or_nothing() -> None:
    async def scenario() -> None:
        async with door() as here:
            await begun(here)
            path = "/api/pov/confirm_switch"
            body = {
                "id": "dark", "snapshot": {"scene": "intro", "node": "gate"},
                "fork": {"id": "darker", "lane": "sandbox", "label": "Darker", "notes": "n", "metadata": {"a": 1},
                         "snapshot": {"scene": "intro", "node": "road"}},
            }
            head = await here.studio.log.head()
            dry = await posed(here, path, {**body, "apply": False})
            assert (dry["applied"], await here.studio.log.head()) == (False, head)
            told = await posed(here, path, body, headers={"Idempotency-Key": "k"})
            assert (told["applied"], told["id"], told["forked_from"]) == (True, "darker", "dark")
            assert [one["events"][0]["type"] for one in told["results"]] == [
                "SnapshotTaken", "WorldlineForked", "SnapshotTaken", "WorldlineEntered",
            ]
            again = await posed(here, path, body, headers={"Idempotency-Key": "k"})
            assert again["results"] == told["results"]
            shown = (await here.client.get("/api/pov/get?project=demo")).json()
            assert shown["worldline"] == "darker"
            line = (await here.client.get("/api/pov/worlds/darker?project=demo")).json()
            assert (line["lane"], line["parent_id"], line["label"]) == ("scratch", "dark", "Darker")
            kept = (await here.client.get("/api/snapshots?project=demo&worldline=darker")).json()["items"]
            assert [one["node"] for one in kept] == ["road"]
            # A fork that cannot be made leaves nothing behind, also not the moment before it.
            head = await here.studio.log.head()
            refused = await posed(here, path, {**body, "snapshot": {"scene": "intro", "node": "new"}}, 409)
            assert (refused["error"], await here.studio.log.head()) == ("worldline_exists", head)

    run(scenario)


def test_a_plain_switch_tells_what_differs_there() -> None:
    async def scenario() -> None:
        async with door() as here:
            await begun(here)
            await here.ask("EditNode", {"scene_id": "intro", "node_id": "gate", "text": "x"}, status=200,
                           params={"worldline": "dark"})
            told = await posed(here, "/api/pov/confirm_switch", {"id": "dark", "mask_pov": True})
            assert told["diff"]["scenes"]["changed"] == ["intro"]
            new = await posed(here, "/api/pov/confirm_switch", {"id": "calm", "fork": {}})
            assert (new["id"], new["forked_from"]) == ("calm", "main")

    run(scenario)


@pytest.mark.parametrize(("body", "status"), [
    ({}, 422), ({"id": 7}, 422), ({"id": "dark", "fork": "yes"}, 422),
    ({"id": "dark", "fork": {"lane": "purple"}}, 422),
    ({"id": "dark", "fork": {"colour": 1}}, 422), ({"id": "dark", "snapshot": {"node": "gate"}}, 422),
    ({"id": "dark", "snapshot": []}, 422), ({"id": "nowhere"}, 404), ({"id": "dark", "fork": {}}, 409),
    ({"id": "x", "fork": {"source": "nowhere"}}, 404), ({"id": "../x"}, 422), ({"id": "dark", "apply": "yes"}, 422),
])
def test_a_switch_that_makes_no_sense_is_refused(body: Any, status: int) -> None:
    async def scenario() -> None:
        async with door() as here:
            await begun(here)
            head = await here.studio.log.head()
            told = await posed(here, "/api/pov/confirm_switch", body, status)
            assert told["error"]
            assert await here.studio.log.head() == head

    run(scenario)


def test_a_bio_is_suggested_at_the_door() -> None:
    async def scenario() -> None:
        async with door() as here:
            await begun(here)
            told = await posed(here, "/api/pov/auto_bio_suggest", {"world": "dark", "mask_pov": True})
            assert (told["world"]["id"], told["suggestions"][0]["source"]) == ("dark", "diff")
            await posed(here, "/api/pov/auto_bio_suggest", {}, 422)
            await posed(here, "/api/pov/auto_bio_suggest", {"world": "nowhere"}, 404)

    run(scenario)
