"""Work in a thread that is waited for also when whoever waits is told to stop: files must not be closed under it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

Found = TypeVar("Found")


async def settled(work: Callable[..., Found], *given: Any, stop: Callable[[], None] | None = None) -> Found:
    """What the work returns. When this is cancelled, ``stop`` is called, and the thread's end awaited first."""
    running = asyncio.ensure_future(asyncio.to_thread(work, *given))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        if stop is not None:
            stop()
        await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # looked at, so that nobody complains that nobody did
        raise
