"""Worldlines merged through the real dispatcher and boards: forth and back, crosswise, in part, raced and repeated."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from door import run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from merged_worldlines import PROJECT, Lines, lines

from commands.story.scene import (
    AddNode,
    CreateScene,
    DeleteScene,
    EditNode,
    MoveNode,
    RemoveNode,
    RenameScene,
    RestoreScene,
)
from commands.story.worldline import ArchiveWorldline, UpdateWorldline
from domain.errors import ComfyVNError, Invalid, NotFound, Refused
from domain.story.merging.conflicts import Decision
from domain.story.merging.held import equal
from services.studio import Asker


def text(value: str, scene: str = "intro", node: str = "n1") -> EditNode:
    return EditNode(scene_id=scene, node_id=node, text=value)


async def text_of(found: Lines, line: str, scene: str = "intro", node: str = "n1") -> Any:
    return (await found.documents(line))["scene", scene].fields[f"nodes/{node}"]["node"]["text"]


def test_what_a_branch_changed_comes_in_and_nothing_else() -> None:
    async def scenario() -> None:
        async with lines() as found:
            for name in ("intro", "other"):
                await found.scene(name)
            await found.fork("w")
            await found.ask(text("Theirs."), "w")
            await found.ask(text("Ours.", "other"))
            told = await found.merge("w")
            assert told["counts"] == {"scene": {"added": 0, "changed": 1, "removed": 0}}
            assert (told["applied"], told["fast_forward"]) == (True, False)
            assert await text_of(found, "main") == "Theirs."
            assert await text_of(found, "main", "other") == "Ours."
            assert await text_of(found, "w", "other") == "One."
            read, folded = await found.read_and_folded("intro", "main")
            assert read == folded

    run(scenario)


def test_a_target_that_has_not_diverged_is_fast_forwarded_in_one_batch() -> None:
    async def scenario() -> None:
        async with lines() as found:
            await found.scene("intro")
            await found.fork("w")
            await found.ask(text("Theirs."), "w")
            await found.scene("new", line="w")
            before = await found.head()
            told = await found.merge("w")
            assert told["fast_forward"] is True
            assert told["at"] == before + 1
            batch = found.door.log.events[before:]
            assert [one.type for one in batch] == ["WorldlineMerged", "NodesWritten", "SceneCreated"]
            assert len({one.command_id for one in batch}) == 1
            assert not (await found.compare("w", "main")).differing

    run(scenario)


def test_nothing_to_merge_is_said_and_not_recorded() -> None:
    async def scenario() -> None:
        async with lines() as found:
            await found.scene("intro")
            await found.fork("w")
            before = await found.head()
            told = await found.merge("w")
            assert (told["applied"], told["nothing_to_merge"]) == (False, True)
            await found.ask(text("Both alike."), "w")
            await found.ask(text("Both alike."))
            before = await found.head()
            assert (await found.merge("w"))["nothing_to_merge"] is True
            assert await found.head() == before

    run(scenario)


def test_a_long_lived_branch_is_merged_again_and_again_on_what_was_merged_last() -> None:
    async def scenario() -> None:
        async with lines() as found:
            await found.scene("intro")
            await found.fork("w")
            for number in range(3):
                await found.ask(text(f"Theirs {number}."), "w")
                assert (await found.merge("w"))["applied"]
                await found.ask(text(f"Ours {number}.", node="n2"))
                told = await found.merge("main", "w")
                assert (told["applied"], told["fast_forward"]) == (True, True)
                assert (await found.merge("w"))["nothing_to_merge"]
                assert not (await found.compare("w", "main")).differing
            assert await text_of(found, "w", node="n2") == "Ours 2."

    run(scenario)


def test_merges_crosswise_do_not_undo_what_either_decided() -> None:
    async def scenario() -> None:
        async with lines() as found:
            await found.scene("intro")
            await found.scene("other")
            await found.fork("a")
            await found.fork("b")
            await found.ask(text("A."), "a")
            await found.ask(text("B."), "b")
            await found.ask(text("Only A.", "other"), "a")
            # Both merges are worked out on what was there before either.
            plans = [found.merge("b", "a", rule="ours"), found.merge("a", "b", rule="ours")]
            first, second = await asyncio.gather(*plans)
            assert first["applied"]
            assert second["applied"]
            assert (await text_of(found, "a"), await text_of(found, "b")) == ("A.", "B.")
            made = await found.plan("a", "b")
            assert len(made.common) in (1, 2)
            # The text is still in dispute; what only A had changed is not.
            if len(made.common) == 2:
                assert [one.path for one in made.open] == [("scene", "intro", "nodes", "n1", "text")]

    run(scenario)


def test_crosswise_bases_that_disagree_keep_the_dispute_open() -> None:
    async def scenario() -> None:
        async with lines() as found:
            await found.scene("intro")
            await found.fork("a")
            await found.fork("b")
            await found.ask(text("A."), "a")
            await found.ask(text("B."), "b")
            head = await found.head()
            # Recorded side by side, as two studios would have: each kept its own.
            from commands.story.merging import RecordMerge

            for target, source in (("a", "b"), ("b", "a")):
                await found.studio.ask(RecordMerge(
                    worldline_id=target, version=1, source=source, source_position=head, position=head, bases=(),
                    fast_forward=False, only=(), rule="ours", by_rule=1, resolutions=(), counts={}, story={},
                ), Asker("author"), project=PROJECT)
            made = await found.plan("a", "b")
            assert [one.worldline for one in made.common] == ["a", "b"]
            assert [one.path for one in made.open] == [("scene", "intro", "nodes", "n1", "text")]

    run(scenario)


def test_some_documents_are_merged_by_themselves_and_the_others_later() -> None:
    async def scenario() -> None:
        async with lines() as found:
            for name in ("intro", "other"):
                await found.scene(name)
            await found.fork("w")
            await found.ask(text("Theirs."), "w")
            await found.ask(text("Theirs.", "other"), "w")
            await found.ask(text("Ours.", "other"))
            assert (await found.merge("w", only=["scene/intro"]))["counts"]["scene"]["changed"] == 1
            await found.ask(text("Ours later."))
            with pytest.raises(Refused) as caught:
                await found.merge("w")
            # Of the scene that was merged already, only ours has changed since.
            assert [one["address"] for one in caught.value.detail["conflicts"]] == ["scene/other/nodes/n1/text"]
            await found.merge("w", rule="theirs")
            assert await text_of(found, "main") == "Ours later."
            assert await text_of(found, "main", "other") == "Theirs."

    run(scenario)


def test_conflicts_are_data_and_decisions_are_recorded() -> None:
    async def scenario() -> None:
        async with lines() as found:
            await found.scene("intro")
            await found.fork("w")
            await found.ask(text("Theirs."), "w")
            await found.ask(text("Ours."))
            with pytest.raises(Refused) as caught:
                await found.merge("w")
            assert caught.value.code == "merge_conflicts"
            (conflict,) = caught.value.detail["conflicts"]
            assert (conflict["base"], conflict["ours"], conflict["theirs"]) == ("One.", "Ours.", "Theirs.")
            before = await found.head()
            shown = await found.merge("w", decisions={conflict["id"]: Decision("value", "Both.")}, dry_run=True)
            assert (shown["applied"], shown["events"], await found.head()) == (False, 2, before)
            told = await found.merge("w", decisions={conflict["id"]: Decision("value", "Both.")})
            assert told["resolutions"] == [{
                "conflict": conflict["id"], "address": conflict["address"], "kind": "both_changed", "take": "value",
            }]
            assert await text_of(found, "main") == "Both."

    run(scenario)


def test_the_newest_is_the_side_that_changed_it_last() -> None:
    async def scenario() -> None:
        async with lines() as found:
            await found.scene("intro")
            await found.fork("w")
            await found.ask(text("Ours, first."))
            await found.ask(text("Theirs, later."), "w")
            await found.ask(text("Theirs, first.", node="n2"), "w")
            await found.ask(text("Ours, later.", node="n2"))
            told = await found.merge("w", rule="newest")
            assert told["by_rule"] == 2
            assert await text_of(found, "main") == "Theirs, later."
            assert await text_of(found, "main", node="n2") == "Ours, later."

    run(scenario)


def test_a_name_that_both_gave_is_a_conflict() -> None:
    async def scenario() -> None:
        async with lines() as found:
            await found.scene("intro")
            await found.fork("w")
            await found.scene("theirs", line="w", title="The end")
            await found.scene("ours", title="The end")
            with pytest.raises(Refused) as caught:
                await found.merge("w")
            (conflict,) = caught.value.detail["conflicts"]
            assert (conflict["kind"], conflict["address"], conflict["other"]) == (
                "name_twice", "scene/theirs/title", "scene/ours")
            await found.merge("w", rule="ours")
            assert (await found.documents("main"))["scene", "theirs"].fields["title"] == "The end (w)"

    run(scenario)


def test_the_same_request_with_its_key_is_merged_once() -> None:
    async def scenario() -> None:
        async with lines() as found:
            await found.scene("intro")
            await found.fork("w")
            await found.ask(text("Theirs."), "w")
            first = await found.merge("w", key="k")
            await found.ask(text("Theirs again."), "w")
            head = await found.head()
            again = await found.merge("w", key="k")
            assert again == {**first, "repeated": True}
            assert await found.head() == head
            with pytest.raises(Invalid) as caught:
                await found.merge("w", key="k", rule="ours")
            assert caught.value.code == "idempotency_key_reused"

    run(scenario)


def test_one_key_asked_many_times_at_once_merges_once() -> None:
    async def scenario() -> None:
        async with lines() as found:
            await found.scene("intro")
            await found.fork("w")
            await found.ask(text("Theirs."), "w")
            await asyncio.gather(*(found.merge("w", key="k") for _ in range(6)))
            merges = [one for one in found.door.log.events if one.type == "WorldlineMerged"]
            assert len(merges) == 1

    run(scenario)


def test_what_is_edited_while_it_is_merged_is_not_overwritten() -> None:
    async def scenario() -> None:
        async with lines() as found:
            for number in range(8):
                await found.scene(f"s{number}")
            await found.fork("w")
            for number in range(8):
                await found.ask(text("Theirs.", f"s{number}"), "w")
            edits = [found.ask(text("Ours.", f"s{number}", "n2")) for number in range(8)]
            await asyncio.gather(found.merge("w"), *edits)
            for number in range(8):
                assert await text_of(found, "main", f"s{number}") == "Theirs."
                assert await text_of(found, "main", f"s{number}", "n2") == "Ours."
                read, folded = await found.read_and_folded(f"s{number}", "main")
                assert read == folded

    run(scenario)


def test_siblings_and_descendants_merge_in_every_direction() -> None:
    async def scenario() -> None:
        async with lines() as found:
            await found.scene("intro")
            await found.fork("a")
            await found.ask(text("A."), "a")
            await found.fork("deep", "a")
            await found.fork("b")
            await found.ask(text("Deep.", node="n2"), "deep")
            assert (await found.merge("deep", "b"))["counts"]["scene"]["changed"] == 1
            assert (await text_of(found, "b"), await text_of(found, "b", node="n2")) == ("A.", "Deep.")
            assert (await found.merge("b"))["fast_forward"] is True
            assert (await found.merge("main", "deep"))["nothing_to_merge"]
            assert (await found.merge("main", "a"))["applied"]
            assert await text_of(found, "a", node="n2") == "Deep."

    run(scenario)


def test_a_deletion_and_a_restoration_come_in() -> None:
    async def scenario() -> None:
        async with lines() as found:
            for name in ("intro", "other"):
                await found.scene(name)
            await found.fork("w")
            await found.ask(DeleteScene(scene_id="other"), "w")
            assert (await found.merge("w"))["counts"] == {"scene": {"added": 0, "changed": 0, "removed": 1}}
            assert not (await found.documents("main"))["scene", "other"].alive
            await found.ask(RestoreScene(scene_id="other"), "w")
            await found.ask(text("Back.", "other"), "w")
            await found.merge("w")
            assert await text_of(found, "main", "other") == "Back."

    run(scenario)


@pytest.mark.parametrize(("source", "target", "wanted", "kind", "code"), [
    ("main", "main", {}, Invalid, "merge_into_itself"),
    ("nowhere", "main", {}, NotFound, "unknown_worldline"),
    ("main", "nowhere", {}, NotFound, "unknown_worldline"),
    ("away", "main", {}, Refused, "worldline_archived"),
    ("main", "away", {}, Refused, "worldline_archived"),
    ("w", "main", {"only": ["job"]}, Invalid, "unknown_document"),
    ("w", "main", {"decisions": {"cffff": Decision("ours")}}, Invalid, "unknown_conflict"),
    ("w", "main", {"decisions": {"scene/intro/nodes/n1": Decision("value", {"id": "other"})}}, Invalid,
     "invalid_scene"),
    ("w", "main", {"decisions": {"scene/intro/title": Decision("value", 7)}}, Invalid, "invalid_scene"),
    ("w", "main", {"decisions": {"scene/intro": Decision("value", "no")}}, Invalid, "invalid_resolution"),
])
def test_what_cannot_be_merged_is_refused_and_nothing_is_recorded(
    source: str, target: str, wanted: dict[str, Any], kind: type[ComfyVNError], code: str
) -> None:
    async def scenario() -> None:
        async with lines() as found:
            await found.scene("intro")
            await found.fork("w")
            await found.fork("away")
            await found.ask(text("Theirs."), "w")
            await found.ask(RenameScene(scene_id="intro", title="Theirs"), "w")
            await found.ask(ArchiveWorldline(worldline_id="away"))
            before = await found.head()
            for dry_run in (True, False):
                with pytest.raises(kind) as caught:
                    await found.merge(source, target, dry_run=dry_run, **wanted)
                assert caught.value.code == code
                assert caught.value.remediation
            assert await found.head() == before

    run(scenario)


def test_a_merge_of_more_than_one_batch_says_how_to_go_on() -> None:
    async def scenario() -> None:
        async with lines() as found:
            await found.fork("w")
            asks = [
                CreateScene.model_validate({"id": f"s{number}", "start": "a", "nodes": [{"id": "a"}]})
                for number in range(1000)
            ]
            for start in (0, 500):
                await found.studio.ask_all(asks[start : start + 500], Asker("author"), project=PROJECT, worldline="w")
            with pytest.raises(Refused) as caught:
                await found.merge("w")
            assert caught.value.code == "merge_too_large"
            told = await found.merge("w", only=[f"scene/s{number}" for number in range(900)])
            assert told["counts"]["scene"]["added"] == 900
            assert (await found.merge("w"))["counts"]["scene"]["added"] == 100
            assert not (await found.compare("w", "main")).differing

    run(scenario)


def test_words_about_a_worldline_do_not_stand_in_the_way_of_a_merge() -> None:
    async def scenario() -> None:
        async with lines() as found:
            await found.scene("intro")
            await found.fork("w")
            await found.fork("x")
            await found.ask(text("Theirs."), "w")
            await found.ask(UpdateWorldline(worldline_id="x", label="Another"))
            assert (await found.merge("w", "x"))["version"] == 3

    run(scenario)


# --- any history ------------------------------------------------------------------------------------------------------

LINES = ("main", "a", "b")
SCENES = ("s0", "s1", "s2")

steps = st.lists(
    st.one_of(
        st.tuples(st.just("text"), st.sampled_from(LINES), st.sampled_from(SCENES), st.sampled_from(["n1", "n2"]),
                  st.integers(0, 3)),
        st.tuples(st.just("title"), st.sampled_from(LINES), st.sampled_from(SCENES), st.integers(0, 3)),
        st.tuples(st.just("add"), st.sampled_from(LINES), st.sampled_from(SCENES), st.sampled_from(["n3", "n4"])),
        st.tuples(st.just("remove"), st.sampled_from(LINES), st.sampled_from(SCENES), st.sampled_from(["n2", "n3"])),
        st.tuples(st.just("move"), st.sampled_from(LINES), st.sampled_from(SCENES), st.integers(0, 3)),
        st.tuples(st.just("delete"), st.sampled_from(LINES), st.sampled_from(SCENES)),
        st.tuples(st.just("restore"), st.sampled_from(LINES), st.sampled_from(SCENES)),
        st.tuples(st.just("merge"), st.sampled_from(LINES), st.sampled_from(LINES),
                  st.sampled_from(["ours", "theirs", "newest"])),
    ),
    min_size=4, max_size=14,
)


def _command(step: tuple[Any, ...]) -> Any:
    match step:
        case ("text", _, scene, node, number):
            return text(f"Text {number}.", scene, node)
        case ("title", _, scene, number):
            return RenameScene(scene_id=scene, title=f"Title {scene} {number}")
        case ("add", _, scene, node):
            return AddNode.model_validate({"scene_id": scene, "node": {"id": node, "choices": [{"target": "n1"}]}})
        case ("remove", _, scene, node):
            return RemoveNode(scene_id=scene, node_id=node, detach=True)
        case ("move", _, scene, at):
            return MoveNode(scene_id=scene, node_id="n1", at=at)
        case ("delete", _, scene):
            return DeleteScene(scene_id=scene)
        case ("restore", _, scene):
            return RestoreScene(scene_id=scene)
    raise AssertionError(step)


@given(steps)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_happened_merging_reads_back_as_it_was_worked_out_and_converges(taken: list[tuple[Any, ...]]) -> None:
    async def scenario() -> None:
        async with lines() as found:
            for name in SCENES:
                await found.scene(name)
            for line in LINES[1:]:
                await found.fork(line)
            for step in taken:
                if step[0] != "merge":
                    try:
                        await found.ask(_command(step), step[1])
                    except (Refused, NotFound, Invalid):
                        continue
                elif step[1] != step[2]:
                    await _merged(found, *step[1:])
            await _merged(found, "a", "main", "theirs")
            await _merged(found, "main", "a", "ours")
            assert not {place for place, (one, other) in (await found.compare("a", "main")).differing.items()}
            for name in SCENES:
                for line in LINES:
                    read, folded = await found.read_and_folded(name, line)
                    assert read == folded

    run(scenario)


async def _merged(found: Lines, source: str, target: str, rule: str) -> None:
    from projections.boards.merging import Wanted

    before = await found.documents(target)
    made = await found.plan(source, target, Wanted(rule=rule))  # type: ignore[arg-type]
    assert not made.open
    told = await found.merge(source, target, rule=rule)
    after = await found.documents(target)
    changed = {(one.category, one.id): one for one in made.changed}
    for place, held in after.items():
        if place in changed:
            assert equal(held, changed[place].after), place
        else:
            assert equal(held, before[place]), place
    if told["applied"]:
        assert (await found.merge(source, target))["nothing_to_merge"]
    # What is read is only what was touched; nothing else may differ.
    every, other = await found.documents(source), await found.documents(target)
    differing = (await found.compare(source, target)).differing
    for place in {*every, *other} - set(differing):
        one, another = every.get(place), other.get(place)
        assert (one is None or not one.alive) == (another is None or not another.alive), place
        if one is not None and another is not None and one.alive:
            assert equal(one, another), place
