"""What one side removed while the other leads to it is a conflict, wherever documents name each other."""

from __future__ import annotations

import json
from typing import Any

import pytest
from door import run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from merged_worldlines import Lines, lines

from domain.errors import Refused
from domain.references import Reference, released
from domain.story.merging.conflicts import Court, Decision
from domain.story.merging.documents import merge
from domain.story.merging.held import NOTHING, Held
from domain.story.merging.referring import led_somewhere
from domain.story.timeline import references
from projections.boards.referring import CONTEXTS
from services.registry import REGISTRY

NODE = {"id": "n", "text": "One.", "end": True}
SCENES = ("a", "b", "c")


def asked(name: str, /, **fields: Any) -> Any:
    return REGISTRY.askings[name].command.model_validate(fields)


def entry(scene: str, **more: Any) -> dict[str, Any]:
    return {"id": scene, "scene": scene, **more}


async def written(found: Lines, *entries: dict[str, Any]) -> None:
    """Scenes and a timeline on main, and a worldline that leaves it."""
    for name in SCENES:
        await found.scene(name, nodes=[NODE])
    await found.ask(asked("CreateTimeline", id="main", title="Days", entries=list(entries) or [entry("a")]))
    await found.fork("w")


async def refused(found: Lines, source: str = "w", target: str = "main", **wanted: Any) -> list[dict[str, Any]]:
    with pytest.raises(Refused) as raised:
        await found.merge(source, target, **wanted)
    assert raised.value.code == "merge_conflicts"
    return list(raised.value.detail["conflicts"])


async def order(found: Lines, line: str = "main") -> list[str]:
    held = (await found.documents(line))["timeline", "main"]
    return sorted(path.removeprefix("entries/") for path in held.fields if path.startswith("entries/"))


async def alive(found: Lines, category: str, name: str, line: str = "main") -> bool:
    return (await found.documents(line))[category, name].alive


# --- timelines --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("decision", "there", "entries"), [
    ("ours", True, ["a", "b"]), ("theirs", False, ["a"]), ("base", True, ["a", "b"]), ({"value": None}, False, ["a"]),
])
def test_an_entry_whose_scene_the_other_side_deleted(decision: Any, there: bool, entries: list[str]) -> None:
    async def scenario() -> None:
        async with lines() as found:
            await written(found)
            await found.ask(asked("DeleteScene", scene_id="b"), "w")
            await found.ask(asked("AddTimelineEntry", timeline_id="main", entry=entry("b")))
            (one,) = await refused(found)
            assert (one["kind"], one["address"]) == ("target_gone", "scene/b")
            assert one["led_to_by"] == ["timeline/main/entries/b"]
            assert one["present"] == ["base", "ours"]
            take = Decision("value") if isinstance(decision, dict) else Decision(decision)
            told = await found.merge("w", decisions={one["id"]: take})
            assert told["applied"]
            assert (await alive(found, "scene", "b"), await order(found)) == (there, entries)
            assert told["story"].get("playable") is not False
            assert not (await found.plan("w", "main")).open, "merging again asks nothing"

    run(scenario)


@pytest.mark.parametrize(("rule", "there"), [("ours", False), ("theirs", True)])
def test_an_entry_that_comes_in_and_leads_to_what_was_deleted_here(rule: str, there: bool) -> None:
    async def scenario() -> None:
        async with lines() as found:
            await written(found)
            await found.ask(asked("DeleteScene", scene_id="b"))
            await found.ask(asked("AddTimelineEntry", timeline_id="main", entry=entry("b")), "w")
            (one,) = await refused(found)
            assert (one["kind"], one["present"]) == ("target_gone", ["base", "theirs"])
            told = await found.merge("w", rule=rule)
            assert (told["applied"], told["by_rule"]) == (True, 1)
            assert await alive(found, "scene", "b") is there
            assert await order(found) == (["a", "b"] if there else ["a"])
            read, folded = await found.read_and_folded("b", "main")
            assert read == folded

    run(scenario)


def test_an_entry_that_nobody_touched_asks_too_and_a_fast_forward_does_not() -> None:
    async def scenario() -> None:
        async with lines() as found:
            await written(found, entry("a"), entry("b"))
            await found.ask(asked("DeleteScene", scene_id="b"), "w")
            assert not (await found.plan("w", "main")).open, "nothing diverged: main becomes what w is"
            await found.ask(asked("RenameScene", scene_id="a", title="Dawn"))
            (one,) = await refused(found)
            assert (one["kind"], one["address"]) == ("target_gone", "scene/b")
            told = await found.merge("w", rule="theirs")
            assert (await order(found), told["story"]["playable"]) == (["a"], True)

    run(scenario)


def test_a_branch_group_loses_one_alternative_or_goes_with_its_last() -> None:
    group = {"id": "night", "group": "night", "alternatives": [
        {"scene": "b", "conditions": [{"key": "gold", "operator": "exists"}]}, {"scene": "c"},
    ]}

    async def scenario() -> None:
        async with lines() as found:
            await written(found, entry("a"))
            await found.ask(asked("AddTimelineEntry", timeline_id="main", entry=group))
            await found.fork("x")
            await found.ask(asked("DeleteScene", scene_id="b"), "w")
            told = await found.merge("w", rule="theirs")
            assert told["applied"]
            held = (await found.documents("main"))["timeline", "main"]
            assert [one["scene"] for one in held.fields["entries/night"]["item"]["alternatives"]] == ["c"]
            await found.ask(asked("DeleteScene", scene_id="b"), "x")
            await found.ask(asked("DeleteScene", scene_id="c"), "x")
            await found.ask(asked("RenameScene", scene_id="a", title="Dawn"))
            assert {one["address"] for one in await refused(found, "x")} == {"scene/c"}
            await found.merge("x", rule="theirs")
            assert await order(found) == ["a"]

    run(scenario)


def test_a_scene_edited_here_deleted_there_and_led_to_is_one_conflict() -> None:
    async def scenario() -> None:
        async with lines() as found:
            await written(found)
            await found.ask(asked("DeleteScene", scene_id="b"), "w")
            await found.ask(asked("RenameScene", scene_id="b", title="Rain"))
            await found.ask(asked("AddTimelineEntry", timeline_id="main", entry=entry("b")))
            (one,) = await refused(found)
            assert one["kind"] == "edited_and_deleted"
            assert (await found.merge("w", rule="theirs"))["applied"]
            assert (await alive(found, "scene", "b"), await order(found)) == (False, ["a"])

    run(scenario)


# --- characters, worlds, variables ------------------------------------------------------------------------------------


def test_a_character_and_a_pose_that_new_directives_need() -> None:
    portrait = {"kind": "portrait", "character": "mara", "pose": "at the rail"}

    async def scenario() -> None:
        async with lines() as found:
            await found.ask(asked("CreateCharacter", id="mara", name="Mara", poses={"at the rail": {}, "seated": {}}))
            await found.ask(asked("CreateCharacter", id="ivo", name="Ivo"))
            await written(found)
            await found.ask(asked("RemoveCharacterItem", character_id="mara", collection="poses", key="at the rail"),
                            "w")
            await found.ask(asked("DeleteCharacter", character_id="ivo"), "w")
            speaks = {"speaker": "IVO", "directives": [portrait, {"kind": "expression", "character": "ivo",
                                                                  "expression": "glad"}]}
            await found.ask(asked("EditNode", scene_id="a", node_id="n", **speaks))
            both = {one["address"]: one for one in await refused(found)}
            assert set(both) == {"character/ivo", "character/mara/poses/at the rail"}
            assert {one["kind"] for one in both.values()} == {"target_gone"}
            assert both["character/ivo"]["led_to_by"] == ["scene/a/nodes/n"]
            kept = await found.plan("w", "main", wanted(rule="ours"))
            assert not kept.open
            await found.merge("w", rule="theirs")
            node = (await found.documents("main"))["scene", "a"].fields["nodes/n"]["node"]
            assert node["speaker"] == "IVO", "a line can be said by somebody who is no character"
            assert node["directives"] == [{"kind": "portrait", "character": "mara"}]

    run(scenario)


def test_who_removes_what_its_own_scenes_name_has_said_so() -> None:
    async def scenario() -> None:
        async with lines() as found:
            await found.ask(asked("CreateCharacter", id="mara", name="Mara"))
            await found.scene("intro", nodes=[{**NODE, "speaker": "Mara"}])
            await found.fork("w")
            await found.ask(asked("DeleteCharacter", character_id="mara"), "w")
            await found.ask(asked("RenameScene", scene_id="intro", title="Dawn"))
            assert (await found.merge("w"))["applied"]

    run(scenario)


def test_a_world_that_metadata_names_and_a_variable_that_a_condition_tests() -> None:
    async def scenario() -> None:
        async with lines() as found:
            await found.ask(asked("CreateWorld", id="saltmere", name="Saltmere"))
            await found.ask(asked("DeclareVariable", name="gold", scope="session", type="integer", default=1))
            await written(found)
            await found.ask(asked("DeleteWorld", world_id="saltmere"), "w")
            await found.ask(asked("RemoveVariable", scope="session", name="gold"), "w")
            await found.ask(asked("EditScene", scene_id="a", metadata={"world": "saltmere"}))
            tests = [{"key": "gold.pieces", "operator": "exists"}]
            await found.ask(asked("EditNode", scene_id="a", node_id="n", end=False,
                                  choices=[{"id": "x", "target": "n", "conditions": tests}]))
            assert {one["address"] for one in await refused(found)} == {
                "world/saltmere", "variables/project/declarations/session:gold",
            }
            await found.merge("w", rule="theirs")
            fields = (await found.documents("main"))["scene", "a"].fields
            assert fields["metadata"] == {}
            assert fields["nodes/n"]["node"]["choices"][0]["conditions"] == tests, "a test of nothing fails by itself"

    run(scenario)


def wanted(**more: Any) -> Any:
    from projections.boards.merging import Wanted

    return Wanted(**more)


# --- whatever two people do -------------------------------------------------------------------------------------------


def test_every_context_that_branches_is_looked_at() -> None:
    assert {name for name, one in REGISTRY.contexts.items() if one.branches and one.write} == set(CONTEXTS)
    assert all(REGISTRY.contexts[name] is one for name, one in CONTEXTS.items())


def test_what_is_left_keeps_the_order_of_lists() -> None:
    value = {"item": {"alternatives": [{"scene": name} for name in "abcde"]}}
    gone = [Reference((), "entries/g", ("item", "alternatives", at), last=True) for at in (1, 3, 1)]
    left = released({"entries/g": value, "title": "t"}, gone)
    assert [one["scene"] for one in left["entries/g"]["item"]["alternatives"]] == ["a", "c", "e"]
    assert len(value["item"]["alternatives"]) == 5
    every = [Reference((), "entries/g", ("item", "alternatives", at), last=True) for at in range(5)]
    assert released({"entries/g": value, "title": "t"}, every) == {"title": "t"}


@st.composite
def timelines(draw: st.DrawFn) -> dict[str, Any]:
    fields: dict[str, Any] = {"title": "t"}
    for number, key in enumerate(draw(st.lists(st.sampled_from("pqr"), unique=True, max_size=3))):
        names = draw(st.lists(st.sampled_from(SCENES), min_size=1, max_size=3, unique=True))
        item = {"id": key, "scene": names[0]} if draw(st.booleans()) else {
            "id": key, "group": key, "alternatives": [{"scene": one} for one in names]}
        fields[f"entries/{key}"] = {"item": item, "place": [number]}
    return fields


@st.composite
def sides(draw: st.DrawFn) -> tuple[dict[tuple[str, str], Held], ...]:
    """Scenes and a timeline in common and on two sides, of which each names only scenes that it has."""
    found = []
    for _ in range(3):
        there = draw(st.sets(st.sampled_from(SCENES))) if found else set(SCENES)
        fields = draw(timelines())
        lost = [one for one in references(fields) if one.to[0][1] not in there]
        held = {("scene", name): Held({"title": name}, name in there) for name in SCENES}
        found.append({**held, ("timeline", "main"): Held(released(fields, lost))})
    return tuple(found)


def brought(versions: tuple[dict[Any, Held], ...], court: Court) -> dict[Any, Any]:
    base, ours, theirs = versions
    made = {one: merge(*one, base[one], ours[one], theirs.get(one, NOTHING), court) for one in base}
    return led_somewhere(made, CONTEXTS, court)


def dangling(found: dict[Any, Any]) -> list[str]:
    there = {one.id for one in found.values() if one.category == "scene" and one.alive}
    return [one.to[0][1] for one in references(found["timeline", "main"].fields) if one.to[0][1] not in there]


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(sides(), st.sampled_from(["ours", "theirs", "newest"]))
def test_a_rule_leaves_nothing_that_leads_nowhere(versions: Any, rule: Any) -> None:
    court = Court(rule=rule)
    found = brought(versions, court)
    assert not court.open
    assert not dangling(found)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(sides())
def test_nothing_leads_nowhere_without_a_conflict_whoever_merges(versions: Any) -> None:
    court, other = Court(), Court()
    found = brought(versions, court)
    brought((versions[0], versions[2], versions[1]), other)
    told = {one.path[1] for one in court.open if one.path[0] == "scene"}
    assert set(dangling(found)) <= told
    if {one.kind for one in (*court.open, *other.open)} == {"target_gone"}:  # nothing else stands as ours for now
        assert {one.id for one in court.open} == {one.id for one in other.open}
    assert json.dumps([one.shown() for one in court.open])


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(sides(), st.data())
def test_lost_references_decided_one_by_one_come_to_an_end(versions: Any, data: st.DataObject) -> None:
    decisions: dict[str, Decision] = {}
    for _ in range(30):
        court = Court(decisions)
        found = brought(versions, court)
        if not court.open:
            assert not court.unused()
            assert not dangling(found)
            return
        one = court.open[0]
        assert one.id not in decisions
        decisions[one.id] = Decision(data.draw(st.sampled_from(["ours", "theirs"])))
    pytest.fail("there was always one more conflict")
