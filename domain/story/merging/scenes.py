"""What must hold in a merged scene: whatever a choice leads to is there, and the scene starts somewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from domain.story.merging.conflicts import MISSING, Court, Path
from domain.story.merging.held import Held
from domain.story.scene_rules import address

NODES: Final = "nodes/"


def nothing_dangles(
    path: Path, fields: dict[str, Any], base: Held, ours: Held, theirs: Held, court: Court
) -> dict[str, Any]:
    """The fields of a merged scene in which every target is there, or a conflict says which is not.

    A target that one side removed while the other leads to it is a conflict about that node: who keeps it keeps the
    way to it, who lets it go loses the choices that lead there.
    """
    judged: set[str] = set()
    while True:
        gone = {node: leading for node, leading in _gone(fields).items() if node not in judged}
        if not gone:
            return fields
        for node, leading in sorted(gone.items()):
            judged.add(node)
            name = NODES + node
            was, mine, yours = (one.fields.get(name, MISSING) for one in (base, ours, theirs))
            sides = [mine, yours, was]
            if all(side is MISSING for side in sides):
                continue  # only by hand can something lead where nobody ever was: the scene's own rules refuse it
            told = court.settle(
                "target_gone", (*path, "nodes", node), was, mine, yours, {"led_to_by": sorted(leading)[:50]},
            )
            if told is MISSING:
                fields = _detached(fields, node, ours, theirs)
            elif told is not None:
                fields = {**fields, name: _placed(told, sides)}


def _gone(fields: Mapping[str, Any]) -> dict[str, list[str]]:
    """Nodes that are not there -> what leads to them."""
    found: dict[str, list[str]] = {}
    start = fields.get("start")
    if isinstance(start, str) and NODES + start not in fields:
        found[start] = ["start"]
    for name, choice in _choices(fields):
        target = choice["target"]
        if NODES + target not in fields:
            found.setdefault(target, []).append(f"{name}/choices/{address(choice)}")
    return found


def _choices(fields: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, value in fields.items():
        if name.startswith(NODES) and isinstance(value, Mapping) and isinstance(value.get("node"), Mapping):
            for choice in value["node"].get("choices") or ():
                if isinstance(choice, Mapping) and isinstance(choice.get("target"), str):
                    yield name, choice


def _detached(fields: Mapping[str, Any], node: str, ours: Held, theirs: Held) -> dict[str, Any]:
    """Without the choices that lead to a node; the scene starts where the side starts that removed it."""
    found = dict(fields)
    for name in {name for name, choice in _choices(fields) if choice["target"] == node}:
        value = found[name]
        kept = [choice for choice in value["node"]["choices"] if choice.get("target") != node]
        found[name] = {**value, "node": {**value["node"], "choices": kept}}
    if found.get("start") == node:
        remover = theirs if NODES + node not in theirs.fields else ours
        found["start"] = remover.fields.get("start", node)
    return found


def _placed(told: Any, sides: list[Any]) -> Any:
    """A node by hand gets the place that it had."""
    if isinstance(told, Mapping) and told.keys() != {"node", "place"}:
        place = next(side["place"] for side in sides if side is not MISSING)
        return {"node": dict(told), "place": place}
    return told
