"""Presets: what people press. Typed inputs, levels of quality, and the steps that engines do for them.

A preset is a closed document. Its steps name operations, the engines that can do them in order of preference, and
where their inputs come from: ``{{inputs.image}}``, ``{{quality.steps}}``, ``{{portrait.image}}`` for what the step
``portrait`` has made. A step with ``when`` is left out unless its condition holds; one with ``repeat`` is done so many
times, with ``{{index}}`` from 1 and the next ``{{seed}}`` each time. What refers to a step that was left out takes that
step's own first input instead, so that an optional step in the middle needs no second preset. Parameters are values;
files go into ``inputs``, which hold nothing but references to files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, JsonValue, model_validator

from domain.bounded_json import BoundedJson, BoundedObject, Number, check_json
from domain.ids import Token
from domain.ports.engines import Operation
from domain.studio.expressions import condition, referred, whole_reference
from domain.studio.fault import CODES
from domain.studio.job_values import WorkflowDocument
from domain.values import Value

Category = Literal[
    "image_generation", "video_generation", "character_performance", "post_processing", "hybrid_pipeline",
]
InputType = Literal["text", "integer", "number", "boolean", "choice", "image", "video", "audio", "job", "character"]

FILES: Final = frozenset({"image", "video", "audio"})
"""Types of inputs that are assets."""

IDS: Final = FILES | {"job", "character"}
"""Types of inputs that name something that is kept."""

_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,95}\Z")

HEADS: Final = frozenset({"inputs", "quality", "index", "seed", "character"})
"""What references begin with, besides ids of steps."""

CHARACTER: Final = frozenset({"id", "name", "prompt", "loras", "portrait", "look"})
"""What is known of the character that an input names: words to paint it by, its LoRAs, and two pictures of it."""

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Words = Annotated[str, Field(max_length=2000)]


def _readable(text: str) -> str:
    condition(text)
    return text


When = Annotated[str, Field(max_length=500), AfterValidator(_readable)]


class Input(Value):
    """What a preset needs to be given. ``many`` takes a list of up to ``most``; ``shows_person`` needs consent.

    ``numbered`` is a mark in a text that repeated steps replace by their number. A default may be one reference to a
    value of the quality: ``{{quality.seconds}}``.
    """

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
    numbered: Annotated[str, Field(max_length=40)] = ""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.type == "choice") != bool(self.choices):
            raise ValueError("has `choices` when, and only when, it is a choice")
        if self.required and self.default is not None:
            raise ValueError("needs no default when it is required")
        if self.default is not None and self.type in FILES:
            raise ValueError("cannot have a file as its default")
        written = self.default is not None and not (isinstance(self.default, str) and whole_reference(self.default))
        if written and (wrong := _wrong("the default", self, self.default)) is not None:
            raise ValueError(wrong[1])
        if self.many and self.type in ("boolean", "job", "character"):
            raise ValueError(f"takes one {self.type}, not many")
        if self.numbered and self.type != "text":
            raise ValueError("is numbered, which only texts can be")
        return self


Reference = Annotated[str, Field(max_length=200)]
Files = Annotated[
    dict[Name, Reference | Annotated[tuple[Reference, ...], Field(max_length=20)]], Field(max_length=10)
]
"""Name of an input -> the files that it is: references to inputs and to what steps have made."""


class WayWorkflow(WorkflowDocument):
    """The stored workflow that a way runs. Unknown fields are refused by name."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Way(Value):
    """One engine that can do a step, with its model and what only it needs to be told. ``when`` it is suitable.

    ``parameters`` go over those of the step; ``inputs`` stand in place of them. With ``workflow`` it runs that stored
    document and no other, whatever its engine has of the same name.
    """

    engine: Annotated[str, Field(min_length=1, max_length=100)]
    model: Annotated[str, Field(max_length=300)] = ""
    operation: Operation | None = None
    inputs: Files = {}
    parameters: BoundedObject = {}
    when: When | None = None
    workflow: WayWorkflow | None = None


class PresetStep(Value):
    """One step: an operation, who can do it, and what it is given. ``output`` names what it makes.

    An ``optional`` step is left out when nobody can do it.
    """

    id: Name
    operation: Operation
    description: Words = ""
    ways: Annotated[tuple[Way, ...], Field(min_length=1, max_length=10)]
    inputs: Files = {}
    parameters: BoundedObject = {}
    output: Name = "image"
    when: When | None = None
    repeat: Annotated[str, Field(max_length=200)] | Annotated[int, Field(ge=1, le=20)] | None = None
    optional: bool = False


class Preset(Value):
    """A whole preset. One that ``reruns`` names the input with a job, does that again more safely and has no steps."""

    id: Token
    name: Annotated[str, Field(min_length=1, max_length=200)]
    description: Words = ""
    category: Category
    inputs: dict[Name, Input]
    quality_levels: Annotated[dict[Name, BoundedObject], Field(min_length=1, max_length=10)]
    steps: Annotated[tuple[PresetStep, ...], Field(max_length=30)] = ()
    reruns: Name | None = None
    requires_consent: bool = False
    safety_notes: Annotated[tuple[Words, ...], Field(max_length=20)] = ()
    failure_modes: Annotated[dict[str, Words], Field(max_length=60)] = {}
    tags: Annotated[tuple[str, ...], Field(max_length=50)] = ()

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        if problems := [*preset_problems(self)]:
            raise ValueError("; ".join(problems[:20]))
        return self

    @property
    def workflows(self) -> dict[str, WayWorkflow]:
        """The stored workflows that its ways run, by digest."""
        return {way.workflow.digest: way.workflow for step in self.steps for way in step.ways
                if way.workflow is not None}

    @property
    def level(self) -> str:
        """The quality that is meant when nobody names one."""
        return "standard" if "standard" in self.quality_levels else next(iter(self.quality_levels))


def preset_problems(preset: Preset) -> Iterator[str]:
    """What no single field shows: steps with one id, references to what is not there, unknown fault codes."""
    levels = {name for level in preset.quality_levels.values() for name in level} | {"level"}
    earlier: dict[str, str] = {}
    for step in preset.steps:
        if step.id in earlier or step.id in HEADS:
            yield f"step id {step.id} is taken"
        repeated = step.repeat is not None
        for place, text in _conditions(step):
            for name in sorted(condition(text).names):
                if name.removesuffix(".engine") in earlier:  # by which engine an earlier step is done; else empty
                    continue
                if not _known(name, preset, levels, earlier, place == "way" and repeated):
                    yield f"step {step.id} refers to {name}, which is not there by then"
        values = [step.parameters, *(way.parameters for way in step.ways), *(way.model for way in step.ways)]
        for name in [*referred(values), *(referred(step.repeat))]:
            if not _known(name, preset, levels, earlier, repeated):
                yield f"step {step.id} refers to {name}, which is not there by then"
            elif _is_file(name, preset, earlier):
                yield f"step {step.id} has {name} among its values: files go into inputs"
        yield from _file_problems(preset, step, levels, earlier)
        earlier[step.id] = step.output
    for name, one in preset.inputs.items():
        for asked in referred(one.default):
            if not asked.startswith("quality.") or not all(asked[8:] in known for known in _levels(preset)):
                yield f"input {name} has the default {asked}, which is no value of every quality"
    for code in preset.failure_modes:
        if code not in CODES:
            yield f"there is no fault code {code}"
    if preset.requires_consent and not any(one.shows_person for one in preset.inputs.values()):
        yield "it requires consent, but no input shows a person"
    if (preset.reruns is None) == (not preset.steps):
        yield "it has steps, or says by `reruns` which input names the job to do again"
    if preset.reruns is not None and (
        preset.reruns not in preset.inputs or preset.inputs[preset.reruns].type != "job"
    ):
        yield f"{preset.reruns} is no input of the type job"


def _levels(preset: Preset) -> Iterator[set[str]]:
    for level in preset.quality_levels.values():
        yield {"level", *level}


def _conditions(step: PresetStep) -> Iterator[tuple[str, str]]:
    if step.when is not None:
        yield "step", step.when
    for way in step.ways:
        if way.when is not None:
            yield "way", way.when


def _file_problems(
    preset: Preset, step: PresetStep, levels: set[str], earlier: Mapping[str, str]
) -> Iterator[str]:
    for given in [step.inputs, *(way.inputs for way in step.ways)]:
        for one in given.values():
            for text in (one,) if isinstance(one, str) else one:
                name = whole_reference(text)
                if name is None:
                    yield f"step {step.id} has {text[:60]!r} among its files, which is no reference"
                elif not _known(name, preset, levels, earlier, False):
                    yield f"step {step.id} refers to {name}, which is not there by then"
                elif not _is_file(name, preset, earlier):
                    yield f"step {step.id} has {name} among its files, which is none"


def _is_file(name: str, preset: Preset, earlier: Mapping[str, str]) -> bool:
    head, _, rest = name.partition(".")
    if head == "inputs":
        return preset.inputs[rest.partition(".")[0]].type in FILES
    return head in earlier or name in ("character.portrait", "character.look")


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
        case "character":
            return rest in CHARACTER and any(one.type == "character" for one in preset.inputs.values())
        case _:
            return earlier.get(head) == rest


def input_problems(preset: Preset, given: Mapping[str, JsonValue]) -> Iterator[tuple[str, str, str]]:
    """What is wrong about the inputs that a preset is given: (name, fault code, sentence). Assets are ids here."""
    for name in given:
        if name not in preset.inputs:
            yield name[:100], "CONTRACT_MISMATCH", f"{name[:100]} is not an input of {preset.name}."
    for name, one in preset.inputs.items():
        value = given.get(name)
        if value is None or value == "" or value == []:
            if one.required:
                yield name, "MISSING_REQUIRED_FIELD", f"{name} is needed."
            continue
        if one.many and isinstance(value, list) and len(value) > one.most:
            yield name, "INVALID_FIELD_VALUE", f"{name} takes at most {one.most}."
        elif (wrong := _wrong(name, one, value)) is not None:
            yield name, *wrong


def _wrong(name: str, one: Input, value: JsonValue) -> tuple[str, str] | None:
    """The fault code and the sentence for a value that does not fit."""
    values = value if one.many and isinstance(value, list) else [value]
    return next((wrong for each in values if (wrong := _misfit(name, one, each)) is not None), None)


def _misfit(name: str, one: Input, value: JsonValue) -> tuple[str, str] | None:
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
    try:
        check_json(value)
    except ValueError as error:
        return "INVALID_FIELD_VALUE", f"{name} {error}."
    if isinstance(value, int | float) and not isinstance(value, bool):
        if one.minimum is not None and value < one.minimum:
            return "INVALID_FIELD_VALUE", f"{name} must be at least {one.minimum}."
        if one.maximum is not None and value > one.maximum:
            return "INVALID_FIELD_VALUE", f"{name} must be at most {one.maximum}."
    if isinstance(value, str):
        if one.type == "choice" and value not in one.choices:
            return "INVALID_FIELD_VALUE", f"{name} must be one of {', '.join(one.choices)}."
        if one.type in IDS and _ID.match(value) is None:
            return "INVALID_FIELD_VALUE", f"{name} must be {_spoken(one.type)}."
        if len(value) > (one.longest or 2000):
            return "INVALID_FIELD_VALUE", f"{name} must be no longer than {one.longest or 2000} characters."
    return None


def _spoken(type_: str) -> str:
    return {
        "boolean": "true or false", "integer": "a whole number", "number": "a number", "text": "a text",
        "choice": "one of its choices", "job": "the id of a job", "character": "the id of a character",
    }.get(type_, "the id of an asset")
