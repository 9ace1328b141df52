"""Texts inside PNG pictures: the chunks tEXt, zTXt and iTXt of the PNG specification (W3C, third edition, 11.3.3)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

from domain.errors import Invalid, Remedy

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"

TEXT_BYTES: Final = 16 * 2**20
"""Largest text of one chunk in bytes, after it is unpacked."""

ALL_BYTES: Final = 64 * 2**20
"""Most bytes of all texts of one picture, after they are unpacked."""

CHUNKS: Final = 100_000
"""Most chunks of one picture."""


class PngText(NamedTuple):
    """One text: its keyword, its bytes, and the offset of its chunk in the file."""

    keyword: str
    data: bytes
    offset: int


def png_texts(data: bytes) -> list[PngText]:
    """The texts of a picture in their order. Raises ``Invalid`` for a file that is cut off or damaged."""
    found: list[PngText] = []
    size = 0
    for offset, kind, body in _chunks(data):
        text = _text(kind, body, offset) if kind in (b"tEXt", b"zTXt", b"iTXt") else None
        if text is None:
            continue
        if (size := size + len(text.data)) > ALL_BYTES:  # thousands of small chunks that each unpack to what one may
            raise _refused(
                f"The texts of the picture are larger than {ALL_BYTES} bytes", "too_large", "Export the card again.",
                offset=offset,
            )
        found.append(text)
    return found


def _chunks(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    if not data.startswith(SIGNATURE):
        raise _refused("This is not a PNG picture", "not_png", "Choose a PNG file.", offset=0)
    offset = len(SIGNATURE)
    for _ in range(CHUNKS):
        head = data[offset : offset + 8]
        if len(head) < 8:
            raise _cut_off(offset)
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        end = offset + 8 + length
        if length >= 2**31 or end + 4 > len(data):
            raise _cut_off(offset)
        body = data[offset + 8 : end]
        if zlib.crc32(body, zlib.crc32(kind)) != int.from_bytes(data[end : end + 4], "big"):
            name = kind.decode("ascii", "replace")
            raise _refused(
                f"The chunk {name} of the picture is damaged: its checksum is wrong", "damaged_png",
                "Copy or export the file again.", offset=offset,
            )
        yield offset, kind, body
        if kind == b"IEND":
            return
        offset = end + 4
    raise _refused(f"The picture has more than {CHUNKS} chunks", "too_large", "Export it again.", offset=offset)


def _text(kind: bytes, body: bytes, offset: int) -> PngText | None:
    """The text of a chunk; nothing for one whose layout is not the specification's, as other readers do."""
    keyword, found, rest = body.partition(b"\0")
    if not found:
        return None
    name = keyword.decode("latin-1")
    if kind == b"tEXt":
        return PngText(name, _bounded(rest, offset), offset)
    if kind == b"zTXt":
        return PngText(name, _unpacked(rest[1:], offset), offset) if rest[:1] == b"\0" else None
    packed, method, rest = rest[:1], rest[1:2], rest[2:]
    parts = rest.split(b"\0", 2)
    if len(parts) < 3 or packed not in (b"\0", b"\1") or (packed == b"\1" and method != b"\0"):
        return None
    return PngText(name, _unpacked(parts[2], offset) if packed == b"\1" else _bounded(parts[2], offset), offset)


def _bounded(data: bytes, offset: int) -> bytes:
    if len(data) > TEXT_BYTES:
        raise _too_large(offset)
    return data


def _unpacked(data: bytes, offset: int) -> bytes:
    # Bounded while unpacking: a few bytes can unpack to gigabytes.
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(data, TEXT_BYTES + 1)
    except zlib.error as error:
        raise _refused(
            "A packed text of the picture cannot be unpacked", "damaged_png", "Export the file again.", offset=offset
        ) from error
    if len(text) > TEXT_BYTES:
        raise _too_large(offset)
    if not unpacker.eof:
        raise _cut_off(offset)
    return text


def _cut_off(offset: int) -> Invalid:
    return _refused("The picture is cut off", "truncated_png", "Copy or download the file again.", offset=offset)


def _too_large(offset: int) -> Invalid:
    return _refused(
        f"A text of the picture is larger than {TEXT_BYTES} bytes", "too_large", "Shorten the card.", offset=offset
    )


def _refused(sentence: str, error: str, remedy: str, *, offset: int) -> Invalid:
    return Invalid(f"{sentence} (byte {offset}).", error=error, remediation=[Remedy(remedy, "mend_file")],
                   detail={"offset": offset})
