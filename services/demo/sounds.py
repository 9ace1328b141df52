"""The sounds of the sample story: a tune of few notes, the sea, and a bell, computed sample by sample."""

from __future__ import annotations

import math
import wave
from array import array
from collections.abc import Sequence
from pathlib import Path
from random import Random

RATE = 16_000
"""Samples per second."""


def write_wave(place: Path, samples: Sequence[float]) -> None:
    """16 bits, one channel; ``samples`` between -1 and 1."""
    whole = array("h", (round(max(-1.0, min(1.0, one)) * 32_000) for one in samples))
    with wave.open(str(place), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(whole.tobytes())


def lamp_theme() -> list[float]:
    """A slow tune of plucked notes over a held fifth; its end meets its beginning."""
    length = 8 * RATE
    samples = [0.0] * length
    melody = [(0.0, 69), (0.75, 72), (1.5, 76), (2.5, 74), (3.5, 72), (4.0, 67), (5.0, 69), (6.0, 64), (7.0, 67)]
    for start, note in melody:
        _pluck(samples, round(start * RATE), _pitch(note), 0.20)
    for start, note in [(0.0, 45), (2.0, 41), (4.0, 48), (6.0, 43)]:
        _pluck(samples, round(start * RATE), _pitch(note), 0.26, fade=0.9)
    # Whole numbers of swings in the loop, so that the held notes go round without a click.
    for hertz, gain in ((110.0, 0.035), (164.75, 0.025), (220.0, 0.016)):
        for index in range(length):
            swell = 0.6 + 0.4 * math.sin(math.tau * index / length)
            samples[index] += gain * swell * math.sin(math.tau * hertz * index / RATE)
    return samples


def sea_loop() -> list[float]:
    """Two waves that come and go; noise, softened, blended over its own end."""
    length, overlap = 6 * RATE, RATE
    dice = Random(17)
    raw, low, lower = [], 0.0, 0.0
    for index in range(length + overlap):
        low += 0.16 * (dice.uniform(-1, 1) - low)
        lower += 0.05 * (low - lower)
        swell = 0.35 + 0.65 * (0.5 - 0.5 * math.cos(math.tau * 2 * index / length)) ** 2
        raw.append((1.1 * lower + 0.45 * (low - lower) * swell) * swell)
    for index in range(overlap):
        share = index / overlap
        raw[index] = raw[index] * share + raw[length + index] * (1 - share)
    return raw[:length]


def harbour_bell() -> list[float]:
    """One stroke of a small bronze bell."""
    samples = [0.0] * (2 * RATE)
    for ratio, gain, fade in ((0.5, 0.10, 1.4), (1.0, 0.22, 1.9), (1.19, 0.14, 2.6), (1.5, 0.08, 3.2), (2.0, 0.13, 3.8),
                              (2.74, 0.07, 5.5), (3.76, 0.04, 8.0)):
        for index in range(len(samples)):
            time = index / RATE
            samples[index] += gain * math.exp(-fade * time) * math.sin(math.tau * 523.25 * ratio * time)
    end = RATE // 5
    for index in range(end):
        samples[-1 - index] *= index / end
    return samples


SOUNDS = {"lamp_theme": lamp_theme, "sea_loop": sea_loop, "harbour_bell": harbour_bell}


def _pitch(note: int) -> float:
    return 440.0 * 2 ** ((note - 69) / 12)


def _pluck(samples: list[float], start: int, hertz: float, gain: float, *, fade: float = 1.7) -> None:
    length = len(samples)
    for index in range(round(2.8 * RATE)):
        time = index / RATE
        body = math.exp(-fade * time) * min(1.0, index / 60)
        tone = math.sin(math.tau * hertz * time) + 0.35 * math.exp(-3 * time) * math.sin(math.tau * 2 * hertz * time)
        samples[(start + index) % length] += gain * body * tone * max(0.0, 1 - time / 2.8)
