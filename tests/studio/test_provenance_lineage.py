"""The lineage of assets: both ways, in circles, wide and deep, and as a picture in which nothing acts."""

from __future__ import annotations

import asyncio
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from projected import Projected
from studios import look, studio_on

from commands.studio.asset import RegisterAsset
from domain.errors import NotFound
from domain.ports import Recorded, Stream
from domain.studio.asset import AssetRegistered
from domain.studio.asset_values import Source
from domain.studio.generated import Generation, Ingredient, generation_of, parents_of, steps, term_of
from domain.studio.source_types import TERMS
from services.lineage_drawing import drawn
from services.registry import REGISTRY
from services.studio import Asker, Studio

NAMES = ("assets", "lineage", "credentials")


def uid(number: int) -> str:
    return f"{number:016x}"


def registered(number: int, made_from: tuple[int, ...], name: str = "") -> Recorded:
    event = AssetRegistered(
        uid=uid(number), digest=f"{number:064x}", size=1, media_type="image/png", kind="image", cautions=(),
        asset_type="", name=name or f"picture {number}", tags=(), licence="", origin="", notes="", nsfw=False,
        metadata={"generation": {"parents": [uid(one) for one in made_from]}},
        sources=(Source(how="generate", engine="local_comfy", made_from=tuple(uid(one) for one in made_from[:64])),),
        references=(),
    )
    return _recorded(number, REGISTRY.encode(event))


def _recorded(number: int, data: bytes) -> Recorded:
    told: dict[str, Any] = {
        "position": number, "stream": Stream("demo", "-", "asset", uid(number)), "version": 1,
        "type": "AssetRegistered", "schema": 1, "data": data, "event_id": f"e{number}",
        "time": "2026-01-02T03:04:05Z", "actor": "mo", "command_id": f"c{number}", "request": "",
        "correlation_id": "", "causation_id": "",
    }
    return Recorded(**{name: told[name] for name in Recorded._fields})


def counted(folder: Path, parents: dict[int, tuple[int, ...]]) -> Projected:
    folder.mkdir(exist_ok=True)
    found = Projected(folder, NAMES)
    found.count([registered(number, parents[number]) for number in sorted(parents)])
    return found


def test_a_tree_is_told_both_ways(tmp_path: Path) -> None:
    read = counted(tmp_path, {1: (), 2: (1,), 3: (1,), 4: (2, 3, 99), 5: (4,), 6: ()})
    told = read.see("ShowLineage", uid=uid(4))
    assert {(one["uid"], one["generation"]) for one in told["nodes"]} == {
        (uid(1), -2), (uid(2), -1), (uid(3), -1), (uid(99), -1), (uid(4), 0), (uid(5), 1)}
    assert {(one["from"], one["to"]) for one in told["edges"]} == {
        (uid(one), uid(other)) for one, other in ((1, 2), (1, 3), (2, 4), (3, 4), (99, 4), (4, 5))}
    assert (told["ancestors"], told["descendants"], told["truncated"]) == (4, 1, False)
    assert {one["uid"]: one["known"] for one in told["nodes"]}[uid(99)] is False
    near = read.see("ShowLineage", uid=uid(4), depth=1, direction="ancestors")
    assert {one["uid"] for one in near["nodes"]} == {uid(2), uid(3), uid(99), uid(4)}
    with pytest.raises(NotFound):
        read.see("ShowLineage", uid=uid(77))


def test_circles_end(tmp_path: Path) -> None:
    read = counted(tmp_path, {1: (3,), 2: (1, 2), 3: (2,)})
    for number in (1, 2, 3):
        told = read.see("ShowLineage", uid=uid(number))
        assert len(told["nodes"]) == 3
        assert len(told["edges"]) == 3
        drawn(told)


def test_a_thousand_ancestors_are_told_and_drawn_as_far_as_there_is_room(tmp_path: Path) -> None:
    read = counted(tmp_path, {number: (number - 1,) if number > 1 else () for number in range(1, 1002)})
    told = read.see("ShowLineage", uid=uid(1001))
    assert (told["ancestors"], len(told["edges"])) == (1000, 1000)
    assert min(one["generation"] for one in told["nodes"]) == -1000
    assert "601 more are not drawn" in drawn(told)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_ancestors_are_whatever_can_be_reached(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 12))
    parents = {
        number: tuple(data.draw(st.lists(st.integers(1, count), max_size=3, unique=True)))
        for number in range(1, count + 1)
    }
    read = counted(tmp_path_factory.mktemp("lineage"), parents)
    start = data.draw(st.integers(1, count))

    def reached(follow: dict[int, set[int]]) -> set[str]:
        seen, waiting = {start}, [start]
        while waiting:
            for other in follow.get(waiting.pop(), set()) - seen:
                seen.add(other)
                waiting.append(other)
        return {uid(one) for one in seen}

    up = {child: set(above) for child, above in parents.items()}
    down: dict[int, set[int]] = {}
    for child, above in parents.items():
        for one in above:
            down.setdefault(one, set()).add(child)
    for direction, follow in (("ancestors", up), ("descendants", down)):
        told = read.see("ShowLineage", uid=uid(start), direction=direction)
        assert {one["uid"] for one in told["nodes"]} == reached(follow)


def test_a_description_replaces_what_an_asset_was_made_from(tmp_path: Path) -> None:
    async def scenario(studio: Studio) -> None:
        async def keep(text: str, *made_from: str) -> str:
            stored = await studio.blobs.put(text.encode())
            command = RegisterAsset(
                digest=stored.digest, size=stored.size, media_type="text/plain", kind="text", name=text,
                source=Source(how="generate", engine="studio_local", made_from=made_from))
            return (await studio.ask(command, Asker("mo"), project="demo")).id

        first, second = await keep("one"), await keep("two")
        child = await keep("child", first)
        await keep("child", second)
        told = await look(studio, "ShowLineage", uid=child)
        assert {one["from"] for one in told["edges"]} == {first, second}, "every source counts"

    asyncio.run(scenario(studio_on(tmp_path)))


def test_names_in_a_picture_stay_names(tmp_path: Path) -> None:
    read = Projected(tmp_path, NAMES)
    read.count([registered(1, (), '<script>alert("x")</script>'), registered(2, (1,), "a & b ]]> c")])
    svg = drawn(read.see("ShowLineage", uid=uid(2)))
    root = ElementTree.fromstring(svg)
    assert {one.tag.rpartition("}")[2] for one in root.iter()} <= {"svg", "title", "rect", "path", "g", "text"}
    assert "style=" not in svg
    assert '<script>alert("x")</script>'[:20] in "".join(root.itertext())


# --- what a generation amounts to -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("operation", "engine", "roles", "terms", "actions", "amounts"), [
    ("text_to_image", "local_comfy", (), {}, ["created"], "trainedAlgorithmicMedia"),
    ("text_to_image", "studio_local", (), {}, ["created"], "algorithmicMedia"),
    ("text_to_image", "provider_fal", ("component",), {}, ["created"], "trainedAlgorithmicMedia"),
    ("image_to_image", "local_comfy", ("parent",), {}, ["opened", "edited"], "compositeWithTrainedAlgorithmicMedia"),
    ("edit_image", "studio_local", ("parent",), {0: "trainedAlgorithmicMedia"}, ["opened", "edited"],
     "compositeWithTrainedAlgorithmicMedia"),
    ("edit_image", "studio_local", ("parent",), {0: "algorithmicMedia"}, ["opened", "edited"], "algorithmicMedia"),
    ("edit_image", "studio_local", ("parent",), {}, ["opened", "edited"], "algorithmicallyEnhanced"),
    ("compose_images", "studio_local", ("component", "component"), {}, ["created", "placed"], "composite"),
    ("lip_sync", "provider_synclabs", ("parent", "component"), {}, ["opened", "edited", "placed"],
     "compositeWithTrainedAlgorithmicMedia"),
])
def test_what_a_generation_amounts_to(
    operation: str, engine: str, roles: tuple[Any, ...], terms: dict[int, str], actions: list[str], amounts: str
) -> None:
    ingredients = tuple(Ingredient(uid(number), role) for number, role in enumerate(roles))
    found = steps(Generation(operation=operation, engine=engine, ingredients=ingredients),
                  {uid(number): term for number, term in terms.items()})
    assert [one.action.removeprefix("c2pa.") for one in found] == actions
    assert term_of(found) == amounts
    assert {one.term for one in found if one.term} <= TERMS


TEXTS = st.dictionaries(
    st.sampled_from(["operation", "engine", "parents", "ingredients", "seed", "job_id", "x"]),
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8), st.lists(st.one_of(
        st.sampled_from([uid(1), uid(2), "no id"]), st.integers(),
        st.fixed_dictionaries({"uid": st.sampled_from([uid(1), uid(3), 7]), "role": st.sampled_from(["parent", 4])}),
    ), max_size=5)), max_size=6,
)


@given(said=TEXTS, engine=st.sampled_from(["studio_local", "local_comfy", ""]), made=st.lists(
    st.integers(1, 5).map(uid), max_size=4))
def test_whatever_is_said_of_a_generation_its_actions_keep_the_rules(
    said: dict[str, Any], engine: str, made: list[str]
) -> None:
    sources = (Source(how="generate", engine=engine, made_from=tuple(made)),)
    generation = generation_of(sources, {"generation": said}, uid=uid(1))
    assert generation is not None
    assert uid(1) not in parents_of(sources, {"generation": said}, uid=uid(1)), "nothing is made from itself"
    found = steps(generation, {})
    first = [one for one in found if one.action in ("c2pa.created", "c2pa.opened")]
    assert first == [found[0]], "exactly one, and first"
    assert bool(found[0].term) == (found[0].action == "c2pa.created")
    assert sum(one.role == "parent" for one in generation.ingredients) == (found[0].action == "c2pa.opened")
    for one in found:
        assert (one.action in ("c2pa.opened", "c2pa.placed")) == bool(one.ingredients)
