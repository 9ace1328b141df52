"""The writer of Ren'Py games: any story becomes a game that the engine can read, and says what stands in the story."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from renpy_scripts import heard, whole

from domain.exchange.renpy.material import Asset, Tale, Wishes
from domain.exchange.renpy.naming import RESERVED, named
from domain.exchange.renpy.package import Package, package
from domain.exchange.renpy.project import game, references
from domain.exchange.renpy.spelling import comment, literal, said
from domain.story.play import story

PICTURE = Asset("aa" * 8, "ab" * 32, 10, "image/png", "Gate at dusk.png", "image", licence="CC0-1.0")

HOSTILE = (
    'jump "quit"', "a\n    jump start", "[config.name]", "{b}bold{/b}", "100% %(x)s", "back\\slash", "tab\there",
    "\x00", "  two  spaces  ", "שלום", "👩\u200d👧 \u2028 \u00a0\u2003", "__name[__name] .__x", "\u200b\ufeff",
    "'`\"\"\"", "# no comment", "$ import os", "\r\n", "{{[[%%", "ﷺ" * 3,
)

texts = st.text(st.characters(blacklist_categories=("Cs",)), max_size=60)
ids = st.one_of(texts.filter(bool), st.sampled_from([
    "start", "if", "menu", "main_menu", "quit", "_x", "a b", "a-b", "A b", "1", "é", "日本", "after_load", "screen",
    *(one for one in HOSTILE if one.strip() and one == one.strip()),
]))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | texts, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8,
)


def told(nodes: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    scene = {"id": "intro", "start": nodes[0]["id"], "nodes": nodes}
    return {"id": "main", "entries": [{"id": "one", "scene": "intro"}], "scenes": {"intro": scene}, "variables": {},
            **more}


def texts_of(content: dict[str, Any], **wishes: Any) -> dict[str, str]:
    return dict(game([Tale("main", "Main", story(content))], {}, Wishes("demo", **wishes)).texts)


def packed(content: dict[str, Any], assets: dict[str, Asset] | None = None, **wishes: Any) -> Package:
    return package([Tale("main", "Main", story(content))], assets or {}, (), Wishes("demo", **wishes))


@given(texts)
def test_any_text_is_heard_as_it_is_written(text: str) -> None:
    assert heard(said(text)) == text
    assert "\n" not in said(text)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_heard_as_it_is_written(text: str) -> None:
    assert heard(said(text)) == text


@given(values)
def test_any_value_is_the_same_in_python(value: Any) -> None:
    spelt = literal(value)
    assert not {"\n", "\t", "\r"} & set(spelt)
    assert "__" not in spelt
    assert ast.literal_eval(spelt) == value
    assert repr(ast.literal_eval(spelt)) == repr(value)


@given(texts)
def test_a_comment_is_one_line(text: str) -> None:
    assert len(f"# {comment(text)}".splitlines()) == 1


@given(st.lists(ids, max_size=20, unique=True))
def test_names_are_unique_and_harmless(some: list[str]) -> None:
    for lower in (False, True):
        given_ = named(some, lower=lower)
        assert set(given_) == set(some)
        assert len(set(given_.values())) == len(some)
        for name in given_.values():
            assert re.fullmatch(r"[A-Za-z]([A-Za-z0-9]|_(?!_))*", name, re.ASCII)
            assert name.lower() not in RESERVED
            assert name == name.lower() or not lower


def test_an_id_that_is_a_name_keeps_it_whatever_stands_beside_it() -> None:
    assert named(["a b", "a_b", "a-b"])["a_b"] == "a_b"
    assert named(["the-quay"]) == {"the-quay": "the_quay"}


nodes = st.lists(ids, min_size=1, max_size=6, unique=True).flatmap(lambda names: st.tuples(*(
    st.fixed_dictionaries({"id": st.just(name)}, optional={
        "type": st.sampled_from(["dialogue", "choice", "chance", "menu"]), "text": texts, "speaker": texts,
        "actions": st.lists(st.fixed_dictionaries({
            "type": st.just("set"), "key": st.just("a.b"), "value": values}), max_size=2),
        "choices": st.lists(st.fixed_dictionaries({"target": st.sampled_from(names)}, optional={
            "label": texts, "weight": st.sampled_from([0, 1, 2.5]), "description": texts,
            "visible_to": st.lists(ids, max_size=2).map(tuple),
            "conditions": st.just([{"key": "a.b", "operator": "exists"}]),
        }), max_size=3),
    }) for name in names
))).map(list)


@settings(max_examples=150, deadline=None)
@given(nodes)
def test_any_scene_becomes_a_game_that_can_be_read(some: list[dict[str, Any]]) -> None:
    content = told(some)
    script = whole(texts_of(content))
    spoken = [node["text"] for node in some if node.get("text")]
    # A menu whose options may all be closed says its line before it asks; nothing is said twice.
    assert sorted(script.said) == sorted(spoken)


@settings(max_examples=40, deadline=None)
@given(nodes, st.sampled_from(["single", "master", "forks", "both", "disabled"]))
def test_the_same_story_gives_the_same_bytes(some: list[dict[str, Any]], mode: str) -> None:
    one, other = (packed(told(some), pov_mode=mode) for _ in range(2))
    assert one.texts == other.texts
    assert one.recipe == other.recipe


@pytest.mark.parametrize("id_", ["main_menu", "before_main_menu", "start", "quit", "after_load", "_x", "if", "\u2028x"])
def test_no_label_means_something_to_the_engine(id_: str) -> None:
    content = told([{"id": id_, "text": "Here.", "end": True}])
    script = whole(texts_of(content))
    special = {"main_menu", "before_main_menu", "quit", "after_load", "splashscreen", "after_warp", "hide_windows"}
    assert not special & set(script.labels)
    assert script.labels.count("start") == 1


def test_a_menu_asks_a_chance_draws_and_one_way_goes_on() -> None:
    text = texts_of(told([
        {"id": "a", "choices": [{"target": "b", "label": "Go"}]},
        {"id": "b", "type": "menu", "choices": [{"target": "c", "label": "Only"}]},
        {"id": "c", "choices": [{"target": "a", "weight": 3}, {"target": "d", "weight": 0.5}]},
        {"id": "d", "end": True},
    ]))["game/scenes/intro.rpy"]
    assert text.count("menu:") == 1
    assert text.count("vn_draw((3.0, True), (0.5, True))") == 1
    assert "label scene_intro.a:\n    $ vn_at(\"a\")\n    jump scene_intro.b\n" in text


def test_a_choice_without_a_label_is_shown_by_its_id() -> None:
    text = texts_of(told([{"id": "a", "type": "menu", "choices": [{"target": "a"}]}]))["game/scenes/intro.rpy"]
    assert '"a" (choice="a"):' in text


def test_what_is_missing_has_a_stand_in_and_is_listed() -> None:
    cue = [{"kind": "background", "asset": "gate"}, {"kind": "sound", "asset": "bell"},
           {"kind": "portrait", "character": "mira"}]
    content = told([{"id": "a", "directives": cue, "end": True}])
    assert set(references([Tale("main", "Main", story(content))])) == {"gate", "bell"}
    made = packed(content, {"gate": PICTURE})
    assert list(made.blobs) == ["game/images/gate_at_dusk.png"]
    assert {one["reference"] for one in made.missing} == {"bell", "mira"}
    assert "vn_stand_in" in made.texts["game/images.rpy"].decode()
    assert '"<silence 1.0>"' in made.texts["game/audio.rpy"].decode()
    assert [one["path"] for one in made.manifest["assets"]["backgrounds"]] == ["game/images/gate_at_dusk.png"]


def test_what_is_missing_as_a_picture_and_as_a_sound_is_listed_as_both() -> None:
    cue = [{"kind": "background", "asset": "bell"}, {"kind": "sound", "asset": "bell"}]
    missing = packed(told([{"id": "a", "directives": cue, "end": True}])).manifest["missing_assets"]
    assert {kind: [one["used_as"] for one in some] for kind, some in missing.items()} == {
        "images": [["bg bell"]], "audio": [["bell"]],
    }


def test_two_assets_of_one_name_stay_apart() -> None:
    other = Asset("bb" * 8, "cd" * 32, 10, "image/png", "Gate at dusk.png", "image")
    cue = [{"kind": "background", "asset": "one"}, {"kind": "background", "asset": "two"}]
    made = packed(told([{"id": "a", "directives": cue, "end": True}]), {"one": PICTURE, "two": other})
    assert len(made.blobs) == 2


def test_points_of_view_are_routes() -> None:
    content = told([{"id": "a", "choices": [{"target": "a", "label": "Go", "visible_to": ["ivo", "mara"]},
                                            {"target": "a", "label": "Stay"}]}], default_pov="mara")
    single, master = packed(content), packed(content, pov_mode="both")
    assert [one["id"] for one in single.manifest["pov"]["routes"]] == ["mara"]
    assert [one["id"] for one in master.manifest["pov"]["routes"]] == ["mara", "ivo"]
    assert [one["slug"] for one in master.manifest["pov"]["forks"]] == ["mara", "ivo"]
    assert all(one["manifest"] in master.texts and one["script"] in master.texts
               for one in master.manifest["pov"]["forks"])
    assert "menu:" in master.texts["game/script.rpy"].decode()


def test_two_worldlines_are_one_game_without_clashes() -> None:
    content = told([{"id": "a", "text": "Here.", "end": True}])
    tales = [Tale("main", "Main", story(content), "main__"), Tale("other", "Other", story(content), "other__")]
    made = package(tales, {}, (), Wishes("demo", world_mode="multi", pov_mode="master", povs=("narrator", "mira")))
    whole({path: text.decode() for path, text in made.texts.items()})
    assert [one["id"] for one in made.manifest["worlds"]["worlds"]] == ["main", "other"]


def two_worldlines(one: dict[str, Any], other: dict[str, Any], **wishes: Any) -> Package:
    tales = [Tale("main", "Main", story(one), "main__"), Tale("other", "Other", story(other), "other__")]
    return package(tales, {}, (), Wishes("demo", world_mode="multi", **wishes))


def test_who_is_called_otherwise_on_another_worldline_is_called_so_there() -> None:
    nodes = [{"id": "a", "speaker": "ann", "text": "Here."}, {"id": "b", "speaker": "ben", "text": "There."}]
    ben = {"name": "Ben", "color": "#00ff00"}
    made = two_worldlines(told(nodes, characters={"ann": {"name": "Ann"}, "ben": ben}),
                          told(nodes, characters={"ann": {"name": "Anna"}, "ben": ben}))
    people = made.texts["game/characters.rpy"].decode()
    assert 'define c_ann = Character("Ann")' in people
    assert 'define other__c_ann = Character("Anna")' in people
    assert people.count('Character("Ben", who_color="#00ff00")') == 1
    assert 'other__c_ann "Here."' in made.texts["game/worlds/other/scenes/intro.rpy"].decode()
    worlds = json.loads(made.texts["label_manifest.json"])["worlds"]
    assert [one["speakers"]["ann"]["name"] for one in worlds] == ["Ann", "Anna"]


def test_who_looks_otherwise_on_another_worldline_looks_so_there() -> None:
    nodes = [{"id": "a", "end": True, "directives": [
        {"kind": "portrait", "character": "ann"}, {"kind": "tween", "target": "ann", "effect": "pulse"},
    ]}]
    one = told(nodes, characters={"ann": {"name": "Ann", "portrait": "gate"}})
    other = told(nodes, characters={"ann": {"name": "Ann", "portrait": "road"}})
    tales = [Tale("main", "Main", story(one), "main__"), Tale("other", "Other", story(other), "other__")]
    assert set(references(tales)) == {"gate", "road"}
    road = Asset("bb" * 8, "cd" * 32, 10, "image/png", "Road.png", "image")
    made = package(tales, {"gate": PICTURE, "road": road}, (), Wishes("demo", world_mode="multi"))
    whole({path: text.decode() for path, text in made.texts.items()})
    assert "show c_ann\n" in made.texts["game/worlds/main/scenes/intro.rpy"].decode()
    there = made.texts["game/worlds/other/scenes/intro.rpy"].decode()
    assert "show c_ann_other\n" in there
    assert "show c_ann_other:" in there
    images = made.texts["game/images.rpy"].decode()
    assert 'image c_ann_other = vn_figure("images/road.png")' in images
    assert "who_color" not in made.texts["game/characters.rpy"].decode()


def test_each_worldline_is_played_from_its_own_points_of_view() -> None:
    def seen_by(pov: str) -> dict[str, Any]:
        return told([{"id": "a", "choices": [{"target": "a", "label": "Go", "visible_to": [pov]},
                                             {"target": "a", "label": "Stay"}]}], default_pov=pov)

    plain = two_worldlines(seen_by("mara"), seen_by("ivo"))
    assert {one["world"]: one["id"] for one in plain.manifest["pov"]["routes"]} == {"main": "mara", "other": "ivo"}
    assert "jump other__route_ivo" in plain.texts["game/script.rpy"].decode()
    both = two_worldlines(seen_by("mara"), seen_by("ivo"), pov_mode="forks")
    assert [one["id"] for one in both.manifest["pov"]["forks"]] == ["mara", "ivo"]
    asked = two_worldlines(seen_by("mara"), seen_by("ivo"), pov_mode="master", povs=("ivo", "mara"))
    assert [one["id"] for one in asked.manifest["pov"]["routes"]] == ["ivo", "mara"] * 2


def test_a_name_alone_can_read_from_right_to_left() -> None:
    nodes = [{"id": "a", "speaker": "noa", "text": "Here."}]
    assert "config.rtl" not in texts_of(told(nodes))["game/options.rpy"]
    assert "config.rtl = True" in texts_of(told(nodes, characters={"noa": {"name": "נועה"}}))["game/options.rpy"]


def test_a_game_names_no_machine_and_no_clock() -> None:
    made = packed(told([{"id": "a", "text": "Here.", "end": True}]))
    everything = b"".join(made.texts.values())
    assert b"/home" not in everything
    assert b"/tmp" not in everything
    assert made.manifest["output_dir"] == "."
