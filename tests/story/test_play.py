"""The runner: any story, any choices, never anything but the documented refusals, and always the same again."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from any_stories import any_stories
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import Invalid, Refused
from domain.story.play import (
    At,
    Station,
    Story,
    advanced,
    begun,
    chosen,
    coming,
    content_digest,
    follow,
    moment,
    recorded,
    run,
    settled,
    story,
    trace_digest,
    ways,
)


def made(*scenes: dict[str, Any], entries: list[dict[str, Any]] | None = None, **fields: Any) -> Story:
    entries = entries or [{"id": one["id"], "scene": one["id"]} for one in scenes]
    return story({"id": "t", "entries": entries, "scenes": {one["id"]: one for one in scenes}, **fields})


def scene(id_: str, *nodes: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"id": id_, "start": nodes[0]["id"], "nodes": list(nodes), **fields}


ONE = scene("one", {"id": "a", "choices": [{"target": "b"}]}, {"id": "b"}, variables={"own": 1})
TWO = scene("two", {"id": "z", "actions": [{"type": "increment", "key": "count"}]})
FORK = scene(
    "fork",
    {"id": "m", "text": "?", "choices": [{"id": "l", "target": "e", "label": "L"}, {"id": "r", "target": "e",
                                                                                  "label": "R"}]},
    {"id": "e", "type": "chance", "choices": [{"id": "h", "target": "m"}, {"id": "t", "target": "end", "weight": 2}]},
    {"id": "end"},
)


# --- totality and determinism -----------------------------------------------------------------------------------------


def wander(told: Story, picks: list[int], *, seed: int, pov: str | None) -> tuple[list[Station], At | None]:
    """Plays by a list of numbers: each step checks that what is said to come is what can be done."""
    try:
        at = begun(told, seed=seed, pov=pov)
    except Refused:
        return [], None
    stations: list[Station] = []
    for pick in picks:
        offered, next_ = ways(told, at), coming(told, at)
        if next_ == "finished":
            assert not offered
            with pytest.raises(Refused, match="over"):
                advanced(told, at)
            assert run(told, at, 5) == at
            break
        if next_ == "ask":
            with pytest.raises(Refused, match="choose"):
                advanced(told, at)
            choice = offered[pick % len(offered)]
            after = follow(told, at, choice)
            assert chosen(told, at, choice.id).dice == at.dice
        else:
            after, taken = advanced(told, at)
            assert (taken is None) == (next_ == "scene")
            assert after.dice.uses - at.dice.uses == (next_ == "chance")
            choice = taken  # type: ignore[assignment]
        stations.append((at, choice))
        at = after
    return stations, at


@given(any_stories(), st.lists(st.integers(0, 50), max_size=40), st.integers(), st.sampled_from([None, "ann", "who"]))
@settings(max_examples=150, deadline=None)
def test_any_story_is_played_by_any_choices_and_the_same_again(
    content: dict[str, Any], picks: list[int], seed: int, pov: str | None
) -> None:
    before = copy.deepcopy(content)
    stations, at = wander(story(content), picks, seed=seed, pov=pov)
    again, at_again = wander(story(copy.deepcopy(content)), picks, seed=seed, pov=pov)
    assert content == before, "playing changes nothing of what is played"
    assert [here for here, _ in stations] == [here for here, _ in again]
    assert at == at_again
    told = story(content)
    assert trace_digest(recorded(told, stations)) == trace_digest(recorded(told, again))
    for here, choice in stations:
        told_moment = moment(told, here)
        assert bool(told_moment["offered"]) == (told_moment["next"] == "ask")
        if told_moment["next"] == "ask":
            assert choice is not None
            assert choice.id in [one["id"] for one in told_moment["offered"]]


@given(any_stories(), st.integers(), st.integers(0, 60))
@settings(max_examples=100, deadline=None)
def test_many_steps_at_once_are_the_same_as_one_by_one(content: dict[str, Any], seed: int, steps: int) -> None:
    told = story(content)
    try:
        at = start = begun(told, seed=seed)
    except Refused:
        return
    one_by_one: list[Station] = []
    for _ in range(steps):
        if coming(told, at) in ("ask", "finished"):
            break
        after, choice = advanced(told, at)
        one_by_one.append((at, choice))
        at = after
    met: list[Station] = []
    assert run(told, start, steps, met) == at == run(told, start, steps)
    assert met == one_by_one


@given(any_stories(), st.integers(), st.text(max_size=5))
@settings(max_examples=50, deadline=None)
def test_what_is_not_offered_is_refused(content: dict[str, Any], seed: int, choice: str) -> None:
    told = story(content)
    try:
        at = begun(told, seed=seed)
    except Refused:
        return
    if choice not in [one.id for one in ways(told, at)]:
        with pytest.raises(Refused, match="not available"):
            chosen(told, at, choice)


# --- across scenes ----------------------------------------------------------------------------------------------------


def test_a_scene_takes_its_own_variables_along_when_it_ends() -> None:
    told = made(ONE, TWO, variables={"count": 4, "shared": True})
    at = begun(told)
    assert at.variables == {"count": 4, "shared": True, "own": 1}
    after = run(told, at, 10)
    assert (after.scene, after.variables, after.finished) == ("two", {"count": 5.0, "shared": True}, True)


def test_an_entry_whose_conditions_fail_is_passed_over() -> None:
    entries = [
        {"id": "1", "scene": "one", "conditions": [{"key": "never", "operator": "exists"}]},
        {"id": "2", "scene": "two"},
    ]
    assert begun(made(ONE, TWO, entries=entries)).scene == "two"


def test_the_first_alternative_that_may_be_played_is() -> None:
    entries: list[dict[str, Any]] = [{"id": "g", "group": "g", "visible_to": ["ann", "ben"], "alternatives": [
        {"scene": "one", "visible_to": ["ann", "cyd"]}, {"scene": "two"},
    ]}]
    told = made(ONE, TWO, entries=entries)
    assert begun(told, pov="ann").scene == "one"
    assert begun(told, pov="ben").scene == "two"
    for other in ("cyd", "narrator"):
        with pytest.raises(Refused) as caught:
            begun(told, pov=other)
        assert caught.value.code == "nothing_to_play"


def test_after_a_final_scene_nothing_comes() -> None:
    entries: list[dict[str, Any]] = [{"id": "1", "scene": "one", "final": True}, {"id": "2", "scene": "two"}]
    assert run(made(ONE, TWO, entries=entries), begun(made(ONE, TWO, entries=entries)), 10).scene == "one"


def test_a_changed_point_of_view_is_looked_at_again() -> None:
    only = scene("s", {"id": "a", "choices": [{"target": "b", "visible_to": ["ann"]}]}, {"id": "b"})
    told = made(only)
    at = begun(told)
    assert at.finished
    assert not settled(told, at._replace(pov="ann")).finished


def test_scenes_that_are_missing_are_named() -> None:
    with pytest.raises(Invalid) as caught:
        story({"id": "t", "entries": [{"id": "1", "scene": "gone"}], "scenes": {}})
    assert caught.value.detail["missing_scenes"] == ["gone"]
    with pytest.raises(Invalid):
        story({"id": "t", "entries": [], "scenes": {}})


# --- digests ----------------------------------------------------------------------------------------------------------


def test_the_content_digest_is_of_what_is_played_and_nothing_else() -> None:
    one = content_digest(made(ONE, TWO, position=3, worldline="main", characters={}))
    assert one == content_digest(made(ONE, TWO, position=9, worldline="storm"))
    assert one != content_digest(made(ONE, TWO, variables={"x": 1}))
    assert one != content_digest(made(TWO, ONE))
    assert one == content_digest(made(json.loads(json.dumps(ONE, sort_keys=True)), TWO))


def test_the_trace_digest_is_that_of_the_trace_alone() -> None:
    told = made(FORK)
    at = begun(told, seed=1)
    steps = recorded(told, [(at, ways(told, at)[0])])
    assert steps[0]["chosen"] == "l"
    assert trace_digest(steps) == trace_digest(json.loads(json.dumps(steps)))
    assert trace_digest(steps) != trace_digest([{**steps[0], "chosen": "r"}])
    assert trace_digest([{"n": 2**60}]).startswith("sha256:")
