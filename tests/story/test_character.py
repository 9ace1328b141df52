"""Characters: taken in from their cards, deleted, restored, and seen on every worldline."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from behaviour import given
from pydantic import ValidationError
from story_reading import Telling

from commands.story.character import (
    CreateCharacter,
    DeleteCharacter,
    EditCharacter,
    EditCharacterItem,
    ImportCharacter,
    ReplaceCharacter,
    RestoreCharacter,
    SetCharacterItem,
)
from commands.story.worldline import ForkWorldline
from domain.errors import Invalid, NotFound, Refused
from domain.story.character import (
    CharacterCreated,
    CharacterDeleted,
    CharacterEdited,
    CharacterImported,
    CharacterRestored,
    Portrait,
)
from domain.story.character_model import CARD_BYTES

CARD: dict[str, Any] = {"spec": "chara_card_v2", "data": {"name": "Mira", "x-unknown": [1, 1.0, True]}}
IMPORTED = CharacterImported(
    character_id="mira", name="Mira", description="A guard.", tags=("guard",), portrait=Portrait(asset="ab" * 8),
    spec="chara_card_v2", card=CARD, source={"file": "mira.png"},
)
DELETED = CharacterDeleted(character_id="mira")
RESTORED = CharacterRestored(character_id="mira", name="Mira", tags=("guard",), portrait=Portrait(asset="ab" * 8))


def importing(**changed: Any) -> ImportCharacter:
    told = {
        "character_id": "mira", "name": "Mira", "description": "A guard.", "tags": ["guard"], "portrait": "ab" * 8,
        "spec": "chara_card_v2", "card": CARD, "source": {"file": "mira.png"},
    }
    return ImportCharacter.model_validate(told | changed)


def test_a_character_comes_in_with_its_whole_card() -> None:
    given().when(importing()).then(IMPORTED).and_again_nothing()


def test_the_same_card_from_another_file_is_nothing_new() -> None:
    given(IMPORTED).when(importing(source={"file": "copy.png"})).then_nothing()


def test_another_card_takes_its_place_only_when_asked() -> None:
    other = importing(card=CARD | {"data": {"name": "Mira", "x-unknown": [1, 1, True]}})
    given(IMPORTED).when(other).then_refused("character_exists", Refused)
    (event,) = given(IMPORTED).when(other.model_copy(update={"replace": True}))._decide()
    assert event.card["data"]["x-unknown"] == [1, 1, True]


def test_a_character_is_deleted_and_restored() -> None:
    given(IMPORTED).when(DeleteCharacter(character_id="mira")).then(DELETED).and_again_nothing()
    given(IMPORTED, DELETED).when(RestoreCharacter(character_id="mira")).then(RESTORED).and_again_nothing()
    given(IMPORTED, DELETED).when(importing()).then_refused("character_deleted", Refused)
    given(IMPORTED, DELETED).when(importing(replace=True)).then(IMPORTED)


def test_a_character_that_never_came_in_is_neither_deleted_nor_restored() -> None:
    given().when(DeleteCharacter(character_id="mira")).then_refused("unknown_character", NotFound)
    given().when(RestoreCharacter(character_id="mira")).then_refused("unknown_character", NotFound)


@pytest.mark.parametrize("wrong", [
    {"name": ""}, {"name": "x" * 201}, {"spec": "chara_card_v9"}, {"card": {"x": "y" * CARD_BYTES}},
    {"card": {"x": 2**70}}, {"card": {"x": float("nan")}}, {"portrait": "a.b"}, {"mood": "good"},
])
def test_a_card_outside_the_bounds_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        importing(**wrong)


# --- written by hand ----------------------------------------------------------------------------------------------


SUMMARY: dict[str, Any] = {"name": "Ivo", "tags": [], "portrait": None}
CREATED = CharacterCreated(character_id="ivo", summary=SUMMARY, fields={
    "name": "Ivo", "pronouns": "he", "traits/patient": True,
    "expressions/glad": {"asset": "cd" * 8}, "loras/coat": {"path": "coat.safetensors", "weight": 0.7},
})
DOCUMENT: dict[str, Any] = {
    "name": "Ivo", "pronouns": "he", "traits": {"patient": True}, "expressions": {"glad": {"asset": "cd" * 8}},
    "loras": {"coat": {"path": "coat.safetensors", "weight": 0.7}},
}


def by_hand(**fields: Any) -> CharacterEdited:
    summary = fields.pop("summary", SUMMARY)
    return CharacterEdited(character_id="ivo", summary=summary, fields={
        name.replace("__", "/"): value for name, value in fields.items()
    })


def test_a_character_is_written_by_hand() -> None:
    given().when(CreateCharacter(id="ivo", **DOCUMENT)).then(CREATED).and_again_nothing()
    given(CREATED).when(CreateCharacter(id="ivo", name="Other")).then_refused("character_exists", Refused)
    given().when(CreateCharacter.model_validate({"character_id": "ivo", **DOCUMENT})).then(CREATED)


def test_a_character_is_edited_field_by_field_and_item_by_item() -> None:
    given(CREATED).when(EditCharacter(
        character_id="ivo", pronouns=None, color="#aabbcc", traits={"patient": None, "tall": 2}, portrait="ab" * 8,
    )).then(by_hand(
        pronouns=None, color="#aabbcc", portrait={"asset": "ab" * 8}, traits__patient=None, traits__tall=2,
        summary={**SUMMARY, "portrait": {"asset": "ab" * 8}},
    )).and_again_nothing()
    given(CREATED).when(SetCharacterItem(
        character_id="ivo", collection="poses", key="at the rail", value={"description": "Leaning."},
    )).then(by_hand(**{"poses/at the rail": {"description": "Leaning."}})).and_again_nothing()
    given(CREATED).when(EditCharacterItem(
        character_id="ivo", collection="loras", key="coat", fields={"trigger_words": ["oilskin"], "weight": None},
    )).then(by_hand(loras__coat={"path": "coat.safetensors", "trigger_words": ["oilskin"]})).and_again_nothing()


def test_a_character_without_a_name_or_a_lora_without_a_file_is_refused() -> None:
    given(CREATED).when(EditCharacter(character_id="ivo", name=None)).then_refused("invalid_character", Invalid)
    given(CREATED).when(EditCharacterItem(
        character_id="ivo", collection="loras", key="coat", fields={"path": None},
    )).then_refused("invalid_character", Invalid)
    given(CREATED).when(SetCharacterItem(
        character_id="ivo", collection="poses", key="x", value={"weight": 1, "path": "x"},
    )).then_refused("invalid_character", Invalid)


def test_a_replacement_is_the_whole_character() -> None:
    given(CREATED).when(ReplaceCharacter(character_id="ivo", name="Ivo", traits={"patient": True})).then(
        by_hand(pronouns=None, expressions__glad=None, loras__coat=None)
    ).and_again_nothing()


# --- written by hand, and from a card -----------------------------------------------------------------------------


def test_a_character_created_with_its_card_is_imported_too() -> None:
    command = CreateCharacter.model_validate({
        "character_id": "mira", "name": "Mira", "description": "A guard.", "tags": ["guard"], "portrait": "ab" * 8,
        "spec": "chara_card_v2", "card": CARD, "source": {"file": "mira.png"},
    })
    given().when(command).then(IMPORTED).and_again_nothing()
    more = command.model_copy(update={"pronouns": "she"})
    more.model_fields_set.add("pronouns")
    assert given().when(more)._decide()[1].fields == {"pronouns": "she"}


def test_a_later_card_undoes_nothing_that_people_have_changed() -> None:
    edits = CharacterEdited(character_id="mira", fields={
        "description": "A guard who sings.", "portrait": None, "traits/loud": True,
    }, summary={"name": "Mira", "tags": ["guard"], "portrait": None})
    given(IMPORTED, edits).when(importing()).then_nothing()
    newer = importing(name="Mira Vale", description="A captain.", tags=["captain"], replace=True)
    card, kept = given(IMPORTED, edits).when(newer)._decide()
    assert (card.name, card.description, card.tags) == ("Mira Vale", "A captain.", ("captain",))
    assert kept == CharacterEdited(
        character_id="mira", fields={"description": "A guard who sings.", "portrait": None},
        summary={"name": "Mira Vale", "tags": ["captain"], "portrait": None},
    )
    given(IMPORTED, edits).when(newer).and_again_nothing()


def test_a_card_for_a_character_written_by_hand_fills_only_what_is_empty() -> None:
    card = importing(character_id="ivo", replace=True)
    given(CREATED).when(importing(character_id="ivo")).then_refused("character_exists", Refused)
    imported, kept = given(CREATED).when(card)._decide()
    assert imported.name == "Mira"
    assert kept.fields == {"name": "Ivo"}
    assert kept.summary == {"name": "Ivo", "tags": ["guard"], "portrait": {"asset": "ab" * 8}}


# --- raced and seen -----------------------------------------------------------------------------------------------


def test_of_two_who_import_one_id_at_once_one_is_refused(tmp_path: Path) -> None:
    telling = Telling(tmp_path)

    async def race() -> list[Any]:
        both = [telling.ask_later(importing()), telling.ask_later(importing(name="Other"))]
        return await asyncio.gather(*both, return_exceptions=True)

    assert [getattr(one, "code", None) for one in asyncio.run(race())].count("character_exists") == 1


def test_a_character_is_seen_whole_and_branches_like_a_scene(tmp_path: Path) -> None:
    telling = Telling(tmp_path)
    telling.ask(importing())
    telling.ask(ForkWorldline(worldline_id="dark"))
    telling.ask(DeleteCharacter(character_id="mira"), worldline="dark")
    shown = telling.look("ShowCharacter", character_id="mira")
    assert (shown["card"], shown["portrait"], shown["version"]) == (CARD, {"asset": "ab" * 8}, 1)
    assert telling.look("ShowCharacter", character_id="mira", worldline="dark", as_of=2)["inherited_from"] == "main"
    with pytest.raises(NotFound) as caught:
        telling.look("ShowCharacter", character_id="mira", worldline="dark")
    assert caught.value.code == "character_deleted"
    assert telling.look("ListCharacters", worldline="dark")["items"] == []
    telling.ask(RestoreCharacter(character_id="mira"), worldline="dark")
    assert telling.look("ListCharacters", worldline="dark", tag="guard")["items"][0]["name"] == "Mira"
    assert telling.look("ListCharacters", q="nobody")["items"] == []
    assert telling.look("ListCharacters", tag="thief")["items"] == []
    with pytest.raises(NotFound) as caught:
        telling.look("ShowCharacter", character_id="nobody")
    assert caught.value.code == "unknown_character"
