"""Taking files in: everything that one file makes is recorded together, or nothing of it."""

from __future__ import annotations

import asyncio
import re
import unicodedata
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from commands.declaration import Command
from commands.story.character import ImportCharacter
from commands.story.scene import CreateScene, ReplaceScene
from commands.studio.asset import RegisterAsset
from domain.errors import Invalid, NotFound, Refused, Remedy
from domain.ids import MAIN, checked, derived_id
from domain.ports import Stream
from domain.story.scene import CATEGORY
from domain.story.scene_model import CHOICES_LIMIT, TEXT_LIMIT
from domain.story.scene_states import Unwritten
from domain.studio.asset_values import Source
from services.dispatcher import Receipt
from services.intake import cards, chats
from services.intake.json_reading import whole
from services.studio import Asker, Studio


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of a file: ids of what it made, the receipts in the same order as they were asked, and warnings."""

    name: str
    character_id: str | None
    scene_id: str | None
    asset_id: str | None
    receipts: tuple[Receipt, ...]
    warnings: tuple[str, ...]

    @property
    def changed(self) -> bool:
        """Whether anything was recorded (nothing is when the very same file was taken in before)."""
        return any(receipt.events or receipt.would for receipt in self.receipts)

    @property
    def position(self) -> int:
        """Position of the newest event that a view has to count to show what was imported."""
        return max((receipt.position for receipt in self.receipts), default=0)


async def import_card(
    studio: Studio, path: Path, asker: Asker, *, project: str, worldline: str = MAIN, character_id: str | None = None,
    greetings: bool = False, replace: bool = False, dry_run: bool = False,
) -> Imported:
    """``take_card`` for a local file; raises ``NotFound`` for a missing one as well."""
    data = await asyncio.to_thread(_read, path, cards.FILE_LIMIT)
    return await take_card(
        studio, data, path.name, asker, project=project, worldline=worldline, character_id=character_id,
        greetings=greetings, replace=replace, dry_run=dry_run,
    )


async def take_card(
    studio: Studio, data: bytes, name: str, asker: Asker, *, project: str, worldline: str = MAIN,
    character_id: str | None = None, greetings: bool = False, replace: bool = False, dry_run: bool = False,
) -> Imported:
    """Takes a character card in: the character, its picture as an asset, and if asked its greetings as a scene.

    ``name`` is the file's. The character's id is made from its name unless given; the scene's is
    ``<character>-greetings``. Raises ``Invalid`` for a bad file, ``Refused`` for a character that exists and is another
    (unless ``replace``).
    """
    card = await asyncio.to_thread(cards.read_card, data)
    id_ = checked("character id", character_id or named_id("character", card.name))
    asked: list[Command] = []
    digest = sha256(data).hexdigest()
    asset_id = None
    if card.picture:
        picture = RegisterAsset(
            digest=digest, size=len(data), media_type="image/png", kind="image", name=_line(name),
            asset_type="portrait", source=Source(how="import", name=_line(name)), reference=f"character:{id_}",
        )
        asset_id = picture.uid
        asked.append(picture)
    asked.append(ImportCharacter(
        character_id=id_, name=card.name, description=card.description, tags=card.tags, portrait=asset_id,
        spec=card.spec, card=card.card, source={"file": _line(name), "sha256": digest}, replace=replace,
    ))
    scene_id = None
    if greetings and card.greetings:
        scene_id = checked("scene id", f"{id_[:86]}-greetings")
        asked.append(await _scene(studio, _greetings(card, id_, scene_id), project, worldline, replace))
    if card.picture and not dry_run:
        # Bytes first: an event never speaks of bytes that are not there. Bytes without an event are harmless.
        await studio.blobs.put(data)
    receipts = await studio.ask_all(
        asked, asker, project=project, worldline=worldline, dry_run=dry_run, at_hand=(digest,)
    )
    return Imported(card.name, id_, scene_id, asset_id, tuple(receipts), card.warnings)


async def import_chat(
    studio: Studio, path: Path, asker: Asker, *, project: str, worldline: str = MAIN, scene_id: str | None = None,
    title: str | None = None, replace: bool = False, dry_run: bool = False,
) -> Imported:
    """``take_chat`` for a local file; raises ``NotFound`` for a missing one as well."""
    data = await asyncio.to_thread(_read, path, chats.FILE_LIMIT)
    return await take_chat(
        studio, data, path.name, asker, project=project, worldline=worldline, scene_id=scene_id, title=title,
        replace=replace, dry_run=dry_run,
    )


async def take_chat(
    studio: Studio, data: bytes, name: str, asker: Asker, *, project: str, worldline: str = MAIN,
    scene_id: str | None = None, title: str | None = None, replace: bool = False, dry_run: bool = False,
) -> Imported:
    """Takes a chat in as a scene. Its id is made from the file's ``name`` unless given.

    A chat that was imported before and went on: ``replace`` records only the messages that are new or differ.
    Raises ``Invalid`` for a bad file (with its line), ``Refused`` for a scene that exists and differs (unless
    ``replace``).
    """
    stem = Path(name).stem
    id_ = checked("scene id", scene_id or named_id("scene", stem))
    chat = await asyncio.to_thread(chats.read_chat, data, scene_id=id_, title=_line(title or stem) or id_)
    asked = await _scene(studio, chat.document, project, worldline, replace)
    receipt = await studio.ask(asked, asker, project=project, worldline=worldline, dry_run=dry_run)
    return Imported(chat.document["title"], None, id_, None, (receipt,), chat.warnings)


async def _scene(studio: Studio, document: dict[str, Any], project: str, worldline: str, replace: bool) -> Command:
    """The command that makes a scene say this: replaced where it exists and may be, else created."""
    if replace and await _exists(studio, project, worldline, document["id"]):
        return ReplaceScene.model_validate({**document, "scene_id": document["id"]})
    return CreateScene.model_validate(document)


async def _exists(studio: Studio, project: str, worldline: str, scene_id: str) -> bool:
    loaded = await studio.dispatcher.aggregates.load(Stream(project, worldline, CATEGORY, scene_id))
    return not isinstance(loaded.state, Unwritten)


def _greetings(card: cards.Card, character_id: str, scene_id: str) -> dict[str, Any]:
    """Each greeting as a way into a story: one node that offers them, one for each."""
    texts = [whole(text) for text in card.greetings][: CHOICES_LIMIT]
    if (longest := max(len(text) for text in texts)) > TEXT_LIMIT:
        raise Invalid(
            f"A greeting of the card has {longest} characters; a node holds {TEXT_LIMIT}.",
            error="too_large", remediation=[Remedy("Import the card without its greetings.", "without_greetings")],
        )
    ids = [f"greeting-{number}" for number in range(1, len(texts) + 1)]
    opening = {
        "id": "opening", "type": "choice",
        "choices": [
            {"id": id_, "label": _line(text)[:80] or id_, "target": id_} for id_, text in zip(ids, texts, strict=True)
        ],
    }
    told = [
        {"id": id_, "type": "dialogue", "speaker": card.name, "text": text, "end": True}
        for id_, text in zip(ids, texts, strict=True)
    ]
    return {
        "id": scene_id, "title": f"{_line(card.name)[:250]}: greetings", "start": "opening",
        "metadata": {"imported": {"format": card.spec, "character": character_id}}, "nodes": [opening, *told],
    }


def named_id(kind: str, name: str) -> str:
    """An id made from a name: its letters and digits in ASCII, or a digest of it where it has none."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:80].strip("-")
    return slug or f"{kind}-{derived_id(kind, name, length=16)}"


def _line(text: str) -> str:
    """A text as one line without control characters."""
    kept = "".join(" " if unicodedata.category(letter) in ("Cc", "Zl", "Zp") else letter for letter in whole(text))
    return " ".join(kept.split())[:200]


def _read(path: Path, limit: int) -> bytes:
    """The bytes of a file of at most ``limit``; raises ``NotFound``, ``Invalid`` or ``Refused``."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(
            f"There is no file {path.name}.", error="no_such_file",
            remediation=[Remedy("Check the path.", "check_path")], detail={"file": path.name},
        ) from error
    except IsADirectoryError as error:
        raise Invalid(
            f"{path.name} is a folder.", error="is_a_folder",
            remediation=[Remedy("Name a file in it.", "check_path")], detail={"file": path.name},
        ) from error
    except OSError as error:
        raise Refused(
            f"{path.name} cannot be read: {error.strerror}.", error="unreadable_file",
            remediation=[Remedy("Check who may read the file.", "check_permissions")], detail={"file": path.name},
        ) from error
    if len(data) > limit:
        raise Invalid(
            f"{path.name} is larger than {limit} bytes.", error="too_large",
            remediation=[Remedy("Choose a smaller file.", "choose_file")], detail={"file": path.name, "limit": limit},
        )
    return data
