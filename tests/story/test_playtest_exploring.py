"""Playing every path quickly finds exactly what playing every path plainly finds, and keeps within its bounds."""

from __future__ import annotations

from typing import Any

import pytest
from branching_contents import contents
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from plain_exploring import explored as plainly

from domain.errors import Refused
from domain.story.play import advanced, begun, chosen, coming, story, ways
from domain.story.playtest.exploring import Bounds, Explored
from domain.story.playtest.lengths import lengths
from domain.story.playtest.machine import Machine
from domain.story.playtest.survey import survey
from domain.story.playtest.walks import along, walked


def explore(content: dict[str, Any], pov: str = "mara", seed: int | None = None, **bounds: int) -> Explored:
    made = story(content)
    found = Explored(Machine(made, survey(made), pov, None, seed), Bounds(**bounds))
    for _ in found.run():
        pass
    return found


def names(found: Explored) -> dict[str, Any]:
    """What was met, by names."""
    told, counted = found.machine.survey, found.counted
    places = told.places
    return {
        "nodes": {(places[one].scene, places[one].node) for one in counted.places},
        "offered": {
            (places[told.ways[one].place].scene, places[told.ways[one].place].node, told.ways[one].order)
            for one in counted.offered
        },
        "sides": {(told.rules[one].where, True) for one in counted.held}
        | {(told.rules[one].where, False) for one in counted.failed},
        "missing": {told.rules[one].where for one in counted.missing},
        "ends": {(places[one].scene, places[one].node) for one in counted.over},
    }


@settings(max_examples=60, deadline=None)
@given(contents(), st.sampled_from(["mara", "ivo", "narrator"]))
def test_the_quick_engine_meets_what_the_plain_one_meets(content: dict[str, Any], pov: str) -> None:
    made = story(content)
    try:
        plain = plainly(made, pov)
    except Refused:
        assert explore(content, pov).states == 0
        return
    quick = explore(content, pov, states=4000)
    found = names(quick)
    if plain.complete:
        assert quick.complete, "a reduction must not make anything larger"
        assert quick.states <= plain.states
        assert found == {"nodes": set(plain.nodes), "offered": plain.offered, "sides": plain.sides,
                         "missing": plain.missing, "ends": set(plain.ends)}
    elif quick.complete:
        assert set(plain.nodes) <= found["nodes"]
        assert plain.offered <= found["offered"]
        assert plain.sides <= found["sides"]
        assert plain.missing <= found["missing"]
        assert set(plain.ends) <= found["ends"]


@settings(max_examples=60, deadline=None)
@given(contents())
def test_the_way_to_every_node_is_a_shortest_one_and_can_be_taken(content: dict[str, Any]) -> None:
    made = story(content)
    try:
        plain = plainly(made, "mara")
    except Refused:
        assume(False)
    quick = explore(content, states=4000)
    assume(quick.complete)
    for place, (_, first) in quick.counted.places.items():
        told = quick.machine.survey.places[place]
        walk = walked(made, "mara", None, quick.way_to(first))
        assert (walk.last.scene, walk.last.node) == (told.scene, told.node)
        if (told.scene, told.node) in plain.nodes and plain.complete:
            assert len(walk.stations) - 1 == plain.nodes[told.scene, told.node]
    for place, (_, first) in quick.counted.over.items():
        assert walked(made, "mara", None, quick.way_to(first)).last.finished, place


@settings(max_examples=60, deadline=None)
@given(contents(), st.integers(0, 2**32 - 1))
def test_with_a_seed_the_dice_fall_as_they_fall_in_a_play(content: dict[str, Any], seed: int) -> None:
    made = story(content)
    try:
        at = begun(made, pov="mara", seed=seed)
    except Refused:
        assume(False)
    quick = explore(content, seed=seed, states=3000)
    met = names(quick)
    for turn in range(60):
        assert (at.scene, at.node) in met["nodes"] or not quick.complete
        if (next_ := coming(made, at)) == "finished":
            break
        if next_ == "ask":
            offered = ways(made, at)
            at = chosen(made, at, offered[turn % len(offered)].id)
        else:
            at, _ = advanced(made, at)
    for place, (_, first) in quick.counted.over.items():
        walk = walked(made, "mara", None, quick.way_to(first), seed)
        assert walk.last.finished, place
        at = begun(made, pov="mara", seed=seed)
        for left, choice in walk.stations[:-1]:
            assert (at.scene, at.node) == (left.scene, left.node)
            at = chosen(made, at, choice.id) if coming(made, at) == "ask" else advanced(made, at)[0]  # type: ignore[union-attr]
        assert at.finished


@settings(max_examples=75, deadline=None)
@given(contents())
def test_the_shortest_and_the_longest_play_are_plays(content: dict[str, Any]) -> None:
    made = story(content)
    quick = explore(content, states=3000)
    measured = lengths(quick)
    assert bool(measured.shortest) == bool(quick.counted.over)
    words = []
    for states in (measured.shortest, measured.longest):
        if states:
            walk = walked(made, "mara", None, along(quick, states))
            assert walk.last.finished
            words.append(sum(len(made.node(at).document["text"].split()) for at, _ in walk.stations))
    assert words == sorted(words)


def tangled(flags: int) -> dict[str, Any]:
    """Every flag may be set or not, and the last node asks for all of them: 2 ** flags states."""
    nodes: list[dict[str, Any]] = [
        {"id": f"n{one}", "text": "word", "choices": [
            {"id": "yes", "label": "Yes", "target": f"n{one + 1}",
             "actions": [{"type": "set", "key": f"f{one}", "value": True}]},
            {"id": "no", "label": "No", "target": f"n{one + 1}"},
        ]} for one in range(flags)
    ]
    nodes.append({"id": f"n{flags}", "text": "word", "choices": [
        {"id": "gate", "label": "All", "target": "win",
         "conditions": [{"key": f"f{one}", "operator": "eq", "value": True} for one in range(flags)]},
        {"id": "else", "label": "Else", "target": "lose"},
    ]})
    nodes += [{"id": "win", "text": "won", "end": True}, {"id": "lose", "text": "lost", "end": True}]
    return {"id": "t", "entries": [{"id": "e", "scene": "s"}], "variables": {},
            "scenes": {"s": {"id": "s", "start": "n0", "nodes": nodes}}}


def test_a_tangle_of_flags_is_cut_where_the_bound_says_so() -> None:
    found = explore(tangled(40), states=5000)
    assert not found.complete
    assert found.reached == {"states"}
    assert found.states == 5000
    assert found.frontier > 0
    assert ("s", "lose") in names(found)["nodes"], "what is left of the bound goes deep"


def test_flags_that_nobody_asks_for_cost_nothing() -> None:
    content = tangled(40)
    content["scenes"]["s"]["nodes"][40]["choices"][0]["conditions"] = [{"key": "f39", "operator": "eq", "value": True}]
    found = explore(content)
    assert found.complete
    assert found.states < 60


@pytest.mark.parametrize(("bound", "value"), [("transitions", 300), ("depth", 7), ("memory", 100_000)])
def test_every_bound_is_told(bound: str, value: int) -> None:
    found = explore(tangled(20), **{bound: value})
    assert found.reached == {bound}
    assert found.frontier > 0


def test_an_endless_counter_that_is_asked_for_ends_all_the_same() -> None:
    content = {"id": "t", "entries": [{"id": "e", "scene": "s"}], "variables": {}, "scenes": {"s": {
        "id": "s", "start": "mine", "nodes": [
            {"id": "mine", "text": "Dig.", "choices": [
                {"id": "dig", "label": "Dig", "target": "mine", "actions": [{"type": "increment", "key": "gold"}]},
                {"id": "buy", "label": "Buy", "target": "shop",
                 "conditions": [{"key": "gold", "operator": "gte", "value": 10}]},
            ]},
            {"id": "shop", "text": "Bought.", "end": True},
        ]}}}
    found = explore(content)
    assert found.complete
    assert found.states <= 14
    assert len(found.way_to(found.counted.over[found.machine.survey.place_of["s", "shop"]][1])) == 11


def test_ten_thousand_nodes_are_played() -> None:
    nodes = [{"id": f"n{one}", "text": "word", "choices": [{"target": f"n{one + 1}"}]} for one in range(9_999)]
    nodes.append({"id": "n9999", "text": "word", "end": True})
    found = explore({"id": "t", "entries": [{"id": "e", "scene": "s"}], "variables": {},
                     "scenes": {"s": {"id": "s", "start": "n0", "nodes": nodes}}})
    assert found.complete
    assert found.states == 10_000
    assert len(lengths(found).longest) == 10_000
