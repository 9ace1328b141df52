"""Characters: taken in from their cards, deleted, restored, and seen on every worldline."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from behaviour import given
from pydantic import ValidationError
from story_reading import Telling

from commands.story.character import DeleteCharacter, ImportCharacter, RestoreCharacter
from commands.story.worldline import ForkWorldline
from domain.errors import NotFound, Refused
from domain.story.character import (
    CARD_BYTES,
    CharacterDeleted,
    CharacterImported,
    CharacterRestored,
    Portrait,
)

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
