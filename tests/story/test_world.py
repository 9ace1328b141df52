"""Worlds: written, edited field by field and item by item, deleted and restored, and raced."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from behaviour import given
from story_reading import Telling

from commands.story.world import (
    CreateWorld,
    DeleteWorld,
    EditWorld,
    EditWorldItem,
    RemoveWorldItem,
    ReplaceWorld,
    RestoreWorld,
    SetWorldItem,
)
from domain.errors import Invalid, NotFound, Refused
from domain.story.world import CONTEXT, WorldCreated, WorldDeleted, WorldEdited, WorldRestored

COUNTS = {"rules": 0, "locations": 0, "factions": 0, "lore": 0, "prompt_templates": 0}
FIELDS: dict[str, Any] = {"name": "The Coast", "own_summary": "Wind.", "rules/tide": "It returns.",
                          "locations/tower": {"kind": "tower", "lit": False}}


def said(**more: Any) -> dict[str, Any]:
    return {"name": "The Coast", "tags": [], **COUNTS, "rules": 1, "locations": 1, **more}


CREATED = WorldCreated(world_id="coast", fields=FIELDS, summary=said())
GONE = WorldDeleted(world_id="coast")
DOCUMENT = {"name": "The Coast", "summary": "Wind.", "rules": {"tide": "It returns."},
            "locations": {"tower": {"kind": "tower", "lit": False}}}


def edited(summary: dict[str, Any] | None = None, /, **fields: Any) -> WorldEdited:
    return WorldEdited(world_id="coast", summary=summary or said(), fields={
        name.replace("__", "/"): value for name, value in fields.items()
    })


# --- documents ----------------------------------------------------------------------------------------------------


def test_a_world_is_created_once() -> None:
    given().when(CreateWorld(id="coast", **DOCUMENT)).then(CREATED).and_again_nothing()


def test_another_world_under_that_id_is_refused() -> None:
    given(CREATED).when(CreateWorld(id="coast", name="Other")).then_refused("world_exists", Refused)
    given(CREATED, GONE).when(CreateWorld(id="coast", name="Other")).then_refused("world_deleted", Refused)


def test_an_empty_world_is_a_world() -> None:
    given().when(CreateWorld(id="bare")).then(
        WorldCreated(world_id="bare", fields={}, summary={"name": None, "tags": [], **COUNTS})
    ).and_again_nothing()


def test_a_replacement_records_only_what_differs() -> None:
    document = {**DOCUMENT, "tone": "quiet", "locations": {}}
    given(CREATED).when(ReplaceWorld(world_id="coast", **document)).then(
        edited(said(locations=0), tone="quiet", locations__tower=None)
    ).and_again_nothing()
    given(CREATED).when(ReplaceWorld(world_id="coast", **DOCUMENT)).then_nothing()
    given(CREATED).when(ReplaceWorld(world_id="coast", id="hill")).then_refused("other_world", Invalid)
    given().when(ReplaceWorld(world_id="coast")).then_refused("unknown_world", NotFound)


def test_an_edit_changes_only_what_it_names() -> None:
    command = EditWorld(world_id="coast", tone="quiet", summary=None, rules={"names": "They are heard.", "tide": None})
    given(CREATED).when(command).then(
        edited(tone="quiet", own_summary=None, rules__names="They are heard.", rules__tide=None)
    ).and_again_nothing()
    given(CREATED).when(EditWorld(world_id="coast", name="The Coast")).then_nothing()


def test_null_empties_a_whole_collection() -> None:
    given(CREATED).when(EditWorld(world_id="coast", rules=None)).then(edited(said(rules=0), rules__tide=None))


def test_a_world_is_deleted_and_restored() -> None:
    given(CREATED).when(DeleteWorld(world_id="coast")).then(GONE).and_again_nothing()
    given(CREATED, GONE).when(RestoreWorld(world_id="coast")).then(
        WorldRestored(world_id="coast", summary=said())
    ).and_again_nothing()
    given().when(DeleteWorld(world_id="coast")).then_refused("unknown_world", NotFound)
    given().when(RestoreWorld(world_id="coast")).then_refused("unknown_world", NotFound)
    given(CREATED, GONE).when(EditWorld(world_id="coast", tone="loud")).then_refused("world_deleted", Refused)


# --- items --------------------------------------------------------------------------------------------------------


def item(type_: Any, collection: str, key: str, **fields: Any) -> Any:
    return type_(world_id="coast", collection=collection, key=key, **fields)


def test_an_item_is_set_edited_and_removed() -> None:
    given(CREATED).when(item(SetWorldItem, "lore", "flood", value=["old", 7])).then(
        edited(said(lore=1), lore__flood=["old", 7])
    ).and_again_nothing()
    given(CREATED).when(item(EditWorldItem, "locations", "tower", fields={"lit": True, "kind": None})).then(
        edited(locations__tower={"lit": True})
    ).and_again_nothing()
    given(CREATED).when(item(RemoveWorldItem, "rules", "tide")).then(
        edited(said(rules=0), rules__tide=None)
    ).and_again_nothing()
    given(CREATED).when(item(RemoveWorldItem, "rules", "never")).then_nothing()


def test_an_item_must_be_there_and_be_an_object_to_have_fields() -> None:
    given(CREATED).when(item(EditWorldItem, "lore", "flood", fields={})).then_refused("unknown_lore", NotFound)
    given(CREATED).when(item(EditWorldItem, "rules", "tide", fields={"a": 1})).then_refused("invalid_rule", Invalid)
    given().when(item(SetWorldItem, "rules", "tide", value=1)).then_refused("unknown_world", NotFound)


def test_a_prompt_template_is_a_text() -> None:
    error = given(CREATED).when(item(SetWorldItem, "prompt_templates", "sky", value=7)).then_refused("invalid_world")
    assert error.detail["errors"][0]["path"] == "prompt_templates/sky"


@pytest.mark.parametrize("key", ["", " a", "a\n", "x" * 201])
def test_a_key_is_a_short_word(key: str) -> None:
    with pytest.raises(ValueError, match="rules"):
        EditWorld(world_id="coast", rules={key: 1})


# --- views and races ----------------------------------------------------------------------------------------------


def test_a_world_is_read_on_its_worldline_and_as_of_a_position(tmp_path: Path) -> None:
    telling = Telling(tmp_path)
    telling.ask(CreateWorld(id="coast", **DOCUMENT))
    telling.ask(EditWorld(world_id="coast", rules={"tide": None}, tags=("sea",)))
    empty = {name: {} for name in COUNTS}
    assert telling.look("ShowWorld", world_id="coast", bare=True, as_of=1) == {"id": "coast", **empty, **DOCUMENT}
    now = telling.look("ShowWorld", world_id="coast")
    assert (now["rules"], now["tags"], now["version"], now["position"]) == ({}, ["sea"], 2, 2)
    assert telling.look("ListWorlds", tag="sea", q="COAST")["items"][0]["locations"] == 1
    assert telling.look("ListWorlds", tag="hill")["items"] == []
    assert telling.look("ShowWorldItem", world_id="coast", collection="locations", key="tower")["item"]["lit"] is False
    telling.ask(DeleteWorld(world_id="coast"))
    assert telling.look("ListWorlds")["items"] == []
    assert [one["id"] for one in telling.look("ListWorlds", deleted=True)["items"]] == ["coast"]
    for view, more, code in (
        ("ShowWorld", {}, "world_deleted"), ("ShowWorldItem", {"collection": "lore", "key": "x"}, "world_deleted"),
        ("ShowWorldItem", {"collection": "lore", "key": "x", "as_of": 1}, "unknown_lore"),
    ):
        with pytest.raises(NotFound) as caught:
            telling.look(view, world_id="coast", **more)
        assert caught.value.code == code


def test_edits_of_different_things_at_once_all_survive(tmp_path: Path) -> None:
    telling = Telling(tmp_path)
    telling.ask(CreateWorld(id="coast", **DOCUMENT))
    edits = [item(SetWorldItem, "rules", f"r{number}", value=number) for number in range(10)]
    edits += [item(EditWorldItem, "locations", "tower", fields={f"f{number}": number}) for number in range(10)]
    edits += [EditWorld(world_id="coast", tone="quiet"), EditWorld(world_id="coast", name="Coast")]

    async def at_once() -> None:
        await asyncio.gather(*[telling.ask_later(edit) for edit in edits])

    asyncio.run(at_once())
    shown = telling.look("ShowWorld", world_id="coast")
    assert shown["rules"] == {"tide": "It returns.", **{f"r{number}": number for number in range(10)}}
    assert shown["locations"]["tower"] == {"kind": "tower", "lit": False, **{f"f{n}": n for n in range(10)}}
    assert (shown["tone"], shown["name"]) == ("quiet", "Coast")


def test_a_large_world_is_several_events_of_one_batch(tmp_path: Path) -> None:
    telling = Telling(tmp_path)
    lore = {f"l{number:02}": "x" * 60_000 for number in range(30)}
    receipt = telling.ask(CreateWorld(id="vast", name="Vast", lore=lore))
    assert [one.type for one in receipt.events] == ["WorldCreated", *["WorldEdited"] * (len(receipt.events) - 1)]
    assert len(receipt.events) > 3
    assert telling.look("ShowWorld", world_id="vast")["lore"] == lore


def test_what_is_too_large_is_refused() -> None:
    lore = {f"l{number:03}": "x" * 200_000 for number in range(50)}
    error = given().when(CreateWorld(id="vast", lore=lore)).then_refused("invalid_world", Invalid)
    assert error.detail["errors"][0]["code"] == "too_large"


def test_any_state_of_a_world_is_a_snapshot_that_can_be_read() -> None:
    state: Any = CONTEXT.initial
    for event in (CREATED, edited(tone="x"), GONE):
        state = CONTEXT.evolve(state, event)
    assert state.kind == "deleted"
    assert state.fields == {**FIELDS, "tone": "x"}
