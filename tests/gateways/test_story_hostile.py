"""The doors of stories, poked with what nobody should send: every answer is clear, soon, and never a 500."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from door import Door, door, run

SECONDS = 30.0
"""Longest wait for one answer; a machine that is busy takes many times what it would take alone."""

DEMO = {"project": "demo"}
NODE = {"id": "a", "text": "Here.", "choices": [{"id": "go", "target": "b"}, {"id": "stay", "target": "a"}]}
END = {"id": "b", "end": True}
SCENE: dict[str, Any] = {"id": "s", "title": "S", "start": "a", "nodes": [NODE, END]}


def clear(answer: httpx.Response) -> httpx.Response:
    """Neither a crash nor a refusal that says nothing."""
    assert answer.status_code < 500, f"{answer.request.url}: {answer.text[:500]}"
    if answer.status_code >= 400:
        told = answer.json()
        assert answer.headers["content-type"] == "application/problem+json", answer.text
        assert all(told[name] for name in ("error", "message", "remediation")), told
        assert "Traceback" not in answer.text
        assert len(answer.content) < 512 * 1024, "a refusal is short"
    return answer


async def asked(here: Door, method: str, path: str, body: Any = None, /, **params: Any) -> httpx.Response:
    content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} if content is not None else {}
    async with asyncio.timeout(SECONDS):
        return clear(await here.client.request(
            method, path, params={**DEMO, **params}, content=content, headers=headers,
        ))


async def refused(here: Door, method: str, path: str, body: Any = None, /, **params: Any) -> str:
    answer = await asked(here, method, path, body, **params)
    assert 400 <= answer.status_code < 500, (path, answer.status_code, answer.text[:300])
    return str(answer.json()["error"])


async def told(here: Door) -> None:
    for name, body in (
        ("CreateScene", SCENE), ("CreateCharacter", {"id": "c", "name": "C", "poses": {"sit": {}}}),
        ("CreateWorld", {"id": "w", "name": "W", "lore": {"x": "y"}}), ("ForkWorldline", {"worldline_id": "fork"}),
        ("CreateTimeline", {"id": "main", "entries": [{"scene": "s"}]}),
        ("DeclareVariable", {"name": "gold", "scope": "session", "type": "integer", "default": 1}),
    ):
        await here.ask(name, body, status=201)
    begun = await asked(here, "POST", "/api/playthroughs", {"playthrough_id": "p", "seed": 1})
    assert begun.status_code == 201


# --- scenes, timelines, templates -------------------------------------------------------------------------------------


def scene(*nodes: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": "x", "start": nodes[0]["id"], "nodes": list(nodes), **more}


def choosing(**choice: Any) -> dict[str, Any]:
    return scene({"id": "a", "choices": [{"target": "a", **choice}]})


BAD_SCENES: dict[str, Any] = {
    "dangling target": choosing(target="nowhere"), "no such start": {**SCENE, "id": "x", "start": "z"},
    "one id twice": scene(END, END),
    "one choice twice": scene({"id": "a", "choices": [{"id": "g", "target": "a"}] * 2}),
    "negative weight": choosing(weight=-1), "text for weight": choosing(weight="3"),
    "true for weight": choosing(weight=True),
    "huge whole weight": choosing(weight=10**400),
    "a condition without key": choosing(conditions=[{"operator": "exists"}]),
    "an unknown operator": choosing(conditions=[{"key": "a", "operator": "like", "value": 1}]),
    "a key of dots": choosing(conditions=[{"key": "a..b", "operator": "exists"}]),
    "no conditions": choosing(conditions=[]),
    "conditions in conditions": choosing(conditions=[{"key": "a", "operator": "in", "value": [], "all": []}]),
    "a path as id": {**SCENE, "id": "../../etc/passwd"}, "a number as id": {**SCENE, "id": 3},
    "no nodes": {**SCENE, "nodes": []},
    "a float for true": scene({"id": "a", "end": 1.0}),
    "a number as text": scene({"id": "a", "actions": [{"type": "increment", "key": "a", "amount": "1"}]}),
    "null for text": scene({"id": "a", "text": None}),
    "a text of 1 MB": scene({"id": "a", "text": "x" * 2**20}),
    "a title of 1 MB": {**SCENE, "id": "x", "title": "t" * 2**20},
    "10,001 nodes": scene(*({"id": f"n{number}"} for number in range(10_001))),
    "a node of 1 MB of data": scene({"id": "a", "data": {"a": "x" * 2**20}}),
    "201 choices": scene({"id": "a", "choices": [{"id": f"c{number}", "target": "a"} for number in range(201)]}),
}


@pytest.mark.parametrize("wrong", BAD_SCENES)
def test_a_scene_that_is_none_is_refused_by_every_door(wrong: str) -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here:
            body = BAD_SCENES[wrong]
            await refused(here, "POST", "/api/scenes", body)
            verdict = await asked(here, "POST", "/api/scenario/validate", {"scene": body})
            assert verdict.status_code >= 400 or verdict.json()["valid"] is False or wrong == "a path as id"
            await refused(here, "POST", "/api/scenario/run/step", {"scene": body})
            assert here.log.events == []

    run(scenario)


@pytest.mark.parametrize("raw", [
    b'{"id":"x","start":"a","nodes":[{"id":"a","choices":[{"target":"a","weight":NaN}]}]}',
    b'{"id":"x","start":"a","nodes":[{"id":"a","choices":[{"target":"a","weight":1e999}]}]}',
    b'{"id":"x","start":"a","nodes":[{"id":"a","text":"\\ud800"}]}',
    b'{"id":"x","id":"y","start":"a","nodes":[{"id":"a"}]}',
    b'{"id":"x","start":"a","nodes":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    b'{"id":"x","start":"a","nodes":[{"id":"a","data":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}]}",
    b'{"id":"x","start":"a","nodes":[{"id":"a","choices":[{"target":"a","conditions":[{"key":"a","operator":"in",'
    b'"value":' + b"[" * 500 + b"]" * 500 + b"}]}]}]}",
], ids=lambda raw: repr(raw[:72]))
def test_json_that_nobody_can_keep_is_refused(raw: bytes) -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here:
            for path in ("/api/scenes", "/api/scenario/validate", "/api/scenario/run/step", "/api/timelines"):
                wrapped = raw if path in ("/api/scenes", "/api/timelines") else b'{"scene":' + raw + b"}"
                answer = await asked(here, "POST", path, wrapped)
                assert answer.status_code >= 400 or answer.json()["valid"] is False, answer.text[:200]
            assert here.log.events == []

    run(scenario)


def test_odd_scenes_that_are_valid_are_kept_played_and_counted() -> None:
    many = [{"id": f"n{number}", "choices": [{"target": f"n{(number + 1) % 10_000}"}]} for number in range(10_000)]
    loop = scene({"id": "a", "choices": [{"target": "a", "weight": 0}, {"id": "y", "target": "a", "weight": 1e308},
                                         {"id": "z", "target": "a", "weight": 5e-324}]})
    texts = "a\x01b \u202eאבג\u202c 👩‍👩‍👧 [x] {b} 100% \"'\\ \x00 \ufffd"

    async def scenario() -> None:
        async with door() as here:
            assert (await asked(here, "POST", "/api/scenes", {**scene(*many), "id": "many"})).status_code == 201
            assert (await asked(here, "POST", "/api/scenes", {**loop, "id": "loop"})).status_code == 201
            assert (await asked(here, "POST", "/api/scenes", scene({"id": "a", "text": texts}))).status_code == 201
            at = await here.studio.log.head()
            shown = await asked(here, "GET", "/api/scenes/x", min_position=at)
            assert shown.json()["nodes"][0]["text"] == texts
            for name in ("many", "loop"):
                body = {"playthrough_id": name, "scene": name, "seed": -(2**63)}
                assert (await asked(here, "POST", "/api/playthroughs", body)).status_code == 201
                gone = await asked(here, "POST", f"/api/playthroughs/{name}/advance", {"steps": 1000})
                assert gone.status_code == 200, gone.text
                tested = await asked(here, "POST", "/api/playtest/run", {"mode": "random", "plays": 2, "scene": name})
                assert tested.status_code in (200, 400, 422), tested.text

    run(scenario)


# --- stale, foreign and deleted things --------------------------------------------------------------------------------


def test_worldlines_that_are_stale_put_away_or_nowhere() -> None:
    async def scenario() -> None:
        async with door() as here:
            await told(here)
            for line in ("nowhere", "..", "a/b", "%00", "x" * 500, ""):
                for method, path, body in (
                    ("GET", "/api/scenes/s", None), ("GET", "/api/project/document", None),
                    ("PATCH", "/api/scenes/s", {"title": "T"}), ("GET", "/api/timelines/main", None),
                    ("POST", "/api/export/renpy/preview", {}), ("GET", "/api/vars/list", None),
                ):
                    await refused(here, method, path, body, worldline=line or "\x00")
            for body in (
                {}, {"source": "nowhere"}, {"source": "main", "target": "nowhere"}, {"source": "main"},
                {"source": "fork", "rule": "mine"}, {"source": "fork", "resolutions": {"a": {"value": 1, "b": 2}}},
                {"source": "fork", "resolutions": [1]}, {"source": "fork", "only": ["nothing/x"]},
            ):
                await refused(here, "POST", "/api/diffmerge/worldlines/merge", body)
            await here.ask("ArchiveWorldline", {"worldline_id": "fork"}, status=200)
            assert await refused(here, "POST", "/api/pov/merge", {"source": "fork"}) == "worldline_archived"
            assert await refused(here, "PATCH", "/api/scenes/s", {"title": "T"}, worldline="fork")
            await refused(here, "GET", "/api/scenes/s", as_of=2**62)
            await refused(here, "GET", "/api/scenes/s", as_of="1e3")

    run(scenario)


def test_plays_and_slots_of_others_of_before_and_of_nowhere() -> None:
    async def scenario() -> None:
        async with door() as here:
            await told(here)
            foreign = {"project": "other"}
            for path, body in (
                ("/api/playthroughs/p/advance", {}), ("/api/playthroughs/p/choose", {"choice": "go"}),
                ("/api/playthroughs/p/back", {}), ("/replay/start", {"playthrough_id": "p"}),
                ("/api/playthroughs/p/load", {"slot": "one"}),
            ):
                answer = clear(await here.client.post(path, json=body, params=foreign))
                assert answer.status_code == 404, (path, answer.text)
            for choice in ("", "nowhere", "\x00", "x" * 129, "b" * 128):
                await refused(here, "POST", "/api/playthroughs/p/choose", {"choice": choice})
            for body in (
                {"steps": 0}, {"steps": -1}, {"steps": 1.0}, {"steps": 10**30}, {"steps": True}, {"at_step": 7},
            ):
                await refused(here, "POST", "/api/playthroughs/p/advance", body)
            for slot in ("..", "a/b", "%2e%2e", "x" * 500, "\x00", " "):
                await refused(here, "GET", f"/api/save/{quote(slot, safe='')}")
                await refused(here, "POST", "/api/playthroughs/p/load", {"slot": slot})
            # Switching worldlines, and editing and deleting what is played, change no play that goes on.
            at = await here.studio.log.head()
            before = (await asked(here, "GET", "/api/playthroughs/p", min_position=at)).json()
            await asked(here, "POST", "/api/pov/worlds/switch", {"id": "fork"})
            await here.ask("DeleteScene", {"scene_id": "s"}, status=200)
            at = await here.studio.log.head()
            after = (await asked(here, "GET", "/api/playthroughs/p", min_position=at)).json()
            assert {name: after[name] for name in ("step", "scene", "node")} == {
                name: before[name] for name in ("step", "scene", "node")}
            gone = await asked(here, "POST", "/api/playthroughs/p/advance", {})
            assert gone.status_code == 200, gone.text
            assert await refused(here, "POST", "/api/playthroughs", {"playthrough_id": "q"}) == "story_incomplete"

    run(scenario)


# --- every door of a story, by its own description --------------------------------------------------------------------

HOSTILE: tuple[Any, ...] = (
    None, "", 0, -1, 2**53 + 1, 2**63, 10**30, 1.5, True, "x" * 100_000, "a\x00b", "\u202e\u200f", "../../etc/passwd",
    "%2e%2e/%00", [], {}, [None], [[]], {"": None}, json.loads("[" * 60 + "]" * 60), ["a"] * 3000, "main", "1e309",
    [1, "1", 1.0, None], [{"id": "x"}, {"id": "x"}], "😀" * 200,
)
IN_PATHS = ("%2E%2E", "%00", "a" * 3000, "-", "%C3%BC", "a%2Fb", "%F0%9F%99%82", "%20", "NaN")
IN_QUERIES = ("", "-1", "1e9", "9" * 40, "..", "\x00", "null", "a" * 3000, "9007199254740993", "🙂", "0", "{}")
STORY = ("/api/scene", "/api/character", "/api/world", "/api/template", "/api/timeline", "/api/vars", "/api/variables",
         "/api/playthrough", "/api/save", "/api/scenario", "/replay", "/api/pov", "/api/presentation", "/api/diffmerge",
         "/api/playtest", "/api/export", "/api/snapshot", "/api/project")


def pokes(path: str, operation: dict[str, Any], dice: random.Random) -> Iterator[tuple[str, Any, dict[str, str]]]:
    """A few requests of an operation of which one thing each is hostile: (path, body, query)."""
    named = [one for one in operation.get("parameters", ()) if one["in"] == "path"]
    queries = [one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"]
    queries = [one for one in queries if one not in ("project", "dry_run")]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    fields = {"scene_id": "s", "character_id": "c", "world_id": "w", "timeline_id": "main", "playthrough_id": "p"}

    def filled(**over: str) -> str:
        found = path
        for one in named:
            found = found.replace("{" + one["name"] + "}", over.get(one["name"], fields.get(one["name"], "s")))
        return found

    for one in named:
        yield filled(**{one["name"]: dice.choice(IN_PATHS)}), {} if body else None, {}
    for name in dice.sample(queries, min(2, len(queries))):
        yield filled(), {} if body else None, {name: dice.choice(IN_QUERIES)}
    properties = [*(body or {}).get("properties", {})]
    for name in dice.sample(properties, min(4, len(properties))):
        least = {one: fields.get(one, "s") for one in (body or {}).get("required", ())}
        yield filled(), {**least, name: dice.choice(HOSTILE)}, {}


@pytest.mark.parametrize("seed", [1, 2])
def test_every_door_of_a_story_answers_clearly_whatever_comes(seed: int) -> None:
    async def scenario() -> None:
        async with door() as here:
            await told(here)
            dice = random.Random(seed)
            described = (await here.client.get("/openapi.json")).json()["paths"]
            poked = 0
            for path, operations in described.items():
                for method, operation in operations.items() if path.startswith(STORY) else ():
                    for place, body, query in pokes(path, operation, dice):
                        await asked(here, method.upper(), place, body, **query)
                        poked += 1
            assert poked > 300

    run(scenario)
