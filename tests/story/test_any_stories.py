"""The random stories are stories: valid, the same for a seed, and together they hold everything that a story may."""

from __future__ import annotations

from collections import Counter
from typing import Any

from any_stories import OPERATORS, any_stories, any_story, povs_of
from hypothesis import given, settings

from domain.story import play
from domain.story.scene_rules import judge

SEEDS = range(150)


@settings(max_examples=60, deadline=None)
@given(any_stories())
def test_every_scene_of_a_random_story_is_valid_and_the_story_can_be_begun(content: dict[str, Any]) -> None:
    for scene in content["scenes"].values():
        assert judge(scene)["errors"] == []
    story = play.story(content)
    for pov in povs_of(content):
        assert play.moment(story, play.begun(story, pov=pov))["scene"] == content["entries"][0]["scene"]


def test_a_seed_names_one_story() -> None:
    assert any_story(7) == any_story(7)
    assert any_story(7) != any_story(8)


def test_the_first_seeds_hold_every_operator_action_directive_and_way_of_going_on() -> None:
    seen: Counter[str] = Counter()
    for seed in SEEDS:
        content = any_story(seed)
        story = play.story(content)
        for scene in content["scenes"].values():
            for node in scene["nodes"]:
                seen.update(one["kind"] for one in node.get("directives", ()))
                seen.update(one["type"] for one in node.get("actions", ()))
                seen.update(
                    one["operator"] for choice in node.get("choices", ()) for one in choice.get("conditions", ())
                )
        at = play.begun(story, seed=seed)
        for turn in range(30):
            seen[play.coming(story, at)] += 1
            if at.finished:
                break
            if ways := play.ways(story, at) if play.coming(story, at) == "ask" else ():
                at = play.follow(story, at, ways[turn % len(ways)])
            else:
                at, _ = play.advanced(story, at)
    kinds = {
        "background", "portrait", "expression", "pose", "camera", "tween", "timing", "sound", "prop",
        "overlay", "custom",
    }
    wanted = {
        *OPERATORS, *kinds, "set", "increment", "decrement", "clear", "ask", "chance", "continue", "scene", "finished",
    }
    assert wanted - set(seen) == set()
