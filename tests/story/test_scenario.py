"""One scene step by step: the contract's order of work, history, dice and answers, and hostile states."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from any_stories import any_stories
from door import door, run
from hypothesis import given, settings
from hypothesis import strategies as st
from playing_stories import PIER

from domain.errors import Invalid
from domain.story.program import program
from domain.story.scenario import step, verdict

PROGRAM = program(PIER)


def test_without_a_state_the_start_is_entered_and_one_step_is_taken() -> None:
    scene = copy.deepcopy(PIER)
    scene["nodes"][0]["actions"] = [{"type": "set", "key": "entered", "value": True}]
    told = step(program(scene), seed=7)
    assert told["state"] == {
        "scene_id": "pier", "current_node": "ask", "variables": {"coins": 2, "entered": True},
        "history": [{"node": "start", "choice": None}, {"node": "start", "choice": "ask"}],
        "rng": {"seed": 7, "value": 1025555898, "uses": 1}, "finished": False, "pov": "narrator",
    }
    assert [one["id"] for one in told["choices"]] == ["stay", "leave"]
    assert (told["node"]["id"], told["finished"]) == ("ask", False)


def test_a_named_choice_draws_nothing_and_an_automatic_one_draws_once() -> None:
    state = step(PROGRAM)["state"]
    assert state["rng"]["uses"] == 1, "a lone choice is drawn too"
    named = step(PROGRAM, state, choice="stay")["state"]
    assert named["rng"] == state["rng"]
    assert named["variables"] == {"coins": 1.0, "mood": {"mara": "glad"}}
    assert named["history"][-1] == {"node": "ask", "choice": "stay"}
    assert step(PROGRAM, named)["state"]["rng"]["uses"] == 2


def test_a_finished_state_comes_back_unchanged() -> None:
    state = step(PROGRAM, step(PROGRAM)["state"], choice="leave")
    assert state["finished"] is True
    assert state["choices"] == []
    again = step(PROGRAM, state["state"], choice="anything", seed=99)
    assert again["state"] == state["state"]
    assert again["node"]["id"] == "gone"


def test_a_start_without_ways_is_finished_at_once() -> None:
    told = step(program({"id": "s", "start": "a", "nodes": [{"id": "a"}]}))
    assert told["finished"] is True
    assert told["state"]["history"] == [{"node": "a", "choice": None}]


@pytest.mark.parametrize("choice", ["whisper", "gone", "fly"])
def test_what_is_not_available_is_refused(choice: str) -> None:
    with pytest.raises(Invalid) as caught:
        step(PROGRAM, step(PROGRAM)["state"], choice=choice)
    assert caught.value.message == f"choice '{choice}' is not available"


def test_whose_eyes_is_asked_then_kept_then_the_scenes() -> None:
    scene = {**PIER, "metadata": {"default_pov": "ivo"}}
    first = step(program(scene))["state"]
    assert first["pov"] == "ivo"
    assert step(program({**scene, "default_pov": "mara"}))["state"]["pov"] == "mara"
    asked = step(PROGRAM, first, choice="whisper", pov="mara")
    assert asked["state"]["pov"] == "mara"
    assert step(PROGRAM, {**first, "pov": "kept"}, choice="stay")["state"]["pov"] == "kept"


def test_a_seed_is_taken_where_a_state_has_no_dice() -> None:
    state = step(PROGRAM)["state"]
    bare = {name: value for name, value in state.items() if name != "rng"}
    assert step(PROGRAM, bare, seed=2**32 + 5, choice="stay")["state"]["rng"] == {"seed": 5, "value": 5, "uses": 0}
    assert step(PROGRAM, bare, choice="stay")["state"]["rng"]["seed"] == 0
    assert step(PROGRAM, state, seed=5, choice="stay")["state"]["rng"] == state["rng"]
    large = {**state, "rng": {"seed": -1, "value": 2**32 + 9, "uses": 3}}
    assert step(PROGRAM, large, choice="stay")["state"]["rng"] == {"seed": 2**32 - 1, "value": 9, "uses": 3}


STATE = step(PROGRAM)["state"]


@pytest.mark.parametrize(("changed", "code"), [
    ({"scene_id": "other"}, "scene_mismatch"), ({"scene_id": 7}, "scene_mismatch"),
    ({"current_node": "nowhere"}, "unknown_node"), ({"current_node": None}, "unknown_node"),
    ({"current_node": {}}, "unknown_node"), ({"variables": []}, "invalid_state"), ({"history": {}}, "invalid_state"),
    ({"finished": "no"}, "invalid_state"), ({"rng": 7}, "invalid_state"), ({"rng": {"seed": 1.5}}, "invalid_state"),
    ({"rng": {"seed": True}}, "invalid_state"), ({"rng": {"seed": 1, "value": 1, "uses": -1}}, "invalid_state"),
    ({"pov": 7}, "invalid_state"), ({"pov": "x" * 300}, "invalid_state"), ({"extra": 1}, "invalid_state"),
])
def test_what_is_no_state_of_this_scene_is_refused(changed: dict[str, Any], code: str) -> None:
    with pytest.raises(Invalid) as caught:
        step(PROGRAM, {**STATE, **changed})
    assert caught.value.code == code
    assert caught.value.remediation


@pytest.mark.parametrize(("given_", "code"), [
    ({"seed": "7"}, "invalid_state"), ({"seed": True}, "invalid_state"), ({"choice": 3}, "invalid_state"),
    ({"choice": ""}, "invalid_state"), ({"pov": []}, "invalid_state"), ({"state": [1]}, "invalid_state"),
])
def test_what_is_asked_must_fit(given_: dict[str, Any], code: str) -> None:
    with pytest.raises(Invalid) as caught:
        step(PROGRAM, given_.pop("state", None), **given_)
    assert caught.value.code == code


@given(any_stories(), st.lists(st.none() | st.integers(0, 9), max_size=15), st.integers(-(2**40), 2**40))
@settings(max_examples=80, deadline=None)
def test_any_scene_is_stepped_through_and_the_same_again(
    content: dict[str, Any], picks: list[int | None], seed: int
) -> None:
    for document in content["scenes"].values():
        one = two = None
        for pick in picks:
            offered = one["choices"] if one else []
            choice = offered[pick % len(offered)]["id"] if pick is not None and offered else None
            before = copy.deepcopy(one["state"]) if one else None
            next_ = step(program(document), one and one["state"], seed=seed, choice=choice)
            assert (one["state"] if one else None) == before
            two = step(program(document), two and json.loads(json.dumps(two["state"])), seed=seed, choice=choice)
            assert json.dumps(next_, sort_keys=True) == json.dumps(two, sort_keys=True)
            assert next_["finished"] == (not next_["choices"])
            one = next_


def test_a_scene_needs_its_id() -> None:
    assert verdict({"start": "a", "nodes": [{"id": "a"}]})["errors"][0]["path"] == "id"
    assert verdict(7)["valid"] is False
    assert verdict(PIER)["valid"] is True


# --- at the door ------------------------------------------------------------------------------------------------------


def test_the_doors_keep_the_contract() -> None:
    async def scenario() -> None:
        async with door() as here:
            valid = await here.client.post("/api/scenario/validate", json={"scene": PIER})
            assert valid.json() == {"valid": True, "errors": [], "warnings": []}
            broken = {"id": "x", "start": "b", "nodes": [{"id": "a", "choices": [{"target": "c"}]}, {"id": "a"}]}
            told = (await here.client.post("/api/scenario/validate", json=broken)).json()
            assert told["valid"] is False
            assert {one["path"] for one in told["errors"]} == {"nodes/1/id", "start", "nodes/0/choices/0/target"}
            first = await here.client.post("/api/scenario/run/step", json={"scene": PIER, "seed": 7})
            assert first.json() == {"ok": True, **step(PROGRAM, seed=7)}
            second = await here.client.post(
                "/api/scenario/run/step", json={"scene": PIER, "state": first.json()["state"], "choice_id": "stay"}
            )
            assert second.json()["state"]["current_node"] == "toss"
            refused = await here.client.post("/api/scenario/run/step", json={"scene": broken})
            assert refused.status_code == 400
            assert len(refused.json()["detail"]["errors"]) == 3
            assert "nodes/1/id" in refused.json()["message"]

    run(scenario)


@pytest.mark.parametrize("raw", [
    b"", b"7", b"[]", b'{"scene": NaN}', b'{"scene": {}, "scene": {}}',
    b'{"scene": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    b'{"scene": {"id": "s", "start": "a", "nodes": [{"id": "a", "text": "\\ud800"}]}}', b'{"state": {}}',
    b'{"scene": {"id": "s", "start": "a", "nodes": [{"id": "a"}]}, "state": {"current_node": "a", "rng": 1e999}}',
    b'{"scene": {"id": "s", "start": "a", "nodes": [{"id": "a"}]}, "choice": "a", "choice_id": "b"}',
    b'{"scene": {"id": "s", "start": "a", "nodes": [{"id": "a"}]}, "other": 1}',
])
def test_hostile_bodies_are_refused(raw: bytes) -> None:
    async def scenario() -> None:
        async with door() as here:
            refused = await here.client.post(
                "/api/scenario/run/step", content=raw, headers={"Content-Type": "application/json"}
            )
            assert refused.status_code in (400, 422), refused.text
            assert refused.json()["remediation"]

    run(scenario)


def test_a_scene_of_ten_thousand_nodes_is_stepped_through() -> None:
    nodes = [{"id": f"n{number}", "choices": [{"target": f"n{(number + 1) % 10_000}"}]} for number in range(10_000)]

    async def scenario() -> None:
        async with door() as here:
            state = None
            for _ in range(3):
                body = {"scene": {"id": "large", "start": "n0", "nodes": nodes}, "state": state}
                told = await here.client.post("/api/scenario/run/step", json=body)
                assert told.status_code == 200, told.text
                state = told.json()["state"]
            assert state["current_node"] == "n3"

    run(scenario)
