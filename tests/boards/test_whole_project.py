"""A whole project in one answer says what each document says by itself, in pages of one position."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from story_reading import Telling

from adapters.sql.values import json_text
from commands.story.scene import AddNode, CreateScene, DeleteScene, EditScene, MoveNode
from commands.story.timeline import CreateTimeline, MoveTimelineEntry
from commands.story.variables import DeclareVariable, SetVariables
from commands.story.world import CreateWorld
from commands.story.worldline import ForkWorldline
from domain.context import Layout
from domain.errors import Invalid, NotFound
from domain.story import scene as scenes
from domain.story.authored import document_from
from domain.story.scene_events import HEADER
from domain.story.scene_states import document_from as scene_document
from domain.story.timeline import TIMELINE
from projections.boards.document_texts import document_text


@pytest.fixture
def telling(tmp_path: Path) -> Telling:
    return Telling(tmp_path)


def whole(telling: Telling, **query: Any) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(orjson.dumps(telling.look("ShowProjectDocument", **query)))
    return found


def scene(id_: str, text: str = "Hello.") -> CreateScene:
    return CreateScene.model_validate({"id": id_, "start": "a", "nodes": [
        {"id": "a", "text": text, "choices": [{"target": "b"}]}, {"id": "b", "end": True}]})


def alone(telling: Telling, view: str, field: str, id_: str, **query: Any) -> Any:
    return telling.look(view, bare=True, **{field: id_}, **query)


def test_every_document_is_as_it_is_by_itself(telling: Telling) -> None:
    telling.ask(scene("gate", 'A ","place":[9]} in "quotes", \\ and 🌊'))
    telling.ask(AddNode.model_validate({"scene_id": "gate", "node": {"id": "z", "text": "First."}, "at": 0}))
    telling.ask(MoveNode.model_validate({"scene_id": "gate", "node_id": "b", "before": "z"}))
    telling.ask(CreateTimeline.model_validate({"id": "main", "title": "Days", "entries": [
        {"scene": "gate"}, {"scene": "later"}, {"id": "x", "scene": "gate"}]}))
    telling.ask(MoveTimelineEntry.model_validate({"timeline_id": "main", "entry_id": "x", "at": 0}))
    coast = {"id": "coast", "name": "Coast", "summary": "Wind.", "rules": {"b": 1, "a": [2]}}
    telling.ask(CreateWorld.model_validate(coast))
    telling.ask(DeclareVariable.model_validate({"name": "gold", "scope": "global", "default": 2**60}))
    telling.ask(SetVariables(values={"gold": None}))
    found = whole(telling)
    documents = found["documents"]
    assert documents["scene"]["gate"] == alone(telling, "ShowScene", "scene_id", "gate")
    assert documents["timeline"]["main"] == alone(telling, "ShowTimelineDocument", "timeline_id", "main")
    assert documents["world"]["coast"] == alone(telling, "ShowWorld", "world_id", "coast")
    assert documents["variables"]["project"]["values"] == {"gold": {"value": None}}
    there = {category: count for category, count in found["counts"].items() if count}
    assert there == {"scene": 1, "timeline": 1, "world": 1, "variables": 1}
    assert (found["position"], found["next"]) == (telling.head, None)


def test_it_is_as_of_a_position_on_a_worldline(telling: Telling) -> None:
    telling.ask(scene("gate"))
    before = telling.head
    telling.ask(scene("later"))
    telling.ask(ForkWorldline(worldline_id="storm"))
    telling.ask(EditScene.model_validate({"scene_id": "gate", "title": "Storm"}), worldline="storm")
    telling.ask(DeleteScene(scene_id="later"), worldline="storm")
    telling.ask(scene("mainland"))
    assert list(whole(telling)["documents"]["scene"]) == ["gate", "later", "mainland"]
    assert list(whole(telling, as_of=before)["documents"]["scene"]) == ["gate"]
    storm = whole(telling, worldline="storm")
    assert list(storm["documents"]["scene"]) == ["gate"]
    assert storm["documents"]["scene"]["gate"] == alone(telling, "ShowScene", "scene_id", "gate", worldline="storm")
    with pytest.raises(NotFound):
        whole(telling, worldline="nowhere")


def test_pages_show_one_position_and_everything_once(telling: Telling) -> None:
    for number in range(23):
        telling.ask(scene(f"s{number:02}"))
    telling.ask(CreateTimeline(id="main"))
    first = whole(telling, limit=5)
    telling.ask(scene("too-late"))
    telling.ask(DeleteScene(scene_id="s20"))
    seen, page = [*first["documents"]["scene"]], first
    while page["next"]:
        page = whole(telling, limit=5, cursor=page["next"])
        assert page["position"] == first["position"]
        seen += [*page["documents"]["scene"], *page["documents"]["timeline"]]
    assert seen == [*(f"s{number:02}" for number in range(23)), "main"]
    assert list(whole(telling, category=("timeline",))["documents"]) == ["timeline"]
    with pytest.raises(NotFound) as unknown:
        whole(telling, category=("playthrough",))
    assert "scene" in unknown.value.detail["known"]
    for cursor in ("nonsense", "WzEsMiwzXQ", "WyJhIiwiYiIsMF0"):
        with pytest.raises(Invalid):
            whole(telling, cursor=cursor)
    with pytest.raises(Invalid):
        whole(telling, cursor=first["next"], as_of=1)


# --- texts --------------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
    | st.sampled_from(['","place":[1]}', '{"node":', " ", "null"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=8)
PLACES = st.lists(st.integers(-99, 99), min_size=1, max_size=3)
KEYS = st.text(min_size=1, max_size=6)
ITEMS = st.dictionaries(KEYS, st.tuples(JSON, PLACES), max_size=6)
HEADERS = st.dictionaries(st.sampled_from(HEADER), JSON)


def stored(value: Any) -> str:
    """As the database holds it."""
    return json_text(value)


@settings(max_examples=150, deadline=None)
@given(ITEMS, HEADERS)
def test_a_scene_put_together_from_texts_is_the_scene(nodes: dict[str, Any], header: dict[str, Any]) -> None:
    fields = {
        f"nodes/{id_}": {"node": {"id": id_, "data": data}, "place": place} for id_, (data, place) in nodes.items()
    }
    whole_ = {**header, **fields, "summary": {}}
    layout = scenes.CONTEXT.layout
    assert layout is not None
    text = document_text(layout, "gate", {path: stored(value) for path, value in whole_.items()})
    assert parsed(text) == scene_document("gate", whole_)


@given(ITEMS)
def test_an_authored_document_put_together_from_texts_is_the_document(entries: dict[str, Any]) -> None:
    fields = {
        f"entries/{id_}": {"item": {"id": id_, "x": one}, "place": place} for id_, (one, place) in entries.items()
    }
    layout = Layout(TIMELINE.header, {"entries": "item"})
    text = document_text(layout, "main", {path: stored(value) for path, value in fields.items()})
    assert parsed(text) == {"id": "main", **document_from(TIMELINE, fields)}


def test_what_has_no_layout_is_told_as_fields() -> None:
    assert parsed(document_text(None, "x", {"a": "1", "b": "null"})) == {"id": "x", "fields": {"a": 1}}


def parsed(text: str) -> Any:
    return json.loads(text)
