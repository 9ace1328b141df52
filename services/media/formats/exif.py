"""Which way is up: the one thing in a picture's Exif that has to stay for it to be shown right."""

from __future__ import annotations

import struct


def orientation(exif: bytes) -> int:
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


def upright(orientation: int) -> bytes:
    """An Exif block that says which way is up and nothing else."""
    return b"II*\0" + struct.pack("<IH", 8, 1) + struct.pack("<HHIHHI", 0x0112, 3, 1, orientation, 0, 0)
