"""JPEG: the segments that decode the picture stay; comments, Exif, XMP, IPTC and what a camera appends go."""

from __future__ import annotations

import struct

from services.media.formats.exif import orientation, upright
from services.media.formats.stripped import Parts, Stripped


def jpeg(data: bytes) -> Stripped:
    """A JPEG without what leaks. Raises ``ValueError``, ``LookupError`` or ``struct.error`` for what is none."""
    if data[:2] != b"\xff\xd8":
        raise ValueError("no JPEG")
    kept, removed, place = Parts([data[:2]]), Parts[str](), 2
    while True:
        if data[place] != 0xFF:
            raise ValueError("no marker")
        while data[place + 1] == 0xFF:
            place += 1
        marker = data[place + 1]
        if marker == 0xD9:
            raise ValueError("no picture")
        (length,) = struct.unpack_from(">H", data, place + 2)
        end = place + 2 + length
        if length < 2 or end > len(data):
            raise ValueError("cut off")
        body = data[place + 4 : end]
        if marker == 0xDA:
            break
        name = _jpeg_leak(marker, body)
        if name:
            removed.append(name)
            if name == "Exif" and (up := orientation(body[6:])) != 1:
                exif = b"Exif\0\0" + upright(up)
                kept.append(b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif)
        else:
            kept.append(data[place:end])
        place = end
    end = _jpeg_end(data, place)
    kept.append(data[place:end])
    if end < len(data):
        removed.append("trailing bytes")
    return Stripped(b"".join(kept), tuple(removed))


def _jpeg_leak(marker: int, body: bytes) -> str:
    """The name of a segment that leaks; empty for one that stays."""
    if marker == 0xFE:
        return "comment"
    if not 0xE0 <= marker <= 0xEF:
        return ""
    if (marker == 0xE0 and body.startswith((b"JFIF\0", b"JFXX\0"))) or (marker == 0xEE and body.startswith(b"Adobe")):
        return ""
    if marker == 0xE2 and body.startswith(b"ICC_PROFILE\0"):
        return ""
    for begin, name in ((b"Exif\0", "Exif"), (b"http://ns.adobe.com/", "XMP"), (b"Photoshop", "IPTC"), (b"JP", "C2PA")):
        if body.startswith(begin):
            return name
    return f"APP{marker - 0xE0}"


def _jpeg_end(data: bytes, place: int) -> int:
    """Where the picture's end marker ends. What a camera appends after it (a second picture, a film) is metadata."""
    while True:
        place = data.find(b"\xff", place + 1)
        if place < 0 or place + 1 >= len(data):
            raise ValueError("cut off")
        if data[place + 1] == 0xD9:
            return place + 2
        if data[place + 1] not in (0x00, 0xFF, *range(0xD0, 0xD8)):  # another scan's tables and headers
            (length,) = struct.unpack_from(">H", data, place + 2)
            place += 1 + length
