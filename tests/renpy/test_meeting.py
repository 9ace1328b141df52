"""The comparison itself: what differs by a hair is told, and where; paths are all there are."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from domain.story import play
from tests.any_stories import any_story, povs_of
from tests.renpy.engine import EngineMissing, install
from tests.renpy.meeting import difference, met_in_engine, met_in_studio
from tests.renpy.paths import every_path, paths_of, played
from tests.renpy.proof import compared

CONTENT: dict[str, Any] = {
    "id": "tale", "entries": [{"id": "one", "scene": "opening"}, {"id": "two", "scene": "ending"}],
    "variables": {"gold": 1}, "characters": {"ann": {"name": "Ann"}},
    "scenes": {
        "opening": {"id": "opening", "start": "a", "nodes": [
            {"id": "a", "speaker": "ann", "text": "Where to?", "choices": [
                {"id": "left", "target": "b", "label": "Left", "actions": [{"type": "increment", "key": "gold"}]},
                {"id": "right", "target": "c", "label": " "},
                {"id": "never", "target": "c", "label": "No", "weight": 0},
            ]},
            {"id": "b", "text": "", "speaker": "ann", "choices": [
                {"id": "x", "target": "c", "weight": 3}, {"id": "y", "target": "a", "weight": 0.5},
            ]},
            {"id": "c", "text": "Here."},
        ]},
        "ending": {"id": "ending", "start": "z", "nodes": [{"id": "z", "text": "The end."}]},
    },
}


def studio_steps(picks: tuple[int, ...], seed: int = 1) -> list[dict[str, Any]]:
    path, options = played(play.story(CONTENT), "narrator", seed, picks, 20)
    assert options == 0
    return [met_in_studio(step, dice, CONTENT) for step, dice in zip(path.steps, path.dice, strict=True)]


def met(seed: int) -> dict[str, Any]:
    return {"pov": "narrator", "labels": [], "variables": {"gold": 1}, "dice": [seed, seed, 0]}


def engine_line(picks: tuple[int, ...] = (1,), seed: int = 1) -> dict[str, Any]:
    """What the overlay writes for the path through ``right``: seen once in the real engine, kept here by hand."""
    assert picks == (1,)
    return {"plan": 0, "end": "ended", "steps": [
        {**met(seed), "scene": "opening", "node": "a", "said": [["Ann", "Where to?"]], "next": "ask", "captions": [],
         "offered": [{"id": "left", "label": "Left"}, {"id": "right", "label": "right"}], "picked": 1},
        {**met(seed), "scene": "opening", "node": "c", "said": [["", "Here."]], "next": "scene"},
        {**met(seed), "scene": "ending", "node": "z", "said": [["", "The end."]], "entered": 2},
    ]}


def test_the_same_play_is_the_same() -> None:
    assert compared(studio_steps((1,)), engine_line(), CONTENT, cut=False) is None


LIES = [
    (("steps", 0, "said", 0, 0), "Anne", "speaker"),
    (("steps", 0, "said", 0, 1), "Where to? ", "text"),
    (("steps", 1, "said"), [], "text"),
    (("steps", 1, "said"), [["", "Here."], ["", "And there."]], "text"),
    (("steps", 0, "captions"), ["Choose"], "text"),
    (("steps", 0, "offered", 0, "label"), "left", "offered"),
    (("steps", 0, "offered", 0, "label"), None, "offered"),
    (("steps", 0, "offered", 1, "id"), "c", "offered"),
    (("steps", 0, "offered"), [{"id": "right", "label": "right"}] * 2, "offered"),
    (("steps", 0, "picked"), 0, "chosen"),
    (("steps", 1, "node"), "b", "node"),
    (("steps", 2, "scene"), "opening", "scene"),
    (("steps", 1, "next"), "continue", "next"),
    (("steps", 1, "variables", "gold"), 1.0, "variables"),
    (("steps", 1, "variables", "more"), None, "variables"),
    (("steps", 2, "dice", 2), 1, "dice"),
    (("end",), "exception: boom", "next"),
]


@pytest.mark.parametrize(("place", "lie", "field"), LIES)
def test_every_lie_is_seen_where_it_is_told(place: tuple[Any, ...], lie: Any, field: str) -> None:
    line = copy.deepcopy(engine_line())
    target = line
    for part in place[:-1]:
        target = target[part]
    target[place[-1]] = lie
    found = compared(studio_steps((1,)), line, CONTENT, cut=False)
    assert found is not None
    assert found.field == field
    assert place[0] == "end" or found.moment == place[1]


def test_a_play_that_is_shorter_or_longer_is_told_with_what_is_missing() -> None:
    studio = studio_steps((1,))
    line = engine_line()
    shorter = difference(studio, [met_in_engine(step, "", CONTENT) for step in line["steps"][:2]])
    assert shorter is not None
    assert (shorter.moment, shorter.field, shorter.engine) == (2, "length", "nothing more")
    longer = difference(studio, [*studio, studio[0]])
    assert longer is not None
    assert longer.studio == "nothing more"


def test_a_play_that_was_stopped_is_not_one_that_ended() -> None:
    studio = studio_steps((1,))
    line = {**engine_line(), "end": "cut"}
    assert compared(studio, line, CONTENT, cut=False) is not None


def test_every_path_is_found_once_and_none_is_invented() -> None:
    story = play.story(CONTENT)
    found = list(every_path(story, "narrator", 1, 6))
    assert len({path.picks for path in found}) == len(found)
    for path in found:
        again, options = played(story, "narrator", 1, path.picks, 6)
        assert (options, again.steps) == (0, path.steps)
        if path.picks:
            shorter, open_ = played(story, "narrator", 1, path.picks[:-1], 6)
            assert path.picks[-1] < open_
            assert shorter.steps[-1]["offered"][path.picks[-1]]["id"] == path.steps[len(shorter.steps) - 1]["chosen"]
    assert any(path.picks == (1,) for path in found)


def test_without_an_engine_and_without_a_way_to_get_one_the_proof_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(EngineMissing, match=r"apt-get install -y .*renpy"):
        install(places=(), path=str(tmp_path))


def test_stories_with_too_many_paths_are_sampled_and_say_so() -> None:
    content = next(
        content for content in map(any_story, range(100))
        if not paths_of(play.story(content), povs_of(content)[0], 1, moments=40, most=4).whole
    )
    found = paths_of(play.story(content), povs_of(content)[0], 1, moments=40, most=4)
    assert 0 < len(found.paths) <= 4
    assert found == paths_of(play.story(content), povs_of(content)[0], 1, moments=40, most=4)
