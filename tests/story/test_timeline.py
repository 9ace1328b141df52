"""Timelines: planned ahead of their scenes, arranged by many, duplicated, and odd things told."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from behaviour import given
from hypothesis import given as given_any
from hypothesis import strategies as st
from pydantic import ValidationError
from story_reading import Telling

from commands.story.scene import CreateScene, DeleteScene
from commands.story.timeline import (
    AddTimelineEntry,
    CreateTimeline,
    DeleteTimeline,
    DuplicateTimeline,
    EditTimeline,
    EditTimelineEntry,
    MoveTimelineEntry,
    RemoveTimelineEntry,
    ReorderTimelineEntries,
    ReplaceTimeline,
    RestoreTimeline,
)
from commands.story.worldline import ForkWorldline
from domain.errors import Invalid, NotFound, Refused
from domain.story import play
from domain.story.authored import Unwritten, Written, held
from domain.story.timeline import (
    CONTEXT,
    Timeline,
    TimelineCreated,
    TimelineDeleted,
    TimelineEdited,
    TimelineRestored,
    identified,
)
from projections.boards.story import story_content

IF_GOLD = [{"key": "gold", "operator": "gte", "value": 3}]
GROUP: dict[str, Any] = {"id": "night", "group": "night", "alternatives": [
    {"scene": "feast", "conditions": IF_GOLD}, {"scene": "storm", "visible_to": ["mara"], "final": True}]}


def placed(item: dict[str, Any], place: int) -> dict[str, Any]:
    return {"item": item, "place": [place]}


def said(title: str | None = "Days", entries: int = 2, scenes: int = 3) -> dict[str, Any]:
    return {"title": title, "entries": entries, "scenes": scenes}


CREATED = TimelineCreated(timeline_id="main", summary=said(), fields={
    "title": "Days", "seed": 7, "entries/morning": placed({"id": "morning", "scene": "arrival"}, 0),
    "entries/night": placed(GROUP, 65536),
})
DOCUMENT = {"title": "Days", "seed": 7, "entries": [{"id": "morning", "scene": "arrival"}, GROUP]}
GONE = TimelineDeleted(timeline_id="main")


def create(**document: Any) -> Any:
    return CreateTimeline.model_validate({"id": "main", **document})


def entry(**told: Any) -> Any:
    return AddTimelineEntry.model_validate({"timeline_id": "main", **told})


# --- documents ----------------------------------------------------------------------------------------------------


def test_a_timeline_is_created_once() -> None:
    given().when(create(**DOCUMENT)).then(CREATED).and_again_nothing()
    given(CREATED).when(create(title="Other")).then_refused("timeline_exists", Refused)
    given(CREATED, GONE).when(create(title="Other")).then_refused("timeline_deleted", Refused)


def test_an_older_tools_timeline_is_understood() -> None:
    told = create(name="Days", scene_order=[{"scene_id": "arrival"}] * 2 + [{"scene": "dusk"}], meta={"by": "x"})
    given().when(told).then(TimelineCreated(timeline_id="main", summary=said("Days", 3, 2), fields={
        "title": "Days", "metadata": {"by": "x"}, "entries/arrival": placed({"scene": "arrival", "id": "arrival"}, 0),
        "entries/arrival-2": placed({"scene": "arrival", "id": "arrival-2"}, 65536),
        "entries/dusk": placed({"scene": "dusk", "id": "dusk"}, 131072),
    })).and_again_nothing()


@pytest.mark.parametrize("wrong", [
    {"id": "a"}, {"id": "a", "scene": "s", "group": "g", "alternatives": [{"scene": "s"}]},
    {"id": "a", "group": "g"}, {"id": "a", "group": "g", "alternatives": []}, {"alternatives": [{"scene": "s"}]},
    {"id": "a", "group": "g", "alternatives": [{"scene": "s"}], "final": True}, {"scene": "a b"}, {"scene": 3}, 3, None,
    {"id": "a", "scene": "s", "conditions": []}, {"scene": "s", "conditions": [{"key": "k", "operator": "is"}]},
    {"id": "a", "scene": "s", "final": 1}, {"id": "a", "scene": "s", "colour": "red"}, {"id": "", "scene": "s"},
    {"id": "a", "scene": "s", "scene_id": "t"}, {"id": ["a"], "scene": "s"}, {"group": ["g"], "alternatives": 3},
])
def test_an_entry_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        create(entries=[wrong])


def test_one_id_is_one_entry() -> None:
    twice = create(entries=[{"id": "a", "scene": "s"}, {"id": "a", "scene": "t"}])
    refused = given().when(twice).then_refused("invalid_entry", Invalid)
    assert refused.detail["errors"][0]["path"] == "entries/1/id"


def test_a_replacement_records_what_differs() -> None:
    told = ReplaceTimeline.model_validate({
        "timeline_id": "main", **DOCUMENT, "seed": 8, "entries": [GROUP, {"id": "dawn", "scene": "dawn"}]})
    given(CREATED).when(told).then(TimelineEdited(timeline_id="main", summary=said("Days", 2, 3), fields={
        "seed": 8, "entries/morning": None, "entries/dawn": placed({"id": "dawn", "scene": "dawn"}, 131072),
    })).and_again_nothing()
    given().when(told).then_refused("unknown_timeline", NotFound)


def test_an_edit_changes_what_it_names() -> None:
    told = EditTimeline.model_validate({"timeline_id": "main", "seed": None, "notes": "Later."})
    given(CREATED).when(told).then(
        TimelineEdited(timeline_id="main", summary=said(), fields={"notes": "Later.", "seed": None})
    ).and_again_nothing()
    given(CREATED, GONE).when(told).then_refused("timeline_deleted", Refused)


def test_deleting_and_restoring_lose_nothing() -> None:
    given(CREATED).when(DeleteTimeline(timeline_id="main")).then(GONE).and_again_nothing()
    restored = TimelineRestored(timeline_id="main", summary=said())
    given(CREATED, GONE).when(RestoreTimeline(timeline_id="main")).then(restored).and_again_nothing()
    given().when(DeleteTimeline(timeline_id="main")).then_refused("unknown_timeline", NotFound)


# --- entries ------------------------------------------------------------------------------------------------------


def test_an_entry_is_put_between_others_by_one_field() -> None:
    given(CREATED).when(entry(entry={"scene": "noon"}, before="night")).then(
        TimelineEdited(timeline_id="main", summary=said("Days", 3, 4), fields={
            "entries/noon": placed({"scene": "noon", "id": "noon"}, 32768)})
    ).and_again_nothing()
    given(CREATED).when(entry(entry={"scene": "noon"}, before="never")).then_refused("unknown_entry", NotFound)
    given(CREATED).when(entry(entry={"id": "night", "scene": "noon"})).then_refused("entry_exists", Refused)


def test_an_entry_is_edited_moved_and_removed() -> None:
    final = EditTimelineEntry.model_validate({"timeline_id": "main", "entry_id": "morning", "fields": {"final": True}})
    given(CREATED).when(final).then(TimelineEdited(timeline_id="main", summary=said(), fields={
        "entries/morning": placed({"id": "morning", "scene": "arrival", "final": True}, 0)})).and_again_nothing()
    both = EditTimelineEntry.model_validate({"timeline_id": "main", "entry_id": "night", "fields": {"scene": "x"}})
    given(CREATED).when(both).then_refused("invalid_timeline", Invalid)
    former = EditTimelineEntry.model_validate(
        {"timeline_id": "main", "entry_id": "morning", "fields": {"scene": None, "scene_id": "x"}})
    given(CREATED).when(former).then_refused("invalid_timeline", Invalid)
    moved = MoveTimelineEntry.model_validate({"timeline_id": "main", "entry_id": "night", "at": 0})
    given(CREATED).when(moved).then(TimelineEdited(timeline_id="main", summary=said(), fields={
        "entries/night": placed(GROUP, -65536)})).and_again_nothing()
    given(CREATED).when(RemoveTimelineEntry(timeline_id="main", entry_id="night")).then(
        TimelineEdited(timeline_id="main", summary=said("Days", 1, 1), fields={"entries/night": None})
    ).and_again_nothing()


def test_the_order_is_given_as_a_whole() -> None:
    order = ReorderTimelineEntries(timeline_id="main", order=("night", "morning"))
    (event,) = given(CREATED).when(order)._decide()
    assert len(event.fields) == 1, "as few places as possible change"  # type: ignore[attr-defined]
    given(CREATED).when(order).and_again_nothing()
    given(CREATED).when(ReorderTimelineEntries(timeline_id="main", order=("night",))).then_refused("incomplete_order")


# --- duplicates ---------------------------------------------------------------------------------------------------


def duplicate(**told: Any) -> Any:
    return DuplicateTimeline.model_validate({"timeline_id": "main", "id": "other", **told})


def test_a_duplicate_says_the_same_under_another_id() -> None:
    original = Written(fields=CREATED.fields)
    copied = {**CREATED.fields, "title": "Days (copy)"}
    given(others=[original]).when(duplicate()).then(
        TimelineCreated(timeline_id="other", summary=said("Days (copy)"), fields=copied)).and_again_nothing()
    without = {name: value for name, value in copied.items() if name != "seed"} | {"title": "Nights"}
    given(others=[original]).when(duplicate(with_seed=False, title="Nights")).then(
        TimelineCreated(timeline_id="other", summary=said("Nights"), fields=without))
    given(others=[original]).when(duplicate(seed=9)).then(
        TimelineCreated(timeline_id="other", summary=said("Days (copy)"), fields={**copied, "seed": 9}))


def test_only_what_is_there_is_duplicated_and_nothing_overwritten() -> None:
    given(others=[Unwritten()]).when(duplicate()).then_refused("unknown_timeline", NotFound)
    given(CREATED, others=[Written(fields=CREATED.fields)]).when(duplicate(id="main")).then_refused("timeline_exists")
    given(CREATED, GONE, others=[Written(fields=CREATED.fields)]).when(duplicate()).then_refused("timeline_deleted")


# --- reading ------------------------------------------------------------------------------------------------------


@pytest.fixture
def telling(tmp_path: Path) -> Telling:
    return Telling(tmp_path)


def scene(id_: str) -> CreateScene:
    return CreateScene.model_validate({"id": id_, "start": "a", "nodes": [{"id": "a", "text": id_, "end": True}]})


def test_absent_scenes_are_told_and_keep_a_story_from_being_played(telling: Telling) -> None:
    telling.ask(scene("arrival"), scene("feast"))
    telling.ask(create(**DOCUMENT))
    shown = telling.look("ShowTimelineDocument", timeline_id="main")
    assert [one["id"] for one in shown["entries"]] == ["morning", "night"]
    assert shown["warnings"] == [
        {"path": "entries/night/alternatives/1", "message": "There is no scene storm.", "code": "missing_scene"}]
    assert telling.look("CheckTimeline", timeline_id="main")["playable"] is False
    with telling.models.reader() as reader, pytest.raises(Invalid) as refused:
        play.story(story_content(reader, "demo"))
    assert refused.value.detail["missing_scenes"] == ["storm"]
    telling.ask(scene("storm"))
    assert telling.look("CheckTimeline", timeline_id="main")["playable"] is True
    telling.count()
    with telling.models.reader() as reader:
        content = story_content(reader, "demo")
    assert (content["timeline"], content["seed"], content["implicit"]) == ("main", 7, False)
    story = play.story(content)
    assert [one.scene for one in story.entries[1].alternatives] == ["feast", "storm"]
    telling.ask(DeleteScene(scene_id="feast"))
    assert telling.look("CheckTimeline", timeline_id="main")["warnings"][0]["code"] == "missing_scene"
    bare = telling.look("ShowTimelineDocument", timeline_id="main", bare=True)
    assert bare == {"id": "main", **DOCUMENT}


def test_what_is_never_played_is_told(telling: Telling) -> None:
    telling.ask(scene("a"))
    telling.ask(create(entries=[
        {"id": "one", "group": "g", "alternatives": [{"scene": "a"}, {"scene": "a"}]},
        {"id": "two", "scene": "a", "final": True}, {"id": "three", "scene": "a"}]))
    found = telling.look("ShowTimelineDocument", timeline_id="main")["warnings"]
    assert [(one["path"], one["code"]) for one in found] == [
        ("entries/one/alternatives/1", "never_played"), ("entries/three", "never_reached")]
    telling.ask(CreateTimeline(id="empty"))
    (nothing,) = telling.look("ShowTimelineDocument", timeline_id="empty")["warnings"]
    assert nothing["code"] == "nothing_to_play"


def test_timelines_branch_and_are_listed(telling: Telling) -> None:
    telling.ask(create(**DOCUMENT))
    created = telling.head
    telling.ask(ForkWorldline(worldline_id="storm"))
    telling.ask(entry(entry={"scene": "noon"}), worldline="storm")
    telling.ask(DuplicateTimeline(timeline_id="main", id="plan"), worldline="storm")
    telling.ask(DeleteTimeline(timeline_id="main"))
    assert [one["id"] for one in telling.look("ListTimelines")["items"]] == []
    found = telling.look("ListTimelines", worldline="storm")["items"]
    assert [(one["id"], one["entries"]) for one in found] == [("main", 3), ("plan", 3)]
    assert telling.look("ListTimelines", as_of=created)["items"][0]["title"] == "Days"
    assert telling.look("ListTimelines", worldline="storm", q="copy")["items"][0]["id"] == "plan"
    telling.count()
    with telling.models.reader() as reader, pytest.raises(NotFound) as gone:
        story_content(reader, "demo", timeline="main")
    assert gone.value.code == "timeline_deleted"


def test_people_who_arrange_different_entries_do_not_undo_each_other(telling: Telling) -> None:
    telling.ask(create(entries=[{"scene": f"s{number}"} for number in range(6)]))

    async def race() -> None:
        await asyncio.gather(*(
            telling.ask_later(MoveTimelineEntry.model_validate(
                {"timeline_id": "main", "entry_id": f"s{number}", "at": 0})) for number in range(6)
        ), *(telling.ask_later(entry(entry={"scene": f"t{number}"})) for number in range(6)))

    asyncio.run(race())
    found = [one["id"] for one in telling.look("ShowTimelineDocument", timeline_id="main")["entries"]]
    assert sorted(found) == sorted([*(f"s{number}" for number in range(6)), *(f"t{number}" for number in range(6))])


# --- rules --------------------------------------------------------------------------------------------------------


NAMES = st.sampled_from(["a", "b", "c", "d"])
ENTRIES = st.one_of(
    NAMES.map(lambda name: {"scene": name}),
    st.builds(lambda id_, scene: {"id": id_, "scene": scene}, st.sampled_from(["w", "x", "y", "z"]), NAMES),
    st.lists(NAMES, min_size=1, max_size=3).map(
        lambda names: {"group": "g", "alternatives": [{"scene": name} for name in names]}),
)


@given_any(st.lists(ENTRIES, max_size=8, unique_by=lambda one: one.get("id") or object()))
def test_entries_keep_their_order_and_have_ids_of_their_own(entries: list[dict[str, Any]]) -> None:
    found = identified(Timeline.model_validate({"entries": entries}).entries)
    ids = [one.id for one in found]
    assert len(set(ids)) == len(ids)
    assert [one.scene for one in found] == [one.get("scene") for one in entries]
    again = {"entries": [one.model_dump(mode="json", exclude_unset=True) for one in found]}
    assert identified(Timeline.model_validate(again).entries) == found
    state = CONTEXT.initial
    for event in given().when(create(**again))._decide():
        state = CONTEXT.evolve(state, event)
    assert CONTEXT.write is not None
    written = CONTEXT.write("main", CONTEXT.initial, {**held(state), "summary": {}})
    copy = CONTEXT.initial
    for event in written:
        copy = CONTEXT.evolve(copy, event)
    assert copy == state
    assert list(CONTEXT.write("main", state, held(state))) == []


def test_a_group_says_one_thing_of_a_scene_and_two_entries_may_say_two() -> None:
    both = [{"scene": "feast", "conditions": IF_GOLD, "final": True}, {"scene": "feast"}]
    group = {"id": "night", "group": "night", "alternatives": both}
    refused = given().when(create(entries=[group])).then_refused("invalid_timeline", Invalid)
    assert [one["path"] for one in refused.detail["errors"]] == ["entries/night"]
    assert "two entries" in refused.detail["errors"][0]["message"]
    apart = [{"id": "rich", "scene": "feast", "conditions": IF_GOLD, "final": True}, {"id": "poor", "scene": "feast"}]
    assert given().when(create(entries=apart))._decide()
