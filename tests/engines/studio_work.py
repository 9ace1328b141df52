"""Work for the built-in engine in tests: runs tasks through its real processes, and reads videos back as numbers."""

from __future__ import annotations

import asyncio
import io
import re
import subprocess
import wave
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from ports.engine_suite import OVER, Stored, fetched

from adapters.engines.studio_local.engine import StudioLocal
from adapters.engines.studio_local.version import ffmpeg_program
from domain.ports.engines import Done, Failed, Material, Operation, Task


class Given:
    """Files for one task, by the name of its input. ``types`` tells a type other than the one that fits."""

    def __init__(self, files: Mapping[str, Sequence[bytes]], types: Mapping[str, str]) -> None:
        self.stored = [(name, Stored(content, media_type=types.get(name, _type(name))))
                       for name, contents in files.items() for content in contents]

    def inputs(self) -> dict[str, list[Material]]:
        found: dict[str, list[Material]] = {}
        for name, stored in self.stored:
            found.setdefault(name, []).extend(stored.materials)
        return found

    def __call__(self, material: Material) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return next(stored for _, stored in self.stored if material in stored.materials)(material)


def _type(name: str) -> str:
    return {"image": "image/png", "images": "image/png", "audio": "audio/wav"}.get(name, "video/mp4")


def worked(folder: Path, operation: Operation, model: str, parameters: Mapping[str, Any] | None = None, *,
           types: Mapping[str, str] | None = None, seconds: float = 120.0, **files: bytes | Sequence[bytes]) -> Any:
    """What becomes of one task: ``Done`` with the product's bytes in ``content``, or ``Failed``."""
    lists = {name: [given] if isinstance(given, bytes) else given for name, given in files.items()}
    given = Given(lists, types or {})

    async def whole() -> tuple[Any, bytes]:
        engine = StudioLocal(folder, slots=1)
        try:
            task = Task("one", operation, model, parameters or {}, given.inputs(), seconds)
            accepted = await engine.submit(task, given)
            async with asyncio.timeout(seconds + 30):
                while True:
                    outcome = await engine.poll(accepted)
                    if isinstance(outcome, OVER):
                        break
                    await asyncio.sleep(0.02)
            content = await fetched(engine, accepted, outcome.products[0]) if isinstance(outcome, Done) else b""
            return outcome, content
        finally:
            await engine.close()

    return asyncio.run(whole())


_counter = iter(range(10**9))


def made(tmp_path: Path, operation: Operation, model: str, parameters: Mapping[str, Any] | None = None,
         **files: Any) -> bytes:
    """The product of a task that succeeds."""
    outcome, content = worked(tmp_path / f"work-{next(_counter)}", operation, model, parameters, **files)
    assert isinstance(outcome, Done), outcome
    return content


def refused(tmp_path: Path, operation: Operation, model: str, parameters: Mapping[str, Any] | None = None,
            **files: Any) -> Any:
    """The fault of a task that fails."""
    outcome, _ = worked(tmp_path / f"work-{next(_counter)}", operation, model, parameters, **files)
    assert isinstance(outcome, Failed), outcome
    return outcome.fault


def png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def pixels(content: bytes) -> Any:
    """A picture as numbers from 0 to 255."""
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB")).astype(float)


def edge(width: int = 200, height: int = 160, noise: float = 0.0, seed: int = 1) -> Image.Image:
    """Dark left, light right, with noise."""
    plane = np.full((height, width, 3), 70.0)
    plane[:, width // 2 :] = 180.0
    plane += np.random.default_rng(seed).normal(0, noise, plane.shape) if noise else 0
    return Image.fromarray(np.clip(plane, 0, 255).astype(np.uint8))


def tone(seconds: float, rate: int = 22_050) -> bytes:
    """A sound as WAV."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.sin(np.arange(int(rate * seconds)) * 0.06) * 9000).astype("<i2").tobytes())
    return out.getvalue()


def ffmpeg(*arguments: str, given: bytes = b"") -> bytes:
    program = ffmpeg_program()
    assert program is not None
    return subprocess.run([program, "-hide_banner", "-loglevel", "error", *arguments], input=given,
                          capture_output=True, check=True).stdout


def film(tmp_path: Path, frames: Any, fps: int = 12, *, codec: Sequence[str] = ("-c:v", "libx264", "-crf", "5"),
         suffix: str = "mp4") -> bytes:
    """A video of frames, an array [frame, row, column, channel] of bytes."""
    count, height, width, _ = frames.shape
    place = tmp_path / f"film-{next(_counter)}.{suffix}"
    ffmpeg("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(fps), "-i", "pipe:0", *codec,
           "-pix_fmt", "yuv420p", str(place), given=np.ascontiguousarray(frames, dtype=np.uint8).tobytes())
    assert count
    return place.read_bytes()


def read_back(tmp_path: Path, content: bytes) -> Any:
    """Every frame of a video as numbers."""
    place = tmp_path / f"read-{next(_counter)}.mp4"
    place.write_bytes(content)
    size = re.search(rb"Video:.*? (\d{2,5})x(\d{2,5})", _described(place))
    assert size
    width, height = int(size[1]), int(size[2])
    raw = ffmpeg("-i", str(place), "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1")
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3).astype(float)


def heard(tmp_path: Path, content: bytes) -> Any:
    """The sound of a video as numbers, 8,000 a second; nothing where it has none."""
    place = tmp_path / f"read-{next(_counter)}.mp4"
    place.write_bytes(content)
    if b"Audio:" not in _described(place):
        return np.zeros(0)
    raw = ffmpeg("-i", str(place), "-vn", "-ac", "1", "-ar", "8000", "-f", "s16le", "pipe:1")
    return np.frombuffer(raw, "<i2").astype(float)


def _described(place: Path) -> bytes:
    program = ffmpeg_program()
    assert program is not None
    return subprocess.run([program, "-hide_banner", "-i", str(place)], capture_output=True, check=False).stderr


def colorful_frames(count: int) -> Any:
    """Frames with every hue in them, which moves a little from one to the next."""
    hue = np.tile(np.linspace(0, 230, 96), (64, 1))
    value = np.tile(np.linspace(90, 230, 64)[:, None], (1, 96))
    planes = [(np.roll(hue, place * 2, axis=1), np.full_like(hue, 140), value) for place in range(count)]
    return np.stack([np.asarray(Image.merge("HSV", [Image.fromarray(one.astype(np.uint8)) for one in three])
                                .convert("RGB")) for three in planes])
