"""Fine detail: noise taken away with edges kept, sharpening without halos, upscaling, grain and vignettes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from PIL import Image, ImageFilter

Array = Any

STRIP: Final = 512
"""Rows that are worked on at once, so that memory follows the width and not the picture."""

MARGIN: Final = 24
"""Rows around a strip that its filters may look at."""


def boxed(plane: Array, radius: int) -> Array:
    """Mean over a square of 2·radius+1 pixels, edges repeated; the same time for every radius."""
    for axis in (0, 1):
        pad = [(0, 0), (0, 0)]
        pad[axis] = (radius + 1, radius)
        summed = np.cumsum(np.pad(plane, pad, mode="edge"), axis=axis, dtype=np.float64)
        width = 2 * radius + 1
        upper = np.take(summed, range(width, summed.shape[axis]), axis=axis)
        lower = np.take(summed, range(summed.shape[axis] - width), axis=axis)
        plane = (upper - lower) / width
    return plane.astype(np.float32)


def guided(plane: Array, guide: Array, radius: int, epsilon: float) -> Array:
    """The guided filter (He, Sun, Tang 2010): smooth where the guide is, edges where it has them."""
    mean_guide, mean_plane = boxed(guide, radius), boxed(plane, radius)
    variance = boxed(guide * guide, radius) - mean_guide * mean_guide
    covariance = boxed(guide * plane, radius) - mean_guide * mean_plane
    slope = covariance / (np.maximum(variance, 0) + epsilon)
    return boxed(slope, radius) * guide + boxed(mean_plane - slope * mean_guide, radius)


def in_strips(image: Image.Image, work: Callable[[Array], Array], told: Callable[[float], None]) -> Image.Image:
    """Applies ``work`` (float32 rows from 0 to 1, RGB) strip by strip; transparency stays."""
    whole = np.asarray(image.convert("RGB"))
    made = np.empty_like(whole)
    height = whole.shape[0]
    for top in range(0, height, STRIP):
        first, last = max(0, top - MARGIN), min(height, top + STRIP + MARGIN)
        strip = work(whole[first:last].astype(np.float32) / 255)
        rows = slice(top - first, top - first + min(STRIP, height - top))
        made[top : top + STRIP] = np.clip(strip[rows] * 255 + 0.5, 0, 255).astype(np.uint8)
        told(min(1.0, (top + STRIP) / height))
    result = Image.fromarray(made)
    if image.mode == "RGBA":
        result.putalpha(image.getchannel("A"))
    return result


def _to_ycc(rgb: Array) -> tuple[Array, Array, Array]:
    y = rgb @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    return y, (rgb[..., 2] - y) * np.float32(0.564), (rgb[..., 0] - y) * np.float32(0.713)


def _from_ycc(y: Array, cb: Array, cr: Array) -> Array:
    red, blue = y + cr / np.float32(0.713), y + cb / np.float32(0.564)
    green = (y - np.float32(0.299) * red - np.float32(0.114) * blue) / np.float32(0.587)
    return np.stack([red, green, blue], axis=-1)


def denoised(strength: float) -> Callable[[Array], Array]:
    """Work for ``in_strips``: noise out of brightness a little, out of colour a lot, edges kept."""
    epsilon = (0.02 + 0.13 * strength) ** 2

    def work(rgb: Array) -> Array:
        y, cb, cr = _to_ycc(rgb)
        clean = guided(y, guided(y, y, 2, epsilon), 2, epsilon / 4)
        # Colour has its own noise, which brightness does not show: it is guided by what was cleaned.
        colors = [guided(plane, clean, 4 + round(4 * strength), epsilon / 4) for plane in (cb, cr)]
        return rgb + (_from_ycc(clean, *colors) - rgb) * min(1.0, 0.4 + strength)

    return work


def sharpened(amount: float) -> Callable[[Array], Array]:
    """Work for ``in_strips``: detail made clearer, never beyond the brightest and darkest pixel nearby."""

    def work(rgb: Array) -> Array:
        y, cb, cr = _to_ycc(rgb)
        smooth = guided(y, y, 2, 0.01)
        sharp = y + (y - smooth) * (0.6 + 2.4 * amount)
        eight = Image.fromarray(np.clip(y * 255 + 0.5, 0, 255).astype(np.uint8))
        low = np.asarray(eight.filter(ImageFilter.MinFilter(3)), dtype=np.float32) / 255
        high = np.asarray(eight.filter(ImageFilter.MaxFilter(3)), dtype=np.float32) / 255
        return _from_ycc(np.clip(sharp, low - 0.01, high + 0.01), cb, cr)

    return work


def grained(image: Image.Image, amount: float, size: float, seed: int, colored: bool) -> Image.Image:
    """Grain by a seed. Film shows it most in its middle tones and least in black and white."""
    random = np.random.Generator(np.random.PCG64(seed))
    width, height = image.size
    small = (max(1, round(width / size)), max(1, round(height / size)))
    planes = []
    for _ in range(3 if colored else 1):
        plane = Image.fromarray(random.standard_normal((small[1], small[0]), dtype=np.float32))
        plane = plane.resize((width, height), Image.Resampling.BICUBIC)
        values = np.asarray(plane)
        planes.append(values / max(1e-6, float(values.std())))
    noise = np.stack(planes if colored else planes * 3, axis=-1)
    place = 0

    def work(rgb: Array) -> Array:
        nonlocal place
        first = max(0, place - MARGIN)
        place += STRIP
        luma = (rgb @ np.array([0.299, 0.587, 0.114], dtype=np.float32))[..., None]
        weight = 0.35 + 0.65 * (1 - (2 * np.clip(luma, 0, 1) - 1) ** 2)
        return rgb + noise[first : first + rgb.shape[0]] * weight * np.float32(0.12 * amount)

    return in_strips(image, work, lambda fraction: None)


def vignetted(image: Image.Image, amount: float) -> Image.Image:
    """Darker towards the corners."""
    width, height = image.size
    across = np.linspace(-1, 1, width, dtype=np.float32) ** 2
    place = 0

    def work(rgb: Array) -> Array:
        nonlocal place
        first = max(0, place - MARGIN)
        place += STRIP
        rows = np.arange(first, first + rgb.shape[0], dtype=np.float32)
        down = (rows / max(1, height - 1) * 2 - 1) ** 2
        distance = (across[None, :] + down[:, None]) / 2
        return rgb * (1 - amount * 0.75 * np.clip(distance, 0, 1) ** 1.3)[..., None]

    return in_strips(image, work, lambda fraction: None)


def barred(image: Image.Image, ratio: float) -> Image.Image:
    """Black bars that leave a picture of this ratio visible."""
    width, height = image.size
    bar_y, bar_x = max(0, round((height - width / ratio) / 2)), max(0, round((width - height * ratio) / 2))
    made = image.copy()
    for box in ((0, 0, width, bar_y), (0, height - bar_y, width, height), (0, 0, bar_x, height),
                (width - bar_x, 0, width, height)):
        if box[0] < box[2] and box[1] < box[3]:
            made.paste("black", box)
    return made
