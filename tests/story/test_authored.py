"""Authored documents as such: any history adds up, writing is the inverse of reading fields, disjoint edits commute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from any_events import events
from hypothesis import assume, given
from hypothesis import strategies as st

from domain.bounded_json import same_json
from domain.errors import Invalid
from domain.story.authored import Deleted, Unwritten, Written, after, document_from, held
from domain.story.authored_writing import BATCH_BYTES, FIELD_BYTES, changed
from domain.story.character import CHARACTER
from domain.story.template import TEMPLATE
from domain.story.world import WORLD
from services.registry import REGISTRY

AUTHORED = (WORLD, CHARACTER, TEMPLATE)
CATEGORIES = [declared.category for declared in AUTHORED]

KEYS = st.sampled_from(["a", "b", "a/b", "é", "tide"])
PLAIN = st.recursive(
    st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2), max_leaves=4,
)
WORLDS = st.dictionaries(
    st.sampled_from(["name", "own_summary", "tone"]), st.text(min_size=1, max_size=5), max_size=3,
).flatmap(lambda header: st.dictionaries(
    st.builds("{}/{}".format, st.sampled_from(["rules", "locations", "lore"]), KEYS), PLAIN, max_size=5,
).map(lambda items: {**header, **items}))
EDITS = WORLDS.flatmap(lambda fields: st.sets(st.sampled_from(sorted(fields) or ["tone"])).map(
    lambda gone: {path: None if path in gone else value for path, value in fields.items()}))


def folded(category: str, state: Any, happened: Sequence[Any]) -> Any:
    context = REGISTRY.contexts[category]
    for event in happened:
        state = context.evolve(state, event)
    return state


@pytest.mark.parametrize("category", CATEGORIES)
@given(data=st.data())
def test_any_history_adds_up_to_the_fields_that_it_set(category: str, data: st.DataObject) -> None:
    context = REGISTRY.contexts[category]
    kinds = st.sampled_from(context.events).flatmap(events)
    history = data.draw(st.lists(kinds, max_size=8))
    state = folded(category, context.initial, history)
    stored: dict[str, Any] = {}
    for event in history:
        stored.update(context.fields(event))
    alive = stored.pop("summary", None) is not None
    assert held(state) == {path: value for path, value in stored.items() if value is not None}
    assert isinstance(state, Written if alive else Deleted if history else Unwritten)
    adapter = REGISTRY.states[category]
    assert adapter.validate_json(adapter.dump_json(state)) == state


@given(fields=WORLDS)
def test_writing_the_fields_of_a_document_writes_that_document(fields: dict[str, Any]) -> None:
    write = REGISTRY.contexts["world"].write
    assert write is not None
    wanted = {**fields, "summary": {}}
    happened = write("coast", Unwritten(), wanted)
    state = folded("world", Unwritten(), happened)
    assert held(state) == fields
    assert write("coast", state, wanted) == []
    told: dict[str, Any] = {}
    for event in happened:
        told.update(WORLD.fields(event))
    assert held(folded("world", Unwritten(), write("copy", Unwritten(), told))) == fields


@given(before=WORLDS, there=WORLDS, gone=st.booleans(), back=st.booleans())
def test_a_document_becomes_what_it_was_elsewhere(
    before: dict[str, Any], there: dict[str, Any], gone: bool, back: bool
) -> None:
    """From any situation to any other, by the fields in which they differ."""
    write = REGISTRY.contexts["world"].write
    assert write is not None
    start: Any = Deleted(fields=before) if gone else Written(fields=before)
    wanted = {path: there.get(path) for path in {*before, *there}} | {"summary": {} if back else None}
    state = folded("world", start, write("coast", start, wanted))
    assert held(state) == there
    assert isinstance(state, Written if back else Deleted)
    assert write("coast", state, wanted) == []


@given(before=WORLDS, one=EDITS, other=EDITS)
def test_edits_of_different_fields_commute(before: dict[str, Any], one: dict[str, Any], other: dict[str, Any]) -> None:
    assume(not set(one) & set(other))
    start = Written(fields=before)

    def both(first: dict[str, Any], second: dict[str, Any]) -> Any:
        middle = folded("world", start, changed(WORLD, "coast", start, first))
        return folded("world", middle, changed(WORLD, "coast", middle, second))

    assert both(one, other) == both(other, one)


@given(before=WORLDS, edit=EDITS)
def test_what_is_so_already_records_nothing(before: dict[str, Any], edit: dict[str, Any]) -> None:
    start = Written(fields=before)
    happened = changed(WORLD, "coast", start, edit)
    done = folded("world", start, happened)
    assert changed(WORLD, "coast", done, edit) == []
    named = {path for event in happened for path in event.fields}  # type: ignore[attr-defined]
    assert named == {path for path, value in edit.items() if not same_json(before.get(path), value)}


@pytest.mark.parametrize(("fields", "code"), [
    ({"mood": "x"}, "unknown_field"), ({"rules": {}}, "unknown_field"), ({"name/x": 1}, "unknown_field"),
    ({"rules/": 1}, "wrong_item"), ({"rules/ a": 1}, "wrong_item"), ({"rules/" + "x" * 201: 1}, "wrong_item"),
    ({"name": 7}, "string_type"), ({"rules/a": "x" * FIELD_BYTES}, "too_large"),
    ({"lore/a": [[[[0]]]] * 70_000}, "value_error"),
])
def test_fields_that_make_no_world_are_refused(fields: dict[str, Any], code: str) -> None:
    write = REGISTRY.contexts["world"].write
    assert write is not None
    with pytest.raises(Invalid) as caught:
        write("coast", Written(fields={}), fields)
    assert caught.value.detail["errors"][0]["code"] == code


@pytest.mark.parametrize("stored", [
    {"name": "a"}, {"item": {"name": "a"}}, {"item": {"name": "b"}, "place": [1]}, {"item": {"name": "a"}, "place": []},
    {"item": {"name": "a"}, "place": [1.5]}, {"item": {"name": "a"}, "place": [2**60]}, {"item": 1, "place": [1]},
    {"item": {"name": "a"}, "place": [True]}, {"item": {"name": "a"}, "place": [0] * 99},
])
def test_an_item_of_a_list_needs_its_own_name_and_a_place(stored: dict[str, Any]) -> None:
    template = Written(fields={"pattern": {"start": "a", "nodes": [{"id": "a"}]}})
    with pytest.raises(Invalid) as caught:
        changed(TEMPLATE, "t", template, {"parameters/a": stored})
    assert caught.value.detail["errors"][0]["code"] == "wrong_item"


def test_a_change_that_one_event_cannot_carry_is_several() -> None:
    lore = {f"lore/{number:02}": "x" * 100_000 for number in range(20)}
    happened: Any = changed(WORLD, "coast", Unwritten(), {**lore, "name": "Coast"})
    assert "name" in happened[0].fields
    assert all(sum(map(len, event.fields.values())) <= BATCH_BYTES for event in happened)
    assert held(folded("world", Unwritten(), happened)) == {**lore, "name": "Coast"}
    assert {event.summary["lore"] for event in happened} == {20}


def test_items_of_a_list_stand_in_their_order() -> None:
    stored = {f"parameters/{name}": {"item": {"name": name}, "place": place}
              for name, place in (("c", [1]), ("a", [1, -5]), ("b", [1]), ("d", [-1]))}
    assert [one["name"] for one in document_from(TEMPLATE, stored)["parameters"]] == ["d", "b", "c", "a"]


def test_a_field_with_no_value_is_no_field() -> None:
    assert after(Written(fields={"a": 1}), {"a": None, "b": None}) == Written(fields={})
