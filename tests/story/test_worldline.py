"""Worldlines: forked from where their parent is or was, described, and seen."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from behaviour import ASKED, given
from story_reading import Telling

from commands.story.scene import CreateScene, EditNode
from commands.story.worldline import ForkWorldline, UpdateWorldline
from domain.errors import Invalid, NotFound, Refused
from domain.story.worldline import Forked, Unforked, WorldlineForked, WorldlineUpdated

FORKED = WorldlineForked(
    worldline_id="dark", parent="main", forked_at=100, label="dark", lane="vn_branch", pov="narrator",
    root_node="start", notes="", metadata={},
)
DARK = Forked(
    parent="main", forked_at=40, label="dark", lane="vn_branch", pov="narrator", root_node="start", notes="",
    metadata={},
)


def test_a_worldline_is_forked_from_now() -> None:
    given().when(ForkWorldline(worldline_id="dark")).then(FORKED)


def test_a_worldline_is_forked_from_the_past() -> None:
    (event,) = given().when(ForkWorldline(worldline_id="dark", at=7, label="Dark", lane="scratch"))._decide()
    assert (event.forked_at, event.label, event.lane) == (7, "Dark", "scratch")


def test_an_id_is_forked_once_and_main_never() -> None:
    given(FORKED).when(ForkWorldline(worldline_id="dark")).then_refused("worldline_exists", Refused)
    given().when(ForkWorldline(worldline_id="main")).then_refused("worldline_exists", Refused)


def test_the_future_cannot_be_forked() -> None:
    given().when(ForkWorldline(worldline_id="dark", at=101)).then_refused("position_in_future", Invalid)


def test_a_parent_must_exist_and_have_begun() -> None:
    child = ForkWorldline(worldline_id="darker", parent="dark")
    given(others=[Unforked()]).when(child).then_refused("unknown_worldline", NotFound)
    early = child.model_copy(update={"at": 39})
    given(others=[DARK]).when(early).then_refused("before_parent", Invalid)
    (event,) = given(others=[DARK]).when(child, ASKED._replace(head=50))._decide()
    assert (event.parent, event.forked_at) == ("dark", 50)


def test_only_what_is_named_is_said_anew() -> None:
    given(FORKED).when(UpdateWorldline(worldline_id="dark", label="Night", notes="colder")).then(WorldlineUpdated(
        worldline_id="dark", label="Night", lane="vn_branch", pov="narrator", root_node="start", notes="colder",
        metadata={},
    )).and_again_nothing()
    given().when(UpdateWorldline(worldline_id="dark", label="X")).then_refused("unknown_worldline", NotFound)


def test_a_fork_copies_nothing(tmp_path: Path) -> None:
    telling = Telling(tmp_path)
    for number in range(20):
        telling.ask(CreateScene.model_validate({"id": f"s{number}", "start": "a", "nodes": [{"id": "a"}]}))
    receipt = telling.ask(ForkWorldline(worldline_id="dark"))
    assert [one.type for one in receipt.events] == ["WorldlineForked"]
    telling.count()
    with telling.models.reader() as reader:
        assert {row["worldline"] for row in reader.rows("document_fields", limit=1000)} == {"main", "-"}
    assert len(telling.look("ListScenes", worldline="dark")["items"]) == 20


def test_an_edit_on_an_unknown_worldline_is_refused(tmp_path: Path) -> None:
    telling = Telling(tmp_path)
    for command in (
        CreateScene.model_validate({"id": "s", "start": "a", "nodes": [{"id": "a"}]}),
        EditNode(scene_id="s", node_id="a", text="x"),
    ):
        with pytest.raises(NotFound) as caught:
            telling.ask(command, worldline="nowhere")
        assert caught.value.code == "unknown_worldline"


def test_of_many_who_fork_one_name_at_once_one_wins(tmp_path: Path) -> None:
    telling = Telling(tmp_path)

    async def race() -> list[Any]:
        forks = [telling.ask_later(ForkWorldline(worldline_id="dark", label=f"{number}")) for number in range(10)]
        return await asyncio.gather(*forks, return_exceptions=True)

    results = asyncio.run(race())
    assert [getattr(one, "code", "") for one in results].count("worldline_exists") == 9
    assert telling.head == 1


def test_worldlines_are_listed_with_main_first(tmp_path: Path) -> None:
    telling = Telling(tmp_path)
    telling.ask(ForkWorldline(worldline_id="dark"))
    telling.ask(ForkWorldline(worldline_id="bright", parent="dark", lane="scratch"))
    items = telling.look("ListWorldlines")["items"]
    assert [one["id"] for one in items] == ["main", "bright", "dark"]
    assert (items[1]["parent_id"], items[1]["lane_color"], items[1]["lane_label"]) == ("dark", "#7A7A7A", "Scratch")
    telling.ask(UpdateWorldline(worldline_id="dark", label="Night"))
    shown = telling.look("ShowWorldline", worldline_id="dark")
    assert (shown["label"], shown["version"], shown["forked_at"]) == ("Night", 2, 0)
    assert telling.look("ShowWorldline", worldline_id="main")["parent_id"] is None
    with pytest.raises(NotFound):
        telling.look("ShowWorldline", worldline_id="nowhere")
