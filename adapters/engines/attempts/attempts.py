"""Attempts on this machine: each a folder and a child process, some at a time; none outlives whoever runs them.

A worker that is killed takes its processes along; what they finished is found in the attempt's folder, and what they
did not is begun again by whoever asks for it next. After ``BEGINNINGS`` such ends an attempt is given up.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

from adapters.engines.attempts import taking
from adapters.engines.attempts.child import OCCUPIED
from adapters.engines.attempts.folder import NAME, AttemptFolder
from domain.ports.engines import (
    Accepted,
    Cancelled,
    Cancelling,
    Done,
    EngineError,
    Failed,
    Lost,
    Outcome,
    Product,
    Reading,
    Task,
    Waiting,
    Working,
)
from domain.studio.fault import CODES, Fault, fault

BEGINNINGS: Final = 5
"""How often an attempt is begun whose process ended without a word, its worker with it."""

KEEP_SECONDS: Final = 24 * 3600.0
"""How long a finished attempt is kept for a worker that comes back."""

KEEP_BYTES: Final = 8 * 2**30
"""Bytes of finished attempts beyond which the oldest go earlier."""

PIECE: Final = 256 * 1024

CANCELLED: Final = {"cancelled": True}

PASSED: Final = ("PATH", "LANG", "LC_ALL", "HOME", "TMPDIR", "PYTHONPATH", "LD_LIBRARY_PATH", "SYSTEMROOT")
"""What a child is told of the environment. Everything else, tokens above all, is none of its business."""


class Attempts:
    """The attempts under one folder. ``program`` runs with an attempt's folder as its last argument; see ``child``."""

    def __init__(self, root: Path, program: Sequence[str], *, slots: int, environment: Mapping[str, str] | None = None,
                 keep_seconds: float = KEEP_SECONDS, keep_bytes: int = KEEP_BYTES) -> None:
        self.root = root.absolute()  # children have other working folders
        self._program = tuple(program)
        self._slots = slots
        self._environment = {name: os.environ[name] for name in PASSED if name in os.environ} | dict(environment or {})
        self._keep = (keep_seconds, keep_bytes)
        self._waiting: list[str] = []
        self._running: dict[str, asyncio.Task[None]] = {}
        self._kept: dict[str, AttemptFolder] = {}
        self._dropped: set[str] = set()
        self._closed = False

    async def opened(self) -> None:
        """Raises ``EngineError`` when the folder cannot be used."""
        await asyncio.to_thread(taking.opened, self.root)

    async def take(self, task: Task, reading: Reading) -> Accepted:
        """Takes a task that was found suitable; a second time only says that it is there."""
        await self.opened()
        if not NAME.fullmatch(task.attempt):
            raise EngineError(fault("CONTRACT_MISMATCH", "An attempt is named by 1 to 64 of a-z, 0-9 and -."))
        self._closed = False
        if await taking.take(self.root, task, reading):
            self._enqueue(task.attempt)
            with suppress(OSError):
                await asyncio.to_thread(taking.tidied, self.root, *self._keep)
        return Accepted(task.attempt)

    async def find(self, attempt: str) -> Accepted | None:
        """The task of an attempt, or nothing: it certainly was not taken."""
        await self.opened()
        there = NAME.fullmatch(attempt) and await asyncio.to_thread(AttemptFolder(self.root / attempt).exists)
        return Accepted(attempt) if there else None

    async def poll(self, accepted: Accepted) -> Outcome:
        """How it stands. What nobody works on is begun again here."""
        folder = await self._folder(accepted)
        if folder is None:
            return Lost()
        return await asyncio.to_thread(self._ended, folder) or await self._under_way(folder)

    async def cancel(self, accepted: Accepted) -> Cancelling:
        folder = await self._folder(accepted)
        if folder is None:
            return Cancelling.UNKNOWN_TASK
        attempt = folder.path.name
        if folder.outcome() is None:
            await asyncio.to_thread(folder.ask_to_cancel)
            if attempt in self._waiting:
                self._waiting.remove(attempt)
                self._let_go(attempt)
            running = self._running.get(attempt)
            if running is not None:
                self._dropped.add(attempt)
                running.cancel()
                await asyncio.wait([running])
            elif await asyncio.to_thread(folder.taken):
                return Cancelling.REQUESTED
            await asyncio.to_thread(folder.settle, CANCELLED)
        cancelled = isinstance(await asyncio.to_thread(self._ended, folder), Cancelled)
        return Cancelling.CANCELLED if cancelled else Cancelling.TOO_LATE

    @asynccontextmanager
    async def fetch(self, accepted: Accepted, product: Product) -> AsyncIterator[AsyncIterator[bytes]]:
        """The bytes of a product that the outcome names."""
        folder = await self._folder(accepted)
        ended = None if folder is None else await asyncio.to_thread(self._ended, folder)
        if folder is None or not isinstance(ended, Done) or product.name not in {one.name for one in ended.products}:
            raise EngineError(fault("JOB_LOST", "The engine does not have this file any more."))
        file = None
        with suppress(OSError):
            file = await asyncio.to_thread((folder.products / product.name).open, "rb")
        if file is None:
            raise EngineError(fault("JOB_LOST", "The engine does not have this file any more."))
        try:
            yield self._pieces(file)
        finally:
            file.close()

    async def close(self) -> None:
        """Ends the processes; what they had not finished waits for whoever asks next."""
        self._closed = True
        while self._waiting:
            self._let_go(self._waiting.pop())
        running = [*self._running.values()]
        for one in running:
            one.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    @staticmethod
    async def _pieces(file: Any) -> AsyncIterator[bytes]:
        while piece := await asyncio.to_thread(file.read, PIECE):
            yield piece

    async def _folder(self, accepted: Accepted) -> AttemptFolder | None:
        await self.opened()
        folder = AttemptFolder(self.root / accepted.external_id) if NAME.fullmatch(accepted.external_id) else None
        return folder if folder is not None and await asyncio.to_thread(folder.exists) else None

    @staticmethod
    def _ended(folder: AttemptFolder) -> Outcome | None:
        try:
            match folder.outcome():
                case None:
                    return None
                case {"done": {"products": products, "facts": facts}}:
                    return Done([Product(name, media_type, {}) for name, media_type in products], 0.0, "credits", facts)
                case {"failed": {"code": code, "message": message, "detail": detail}} if code in CODES:
                    return Failed(Fault(code=code, message=message, detail=detail))
                case {"cancelled": True}:
                    return Cancelled()
        except (ValueError, TypeError, OSError, RecursionError):
            pass
        raise EngineError(fault("ENGINE_ERROR", "What the engine wrote about this task's end cannot be read."))

    async def _under_way(self, folder: AttemptFolder) -> Outcome:
        attempt = folder.path.name
        if attempt in self._waiting:
            return Waiting(self._waiting.index(attempt))
        if attempt in self._running or await asyncio.to_thread(folder.taken):
            if not folder.begun():
                return Waiting()
            return Working(*await asyncio.to_thread(folder.progress))
        if folder.asked_to_cancel():
            folder.settle(CANCELLED)
        elif folder.begun() >= BEGINNINGS:
            folder.settle(failed(fault("ENGINE_ERROR", f"This was begun {folder.begun()} times, and each time its "
                                                       "process ended together with its worker.")))
        else:
            self._enqueue(attempt)
            return Waiting()
        return self._ended(folder) or Lost()

    def _enqueue(self, attempt: str) -> None:
        folder = AttemptFolder(self.root / attempt)
        if attempt in self._kept or self._closed or not folder.acquire("keeper"):
            return
        self._kept[attempt] = folder
        self._waiting.append(attempt)
        self._start()

    def _let_go(self, attempt: str) -> None:
        if attempt in self._kept:
            self._kept.pop(attempt).release("keeper")

    def _start(self) -> None:
        while self._waiting and len(self._running) < self._slots and not self._closed:
            attempt = self._waiting.pop(0)
            self._running[attempt] = running = asyncio.create_task(self._run(attempt), name=f"attempt {attempt}")
            running.add_done_callback(lambda _, attempt=attempt: self._over(attempt))  # also when it never began

    def _over(self, attempt: str) -> None:
        self._dropped.discard(attempt)
        self._running.pop(attempt, None)
        self._let_go(attempt)
        self._start()

    async def _run(self, attempt: str) -> None:
        folder = AttemptFolder(self.root / attempt)
        try:
            await self._child(folder)
        except asyncio.CancelledError:
            if attempt not in self._dropped and not (folder.path / "outcome.json").exists():
                folder.put_back()
        except OSError:
            with suppress(OSError):
                folder.settle(failed(fault("ENGINE_ERROR", "The engine's process cannot be started.")))

    async def _child(self, folder: AttemptFolder) -> None:
        try:
            seconds = float(folder.order()["seconds"])
        except (OSError, ValueError, KeyError, TypeError):
            folder.settle(failed(fault("ENGINE_ERROR", "The order of this task cannot be read.")))
            return
        with (folder.path / "said").open("wb") as said:
            child = await asyncio.create_subprocess_exec(
                *self._program, str(folder.path), stdin=asyncio.subprocess.PIPE, stdout=said, stderr=said,
                env=self._environment, start_new_session=True,
            )
        try:
            async with asyncio.timeout(seconds):
                code = await child.wait()
        except TimeoutError:
            await _end(child)
            folder.settle(failed(fault("ENGINE_TIMEOUT", f"It was not finished after {seconds:g} seconds.")))
            return
        finally:
            await _end(child)
        if code != OCCUPIED:
            folder.settle(failed(_silent(code)))


def failed(why: Fault) -> dict[str, Any]:
    """A failure as ``outcome.json`` has it."""
    return {"failed": {"code": why.code, "message": why.message, "detail": dict(why.detail)}}


def _silent(code: int) -> Fault:
    if code < 0:
        return fault("ENGINE_ERROR", "The process was ended from outside, perhaps for want of memory.", signal=-code)
    return fault("ENGINE_ERROR", "The process ended without saying why.", exit_code=code)


async def _end(child: asyncio.subprocess.Process) -> None:
    """Ends a child and everything that it has started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    waiting = asyncio.ensure_future(child.wait())
    while not waiting.done():
        try:
            await asyncio.shield(waiting)
        except asyncio.CancelledError:
            continue  # it has been killed, so this takes no time
