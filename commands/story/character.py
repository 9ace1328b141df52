"""Asking for characters: written by hand, or taken in from a card; edited as a whole, field by field, item by item."""

from __future__ import annotations

from typing import Any

from pydantic import AliasChoices, Field

from commands.declaration import Asking, Command
from commands.envelope import Asked
from commands.story import authored
from commands.story.authored import asked_of, given
from domain.bounded_json import BoundedObject, same_json
from domain.errors import Refused, Remedy
from domain.ids import Token
from domain.story.authored import Deleted, State, Unwritten, Written, after, held
from domain.story.authored_writing import changed, replaced
from domain.story.character import CHARACTER, IMPORTED, SAID, CharacterImported, Portrait, fields
from domain.story.character_model import Card, Character, Description, Name, Spec, Tags
from domain.values import Event


class CreateCharacter(Character, Command):
    """Write down a character; with a ``card`` it is imported as well."""

    id: Token | None = Field(default=None, validation_alias=AliasChoices("id", "character_id"))


class ImportCharacter(Command):
    """Take a character in from its card; ``replace`` lets a newer card take the place of the one that is there.

    What people have changed since the last card stays as they want it.
    """

    character_id: Token | None = None
    name: Name
    description: Description = ""
    tags: Tags = ()
    portrait: Token | None = Field(default=None, description="Id of the asset that shows the character.")
    spec: Spec
    card: Card
    source: BoundedObject = {}
    replace: bool = False


def create(command: CreateCharacter, state: State, asked: Asked) -> list[Event]:
    """Nothing when the same document stands there already."""
    if command.card is None or command.spec is None or not isinstance(state, Unwritten):
        return authored.create(CHARACTER, command, state, asked)
    taken = _imported(ImportCharacter(
        character_id=command.id, name=command.name, description=command.description or "", tags=command.tags or (),
        portrait=None if command.portrait is None else command.portrait.asset, spec=command.spec, card=command.card,
        source=command.source or {},
    ))
    known = after(state, fields(taken))
    # What the card event always sets (an empty description, say) need not be unset where the document leaves it away.
    wanted = replaced(CHARACTER, known, given(CHARACTER, command))
    rest = {path: value for path, value in wanted.items() if value is not None}
    return [taken, *changed(CHARACTER, taken.character_id, known, rest)]


def import_(command: ImportCharacter, state: State, asked: Asked) -> list[Event]:
    """Nothing when that very card, with that portrait, came in already, whatever people have changed since."""
    event = _imported(command)
    if isinstance(state, Written):
        if same_json(_told(state), _told(after(Unwritten(), fields(event)))):
            return []
        if not command.replace:
            raise Refused(
                f"Character {command.character_id} exists already and is another.",
                error="character_exists",
                remediation=[
                    Remedy("Choose another id for the new character.", "rename"),
                    Remedy("Say `replace` to let the new card take the old one's place.", "replace"),
                ],
                detail={"character": command.character_id, "name": held(state).get("name")},
            )
    if isinstance(state, Deleted) and not command.replace:
        raise Refused(
            f"Character {command.character_id} was deleted.",
            error="character_deleted",
            remediation=[
                Remedy("Restore it: nothing of it is lost.", "restore_character"),
                Remedy("Say `replace` to take this card in instead.", "replace"),
            ],
            detail={"character": command.character_id},
        )
    now = after(state, fields(event))
    return [event, *changed(CHARACTER, event.character_id, now, _changed_by_hand(state))]


def _imported(command: ImportCharacter) -> CharacterImported:
    assert command.character_id is not None, "the door gives every character an id"
    return CharacterImported(
        character_id=command.character_id, name=command.name, description=command.description, tags=command.tags,
        portrait=None if command.portrait is None else Portrait(asset=command.portrait), spec=command.spec,
        card=command.card, source=command.source,
    )


def _told(state: State) -> dict[str, Any]:
    """What the newest card was."""
    stored = held(state)
    return {name: stored.get(name) for name in (IMPORTED, "spec", "card")}


def _changed_by_hand(state: State) -> dict[str, Any]:
    """What people say about who a character is, where that is not what its newest card said."""
    stored = held(state)
    said: Any = stored.get(IMPORTED) or {}
    return {name: stored.get(name) for name in SAID if not same_json(stored.get(name), said.get(name))}


_SCOPE = "character:write"

ASKS = asked_of(CHARACTER, "/api/characters")
COMMANDS = (
    Asking(CreateCharacter, create, "id", _SCOPE, "POST /api/characters", creates=True),
    Asking(ImportCharacter, import_, "character_id", _SCOPE, "POST /api/characters/import", creates=True),
    *(one for one in ASKS.commands if one.name != "CreateCharacter"),
)

ReplaceCharacter = ASKS["ReplaceCharacter"]
EditCharacter = ASKS["EditCharacter"]
DeleteCharacter = ASKS["DeleteCharacter"]
RestoreCharacter = ASKS["RestoreCharacter"]
SetCharacterItem = ASKS["SetCharacterItem"]
EditCharacterItem = ASKS["EditCharacterItem"]
RemoveCharacterItem = ASKS["RemoveCharacterItem"]
