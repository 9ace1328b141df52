"""The auditor: follows the log, keeps a hash of every position, and signs checkpoints of the whole past."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final, NamedTuple

import structlog

from domain.errors import ComfyVNError, Refused, Remedy, Unavailable
from domain.ports import Chain, Log, Recorded
from services.sealing import (
    CHECKPOINT_EVERY,
    GENESIS,
    Checkpoint,
    Signer,
    is_signed,
    linked,
    new_pair,
    public_key,
    unheld,
)
from services.studio import utc_now
from services.verification import Finding, Verified, verify_file, verify_log

__all__ = ["AuditStatus", "Auditor", "Finding", "Verified", "verify_file", "verify_log"]

BATCH: Final = 1000
"""Positions that are written, and flushed to disk, at once."""

LINGER_SECONDS: Final = 0.5
"""Longest wait of a hash for others to be written with."""

log = structlog.get_logger("audit")


class AuditStatus(NamedTuple):
    """How far the audit is: ``position`` has a hash on disk, ``signed`` stands under a checkpoint.

    ``problem`` is a sentence when the audit cannot go on; ``key`` the public key's SHA-256.
    """

    position: int
    signed: int
    key: str
    problem: str


class Auditor:
    """Keeps one chain for one log. Only one may run per chain."""

    def __init__(self, log: Log, chain: Chain, *, clock: Callable[[], str] = utc_now) -> None:
        self.log = log
        self.chain = chain
        self.clock = clock
        self._signer: Signer | None = None
        self._position = 0
        self._hash = GENESIS
        self._unwritten: list[bytes] = []
        self._number = 0
        self._signed = 0
        self._expected: dict[int, str] = {}
        self._problem = ""

    def status(self) -> AuditStatus:
        """How far it is; answers at once."""
        written = self._position - len(self._unwritten)
        return AuditStatus(written, self._signed, self._signer.fingerprint if self._signer else "", self._problem)

    async def run(self) -> None:
        """Follows the log until cancelled, then writes what it has and signs it.

        What cannot be written now is tried again; where the log is not the one that the chain was made of, the audit
        stands still, says so in ``status`` and leaves the evidence as it is.
        """
        pause = 0.5
        while True:
            try:
                await self._open()
                self._problem, pause = "", 0.5
                await self._follow()
                await asyncio.sleep(pause)
            except Unavailable as error:
                self._stumbled(error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 30.0)
            except ComfyVNError as error:
                self._stumbled(error)
                await asyncio.Event().wait()
            finally:
                if not self._problem:
                    self._finish()

    async def catch_up(self) -> AuditStatus:
        """Counts up to the log's end as it is now and signs that; raises what ``run`` would only report."""
        await self._open()
        async for batch in self.log.read(after=self._position, upto=(head := await self.log.head())):
            self._count(batch)
            await self._write()
        self._count_nothing(head)
        await self._write()
        await asyncio.to_thread(self._sign)
        return self.status()

    # --- following ------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        stream = self.log.follow(after=self._position)
        waiting: asyncio.Task[list[Recorded] | None] | None = None
        loop = asyncio.get_running_loop()
        due = 0.0
        try:
            while True:
                waiting = waiting or asyncio.create_task(_next(stream))
                left = max(0.0, due - loop.time()) if self._unwritten else None
                done, _ = await asyncio.wait({waiting}, timeout=left)
                if done:
                    if not self._unwritten:
                        due = loop.time() + LINGER_SECONDS
                    batch, waiting = waiting.result(), None
                    if batch is None:
                        return
                    self._count(batch)
                if len(self._unwritten) >= BATCH or (self._unwritten and loop.time() >= due):
                    await self._write()
        finally:
            if waiting is not None:
                waiting.cancel()
                with contextlib.suppress(asyncio.CancelledError, ComfyVNError):
                    await waiting
            if (close := getattr(stream, "aclose", None)) is not None:
                await close()

    def _count(self, batch: Sequence[Recorded]) -> None:
        for event in batch:
            self._count_nothing(event.position - 1)
            self._add(linked(self._hash, event))

    def _count_nothing(self, upto: int) -> None:
        while self._position < upto:
            self._add(unheld(self._hash, self._position + 1))

    def _add(self, digest: bytes) -> None:
        self._position += 1
        self._hash = digest
        self._unwritten.append(digest)
        told = self._expected.pop(self._position, None)
        if told is not None and told != digest.hex():
            raise _other_log(self._position, "a signed checkpoint there names another hash")

    async def _write(self) -> None:
        if not self._unwritten:
            return
        count = len(self._unwritten)
        await asyncio.to_thread(self.chain.extend, self._position - count, b"".join(self._unwritten))
        self._unwritten.clear()
        self._problem = ""
        if self._position - self._signed >= CHECKPOINT_EVERY:
            await asyncio.to_thread(self._sign)

    def _sign(self) -> None:
        if self._position > self._signed and self._signer is not None:
            checkpoint = self._signer.sign(self._number + 1, self._position, self._hash, self.clock())
            self.chain.state(checkpoint.line())
            self._number, self._signed = checkpoint.number, checkpoint.position

    def _finish(self) -> None:
        # Blocking on purpose: this runs while the process is being stopped, and takes two small writes.
        try:
            if self._unwritten:
                self.chain.extend(self._position - len(self._unwritten), b"".join(self._unwritten))
                self._unwritten.clear()
            self._sign()
        except ComfyVNError as error:
            self._stumbled(error)

    # --- opening --------------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        self._unwritten.clear()
        self._position = await asyncio.to_thread(self._restore)
        head = await self.log.head()
        if head < self._position:
            raise _other_log(head + 1, f"the chain goes on to position {self._position}")
        if self._position:
            await self._check_end()
        if self._position - self._signed >= CHECKPOINT_EVERY:
            await asyncio.to_thread(self._sign)

    def _restore(self) -> int:
        position = self.chain.mend()
        private = self.chain.key() or self.chain.keep_key(*new_pair())
        self._signer = Signer(private)
        if self.chain.public_key() is None:  # a crash came between the two halves
            self.chain.keep_key(private, self._signer.public)
        key = public_key(self._signer.public)
        known = [one for line in self.chain.statements() if (one := Checkpoint.of(line)) and is_signed(one, key)]
        self._number = max((one.number for one in known), default=0)
        self._signed = max((one.position for one in known), default=0)
        self._expected = {one.position: one.digest for one in known if one.position > position}
        self._hash = self.chain.hashes(position, 1) if position else GENESIS
        return position

    async def _check_end(self) -> None:
        """Whether the newest hash is that of the log's event; the whole is the business of ``verify_log``."""
        position = self._position
        before = self.chain.hashes(position - 1, 1) if position > 1 else GENESIS
        there: list[Recorded] = []
        async for batch in self.log.read(after=position - 1, upto=position):
            there += batch
        if (linked(before, there[0]) if there else unheld(before, position)) != self._hash:
            raise _other_log(position, "the event there is not the one that was hashed")

    def _stumbled(self, error: ComfyVNError) -> None:
        if error.message != self._problem:
            log.error("audit stands still", error=error.code, message=error.message, **error.detail)
        self._problem = error.message


async def _next(stream: AsyncIterator[list[Recorded]]) -> list[Recorded] | None:
    return await anext(stream, None)


def _other_log(position: int, why: str) -> Refused:
    return Refused(
        f"The log is not what the audit has hashed: at position {position}, {why}.",
        error="audit_contradicted",
        remediation=[
            Remedy("Run `comfyvn log verify` to see what was changed.", "verify_log"),
            Remedy("After restoring a backup, restore its audit folder too, or move the folder away.", "restore_audit"),
        ],
        detail={"position": position},
    )
