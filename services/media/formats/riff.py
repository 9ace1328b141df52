"""RIFF, the chunks of WebP and WAV: those that show or sound stay, each with its own list."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from services.media.formats.exif import orientation, upright
from services.media.formats.stripped import Parts, Stripped

WEBP_KEPT: Final = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP"})
WAV_KEPT: Final = frozenset({b"fmt ", b"data", b"fact", b"cue ", b"smpl", b"inst", b"PEAK", b"ds64"})


def _riff_chunks(data: bytes, kind: bytes) -> Iterator[tuple[bytes, bytes]]:
    if data[:4] != b"RIFF" or data[8:12] != kind:
        raise ValueError("no RIFF")
    end = min(len(data), 8 + struct.unpack_from("<I", data, 4)[0])
    place = 12
    while place + 8 <= end:
        name, (size,) = data[place : place + 4], struct.unpack_from("<I", data, place + 4)
        if place + 8 + size > len(data):
            raise ValueError("cut off")
        yield name, data[place + 8 : place + 8 + size]
        place += 8 + size + size % 2


def _riff(data: bytes, kind: bytes, kept_names: frozenset[bytes]) -> tuple[list[tuple[bytes, bytes]], list[str]]:
    kept, removed = Parts[tuple[bytes, bytes]](), Parts[str]()
    for name, body in _riff_chunks(data, kind):
        if name in kept_names:
            kept.append((name, body))
        else:
            removed.append("C2PA manifest" if name == b"C2PA" else name.decode("latin-1").strip())
    if len(data) > 8 + struct.unpack_from("<I", data, 4)[0] + 1:
        removed.append("trailing bytes")
    return kept, removed


def _riff_whole(kind: bytes, chunks: list[tuple[bytes, bytes]]) -> bytes:
    body = b"".join(name + struct.pack("<I", len(one)) + one + bytes(len(one) % 2) for name, one in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + kind + body


def webp(data: bytes) -> Stripped:
    """A WebP without what leaks. Raises as the other kinds do."""
    up = next((orientation(body.removeprefix(b"Exif\0\0")) for name, body in _riff_chunks(data, b"WEBP")
               if name == b"EXIF"), 1)
    kept, removed = _riff(data, b"WEBP", WEBP_KEPT)
    if not any(name in (b"VP8 ", b"VP8L", b"ANMF") for name, _ in kept):
        raise ValueError("no picture")
    for number, (name, body) in enumerate(kept):
        if name == b"VP8X":  # its flags tell of Exif (8) and XMP (4)
            kept[number] = (name, bytes([(body[0] & ~0x0C) | (0x08 if up != 1 else 0)]) + body[1:])
            if up != 1:
                kept.append((b"EXIF", upright(up)))
            break
    return Stripped(_riff_whole(b"WEBP", kept), tuple(removed))


def wav(data: bytes) -> Stripped:
    """A WAV without what leaks. Raises as the other kinds do."""
    if struct.unpack_from("<I", data, 4)[0] == 0xFFFFFFFF:
        raise ValueError("a stream without a length")
    kept, removed = _riff(data, b"WAVE", WAV_KEPT)
    if b"data" not in {name for name, _ in kept}:
        raise ValueError("no sound")
    return Stripped(_riff_whole(b"WAVE", kept), tuple(removed))
