"""Takes out of a file what it tells besides its content: prompt graphs, places, names, comments, edit histories.

Pixels and samples are not decoded, so not one of them changes. What is needed to show them right stays: colour
profiles, transparency, animation, and which way is up. Content credentials go too: they speak of the bytes as they
were, and would read as broken; sign again afterwards.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

SIZE_LIMIT: Final = 512 * 2**20
"""Largest file that is stripped; it is worked on in memory."""


class Stripped(NamedTuple):
    """The bytes without what leaks, and what was taken out, each by its name in the format."""

    data: bytes
    removed: tuple[str, ...]


class Unstrippable(Exception):
    """Nothing can be taken out safely: ``reason`` is a stable code, the message a sentence."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def stripped_file(source: Path, destination: Path, media_type: str) -> tuple[str, ...]:
    """Writes a file without what leaks; what was taken out. Blocking. Raises ``Unstrippable`` and ``OSError``."""
    if source.stat().st_size > SIZE_LIMIT:
        raise Unstrippable("too_large", f"Files over {SIZE_LIMIT:,} bytes are not stripped.")
    found = stripped(source.read_bytes(), media_type)
    destination.write_bytes(found.data)
    return found.removed


def stripped(data: bytes, media_type: str) -> Stripped:
    """The same content without what leaks. Raises ``Unstrippable`` for what cannot be read or is not known here."""
    work = FORMATS.get(media_type)
    if work is None:
        raise Unstrippable("unknown_format", f"What {media_type} tells besides its content is not known here.")
    try:
        return work(data)
    except (struct.error, LookupError, ValueError) as error:
        raise Unstrippable("damaged", f"The file cannot be read as {media_type}.") from error


# --- PNG --------------------------------------------------------------------------------------------------------------

PNG_KEPT: Final = frozenset({
    b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"mDCV", b"cLLI", b"sBIT",
    b"bKGD", b"pHYs", b"hIST", b"sPLT", b"acTL", b"fcTL", b"fdAT",
})
_PNG: Final = b"\x89PNG\r\n\x1a\n"


def _png(data: bytes) -> Stripped:
    if not data.startswith(_PNG):
        raise ValueError("no PNG")
    kept, removed, place, ended = [_PNG], [], 8, False
    while place < len(data) and not ended:
        (length,) = struct.unpack_from(">I", data, place)
        name, end = data[place + 4 : place + 8], place + 12 + length
        if end > len(data) or len(name) < 4:
            raise ValueError("cut off")
        if name in PNG_KEPT:
            kept.append(data[place:end])
        else:
            removed.append(_png_name(name, data[place + 8 : end - 4]))
            if name == b"eXIf" and (up := _orientation(data[place + 8 : end - 4])) != 1:
                kept.append(_png_chunk(b"eXIf", _upright(up)))
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


# --- JPEG -------------------------------------------------------------------------------------------------------------


def _jpeg(data: bytes) -> Stripped:
    if data[:2] != b"\xff\xd8":
        raise ValueError("no JPEG")
    kept, removed, place = [data[:2]], [], 2
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
            if name == "Exif" and (up := _orientation(body[6:])) != 1:
                exif = b"Exif\0\0" + _upright(up)
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


# --- RIFF: WebP and WAV -----------------------------------------------------------------------------------------------

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
    kept, removed = [], []
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


def _webp(data: bytes) -> Stripped:
    up = next((_orientation(body.removeprefix(b"Exif\0\0")) for name, body in _riff_chunks(data, b"WEBP")
               if name == b"EXIF"), 1)
    kept, removed = _riff(data, b"WEBP", WEBP_KEPT)
    if not any(name in (b"VP8 ", b"VP8L", b"ANMF") for name, _ in kept):
        raise ValueError("no picture")
    for number, (name, body) in enumerate(kept):
        if name == b"VP8X":  # its flags tell of Exif (8) and XMP (4)
            kept[number] = (name, bytes([(body[0] & ~0x0C) | (0x08 if up != 1 else 0)]) + body[1:])
            if up != 1:
                kept.append((b"EXIF", _upright(up)))
            break
    return Stripped(_riff_whole(b"WEBP", kept), tuple(removed))


def _wav(data: bytes) -> Stripped:
    if struct.unpack_from("<I", data, 4)[0] == 0xFFFFFFFF:
        raise ValueError("a stream without a length")
    kept, removed = _riff(data, b"WAVE", WAV_KEPT)
    if b"data" not in {name for name, _ in kept}:
        raise ValueError("no sound")
    return Stripped(_riff_whole(b"WAVE", kept), tuple(removed))


# --- sound ------------------------------------------------------------------------------------------------------------


def _flac(data: bytes) -> Stripped:
    begin = _after_id3(data)  # a signed FLAC has its manifest there
    if data[begin : begin + 4] != b"fLaC":
        raise ValueError("no FLAC")
    names = {1: "padding", 2: "application", 4: "comments", 5: "cue sheet", 6: "picture"}
    blocks, removed, place, last = [], ["ID3v2"] if begin else [], begin + 4, False
    while not last:
        head = data[place]
        last, kind, size = bool(head & 0x80), head & 0x7F, int.from_bytes(data[place + 1 : place + 4], "big")
        body = data[place + 4 : place + 4 + size]
        if len(body) < size:
            raise ValueError("cut off")
        if kind in (0, 3):
            blocks.append((kind, body))
        else:
            removed.append(names.get(kind, f"block {kind}"))
        place += 4 + size
    made = [
        bytes([kind | (0x80 if number == len(blocks) - 1 else 0)]) + len(body).to_bytes(3, "big") + body
        for number, (kind, body) in enumerate(blocks)
    ]
    return Stripped(b"fLaC" + b"".join(made) + data[place:], tuple(removed))


def _after_id3(data: bytes) -> int:
    """Where the ID3v2 tags at the beginning end."""
    place = 0
    while data[place : place + 3] == b"ID3":
        digits = zip(data[place + 6 : place + 10], (21, 14, 7, 0), strict=True)
        size = sum((byte & 0x7F) << shift for byte, shift in digits)
        place += 10 + size + (10 if data[place + 5] & 0x10 else 0)
    return place


def _mp3(data: bytes) -> Stripped:
    begin, end = _after_id3(data), len(data)
    removed = ["ID3v2"] if begin else []
    if data[end - 128 : end - 125] == b"TAG":
        end -= 128
        removed.append("ID3v1")
    if data[end - 32 : end - 24] == b"APETAGEX":
        (size,) = struct.unpack_from("<I", data, end - 20)
        end -= size + (32 if data[end - 9] & 0x80 else 0)
        removed.append("APEv2")
    if not begin < end or data[begin] != 0xFF:
        raise ValueError("no sound")
    return Stripped(data[begin:end], tuple(removed))


# --- boxes: MP4 and AVIF ----------------------------------------------------------------------------------------------

_CONTAINERS: Final = frozenset({b"moov", b"trak", b"mdia", b"minf", b"edts", b"moof", b"traf"})


def _boxes(data: bytes, place: int, end: int) -> Iterator[tuple[bytes, int, int, int]]:
    """(type, where the box begins, where its content begins, where it ends)."""
    while place < end:
        size, head = struct.unpack_from(">I", data, place)[0], 8
        kind = bytes(data[place + 4 : place + 8])
        if size == 1:
            size, head = struct.unpack_from(">Q", data, place + 8)[0], 16
        elif size == 0:
            size = end - place
        if size < head or place + size > end:
            raise ValueError("cut off")
        yield kind, place, place + head, place + size
        place += size


def _mp4(data: bytes) -> Stripped:
    """Boxes that leak become empty space of the same size, so that no offset in the file changes."""
    out, removed = bytearray(data), []
    _blank_boxes(out, 0, len(out), removed)
    return Stripped(bytes(out), tuple(removed))


def _blank_boxes(out: bytearray, place: int, end: int, removed: list[str]) -> None:
    for kind, begin, content, stop in list(_boxes(out, place, end)):
        if kind in (b"udta", b"meta", b"uuid", b"Xtra"):
            manifest = kind == b"uuid" and out[content : content + 4] == b"\xd8\xfe\xc3\xd6"
            removed.append("C2PA manifest" if manifest else kind.decode())
            out[begin + 4 : begin + 8] = b"free"
            out[content:stop] = bytes(stop - content)
        elif kind in (b"mvhd", b"tkhd", b"mdhd"):
            wide = 8 if out[content] == 1 else 4
            if any(out[content + 4 : content + 4 + 2 * wide]):
                removed.append(f"{kind.decode()} times")
                out[content + 4 : content + 4 + 2 * wide] = bytes(2 * wide)
        elif kind in _CONTAINERS:
            _blank_boxes(out, content, stop, removed)


def _avif(data: bytes) -> Stripped:
    """Exif and XMP are items of the ``meta`` box: their bytes become zeros where they lie, their type one that no
    reader knows, since empty Exif is an error to some."""
    out, removed = bytearray(data), []
    top = list(_boxes(data, 0, len(data)))
    for kind, begin, content, stop in top:
        if kind == b"uuid":
            removed.append("C2PA manifest")
            out[begin + 4 : begin + 8] = b"free"
            out[content:stop] = bytes(stop - content)
        elif kind == b"meta":
            inner = {one[0]: one for one in _boxes(data, content + 4, stop)}
            leaking = _leaking_items(data, inner[b"iinf"])
            for item, start, size in _extents(data, inner[b"iloc"]):
                if item in leaking:
                    if start + size > len(data):
                        raise ValueError("cut off")
                    out[start : start + size] = bytes(size)
            for _, at in leaking.values():
                out[at : at + 4] = b"void"
            removed += [leaking[item][0] for item in sorted(leaking)]
    return Stripped(bytes(out), tuple(removed))


def _leaking_items(data: bytes, iinf: tuple[bytes, int, int, int]) -> dict[int, tuple[str, int]]:
    """Item -> what it is, and where its type stands."""
    _, _, content, stop = iinf
    found: dict[int, tuple[str, int]] = {}
    for _, _, inside, _ in _boxes(data, content + (6 if data[content] == 0 else 8), stop):
        version = data[inside]
        wide = ">I" if version == 3 else ">H"
        (item,) = struct.unpack_from(wide, data, inside + 4)
        at = inside + 4 + struct.calcsize(wide) + 2
        if data[at : at + 4] in (b"Exif", b"mime"):
            found[item] = ("Exif" if data[at : at + 4] == b"Exif" else "XMP", at)
    return found


def _extents(data: bytes, iloc: tuple[bytes, int, int, int]) -> Iterator[tuple[int, int, int]]:
    _, _, place, _ = iloc
    version, sizes = data[place], struct.unpack_from(">H", data, place + 4)[0]
    offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    wide = 4 if version == 2 else 2
    count = int.from_bytes(data[place + 6 : place + 6 + wide], "big")
    place += 6 + wide
    for _ in range(count):
        item = int.from_bytes(data[place : place + wide], "big")
        place += wide
        method = 0
        if version in (1, 2):
            method = struct.unpack_from(">H", data, place)[0] & 15
            place += 2
        place += 2
        base = int.from_bytes(data[place : place + base_size], "big")
        place += base_size
        (extents,) = struct.unpack_from(">H", data, place)
        place += 2
        for _ in range(extents):
            place += index_size if version in (1, 2) else 0
            start = int.from_bytes(data[place : place + offset_size], "big")
            size = int.from_bytes(data[place + offset_size : place + offset_size + length_size], "big")
            place += offset_size + length_size
            if method == 0:
                yield item, base + start, size


# --- which way is up --------------------------------------------------------------------------------------------------


def _orientation(exif: bytes) -> int:
    """The orientation in an Exif block (TIFF 6.0, tag 0x0112); 1 where it says none."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None or len(exif) < 8:
        return 1
    try:
        (first,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, first)
        for number in range(count):
            tag, _, _, value = struct.unpack_from(order + "HHIH", exif, first + 2 + number * 12)
            if tag == 0x0112:
                return value if 1 <= value <= 8 else 1
    except struct.error:
        return 1
    return 1


def _upright(orientation: int) -> bytes:
    """An Exif block that says which way is up and nothing else."""
    return b"II*\0" + struct.pack("<IH", 8, 1) + struct.pack("<HHIHHI", 0x0112, 3, 1, orientation, 0, 0)


FORMATS: Final[dict[str, Callable[[bytes], Stripped]]] = {
    "image/png": _png, "image/jpeg": _jpeg, "image/webp": _webp, "image/avif": _avif, "audio/wav": _wav,
    "audio/flac": _flac, "audio/mpeg": _mp3, "video/mp4": _mp4, "audio/mp4": _mp4, "video/quicktime": _mp4,
}
"""Media types of which it is known what leaks."""
