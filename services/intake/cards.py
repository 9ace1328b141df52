"""Character cards: PNG pictures with a card inside, and cards as plain JSON, of the first, second and third kind.

A card inside a picture is base64 of UTF-8 JSON in a text chunk named ``ccv3`` or ``chara`` (in any case of letters).
What kind a card is, it says itself in ``spec``; the chunk's name does not tell. The card is kept whole: fields that
nobody here understands stay in it.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from dataclasses import dataclass
from typing import Any, Final

from domain.bounded_json import check_json
from domain.errors import ComfyVNError, Invalid
from domain.exchange.png_text import SIGNATURE, TEXT_BYTES, PngText, png_texts
from domain.story.character_model import CARD_BYTES, DESCRIPTION_LIMIT, NAME_LIMIT, Spec
from services.intake.json_reading import read_json, refused

FILE_LIMIT: Final = 64 * 2**20
"""Largest card file in bytes."""

TAGS: Final = 500
GREETINGS: Final = 1000

_CHUNKS: Final = ("ccv3", "chara")
_V1: Final = ("description", "personality", "scenario", "first_mes", "mes_example")
_OTHERS: Final = {
    b"\xff\xd8\xff": "a JPEG picture", b"RIFF": "a WebP picture or a sound", b"PK\x03\x04": "an archive",
    b"GIF8": "a GIF picture",
}


@dataclass(frozen=True, slots=True)
class Card:
    """A card that was read. ``card`` is the whole JSON; the rest is what it says about who it is.

    ``greetings``: the first message and its alternatives. ``picture``: the file is a picture too.
    """

    spec: Spec
    name: str
    description: str
    tags: tuple[str, ...]
    greetings: tuple[str, ...]
    card: dict[str, Any]
    picture: bool
    warnings: tuple[str, ...]


def read_card(data: bytes) -> Card:
    """The card in a file's bytes. Raises ``Invalid`` with what is wrong, where, and what to do."""
    if len(data) > FILE_LIMIT:
        raise refused(f"A card file has at most {FILE_LIMIT} bytes", "too_large", "Choose a smaller picture.")
    if data.startswith(SIGNATURE):
        return _told(_from_picture(data), picture=True)
    for magic, name in _OTHERS.items():
        if data.startswith(magic):
            raise refused(
                f"This is {name}, not a card", "not_a_card", "Export the card as PNG or as JSON.", offset=0
            )
    return _told(read_json(data, "The card", limit=TEXT_BYTES), picture=False)


def _from_picture(data: bytes) -> Any:
    found: dict[str, PngText] = {}
    for text in png_texts(data):
        found.setdefault(text.keyword.lower(), text)
    failures: list[Invalid] = []
    for name in _CHUNKS:
        if (chunk := found.get(name)) is None:
            continue
        try:
            return _decoded(name, chunk)
        except Invalid as error:
            failures.append(error)
    if failures:
        raise failures[0]
    raise refused(
        "The picture holds no card: it has no text chunk named chara or ccv3", "no_card",
        "Choose the card as its author published it: many sites and chats strip texts from pictures.",
    )


def _decoded(name: str, chunk: PngText) -> Any:
    packed = re.sub(rb"\s+", b"", chunk.data)
    try:
        decoded = b64decode(packed + b"=" * (-len(packed) % 4), validate=True)
    except binascii.Error as error:
        raise refused(
            f"The chunk {name} is not base64", "not_base64", "Export the card again.", offset=chunk.offset
        ) from error
    try:
        return read_json(decoded, f"The card in the chunk {name}", limit=TEXT_BYTES)
    except ComfyVNError as error:
        error.detail.setdefault("offset", chunk.offset)
        raise


def _told(card: Any, *, picture: bool) -> Card:
    if not isinstance(card, dict):
        raise refused("A card is a JSON object", "not_a_card", "Choose a character card.")
    warnings: list[str] = []
    spec, said = _kind(card, warnings)
    try:
        check_json(card, size=CARD_BYTES)
    except ValueError as error:
        raise refused(f"The card {error}", "card_out_of_bounds", "Shorten or mend the card.") from error
    name = _text(said, "name", warnings).strip()
    if not name:
        raise refused("The card names nobody: its name is empty", "no_name", "Give the character a name.")
    if len(name) > NAME_LIMIT:
        raise refused(f"The card's name is longer than {NAME_LIMIT} characters", "name_too_long", "Shorten it.")
    description = _text(said, "description", warnings)
    if len(description) > DESCRIPTION_LIMIT:
        warnings.append(f"description: shown shortened to {DESCRIPTION_LIMIT} characters; the card keeps it whole")
        description = description[: DESCRIPTION_LIMIT - 1] + "…"
    first = [text] if (text := _text(said, "first_mes", warnings)) else []
    greetings = [*first, *_texts(said, "alternate_greetings", warnings)]
    return Card(
        spec=spec, name=name, description=description, tags=_tags(said, warnings),
        greetings=tuple(greetings[:GREETINGS]), card=card, picture=picture, warnings=tuple(warnings),
    )


def _kind(card: dict[str, Any], warnings: list[str]) -> tuple[Spec, dict[str, Any]]:
    """The kind of a card and the object that holds its fields."""
    said, spec = card.get("data"), card.get("spec")
    if isinstance(said, dict) and "name" in said:
        match spec:
            case "chara_card_v3":
                return "chara_card_v3", said
            case "chara_card_v2":
                return "chara_card_v2", said
            case None:
                warnings.append("spec: missing; read as a card of the second kind")
                return "chara_card_v2", said
            case _:
                warnings.append(f"spec: {str(spec)[:60]!r} is not known here; read as a card of the third kind")
                return "chara_card_v3", said
    if spec is not None:
        raise refused("The card says what kind it is and has no `data` with a name", "not_a_card", "Export it again.")
    if "name" in card and any(field in card for field in _V1):
        return "chara_card_v1", card
    hint = "it is a lorebook" if "entries" in card else "it has no name, or nothing besides it"
    raise refused(f"This JSON is no character card: {hint}", "not_a_card", "Choose a character card.")


def _text(said: dict[str, Any], field: str, warnings: list[str]) -> str:
    value = said.get(field)
    if isinstance(value, str):
        return value
    if value is not None:
        warnings.append(f"{field}: is not a text and is left aside; the card keeps it")
    return ""


def _texts(said: dict[str, Any], field: str, warnings: list[str]) -> list[str]:
    value = said.get(field)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        warnings.append(f"{field}: is not a list of texts; what is not a text is left aside, the card keeps it")
    return [one for one in value if isinstance(one, str) and one] if isinstance(value, list) else []


def _tags(said: dict[str, Any], warnings: list[str]) -> tuple[str, ...]:
    kept = dict.fromkeys(tag.strip()[:200] for tag in _texts(said, "tags", warnings) if tag.strip())
    return tuple(kept)[:TAGS]
