"""Scenes: written, edited node by node and choice by choice, deleted and restored."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from behaviour import ASKED, given
from story_reading import Telling

from commands.story import scene_nodes
from commands.story.scene import (
    AddChoice,
    AddNode,
    CreateScene,
    DeleteScene,
    EditChoice,
    EditNode,
    EditScene,
    MoveChoice,
    MoveNode,
    RemoveChoice,
    RemoveNode,
    RenameNode,
    RenameScene,
    ReorderNodes,
    ReplaceScene,
    RestoreScene,
    SetSceneVariables,
)
from domain.errors import Invalid, NotFound, Refused, Stale
from domain.story.places import GAP
from domain.story.scene import CONTEXT
from domain.story.scene_events import (
    NodeAdded,
    NodeEdited,
    NodeMoved,
    NodeRemoved,
    NodesWritten,
    PlacedNode,
    SceneCreated,
    SceneDeleted,
    SceneEdited,
    SceneHeader,
    SceneRestored,
    Summary,
)
from domain.story.scene_model import NODE_BYTES, TEXT_LIMIT, Node
from domain.story.scene_states import Written, document_of
from services.dispatcher import Dispatcher
from services.registry import REGISTRY

GATE: dict[str, Any] = {
    "id": "gate", "text": "The gate is shut.", "speaker": "Mira",
    "choices": [
        {"id": "knock", "target": "hall", "label": "Knock"},
        {"target": "road", "label": "Leave", "weight": 0.5},
    ],
}
HALL: dict[str, Any] = {"id": "hall", "text": "Warm.", "choices": [{"target": "road"}]}
ROAD: dict[str, Any] = {"id": "road", "end": True}
DOCUMENT: dict[str, Any] = {
    "id": "intro", "title": "Intro", "start": "gate", "variables": {"gold": 3}, "nodes": [GATE, HALL, ROAD],
}


def placed(node: dict[str, Any], *place: int) -> PlacedNode:
    return PlacedNode(place=place, node=node)


def said(title: str = "Intro", nodes: int = 3) -> Summary:
    return Summary(title=title, nodes=nodes)


CREATED = SceneCreated(
    scene_id="intro", header=SceneHeader(title="Intro", start="gate", variables={"gold": 3}),
    nodes=(placed(GATE, 0), placed(HALL, GAP), placed(ROAD, 2 * GAP)), summary=said(),
)
DELETED = SceneDeleted(scene_id="intro")


def scene(document: dict[str, Any] = DOCUMENT, **changed: Any) -> CreateScene:
    return CreateScene.model_validate(document | changed)


def replacing(document: dict[str, Any]) -> ReplaceScene:
    return ReplaceScene.model_validate({"scene_id": "intro", **document})


def node(**fields: Any) -> Node:
    return Node.model_validate(fields)


def edited(before: PlacedNode, *changed: str, **fields: Any) -> NodeEdited:
    after = {name: value for name, value in {**before.node, **fields}.items() if value is not None}
    return NodeEdited(scene_id="intro", node=PlacedNode(place=before.place, node=after), changed=changed)


# --- the scene as a whole -----------------------------------------------------------------------------------------


def test_a_scene_is_created_with_its_nodes_in_order() -> None:
    given().when(scene()).then(CREATED).and_again_nothing()


def test_a_scene_without_a_title_is_listed_by_its_id() -> None:
    (event,) = given().when(scene(title=None))._decide()
    assert event.summary == said("intro")


def test_another_scene_cannot_take_an_id_that_is_used() -> None:
    given(CREATED).when(scene(title="Other")).then_refused("scene_exists", Refused)


def test_a_deleted_scene_is_not_created_over() -> None:
    given(CREATED, DELETED).when(scene()).then_refused("scene_deleted", Refused)


def test_a_document_is_refused_with_every_mistake_and_its_place() -> None:
    broken = {
        "id": "broken", "start": "nowhere",
        "nodes": [{"id": "a", "choices": [{"target": "b"}, {"target": "a"}]}, {"id": "a"}],
    }
    error = given().when(scene(broken)).then_refused("invalid_scene", Invalid)
    told = {(one["path"], one["code"]) for one in error.detail["errors"]}
    assert told == {
        ("nodes/1/id", "duplicate_node"), ("start", "missing_start"),
        ("nodes/0/choices/0/target", "missing_target"),
    }
    assert {remedy.action for remedy in error.remediation} == {"rename_node", "choose_start", "add_target"}


def test_a_large_scene_is_written_in_several_events_that_each_fit() -> None:
    nodes = [
        {"id": f"n{number}", "text": "word " * 400, "choices": [{"target": f"n{(number + 1) % 700}"}]}
        for number in range(700)
    ]
    document = {"id": "long", "start": "n0", "nodes": nodes}
    events = given().when(scene(document))._decide()
    assert len(events) > 3
    assert all(len(event.model_dump_json()) < 600_000 for event in events)
    state: Any = CONTEXT.initial
    for event in events:
        state = CONTEXT.evolve(state, event)
    assert document_of(state) == document
    assert events[-1].summary.nodes == 700
    given(*events).when(scene(document)).then_nothing()


def test_replacing_records_only_what_differs() -> None:
    changed = DOCUMENT | {"title": "Arrival", "nodes": [GATE, HALL | {"text": "Cold."}, ROAD]}
    given(CREATED).when(replacing(changed)).then(
        NodesWritten(scene_id="intro", written=(placed(HALL | {"text": "Cold."}, GAP),), removed=(), summary=said()),
        SceneEdited(scene_id="intro", changed=("title",), header=SceneHeader(title="Arrival"), summary=said("Arrival")),
    ).and_again_nothing()


def test_replacing_adds_moves_and_removes_nodes() -> None:
    inn = {"id": "inn", "choices": [{"target": "road"}]}
    gate = GATE | {"choices": [{"target": "inn"}]}
    (event,) = given(CREATED).when(replacing(DOCUMENT | {"nodes": [gate, inn, ROAD]}))._decide()
    assert [one.id for one in event.written] == ["gate", "inn"]
    assert event.removed == ("hall",)
    assert event.summary == said(nodes=3)
    assert (0,) < event.written[1].place < (2 * GAP,)


def test_replacing_takes_away_fields_that_the_document_lacks() -> None:
    bare = {"id": "intro", "start": "gate", "nodes": DOCUMENT["nodes"]}
    given(CREATED).when(replacing(bare)).then(SceneEdited(
        scene_id="intro", changed=("title", "variables"), header=SceneHeader(), summary=said("intro"),
    ))


def test_replacing_with_the_same_document_records_nothing() -> None:
    given(CREATED).when(replacing(DOCUMENT)).then_nothing()


def test_replacing_needs_a_scene_and_its_own_id() -> None:
    given().when(replacing(DOCUMENT)).then_refused("unknown_scene", NotFound)
    given(CREATED).when(replacing(DOCUMENT | {"id": "other"})).then_refused("other_scene", Invalid)
    given(CREATED).when(replacing(DOCUMENT | {"start": "cave"})).then_refused("invalid_scene", Invalid)


def test_one_true_and_one_point_zero_are_three_values() -> None:
    history = [CREATED]
    for value in (True, 3.0, 3):
        (event,) = given(*history).when(SetSceneVariables(scene_id="intro", set={"gold": value}))._decide()
        assert event.header.variables == {"gold": value}
        history.append(event)


def test_a_scene_is_edited_field_by_field() -> None:
    given(CREATED).when(EditScene(scene_id="intro", description="Dusk.", start="hall")).then(SceneEdited(
        scene_id="intro", changed=("description", "start"), header=SceneHeader(description="Dusk.", start="hall"),
        summary=said(),
    )).and_again_nothing()


def test_null_takes_a_field_away_and_absence_leaves_it() -> None:
    given(CREATED).when(EditScene(scene_id="intro", title=None)).then(SceneEdited(
        scene_id="intro", changed=("title",), header=SceneHeader(), summary=said("intro"),
    )).and_again_nothing()
    given(CREATED).when(EditScene(scene_id="intro")).then_nothing()


@pytest.mark.parametrize("start", ["cave", None])
def test_a_scene_always_starts_somewhere(start: str | None) -> None:
    given(CREATED).when(EditScene(scene_id="intro", start=start)).then_refused("invalid_scene", Invalid)


def test_a_scene_is_renamed() -> None:
    given(CREATED).when(RenameScene(scene_id="intro", title="Arrival")).then(SceneEdited(
        scene_id="intro", changed=("title",), header=SceneHeader(title="Arrival"), summary=said("Arrival"),
    )).and_again_nothing()
    given().when(RenameScene(scene_id="intro", title="Arrival")).then_refused("unknown_scene", NotFound)


def test_single_variables_are_set_and_unset() -> None:
    given(CREATED).when(SetSceneVariables(scene_id="intro", set={"key": True}, unset=("gold", "none"))).then(
        SceneEdited(scene_id="intro", changed=("variables",), header=SceneHeader(variables={"key": True}),
                    summary=said()),
    ).and_again_nothing()
    both = SetSceneVariables(scene_id="intro", set={"gold": 1}, unset=("gold",))
    given(CREATED).when(both).then_refused("contradicting_variables", Invalid)


def test_a_scene_is_deleted_and_restored_without_losing_anything() -> None:
    given(CREATED).when(DeleteScene(scene_id="intro")).then(DELETED).and_again_nothing()
    restored = SceneRestored(scene_id="intro", summary=said())
    given(CREATED, DELETED).when(RestoreScene(scene_id="intro")).then(restored).and_again_nothing()
    given(CREATED, DELETED, restored).when(replacing(DOCUMENT)).then_nothing()


def test_what_was_never_written_is_neither_deleted_nor_restored() -> None:
    given().when(DeleteScene(scene_id="intro")).then_refused("unknown_scene", NotFound)
    given().when(RestoreScene(scene_id="intro")).then_refused("unknown_scene", NotFound)


@pytest.mark.parametrize("command", [
    EditScene(scene_id="intro", title="X"), EditNode(scene_id="intro", node_id="gate", text="X"),
    AddNode(scene_id="intro", node=node(id="new")), RemoveNode(scene_id="intro", node_id="hall"),
    replacing(DOCUMENT), RemoveChoice(scene_id="intro", node_id="gate", choice_id="knock"),
])
def test_a_deleted_scene_is_not_edited(command: Any) -> None:
    given(CREATED, DELETED).when(command).then_refused("scene_deleted", Refused)


# --- nodes --------------------------------------------------------------------------------------------------------


def test_a_node_is_added_at_the_end() -> None:
    given(CREATED).when(AddNode(scene_id="intro", node=node(id="inn", end=True))).then(
        NodeAdded(scene_id="intro", node=placed({"id": "inn", "end": True}, 3 * GAP), summary=said(nodes=4)),
    ).and_again_nothing()


@pytest.mark.parametrize(("where", "place"), [
    ({"before": "gate"}, (-GAP,)), ({"after": "gate"}, (GAP // 2,)), ({"at": 1}, (GAP // 2,)),
    ({"at": 99}, (3 * GAP,)), ({"after": "road"}, (3 * GAP,)),
])
def test_a_node_is_added_where_it_is_asked_for(where: dict[str, Any], place: tuple[int, ...]) -> None:
    (event,) = given(CREATED).when(AddNode(scene_id="intro", node=node(id="inn"), **where))._decide()
    assert event.node.place == place


def test_a_node_needs_a_free_id_existing_targets_and_one_place() -> None:
    given(CREATED).when(AddNode(scene_id="intro", node=node(id="gate"))).then_refused("node_exists", Refused)
    lost = node(id="inn", choices=[{"target": "cave"}])
    given(CREATED).when(AddNode(scene_id="intro", node=lost)).then_refused("invalid_scene", Invalid)
    own = AddNode(scene_id="intro", node=node(id="inn"), after="cave")
    given(CREATED).when(own).then_refused("unknown_node", NotFound)
    two = AddNode(scene_id="intro", node=node(id="inn"), after="gate", at=1)
    given(CREATED).when(two).then_refused("contradicting_places", Invalid)


def test_a_node_may_lead_to_itself() -> None:
    loop = node(id="wait", choices=[{"target": "wait"}])
    assert len(given(CREATED).when(AddNode(scene_id="intro", node=loop))._decide()) == 1


def test_between_two_nodes_at_one_place_others_make_room() -> None:
    # Two branches that added a node at the same end meet in a merge.
    left, right = placed({"id": "left"}, 3 * GAP), placed({"id": "right"}, 3 * GAP)
    history = [
        CREATED, NodeAdded(scene_id="intro", node=left, summary=said(nodes=4)),
        NodeAdded(scene_id="intro", node=right, summary=said(nodes=5)),
    ]
    (event,) = given(*history).when(AddNode(scene_id="intro", node=node(id="mid"), after="left"))._decide()
    assert isinstance(event, NodesWritten)
    state: Any = given(*history, event).when(DeleteScene(scene_id="intro"))._state()
    assert [one["id"] for one in document_of(state)["nodes"]] == ["gate", "hall", "road", "left", "mid", "right"]


def test_a_place_that_was_divided_very_often_is_laid_out_anew() -> None:
    state: Any = CONTEXT.evolve(CONTEXT.initial, CREATED)
    order, newest, laid_out = ["gate", "hall", "road"], "gate", 0
    for number in range(1000):
        # Now behind and now before the newest: the narrowest gap there is.
        where = {"after": newest} if number % 2 == 0 else {"before": newest}
        events = scene_nodes.add(AddNode(scene_id="intro", node=node(id=f"n{number}"), **where), state, ASKED)
        for event in events:
            state = CONTEXT.evolve(state, event)
            laid_out += isinstance(event, NodesWritten)
        order.insert(order.index(newest) + (number % 2 == 0), f"n{number}")
        newest = f"n{number}"
    assert [one["id"] for one in document_of(state)["nodes"]] == order
    assert 0 < laid_out < 10


def test_an_edit_changes_only_what_it_names() -> None:
    given(CREATED).when(EditNode(scene_id="intro", node_id="gate", text="It opens.", end=False)).then(
        edited(CREATED.nodes[0], "end", "text", text="It opens.", end=False),
    ).and_again_nothing()


def test_null_takes_a_field_of_a_node_away() -> None:
    given(CREATED).when(EditNode(scene_id="intro", node_id="gate", speaker=None)).then(
        edited(CREATED.nodes[0], "speaker", speaker=None),
    ).and_again_nothing()


def test_an_edit_needs_a_node_and_existing_targets() -> None:
    given(CREATED).when(EditNode(scene_id="intro", node_id="cave", text="X")).then_refused("unknown_node", NotFound)
    lost = EditNode.model_validate({"scene_id": "intro", "node_id": "gate", "choices": [{"target": "cave"}]})
    error = given(CREATED).when(lost).then_refused("invalid_scene", Invalid)
    assert error.detail["errors"][0]["path"] == "nodes/gate/choices/0/target"


def test_a_node_that_one_event_could_not_carry_is_refused() -> None:
    takes = ["x" * 60_000] * 4
    large = EditNode(scene_id="intro", node_id="gate", text="é" * TEXT_LIMIT, data={"takes": takes})
    (event,) = given(CREATED).when(large)._decide()
    assert event.changed == ("data", "text")
    rules = {"more": ["y" * 60_000] * 3}
    assert 60_000 * 7 + 2 * TEXT_LIMIT > NODE_BYTES
    too_large = EditNode.model_validate({**large.model_dump(exclude_unset=True), "narrator_rules": rules})
    given(CREATED).when(too_large).then_refused("invalid_scene", Invalid)


def test_a_node_is_renamed_with_everything_that_leads_to_it() -> None:
    events = given(CREATED).when(RenameNode(scene_id="intro", node_id="road", to="highway"))
    (event,) = events._decide()
    assert [one.id for one in event.written] == ["highway", "gate", "hall"]
    assert event.removed == ("road",)
    assert event.written[1].node["choices"][1]["target"] == "highway"
    events.and_again_nothing()


def test_the_start_is_renamed_too() -> None:
    written, header = given(CREATED).when(RenameNode(scene_id="intro", node_id="gate", to="door"))._decide()
    assert [one.id for one in written.written] == ["door"]
    assert (header.changed, header.header.start) == (("start",), "door")
    given(CREATED).when(RenameNode(scene_id="intro", node_id="gate", to="hall")).then_refused("node_exists", Refused)
    given(CREATED).when(RenameNode(scene_id="intro", node_id="a", to="b")).then_refused("unknown_node", NotFound)


def test_a_node_is_moved_alone() -> None:
    given(CREATED).when(MoveNode(scene_id="intro", node_id="road", before="hall")).then(
        NodeMoved(scene_id="intro", node=placed(ROAD, GAP // 2)),
    ).and_again_nothing()
    given(CREATED).when(MoveNode(scene_id="intro", node_id="road", after="road")).then_refused("own_neighbour", Invalid)


def test_a_new_order_moves_as_few_nodes_as_possible() -> None:
    given(CREATED).when(ReorderNodes(scene_id="intro", order=("road", "gate", "hall"))).then(
        NodeMoved(scene_id="intro", node=placed(ROAD, -GAP)),
    ).and_again_nothing()
    for order in (("gate", "hall"), ("gate", "hall", "road", "road"), ("gate", "hall", "cave")):
        given(CREATED).when(ReorderNodes(scene_id="intro", order=order)).then_refused("incomplete_order", Invalid)


def test_a_node_that_nothing_leads_to_is_removed() -> None:
    inn = NodeAdded(scene_id="intro", node=placed({"id": "inn"}, 3 * GAP), summary=said(nodes=4))
    given(CREATED, inn).when(RemoveNode(scene_id="intro", node_id="inn")).then(
        NodeRemoved(scene_id="intro", node_id="inn", summary=said()),
    ).and_again_nothing()


def test_a_node_that_is_led_to_is_removed_with_its_choices_only_when_asked() -> None:
    error = given(CREATED).when(RemoveNode(scene_id="intro", node_id="road")).then_refused("node_in_use", Refused)
    assert error.detail["from"] == ["gate", "hall"]
    (event,) = given(CREATED).when(RemoveNode(scene_id="intro", node_id="road", detach=True))._decide()
    assert event.removed == ("road",)
    assert [choice["target"] for one in event.written for choice in one.node["choices"]] == ["hall"]
    assert event.summary == said(nodes=2)


def test_the_start_is_not_removed() -> None:
    given(CREATED).when(RemoveNode(scene_id="intro", node_id="gate", detach=True)).then_refused("start_node", Refused)


# --- choices ------------------------------------------------------------------------------------------------------


def choosing(**fields: Any) -> AddChoice:
    return AddChoice.model_validate({"scene_id": "intro", "node_id": "hall", **fields})


def test_a_choice_is_added() -> None:
    choice = {"id": "back", "target": "gate"}
    given(CREATED).when(choosing(choice=choice, at=0)).then(
        edited(CREATED.nodes[1], "choices/back", choices=[choice, {"target": "road"}]),
    ).and_again_nothing()


def test_a_choice_needs_a_target_and_an_address_of_its_own() -> None:
    given(CREATED).when(choosing(choice={"target": "cave"})).then_refused("invalid_scene", Invalid)
    taken = choosing(choice={"target": "road", "label": "Run"})
    given(CREATED).when(taken).then_refused("choice_exists", Refused)
    assert given(CREATED).when(choosing(choice={"target": "road", "id": "run"}))._decide()


def test_a_choice_is_edited_by_its_id_or_its_target() -> None:
    command = EditChoice(scene_id="intro", node_id="gate", choice_id="road", weight=2, label=None)
    choices = [GATE["choices"][0], {"target": "road", "weight": 2}]
    given(CREATED).when(command).then(edited(CREATED.nodes[0], "choices/road", choices=choices)).and_again_nothing()
    wrong = EditChoice(scene_id="intro", node_id="gate", choice_id="hall", label="X")
    given(CREATED).when(wrong).then_refused("unknown_choice", NotFound)


def test_a_choice_that_gets_another_address_is_edited_once() -> None:
    command = EditChoice(scene_id="intro", node_id="gate", choice_id="road", id="leave", target="hall")
    given(CREATED).when(command).and_again_nothing()


def test_a_choice_keeps_a_target_and_an_address_of_its_own() -> None:
    away = EditChoice(scene_id="intro", node_id="gate", choice_id="knock", target=None)
    given(CREATED).when(away).then_refused("missing_target", Invalid)
    same = EditChoice(scene_id="intro", node_id="gate", choice_id="road", id="knock")
    given(CREATED).when(same).then_refused("choice_exists", Refused)


def test_choices_with_one_address_are_told_apart_only_as_a_whole() -> None:
    twins = [{"target": "road", "weight": 1}, {"target": "road", "weight": 2}]
    history = [CREATED, edited(CREATED.nodes[1], "choices", choices=twins)]
    command = EditChoice(scene_id="intro", node_id="hall", choice_id="road", label="Go")
    given(*history).when(command).then_refused("ambiguous_choice", Invalid)


def test_a_choice_is_moved_and_removed() -> None:
    knock, leave = GATE["choices"]
    given(CREATED).when(MoveChoice(scene_id="intro", node_id="gate", choice_id="road", at=0)).then(
        edited(CREATED.nodes[0], "choices/road", choices=[leave, knock]),
    ).and_again_nothing()
    given(CREATED).when(RemoveChoice(scene_id="intro", node_id="gate", choice_id="knock")).then(
        edited(CREATED.nodes[0], "choices/knock", choices=[leave]),
    ).and_again_nothing()
    lost = MoveChoice(scene_id="intro", node_id="gate", choice_id="x", at=0)
    given(CREATED).when(lost).then_refused("unknown_choice", NotFound)


# --- raced --------------------------------------------------------------------------------------------------------


def test_fifty_edits_of_different_things_at_once_all_survive(tmp_path: Path) -> None:
    telling = Telling(tmp_path)
    nodes = [{"id": f"n{number}", "choices": [{"id": "on", "target": "n0"}]} for number in range(10)]
    telling.ask(CreateScene.model_validate({"id": "intro", "start": "n0", "nodes": nodes}))
    edits: list[Any] = []
    for number in range(10):
        about = {"scene_id": "intro", "node_id": f"n{number}"}
        edits += [
            EditNode.model_validate({**about, "text": f"text {number}"}),
            EditNode.model_validate({**about, "speaker": f"speaker {number}"}),
            EditNode.model_validate({**about, "data": {"mood": number}}),
            EditChoice.model_validate({**about, "choice_id": "on", "label": f"label {number}"}),
            SetSceneVariables(scene_id="intro", set={f"v{number}": number}),
        ]

    async def at_once() -> None:
        await asyncio.gather(*[telling.ask_later(edit) for edit in edits])

    asyncio.run(at_once())
    shown = telling.look("ShowScene", scene_id="intro", bare=True)
    assert shown["variables"] == {f"v{number}": number for number in range(10)}
    for number, one in enumerate(shown["nodes"]):
        assert (one["text"], one["speaker"], one["data"]) == (f"text {number}", f"speaker {number}", {"mood": number})
        assert one["choices"][0]["label"] == f"label {number}"


def test_two_processes_that_edit_at_once_both_survive(tmp_path: Path) -> None:
    telling = Telling(tmp_path)
    telling.ask(scene())
    other = Dispatcher(telling.log, REGISTRY)

    async def race() -> None:
        for number in range(25):
            here = EditNode(scene_id="intro", node_id="gate", text=f"here {number}")
            there = EditNode(scene_id="intro", node_id="gate", speaker=f"there {number}")
            await asyncio.gather(telling.ask_later(here), other.ask(there, telling.asked()))

    asyncio.run(race())
    node_ = telling.look("ShowNode", scene_id="intro", node_id="gate")["node"]
    assert (node_["text"], node_["speaker"]) == ("here 24", "there 24")


def test_of_two_who_create_one_scene_at_once_one_is_refused(tmp_path: Path) -> None:
    telling = Telling(tmp_path)

    async def race() -> list[Any]:
        both = [telling.ask_later(scene()), telling.ask_later(scene(title="Other"))]
        return await asyncio.gather(*both, return_exceptions=True)

    results = asyncio.run(race())
    assert [getattr(result, "code", None) for result in results].count("scene_exists") == 1


def test_an_edit_on_an_old_version_is_stale(tmp_path: Path) -> None:
    telling = Telling(tmp_path)
    telling.ask(scene())
    telling.ask(RenameScene(scene_id="intro", title="Arrival"), expected_version=1)
    with pytest.raises(Stale):
        telling.ask(RenameScene(scene_id="intro", title="Late"), expected_version=1)


def test_several_commands_are_decided_as_one(tmp_path: Path) -> None:
    telling = Telling(tmp_path)
    telling.ask(scene())
    with pytest.raises(Invalid):
        telling.ask(
            AddNode(scene_id="intro", node=node(id="inn")),
            EditNode.model_validate({"scene_id": "intro", "node_id": "inn", "choices": [{"target": "cave"}]}),
        )
    assert isinstance(state := telling.state("scene", "intro"), Written)
    assert "inn" not in state.nodes
