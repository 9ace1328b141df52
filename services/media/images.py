"""Thumbnails: a picture's first frame, upright, in 256 and 512 pixels, the same bytes for the same picture."""

from __future__ import annotations

import io
import warnings
from typing import Any, Final

from PIL import Image, ImageOps, UnidentifiedImageError, features

from domain.studio.grey_values import eight_bits
from services.media.rendering import RECIPES, Made, Piece, Unrenderable

SIZES: Final = (512, 256)
FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "ICO", "PSD")
"""Pillow's names of the formats that are opened: no other decoder is ever tried, and none that starts a program."""

PIXEL_LIMIT: Final = 100_000_000
"""Most pixels of a picture that is decoded; beyond that a small file can unpack to gigabytes."""


def render(path: str) -> Made:
    """The thumbnails of a picture file. Raises ``Unrenderable`` with a reason."""
    Image.MAX_IMAGE_PIXELS = None  # our own limit, checked before anything is decoded
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _render(path)
    except UnidentifiedImageError as error:
        raise Unrenderable("no_decoder", "No decoder here reads this picture.") from error
    except Image.DecompressionBombError as error:
        raise Unrenderable("too_many_pixels", "The picture unpacks to too many pixels.") from error
    except (OSError, ValueError, SyntaxError, IndexError, KeyError, TypeError, EOFError, ZeroDivisionError) as error:
        # Pillow's readers raise any of these on a file that is cut off or contradicts itself.
        truncated = "truncated" in str(error).lower() or isinstance(error, EOFError)
        raise Unrenderable(
            "truncated" if truncated else "damaged",
            "The file ends too early." if truncated else "The picture cannot be decoded.",
        ) from error


def _render(path: str) -> Made:
    with Image.open(path, formats=FORMATS) as image:
        width, height = image.size
        if width * height > PIXEL_LIMIT:
            raise Unrenderable("too_many_pixels", f"{width} × {height} pixels are more than {PIXEL_LIMIT:,}.")
        measures: dict[str, Any] = {
            "width": width, "height": height, "frames": int(getattr(image, "n_frames", 1)), "mode": image.mode,
            "format": image.format or "",
        }
        image.seek(0)
        image.draft("RGB", (SIZES[0] * 2, SIZES[0] * 2))
        image.load()
        picture = _plain(ImageOps.exif_transpose(image))
        if image.getexif().get(0x0112, 1) in (5, 6, 7, 8):
            measures["width"], measures["height"] = height, width
    pieces = []
    for size in SIZES:
        picture.thumbnail((size, size), Image.Resampling.LANCZOS)
        pieces.append(_encoded(str(size), picture))
    return Made(RECIPES["image"], tuple(reversed(pieces)), measures)


def _plain(image: Image.Image) -> Image.Image:
    """The picture in 8 bits as RGB or RGBA."""
    if image.mode.startswith("I;16"):
        image = image.point(lambda value: value / 256, "L")
    elif image.mode in ("I", "F"):
        scale, offset = eight_bits(image.mode == "I", *image.getextrema())
        image = image.point(lambda value: value * scale + offset).convert("L")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        return image.convert("RGBA")
    return image.convert("RGB")


def _encoded(name: str, picture: Image.Image) -> Piece:
    encoded = io.BytesIO()
    clean = Image.frombytes(picture.mode, picture.size, picture.tobytes())  # without EXIF, places and comments
    if features.check("webp"):
        clean.save(encoded, "WEBP", quality=82, method=4, exact=False)
        media_type = "image/webp"
    else:
        clean.save(encoded, "PNG", optimize=False, compress_level=9)
        media_type = "image/png"
    return Piece(name, media_type, picture.width, picture.height, encoded.getvalue())
