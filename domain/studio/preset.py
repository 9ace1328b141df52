"""Presets: what people press. Typed inputs, levels of quality, and the steps that engines do for them.

A preset is a closed document. Its steps name operations, the engines that can do them in order of preference, and
where their inputs come from: ``{{inputs.image}}``, ``{{quality.steps}}``, ``{{portrait.image}}`` for what the step
``portrait`` has made. A step with ``when`` is left out unless its condition holds; one with ``repeat`` is done so many
times, with ``{{index}}`` from 1. What refers to a step that was left out takes that step's own first input instead, so
that an optional step in the middle needs no second preset.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Field, JsonValue, model_validator

from domain.bounded_json import BoundedJson, BoundedObject, Number, check_json
from domain.ids import Token
from domain.studio.expressions import condition, referred
from domain.studio.fault import CODES
from domain.values import Value

Category = Literal[
    "image_generation", "video_generation", "character_performance", "post_processing", "hybrid_pipeline",
]
InputType = Literal["text", "integer", "number", "boolean", "choice", "image", "video", "audio", "job", "character"]

FILES: Final = frozenset({"image", "video", "audio"})
"""Types of inputs that are assets."""

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Words = Annotated[str, Field(max_length=2000)]


def _readable(text: str) -> str:
    condition(text)
    return text


When = Annotated[str, Field(max_length=500), AfterValidator(_readable)]


class Input(Value):
    """What a preset needs to be given. ``many`` takes a list of up to ``most``; ``shows_person`` needs consent."""

    type: InputType
    description: Words = ""
    required: bool = False
    default: BoundedJson = None
    minimum: Number | None = None
    maximum: Number | None = None
    longest: Annotated[int, Field(ge=1, le=20_000)] | None = None
    choices: Annotated[tuple[str, ...], Field(max_length=100)] = ()
    many: bool = False
    most: Annotated[int, Field(ge=1, le=20)] = 1
    shows_person: bool = False

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.type == "choice") != bool(self.choices):
            raise ValueError("has `choices` when, and only when, it is a choice")
        if self.required and self.default is not None:
            raise ValueError("needs no default when it is required")
        if self.default is not None and self.type in FILES:
            raise ValueError("cannot have a file as its default")
        return self


class Way(Value):
    """One engine that can do a step, with its model and what only it needs to be told. ``when`` it is suitable."""

    engine: Annotated[str, Field(min_length=1, max_length=100)]
    model: Annotated[str, Field(max_length=300)] = ""
    operation: Annotated[str, Field(max_length=100)] | None = None
    parameters: BoundedObject = {}
    when: When | None = None


class PresetStep(Value):
    """One step: an operation, who can do it, and what it is given. ``output`` names what it makes."""

    id: Name
    operation: Annotated[str, Field(min_length=1, max_length=100)]
    description: Words = ""
    ways: Annotated[tuple[Way, ...], Field(min_length=1, max_length=10)]
    inputs: dict[Name, BoundedJson] = {}
    parameters: BoundedObject = {}
    output: Name = "image"
    when: When | None = None
    repeat: Annotated[str, Field(max_length=200)] | Annotated[int, Field(ge=1, le=20)] | None = None
    optional: bool = False


class Preset(Value):
    """A whole preset."""

    id: Token
    name: Annotated[str, Field(min_length=1, max_length=200)]
    description: Words = ""
    category: Category
    inputs: dict[Name, Input]
    quality_levels: Annotated[dict[Name, BoundedObject], Field(min_length=1, max_length=10)]
    steps: Annotated[tuple[PresetStep, ...], Field(min_length=1, max_length=30)]
    requires_consent: bool = False
    safety_notes: Annotated[tuple[Words, ...], Field(max_length=20)] = ()
    failure_modes: Annotated[dict[str, Words], Field(max_length=60)] = {}
    tags: Annotated[tuple[str, ...], Field(max_length=50)] = ()

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        if problems := [*preset_problems(self)]:
            raise ValueError("; ".join(problems[:20]))
        return self


def preset_problems(preset: Preset) -> Iterator[str]:
    """What no single field shows: steps with one id, references to what is not there, unknown fault codes."""
    levels = {name for level in preset.quality_levels.values() for name in level} | {"level"}
    earlier: dict[str, str] = {}
    for step in preset.steps:
        if step.id in earlier or step.id in ("inputs", "quality", "index", "seed"):
            yield f"step id {step.id} is taken"
        parts: Any = [step.inputs, step.parameters, step.repeat, [way.parameters for way in step.ways],
                      [way.model for way in step.ways]]
        asked = [text for text in (step.when, *(way.when for way in step.ways)) if text]
        for name in [*referred(parts), *(name for text in asked for name in condition(text).names)]:
            if not _known(name, preset, levels, earlier, step.repeat is not None):
                yield f"step {step.id} refers to {name}, which is not there by then"
        earlier[step.id] = step.output
    for code in preset.failure_modes:
        if code not in CODES:
            yield f"there is no fault code {code}"
    shown = [name for name, one in preset.inputs.items() if one.shows_person]
    if preset.requires_consent and not shown:
        yield "it requires consent, but no input shows a person"


def _known(name: str, preset: Preset, levels: set[str], earlier: Mapping[str, str], repeated: bool) -> bool:
    head, _, rest = name.partition(".")
    first = rest.partition(".")[0]
    match head:
        case "inputs":
            return first in preset.inputs
        case "quality":
            return first in levels
        case "seed":
            return not rest
        case "index":
            return repeated and not rest
        case _:
            return earlier.get(head) == first


def input_problems(preset: Preset, given: Mapping[str, JsonValue]) -> Iterator[tuple[str, str, str]]:
    """What is wrong about the inputs that a preset is given: (name, fault code, sentence). Assets are ids here."""
    for name in given:
        if name not in preset.inputs:
            yield name, "CONTRACT_MISMATCH", f"{name} is not an input of {preset.name}."
    for name, one in preset.inputs.items():
        value = given.get(name)
        if value is None or value == "" or value == []:
            if one.required:
                yield name, "MISSING_REQUIRED_FIELD", f"{name} is needed."
            continue
        if one.many and not isinstance(value, list):
            value = [value]
        values = value if one.many and isinstance(value, list) else [value]
        if len(values) > one.most and one.many:
            yield name, "INVALID_FIELD_VALUE", f"{name} takes at most {one.most}."
        for each in values:
            if (wrong := _wrong(name, one, each)) is not None:
                yield name, *wrong


def _wrong(name: str, one: Input, value: JsonValue) -> tuple[str, str] | None:
    match one.type:
        case "boolean":
            fits = isinstance(value, bool)
        case "integer":
            fits = isinstance(value, int) and not isinstance(value, bool)
        case "number":
            fits = isinstance(value, int | float) and not isinstance(value, bool)
        case _:
            fits = isinstance(value, str)
    if not fits:
        return "INVALID_FIELD_TYPE", f"{name} must be {_spoken(one.type)}."
    check_json(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        if one.minimum is not None and value < one.minimum:
            return "INVALID_FIELD_VALUE", f"{name} must be at least {one.minimum}."
        if one.maximum is not None and value > one.maximum:
            return "INVALID_FIELD_VALUE", f"{name} must be at most {one.maximum}."
    if isinstance(value, str):
        if one.type == "choice" and value not in one.choices:
            return "INVALID_FIELD_VALUE", f"{name} must be one of {', '.join(one.choices)}."
        if len(value) > (one.longest or 2000):
            return "INVALID_FIELD_VALUE", f"{name} must be no longer than {one.longest or 2000} characters."
    return None


def _spoken(type_: str) -> str:
    return {
        "boolean": "true or false", "integer": "a whole number", "number": "a number", "text": "a text",
        "choice": "one of its choices", "job": "the id of a job", "character": "the id of a character",
    }.get(type_, "the id of an asset")
