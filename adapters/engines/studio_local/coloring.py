"""Colours as one table: exposure, tone curve, look and contrast become a 3D LUT that pictures and videos share."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from PIL import Image, ImageFilter

Array = Any

SIZE: Final = 33
"""Points of the table along each axis."""

LUMA: Final = np.array([0.2126, 0.7152, 0.0722])
"""Weights of ITU-R BT.709."""

LOOKS: Final = ("none", "warm", "cool", "cinematic", "noir", "pastel", "vintage", "vivid", "night", "sepia", "bleach")


def table(look: str = "none", strength: float = 1.0, tone: str = "none", exposure: float = 0.0, contrast: float = 0.0,
          saturation: float = 0.0, temperature: float = 0.0) -> Array:
    """The table as an array [blue, green, red, channel] with values from 0 to 1."""
    steps = np.linspace(0.0, 1.0, SIZE)
    blue, green, red = np.meshgrid(steps, steps, steps, indexing="ij")
    colors = np.stack([red, green, blue], axis=-1)
    colors = _toned(colors, tone, exposure)
    if look != "none":
        colors = colors + (_looked(colors, look) - colors) * strength
    if temperature:
        colors = colors * np.array([1 + 0.18 * temperature, 1.0, 1 - 0.18 * temperature])
    if contrast:
        colors = _contrast(colors, contrast)
    if saturation:
        colors = _saturated(colors, 1 + saturation)
    return np.clip(colors, 0.0, 1.0)


def neutral(parameters: Any) -> bool:
    """Whether these parameters change no colour."""
    return ((parameters.look == "none" or parameters.strength == 0) and parameters.tone == "none"
            and not any((parameters.exposure, parameters.contrast, parameters.saturation, parameters.temperature)))


def of(parameters: Any) -> Array:
    """The table of ``Coloring`` parameters."""
    return table(parameters.look, parameters.strength, parameters.tone, parameters.exposure, parameters.contrast,
                 parameters.saturation, parameters.temperature)


def colored(image: Image.Image, colors: Array) -> Image.Image:
    """The picture through the table; transparency stays."""
    lut = ImageFilter.Color3DLUT(SIZE, colors.reshape(-1).tolist())
    if image.mode == "RGBA":
        changed = image.convert("RGB").filter(lut)
        changed.putalpha(image.getchannel("A"))
        return changed
    return image.filter(lut)


def cube(colors: Array) -> str:
    """The table as a .cube file, as ffmpeg and editing programs read it."""
    rows = "\n".join(f"{r:.6f} {g:.6f} {b:.6f}" for r, g, b in colors.reshape(-1, 3))
    return f"LUT_3D_SIZE {SIZE}\n{rows}\n"


def _linear(colors: Array) -> Array:
    return np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)


def _encoded(colors: Array) -> Array:
    colors = np.maximum(colors, 0.0)
    return np.where(colors <= 0.0031308, colors * 12.92, 1.055 * colors ** (1 / 2.4) - 0.055)


def _toned(colors: Array, tone: str, exposure: float) -> Array:
    if tone == "none" and not exposure:
        return colors
    light = _linear(colors) * 2.0**exposure
    if tone == "reinhard":  # the extended form, on luminance: white stays white (Reinhard et al. 2002, eq. 4)
        white = max(1.0, 2.0**exposure) ** 2
        luminance = light @ LUMA
        mapped = luminance * (1 + luminance / white) / (1 + luminance)
        light = light * (mapped / np.maximum(luminance, 1e-6))[..., None]
    elif tone == "filmic":  # a fit of the ACES curve (K. Narkowicz 2015), scaled so that white stays white
        def curve(x: Array) -> Array:
            return (x * (2.51 * x + 0.03)) / (x * (2.43 * x + 0.59) + 0.14)

        top = float(curve(np.array(max(1.0, 2.0**exposure))))
        light = curve(light * 0.8) / top * 1.02
    return np.clip(_encoded(light), 0.0, 1.0)


def _saturated(colors: Array, factor: float) -> Array:
    gray = (colors @ LUMA)[..., None]
    return gray + (colors - gray) * factor


def _contrast(colors: Array, amount: float) -> Array:
    """An S curve about the middle for more, a flatter line for less."""
    colors = np.clip(colors, 0.0, 1.0)
    if amount < 0:
        return 0.5 + (colors - 0.5) * (1 + 0.6 * amount)
    curve = colors * colors * (3 - 2 * colors)
    return colors + (curve - colors) * amount


def _split(colors: Array, shadows: tuple[float, float, float], lights: tuple[float, float, float]) -> Array:
    """Adds one colour to the shadows and another to the lights."""
    luma = (np.clip(colors, 0, 1) @ LUMA)[..., None]
    dark, light = (1 - luma) ** 2 * luma**0.25, luma**2
    return colors + dark * np.array(shadows) + light * np.array(lights)


def _looked(colors: Array, look: str) -> Array:
    match look:
        case "warm":
            return _split(colors * [1.07, 1.01, 0.88], (0.03, 0.01, -0.02), (0.03, 0.015, -0.03))
        case "cool":
            return _split(colors * [0.9, 1.0, 1.08], (-0.02, 0.0, 0.04), (-0.02, 0.01, 0.03))
        case "cinematic":  # teal in the shadows, orange in the lights
            return _split(_contrast(_saturated(colors, 0.92), 0.45), (-0.06, 0.02, 0.07), (0.07, 0.015, -0.07))
        case "noir":
            return _contrast(_contrast(_saturated(colors, 0.0), 0.9), 0.35)
        case "pastel":
            return 0.2 + 0.78 * _saturated(colors, 0.72) + np.array([0.02, 0.0, 0.02])
        case "vintage":
            return _split(0.07 + 0.86 * _saturated(colors, 0.78), (0.03, 0.0, 0.05), (0.05, 0.03, -0.06))
        case "vivid":
            return _contrast(_saturated(colors, 1.4), 0.3)
        case "night":
            return _split(_saturated(colors, 0.6) ** 1.35 * [0.55, 0.68, 0.95], (-0.01, 0.0, 0.05), (0.0, 0.0, 0.0))
        case "sepia":
            return (colors @ LUMA)[..., None] ** 0.95 * [1.07, 0.9, 0.68] + [0.02, 0.01, 0.0]
        case "bleach":  # silver left in the film: little colour, much contrast
            return _contrast(_saturated(colors, 0.45), 0.75)
        case _:
            return colors
