"""What a given file really is, by its first bytes, and opening pictures without trusting them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Final

from PIL import Image, ImageOps, UnidentifiedImageError

from adapters.engines.attempts.child import Unfit
from domain.studio.grey_values import eight_bits

SIDE: Final = 16_384
"""Longest side of a picture that is opened."""

PIXELS: Final = 40_000_000
"""Most pixels of a picture that is opened or made."""

PICTURES: Final = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
"""Pillow's names of the formats that are opened; no other decoder is ever tried."""

TYPES: Final = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}


def demuxer(path: Path) -> tuple[str, str]:
    """(kind, ffmpeg's demuxer) of a video or sound, by its first bytes: never a playlist, never a guess by name."""
    with path.open("rb") as file:
        head = file.read(64)
    match head:
        case _ if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
            # M4A is the same container with sound alone; what is in it is looked at afterwards.
            return ("audio" if head[8:11] == b"M4A" else "video"), "mov"
        case _ if head.startswith(b"\x1aE\xdf\xa3"):
            return "video", "matroska"
        case _ if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
            return "video", "avi"
        case _ if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
            return "audio", "wav"
        case _ if head.startswith(b"OggS"):
            return ("video" if b"theora" in head else "audio"), "ogg"
        case _ if head.startswith(b"fLaC"):
            return "audio", "flac"
        case _ if head.startswith(b"ID3") or (len(head) > 2 and head[0] == 0xFF and head[1] & 0xE6 in (0xE2, 0xE4)):
            return "audio", "mp3"
        case _ if len(head) > 2 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
            return "audio", "aac"
        case _ if head[:6] in (b"GIF87a", b"GIF89a"):
            return "video", "gif"
        case _:
            raise Unfit("FILE_REFUSED", f"This is {_said(head)}, neither a video nor a sound that is known here.")


def _said(head: bytes) -> str:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if start[:4] == b"<svg" or start[:5] == b"<?xml":
        return "a drawing (SVG or XML)"
    if start.startswith((b"<!", b"<html", b"{", b"#EXTM3U")):
        return "a text"
    for magic, name in ((b"\x89PNG", "a PNG picture"), (b"\xff\xd8", "a JPEG picture"), (b"GIF8", "a GIF picture"),
                        (b"PK\3\4", "an archive"), (b"%PDF", "a PDF"), (b"\x7fELF", "a program"), (b"MZ", "a program")):
        if head.startswith(magic):
            return name
    return "nothing at all" if not head else "a file of another kind"


def opened(path: Path, *, pixels: int = PIXELS) -> Image.Image:
    """A picture in RGB or RGBA, upright, its first frame. Raises ``Unfit``."""
    Image.MAX_IMAGE_PIXELS = None  # our own limit, looked at before anything is unpacked
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _opened(path, pixels)
    except UnidentifiedImageError:
        with path.open("rb") as file:
            said = _said(file.read(64))
        what = "is damaged or cut off" if "picture" in said else f"is {said}, no picture that is known here"
        raise Unfit("FILE_REFUSED", f"The file {what}; PNG, JPEG, WebP, AVIF, GIF, BMP and TIFF are.") from None
    except (OSError, ValueError, SyntaxError, IndexError, KeyError, TypeError, EOFError, ZeroDivisionError,
            OverflowError, AttributeError) as error:
        cut = "truncated" in str(error).lower() or isinstance(error, EOFError)
        raise Unfit("FILE_REFUSED", f"The picture {'ends too early' if cut else 'cannot be decoded'}.") from None


def _opened(path: Path, pixels: int) -> Image.Image:
    with Image.open(path, formats=PICTURES) as image:
        width, height = image.size
        if width > SIDE or height > SIDE or width * height > pixels:
            raise Unfit("FILE_REFUSED", f"The picture has {width} × {height} pixels; at most {SIDE:,} on a side and "
                                        f"{pixels:,} in all are worked on.", width=width, height=height)
        image.seek(0)
        image.load()
        return plain(ImageOps.exif_transpose(image))


def plain(image: Image.Image) -> Image.Image:
    """The picture with 8 bits a channel, as RGB or RGBA."""
    if image.mode.startswith("I;16"):
        image = image.point(lambda value: value / 256, "L")
    elif image.mode in ("I", "F"):
        scale, offset = eight_bits(image.mode == "I", *image.getextrema())
        image = image.point(lambda value: value * scale + offset).convert("L")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        return image.convert("RGBA")
    return image.convert("RGB")


def saved(image: Image.Image, folder: Path, name: str, format_: str) -> tuple[str, str]:
    """Writes a product without any metadata; returns its name and media type."""
    image.info.clear()
    options: dict[str, Any] = {"png": {"compress_level": 6}, "jpeg": {"quality": 95, "subsampling": 0},
                               "webp": {"quality": 95, "method": 4}}[format_]
    if format_ == "jpeg" and image.mode == "RGBA":
        ground = Image.new("RGB", image.size, "white")
        ground.paste(image, mask=image.getchannel("A"))
        image = ground
    name = f"{name}.{'jpg' if format_ == 'jpeg' else format_}"
    image.save(folder / name, format_.upper(), **options)
    return name, TYPES[format_]
