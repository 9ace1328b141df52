"""Characters: what can have happened to one. A card is kept whole, also what nobody here understands."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, assert_never

from pydantic import ConfigDict, Field, JsonValue

from domain.context import Context, Fields
from domain.values import Event, Value

CATEGORY = "character"

Spec = Literal["chara_card_v1", "chara_card_v2", "chara_card_v3"]

CARD_BYTES: Final = 640 * 1024
"""Largest card as compact JSON: one event must be able to carry it."""

NAME_LIMIT: Final = 200
DESCRIPTION_LIMIT: Final = 100_000


class Portrait(Value):
    """The asset that shows a character."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    asset: str


class CharacterImported(Event):
    """A character came in from a card, or a newer card of it took the place of the older one.

    ``name`` and ``description`` are what the card says; ``card`` is the whole source JSON; ``source`` says where it
    came from (a file's name and digest, never a path of somebody's machine).
    """

    character_id: str
    name: str
    description: str
    tags: tuple[str, ...]
    portrait: Portrait | None
    spec: str
    card: dict[str, JsonValue]
    source: dict[str, JsonValue]


class CharacterDeleted(Event):
    """The character is out of sight; nothing of it is lost."""

    character_id: str


class CharacterRestored(Event):
    """A deleted character is back as it was."""

    character_id: str
    name: str
    tags: tuple[str, ...]
    portrait: Portrait | None


CharacterEvent = CharacterImported | CharacterDeleted | CharacterRestored


class Unknown(Value):
    """No such character yet."""

    kind: Literal["unknown"] = "unknown"


class Known(Value):
    """A character with its card."""

    kind: Literal["known"] = "known"
    name: str
    description: str
    tags: tuple[str, ...]
    portrait: Portrait | None
    spec: str
    card: dict[str, JsonValue]
    source: dict[str, JsonValue]


class Gone(Value):
    """A character that was deleted; it can be restored."""

    kind: Literal["gone"] = "gone"
    was: Known


CharacterState = Annotated[Unknown | Known | Gone, Field(discriminator="kind")]


def evolve(state: Unknown | Known | Gone, event: CharacterEvent) -> Unknown | Known | Gone:
    """What an event makes of a character."""
    match event:
        case CharacterImported():
            return Known(
                name=event.name, description=event.description, tags=event.tags, portrait=event.portrait,
                spec=event.spec, card=event.card, source=event.source,
            )
        case CharacterDeleted():
            assert isinstance(state, Known), "a character is known before it is deleted"
            return Gone(was=state)
        case CharacterRestored():
            assert isinstance(state, Gone), "a character is deleted before it is restored"
            return state.was
        case _:
            assert_never(event)


def fields(event: CharacterEvent) -> Fields:
    """What an event sets: ``summary`` and each field of the character."""
    match event:
        case CharacterImported():
            return {
                "summary": _summary(event), "name": event.name, "description": event.description,
                "tags": list(event.tags), "portrait": _portrait(event.portrait), "spec": event.spec,
                "card": event.card, "source": event.source,
            }
        case CharacterDeleted():
            return {"summary": None}
        case CharacterRestored():
            return {"summary": _summary(event)}
        case _:
            assert_never(event)


def _summary(event: CharacterImported | CharacterRestored) -> dict[str, Any]:
    return {"name": event.name, "tags": list(event.tags), "portrait": _portrait(event.portrait)}


def _portrait(portrait: Portrait | None) -> dict[str, Any] | None:
    return None if portrait is None else {"asset": portrait.asset}


CONTEXT = Context(
    category=CATEGORY,
    branches=True,
    events=(CharacterImported, CharacterDeleted, CharacterRestored),
    state=CharacterState,
    initial=Unknown(),
    evolve=evolve,
    fields=fields,
)
