"""The doors of variables: every scope is set, listed and reset, touches no other, and says what it needs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from door import Door, door, run

PROJECT = {"project": "demo"}
SCENE = {"id": "gate", "start": "a", "variables": {"mood": "tense", "doors": {"open": 2, "shut": 1}}, "nodes": [
    {"id": "a", "type": "menu", "choices": [{"id": "in", "label": "In", "target": "b"}]}, {"id": "b", "end": True}]}


async def made(at: Door) -> None:
    for body in (
        {"name": "gold", "scope": "global", "type": "integer", "default": 3},
        {"name": "hp", "scope": "session", "type": "number", "default": 10},
        {"name": "secret", "scope": "session", "default": "x", "known_to": ["mara"]},
        {"name": "mood", "scope": "scene", "type": "text", "default": "calm"},
    ):
        await at.ask("DeclareVariable", body)
    await at.ask("CreateScene", SCENE, status=201)
    await at.ask("StartPlaythrough", {"playthrough_id": "p1", "variables": {"hp": 4}}, status=201)


async def told(at: Door, verb: str, status: int = 200, **body: Any) -> Any:
    answer = await at.client.post(f"/api/vars/{verb}", json=body, params=PROJECT)
    assert answer.status_code == status, answer.text
    return answer.json()


async def values(at: Door, **params: Any) -> dict[str, Any]:
    answer = await at.client.get("/api/vars/list", params=PROJECT | params)
    assert answer.status_code == 200, answer.text
    return {f"{one['scope']}:{one['name']}": one.get("value") for one in answer.json()["items"]}


def test_every_scope_is_set_and_reset_without_touching_another() -> None:
    async def steps() -> None:
        async with door() as at:
            await made(at)
            first = await values(at, playthrough="p1", everything=True)
            assert first == {"global:gold": 3, "scene:doors.open": 2, "scene:doors.shut": 1, "scene:mood": "tense",
                             "session:gold": 3, "session:hp": 4, "session:secret": "x"}
            assert "session:secret" not in await values(at, playthrough="p1")
            await told(at, "set", scope="global", name="gold", value=8)
            await told(at, "set", scope="session", playthrough="p1", values={"hp": 1, "met": True})
            await told(at, "set", scope="scene", playthrough="p1", name="doors.open", value=0)
            after = await values(at, playthrough="p1", everything=True)
            assert after == {**first, "session:hp": 1, "session:met": True, "scene:doors.open": 0}, "a play is pinned"
            assert (await values(at))["global:gold"] == 8
            await told(at, "reset", scope="session", playthrough="p1", names=["hp"])
            assert (await values(at, playthrough="p1", everything=True)) == {**after, "session:hp": 4}
            await told(at, "reset", scope="session", playthrough="p1")
            assert (await values(at, playthrough="p1", everything=True)) == {**first, "scene:doors.open": 0}
            await told(at, "reset", scope="scene", playthrough="p1")
            assert (await values(at, playthrough="p1", everything=True)) == first
            assert (await values(at))["global:gold"] == 8
            assert (await told(at, "reset", scope="global"))["events"][0]["type"] == "VariablesEdited"
            assert (await values(at))["global:gold"] == 3
            assert (await told(at, "reset", scope="global"))["events"] == []

    run(steps)


def test_what_a_scene_begins_with_is_set_by_its_paths() -> None:
    async def steps() -> None:
        async with door() as at:
            await made(at)
            await told(at, "set", scope="scene", scene="gate", name="doors.open", value=5)
            await told(at, "set", scope="scene", scene="gate", name="mood", value="wild")
            found = await values(at, scope="scene", scene="gate")
            assert found == {"scene:doors.open": 5, "scene:doors.shut": 1, "scene:mood": "wild"}
            await told(at, "reset", scope="scene", scene="gate")
            assert (await values(at, scope="scene", scene="gate"))["scene:mood"] == "calm"
            # Two who set different fields of one object do not undo each other.
            await asyncio.gather(*(
                told(at, "set", scope="scene", scene="gate", name=f"doors.d{number}", value=number)
                for number in range(8)
            ))
            found = await values(at, scope="scene", scene="gate")
            assert {f"scene:doors.d{number}": number for number in range(8)}.items() <= found.items()

    run(steps)


def test_a_refusal_says_what_is_needed() -> None:
    async def steps() -> None:
        async with door() as at:
            await made(at)
            for status, error, verb, body in (
                (400, "needs_playthrough", "set", {"scope": "session", "name": "hp", "value": 1}),
                (400, "needs_playthrough", "reset", {"scope": "session"}),
                (400, "needs_scene", "set", {"scope": "scene", "name": "mood", "value": "x"}),
                (400, "wrong_type", "set", {"name": "gold", "value": "x"}),
                (400, "wrong_type", "set", {"scope": "session", "playthrough": "p1", "name": "hp", "value": "x"}),
                (400, "wrong_type", "set", {"scope": "scene", "scene": "gate", "name": "mood", "value": 3}),
                (422, "invalid_fields", "set", {"name": "gold"}),
                (422, "invalid_fields", "set", {"name": "gold", "value": 1, "values": {"gold": 1}}),
                (422, "invalid_fields", "set", {"values": {}}),
                (422, "invalid_fields", "set", {"name": "a..b", "value": 1}),
                (422, "invalid_fields", "set", {"name": "gold", "value": 1, "playthrough": "p1"}),
                (422, "invalid_fields", "reset", {"colour": "red"}),
                (404, "unknown_playthrough", "reset", {"scope": "session", "playthrough": "no"}),
                (404, "unknown_scene", "set", {"scope": "scene", "scene": "no", "name": "mood", "value": "x"}),
                (404, "unknown_variable", "reset", {"scope": "scene", "scene": "gate", "name": "doors"}),
                (404, "unknown_variable", "reset", {"name": "nobody"}),
            ):
                answer = await told(at, verb, status, **body)
                assert answer["error"] == error, answer
                assert answer["remediation"], error

    run(steps)


def test_a_repeated_key_takes_effect_once_and_a_dry_run_not_at_all() -> None:
    async def steps() -> None:
        async with door() as at:
            await made(at)
            body = {"name": "gold", "value": 5}
            first = await at.client.post("/api/vars/set", json=body, params=PROJECT, headers={"Idempotency-Key": "k"})
            again = await at.client.post("/api/vars/set", json=body, params=PROJECT, headers={"Idempotency-Key": "k"})
            assert first.json()["position"] == again.json()["position"]
            assert again.headers["idempotency-replayed"] == "true"
            stale = await at.client.post("/api/vars/set", json=body, params=PROJECT, headers={"If-Match": '"1"'})
            assert stale.status_code == 412
            dry = await at.client.post("/api/vars/set", json={"name": "gold", "value": 6},
                                       params=PROJECT | {"dry_run": "true"})
            assert dry.json()["would"][0]["type"] == "VariablesEdited"
            assert (await values(at))["global:gold"] == 5

    run(steps)


@pytest.mark.parametrize("cursor", ["x", "W10", "WzEsMl0"])
def test_a_forged_cursor_is_refused(cursor: str) -> None:
    async def steps() -> None:
        async with door() as at:
            for path in ("/api/vars/list", "/api/variables"):
                answer = await at.client.get(path, params=PROJECT | {"cursor": cursor})
                assert answer.status_code in (400, 422), answer.text

    run(steps)
