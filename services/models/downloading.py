"""One download from beginning to end: room, bytes, checksum, what is in it, and its name in the models folder."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from threading import Event
from typing import BinaryIO, Final

from domain.ports.downloads import Source, SourceError
from domain.ports.model_files import FilesError, ModelFiles, Part
from domain.studio.fault import fault
from domain.studio.model import Order, Phase, Result
from services.models.fetching import Failed, Fetch, Patience
from services.models.judging import Judged, NotThat, judged
from services.models.settled import settled

HASHED_BYTES: Final = 2**20

WAIT_SECONDS: Final = 1.0
"""How often one looks whether another process is done with the same file."""


@dataclass(slots=True)
class Download:
    """One file on its way into the models folder. ``phase``, ``done`` and ``total`` say how far it is; ``name`` tells
    this download from others of the same file."""

    source: Source
    files: ModelFiles
    order: Order
    limit: int
    patience: Patience = Patience()  # noqa: RUF009 - frozen
    name: str = ""
    phase: Phase = "waiting"
    done: int = 0
    total: int = 0
    _stop: Event = field(default_factory=Event)

    async def run(self) -> Result:
        """The file, once it is in its place. Raises ``Failed``, ``NotThat``, ``FilesError``; what came stays for the
        next time, unless it is of no use."""
        entry = self.order.entry
        self.total = entry.size_bytes or 0
        self._tell("connecting")
        while True:
            with self.files.part(entry.folder, entry.filename) as part:
                if part is not None:
                    return await self._held(part)
            # Another worker has the same file in hand: when it is done, it is there.
            self._tell("waiting")
            await asyncio.sleep(WAIT_SECONDS)

    async def _held(self, part: Part) -> Result:
        entry = self.order.entry
        there = await asyncio.to_thread(self.files.found, entry.folder, entry.filename)
        if there is not None:
            return await self._reused(part)
        try:
            self.source.check(entry.url)
        except SourceError as error:
            raise Failed(error.fault, keep=False) from None
        try:
            digest, resumed = await self._fetched(part)
            if entry.sha256 not in (None, digest) and resumed:
                # Of two halves one was another file's, although the server said otherwise. Once more, as a whole.
                await settled(part.empty)
                digest, _ = await self._fetched(part)
            size = await settled(part.size)
            if entry.sha256 not in (None, digest):
                raise Failed(fault(
                    "CHECKSUM_MISMATCH", "The bytes are not those that were promised; they were thrown away.",
                    expected=entry.sha256, got=digest, size=size,
                ), keep=False)
            what = await self._judged(part, size)
            self._tell("placing", size, size)
            if self.name:  # whoever dies between placing the file and saying so leaves one that nobody speaks of
                await settled(part.remember, {**await settled(part.memo), "placed": digest, "by": self.name})
            await settled(partial(part.place, remembered=bool(self.name)))
        except (Failed, NotThat) as error:
            if isinstance(error, NotThat) or not error.keep or not await settled(part.size):
                await settled(part.discard)
            raise
        except FilesError:
            with suppress(FilesError):
                if not await settled(part.size):
                    await settled(part.discard)
            raise
        except FileExistsError:
            return await self._reused(part)
        return Result(path=entry.path, sha256=digest, size_bytes=size, format=what.format, detail=what.detail)

    async def _fetched(self, part: Part) -> tuple[str, bool]:
        entry = self.order.entry
        allowed = min(self.limit, entry.size_bytes or self.limit)
        fetch = Fetch(
            self.source, part, entry, allowed, self.order.pickle,
            lambda done, total: self._tell("downloading", done, total or self.total), self.patience,
        )
        await fetch.run()
        size = await settled(part.size)

        def whole() -> str:
            with part.opened() as file:
                return self._digest(file, size)

        return await settled(whole, stop=self._stop.set), fetch.resumed

    async def _judged(self, part: Part, size: int) -> Judged:
        def look() -> Judged:
            with part.opened() as file:
                return judged(file, size, self.order.entry.filename, pickle=self.order.pickle)

        return await settled(look)

    async def _reused(self, part: Part) -> Result:
        """The file that is there already, when it is the right one. It is never written over."""
        entry = self.order.entry
        memo = await settled(part.memo)
        ours = str(memo.get("placed", "")) if self.name and memo.get("by") == self.name else ""
        if not ours:
            await settled(part.discard)
        wanted = entry.sha256 or ours

        def look() -> tuple[str, int, Judged]:
            with self.files.read(entry.folder, entry.filename) as file:
                length = file.seek(0, 2)
                digest = self._digest(file, length)
                if digest != wanted:
                    return digest, length, Judged("", {})
                return digest, length, judged(file, length, entry.filename, pickle=self.order.pickle)

        digest, length, what = await settled(look, stop=self._stop.set)
        if digest != wanted:
            why = "is another file" if entry.sha256 else "is there, and no checksum says whether it is the right one"
            raise Failed(fault(
                "TARGET_EXISTS", f"models/{entry.path} {why}; it was left as it is.", path=entry.path, found=digest,
                expected=entry.sha256,
            ))
        return Result(path=entry.path, sha256=digest, size_bytes=length, format=what.format,
                      reused=not ours, detail=what.detail)

    @staticmethod
    def forgotten(files: ModelFiles, order: Order, name: str) -> None:
        """Once everybody knows that the file is there, nothing about a download needs to be remembered. Blocking."""
        with suppress(FilesError), files.part(order.entry.folder, order.entry.filename) as part:
            if part is not None and (part.memo().get("by") == name or not (part.size() or part.memo())):
                part.discard()

    def _digest(self, file: BinaryIO, size: int) -> str:
        found, done = sha256(), 0
        file.seek(0)
        while not self._stop.is_set() and (piece := file.read(HASHED_BYTES)):
            found.update(piece)
            done += len(piece)
            self._tell("checking", done, size)
        return found.hexdigest()

    def _tell(self, phase: Phase, done: int | None = None, total: int | None = None) -> None:
        self.phase = phase
        if done is not None and total is not None:
            self.done, self.total = done, total

