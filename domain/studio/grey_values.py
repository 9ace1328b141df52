"""What is white in a picture of more than 8 bits, which says so nowhere."""

from __future__ import annotations


def eight_bits(whole: bool, low: float, high: float) -> tuple[float, float]:
    """What a grey value is multiplied by, and what is added then, to get it into 8 bits.

    ``whole``: the values are whole numbers; ``low`` and ``high`` are the least and the greatest there. What fits into
    16 bits is taken as such, anything else by its own range.
    """
    span = (0.0, 65535.0) if whole and low >= 0 and high <= 65535 else (float(low), float(high))
    scale = 255 / ((span[1] - span[0]) or 1)
    return scale, -span[0] * scale
