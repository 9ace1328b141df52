"""Templates: patterns of scenes with named parameters, from which scenes are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, JsonValue

from domain.bounded_json import BoundedObject, check_json
from domain.references import of_metadata
from domain.story.authored import Authored, Collection, Created, Edited, Removed, Restored, Wrong
from domain.story.authored_writing import written_by
from domain.story.template_filling import Parameter, misfits, placeholders
from domain.values import Event, Value

CATEGORY = "template"

PATTERN_BYTES: Final = 512 * 1024
"""Largest pattern as compact JSON."""

PARAMETERS_LIMIT: Final = 200


def _pattern(pattern: dict[str, JsonValue]) -> dict[str, JsonValue]:
    check_json(pattern, size=PATTERN_BYTES)
    return pattern


Title = Annotated[str, Field(min_length=1, max_length=300)]
Tag = Annotated[str, Field(min_length=1, max_length=200)]


class Template(Value):
    """A template without its id. ``pattern`` is a scene document with ``{{placeholders}}``."""

    title: Title | None = None
    description: Annotated[str, Field(max_length=64_000)] | None = None
    tags: Annotated[tuple[Tag, ...], Field(max_length=500)] | None = None
    metadata: BoundedObject | None = None
    pattern: Annotated[dict[str, JsonValue], AfterValidator(_pattern)]
    parameters: Annotated[tuple[Parameter, ...], Field(max_length=PARAMETERS_LIMIT)] = ()


class AboutTemplate(Event):
    """Which template an event is about."""

    template_id: str


class TemplateCreated(Created, AboutTemplate):
    """A template was written down."""


class TemplateEdited(Edited, AboutTemplate):
    """Fields or parameters of a template changed."""


class TemplateDeleted(Removed, AboutTemplate):
    """The template is out of sight; nothing of it is lost."""


class TemplateRestored(Restored, AboutTemplate):
    """A deleted template is back as it was."""


def summary(document: Mapping[str, Any]) -> dict[str, Any]:
    """What lists show of a template."""
    return {
        "title": document.get("title"), "tags": list(document.get("tags") or ()),
        "parameters": [one["name"] for one in document.get("parameters") or ()],
    }


def rules(document: Mapping[str, Any]) -> Sequence[Wrong]:
    """What no single field shows: placeholders without a parameter, defaults that do not fit, no scene at all."""
    wrong: list[Wrong] = []
    pattern = document["pattern"]
    if not isinstance(pattern.get("nodes"), list) or not pattern["nodes"] or "start" not in pattern:
        wrong.append({"path": "pattern", "message": "A pattern is a scene: it needs `start` and `nodes`.",
                      "code": "no_scene"})
    parameters = [Parameter.model_validate(one) for one in document.get("parameters") or ()]
    known = {one.name for one in parameters}
    for path, name in placeholders(pattern, "pattern"):
        if name is None:
            message = "A placeholder is written {{name}}; for two braces as they are write {{{{."
            wrong.append({"path": path, "message": message, "code": "malformed_placeholder"})
        elif name not in known:
            message = f"There is no parameter {name!r}."
            wrong.append({"path": path, "message": message, "code": "unknown_parameter"})
    return wrong + [one for index, parameter in enumerate(parameters) for one in misfits(parameter, index)]


TEMPLATE: Final = Authored(
    category=CATEGORY, name="Template", plural="Templates", id_field="template_id", document=Template,
    created=TemplateCreated, edited=TemplateEdited, removed=TemplateDeleted, restored=TemplateRestored,
    collections=(Collection("parameters", "parameter", ordered=True, limit=PARAMETERS_LIMIT, identity="name"),),
    summary=summary, searched=("title",), rules=rules, references=of_metadata,
)

CONTEXT = TEMPLATE.context(written_by(TEMPLATE))
