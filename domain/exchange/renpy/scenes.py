"""A scene as labels: one for the scene, one for each of its nodes, joined by jumps and menus as the studio plays it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from domain.exchange.renpy.cues import Cues
from domain.exchange.renpy.naming import named
from domain.exchange.renpy.spelling import comment, literal, said
from domain.story.program import Choice, Node, Program

Speakers = Mapping[str, str]
"""Speaker -> the variable that holds its Character."""


def labels(program: Program, label: str) -> dict[str, str]:
    """The label of every node of a scene."""
    return {id_: f"{label}.{name}" for id_, name in named(program.nodes, else_="node").items()}


def scene_lines(program: Program, label: str, speakers: Speakers, cues: Cues) -> Iterator[str]:
    """The file of a scene."""
    names = labels(program, label)
    title = program.document.get("title") or program.id
    yield f"# Scene {comment(program.id)}: {comment(title)}"
    yield ""
    yield f"label {label}:"
    yield f"    $ vn_enter_scene({literal(program.id)}, {literal(dict(program.variables))})"
    yield "    scene"
    if cues.names.told.framed:
        yield "    camera at vn_frame"
    yield f"    jump {names[program.start]}"
    for node in program.nodes.values():
        yield ""
        yield from _node_lines(node, names, speakers, cues)


def _node_lines(node: Node, names: Mapping[str, str], speakers: Speakers, cues: Cues) -> Iterator[str]:
    document = node.document
    yield f"# {comment(node.id)}"
    yield f"label {names[node.id]}:"
    yield from _indented(1, actions(document))
    yield f"    $ vn_at({literal(node.id)})"
    yield from _indented(1, cues.lines(document.get("directives", ())))
    spoken = _spoken(document, speakers)
    ways = [one for one in node.choices if one.weight > 0]
    if node.manner == "ask" and ways:
        yield from _menu(node.id, ways, names, spoken)
        return
    yield from _indented(1, spoken)
    if node.manner == "continue" and ways:
        yield from _only(ways[0], names)
    elif node.manner == "chance" and ways:
        yield from _drawn(ways, names)
    if not (node.manner == "continue" and ways and condition(ways[0]) == "True"):
        yield "    return"


def _spoken(document: Mapping[str, Any], speakers: Speakers) -> list[str]:
    text = document.get("text", "")
    if not text:
        return []
    speaker = document.get("speaker", "")
    return [f"{speakers[speaker]} {said(text)}" if speaker else said(text)]


def _only(choice: Choice, names: Mapping[str, str]) -> Iterator[str]:
    holds = condition(choice)
    if holds == "True":
        yield from _indented(1, _followed(choice, names))
        return
    yield f"    if {holds}:"
    yield from _indented(2, _followed(choice, names))


def _drawn(ways: Sequence[Choice], names: Mapping[str, str]) -> Iterator[str]:
    told = ", ".join(f"({literal(one.weight)}, {condition(one)})" for one in ways)
    yield f"    $ vn_way = vn_draw({told})"
    for index, choice in enumerate(ways):
        yield f"    {'el' if index else ''}if vn_way == {index}:"
        yield from _indented(2, _followed(choice, names))


def _menu(node_id: str, ways: Sequence[Choice], names: Mapping[str, str], spoken: list[str]) -> Iterator[str]:
    held = [condition(one) for one in ways]
    sure = "True" in held
    deep = 1
    if sure:
        yield "    menu:"
        if spoken:
            yield f"        {spoken[0] if not spoken[0].startswith(chr(34)) else 'narrator ' + spoken[0]}"
    else:
        # Where nothing may be offered the scene ends here, and its last line still waits for the player.
        yield from _indented(1, spoken)
        yield f"    if {' or '.join(held)}:"
        yield "        menu:"
        deep = 2
    for choice, holds in zip(ways, held, strict=True):
        yield from _indented(deep + 1, _item(choice, holds, names))
    if not sure:
        yield "    return"


def _item(choice: Choice, holds: str, names: Mapping[str, str]) -> Iterator[str]:
    hint = choice.document.get("description", "")
    told = f"choice={literal(choice.id)}" + (f", hint={literal(hint)}" if hint else "")
    yield f"{said(caption(choice))} ({told})" + ("" if holds == "True" else f" if {holds}") + ":"
    yield from _indented(1, _followed(choice, names))


def caption(choice: Choice) -> str:
    """What a choice is called in a menu. Ren'Py offers nothing without a caption, so its id stands in for none."""
    return choice.label if choice.label.strip() else choice.id


def _followed(choice: Choice, names: Mapping[str, str]) -> Iterator[str]:
    yield from actions(choice.document)
    yield f"jump {names[choice.target]}"


def actions(part: Mapping[str, Any]) -> Iterator[str]:
    """The actions of a node or a choice as statements."""
    for action in part.get("actions", ()):
        key = literal(action["key"])
        match action["type"]:
            case "set":
                yield f"$ vn_set({key}, {literal(action.get('value'))})"
            case "clear":
                yield f"$ vn_clear({key})"
            case kind:
                amount = action.get("amount")
                if amount is None:
                    amount = action.get("value", 1)
                step = float(amount) if isinstance(amount, int | float) else 1.0
                yield f"$ vn_add({key}, {literal(-step if kind == 'decrement' else step)})"


def condition(choice: Choice) -> str:
    """Whether a choice is offered, as a Python expression: ``True`` where it always is."""
    return offered(choice.document.get("conditions", ()), choice.visible_to)


def offered(conditions: Sequence[Mapping[str, Any]], views: frozenset[str]) -> str:
    """Conditions and points of view as one Python expression."""
    parts = [f"vn_sees({', '.join(literal(one) for one in sorted(views))})"] if views else []
    for one in conditions:
        value = f", {literal(one['value'])}" if "value" in one else ""
        parts.append(f"vn_is({literal(one['key'])}, {literal(one['operator'])}{value})")
    return " and ".join(parts) or "True"


def _indented(levels: int, told: Iterator[str] | Sequence[str]) -> Iterator[str]:
    for line in told:
        yield "    " * levels + line
