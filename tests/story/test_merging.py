"""Three versions of one document: what only one side did stays, what both did is a conflict, and nothing is lost."""

from __future__ import annotations

import json
from typing import Any

import pytest
from any_merges import edited, forks, held, is_valid, scenes
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.story.merging.conflicts import Court, Decision, conflict_id
from domain.story.merging.documents import Merged, merge
from domain.story.merging.held import NOTHING, Held

RULES = st.sampled_from(["ours", "theirs", "newest"])


def merged(base: Held, ours: Held, theirs: Held, court: Court | None = None) -> tuple[Merged, Court]:
    court = court or Court()
    return merge("scene", "s", base, ours, theirs, court), court


def same(one: Any, other: Any) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def node(name: str, *targets: str, **more: Any) -> dict[str, Any]:
    return {"id": name, **more, **({"choices": [{"target": one} for one in targets]} if targets else {})}


def placed(*nodes: dict[str, Any], start: str = "a", **more: Any) -> dict[str, Any]:
    items = {f"nodes/{one['id']}": {"node": one, "place": [index * 10]} for index, one in enumerate(nodes)}
    return {"start": start, **more, **items}


def kinds(court: Court) -> list[tuple[str, str]]:
    return [(one.kind, "/".join(one.path[2:])) for one in court.open]


# --- whatever two people do -------------------------------------------------------------------------------------------


@given(st.data(), scenes())
def test_a_branch_without_changes_changes_nothing(data: st.DataObject, base: dict[str, Any]) -> None:
    other = data.draw(edited(base))
    found, court = merged(held(base), held(other), held(base))
    assert not found.writes
    assert not court.open
    found, court = merged(held(base), held(base), held(other))
    assert same(found.fields, other)
    assert not court.open


@given(forks())
def test_what_both_did_alike_is_no_conflict(versions: tuple[dict[str, Any], ...]) -> None:
    base, ours, _ = versions
    found, court = merged(held(base), held(ours), held(json.loads(json.dumps(ours))))
    assert not found.writes
    assert not court.open


@given(forks(), RULES)
def test_a_rule_leaves_no_conflict_and_a_valid_scene(versions: tuple[dict[str, Any], ...], rule: Any) -> None:
    base, ours, theirs = versions
    found, court = merged(held(base), held(ours, at=2), held(theirs, at=3), Court(rule=rule))
    assert not court.open
    assert is_valid(found.fields)


@given(forks())
def test_it_makes_no_difference_who_merges_whom(versions: tuple[dict[str, Any], ...]) -> None:
    base, ours, theirs = versions
    one, left = merged(held(base), held(ours), held(theirs), Court(rule="ours"))
    other, right = merged(held(base), held(theirs), held(ours), Court(rule="theirs"))
    assert {each.conflict.id for each in left.settled} == {each.conflict.id for each in right.settled}
    if not left.settled:
        assert same(one.fields, other.fields)


@given(forks())
def test_ids_are_neither_lost_nor_doubled(versions: tuple[dict[str, Any], ...]) -> None:
    base, ours, theirs = versions
    found, _ = merged(held(base), held(ours), held(theirs), Court(rule="ours"))
    nodes = {path for path in found.fields if path.startswith("nodes/")}
    assert nodes <= {*ours, *theirs}
    assert {path for path in ours if path in theirs and path.startswith("nodes/")} <= nodes
    assert {path for path in {*ours} ^ {*theirs} if path not in base and path.startswith("nodes/")} <= nodes
    for path in nodes:
        ids = [choice["id"] for choice in found.fields[path]["node"].get("choices", ())]
        assert len(ids) == len(set(ids))


@given(forks(), st.data())
def test_conflicts_decided_one_by_one_come_to_an_end(versions: tuple[dict[str, Any], ...], data: st.DataObject) -> None:
    base, ours, theirs = versions
    decisions: dict[str, Decision] = {}
    for _ in range(30):
        found, court = merged(held(base), held(ours), held(theirs), Court(decisions))
        if not court.open:
            assert not court.unused()
            assert is_valid(found.fields)
            return
        one = court.open[0]
        assert one.id not in decisions
        decisions[one.id] = Decision(data.draw(st.sampled_from(["ours", "theirs"])))
    pytest.fail("there was always one more conflict")


@given(scenes(), st.data())
def test_edits_of_different_fields_merge_and_commute(base: dict[str, Any], data: st.DataObject) -> None:
    paths = sorted(base)
    mine = data.draw(st.sets(st.sampled_from(paths)))
    ours, theirs = dict(base), dict(base)
    for path in paths:
        side = ours if path in mine else theirs
        if path.startswith("nodes/"):
            side[path] = {"node": base[path]["node"] | {"speaker": data.draw(st.sampled_from(["Mira", "Tom"]))},
                          "place": [data.draw(st.integers(0, 50))]}
        elif path == "title":
            side[path] = data.draw(st.sampled_from(["x", "y"]))
    one, left = merged(held(base), held(ours), held(theirs))
    other, right = merged(held(base), held(theirs), held(ours))
    assert not left.open
    assert not right.open
    assert same(one.fields, other.fields)
    assert same(one.fields, {path: ours[path] if path in mine else theirs[path] for path in paths})


@given(forks())
@settings(max_examples=50)
def test_a_merge_of_the_merge_changes_nothing(versions: tuple[dict[str, Any], ...]) -> None:
    base, ours, theirs = versions
    found, _ = merged(held(base), held(ours), held(theirs), Court(rule="theirs"))
    again, court = merged(held(theirs), held(found.fields), held(theirs))
    assert not again.writes
    assert not court.open


# --- one by one -------------------------------------------------------------------------------------------------------


def test_two_texts_of_one_node_are_a_conflict_with_all_three_values() -> None:
    base, ours, theirs = (placed(node("a", text=text)) for text in ("was", "mine", "yours"))
    found, court = merged(held(base), held(ours, at=3), held(theirs, at=7))
    (conflict,) = court.open
    assert conflict.shown() == {
        "id": conflict_id(("scene", "s", "nodes", "a", "text")), "kind": "both_changed", "category": "scene",
        "document": "s", "path": ["nodes", "a", "text"], "address": "scene/s/nodes/a/text",
        "message": "Both sides changed nodes/a/text.", "present": ["base", "ours", "theirs"], "base": "was",
        "ours": "mine", "theirs": "yours", "newest": "theirs",
    }
    assert not found.writes


@pytest.mark.parametrize(("decision", "text"), [
    (Decision("ours"), "mine"), (Decision("theirs"), "yours"), (Decision("base"), "was"),
    (Decision("newest"), "yours"), (Decision("value", "both"), "both"),
])
def test_a_conflict_is_decided_by_a_side_or_by_hand(decision: Decision, text: str) -> None:
    base, ours, theirs = (placed(node("a", text=text)) for text in ("was", "mine", "yours"))
    for name in (conflict_id(("scene", "s", "nodes", "a", "text")), "scene/s/nodes/a/text"):
        found, court = merged(held(base), held(ours, at=3), held(theirs, at=7), Court({name: decision}))
        assert not court.open
        assert found.fields["nodes/a"]["node"]["text"] == text


def test_edited_here_and_deleted_there() -> None:
    base = placed(node("a"), node("b", text="was"))
    ours = placed(node("a"), node("b", text="mine"))
    theirs = placed(node("a"))
    _, court = merged(held(base), held(ours), held(theirs))
    assert kinds(court) == [("edited_and_deleted", "nodes/b")]
    found, _ = merged(held(base), held(ours), held(theirs), Court(rule="theirs"))
    assert found.writes == {"nodes/b": None}
    by_hand = Court({"scene/s/nodes/b": Decision("value", node("b", text="new"))})
    found, _ = merged(held(base), held(ours), held(theirs), by_hand)
    assert found.fields["nodes/b"] == {"node": node("b", text="new"), "place": [10]}


def test_a_whole_document_edited_here_and_deleted_there() -> None:
    base, ours = placed(node("a", text="was")), placed(node("a", text="mine"))
    _, court = merged(held(base), held(ours), held(base, alive=False))
    assert kinds(court) == [("edited_and_deleted", "")]
    gone, _ = merged(held(base), held(ours), held(base, alive=False), Court(rule="theirs"))
    assert gone.writes["summary"] is None
    stays, _ = merged(held(base), held(ours), held(base, alive=False), Court(rule="ours"))
    assert not stays.writes
    back, _ = merged(held(base), held(base, alive=False), held(ours), Court(rule="theirs"))
    assert back.writes == {"nodes/a": ours["nodes/a"], "summary": {}}


def test_a_document_deleted_there_and_untouched_here_goes() -> None:
    base = placed(node("a"))
    found, court = merged(held(base), held(base), held(base, alive=False))
    assert (found.writes, court.open) == ({"summary": None}, [])


def test_a_document_that_was_added_there_comes() -> None:
    theirs = placed(node("a"))
    found, court = merged(NOTHING, NOTHING, held(theirs))
    assert (found.writes, court.open) == ({**theirs, "summary": {}}, [])


def test_a_choice_whose_target_is_gone_is_a_conflict_about_the_target() -> None:
    base = placed(node("a", "c"), node("b"), node("c"))
    ours = placed(node("a", "c"), node("b", "c"), node("c"))
    theirs = placed(node("a"), node("b"))
    _, court = merged(held(base), held(ours), held(theirs))
    assert kinds(court) == [("target_gone", "nodes/c")]
    assert court.open[0].more == {"led_to_by": ["nodes/b/choices/c"]}
    gone, court = merged(held(base), held(ours), held(theirs), Court(rule="theirs"))
    assert not court.open
    assert "nodes/c" not in gone.fields
    assert gone.fields["nodes/b"]["node"]["choices"] == []
    kept, _ = merged(held(base), held(ours), held(theirs), Court(rule="ours"))
    assert kept.fields["nodes/c"] == base["nodes/c"]


def test_a_start_that_is_gone_is_the_remover_s_start() -> None:
    base = placed(node("a"), node("b"), start="a")
    ours = placed(node("a"), node("b"), start="b")
    theirs = {path: value for path, value in placed(node("a"), node("b")).items() if path != "nodes/b"}
    _, court = merged(held(base), held(ours), held(theirs))
    assert kinds(court) == [("target_gone", "nodes/b")]
    gone, _ = merged(held(base), held(ours), held(theirs), Court(rule="theirs"))
    assert (gone.fields["start"], "nodes/b" in gone.fields) == ("a", False)


def test_two_nodes_of_one_id() -> None:
    base = placed(node("a"))
    ours, theirs = placed(node("a"), node("b", text="mine")), placed(node("a"), node("b", text="yours"))
    _, court = merged(held(base), held(ours), held(theirs))
    assert kinds(court) == [("same_id", "nodes/b")]
    found, _ = merged(held(base), held(ours), held(theirs), Court(rule="theirs"))
    assert found.fields["nodes/b"]["node"]["text"] == "yours"


def test_a_move_and_an_edit_of_one_node_both_stay() -> None:
    base = placed(node("a"), node("b", text="was"))
    ours = {**base, "nodes/b": {"node": node("b", text="was"), "place": [-5]}}
    theirs = {**base, "nodes/b": {"node": node("b", text="new"), "place": [10]}}
    found, court = merged(held(base), held(ours), held(theirs))
    assert not court.open
    assert found.fields["nodes/b"] == {"node": node("b", text="new"), "place": [-5]}


def test_two_moves_of_one_node_are_order_against_order() -> None:
    base = placed(node("a"), node("b"))
    ours, theirs = ({**base, "nodes/b": {"node": node("b"), "place": [at]}} for at in (-5, 30))
    _, court = merged(held(base), held(ours), held(theirs))
    assert kinds(court) == [("order", "nodes/b/place")]
    found, _ = merged(held(base), held(ours), held(theirs), Court({"scene/s/nodes/b/place": Decision("value", [7])}))
    assert found.fields["nodes/b"]["place"] == [7]


def test_choices_that_both_added_stand_in_one_order_whoever_merges() -> None:
    base = placed(node("a", "b"), node("b"), node("c"), node("d"))
    ours = placed(node("a", "b", "c"), node("b"), node("c"), node("d"))
    theirs = placed(node("a", "b", "d"), node("b"), node("c"), node("d"))
    one, court = merged(held(base), held(ours), held(theirs))
    other, _ = merged(held(base), held(theirs), held(ours))
    assert not court.open
    targets = [choice["target"] for choice in one.fields["nodes/a"]["node"]["choices"]]
    assert targets == ["b", "c", "d"]
    assert same(one.fields, other.fields)


def test_two_orders_of_the_same_choices_are_a_conflict() -> None:
    rest = (node("b"), node("c"), node("d"))
    base, ours, theirs = (
        placed(node("a", *order), *rest) for order in (("b", "c", "d"), ("c", "b", "d"), ("b", "d", "c"))
    )
    _, court = merged(held(base), held(ours), held(theirs))
    assert kinds(court) == [("order", "nodes/a/choices/order")]
    found, _ = merged(held(base), held(ours), held(theirs), Court(rule="theirs"))
    assert [one["target"] for one in found.fields["nodes/a"]["node"]["choices"]] == ["b", "d", "c"]


def test_fields_of_one_choice_merge_and_conditions_are_known_by_what_they_test() -> None:
    def version(label: str, *tests: tuple[str, int]) -> dict[str, Any]:
        choice = {"id": "x", "target": "b", "label": label, "conditions": [
            {"key": key, "operator": "gte", "value": value} for key, value in tests
        ]}
        return placed({"id": "a", "choices": [choice]}, node("b"))

    base = version("Go", ("gold", 1))
    found, court = merged(held(base), held(version("Go on", ("gold", 1))), held(version("Go", ("gold", 2), ("key", 1))))
    assert not court.open
    assert same(found.fields, version("Go on", ("gold", 2), ("key", 1)))


def test_conditions_that_both_took_away_leave_no_empty_list() -> None:
    def version(*keys: str) -> dict[str, Any]:
        tests = [{"key": key, "operator": "exists"} for key in keys]
        return placed({"id": "a", "choices": [{"id": "x", "target": "a", **({"conditions": tests} if tests else {})}]})

    found, court = merged(held(version("gold", "key")), held(version("gold")), held(version("key")))
    assert not court.open
    assert same(found.fields, version())


def test_numbers_that_are_a_list_are_one_value() -> None:
    base, ours, theirs = (
        placed(node("a"), metadata={"at": at}) for at in ([1, 2, 3], [9, 2, 3], [1, 2, 7])
    )
    _, court = merged(held(base), held(ours), held(theirs))
    assert kinds(court) == [("both_changed", "metadata/at")]
    tagged = [placed(node("a"), metadata={"tags": tags}) for tags in (["x", "y"], ["x"], ["x", "y", "z"])]
    found, court = merged(*map(held, tagged))
    assert found.fields["metadata"] == {"tags": ["x", "z"]}
    assert not court.open


def test_a_field_without_conflict_may_be_decided_too_and_an_unknown_one_is_told() -> None:
    base = placed(node("a", text="was"), title="Old")
    theirs = placed(node("a", text="new"), title="New")
    court = Court({"scene/s/title": Decision("ours"), "scene/s/nowhere": Decision("ours")})
    found, _ = merged(held(base), held(base), held(theirs), court)
    assert found.fields["title"] == "Old"
    assert found.fields["nodes/a"]["node"]["text"] == "new"
    assert court.unused() == ["scene/s/nowhere"]


def group(*alternatives: dict[str, Any]) -> Held:
    item = {"id": "g", "group": "g", "alternatives": list(alternatives)}
    return held({"title": "Days", "entries/g": {"item": item, "place": [0]}})


RAINY = {"scene": "x", "conditions": [{"key": "rain", "operator": "exists"}]}


@pytest.mark.parametrize(("base", "ours", "theirs"), [
    (group({"scene": "x"}), group({"scene": "x", "final": True}), group({"scene": "x"}, RAINY)),
    (group({"scene": "x"}, {"scene": "y"}), group({"scene": "x"}), group({"scene": "y"})),
], ids=["contradicts itself", "leads nowhere"])
def test_a_group_that_makes_sense_on_either_side_alone_is_in_dispute(base: Held, ours: Held, theirs: Held) -> None:
    court = Court()
    merge("timeline", "main", base, ours, theirs, court)
    (one,) = court.open
    assert (one.kind, one.path) == ("both_changed", ("timeline", "main", "entries", "g"))
    for rule, side in (("ours", ours), ("theirs", theirs)):
        found = merge("timeline", "main", base, ours, theirs, Court(rule=rule))
        assert found.fields == side.fields
        found = merge("timeline", "main", base, ours, theirs, Court({one.id: Decision(rule)}))
        assert found.fields == side.fields
