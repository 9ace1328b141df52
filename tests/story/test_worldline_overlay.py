"""Worldlines laid over one another: lanes, badges, snapshots, scrubbing; and what could be said about one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from story_reading import Telling

from commands.story.pov import SwitchWorldline
from commands.story.scene import AddNode, CreateScene, DeleteScene, EditNode, RemoveNode
from commands.story.snapshot import TakeSnapshot
from commands.story.variables import DeclareVariable
from commands.story.worldline import ArchiveWorldline, ForkWorldline
from domain.errors import NotFound
from projections.boards.worldline_bio import SuggestBio, suggest_bio


def scene(id_: str, *nodes: dict[str, Any]) -> CreateScene:
    return CreateScene.model_validate({"id": id_, "start": nodes[0]["id"], "nodes": list(nodes)})


GATE = {"id": "gate", "speaker": "Mira", "text": "Halt!", "choices": [{"target": "road"}, {"target": "cave"}]}


def told(tmp_path: Path) -> Telling:
    telling = Telling(tmp_path)
    telling.ask(scene("intro", GATE, {"id": "road", "end": True}, {"id": "cave"}))
    telling.ask(scene("coast", {"id": "pier"}))
    telling.ask(scene("attic", {"id": "dust"}))
    telling.ask(ForkWorldline(worldline_id="dark", label="Dark", pov="ivo", notes="What if he stays?"))
    dark: list[Any] = [
        EditNode(scene_id="intro", node_id="gate", text="Who goes there?"),
        EditNode(scene_id="intro", node_id="road", text="Mud.", speaker="Ivo"),
        RemoveNode(scene_id="intro", node_id="cave", detach=True),
        AddNode.model_validate({"scene_id": "intro", "node": {"id": "cellar", "speaker": "Ivo"}}),
        scene("tower", {"id": "top", "end": True}), DeleteScene(scene_id="attic"),
    ]
    for command in dark:
        telling.ask(command, worldline="dark")
    return telling


def test_badges_say_what_a_worldline_changed(tmp_path: Path) -> None:
    telling = told(tmp_path)
    telling.ask(EditNode(scene_id="coast", node_id="pier", text="later, on main"))
    telling.ask(EditNode(scene_id="intro", node_id="road", text=""), worldline="dark")
    items = {one["id"]: one for one in telling.look("ShowOverlay")["items"]}
    shown = {one["scene"]: one for one in items["dark"]["badges"]}
    assert {id_: one["badge"] for id_, one in shown.items()} == {
        "attic": "removed", "intro": "changed", "tower": "added",
    }
    assert {one["id"]: one["badge"] for one in shown["intro"]["nodes"]} == {
        "cave": "removed", "cellar": "added", "gate": "changed", "road": "changed",
    }
    assert items["dark"]["changes"]["scenes"] == {"added": 1, "removed": 1, "changed": 1, "shared": 0}
    assert items["dark"]["events"] == 7
    assert items["main"]["badges"] == []


def test_what_is_written_as_it_was_is_shared(tmp_path: Path) -> None:
    telling = Telling(tmp_path)
    telling.ask(scene("intro", GATE, {"id": "road"}, {"id": "cave"}))
    telling.ask(ForkWorldline(worldline_id="dark"))
    telling.ask(EditNode(scene_id="intro", node_id="gate", text="x"), worldline="dark")
    telling.ask(EditNode(scene_id="intro", node_id="gate", text="Halt!"), worldline="dark")
    (dark,) = telling.look("ShowOverlay", worldline="dark")["items"]
    assert dark["badges"] == [
        {"scene": "intro", "badge": "shared", "nodes": [{"id": "gate", "badge": "shared"}]}
    ]


def test_badges_of_a_grandchild_are_against_its_parent(tmp_path: Path) -> None:
    telling = told(tmp_path)
    telling.ask(ForkWorldline(worldline_id="darker", parent="dark"))
    telling.ask(EditNode(scene_id="tower", node_id="top", text="Wind."), worldline="darker")
    telling.ask(EditNode(scene_id="tower", node_id="top", text="Rain."), worldline="dark")
    (line,) = telling.look("ShowOverlay", worldline="darker")["items"]
    assert line["badges"] == [{"scene": "tower", "badge": "changed", "nodes": [{"id": "top", "badge": "changed"}]}]


def test_lanes_have_their_worldlines_and_colours(tmp_path: Path) -> None:
    telling = told(tmp_path)
    telling.ask(ForkWorldline(worldline_id="sketch", lane="scratch"))
    telling.ask(ForkWorldline(worldline_id="gone", lane="scratch"))
    telling.ask(ArchiveWorldline(worldline_id="gone"))
    telling.ask(SwitchWorldline(id="dark"))
    overlay = telling.look("ShowOverlay")
    assert [(one["lane"], one["color"], one["worldlines"]) for one in overlay["lanes"]] == [
        ("official", "#D4AF37", 1), ("vn_branch", "#1E6FFF", 1), ("scratch", "#7A7A7A", 1),
    ]
    assert [(one["id"], one["active"]) for one in overlay["items"]] == [
        ("main", False), ("dark", True), ("sketch", False),
    ]
    assert [one["id"] for one in telling.look("ShowOverlay", lane="sandbox")["items"]] == ["sketch"]
    assert [one["id"] for one in telling.look("ShowOverlay", archived=True)["items"]] == ["gone"]
    with pytest.raises(NotFound):
        telling.look("ShowOverlay", worldline="nowhere")


def test_hundreds_of_worldlines_come_in_pages(tmp_path: Path) -> None:
    telling = Telling(tmp_path)
    telling.ask(scene("intro", {"id": "gate"}))
    telling.ask(*[ForkWorldline(worldline_id=f"w{number:03}") for number in range(300)])
    telling.ask(*[TakeSnapshot(scene="intro", node="gate", worldline=f"w{number:03}") for number in range(300)])
    found, cursor = [], ""
    while cursor is not None:
        page = telling.look("ShowOverlay", limit=70, cursor=cursor)
        found += page["items"]
        cursor = page["next"]
    assert [one["id"] for one in found] == ["main", *(f"w{number:03}" for number in range(300))]
    assert all(one["snapshots"]["count"] == 1 for one in found[1:])
    key = telling.look("ScrubOverlay", lane="vn")["snapshot"]["cache_key"]
    assert key.startswith("intro:gate:w000")
    assert telling.look("ScrubOverlay", lane="vn", cache_key=key, step=100)["snapshot"]["worldline"] == "w100"


def test_snapshots_carry_the_badge_of_their_moment(tmp_path: Path) -> None:
    telling = told(tmp_path)
    for place, node in (("intro", "gate"), ("coast", "pier"), ("tower", "top"), ("attic", "dust"), ("intro", "cave")):
        telling.ask(TakeSnapshot(scene=place, node=node, worldline="dark"))
    (dark,) = telling.look("ShowOverlay", worldline="dark")["items"]
    assert [one["badge"] for one in reversed(dark["snapshots"]["items"])] == [
        "changed", "shared", "added", "removed", "removed",
    ]
    (fewer,) = telling.look("ShowOverlay", worldline="dark", snapshots=2)["items"]
    assert (fewer["snapshots"]["count"], len(fewer["snapshots"]["items"])) == (5, 2)


def test_a_lane_is_scrubbed_back_and_forth(tmp_path: Path) -> None:
    telling = told(tmp_path)
    telling.ask(ForkWorldline(worldline_id="side", lane="side"))
    keys = [
        telling.ask(TakeSnapshot(scene="intro", node="gate", worldline=line, seed=number)).told["cache_key"]
        for number, line in enumerate(["dark", "main", "side", "dark"])
    ]

    def at(**query: Any) -> str:
        return str(telling.look("ScrubOverlay", **query)["snapshot"]["cache_key"])

    assert at(cache_key=keys[0]) == keys[2]
    assert at(cache_key=keys[2], step=1, lane="vn_branch") == keys[3]
    assert at(cache_key=keys[3], step=-1) == keys[2]
    assert at(cache_key=keys[3], step=1) == keys[3]
    assert telling.look("ScrubOverlay", cache_key=keys[3], step=1)["moved"] == 0
    assert at(cache_key=keys[0], worldline="dark") == keys[3]
    assert at(lane="official") == keys[1]
    assert at(lane="vn", step=-1) == keys[3]
    assert telling.look("ScrubOverlay", lane="scratch")["snapshot"] is None
    with pytest.raises(NotFound):
        telling.look("ScrubOverlay", cache_key="no:such:key")


# --- what could be said -------------------------------------------------------------------------------------------


def bio(telling: Telling, **query: Any) -> dict[str, Any]:
    telling.count()
    with telling.models.reader() as reader:
        return suggest_bio(reader, SuggestBio(project=telling.project, **query))


def test_a_bio_is_said_from_what_changed(tmp_path: Path) -> None:
    telling = told(tmp_path)
    telling.ask(EditNode(scene_id="coast", node_id="pier", text="later, on main"))
    found = bio(telling, world="dark")
    assert found == bio(telling, world="dark"), "the same content always says the same"
    assert [one["source"] for one in found["suggestions"]] == ["notes", "diff", "speakers", "endings", "pov"]
    assert found["suggestions"][0]["summary"] == "What if he stays?"
    assert found["suggestions"][1]["summary"] == (
        "1 scene added, 1 scene removed, 2 nodes added, 2 nodes removed, 2 nodes changed."
    )
    assert "Ivo" in found["suggestions"][2]["title"]
    assert found["diff"]["scenes"] == {"added": ["tower"], "removed": ["attic"], "changed": ["intro"]}
    assert found["diff"]["endings"]["removed"] == [
        {"scene": "attic", "node": "dust"}, {"scene": "intro", "node": "cave"},
    ]
    assert all(0 <= one["confidence"] <= 1 for one in found["suggestions"])


def test_another_worldline_is_compared_as_it_is(tmp_path: Path) -> None:
    telling = told(tmp_path)
    telling.ask(EditNode(scene_id="coast", node_id="pier", text="later, on main"))
    assert "coast" in bio(telling, world="dark", compare_to="main")["diff"]["scenes"]["changed"]
    telling.ask(ForkWorldline(worldline_id="calm"))
    nothing = bio(telling, world="calm")
    assert [one["summary"] for one in nothing["suggestions"]] == ["Nothing differs from main yet."]
    assert bio(telling, world="main")["diff"]["scenes"]["added"] == ["attic", "coast", "intro"]
    assert bio(telling, world="dark", compare_to="dark")["diff"]["counts"] == {"added": 0, "removed": 0, "changed": 0}
    for query in ({"world": "nowhere"}, {"world": "dark", "compare_to": "nowhere"}):
        with pytest.raises(NotFound):
            bio(telling, **query)


def test_a_masked_bio_leaves_out_what_cannot_be_known(tmp_path: Path) -> None:
    telling = Telling(tmp_path)
    telling.ask(scene("intro", {"id": "gate", "data": {"known_to": ["ivo"]}, "text": "a"}))
    telling.ask(ForkWorldline(worldline_id="dark", pov="mira"))
    telling.ask(EditNode(scene_id="intro", node_id="gate", text="b"), worldline="dark")
    assert bio(telling, world="dark")["diff"]["counts"]["changed"] == 1
    assert bio(telling, world="dark", mask_pov=True)["diff"]["counts"]["changed"] == 0
    assert bio(telling, world="dark", mask_pov="ivo")["diff"]["counts"]["changed"] == 1
    assert bio(telling, world="dark", mask_pov=True, pov="ivo")["diff"]["counts"]["changed"] == 1


def test_a_masked_bio_leaves_out_rules_about_secret_variables(tmp_path: Path) -> None:
    telling = Telling(tmp_path)
    telling.ask(scene("intro", {"id": "gate"}))
    telling.ask(ForkWorldline(worldline_id="dark", pov="mira"))
    secret = DeclareVariable(name="killer", scope="session", known_to=("ivo",))
    telling.ask(secret, worldline="dark")
    told = {"scene_id": "intro", "node_id": "gate", "actions": [{"type": "set", "key": "killer.name", "value": "ivo"}]}
    telling.ask(EditNode.model_validate(told), worldline="dark")
    assert bio(telling, world="dark", mask_pov="ivo")["diff"]["counts"]["changed"] == 1
    assert bio(telling, world="dark", mask_pov=True)["diff"]["counts"]["changed"] == 0
