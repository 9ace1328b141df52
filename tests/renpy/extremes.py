"""Stories at the edges: every hostile text in every place, ids that are words of the engine, and ten thousand nodes."""

from __future__ import annotations

import builtins
import keyword
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any, Final

from domain.exchange.renpy.material import Asset, Tale, Wishes
from domain.exchange.renpy.package import package
from domain.exchange.renpy.project import povs_of, references
from domain.story import play
from domain.story.scene_model import TEXT_LIMIT
from tests.any_stories import SPEAKERS, TEXTS
from tests.renpy.engine import Engine
from tests.renpy.meeting import met_in_studio
from tests.renpy.paths import played
from tests.renpy.proof import Plays, Route, Verdict, prove
from tests.renpy.stories import HEIGHT, WIDTH, Held, art, write_files

Content = dict[str, Any]

HOSTILE: Final = tuple(dict.fromkeys((
    *(text for text in (*TEXTS, *SPEAKERS) if text),
    *(f"a{chr(code)}b" for code in (*range(1, 32), *range(127, 161))),
    *(f"{chr(code)}edge{chr(code)}" for code in (0x1C, 0x85, 0xA0, 0x1680, 0x2003, 0x2028, 0x202F, 0x3000)),
    *(f"[{mark}]{mark}{{{mark}}}" for mark in "\u200e\u200f\u202a\u202b\u202e\u2066\u2067\u2069"),
    "\ufdd0\ufffe\uffff", "\U0001f1fa\U000e0001\U0010ffff\U0001fffe", "\ue000\uf8ff", "ﷺ" * 3, "Z̡̢̛͖̰͙͗ͪa" * 9,
    "🏳️‍🌈👩🏽‍🚀🇺🇳1️⃣", "العربية [x] {b} 100% \"و\" אבג", "[" * 99, "{" * 99, "%" * 99, "\\" * 99, "\"" * 99, "_" * 99,
    "]" * 9 + "}" * 9, "[[" * 9 + "{{" * 9, "%%s%%(x)s", "\\n\\u0041\\x41\\", "\"\"\"\n'''", "{{{{b}}}}", "[[[[x]]]]",
    "__name", "[__name]", ".__name", "_ __name__ _", "{__tag}", "word " * 200, "x" * 5000, "a\n" * 50, "  " * 50,
    "\n    jump start\n", "\"\n    return\n\"", "# -*- coding: utf-7 -*-", "{fast}{nw}{done}{p=0}",
    "{rb}x{/rb}{rt}y{/rt}",
    "{color=#f00}{alpha=0}{k=-9}", "[config.name]", "[renpy.exports.quit()!i]", "(world=1):", "menu:", "None", "...",
)))
"""Texts that would be something else: interpolation, tags, formats, escapes, statements, letters that are not seen."""

LONG: Final = (("word " * (TEXT_LIMIT // 5))[:-1] + "!", "x" * TEXT_LIMIT, "日" * TEXT_LIMIT)
"""The longest texts that a node may have."""

DEEP: Final = 31

WORDS: Final = tuple(dict.fromkeys((
    *keyword.kwlist, *keyword.softkwlist,
    "as", "at", "behind", "call", "expression", "hide", "if", "in", "image", "init", "jump", "menu", "onlayer",
    "python", "return", "scene", "show", "with", "while", "zorder", "transform", "label", "define", "default", "screen",
    "style", "translate",
    "testcase", "play", "queue", "stop", "pause", "camera", "window", "voice", "nvl", "extend", "offset",
    "rpy", "early", "hide", "nopredict", "parallel", "block", "choice", "contains", "event", "function", "on", "repeat",
    "time", "animation", "warp", "circles", "clockwise", "knot", "pass",
    "start", "main_menu", "before_main_menu", "after_load", "after_warp", "splashscreen", "quit", "hide_windows",
    "_library", "_start", "_call_main_menu", "_quit", "save", "load", "preferences", "history", "confirm", "notify",
    "say", "input", "quick_menu", "skip_indicator", "bg", "c", "p", "o", "as_x", "pose_happy", "look_happy",
    "story", "story_1", "story_end", "scene_start", "route_ann", "worlds", "audio", "images", "scenes", "script",
    "options", "screens", "characters", "comfyvn_runtime", "comfyvn_presentation", "vn_at", "vn_variables", "vn_frame",
    "config", "gui", "renpy", "store", "persistent", "im", "ui", "build", "adv", "narrator", "centered", "vcentered",
    "name_only", "python_dict", "python_list", "python_object", "define_", "black", "text", "vtext", "master", "side",
    "layer", "transient", "overlay", "screens_", "sayer", "predict", "solid", "con", "CON", "aux", "nul", "com1",
    "Lpt9", "prn", "a b", "a-b", "a_b", "a.b", "A_B", "a__b", "_a_b", "a_b_", "a\u00a0b", "é", "e\u0301", "日本",
    *(f"a_b_{sha256(one.encode()).hexdigest()[:6]}" for one in ("a b", "a-b", "a.b", "a__b", "_a_b")),
    *(f"{one}_{sha256(one.encode()).hexdigest()[:6]}" for one in ("if", "menu", "show")),
    *[one for one in dir(builtins) if one.islower() and one.isalpha()], "__init__", "__name__", "_", "__", "1", "0x1",
    "x" * 100,
)))
"""Words of Python, of the engine, of its games and of file systems; and ids that are spelt alike as names."""


def _id(text: str, number: int, used: set[str]) -> str:
    """A text as an id where it may be one."""
    fit = text[:100].strip()
    if not fit or fit in used or any(ord(one) < 32 or ord(one) == 127 for one in fit):
        fit = f"id {number}"
    used.add(fit)
    return fit


def hostile() -> Content:
    """Every hostile text as line, speaker, name, caption, hint, value, key, id, title, group and point of view."""
    used: set[str] = set()
    ids = [_id(text, number, used) for number, text in enumerate(HOSTILE)]
    nodes = [_hostile_node(number, text, ids) for number, text in enumerate(HOSTILE)]
    views = [one for one in ids if "\x00" not in one][:60:6]
    scenes = {}
    for number, start in enumerate(range(0, len(nodes), 40)):
        part = nodes[start:start + 40]
        known = {one["id"] for one in part}
        for one in part:
            one["choices"] = [{**way, "target": way["target"] if way["target"] in known else part[-1]["id"]}
                              for way in one["choices"]] if one is not part[-1] else []
        scenes[f"scene-{number}"] = {
            "id": f"scene-{number}", "start": part[0]["id"], "nodes": part, "title": ids[number],
            "variables": {text[:300]: text for text in HOSTILE[start:start + 5]},
        }
    long_ = [{"id": f"long {number}", "speaker": "someone", "text": text, "choices": [
        {"target": f"long {number + 1}", "label": text[:10_000]}, {"target": f"long {number + 1}", "label": "On"},
    ]} for number, text in enumerate(LONG)]
    scenes["long"] = {"id": "long", "start": "long 0", "nodes": [*long_, {"id": f"long {len(LONG)}", "text": "Done."}]}
    entries = [{"id": ids[number], "scene": scene, "label": HOSTILE[number]} for number, scene in enumerate(scenes)]
    return {
        "id": "hostile", "title": HOSTILE[1], "position": 1, "entries": entries, "scenes": scenes,
        "variables": {"deep": _deep(DEEP), "wide": {text[:400]: [text] for text in HOSTILE}},
        "characters": {
            **{f"who-{number}": {"name": text[:200], "color": "#ffcc00"} for number, text in enumerate(HOSTILE)},
            **{view: {"name": HOSTILE[-number - 1][:200]} for number, view in enumerate(views)},
        },
        "default_pov": views[0], "seed": 5,
    }


def _hostile_node(number: int, text: str, ids: list[str]) -> dict[str, Any]:
    after = ids[min(number + 1, len(ids) - 1)]
    key = f"h.{ids[number].replace('.', '·')}"
    return {
        "id": ids[number], "text": text, "speaker": f"who-{number}" if number % 2 else text[:200],
        "actions": [
            {"type": "set", "key": key, "value": text}, {"type": "set", "key": "last", "value": {text[:400]: [text]}},
        ],
        "choices": [
            {"target": after, "label": text, "description": text, "id": f"{ids[number][:90]} way",
             "conditions": [
                 {"key": key, "operator": "eq", "value": text}, {"key": key, "operator": "in", "value": [text]},
             ],
             "actions": [{"type": "set", "key": "taken", "value": text}]},
            {"target": after, "label": f"{text[:4000]}{text[:4000]}", "visible_to": ids[:60:6]},
            {"target": after, "label": "Never", "conditions": [{"key": key, "operator": "neq", "value": text}]},
            {"target": after, "label": "On"},
        ],
    }


def _deep(levels: int) -> Any:
    value: Any = "[x] {b}"
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


def words() -> tuple[Content, Held]:
    """Every word as scene, node, choice, variable, character, expression, pose, prop, overlay, picture and sound."""
    held = {asset.uid: (asset, data) for asset, data in _pictures(WORDS)}
    scenes = {}
    for start in range(0, len(WORDS), 12):
        part = WORDS[start:start + 12]
        for id_ in part[:3]:
            nodes = [_word_node(number, word, part) for number, word in enumerate(part)]
            scenes[id_] = {"id": id_, "start": part[0], "nodes": nodes, "variables": {word: word for word in part}}
    return {
        "id": "words", "position": 1, "scenes": scenes,
        "entries": [{"id": f"entry {id_}", "scene": id_} for id_ in scenes],
        "variables": {word: {word.replace(".", "_"): 1} for word in WORDS},
        "characters": {
            word: {"name": word, "portrait": f"word-{number:04}",
                   "expressions": {word: {"asset": f"word-{number:04}"}, "happy": "absent"},
                   "poses": {"happy": f"word-{number:04}"}}
            for number, word in enumerate(WORDS)
        },
        "seed": 3,
    }, {**art(), **held}


def _pictures(some: Iterable[str]) -> Iterator[tuple[Asset, bytes]]:
    one, data = art()["picture-0"]
    for number, word in enumerate(some):
        yield replace(one, uid=f"word-{number:04}", name=f"{word}.png"), data


def _word_node(number: int, word: str, part: tuple[str, ...]) -> dict[str, Any]:
    place = WORDS.index(word)
    last = number + 1 == len(part)
    node: dict[str, Any] = {
        "id": word, "speaker": word, "text": f"{word}.", "actions": [
            {"type": "increment", "key": f"{word.replace('.', '_')}.n"}, {"type": "set", "key": word, "value": word},
        ],
        "directives": [
            {"kind": "background", "asset": f"word-{place:04}" if place % 2 else word},
            {"kind": "portrait", "character": word, "expression": word, "pose": "happy"},
            {"kind": "expression", "character": word, "expression": "happy"},
            {"kind": "pose", "character": word, "pose": word},
            {"kind": "portrait", "character": word, "asset": f"word-{place:04}", "position": word},
            {"kind": "prop", "prop": word, "asset": f"word-{place:04}"}, {"kind": "overlay", "overlay": word},
            {"kind": "tween", "target": word, "effect": "pulse"},
            {"kind": "sound", "channel": "effect", "asset": word if place % 2 else "sound-0"},
            {"kind": "portrait", "character": word, "action": "hide"}, {"kind": "prop", "prop": word, "action": "hide"},
        ],
    }
    if not last:
        node["choices"] = [{"target": part[number + 1], "id": word, "label": word},
                           {"target": part[number + 1], "id": f"{word} else"}]
    return node


def large(nodes: int = 10_000, scenes: int = 4) -> Content:
    """A long story of menus, chances and lines that go on, with counters, conditions and pictures."""
    each = nodes // scenes
    told = {}
    for scene in range(scenes):
        told[f"part-{scene}"] = {
            "id": f"part-{scene}", "start": "n0", "nodes": [_large_node(number, each) for number in range(each)],
        }
    return {
        "id": "large", "position": 1, "scenes": told, "seed": 11, "variables": {"party": {"gold": 0}},
        "entries": [{"id": f"e{number}", "scene": scene} for number, scene in enumerate(told)],
        "characters": {f"person {number}": {"name": f"Person {number}"} for number in range(40)},
    }


def _large_node(number: int, each: int) -> dict[str, Any]:
    after, later = f"n{min(number + 1, each - 1)}", f"n{min(number + 2, each - 1)}"
    node: dict[str, Any] = {"id": f"n{number}", "speaker": f"person {number % 40}", "text": f"Line {number}. " * 6}
    if number % 3 == 0:
        node["actions"] = [{"type": "increment", "key": "party.gold", "amount": number % 5}]
    if number % 10 == 0:
        node["directives"] = [{"kind": "background", "asset": f"picture-{number % 3}"}, {
            "kind": "portrait", "character": f"person {number % 40}", "expression": f"face {number % 7}"}]
    if number + 1 == each:
        return node
    match number % 5:
        case 0:
            node["choices"] = [
                {"id": "a", "target": after, "label": f"Stay {number}"}, {"id": "b", "target": later, "label": "Go"},
                {"id": "c", "target": later, "label": "Pay", "conditions": [
                    {"key": "party.gold", "operator": "gte", "value": 50}]},
            ]
        case 1:
            node["choices"] = [{"target": after, "weight": 3}, {"id": "far", "target": later, "weight": 1}]
            node["type"] = "chance"
        case _:
            node["choices"] = [{"target": after}]
    return node


def written(content: Content, folder: Path, held: Held | None = None) -> tuple[str, ...]:
    """Writes a story as a whole package; its points of view."""
    tale = Tale("main", str(content.get("title") or "Main"), play.story(content))
    known = art() if held is None else held
    assets = {one: known[one][0] for one in references([tale]) if one in known}
    wishes = Wishes("proof", title=str(content.get("title") or ""), version=HOSTILE[3], pov_mode="master",
                    width=WIDTH, height=HEIGHT)
    made = package([tale], assets, (), wishes)
    shutil.rmtree(folder, ignore_errors=True)
    write_files(made.texts, made.blobs, folder, known)
    return povs_of(tale)


def plays_from(content: Mapping[str, Any], povs: Iterable[str], *, most: int, moments: int) -> Plays:
    """Plays with a random option at every menu; each menu of these stories has at least two."""
    story, plays = play.story(content), Plays(whole=False)
    for pov in povs:
        for number in range(most):
            random = Random(f"{pov} {number}")
            picks = tuple(random.randrange(2) for _ in range(moments))
            path, waiting = played(story, pov, number, picks, moments)
            assert not waiting, "every menu is answered"
            steps = [met_in_studio(one, dice, content) for one, dice in zip(path.steps, path.dice, strict=True)]
            plays.plans.append({"first": [{"pov": pov}], "set": {"vn_seed": number}, "picks": list(picks)})
            plays.told.append((Route(content, pov), number, picks[:9], steps, path.cut))
    return plays


def prove_extreme(engine: Engine, name: str, *, keep: Path | None = None) -> Verdict:
    """One of the stories at the edges."""
    held = None
    if name == "words":
        content, held = words()
    else:
        content = hostile() if name == "hostile" else large()
    folder = engine.scratch / "extreme"
    began = time.monotonic()
    povs = written(content, folder, held)
    took = time.monotonic() - began
    moments = sum(len(scene["nodes"]) for scene in content["scenes"].values()) + 1
    most, views = {"hostile": (2, povs[:3]), "words": (2, povs[:1]), "large": (1, povs[:1])}[name]
    plays = plays_from(content, views, most=most, moments=moments)
    again = "python -m tests.renpy --only extremes"
    verdict = prove(engine, f"extreme {name}", folder, plays, moments=moments, keep=keep, again=again)
    slow = (f"writing the game took {took:.0f} s",) if took > SLOW_SECONDS else ()
    return replace(verdict, troubles=(*slow, *verdict.troubles))


SLOW_SECONDS: Final = 60
"""What writing the largest game may take on a machine that others use."""

EXTREMES: Final = ("hostile", "words", "large")
