"""Broken files: valid ones flipped, cut, spliced, repeated and lengthened, so that readers are led deep into them.

Bytes alone are stopped at the first checksum. So the frames that formats are made of (chunks, boxes, lengths, JSON,
lines) are taken apart, something inside is changed, and lengths and checksums are written as they should be.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

LARGEST: Final = 2 * 2**20
"""Largest file that is made."""

NUMBERS: Final = (0, 1, 2, 7, 8, 127, 128, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)

ODD: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, 1.5, 2**31, 2**53 + 1, 2**63, 2**64, 10**30, 1e308, -0.0, "", "x", "\x00", "\ud800", "é",
    "\u2028", "../../etc/passwd", "x" * 5000, "9" * 500, "{{inputs.x}}", "[bold]", "2026-01-01", [], {}, [[]],
    {"": None}, ["x"] * 200, {"a": {"b": [1, "2", None]}},
)
"""Values that are seldom where they are put."""

Mutator = Callable[[Random, bytes], bytes]


def flipped(random: Random, data: bytes) -> bytes:
    """Some bytes are others."""
    found = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 5, 30))):
        if found:
            found[random.randrange(len(found))] = random.choice((0, 255, 127, 128, 10, 34, random.randrange(256)))
    return bytes(found)


def cut(random: Random, data: bytes) -> bytes:
    """Something is missing at the end, at the beginning or in between."""
    one, other = sorted((random.randint(0, len(data)), random.randint(0, len(data))))
    return random.choice((data[:one], data[:other], data[:one] + data[other:], data[one:]))


def repeated(random: Random, data: bytes) -> bytes:
    """A part stands there many times."""
    one = random.randint(0, len(data))
    part = data[one : one + random.choice((1, 2, 8, 12, 40, 400))]
    times = random.choice((2, 10, 300, 5000, 60_000))
    return data[:one] + part * min(times, LARGEST // (len(part) or 1)) + data[one:]


def numbered(random: Random, data: bytes) -> bytes:
    """A number, of any width and order, is one that lengths should not be."""
    width, order = random.choice((1, 2, 4, 4, 8)), random.choice("<>")
    number = struct.pack(order + {1: "B", 2: "H", 4: "I", 8: "Q"}[width], random.choice(NUMBERS) % 2 ** (8 * width))
    at = random.randint(0, max(0, min(len(data), random.choice((16, 64, 10**9))) - width))
    return data[:at] + number + data[at + width :]


def blanked(random: Random, data: bytes) -> bytes:
    """A long run of one byte is put in."""
    at = random.randint(0, len(data))
    return data[:at] + bytes([random.choice(b" \n\t\0\"[{(<=-9aA\\\xff")]) * random.choice((3, 100, 50_000)) + data[at:]


BYTES: Final[tuple[Mutator, ...]] = (flipped, cut, repeated, numbered, blanked)


def _within(random: Random, data: bytes) -> bytes:
    return random.choice(BYTES)(random, data)


# --- lists of parts ---------------------------------------------------------------------------------------------------


def _shuffled(random: Random, parts: list[Any], change: Callable[[Random, Any], Any]) -> list[Any]:
    """A part is changed, doubled, left out, moved or put in many times."""
    found = list(parts)
    if not found:
        return found
    at = random.randrange(len(found))
    match random.randrange(7):
        case 0:
            found.insert(random.randint(0, len(found)), found[at])
        case 1:
            del found[at]
        case 2:
            other = random.randrange(len(found))
            found[at], found[other] = found[other], found[at]
        case 3:
            found[at:at] = [found[at]] * random.choice((3, 100, 3000))
        case _:
            found[at] = change(random, found[at])
    return found


def png(random: Random, data: bytes) -> bytes:
    """The chunks of a PNG, with checksums that fit."""
    chunks, at = [], 8
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length

    def change(random: Random, one: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
        kind, body = one
        if kind == b"zTXt" and random.random() < 0.5:
            return kind, body[: body.find(b"\0") + 2] + zlib.compress(b"A" * 20 * 2**20)
        if random.random() < 0.2:
            kinds = (b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"iCCP", b"caBX", b"acTL", b"fdAT", b"\xff\0ab")
            return random.choice(kinds), body
        return kind, _within(random, body)

    made = b"".join(struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
                    for kind, body in _shuffled(random, chunks, change))
    return data[:8] + made


def riff(random: Random, data: bytes) -> bytes:
    """The chunks of a RIFF file, with lengths that fit."""
    chunks, at = [], 12
    while at + 8 <= len(data):
        (length,) = struct.unpack_from("<I", data, at + 4)
        chunks.append((data[at : at + 4], data[at + 8 : at + 8 + length]))
        at += 8 + length + length % 2
    made = b"".join(kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)
                    for kind, body in _shuffled(random, chunks, lambda r, one: (one[0], _within(r, one[1]))))
    return data[:4] + struct.pack("<I", len(made) + 4) + data[8:12] + made


def boxes(random: Random, data: bytes) -> bytes:
    """The boxes of an MP4 or AVIF, with lengths that fit; sometimes one in the other as deep as it goes."""
    found, at = [], 0
    while at + 8 <= len(data):
        size = struct.unpack_from(">I", data, at)[0]
        if size < 8:
            break
        found.append((data[at + 4 : at + 8], data[at + 8 : at + size]))
        at += size

    def change(random: Random, one: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
        kind, body = one
        match random.randrange(4):
            case 0 if kind in (b"moov", b"trak", b"mdia", b"meta", b"minf"):
                return kind, boxes(random, body)
            case 1:
                inner, name = body[:64], random.choice((b"moov", b"trak", b"moof", b"meta", b"jumb"))
                for _ in range(random.choice((5, 40, 3000))):
                    inner = struct.pack(">I", len(inner) + 8) + name + inner
                return name, inner
            case 2:
                return random.choice((b"mvhd", b"meta", b"iloc", b"iinf", b"udta", b"uuid", b"free")), body
            case _:
                return kind, _within(random, body)

    return b"".join(struct.pack(">I", len(body) + 8) + kind + body for kind, body in _shuffled(random, found, change))


def segments(random: Random, data: bytes) -> bytes:
    """The segments of a JPEG before its picture, with lengths that fit."""
    found, at = [], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        (length,) = struct.unpack_from(">H", data, at + 2)
        found.append((data[at + 1], data[at + 4 : at + 2 + length]))
        at += 2 + length

    def change(random: Random, one: tuple[int, bytes]) -> tuple[int, bytes]:
        return random.choice((one[0], one[0], 0xE1, 0xE2, 0xEB, 0xFE)), _within(random, one[1])

    made = b"".join(bytes((0xFF, marker)) + struct.pack(">H", len(body[:65000]) + 2) + body[:65000]
                    for marker, body in _shuffled(random, found, change))
    return data[:2] + made + data[at:]


def document(random: Random, data: bytes) -> bytes:
    """The values of a JSON document: others, gone, doubled, deep; and sometimes its text."""
    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        return _within(random, data)
    if random.random() < 0.1:
        return _within(random, data)
    for _ in range(random.choice((1, 1, 2, 6))):
        told = changed(random, told)
    text = json.dumps(told, ensure_ascii=random.random() < 0.8)
    if random.random() < 0.05:
        text = text.replace("null", random.choice(("NaN", "Infinity", "1e999", "9" * 6000)), 3)
    return text.encode("utf-8", "surrogatepass")[: 4 * LARGEST]


def changed(random: Random, told: Any) -> Any:
    """A JSON value in which something is otherwise."""
    if isinstance(told, dict) and told and random.random() < 0.85:
        found = dict(told)
        key = random.choice(list(found))
        match random.randrange(8):
            case 0:
                del found[key]
            case 1:
                found[random.choice(("", "\ud800", "x" * 600, "__class__", key + " "))] = found[key]
            case _:
                found[key] = changed(random, found[key])
        return found
    if isinstance(told, list) and told and random.random() < 0.85:
        return _shuffled(random, told, changed)
    match random.randrange(6):
        case 0:
            deep = told
            for _ in range(random.choice((5, 30, 70, 400))):
                deep = [deep] if random.random() < 0.5 else {"k" * random.choice((1, 490)): deep}
            return deep
        case 1 if isinstance(told, str):
            return _within(random, told.encode("utf-8", "surrogatepass")).decode("latin-1")
        case 2 if isinstance(told, int):
            return random.choice((-told, told + 1, float(told), str(told), told * 10**20))
        case _:
            return random.choice(ODD)


def lines(random: Random, data: bytes) -> bytes:
    """The lines of a text; those that are JSON by their values."""
    return b"\n".join(_shuffled(random, data.split(b"\n"), document))


def headed(random: Random, data: bytes) -> bytes:
    """A safetensors file, with the length of its header."""
    (length,) = struct.unpack_from("<Q", data)
    header = document(random, data[8 : 8 + length])
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


FRAMES: Final[dict[str, Mutator]] = {
    "bytes": _within, "png": png, "riff": riff, "boxes": boxes, "jpeg": segments, "json": document, "lines": lines,
    "headed": headed,
}


def broken(random: Random, valid: Sequence[bytes], frame: str) -> bytes:
    """A broken file: one of the valid ones, changed once or several times."""
    data = random.choice(valid)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        way = FRAMES[frame] if random.random() < 0.7 else _within
        try:
            data = way(random, data)[: 4 * LARGEST]
        except (struct.error, IndexError):  # what was changed before is no frame any more
            data = _within(random, data)
        if random.random() < 0.05:
            other = random.choice(valid)
            data = data[: random.randint(0, len(data))] + other[random.randint(0, len(other)) :]
    return data
