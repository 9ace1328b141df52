"""What a node class says of its inputs in ``/object_info``: their types, their bounds and what they may be.

A list of choices is written as the list itself by older classes, as ``COMBO`` with options by newer ones. An input of a
newer class may bring further ones along, depending on what it is set to.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

BRANCHING: Final = "COMFY_DYNAMICCOMBO_V3"
"""Type of the inputs that bring further ones along, depending on what they are set to."""

Given = Mapping[str, Any]
"""Inputs of a node by name, as a graph has them."""


class Declared(NamedTuple):
    """An input as its class declares it. What hangs on another input is called ``format.codec``."""

    name: str
    kind: Any
    options: Mapping[str, Any]

    def beneath(self, value: Any) -> list[Declared]:
        """The inputs that this one brings along when it is set to a value; most bring none."""
        told = self.options.get("options") if self.kind == BRANCHING else None
        branch = next((one for one in told if isinstance(one, dict) and one.get("key") == value), {}
                      ) if isinstance(told, list) else {}
        return [one._replace(name=f"{self.name}.{one.name}") for one in declarations({"input": branch.get("inputs")})]


def declarations(description: Mapping[str, Any] | None) -> list[Declared]:
    """The inputs of a class in the order in which it declares them, without those that hang on others."""
    inputs = description.get("input") if description else None
    groups = [inputs.get(group) for group in ("required", "optional")] if isinstance(inputs, dict) else []
    return [Declared(name, one[0], one[1] if len(one) > 1 and isinstance(one[1], dict) else {})
            for group in groups if isinstance(group, dict) for name, one in group.items()
            if isinstance(one, list) and one]


def declared(description: Mapping[str, Any] | None, name: str, given: Given) -> Declared | None:
    """An input of a node that has others ``given``, or ``None`` when the class has none of that name just then."""
    among = declarations(description)
    for end in [*(found.start() for found in re.finditer(r"\.", name)), len(name)]:
        if (whole := next((one for one in among if one.name == name), None)) is not None:
            return whole
        part = next((one for one in among if one.name == name[:end]), None)
        among = part.beneath(given.get(part.name)) if part is not None else []
    return None


def choices(description: Mapping[str, Any] | None, name: str, given: Given) -> tuple[str, ...] | None:
    """What an input may be, for inputs that are a list: written as the list itself, or as COMBO with options."""
    if (found := declared(description, name, given)) is None:
        return None
    listed = found.kind if isinstance(found.kind, list) else found.options.get("options")
    if not isinstance(listed, list) or not (listed is found.kind or found.kind in ("COMBO", BRANCHING)):
        return None
    return tuple(str(one["key"] if isinstance(one, dict) and "key" in one else one) for one in listed)


def uploads(found: Declared | None) -> bool:
    """Whether an input names a file that somebody has uploaded. The list then holds only those of the topmost folder,
    and the node itself looks whether there is such a file."""
    return found is not None and any(
        found.options.get(f"{kind}_upload") for kind in ("image", "video", "audio", "file"))


def unwrapped(value: Any) -> Any:
    """A value as the node gets it: lists are wrapped in graphs, for a bare one would be a link."""
    return value["__value__"] if isinstance(value, dict) and "__value__" in value else value
