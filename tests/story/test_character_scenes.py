"""Where a character appears: by id and by name, on every worldline, as of any position, caught up or rebuilt."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from story_reading import Telling

from commands.story.character import CreateCharacter, DeleteCharacter, EditCharacter
from commands.story.scene import (
    AddNode,
    CreateScene,
    DeleteScene,
    EditNode,
    RemoveNode,
    RenameNode,
    ReplaceScene,
    RestoreScene,
)
from commands.story.worldline import ForkWorldline
from domain.errors import NotFound
from projections.story.appearances import called, named_in


def scene(id_: str, *nodes: dict[str, Any], **more: Any) -> CreateScene:
    return CreateScene.model_validate({"id": id_, "start": nodes[0]["id"], "nodes": nodes, **more})


def edit(scene_id: str, node_id: str, **fields: Any) -> EditNode:
    return EditNode.model_validate({"scene_id": scene_id, "node_id": node_id, **fields})


def where(telling: Telling, **query: Any) -> dict[str, list[str]]:
    """Scene -> the nodes in which Mira appears."""
    found = telling.look("CharacterScenes", **{"character_id": "mira", **query})
    return {one["scene_id"]: [node["id"] for node in one["nodes"]] for one in found["items"]}


@pytest.fixture
def telling(tmp_path: Path) -> Telling:
    found = Telling(tmp_path)
    found.ask(CreateCharacter(id="mira", name="Mira Vale"))
    found.ask(scene(
        "gate", {"id": "a", "speaker": "mira"}, {"id": "b", "speaker": " MIRA VALE "}, {"id": "c", "speaker": "ivo"},
        {"id": "d", "directives": [{"kind": "pose", "character": "mira", "pose": "still"},
                                   {"kind": "camera", "focus": "Mira Vale"}]}, title="The gate",
    ))
    found.ask(scene("hall", {"id": "x", "text": "mira is not here"}))
    return found


def test_a_character_appears_by_its_id_and_by_its_name(telling: Telling) -> None:
    (found,) = telling.look("CharacterScenes", character_id="mira")["items"]
    assert found == {
        "scene_id": "gate", "title": "The gate", "speaks": 2, "named": 1, "nodes": [
            {"id": "a", "speaks": True, "directives": []}, {"id": "b", "speaks": True, "directives": []},
            {"id": "d", "speaks": False, "directives": ["camera", "pose"]},
        ],
    }
    telling.ask(EditCharacter(character_id="mira", name="Mira"))
    assert where(telling) == {"gate": ["a", "d"]}
    assert where(telling, as_of=3) == {"gate": ["a", "b", "d"]}


def test_appearances_follow_every_edit_of_a_scene(telling: Telling) -> None:
    telling.ask(edit("gate", "a", speaker=None))
    telling.ask(edit("hall", "x", speaker="mira"))
    assert where(telling) == {"gate": ["b", "d"], "hall": ["x"]}
    telling.ask(edit("hall", "x", text="Still."))
    assert where(telling)["hall"] == ["x"]
    telling.ask(RenameNode(scene_id="hall", node_id="x", to="y"))
    assert where(telling)["hall"] == ["y"]
    telling.ask(AddNode.model_validate({"scene_id": "hall", "node": {"id": "z", "speaker": "mira"}}))
    telling.ask(RemoveNode(scene_id="gate", node_id="b"))
    assert where(telling) == {"gate": ["d"], "hall": ["y", "z"]}
    telling.ask(ReplaceScene.model_validate({"scene_id": "gate", "start": "q", "nodes": [{"id": "q"}]}))
    assert where(telling) == {"hall": ["y", "z"]}
    assert where(telling, as_of=3) == {"gate": ["a", "b", "d"]}


def test_deleted_scenes_do_not_count_until_they_are_back(telling: Telling) -> None:
    telling.ask(DeleteScene(scene_id="gate"))
    assert where(telling) == {}
    assert where(telling, as_of=3) == {"gate": ["a", "b", "d"]}
    telling.ask(RestoreScene(scene_id="gate"))
    assert where(telling) == {"gate": ["a", "b", "d"]}


def test_a_worldline_inherits_appearances_and_has_its_own(telling: Telling) -> None:
    telling.ask(ForkWorldline(worldline_id="dark"))
    telling.ask(ForkWorldline(worldline_id="darker", parent="dark"))
    telling.ask(edit("gate", "a", speaker="ivo"), worldline="dark")
    telling.ask(edit("gate", "c", speaker="mira"), worldline="dark")
    telling.ask(edit("gate", "b", speaker=None))
    telling.ask(edit("hall", "x", speaker="mira"))
    assert where(telling) == {"gate": ["a", "d"], "hall": ["x"]}
    assert where(telling, worldline="dark") == {"gate": ["b", "c", "d"]}
    assert where(telling, worldline="darker") == {"gate": ["a", "b", "d"]}
    telling.ask(RemoveNode(scene_id="gate", node_id="d"), worldline="dark")
    telling.ask(DeleteScene(scene_id="gate"), worldline="darker")
    assert where(telling, worldline="dark") == {"gate": ["b", "c"]}
    assert where(telling, worldline="darker") == {}
    assert where(telling, worldline="darker", as_of=5) == {"gate": ["a", "b", "d"]}


def test_appearances_come_in_pages(telling: Telling) -> None:
    for number in range(7):
        telling.ask(scene(f"s{number}", {"id": "a", "speaker": "mira" if number % 2 == 0 else "ivo"}))
    telling.ask(ForkWorldline(worldline_id="dark"))
    telling.ask(edit("s2", "a", speaker="ivo"), worldline="dark")
    telling.ask(edit("s3", "a", speaker="mira"), worldline="dark")
    seen: list[str] = []
    cursor = ""
    while True:
        page = telling.look("CharacterScenes", character_id="mira", worldline="dark", limit=2, cursor=cursor)
        assert len(page["items"]) <= 2
        seen += [one["scene_id"] for one in page["items"]]
        if page["next"] is None:
            break
        cursor = page["next"]
    assert seen == ["gate", "s0", "s3", "s4", "s6"]


def test_a_character_that_is_not_there_appears_nowhere(telling: Telling) -> None:
    with pytest.raises(NotFound) as caught:
        telling.look("CharacterScenes", character_id="nobody")
    assert caught.value.code == "unknown_character"
    telling.ask(DeleteCharacter(character_id="mira"))
    with pytest.raises(NotFound) as caught:
        telling.look("CharacterScenes", character_id="mira")
    assert caught.value.code == "character_deleted"


def test_a_large_project_is_not_read_through(tmp_path: Path) -> None:
    telling = Telling(tmp_path)
    telling.ask(CreateCharacter(id="mira", name="Mira"))
    for number in range(20):
        nodes = [{"id": f"n{one}", "speaker": "ivo"} for one in range(500)]
        telling.ask(scene(f"s{number}", *nodes, {"id": "here", "speaker": "mira"}))
    telling.count()
    began = time.process_time()
    assert len(where(telling, limit=100)) == 20
    assert time.process_time() - began < 1.0


WORDS = st.sampled_from(["mira", "Mira Vale", "ivo", ""])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(
    st.sampled_from(["main", "dark"]), st.sampled_from(["gate", "hall"]), st.sampled_from("ab"), WORDS,
    st.sampled_from(["edit", "edit", "edit", "delete", "restore"]),
), max_size=12))
def test_the_view_agrees_with_reading_every_scene(tmp_path_factory: pytest.TempPathFactory, steps: Any) -> None:
    telling = Telling(tmp_path_factory.mktemp("read"))
    telling.ask(CreateCharacter(id="mira", name="Mira Vale"))
    for id_ in ("gate", "hall"):
        telling.ask(scene(id_, {"id": "a", "speaker": "mira"}, {"id": "b"}))
    telling.ask(ForkWorldline(worldline_id="dark"))
    for worldline, id_, node_id, speaker, what in steps:
        state = telling.state("scene", id_, worldline)
        if what == "restore":
            telling.ask(RestoreScene(scene_id=id_), worldline=worldline)
        elif state.kind == "deleted":
            continue
        elif what == "delete":
            telling.ask(DeleteScene(scene_id=id_), worldline=worldline)
        else:
            telling.ask(edit(id_, node_id, speaker=speaker), worldline=worldline)
    for worldline in ("main", "dark"):
        for at in (0, max(4, telling.head // 2)):
            expected: dict[str, list[str]] = {}
            for one in telling.look("ListScenes", worldline=worldline, as_of=at)["items"]:
                nodes = telling.look("ShowScene", scene_id=one["id"], worldline=worldline, as_of=at)["nodes"]
                if found := [node["id"] for node in nodes if {"mira", called("Mira Vale")} & set(named_in(node))]:
                    expected[one["id"]] = found
            assert where(telling, worldline=worldline, as_of=at) == expected
