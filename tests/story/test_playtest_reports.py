"""What a playtest tells: findings with ways to play them again, random and golden plays, comparisons, traces."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from branching_contents import contents
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import Invalid
from domain.story.play import advanced, begun, chosen, coming, story
from domain.story.playtest import golden
from domain.story.playtest.asking import Wanted
from domain.story.playtest.comparing import compared
from domain.story.playtest.reporting import playtested
from domain.story.playtest.trace import trace

HARBOUR: dict[str, Any] = {
    "id": "harbour", "start": "quay", "nodes": [
        {"id": "quay", "text": "The quay at night. Two ways lead on.", "choices": [
            {"id": "boat", "label": "Take the boat", "target": "sea",
             "actions": [{"type": "set", "key": "wet", "value": True}]},
            {"id": "wait", "label": "Wait", "target": "dice"},
            {"id": "key", "label": "Use the key", "target": "cellar",
             "conditions": [{"key": "keys", "operator": "gte", "value": 1}]},
        ]},
        {"id": "dice", "type": "chance", "text": "Somebody comes.", "choices": [
            {"id": "friend", "target": "home", "weight": 1}, {"id": "nobody", "target": "alone", "weight": 3}]},
        {"id": "sea", "text": "Out at sea.", "choices": [
            {"id": "row", "label": "Row", "target": "home",
             "conditions": [{"key": "oars", "operator": "eq", "value": 1}]},
        ]},
        {"id": "alone", "text": "Round and round.", "choices": [
            {"id": "on", "label": "On", "target": "alone"}, {"id": "again", "label": "Again", "target": "alone"}]},
        {"id": "home", "text": "Home at last.", "end": True},
        {"id": "cellar", "text": "Dark.", "end": True},
        {"id": "attic", "text": "Nobody comes here.", "end": True},
    ],
}


def content(**scene: Any) -> dict[str, Any]:
    return {"id": "main", "entries": [{"id": "e", "scene": "harbour"}], "variables": {}, "default_pov": "mara",
            "scenes": {"harbour": {**copy.deepcopy(HARBOUR), **scene}}}


def report_of(content: dict[str, Any], **wanted: Any) -> dict[str, Any]:
    return playtested(story(content), Wanted(**wanted))


def kinds(report: dict[str, Any]) -> set[tuple[str, str | None]]:
    return {(one["kind"], one.get("node") or one.get("key")) for one in report["findings"]}


def played(content: dict[str, Any], path: dict[str, Any], pov: str) -> Any:
    """The play that a seed and the picks at menus make, by the runner alone."""
    made = story(content)
    at, picks = begun(made, pov=pov, seed=path["seed"]), list(path["picks"])
    for _ in range(path["steps"]):
        at = chosen(made, at, picks.pop(0)) if coming(made, at) == "ask" else advanced(made, at)[0]
    assert not picks
    return at


def test_every_kind_of_finding_is_told() -> None:
    report = report_of(content())
    assert report["complete"]
    assert kinds(report) >= {
        ("dead_end", "sea"), ("unreachable", "attic"), ("never_reached", "cellar"), ("no_way_out", "alone"),
        ("read_before_set", "oars"), ("read_never_set", "keys"), ("set_never_read", "wet"), ("never_true", "keys"),
        ("never_offered", "quay"),
    }
    (view,) = report["views"]
    assert view["coverage"] == {"nodes": {"met": 5, "total": 7}, "choices": {"met": 6, "total": 8},
                                "sides": {"met": 2, "total": 4}}
    assert {(one["node"], one["kind"]) for one in view["endings"]} == {("home", "end"), ("sea", "stuck")}
    assert view["lengths"]["loops"]


def test_every_way_with_a_seed_plays_again() -> None:
    report = report_of(content())
    ways = [(one["path"], one["node"]) for one in report["views"][0]["endings"]]
    ways += [(one["path"], one["node"]) for one in report["findings"] if one.get("path") and "node" in one]
    assert len(ways) >= 4
    for path, node in ways:
        assert path["seed"] is not None
        assert played(content(), path, "mara").node == node


def test_chance_that_cannot_be_found_is_told_honestly() -> None:
    nodes = [{"id": f"n{one}", "type": "chance", "text": "x", "choices": [
        {"id": "rare", "target": f"n{one + 1}", "weight": 1}, {"id": "often", "target": "lost", "weight": 10**9},
    ]} for one in range(6)]
    nodes += [{"id": "n6", "text": "Won.", "end": True}, {"id": "lost", "text": "Lost.", "end": True}]
    report = report_of({"id": "t", "entries": [{"id": "e", "scene": "s"}], "variables": {},
                        "scenes": {"s": {"id": "s", "start": "n0", "nodes": nodes}}})
    ends = {one["node"]: one["path"] for one in report["views"][0]["endings"]}
    assert ends["n6"]["seed"] is None
    assert ends["n6"]["draws"] == 6
    assert ends["lost"]["seed"] is not None


def test_a_report_is_the_same_twice_and_names_its_question() -> None:
    one, other = report_of(content()), report_of(content())
    assert one == other
    assert report_of(content(), words_per_minute=100)["digest"] != one["digest"]


def test_random_plays_can_be_played_again() -> None:
    report = report_of(content(), mode="random", plays=60, seed=3, steps=50)
    assert report == report_of(content(), mode="random", plays=60, seed=3, steps=50)
    (view,) = report["views"]
    assert view["plays"] == 60
    assert not view["complete"]
    for one in view["endings"]:
        assert played(content(), one["path"], "mara").node == one["node"]
    assert ("endless", "alone") in kinds(report), "a play that goes round for ever is told"


@settings(max_examples=80, deadline=None)
@given(contents(), st.integers(0, 1000))
def test_playing_every_path_meets_whatever_playing_at_random_meets(content: dict[str, Any], seed: int) -> None:
    everything = playtested(story(content), Wanted(tables=True))
    some = playtested(story(content), Wanted(mode="random", plays=15, seed=seed, steps=60))
    assert everything["povs"] == some["povs"]
    for whole, part in zip(everything["views"], some["views"], strict=True):
        if not whole["complete"]:
            continue
        for kind, names in (("nodes", ["hits"]), ("choices", ["offered", "taken"]),
                            ("conditions", ["true", "false", "missing"])):
            for known, seen in zip(whole[kind], part[kind], strict=True):
                for name in names:
                    assert known[name] or not seen[name], (kind, known, seen)


@settings(max_examples=60, deadline=None)
@given(contents())
def test_every_way_of_any_report_can_be_taken(content: dict[str, Any]) -> None:
    report = playtested(story(content), Wanted())
    for view in report["views"]:
        for one in view["endings"]:
            if one["path"]["seed"] is not None:
                at = played(content, one["path"], view["pov"])
                assert (at.scene, at.node, at.finished) == (one["scene"], one["node"], True)


# --- golden plays -------------------------------------------------------------------------------------------------


def recorded(content: dict[str, Any]) -> dict[str, Any]:
    made = story(content)
    (ending,) = (one for one in playtested(made, Wanted())["views"][0]["endings"] if one["node"] == "home")
    return golden.golden(made, "home", "mara", ending["path"]["seed"], ending["path"]["choices"], dice=True)


def test_a_golden_play_stays_the_same_wherever_it_is_kept() -> None:
    kept = json.loads(json.dumps(recorded(content())))
    found = golden.compared(story(content()), golden.read(kept, "home.json"))
    assert found["status"] == "same"
    elsewhere = {**content(), "worldline": "storm", "position": 99}
    assert golden.compared(story(elsewhere), kept)["digest"] == kept["digest"]


def test_a_changed_line_is_told_with_what_stood_before() -> None:
    kept, now = recorded(content()), content()
    now["scenes"]["harbour"]["nodes"][4]["text"] = "Home, after all."
    found = golden.compared(story(now), kept)
    assert found["status"] == "changed"
    assert found["difference"]["at"] == "harbour/home"
    assert found["difference"]["fields"] == [{"field": "text", "before": "Home at last.", "after": "Home, after all."}]
    assert (found["difference"]["added"], found["difference"]["removed"], found["difference"]["changed"]) == (0, 0, 1)


def test_a_choice_that_is_gone_breaks_a_golden_play() -> None:
    kept, now = recorded(content()), content()
    del now["scenes"]["harbour"]["nodes"][0]["choices"][1]
    found = golden.compared(story(now), kept)
    assert found["status"] == "broken"
    assert "wait is not offered at harbour/quay" in found["why"]


@pytest.mark.parametrize("told", [None, [], {}, {"schema": golden.SCHEMA}, {"schema": golden.SCHEMA, "name": 1}])
def test_what_is_no_golden_play_is_named(told: Any) -> None:
    with pytest.raises(Invalid, match=r"x\.json"):
        golden.read(told, "x.json")


# --- two versions -------------------------------------------------------------------------------------------------


def beside(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    old, new = story(before), story(after)
    return compared(old, playtested(old, Wanted()), new, playtested(new, Wanted()))


def test_a_story_beside_itself_is_the_same() -> None:
    assert beside(content(), content())["same"]


def test_an_ending_that_vanished_says_why() -> None:
    now = content()
    now["scenes"]["harbour"]["nodes"][1]["choices"][0]["conditions"] = [
        {"key": "luck", "operator": "eq", "value": True}]
    found = beside(content(), now)
    (view,) = found["views"]
    (gone,) = view["endings"]["vanished"]
    assert (gone["node"], gone["kind"]) == ("home", "end")
    assert gone["why"] == "Now choice friend of harbour/dice is not offered: luck eq True does not hold."
    assert {"scene": "harbour", "node": "home"} in view["nodes_no_longer_reached"]


def test_an_ending_that_appeared_or_moved_says_why() -> None:
    now = content()
    quay = now["scenes"]["harbour"]["nodes"][0]
    quay["choices"].append({"id": "climb", "label": "Climb", "target": "attic"})
    quay["choices"].append({"id": "walk", "label": "Walk home", "target": "home"})
    (view,) = beside(content(), now)["views"]
    (come,) = view["endings"]["appeared"]
    assert (come["node"], come["why"]) == ("attic", "Before, harbour/quay has no choice climb.")
    (moved,) = view["endings"]["moved"]
    assert (moved["node"], moved["steps"]) == ("home", {"before": 2, "after": 1})
    assert "another way is shorter" in moved["why"]


# --- traces -------------------------------------------------------------------------------------------------------


def test_a_trace_holds_every_step_and_its_digest_is_of_the_play() -> None:
    found = trace(HARBOUR, seed=7, steps=5)
    assert list(found) == ["schema_version", "meta", "config", "initial", "steps", "final", "provenance"]
    assert found == trace(HARBOUR, seed=7, steps=5)
    first = found["steps"][0]
    assert first["from_node"] == "quay"
    assert first["rng_before"] == {"seed": 7, "value": 7, "uses": 0}
    assert first["rng_after"]["uses"] == 1
    assert trace(HARBOUR, seed=8, steps=5)["provenance"]["digest"] != found["provenance"]["digest"]


def test_a_trace_takes_the_choices_that_are_named_without_the_dice() -> None:
    found = trace(HARBOUR, choices=("boat",))
    assert [one["choice_id"] for one in found["steps"]] == ["boat"]
    assert found["final"]["rng"]["uses"] == 0
    assert found["final"]["finished"]
    with pytest.raises(Invalid, match="not available"):
        trace(HARBOUR, choices=("fly",))
    with pytest.raises(Invalid, match="not valid"):
        trace({"id": "x", "start": "nowhere", "nodes": []})
