"""Scenes as people read them: on any worldline, as of any position, the same as folding them says."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from story_reading import Telling

from commands.declaration import Command
from commands.story.scene import (
    AddChoice,
    AddNode,
    CreateScene,
    DeleteScene,
    EditChoice,
    EditNode,
    EditScene,
    MoveNode,
    RemoveNode,
    RenameNode,
    RenameScene,
    ReorderNodes,
    ReplaceScene,
    RestoreScene,
    SetSceneVariables,
)
from commands.story.worldline import ForkWorldline
from domain.bounded_json import same_json
from domain.errors import ComfyVNError, NotFound
from domain.story.scene_states import Written, document_of


def scene(id_: str = "intro", **more: Any) -> CreateScene:
    nodes = [{"id": "a", "text": "one", "choices": [{"target": "b"}]}, {"id": "b", "end": True}]
    return CreateScene.model_validate({"id": id_, "title": id_.title(), "start": "a", "nodes": nodes, **more})


@pytest.fixture
def telling(tmp_path: Path) -> Telling:
    return Telling(tmp_path)


def texts(shown: dict[str, Any]) -> list[str | None]:
    return [node.get("text") for node in shown["nodes"]]


def test_a_scene_is_shown_with_its_version_and_position(telling: Telling) -> None:
    telling.ask(scene())
    receipt = telling.ask(EditNode(scene_id="intro", node_id="a", text="two"))
    shown = telling.look("ShowScene", scene_id="intro")
    assert (shown["version"], shown["position"]) == (receipt.version, receipt.position) == (2, 2)
    assert (shown["worldline"], shown["inherited_from"]) == ("main", None)
    assert texts(shown) == ["two", None]


def test_a_scene_is_shown_as_it_was(telling: Telling) -> None:
    telling.ask(scene())
    for number in range(5):
        telling.ask(EditNode(scene_id="intro", node_id="a", text=f"text {number}"))
    assert texts(telling.look("ShowScene", scene_id="intro", as_of=1))[0] == "one"
    for number in range(5):
        shown = telling.look("ShowScene", scene_id="intro", as_of=2 + number)
        assert (texts(shown)[0], shown["version"], shown["position"]) == (f"text {number}", 2 + number, 2 + number)


def test_a_scene_is_not_there_before_it_was_created(telling: Telling) -> None:
    telling.ask(scene("other"))
    telling.ask(scene())
    with pytest.raises(NotFound) as caught:
        telling.look("ShowScene", scene_id="intro", as_of=1)
    assert caught.value.code == "unknown_scene"
    with pytest.raises(NotFound):
        telling.look("ShowNode", scene_id="intro", node_id="nobody")


def test_a_branch_reads_its_parent_as_it_was_at_the_fork(telling: Telling) -> None:
    telling.ask(scene())
    telling.ask(ForkWorldline(worldline_id="dark"))
    telling.ask(EditNode(scene_id="intro", node_id="a", text="later on main"))
    telling.ask(scene("later"))
    shown = telling.look("ShowScene", scene_id="intro", worldline="dark")
    assert (texts(shown)[0], shown["inherited_from"], shown["version"]) == ("one", "main", 1)
    assert [one["id"] for one in telling.look("ListScenes", worldline="dark")["items"]] == ["intro"]
    with pytest.raises(NotFound):
        telling.look("ShowScene", scene_id="later", worldline="dark")


def test_edits_on_a_branch_stay_there_and_edits_on_the_parent_after_the_fork_too(telling: Telling) -> None:
    telling.ask(scene())
    telling.ask(ForkWorldline(worldline_id="dark"))
    telling.ask(EditNode(scene_id="intro", node_id="a", text="dark"), worldline="dark")
    telling.ask(EditNode(scene_id="intro", node_id="b", text="main"))
    telling.ask(EditNode(scene_id="intro", node_id="a", text="light"))
    assert texts(telling.look("ShowScene", scene_id="intro", worldline="dark")) == ["dark", None]
    shown = telling.look("ShowScene", scene_id="intro", worldline="dark")
    assert (shown["version"], shown["inherited_from"]) == (2, None)
    assert texts(telling.look("ShowScene", scene_id="intro")) == ["light", "main"]


def test_a_scene_deleted_on_a_branch_stays_on_the_parent(telling: Telling) -> None:
    telling.ask(scene())
    telling.ask(ForkWorldline(worldline_id="dark"))
    telling.ask(DeleteScene(scene_id="intro"), worldline="dark")
    assert telling.look("ListScenes", worldline="dark")["items"] == []
    assert [one["id"] for one in telling.look("ListScenes", worldline="dark", deleted=True)["items"]] == ["intro"]
    with pytest.raises(NotFound) as caught:
        telling.look("ShowScene", scene_id="intro", worldline="dark")
    assert caught.value.code == "scene_deleted"
    assert [one["title"] for one in telling.look("ListScenes")["items"]] == ["Intro"]
    telling.ask(RestoreScene(scene_id="intro"), worldline="dark")
    assert texts(telling.look("ShowScene", scene_id="intro", worldline="dark")) == ["one", None]
    assert telling.look("ListScenes", worldline="dark")["items"][0]["nodes"] == 2


def test_a_branch_of_a_branch_reads_along_the_whole_chain(telling: Telling) -> None:
    telling.ask(scene())
    telling.ask(scene("gone"))
    telling.ask(ForkWorldline(worldline_id="dark"))
    telling.ask(EditNode(scene_id="intro", node_id="a", text="dark"), worldline="dark")
    telling.ask(DeleteScene(scene_id="gone"), worldline="dark")
    telling.ask(ForkWorldline(worldline_id="darker", parent="dark"))
    telling.ask(EditNode(scene_id="intro", node_id="a", text="dark again"), worldline="dark")
    telling.ask(EditNode(scene_id="intro", node_id="b", text="too late"))
    assert texts(telling.look("ShowScene", scene_id="intro", worldline="darker")) == ["dark", None]
    assert telling.look("ShowScene", scene_id="intro", worldline="darker")["inherited_from"] == "dark"
    assert [one["id"] for one in telling.look("ListScenes", worldline="darker")["items"]] == ["intro"]
    telling.ask(RenameScene(scene_id="intro", title="Deep"), worldline="darker")
    assert [one["title"] for one in telling.look("ListScenes", worldline="darker")["items"]] == ["Deep"]
    assert telling.look("ShowScene", scene_id="intro", worldline="darker")["version"] == 3


def test_a_branch_forked_in_the_past_sees_that_past(telling: Telling) -> None:
    telling.ask(scene())
    telling.ask(EditNode(scene_id="intro", node_id="a", text="two"))
    telling.ask(ForkWorldline(worldline_id="early", at=1))
    assert texts(telling.look("ShowScene", scene_id="intro", worldline="early"))[0] == "one"
    telling.ask(EditNode(scene_id="intro", node_id="b", text="new"), worldline="early")
    assert texts(telling.look("ShowScene", scene_id="intro", worldline="early")) == ["one", "new"]
    with pytest.raises(NotFound) as caught:
        telling.look("ShowScene", scene_id="intro", worldline="early", as_of=2)
    assert caught.value.code == "unknown_worldline"


def test_lists_are_filtered_and_paged(telling: Telling) -> None:
    telling.ask(ForkWorldline(worldline_id="dark", at=0))
    for number in range(25):
        telling.ask(scene(f"s{number:02}", title="Night" if number % 5 == 0 else "Day"))
    for number in (3, 4):
        telling.ask(DeleteScene(scene_id=f"s{number:02}"))
    seen: list[str] = []
    cursor = ""
    while True:
        page = telling.look("ListScenes", limit=7, cursor=cursor)
        seen += [one["id"] for one in page["items"]]
        if page["next"] is None:
            break
        cursor = page["next"]
    assert seen == [f"s{number:02}" for number in range(25) if number not in (3, 4)]
    nights = telling.look("ListScenes", q="night", limit=3)
    assert [one["id"] for one in nights["items"]] == ["s00", "s05", "s10"]
    assert telling.look("ListScenes", worldline="dark")["items"] == []


def test_a_project_is_counted_as_of_a_position(telling: Telling) -> None:
    telling.ask(scene())
    telling.ask(scene("second"))
    telling.ask(ForkWorldline(worldline_id="dark"))
    telling.ask(DeleteScene(scene_id="second"), worldline="dark")
    telling.ask(AddNode.model_validate({"scene_id": "intro", "node": {"id": "c"}}))
    assert telling.look("ShowProject")["counts"] == {"scenes": 2, "nodes": 5, "characters": 0}
    assert telling.look("ShowProject", as_of=1)["counts"] == {"scenes": 1, "nodes": 2, "characters": 0}
    dark = telling.look("ShowProject", worldline="dark")
    assert dark["counts"] == {"scenes": 1, "nodes": 2, "characters": 0}
    assert [one["worldline"] for one in dark["lineage"]] == ["dark", "main"]
    assert dark["changed_at"] == 4


def test_before_and_after_of_an_edit_are_in_the_timeline(telling: Telling) -> None:
    telling.ask(scene())
    telling.ask(EditNode(scene_id="intro", node_id="b", text="two"))
    (change,) = telling.look("ShowMoment", position=2)["changes"]
    assert change["field"] == "nodes/b"
    assert change["before"]["node"] == {"id": "b", "end": True}
    assert change["after"]["node"] == {"id": "b", "end": True, "text": "two"}


# --- what folding says and what the tables say ---------------------------------------------------------------------


def edit(draw: random.Random, known: list[str]) -> Command:
    """Any edit of the scene, sensible or not."""
    some = draw.choice([*known, "nowhere"])
    other = draw.choice([*known, "elsewhere"])
    about: dict[str, Any] = {"scene_id": "intro"}
    of = {**about, "node_id": some}
    nodes = [{"id": id_, "choices": [{"target": known[0]}]} for id_ in draw.sample(known, draw.randint(1, len(known)))]
    if all(node["id"] != known[0] for node in nodes):
        nodes.append({"id": known[0], "choices": []})
    made: list[tuple[type[Command], dict[str, Any]]] = [
        (EditNode, {**of, "text": draw.choice(["x", "y", None])}),
        (EditNode, {**of, "choices": [{"target": other, "id": "only"}]}),
        (EditChoice, {**of, "choice_id": "only", "label": draw.choice(["p", "q"])}),
        (AddChoice, {**of, "choice": {"target": other}}),
        (AddNode, {**about, "node": {"id": f"n{draw.randint(0, 9)}"}, "after": some}),
        (RemoveNode, {**of, "detach": draw.random() < 0.5}),
        (RenameNode, {**of, "to": f"r{draw.randint(0, 9)}"}),
        (MoveNode, {**of, "before": other}),
        (ReorderNodes, {**about, "order": draw.sample(known, len(known))}),
        (EditScene, {**about, "start": some, "description": draw.choice(["d", None])}),
        (SetSceneVariables, {**about, "set": {draw.choice("ab"): draw.randint(0, 3)}}),
        (DeleteScene, about), (RestoreScene, about),
        (ReplaceScene, {**about, "start": known[0], "nodes": nodes, "title": draw.choice(["One", "Two"])}),
        (CreateScene, {"id": "intro", "start": known[0], "nodes": nodes}),
    ]
    model, fields = draw.choice(made)
    return model.model_validate(fields)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32))
def test_the_tables_say_what_folding_says_on_every_worldline_at_every_position(
    seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    draw = random.Random(seed)
    telling = Telling(tmp_path_factory.mktemp("told"))
    telling.ask(scene())
    lines = ["main"]
    silent: list[str] = []
    for _ in range(40):
        line = draw.choice(lines)
        state = telling.state("scene", "intro", line)
        known = list(state.nodes) if isinstance(state, Written) else ["a", "b"]
        try:
            if draw.random() < 0.1 and len(lines) < 4:
                name = f"line{len(lines)}"
                telling.ask(ForkWorldline(worldline_id=name, parent=line))
                lines.append(name)
            else:
                telling.ask(edit(draw, known), worldline=line)
        except ComfyVNError as error:
            silent += [] if error.remediation else [error.code]
    assert silent == [], "these errors do not say what to do"
    for line in lines:
        compare(telling, line, 0)
        for _ in range(5):
            compare(telling, line, draw.randint(1, telling.head))


def compare(telling: Telling, line: str, position: int) -> None:
    try:
        shown = telling.look("ShowScene", scene_id="intro", worldline=line, as_of=position)
    except NotFound as error:
        if error.code == "unknown_worldline":
            return
        shown = None
    state = telling.state("scene", "intro", line, position or None)
    if not isinstance(state, Written):
        assert shown is None
        return
    assert shown is not None
    bare = telling.look("ShowScene", scene_id="intro", worldline=line, as_of=position, bare=True)
    assert same_json(bare, document_of(state))
    (listed,) = telling.look("ListScenes", worldline=line, as_of=position)["items"]
    assert listed["nodes"] == len(state.nodes)
    assert listed["title"] == (state.header.title or "intro")
