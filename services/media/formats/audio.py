"""FLAC and MP3: the frames stay; tags before, between and behind them go."""

from __future__ import annotations

import struct

from services.media.formats.stripped import Parts, Stripped


def flac(data: bytes) -> Stripped:
    """A FLAC without what leaks. Raises as the other kinds do."""
    begin = _after_id3(data)  # a signed FLAC has its manifest there
    if data[begin : begin + 4] != b"fLaC":
        raise ValueError("no FLAC")
    names = {1: "padding", 2: "application", 4: "comments", 5: "cue sheet", 6: "picture"}
    blocks, removed = Parts[tuple[int, bytes]](), Parts(["ID3v2"] if begin else [])
    place, last = begin + 4, False
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


def mp3(data: bytes) -> Stripped:
    """An MP3 without what leaks. Raises as the other kinds do."""
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
