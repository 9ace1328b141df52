"""Scenes that two people have edited since they parted, for whatever must hold of any merge."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from domain.story.merging.held import Held
from domain.story.scene_rules import graph_problems
from domain.story.scene_states import document_from

IDS = ("a", "b", "c", "d", "e")
TEXTS = ("one", "two", "three")


def held(fields: Mapping[str, Any], alive: bool = True, at: int = 0) -> Held:
    """A document whose fields got their values at a position of its own, or at none that is known."""
    return Held(fields, alive, dict.fromkeys([*fields, "summary"], at) if at else {}, at)


@st.composite
def choices(draw: st.DrawFn, targets: list[str]) -> list[dict[str, Any]]:
    named = draw(st.lists(st.sampled_from(["x", "y", "z"]), unique=True, max_size=3))
    found: list[dict[str, Any]] = []
    for name in named:
        choice: dict[str, Any] = {"id": name, "target": draw(st.sampled_from(targets))}
        if draw(st.booleans()):
            choice["label"] = draw(st.sampled_from(TEXTS))
        if draw(st.booleans()):
            choice["conditions"] = [{"key": "gold", "operator": "gte", "value": draw(st.integers(0, 2))}]
        found.append(choice)
    return found


@st.composite
def nodes(draw: st.DrawFn, name: str, targets: list[str]) -> dict[str, Any]:
    node: dict[str, Any] = {"id": name, "text": draw(st.sampled_from(TEXTS))}
    if draw(st.booleans()):
        node["choices"] = draw(choices(targets))
    if draw(st.booleans()):
        node["actions"] = [{"type": "set", "key": "gold", "value": draw(st.integers(0, 2))}]
    if draw(st.booleans()):
        node["data"] = {"tags": draw(st.lists(st.sampled_from(TEXTS), unique=True))}
    return node


@st.composite
def scenes(draw: st.DrawFn) -> dict[str, Any]:
    """The fields of a valid scene."""
    names = draw(st.lists(st.sampled_from(IDS), unique=True, min_size=1))
    fields: dict[str, Any] = {"title": draw(st.sampled_from(TEXTS)), "start": draw(st.sampled_from(names))}
    if draw(st.booleans()):
        fields["variables"] = draw(st.dictionaries(st.sampled_from(TEXTS), st.integers(0, 2)))
    for number, name in enumerate(names):
        fields[f"nodes/{name}"] = {"node": draw(nodes(name, names)), "place": [number * 100]}
    return fields


@st.composite
def edited(draw: st.DrawFn, base: Mapping[str, Any]) -> dict[str, Any]:
    """A valid scene that somebody has made of another."""
    fields: dict[str, Any] = json.loads(json.dumps(base))
    for _ in range(draw(st.integers(0, 4))):
        _edit(draw, fields)
    return fields


def _edit(draw: st.DrawFn, fields: dict[str, Any]) -> None:
    names = [path.removeprefix("nodes/") for path in fields if path.startswith("nodes/")]
    match draw(st.sampled_from(("title", "start", "variables", "add", "node", "text", "move", "remove"))):
        case "title":
            fields["title"] = draw(st.sampled_from(TEXTS))
        case "start":
            fields["start"] = draw(st.sampled_from(names))
        case "variables":
            fields["variables"] = draw(st.dictionaries(st.sampled_from(TEXTS), st.integers(0, 2)))
        case "add" if len(names) < len(IDS):
            name = draw(st.sampled_from([one for one in IDS if one not in names]))
            fields[f"nodes/{name}"] = {"node": draw(nodes(name, [*names, name])), "place": [draw(st.integers(0, 500))]}
        case "node":
            name = draw(st.sampled_from(names))
            fields[f"nodes/{name}"]["node"] = draw(nodes(name, names))
        case "text":
            fields[f"nodes/{draw(st.sampled_from(names))}"]["node"]["text"] = draw(st.sampled_from(TEXTS))
        case "move":
            fields[f"nodes/{draw(st.sampled_from(names))}"]["place"] = [draw(st.integers(0, 500))]
        case "remove":
            name = draw(st.sampled_from(names))
            if name != fields["start"]:
                del fields[f"nodes/{name}"]
                _detach(fields, name)


def _detach(fields: dict[str, Any], name: str) -> None:
    for path, value in fields.items():
        if path.startswith("nodes/") and "choices" in value["node"]:
            value["node"]["choices"] = [one for one in value["node"]["choices"] if one["target"] != name]


@st.composite
def forks(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """A scene, and what two people have made of it."""
    base = draw(scenes())
    return base, draw(edited(base)), draw(edited(base))


def is_valid(fields: Mapping[str, Any]) -> bool:
    """Whether fields add up to a scene that could be written down."""
    return not graph_problems(document_from("s", fields))
