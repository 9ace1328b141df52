"""Starting playtests, a few at a time, each in a process that ends with whoever waits for it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple

from domain import errors
from domain.errors import ComfyVNError, Remedy, Unavailable

MEMORY: Final = 4 * 2**30
"""Most address space of the playing process in bytes, where the system can limit it."""

SECONDS: Final = 900.0
"""Longest time for one playtest that a server runs."""

AT_ONCE: Final = 2
"""Playtests that run side by side; each keeps one core busy."""

WAITING: Final = 8
"""Most that wait for their turn."""

Progress = Callable[[str, int, int], None]


class Done(NamedTuple):
    """A playtest's answer: JSON as bytes, and the page where one was asked for."""

    report: bytes
    page: bytes


class Playtests:
    """Runs playtests; ``await run(order)``. Cancelling the wait ends the process."""

    def __init__(self, *, at_once: int = AT_ONCE, waiting: int = WAITING, seconds: float | None = SECONDS,
                 memory: int = MEMORY) -> None:
        self._turns = asyncio.Semaphore(at_once)
        self._most = at_once + waiting
        self._here = 0
        self._seconds, self._memory = seconds, memory
        self.running: set[int] = set()

    async def run(self, order: Mapping[str, Any], progress: Progress | None = None) -> Done:
        """Does what an order of ``child`` says. Raises what the play raises, and ``Unavailable`` where the studio is
        too busy, or the playtest too large or too slow."""
        if self._here >= self._most:
            raise Unavailable(
                "Too many playtests are waiting already.", error="playtests_busy",
                remediation=[Remedy("Ask again in a moment.", "retry")], detail={"waiting": self._here},
            )
        self._here += 1
        try:
            async with self._turns, asyncio.timeout(self._seconds):
                return await self._run(order, progress)
        except TimeoutError as error:
            raise Unavailable(
                f"The playtest took longer than {self._seconds:g} seconds.", error="playtest_too_slow",
                remediation=[Remedy("Lower max_states, or use `comfyvn play test`, which has no such limit.",
                                    "lower_bounds")],
            ) from error
        finally:
            self._here -= 1

    async def _run(self, order: Mapping[str, Any], progress: Progress | None) -> Done:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.playtest.child", str(self._memory),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )
        self.running.add(child.pid)
        try:
            feeding = asyncio.create_task(self._feed(child, order))
            try:
                return await self._answer(child, progress)
            finally:
                feeding.cancel()
                await asyncio.gather(feeding, return_exceptions=True)
        finally:
            with suppress(ProcessLookupError):
                child.kill()
            await child.wait()
            self.running.discard(child.pid)

    @staticmethod
    async def _feed(child: asyncio.subprocess.Process, order: Mapping[str, Any]) -> None:
        assert child.stdin is not None
        with suppress(BrokenPipeError, ConnectionResetError):
            child.stdin.write(await asyncio.to_thread(lambda: json.dumps(order).encode()))
            await child.stdin.drain()
            child.stdin.close()

    async def _answer(self, child: asyncio.subprocess.Process, progress: Progress | None) -> Done:
        assert child.stdout is not None
        page = b""
        while True:
            try:
                head = await child.stdout.readexactly(9)
                data = await child.stdout.readexactly(int.from_bytes(head[1:], "big"))
            except asyncio.IncompleteReadError as error:
                raise await self._died(child) from error
            match head[:1]:
                case b"p":
                    if progress is not None:
                        progress(*json.loads(data))
                case b"h":
                    page = data
                case b"e":
                    raise _error(json.loads(data))
                case _:
                    return Done(data, page)

    @staticmethod
    async def _died(child: asyncio.subprocess.Process) -> ComfyVNError:
        assert child.stderr is not None
        said = (await child.stderr.read(8192)).decode(errors="replace").strip().splitlines()
        last = said[-1][:300] if said else "it was ended from outside, perhaps for want of memory"
        if last.startswith("MemoryError"):
            last = "it needs more memory than it may have"
        return Unavailable(
            f"The process that plays has ended: {last}.", error="playtest_died",
            remediation=[Remedy("Lower max_states, or play fewer points of view at once.", "lower_bounds")],
        )


def _error(told: Mapping[str, Any]) -> ComfyVNError:
    kind: type[ComfyVNError] = getattr(errors, told["kind"])
    return kind(told["message"], error=told["error"], detail=told["detail"],
                remediation=[Remedy(*remedy) for remedy in told["remediation"]])
