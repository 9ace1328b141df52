"""The closed schema of a character document: who somebody is, looks and sounds like."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, model_validator

from domain.bounded_json import BoundedJson, BoundedObject, Number, check_json
from domain.ids import Token
from domain.story.authored import Key
from domain.values import Value

Spec = Literal["chara_card_v1", "chara_card_v2", "chara_card_v3"]

CARD_BYTES: Final = 640 * 1024
"""Largest card as compact JSON: one event must be able to carry it."""

NAME_LIMIT: Final = 200
DESCRIPTION_LIMIT: Final = 100_000


def _card(card: dict[str, JsonValue]) -> dict[str, JsonValue]:
    check_json(card, size=CARD_BYTES)
    return card


def _shown(value: Any) -> Any:
    return {"asset": value} if isinstance(value, str) else value


Name = Annotated[str, Field(min_length=1, max_length=NAME_LIMIT)]
Description = Annotated[str, Field(max_length=DESCRIPTION_LIMIT)]
Tag = Annotated[str, Field(min_length=1, max_length=200)]
Tags = Annotated[tuple[Tag, ...], Field(max_length=500)]
Card = Annotated[dict[str, JsonValue], AfterValidator(_card)]
Words = Annotated[str, Field(max_length=10_000)]
Path = Annotated[str, Field(min_length=1, max_length=1000)]
Color = Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]
Trigger = Annotated[str, Field(min_length=1, max_length=500)]
Weight = Annotated[Number, Field(ge=-10, le=10, json_schema_extra={"minimum": -10, "maximum": 10})]


class Shown(Value):
    """The asset that shows a character."""

    asset: Token


class Look(Value):
    """How a character looks in one pose, with one expression, as one avatar: an asset, a file, or words to paint by."""

    asset: Token | None = None
    path: Path | None = None
    description: Words | None = None
    prompt: Words | None = None
    tags: Tags | None = None
    metadata: BoundedObject | None = None


class Lora(Value):
    """A low-rank adapter that draws a character: which one, how strongly, and the words that wake it."""

    asset: Token | None = None
    path: Path | None = None
    name: Annotated[str, Field(min_length=1, max_length=300)] | None = None
    weight: Weight = 1
    clip_weight: Weight | None = None
    trigger_words: Annotated[tuple[Trigger, ...], Field(max_length=100)] = ()
    base_model: Annotated[str, Field(max_length=300)] | None = None
    metadata: BoundedObject | None = None

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if self.asset is None and self.path is None and self.name is None:
            raise ValueError("needs an `asset`, a `path` or a `name`")
        return self


class Character(Value):
    """A character without its id. ``card`` is what it was imported from, kept whole."""

    name: Name
    description: Description | None = None
    pronouns: Annotated[str, Field(max_length=200)] | None = None
    color: Color | None = None
    tags: Tags | None = None
    portrait: Annotated[Shown, BeforeValidator(_shown, json_schema_input_type=Shown | str)] | None = None
    voice: BoundedObject | None = None
    notes: Annotated[str, Field(max_length=DESCRIPTION_LIMIT)] | None = None
    metadata: BoundedObject | None = None
    spec: Spec | None = None
    card: Card | None = None
    source: BoundedObject | None = None
    traits: dict[Key, BoundedJson] = {}
    poses: dict[Key, Look] = {}
    expressions: dict[Key, Look] = {}
    avatars: dict[Key, Look] = {}
    loras: dict[Key, Lora] = {}
