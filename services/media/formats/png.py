"""PNG: the chunks that show the picture stay; texts, times, Exif and manifests go."""

from __future__ import annotations

import struct
import zlib
from typing import Final

from services.media.formats.exif import orientation, upright
from services.media.formats.stripped import Parts, Stripped

PNG_KEPT: Final = frozenset({
    b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"mDCV", b"cLLI", b"sBIT",
    b"bKGD", b"pHYs", b"hIST", b"sPLT", b"acTL", b"fcTL", b"fdAT",
})
_PNG: Final = b"\x89PNG\r\n\x1a\n"


def png(data: bytes) -> Stripped:
    """A PNG without what leaks. Raises ``ValueError`` or ``struct.error`` for what is none."""
    if not data.startswith(_PNG):
        raise ValueError("no PNG")
    kept, removed, place, ended = Parts([_PNG]), Parts[str](), 8, False
    while place < len(data) and not ended:
        (length,) = struct.unpack_from(">I", data, place)
        name, end = data[place + 4 : place + 8], place + 12 + length
        if end > len(data) or len(name) < 4:
            raise ValueError("cut off")
        if name in PNG_KEPT:
            kept.append(data[place:end])
        else:
            removed.append(_png_name(name, data[place + 8 : end - 4]))
            if name == b"eXIf" and (up := orientation(data[place + 8 : end - 4])) != 1:
                kept.append(_png_chunk(b"eXIf", upright(up)))
        ended, place = name == b"IEND", end
    if not ended:
        raise ValueError("cut off")
    if place < len(data):
        removed.append("trailing bytes")
    return Stripped(b"".join(kept), tuple(removed))


def _png_name(name: bytes, body: bytes) -> str:
    shown = name.decode("latin-1")
    if name in (b"tEXt", b"zTXt", b"iTXt"):
        return f"{shown} {body.split(bytes(1), 1)[0][:79].decode('latin-1')}"
    return "C2PA manifest" if name == b"caBX" else shown


def _png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
