"""Making previews in a process of its own, so that a file that hangs or eats memory takes nothing else along."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import structlog

SECONDS: Final = 60.0
"""Longest time for one file."""

MEMORY: Final = 2 * 2**30
"""Most address space of the rendering process in bytes, where the system can limit it."""

RECIPES: Final = {"image": "image.1", "audio": "sound.1", "video": "video.1"}
"""How previews of a kind are made; the number grows when the same file would look different."""

FILES_EACH: Final = 200
"""Files after which the process is replaced, so that nothing that leaks grows for ever."""

log = structlog.get_logger("media")


class Piece(NamedTuple):
    """One small rendering with its bytes; ``width`` and ``height`` in pixels, 0 for what is no picture."""

    name: str
    media_type: str
    width: int
    height: int
    data: bytes


class Made(NamedTuple):
    """What was made of a file by which recipe, and what was measured on the way."""

    recipe: str
    pieces: tuple[Piece, ...]
    measures: dict[str, Any]


class Unrenderable(Exception):
    """No preview can be made of this file: ``reason`` is a stable code, the message a sentence."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Renderer:
    """One rendering process, started when it is first needed; files are rendered one after the other.

    ``await render(path, media_type)`` returns ``Made`` or raises ``Unrenderable``; ``await close()`` ends it.
    """

    def __init__(self, *, seconds: float = SECONDS, memory: int = MEMORY) -> None:
        self._seconds = seconds
        self._memory = memory
        self._child: asyncio.subprocess.Process | None = None
        self._done = 0
        self._turn = asyncio.Lock()

    async def render(self, path: Path, media_type: str) -> Made:
        """The preview of a local file by its absolute path. Raises ``Unrenderable``."""
        async with self._turn:
            try:
                async with asyncio.timeout(self._seconds):
                    return await self._rendered(path, media_type)
            except TimeoutError as error:
                await self._end()
                raise Unrenderable("too_slow", f"Rendering took longer than {self._seconds:g} seconds.") from error
            except (asyncio.IncompleteReadError, BrokenPipeError, ConnectionResetError) as error:
                await self._end()
                raise Unrenderable("renderer_died", "Rendering this file ended its process.") from error
            except asyncio.CancelledError:
                await self._end()
                raise

    async def close(self) -> None:
        """Ends the process."""
        async with self._turn:
            await self._end()

    async def _rendered(self, path: Path, media_type: str) -> Made:
        child = await self._ready()
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps({"path": str(path), "media_type": media_type}).encode() + b"\n")
        await child.stdin.drain()
        answer = json.loads(await child.stdout.readexactly(int.from_bytes(await child.stdout.readexactly(4), "big")))
        pieces = tuple([
            Piece(*told, await child.stdout.readexactly(size)) for *told, size in answer.get("pieces", ())
        ])
        self._done += 1
        if self._done >= FILES_EACH:
            await self._end()
        if "reason" in answer:
            raise Unrenderable(answer["reason"], answer["message"])
        return Made(answer["recipe"], pieces, answer["measures"])

    async def _ready(self) -> asyncio.subprocess.Process:
        if self._child is None or self._child.returncode is not None:
            self._child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "services.media.child", str(self._memory),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            )
            self._done = 0
        return self._child

    async def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        with suppress(ProcessLookupError):
            child.kill()
        await child.wait()
