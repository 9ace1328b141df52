"""Character cards and chats as other programs write them."""

from __future__ import annotations

import json
import struct
import zlib
from base64 import b64encode
from typing import Any

from domain.exchange import png_text

V1: dict[str, Any] = {
    "name": "Mira", "description": "A guard.", "personality": "stern", "scenario": "", "first_mes": "Halt!",
    "mes_example": "", "x-mine": {"deep": [1, 1.5]},
}
V2: dict[str, Any] = {
    "spec": "chara_card_v2", "spec_version": "2.0", "name": "leftover",
    "data": {**V1, "tags": ["guard", "guard", " stern "], "alternate_greetings": ["Hm?", ""], "extensions": {"a": None},
             "character_book": {"entries": [{"keys": ["gate"], "x-unknown": True}]}},
}
V3: dict[str, Any] = {"spec": "chara_card_v3", "spec_version": "3.0", "data": {**V2["data"], "nickname": "Mi"}}


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


HEAD = png_text.SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
TAIL = chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")


def packed(card: Any) -> bytes:
    return b64encode(json.dumps(card).encode())


def text(keyword: str, data: bytes) -> bytes:
    return chunk(b"tEXt", keyword.encode("latin-1") + b"\0" + data)


def picture(*chunks: bytes) -> bytes:
    return HEAD + b"".join(chunks) + TAIL


HEADER = {"user_name": "unused", "character_name": "unused", "chat_metadata": {"integrity": "u-1", "tainted": True}}


def line(name: str, mes: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "is_user": name == "You", "mes": mes, **more}


def chat(*lines: Any) -> bytes:
    return b"\n".join(json.dumps(one).encode() for one in lines)
