"""ISO boxes, of which MP4 and AVIF are made: what leaks is blanked where it lies, so that no offset changes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from services.media.formats.stripped import PARTS, Parts, Stripped

DEPTH: Final = 32
"""Deepest nesting of boxes; real ones have six."""

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


def mp4(data: bytes) -> Stripped:
    """Boxes that leak become empty space of the same size, so that no offset in the file changes."""
    out, removed = bytearray(data), Parts[str]()
    _blank_boxes(out, 0, len(out), removed)
    return Stripped(bytes(out), tuple(removed))


def _blank_boxes(out: bytearray, place: int, end: int, removed: list[str], depth: int = 0) -> None:
    if depth > DEPTH:
        raise ValueError("nested too deeply")
    for kind, begin, content, stop in _boxes(out, place, end):
        if kind in (b"udta", b"meta", b"uuid", b"Xtra"):
            manifest = kind == b"uuid" and out[content : content + 4] == b"\xd8\xfe\xc3\xd6"
            removed.append("C2PA manifest" if manifest else kind.decode())
            out[begin + 4 : begin + 8] = b"free"
            out[content:stop] = bytes(stop - content)
        elif kind in (b"mvhd", b"tkhd", b"mdhd"):
            wide = 8 if out[content] == 1 else 4
            if content + 4 + 2 * wide > stop:
                raise ValueError("cut off")
            if any(out[content + 4 : content + 4 + 2 * wide]):
                removed.append(f"{kind.decode()} times")
                out[content + 4 : content + 4 + 2 * wide] = bytes(2 * wide)
        elif kind in _CONTAINERS:
            _blank_boxes(out, content, stop, removed, depth + 1)


def avif(data: bytes) -> Stripped:
    """Exif and XMP are items of the ``meta`` box: their bytes become zeros where they lie, their type one that no
    reader knows, since empty Exif is an error to some."""
    out, removed = bytearray(data), Parts[str]()
    for kind, begin, content, stop in _boxes(data, 0, len(data)):
        if kind == b"uuid":
            removed.append("C2PA manifest")
            out[begin + 4 : begin + 8] = b"free"
            out[content:stop] = bytes(stop - content)
        elif kind == b"meta":
            inner = {one[0]: one for one in _boxes(data, content + 4, stop) if one[0] in (b"iinf", b"iloc")}
            leaking = _leaking_items(data, inner[b"iinf"])
            left = len(data)
            for item, start, size in _extents(data, inner[b"iloc"]):
                if item in leaking:
                    left -= size
                    if start + size > len(data) or left < 0:  # more than there is: the same bytes again and again
                        raise ValueError("cut off")
                    out[start : start + size] = bytes(size)
            for _, at in leaking.values():
                out[at : at + 4] = b"void"
            for item in sorted(leaking):
                removed.append(leaking[item][0])
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
        if len(found) >= PARTS:
            raise ValueError(f"more than {PARTS} items")
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
        if extents > 1 and not offset_size + length_size + index_size:
            raise ValueError("many extents of which nothing is said")
        for _ in range(extents):
            place += index_size if version in (1, 2) else 0
            start = int.from_bytes(data[place : place + offset_size], "big")
            size = int.from_bytes(data[place + offset_size : place + offset_size + length_size], "big")
            place += offset_size + length_size
            if method == 0:
                yield item, base + start, size
