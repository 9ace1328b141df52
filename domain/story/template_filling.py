"""Filling a pattern: parameters with types, placeholders, and the document that comes of them.

``{{name}}`` inside a text is replaced by the value as text; a text that is one placeholder and nothing else is replaced
by the value itself, so that numbers, truth values, lists and objects stay what they are. ``{{{{`` writes two braces.
What is put in is never read for placeholders again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError

from domain.bounded_json import BoundedJson, Number, json_size, same_json
from domain.ids import Token
from domain.story.authored import Wrong
from domain.story.directives import Reference
from domain.story.scene_model import NodeId, Path, Text
from domain.values import Value

FILLED_BYTES: Final = 8 * 2**20
"""Largest document that a pattern may be filled to, as compact JSON."""

CHOICES_LIMIT: Final = 200

_PLACEHOLDER = re.compile(r"\{\{\{\{|\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}|\{\{")
_WHOLE = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}\Z")

Kind = Literal[
    "text", "number", "integer", "boolean", "choice", "character", "asset", "scene", "node", "variable", "list",
    "object",
]
"""What a parameter takes. ``character`` and ``scene`` are ids, ``asset`` an id or a file's name, ``node`` the id of a
node, ``variable`` a dot path."""

ADAPTERS: Final[dict[str, TypeAdapter[Any]]] = {
    "text": TypeAdapter(Text), "number": TypeAdapter(Number), "integer": TypeAdapter(int),
    "boolean": TypeAdapter(bool), "character": TypeAdapter(Token),
    "asset": TypeAdapter(Reference), "scene": TypeAdapter(Token), "node": TypeAdapter(NodeId),
    "variable": TypeAdapter(Path), "list": TypeAdapter(list[Any]),
    "object": TypeAdapter(dict[str, Any]),
}


class Parameter(Value):
    """One parameter of a template. Without a value, a default or ``required``, its placeholders are left out."""

    name: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
    type: Kind = "text"
    label: Annotated[str, Field(max_length=300)] | None = None
    description: Annotated[str, Field(max_length=10_000)] | None = None
    required: Annotated[bool, Field(strict=True)] = False
    default: BoundedJson = None
    choices: Annotated[tuple[BoundedJson, ...], Field(max_length=CHOICES_LIMIT)] | None = None


class Unfillable(Exception):
    """A pattern and its values would make more than ``FILLED_BYTES``, or one object with a key twice."""


def misfit(parameter: Parameter, value: Any) -> str | None:
    """Why a value is not one for a parameter, or nothing."""
    if parameter.choices is not None and not any(same_json(value, one) for one in parameter.choices):
        told = ", ".join(json.dumps(one, ensure_ascii=False)[:60] for one in parameter.choices[:20])
        return f"must be one of {told}"
    if parameter.type == "choice":
        return None
    try:
        ADAPTERS[parameter.type].validate_python(value, strict=True)
    except ValidationError as error:
        said = error.errors(include_url=False, include_context=False, include_input=False)[0]["msg"]
        return f"is not a value of type {parameter.type}: {said.removeprefix('Value error, ')}"
    return None


def misfits(parameter: Parameter, index: int) -> list[Wrong]:
    """What is wrong about a parameter itself."""
    path = f"parameters/{index}"
    wrong = []
    if parameter.type == "choice" and not parameter.choices:
        wrong.append({"path": f"{path}/choices", "message": "A choice needs its choices.", "code": "no_choices"})
    elif parameter.default is not None and (why := misfit(parameter, parameter.default)):
        wrong.append({"path": f"{path}/default", "message": f"The default {why}.", "code": "wrong_default"})
    return wrong


def placeholders(part: Any, path: str) -> Iterator[tuple[str, str | None]]:
    """Every placeholder of a pattern as (where, name); ``None`` for two braces that begin none."""
    match part:
        case str():
            for found in _PLACEHOLDER.finditer(part):
                if found[0] != "{{{{":
                    yield path, found[1]
        case list():
            for index, one in enumerate(part):
                yield from placeholders(one, f"{path}/{index}")
        case dict():
            for key, one in part.items():
                yield from placeholders(key, f"{path}/{key}")
                yield from placeholders(one, f"{path}/{key}")


def values_of(parameters: Iterable[Parameter], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[Wrong]]:
    """The value of every parameter that has one, and everything that is wrong about what was given."""
    known = {one.name: one for one in parameters}
    wrong = [
        {"path": f"parameters/{name[:100]}", "message": "There is no such parameter.", "code": "unknown_parameter"}
        for name in given if name not in known
    ]
    values: dict[str, Any] = {}
    for name, parameter in known.items():
        value = given.get(name)
        if value is None:
            value = parameter.default
            if value is None and parameter.required:
                message = "This parameter is needed."
                wrong.append({"path": f"parameters/{name}", "message": message, "code": "missing_parameter"})
        elif why := misfit(parameter, value):
            wrong.append({"path": f"parameters/{name}", "message": f"The value {why}.", "code": "wrong_parameter"})
        if value is not None:
            values[name] = value
    return values, wrong


def filled(pattern: Any, values: Mapping[str, Any]) -> Any:
    """The pattern with values in place of its placeholders. Raises ``Unfillable`` with why."""
    sizes = {name: json_size(value) for name, value in values.items()}
    return _Filling(values, sizes).of(pattern)


_NOTHING: Final = object()


class _Filling:
    """One filling, which counts what it has written before it writes more."""

    def __init__(self, values: Mapping[str, Any], sizes: Mapping[str, int]) -> None:
        self.values = values
        self.sizes = sizes
        self.written = 0

    def of(self, part: Any) -> Any:
        match part:
            case str():
                whole = _WHOLE.match(part)
                if whole is None:
                    return self.text(part)
                self.count(self.sizes.get(whole[1], 0))
                return self.values.get(whole[1], _NOTHING)
            case list():
                filled_ = [self.of(one) for one in part]
                return [one for one in filled_ if one is not _NOTHING]
            case dict():
                pairs = [(self.text(key), self.of(one)) for key, one in part.items()]
                told = {key: one for key, one in pairs if one is not _NOTHING}
                if len(told) < sum(one is not _NOTHING for _, one in pairs):
                    raise Unfillable("An object of the pattern would have one key twice.")
                return told
        self.count(8)
        return part

    def text(self, text: str) -> str:
        self.count(len(text))
        return _PLACEHOLDER.sub(self.replaced, text)

    def replaced(self, found: re.Match[str]) -> str:
        if found[1] is None:
            return "{{"
        self.count(self.sizes.get(found[1], 0))
        value = self.values.get(found[1], "")
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    def count(self, more: int) -> None:
        self.written += more
        if self.written > FILLED_BYTES:
            raise Unfillable(f"The filled pattern would be larger than {FILLED_BYTES} bytes.")
