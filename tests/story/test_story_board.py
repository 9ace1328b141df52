"""A story as of a position: what is played when which timeline is named, and that it is compiled once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from commands.story.scene import CreateScene, DeleteScene, EditScene, RestoreScene
from commands.story.worldline import ForkWorldline
from domain.errors import Invalid, NotFound
from projections.boards.documents import lineage
from projections.boards.story import every, story_content
from services.studio import Asker
from tests.fixtures_studio import StudioFactory
from tests.story_reading import Telling

AUTHOR = Asker(actor="author")


@pytest.fixture
def telling(tmp_path: Path) -> Telling:
    return Telling(tmp_path)


def scene(id_: str, text: str = "Hello.") -> CreateScene:
    return CreateScene.model_validate({
        "id": id_, "start": "a", "nodes": [
            {"id": "a", "text": text, "choices": [{"target": "b"}]}, {"id": "b", "end": True}],
    })


def content(telling: Telling, **how: Any) -> dict[str, Any]:
    telling.count()
    with telling.models.reader() as reader:
        return story_content(reader, telling.project, **how)


def documents(telling: Telling, worldline: str = "main", as_of: int = 0) -> dict[str, Any]:
    telling.count()
    with telling.models.reader() as reader:
        return every(reader, lineage(reader, telling.project, worldline, as_of), telling.project, "scene")


def test_without_a_timeline_every_scene_is_played_by_id(telling: Telling) -> None:
    for id_ in ("dusk", "arrival", "noon"):
        telling.ask(scene(id_))
    telling.ask(DeleteScene(scene_id="noon"))
    found = content(telling)
    assert found["implicit"] is True
    assert [entry["scene"] for entry in found["entries"]] == ["arrival", "dusk"]
    assert set(found["scenes"]) == {"arrival", "dusk"}
    assert found["position"] == telling.head


def test_a_branch_overrides_and_hides_what_it_inherits(telling: Telling) -> None:
    telling.ask(scene("kept"))
    telling.ask(scene("changed"))
    telling.ask(scene("gone"))
    forked = telling.head
    telling.ask(ForkWorldline(worldline_id="storm"))
    telling.ask(EditScene.model_validate({"scene_id": "changed", "title": "Storm"}), worldline="storm")
    telling.ask(DeleteScene(scene_id="gone"), worldline="storm")
    telling.ask(scene("late"))
    storm = documents(telling, "storm")
    assert sorted(storm) == ["changed", "kept"]
    assert storm["changed"]["title"] == "Storm"
    assert "title" not in documents(telling)["changed"]
    assert sorted(documents(telling)) == ["changed", "gone", "kept", "late"]
    assert sorted(documents(telling, as_of=forked)) == ["changed", "gone", "kept"]
    telling.ask(RestoreScene(scene_id="gone"), worldline="storm")
    assert sorted(documents(telling, "storm")) == ["changed", "gone", "kept"]


def test_more_rows_than_a_page_are_all_there(telling: Telling) -> None:
    for number in range(20):
        telling.ask(scene(f"scene-{number:02}"))
    telling.count()
    with telling.models.reader() as reader:
        chain = lineage(reader, telling.project, "main", 0)
        found = every(reader, chain, telling.project, "scene", page=7)
        named = every(reader, chain, telling.project, "scene", [f"scene-{number:02}" for number in range(15, 1000)])
    assert len(found) == 20
    assert all(set(fields) == {"summary", "start", "nodes/a", "nodes/b"} for fields in found.values())
    assert list(named) == [f"scene-{number:02}" for number in range(15, 20)]


def test_what_is_not_there_is_told(telling: Telling) -> None:
    telling.ask(scene("arrival"))
    telling.ask(DeleteScene(scene_id="arrival"))
    for how, error in (
        ({"timeline": "nowhere"}, "unknown_timeline"), ({"scene": "nowhere"}, "unknown_scene"),
        ({"scene": "arrival"}, "scene_deleted"), ({"worldline": "nowhere"}, "unknown_worldline"),
    ):
        with pytest.raises(NotFound) as caught:
            content(telling, **how)
        assert caught.value.code == error
        assert caught.value.remediation
    with pytest.raises(Invalid) as both:
        content(telling, timeline="main", scene="arrival")
    assert both.value.code == "contradicting_story"
    assert content(telling, scene="arrival", as_of=1)["scenes"]["arrival"]["start"] == "a"


def test_a_story_is_compiled_once_and_pinned_where_it_changed_last(studio_factory: StudioFactory) -> None:
    async def steps() -> None:
        async with studio_factory() as opened:
            studio = opened.studio
            first = await studio.ask(scene("arrival"), AUTHOR, project="demo")
            found = await asyncio.gather(*(studio.stories.pinned("demo") for _ in range(20)))
            assert all(one is found[0] for one in found)
            assert found[0].content["position"] == first.position
            await studio.ask(scene("elsewhere"), AUTHOR, project="other")
            assert await studio.stories.pinned("demo") is found[0]
            assert await studio.stories.pinned("demo", position=first.position) is found[0]
            await studio.ask(scene("dusk"), AUTHOR, project="demo")
            now = await studio.stories.pinned("demo")
            assert sorted(now.scenes) == ["arrival", "dusk"]
            assert await studio.stories.pinned("demo", position=first.position) is found[0]
            for how, error in (({"position": 10**6}, "position_in_future"), ({"timeline": "none"}, "unknown_timeline"),
                               ({"project": "empty"}, "story_incomplete")):
                with pytest.raises((NotFound, Invalid)) as caught:
                    await studio.stories.pinned(**{"project": "demo", **how})  # type: ignore[arg-type]
                assert caught.value.code == error

    asyncio.run(steps())
