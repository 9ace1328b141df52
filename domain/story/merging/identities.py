"""By what the items of a list are recognised on the other side, and in which order items of both sides stand."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, NamedTuple

from domain.story.scene_rules import address

RULES: Final[Mapping[str, tuple[str, ...]]] = {
    "conditions": ("key", "operator"), "actions": ("type", "key"), "alternatives": ("scene",),
}
"""Lists whose items have no id -> the fields that tell them apart."""


def keyed(name: str, items: Sequence[Any]) -> dict[str, Any] | None:
    """The items of a list by their identity, in their order; ``None`` for a list that is only whole.

    Choices are known by their address (id, else target), other objects by their id, conditions, actions and
    alternatives by what they are about, cues without an id by what they say, texts by themselves. Of items of one
    identity the second is ``…#2``.
    """
    found: dict[str, Any] = {}
    for item in items:
        identity = _identity(name, item)
        if identity is None:
            return None
        key, number = identity, 1
        while key in found:
            number += 1
            key = f"{identity}#{number}"
        found[key] = item
    return found


def _identity(name: str, item: Any) -> str | None:
    if isinstance(item, str):
        return item
    if not isinstance(item, Mapping):
        return None
    if name == "choices" and "target" in item:
        return address(item)
    if isinstance(item.get("id"), str):
        return str(item["id"])
    if name in RULES and all(isinstance(item.get(part), str) for part in RULES[name]):
        return " ".join(item[part] for part in RULES[name])
    if name == "directives":
        text = json.dumps(item, sort_keys=True, separators=(",", ":"))
        return f"{item.get('kind', 'cue')}-{sha256(text.encode()).hexdigest()[:8]}"
    return None


class Ordered(NamedTuple):
    """Keys in an order that both sides can live with; ``clash``: they cannot, and ours stands."""

    keys: list[str]
    clash: bool


def ordered(base: Sequence[str], ours: Sequence[str], theirs: Sequence[str], kept: Collection[str]) -> Ordered:
    """The kept keys in the order of whichever side changed it; what only one side has stays after its neighbour.

    The same whichever side is called ours, unless both changed the order of what they share.
    """
    both = set(ours) & set(theirs) & set(kept)
    mine, yours = _only(ours, both), _only(theirs, both)
    common = both & set(base)
    was, my, your = _only(base, common), _only(ours, common), _only(theirs, common)
    clash = False
    backbone = mine
    if mine != yours:
        if my == was and your != was:
            backbone = yours
        elif my != was and your == was:
            backbone = mine
        else:
            clash = True
    return Ordered(_woven(backbone, ours, theirs, both, set(kept)), clash)


def _only(keys: Sequence[str], wanted: Collection[str]) -> list[str]:
    return [key for key in keys if key in wanted]


def _woven(
    backbone: Sequence[str], ours: Sequence[str], theirs: Sequence[str], both: set[str], kept: set[str]
) -> list[str]:
    """The shared keys, and behind each the runs of keys that one side alone has there."""
    runs: dict[str | None, list[list[str]]] = {}
    for side in (ours, theirs):
        anchor: str | None = None
        run: list[str] = []
        for key in side:
            if key in both:
                if run:
                    runs.setdefault(anchor, []).append(run)
                anchor, run = key, []
            elif key in kept:
                run.append(key)
        if run:
            runs.setdefault(anchor, []).append(run)
    found: list[str] = []
    for stop in (None, *backbone):
        if stop is not None:
            found.append(stop)
        # Two runs behind one neighbour: by name, so that it makes no difference who merges whom.
        found += [key for run in sorted(runs.get(stop, ())) for key in run]
    return found
