"""The sample story is whole: valid, without dead ends from any point of view, and every ending can be reached."""

from __future__ import annotations

import copy
import wave
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
from PIL import Image, ImageChops

from domain.story.scene_rules import judge
from services.demo import contents, make_art
from services.intake.cards import read_card

Variables = dict[str, Any]
POINTS_OF_VIEW = ("mara", "ivo", "narrator")
MISSING = object()


def forked() -> dict[str, Any]:
    """The main scene as it reads on the second worldline."""
    branch = contents.told(contents.BRANCH)
    scene = contents.told(branch["scene"])
    scene["variables"] |= branch["variables"]
    for edit in branch["edit"]:
        node = next(node for node in scene["nodes"] if node["id"] == edit["node_id"])
        node.update({name: value for name, value in edit.items() if name != "node_id"})
    scene["nodes"] += [one["node"] for one in branch["add"]]
    return scene


SCENES = {name: contents.told(name) for name in contents.SCENES} | {contents.BRANCH: forked()}


def value_at(variables: Variables, path: str) -> Any:
    found: Any = variables
    for part in path.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return MISSING
        found = found[part]
    return found


def holds(condition: Mapping[str, Any], variables: Variables) -> bool:
    known, wanted = value_at(variables, condition["key"]), condition.get("value")
    match condition["operator"]:
        case "exists":
            return known is not MISSING
        case "not_exists":
            return known is MISSING
        case _ if known is MISSING:
            return False
        case "eq":
            return known == wanted and type(known) is type(wanted)
        case "gte":
            return float(known) >= float(wanted)
        case "in":
            return known in wanted
        case other:
            raise AssertionError(f"the sample story does not use {other}")


def changed(variables: Variables, actions: list[dict[str, Any]]) -> Variables:
    after = copy.deepcopy(variables)
    for action in actions:
        *parents, last = action["key"].split(".")
        place = after
        for parent in parents:
            place = place.setdefault(parent, {})
        sign = {"increment": 1, "decrement": -1}.get(action["type"])
        place[last] = action["value"] if sign is None else float(place.get(last, 0)) + sign * action.get("amount", 1)
    return after


def situations(scene: dict[str, Any], pov: str) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Every node in every state in which a reader may stand there, with the choices that are open then."""
    nodes = {node["id"]: node for node in scene["nodes"]}
    start = nodes[scene["start"]]
    pending = [(start, changed(scene.get("variables", {}), start.get("actions", [])))]
    seen: set[bytes] = set()
    while pending:
        node, variables = pending.pop()
        key = orjson.dumps([node["id"], variables], option=orjson.OPT_SORT_KEYS)
        if key in seen:
            continue
        seen.add(key)
        assert len(seen) < 100_000, "the story goes round for ever"
        open_ = [
            choice for choice in node.get("choices", [])
            if choice.get("weight", 1) > 0 and (not choice.get("visible_to") or pov in choice["visible_to"])
            and all(holds(condition, variables) for condition in choice.get("conditions", []))
        ]
        yield node, open_
        for choice in open_:
            target = nodes[choice["target"]]
            after = changed(changed(variables, choice.get("actions", [])), target.get("actions", []))
            pending.append((target, after))


@pytest.mark.parametrize("name", SCENES)
def test_every_scene_is_valid_and_nothing_is_odd_about_it(name: str) -> None:
    assert judge(SCENES[name]) == {"valid": True, "errors": [], "warnings": []}


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("pov", POINTS_OF_VIEW)
def test_nobody_gets_stuck(name: str, pov: str) -> None:
    for node, open_ in situations(SCENES[name], pov):
        assert open_ or node.get("end"), f"{pov} gets stuck at {node['id']}"


@pytest.mark.parametrize("name", SCENES)
def test_every_node_is_reached_by_somebody(name: str) -> None:
    reached = {node["id"] for pov in POINTS_OF_VIEW for node, _ in situations(SCENES[name], pov)}
    unreached = {node["id"] for node in SCENES[name]["nodes"]} - reached
    assert unreached == ({"light_lamp", "signal_code"} if name == contents.BRANCH else set())


def test_both_points_of_view_see_what_the_other_does_not() -> None:
    scene = SCENES["the-tide-clerk"]
    seen = {pov: {node["id"] for node, _ in situations(scene, pov)} for pov in POINTS_OF_VIEW}
    assert seen["mara"] - seen["ivo"] >= {"greet_mara", "letter_mara", "gallery", "ask_ivo"}
    assert seen["ivo"] - seen["mara"] >= {"greet_ivo", "ivo_watch", "letter_ivo", "wheel", "ask_mara"}
    assert set(contents.endings(scene)) <= seen["mara"] & seen["ivo"]


def test_the_story_has_the_size_and_the_means_that_it_shows() -> None:
    scene = SCENES["the-tide-clerk"]
    assert len(scene["nodes"]) >= 40
    assert len(contents.endings(scene)) >= 3
    choices = [choice for node in scene["nodes"] for choice in node.get("choices", [])]
    assert any(choice.get("conditions") for choice in choices)
    assert any(choice.get("weight", 1) != 1 for choice in choices)
    assert {pov for choice in choices for pov in choice.get("visible_to", [])} == {"mara", "ivo"}
    directives = {one["kind"] for node in scene["nodes"] for one in node.get("directives", [])}
    assert directives >= {"background", "portrait", "camera", "sound", "timing", "tween", "overlay", "custom"}


def test_every_file_that_the_story_names_is_there_and_used() -> None:
    files = {f"art/{path.name}" for path in contents.art()}
    used = {file for scene in SCENES.values() for file in contents.named(scene)}
    assert used == files


def test_pictures_and_sounds_are_what_they_should_be() -> None:
    assert sum(path.stat().st_size for path in contents.art()) < 1_500_000
    for path in contents.art():
        if path.suffix == ".wav":
            with wave.open(str(path)) as sound:
                assert (sound.getnchannels(), sound.getsampwidth()) == (1, 2)
                assert 1 <= sound.getnframes() / sound.getframerate() <= 10
            continue
        with Image.open(path) as picture:
            picture.load()
            assert picture.size == ((960, 540) if path.suffix == ".jpg" else (400, 520))


def test_a_sound_and_a_face_are_made_the_same_again(tmp_path: Path) -> None:
    # Sines differ in their last bit between machines: one step of a sample, or of a colour, is the same.
    make_art.write_wave(tmp_path / "bell.wav", make_art.SOUNDS["harbour_bell"]())
    samples = []
    for place in (tmp_path / "bell.wav", contents.ART / "harbour_bell.wav"):
        with wave.open(str(place)) as sound:
            samples.append(array("h", sound.readframes(sound.getnframes())))
    assert max(abs(one - other) for one, other in zip(*samples, strict=True)) <= 1
    face = make_art.portrait(make_art.PEOPLE["ivo"], "glad")
    with Image.open(contents.ART / "ivo_glad.png") as kept:
        extremes = ImageChops.difference(face, kept.convert("RGBA")).getextrema()
    assert max(high for _, high in extremes) <= 2  # type: ignore[misc]


def test_the_cards_are_cards() -> None:
    names = {read_card(card.read_bytes()).name for card in contents.CARDS.glob("*.json")}
    assert names == {"Mara", "Ivo"}
