"""Characters: what can have happened to one.

They are written by hand, or come in from a card, or first one and then the other. A card is kept whole, also what
nobody here understands.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ConfigDict, JsonValue

from domain.context import Fields
from domain.references import called, of_metadata
from domain.story import authored
from domain.story.authored import Authored, Collection, Created, Edited, Removed
from domain.story.authored_writing import written_by
from domain.story.character_model import Character
from domain.values import Event, Value

CATEGORY = "character"

SAID: Final = ("name", "description", "tags", "portrait")
"""What a card says about who a character is."""

IMPORTED: Final = "imported"
"""What the newest card said (its ``SAID``), so that a later one does not undo what people have changed since."""


class Portrait(Value):
    """The asset that shows a character."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    asset: str


class AboutCharacter(Event):
    """Which character an event is about."""

    character_id: str


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


class CharacterCreated(Created, AboutCharacter):
    """A character was written by hand."""


class CharacterEdited(Edited, AboutCharacter):
    """Fields or items of a character changed."""


class CharacterDeleted(Removed, AboutCharacter):
    """The character is out of sight; nothing of it is lost."""


class CharacterRestored(Event):
    """A deleted character is back as it was."""

    character_id: str
    name: str
    tags: tuple[str, ...]
    portrait: Portrait | None


def fields(event: Any) -> Fields:
    """What an event sets: ``summary``, and each field and item of the character."""
    match event:
        case CharacterImported():
            said = imported(event)
            return {
                "summary": _summary(event), **said, "spec": event.spec, "card": event.card, "source": event.source,
                IMPORTED: said,
            }
        case CharacterRestored():
            return {"summary": _summary(event)}
        case _:
            return authored.fields(event)


def imported(event: CharacterImported) -> dict[str, Any]:
    """What a card says about who a character is, as fields."""
    return {
        "name": event.name, "description": event.description, "tags": list(event.tags),
        "portrait": _portrait(event.portrait),
    }


def summary(document: Mapping[str, Any]) -> dict[str, Any]:
    """What lists show of a character."""
    return {
        "name": document.get("name"), "tags": list(document.get("tags") or ()), "portrait": document.get("portrait"),
    }


def names(character_id: str, fields: Mapping[str, Any]) -> set[str]:
    """By what scenes name a character: its id, or its name."""
    name = fields.get("name")
    return {called(one) for one in (character_id, name) if isinstance(one, str)} - {""}


def _restored(character_id: str, said: Mapping[str, Any]) -> CharacterRestored:
    return CharacterRestored(character_id=character_id, **said)


def _summary(event: CharacterImported | CharacterRestored) -> dict[str, Any]:
    return {"name": event.name, "tags": list(event.tags), "portrait": _portrait(event.portrait)}


def _portrait(portrait: Portrait | None) -> dict[str, Any] | None:
    return None if portrait is None else {"asset": portrait.asset}


CHARACTER: Final = Authored(
    category=CATEGORY, name="Character", plural="Characters", id_field="character_id", document=Character,
    created=CharacterCreated, edited=CharacterEdited, removed=CharacterDeleted, restored=CharacterRestored,
    collections=(
        Collection("traits", "trait", limit=1000), Collection("poses", "pose", limit=1000),
        Collection("expressions", "expression", limit=1000), Collection("avatars", "avatar", limit=1000),
        Collection("loras", "lora", limit=100),
    ),
    summary=summary, searched=("name",), hidden=frozenset({IMPORTED}), more_events=(CharacterImported,),
    fields=fields, restoring=_restored, references=of_metadata, called=names,
)

CONTEXT = CHARACTER.context(written_by(CHARACTER), snapshot=2)
