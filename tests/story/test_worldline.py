"""Worldlines: forked from where their parent is or was, described, and seen."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from behaviour import ASKED, given
from pydantic import ValidationError
from story_reading import Telling

from commands.story.scene import CreateScene, DeleteScene, EditNode
from commands.story.worldline import ArchiveWorldline, ForkWorldline, RestoreWorldline, UpdateWorldline
from domain.errors import Invalid, NotFound, Refused
from domain.story.worldline import (
    CONTEXT,
    Forked,
    Unforked,
    WorldlineArchived,
    WorldlineForked,
    WorldlineRestored,
    WorldlineUpdated,
)
from services.dispatcher import Dispatcher
from services.registry import REGISTRY

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


# --- lanes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("told", "lane"), [
    ("canon", "official"), ("Main", "official"), ("vn", "vn_branch"), ("branch", "vn_branch"), ("side", "vn_branch"),
    ("sandbox", "scratch"), ("experimental", "scratch"), ("scratch", "scratch"),
])
def test_lanes_have_other_names(told: str, lane: str) -> None:
    assert ForkWorldline.model_validate_json(json.dumps({"lane": told}), strict=True).lane == lane
    assert UpdateWorldline.model_validate({"worldline_id": "dark", "lane": told}).lane == lane


def test_a_lane_that_is_none_is_refused() -> None:
    for told in ("purple", "", 7):
        with pytest.raises(ValidationError):
            ForkWorldline.model_validate({"lane": told})


def test_a_lane_is_implied_by_the_id_and_never_by_the_parent() -> None:
    for id_, lane in (("canon", "official"), ("official", "official"), ("dark", "vn_branch")):
        (event,) = given().when(ForkWorldline(worldline_id=id_))._decide()
        assert event.lane == lane
    official = DARK.model_copy(update={"lane": "official"})
    (event,) = given(others=[official]).when(ForkWorldline(worldline_id="darker", parent="dark"))._decide()
    assert event.lane == "vn_branch"


# --- put away and restored ----------------------------------------------------------------------------------------

ARCHIVED = WorldlineArchived(worldline_id="dark", reason="told elsewhere")
RESTORED = WorldlineRestored(worldline_id="dark")


def test_a_worldline_is_put_away_and_comes_back_as_it_was() -> None:
    put = ArchiveWorldline(worldline_id="dark", reason="told elsewhere")
    given(FORKED).when(put).then(ARCHIVED).and_again_nothing()
    given(FORKED, ARCHIVED).when(RestoreWorldline(worldline_id="dark")).then(RESTORED).and_again_nothing()
    given(FORKED).when(RestoreWorldline(worldline_id="dark")).then_nothing()
    assert CONTEXT.evolve(CONTEXT.evolve(CONTEXT.evolve(Unforked(), FORKED), ARCHIVED), RESTORED) == CONTEXT.evolve(
        Unforked(), FORKED
    )


def test_main_always_stays_and_what_never_was_is_not_put_away() -> None:
    given().when(ArchiveWorldline(worldline_id="main")).then_refused("main_stays", Refused)
    given().when(RestoreWorldline(worldline_id="main")).then_nothing()
    for command in (ArchiveWorldline(worldline_id="dark"), RestoreWorldline(worldline_id="dark")):
        given().when(command).then_refused("unknown_worldline", NotFound)


def test_a_worldline_that_was_put_away_is_neither_described_nor_forked_anew() -> None:
    archived = given(FORKED, ARCHIVED)
    archived.when(UpdateWorldline(worldline_id="dark", label="X")).then_refused("worldline_archived", Refused)
    archived.when(ForkWorldline(worldline_id="dark")).then_refused("worldline_exists", Refused)


def test_nothing_is_written_on_a_worldline_that_was_put_away_and_all_of_it_is_read(tmp_path: Path) -> None:
    telling = Telling(tmp_path)
    telling.ask(CreateScene.model_validate({"id": "s", "start": "a", "nodes": [{"id": "a", "text": "one"}]}))
    telling.ask(ForkWorldline(worldline_id="dark"))
    telling.ask(EditNode(scene_id="s", node_id="a", text="two"), worldline="dark")
    telling.ask(ArchiveWorldline(worldline_id="dark"))
    head = telling.head
    for command in (EditNode(scene_id="s", node_id="a", text="three"), DeleteScene(scene_id="s")):
        with pytest.raises(Refused) as caught:
            telling.ask(command, worldline="dark")
        assert caught.value.code == "worldline_archived"
    assert telling.head == head
    assert telling.look("ShowNode", scene_id="s", node_id="a", worldline="dark")["node"]["text"] == "two"
    telling.ask(ForkWorldline(worldline_id="darker", parent="dark"))
    telling.ask(EditNode(scene_id="s", node_id="a", text="four"), worldline="darker")
    assert telling.look("ShowNode", scene_id="s", node_id="a", worldline="darker")["node"]["text"] == "four"
    telling.ask(RestoreWorldline(worldline_id="dark"))
    telling.ask(EditNode(scene_id="s", node_id="a", text="five"), worldline="dark")


def test_another_process_hears_that_a_worldline_was_put_away(tmp_path: Path) -> None:
    telling = Telling(tmp_path)
    telling.ask(ForkWorldline(worldline_id="dark"))
    create = CreateScene.model_validate({"id": "s", "start": "a", "nodes": [{"id": "a"}]})
    telling.ask(create, worldline="dark")
    other = Dispatcher(telling.log, REGISTRY)

    async def elsewhere() -> None:
        await other.ask(ArchiveWorldline(worldline_id="dark"), telling.asked())
        late = Dispatcher(telling.log, REGISTRY)
        with pytest.raises(Refused):
            await late.ask(EditNode(scene_id="s", node_id="a", text="x"), telling.asked("dark"))
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                await telling.ask_later(EditNode(scene_id="s", node_id="a", text=f"{telling.head}"), worldline="dark")
            except Refused:
                return
            await asyncio.sleep(0.05)
        raise AssertionError("it was never heard of")

    asyncio.run(elsewhere())


def test_a_command_that_was_accepted_before_gets_its_first_answer_again(tmp_path: Path) -> None:
    telling = Telling(tmp_path)
    telling.ask(ForkWorldline(worldline_id="dark"))
    create = CreateScene.model_validate({"id": "s", "start": "a", "nodes": [{"id": "a"}]})
    asked = telling.asked("dark")

    async def again() -> None:
        first = await telling.dispatcher.ask(create, asked)
        await telling.dispatcher.ask(ArchiveWorldline(worldline_id="dark"), telling.asked())
        repeated = await telling.dispatcher.ask(create, asked)
        assert (repeated.repeated, repeated.position) == (True, first.position)

    asyncio.run(again())


def test_lists_hide_what_was_put_away(tmp_path: Path) -> None:
    telling = Telling(tmp_path)
    for id_ in ("dark", "bright"):
        telling.ask(ForkWorldline(worldline_id=id_))
    telling.ask(ForkWorldline(worldline_id="darker", parent="dark"))
    telling.ask(ArchiveWorldline(worldline_id="dark", reason="enough"))
    assert [one["id"] for one in telling.look("ListWorldlines")["items"]] == ["main", "bright", "darker"]
    away = telling.look("ListWorldlines", archived=True)["items"]
    assert [(one["id"], one["archived"], one["reason"]) for one in away] == [("dark", True, "enough")]
    assert telling.look("ShowWorldline", worldline_id="dark")["archived"]
    assert [one["id"] for one in telling.look("ListWorldlines", parent="dark")["items"]] == ["darker"]


# --- metadata -----------------------------------------------------------------------------------------------------


def test_metadata_is_told_as_a_delta_over_the_parent_as_it_was(tmp_path: Path) -> None:
    telling = Telling(tmp_path)
    telling.ask(ForkWorldline(worldline_id="dark", lane="official", metadata={"theme": "noir", "season": 1}))
    telling.ask(ForkWorldline(
        worldline_id="darker", parent="dark", metadata={"theme": "noir", "season": 2, "snapshots": [1]}
    ))
    telling.ask(UpdateWorldline(worldline_id="dark", metadata={"theme": "spring", "season": 1}))
    shown = telling.look("ShowWorldline", worldline_id="darker")
    assert shown["delta"] == {"base": "dark", "schema": "v1", "metadata": {"season": 2}}
    assert shown["effective_metadata"] == {"theme": "noir", "season": 2, "snapshots": [1]}
    assert shown["lane"] == "vn_branch"
    assert telling.look("ShowWorldline", worldline_id="dark")["delta"]["metadata"] == {"theme": "spring", "season": 1}
    assert telling.look("ShowWorldline", worldline_id="main")["delta"] is None
