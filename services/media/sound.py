"""Waveforms: a sound's shape as a picture and as numbers, from WAV files of any usual sample format.

The numbers are in the JSON form, version 2, that audiowaveform writes and web players read:
https://github.com/bbc/audiowaveform/blob/master/doc/DataFormat.md (minimum and maximum of each stretch, 8 or 16 bits).
"""

from __future__ import annotations

import io
import json
import os
import struct
import sys
from array import array
from collections.abc import Iterator
from typing import IO, Any, Final, NamedTuple

from PIL import Image, ImageDraw

from services.media.rendering import RECIPES, Made, Piece, Unrenderable

BUCKETS: Final = 1024
"""Stretches that a sound is cut into, each with its lowest and its highest sample."""

SIZES: Final = ((256, 64), (512, 128))
INK: Final = (30, 111, 255, 255)
BLOCK: Final = 2**16
"""Frames that are read at once."""


class Format(NamedTuple):
    """How samples are written: ``code`` is 1 for whole numbers, 3 for floating point (RIFF's own codes)."""

    code: int
    channels: int
    rate: int
    bits: int
    big: bool
    start: int
    frames: int

    @property
    def frame_bytes(self) -> int:
        return self.channels * (self.bits // 8)


def render(path: str) -> Made:
    """Waveform pictures and peaks of a sound file. Raises ``Unrenderable`` with a reason."""
    with open(path, "rb") as file:
        told = _header(file)
        peaks = _peaks(file, told)
    per_bucket = -(-told.frames // BUCKETS)
    numbers = {
        "version": 2, "channels": 1, "sample_rate": told.rate, "samples_per_pixel": per_bucket, "bits": 16,
        "length": len(peaks), "data": [value for pair in peaks for value in pair],
    }
    body = json.dumps(numbers, separators=(",", ":")).encode()
    pieces = [_drawn(peaks, width, height) for width, height in SIZES]
    measures: dict[str, Any] = {
        "duration_ms": told.frames * 1000 // told.rate, "sample_rate": told.rate, "channels": told.channels,
        "bits": told.bits, "frames": told.frames,
    }
    return Made(RECIPES["audio"], (*pieces, Piece("peaks", "application/json", 0, 0, body)), measures)


def _header(file: IO[bytes]) -> Format:
    head = file.read(12)
    if len(head) < 12 or head[:4] not in (b"RIFF", b"RIFX", b"RF64", b"BW64") or head[8:] != b"WAVE":
        raise Unrenderable("no_decoder", "No decoder here reads this kind of sound; WAV files are drawn.")
    big = head[:4] == b"RIFX"
    order = ">" if big else "<"
    described: tuple[int, int, int, int] | None = None
    long_size = 0
    while len(chunk := file.read(8)) == 8:
        name, size = chunk[:4], struct.unpack(order + "I", chunk[4:])[0]
        if name == b"ds64":
            body = file.read(size)
            if len(body) >= 16:
                long_size = struct.unpack("<Q", body[8:16])[0]
        elif name == b"fmt ":
            body = file.read(min(size, 64))
            file.seek(size - len(body), os.SEEK_CUR)
            described = _format(body, order)
        elif name == b"data":
            if described is None:
                raise Unrenderable("damaged", "The sound has samples before it says how they are written.")
            return _data(file, described, long_size if size == 0xFFFFFFFF and long_size else size, big)
        else:
            file.seek(size, os.SEEK_CUR)
        if size % 2:
            file.seek(1, os.SEEK_CUR)
    raise Unrenderable("truncated", "The sound ends before its samples begin.")


def _format(body: bytes, order: str) -> tuple[int, int, int, int]:
    if len(body) < 16:
        raise Unrenderable("truncated", "The sound does not say how its samples are written.")
    code, channels, rate, _, _, bits = struct.unpack(order + "HHIIHH", body[:16])
    if code == 0xFFFE and len(body) >= 26:  # WAVE_FORMAT_EXTENSIBLE: the real code begins the sub-format's GUID
        code = struct.unpack(order + "H", body[24:26])[0]
    if (code, bits) not in {(1, 8), (1, 16), (1, 24), (1, 32), (3, 32), (3, 64)}:
        raise Unrenderable("no_decoder", f"WAV with format {code} and {bits} bits is not drawn.")
    if not 1 <= channels <= 64 or not 1 <= rate <= 2_000_000:
        raise Unrenderable("damaged", f"{channels} channels at {rate} samples a second cannot be right.")
    return code, channels, rate, bits


def _data(file: IO[bytes], described: tuple[int, int, int, int], size: int, big: bool) -> Format:
    code, channels, rate, bits = described
    start = file.tell()
    # A writer that never came back to fill in the size leaves 0 or the largest number: the file's end counts then.
    there = os.fstat(file.fileno()).st_size - start
    told = Format(code, channels, rate, bits, big, start, 0)
    frames = (there if size in (0, 0xFFFFFFFF) else min(size, there)) // told.frame_bytes
    if frames < 1:
        raise Unrenderable("silent", "The sound has no samples.")
    return told._replace(frames=frames)


def _peaks(file: IO[bytes], told: Format) -> list[tuple[int, int]]:
    per_bucket = -(-told.frames // BUCKETS)
    file.seek(told.start)
    peaks = []
    left = told.frames
    while left > 0:
        low, high = 32767, -32768
        for samples in _samples(file, told, min(per_bucket, left)):
            low, high = min(low, min(samples)), max(high, max(samples))
        peaks.append((_whole(low, told), _whole(high, told)))
        left -= per_bucket
    return peaks


def _samples(file: IO[bytes], told: Format, frames: int) -> Iterator[Any]:
    """Blocks of samples of all channels: 16 bits, or floats where the file has them."""
    while frames > 0:
        raw = file.read(min(frames, BLOCK) * told.frame_bytes)
        if len(raw) < told.frame_bytes:
            return
        frames -= len(raw) // told.frame_bytes
        yield _decoded(raw[: len(raw) - len(raw) % told.frame_bytes], told)


def _decoded(raw: bytes, told: Format) -> Any:
    if told.code == 3:
        return _swapped(array("f" if told.bits == 32 else "d", raw), told)
    if told.bits == 8:
        return [(value - 128) * 256 for value in (min(raw), max(raw))]
    if told.bits == 16:
        return _swapped(array("h", raw), told)
    # The two highest bytes of wider samples: more than any picture of this size can show.
    width = told.bits // 8
    upper = bytearray(len(raw) // width * 2)
    first = 0 if told.big else width - 2
    upper[0::2], upper[1::2] = raw[first::width], raw[first + 1 :: width]
    return _swapped(array("h", bytes(upper)), told)


def _swapped(samples: Any, told: Format) -> Any:
    if told.big != (sys.byteorder == "big"):
        samples.byteswap()
    return samples


def _whole(value: float, told: Format) -> int:
    if told.code != 3:
        return int(value)
    if value != value:  # NaN
        return 0
    return round(max(-1.0, min(1.0, value)) * 32767)


def _drawn(peaks: list[tuple[int, int]], width: int, height: int) -> Piece:
    image = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    middle = (height - 1) / 2
    for column in range(width):
        first = column * len(peaks) // width
        part = peaks[first : max(first + 1, (column + 1) * len(peaks) // width)]
        low, high = min(one[0] for one in part), max(one[1] for one in part)
        top, bottom = round(middle - high / 32768 * middle), round(middle - low / 32768 * middle)
        draw.line((column, top, column, bottom), fill=INK)
    encoded = io.BytesIO()
    image.save(encoded, "PNG", optimize=False, compress_level=9)
    return Piece(str(width), "image/png", width, height, encoded.getvalue())
