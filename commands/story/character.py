"""Asking for a character to come in from its card, to go, and to come back."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, JsonValue

from commands.declaration import Asking, Command
from commands.envelope import Asked
from domain.bounded_json import BoundedObject, check_json, same_json
from domain.errors import NotFound, Refused, Remedy
from domain.ids import Token
from domain.story.character import (
    CARD_BYTES,
    DESCRIPTION_LIMIT,
    NAME_LIMIT,
    CharacterDeleted,
    CharacterEvent,
    CharacterImported,
    CharacterRestored,
    Gone,
    Known,
    Portrait,
    Spec,
    Unknown,
)


def _card(card: dict[str, JsonValue]) -> dict[str, JsonValue]:
    check_json(card, size=CARD_BYTES)
    return card


Card = Annotated[dict[str, JsonValue], AfterValidator(_card)]
Tag = Annotated[str, Field(min_length=1, max_length=200)]


class ImportCharacter(Command):
    """Take a character in from its card; ``replace`` lets a newer card take the place of the one that is there."""

    character_id: Token | None = None
    name: Annotated[str, Field(min_length=1, max_length=NAME_LIMIT)]
    description: Annotated[str, Field(max_length=DESCRIPTION_LIMIT)] = ""
    tags: Annotated[tuple[Tag, ...], Field(max_length=500)] = ()
    portrait: Token | None = Field(default=None, description="Id of the asset that shows the character.")
    spec: Spec
    card: Card
    source: BoundedObject = {}
    replace: bool = False


class DeleteCharacter(Command):
    """Put a character out of sight on this worldline; nothing of it is lost."""

    character_id: Token


class RestoreCharacter(Command):
    """Bring a deleted character back as it was."""

    character_id: Token


def import_(command: ImportCharacter, state: Unknown | Known | Gone, asked: Asked) -> list[CharacterEvent]:
    """Nothing when that very card, with that portrait, is there already."""
    assert command.character_id is not None, "the door gives every character an id"
    event = CharacterImported(
        character_id=command.character_id, name=command.name, description=command.description, tags=command.tags,
        portrait=None if command.portrait is None else Portrait(asset=command.portrait), spec=command.spec,
        card=command.card, source=command.source,
    )
    if isinstance(state, Known):
        if same_json(_told(state), _told(event)):
            return []
        if not command.replace:
            raise Refused(
                f"Character {command.character_id} exists already and is another.",
                error="character_exists",
                remediation=[
                    Remedy("Choose another id for the new character.", "rename"),
                    Remedy("Say `replace` to let the new card take the old one's place.", "replace"),
                ],
                detail={"character": command.character_id, "name": state.name},
            )
    if isinstance(state, Gone) and not command.replace:
        raise Refused(
            f"Character {command.character_id} was deleted.",
            error="character_deleted",
            remediation=[
                Remedy("Restore it: nothing of it is lost.", "restore_character"),
                Remedy("Say `replace` to take this card in instead.", "replace"),
            ],
            detail={"character": command.character_id},
        )
    return [event]


def _told(character: Known | CharacterImported) -> dict[str, JsonValue]:
    return character.model_dump(mode="json", exclude={"kind", "character_id", "source"})


def delete(command: DeleteCharacter, state: Unknown | Known | Gone, asked: Asked) -> list[CharacterEvent]:
    """A deleted character stays so."""
    match state:
        case Unknown():
            raise unknown_character(command.character_id)
        case Gone():
            return []
        case Known():
            return [CharacterDeleted(character_id=command.character_id)]


def restore(command: RestoreCharacter, state: Unknown | Known | Gone, asked: Asked) -> list[CharacterEvent]:
    """A character that is there stays so."""
    match state:
        case Unknown():
            raise unknown_character(command.character_id)
        case Known():
            return []
        case Gone(was=was):
            return [CharacterRestored(
                character_id=command.character_id, name=was.name, tags=was.tags, portrait=was.portrait
            )]


def unknown_character(character_id: str) -> NotFound:
    """The error for an id that no character of the worldline has."""
    return NotFound(
        f"There is no character {character_id} on this worldline.",
        error="unknown_character",
        remediation=[Remedy("Import it, or list the characters of the worldline.", "list_characters")],
        detail={"character": character_id},
    )


_SCOPE = "character:write"

COMMANDS = (
    Asking(ImportCharacter, import_, "character_id", _SCOPE, "POST /api/characters", creates=True),
    Asking(DeleteCharacter, delete, "character_id", _SCOPE, "DELETE /api/characters/{character_id}"),
    Asking(RestoreCharacter, restore, "character_id", _SCOPE, "POST /api/characters/{character_id}/restore"),
)
