"""What a file makes is recorded together, or nothing of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import pytest
from intake_files import HEADER, V2, V3, chat, line, packed, picture, text
from story_reading import Telling

from adapters.memory.blobs import MemoryBlobs
from commands.studio.asset import RemoveAsset
from domain.errors import ComfyVNError, Invalid, NotFound, Refused
from services.intake.importing import Imported, import_card, import_chat, named_id
from services.registry import REGISTRY
from services.settings import Settings
from services.studio import Asker, Studio

ANN = Asker("ann")
CARD = picture(text("chara", packed(V2)), text("ccv3", packed(V3)))
Answer = TypeVar("Answer")


class Desk:
    """A studio in memory, and a folder of files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.telling = Telling(folder)
        self.studio = Studio(
            Settings(), REGISTRY, self.telling.log, self.telling.dispatcher, self.telling.models, MemoryBlobs()
        )

    def file(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        return path

    def card(self, data: bytes = CARD, name: str = "Mira Card.png", **more: Any) -> Imported:
        return run(import_card(self.studio, self.file(name, data), ANN, project="demo", **more))

    def chat(self, *lines: Any, name: str = "First night.jsonl", **more: Any) -> Imported:
        return run(import_chat(self.studio, self.file(name, chat(*lines)), ANN, project="demo", **more))


def run(work: Coroutine[Any, Any, Answer]) -> Answer:
    return asyncio.run(work)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_card_makes_a_character_and_its_picture_an_asset_in_one_batch(desk: Desk) -> None:
    done = desk.card()
    assert (done.character_id, done.name, done.changed) == ("mira", "Mira", True)
    assert [one.type for one in desk.telling.log.events] == ["AssetRegistered", "CharacterImported"]
    assert len({one.command_id for one in desk.telling.log.events}) == 1
    shown = desk.telling.look("ShowCharacter", character_id="mira")
    assert shown["card"] == V3
    assert shown["portrait"] == {"asset": done.asset_id}
    assert shown["source"] == {"file": "Mira Card.png", "sha256": sha256(CARD).hexdigest()}
    assert run(desk.studio.blobs.get(sha256(CARD).hexdigest())) == CARD


def test_the_same_card_again_is_nothing_new(desk: Desk) -> None:
    desk.card()
    again = desk.card(name="copy.png")
    assert (again.character_id, again.changed) == ("mira", False)
    assert desk.telling.head == 2


def test_a_card_with_its_greetings_makes_a_scene_too(desk: Desk) -> None:
    done = desk.card(greetings=True)
    assert done.scene_id == "mira-greetings"
    shown = desk.telling.look("ShowScene", scene_id="mira-greetings")
    assert [one.get("text") for one in shown["nodes"]] == [None, "Halt!", "Hm?"]
    assert shown["warnings"] == []
    assert not desk.card(greetings=True).changed
    assert not desk.card(greetings=True, replace=True).changed


def test_another_card_for_a_known_name_changes_nothing_until_it_may(desk: Desk) -> None:
    desk.card()
    other = json.dumps(V2 | {"data": V2["data"] | {"description": "A thief."}}).encode()
    with pytest.raises(Refused) as caught:
        desk.card(other, "other.json", greetings=True)
    assert caught.value.code == "character_exists"
    assert desk.telling.head == 2
    assert desk.card(other, "other.json", character_id="mira-2").character_id == "mira-2"
    assert desk.card(other, "other.json", replace=True).changed
    assert desk.telling.look("ShowCharacter", character_id="mira")["description"] == "A thief."


def test_when_one_part_is_refused_nothing_is_recorded(desk: Desk) -> None:
    desk.chat(line("Mira", "taken"), scene_id="mira-greetings")
    before = desk.telling.head
    with pytest.raises(Refused) as caught:
        desk.card(greetings=True)
    assert caught.value.code == "scene_exists"
    assert desk.telling.head == before


def test_a_dry_run_records_and_stores_nothing(desk: Desk) -> None:
    done = desk.card(dry_run=True)
    assert done.changed
    assert [type(one).__name__ for receipt in done.receipts for one in receipt.would or ()] == [
        "AssetRegistered", "CharacterImported",
    ]
    assert desk.telling.head == 0
    assert run(desk.studio.blobs.head(sha256(CARD).hexdigest())) is None


def test_the_picture_of_a_character_is_in_use(desk: Desk) -> None:
    done = desk.card()
    with pytest.raises(Refused) as caught:
        desk.telling.ask(RemoveAsset(uid=done.asset_id or ""))
    assert caught.value.detail["references"] == ["character:mira"]


def test_a_bad_card_leaves_nothing_behind(desk: Desk) -> None:
    for data in (CARD[:-30], picture(), b"{", b"PK\x03\x04"):
        with pytest.raises(Invalid):
            desk.card(data)
    assert desk.telling.head == 0


def test_a_chat_becomes_a_scene_and_goes_on(desk: Desk) -> None:
    first = desk.chat(HEADER, line("Mira", "Halt!"), line("You", "> Stop | Run"))
    assert (first.scene_id, first.name) == ("first-night", "First night")
    more = [HEADER, line("Mira", "Halt!"), line("You", "> Stop | Run"), line("Mira", "Good.")]
    with pytest.raises(Refused):
        desk.chat(*more)
    done = desk.chat(*more, replace=True)
    assert [one.type for one in done.receipts[0].events] == ["NodesWritten", "SceneEdited"]
    written = json.loads(desk.telling.log.events[-2].data)["written"]
    assert [one["node"]["id"] for one in written] == ["m00002", "m00003"]
    assert len(desk.telling.look("ShowScene", scene_id="first-night")["nodes"]) == 4


def test_a_chat_can_be_imported_on_a_branch_only_when_there_is_one(desk: Desk) -> None:
    with pytest.raises(NotFound):
        desk.chat(line("Mira", "a"), worldline="nowhere")
    with pytest.raises(NotFound):
        desk.chat(line("Mira", "a"), worldline="nowhere", replace=True)
    assert desk.telling.head == 0


def test_a_file_that_cannot_be_read_is_named_without_its_folder(desk: Desk) -> None:
    for path in (desk.folder / "none.png", desk.folder):
        with pytest.raises(ComfyVNError) as caught:
            run(import_card(desk.studio, path, ANN, project="demo"))
        assert caught.value.code in ("no_such_file", "is_a_folder")
        assert str(desk.folder.parent) not in caught.value.message
    with pytest.raises(Invalid) as wrong:
        desk.card(character_id="no good")
    assert wrong.value.code == "invalid_name"


@pytest.mark.parametrize(("name", "id_"), [
    ("Mira", "mira"), ("Élodie d'Arc", "elodie-d-arc"), ("  --x--  ", "x"), ("A" * 300, "a" * 80),
])
def test_ids_are_made_from_names(name: str, id_: str) -> None:
    assert named_id("character", name) == id_


def test_names_without_ascii_letters_get_an_id_all_the_same() -> None:
    assert named_id("character", "美羅").startswith("character-")
    assert named_id("character", "美羅") == named_id("character", "美羅") != named_id("character", "未来")
