"""Whether the past is as it was: the log, its chain of hashes and the signed checkpoints are compared."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Literal, NamedTuple

from domain.ports import Chain, Log, Recorded
from services.sealing import (
    CHECKPOINT_EVERY,
    GENESIS,
    HASH,
    Checkpoint,
    fingerprint,
    is_signed,
    linked,
    public_key,
    unheld,
)
from services.tampering import WINDOW, Evidence, diagnosis
from services.transfer import Report, read_lines, silent

Kind = Literal[
    "changed", "removed", "inserted", "reordered", "truncated", "rewritten", "chain_altered", "chain_cut",
    "chain_missing", "checkpoint_forged", "checkpoint_missing", "key_replaced",
]


class Finding(NamedTuple):
    """What is wrong. ``position`` is the first one that it is about, 0 for none; ``message`` a sentence."""

    kind: Kind
    position: int
    message: str


class Verified(NamedTuple):
    """What was found.

    ``ok`` when nothing is wrong with what can be compared; ``head`` the newest position seen, ``checked`` how many
    positions were compared with their hash or lie under a checkpoint, ``unaudited`` how many at the end have neither
    yet. ``signed`` is the newest position under a good signature by ``key`` (SHA-256 of the public key),
    ``checkpoints`` their number, ``digest`` the hash at ``checked``. ``notes`` say what can and cannot be claimed.
    """

    ok: bool
    head: int
    checked: int
    unaudited: int
    signed: int
    checkpoints: int
    key: str
    digest: str
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    @property
    def first(self) -> Finding | None:
        """The finding with the smallest position."""
        return min(self.findings, key=lambda one: (one.position or 2**63), default=None)


async def verify_log(
    log: Log, chain: Chain, report: Report = silent, *, trusted: bytes | None = None
) -> Verified:
    """Computes every hash again and compares.

    ``trusted`` is the public key (PEM) that was kept elsewhere; without it the one beside the chain is believed, and
    whoever may write there may have replaced it.
    """
    head = await log.head()
    return await _Verification(chain, trusted, report).over(log.read(upto=head), head)


async def verify_file(
    lines: Iterable[bytes], chain: Chain, report: Report = silent, *, trusted: bytes | None = None, total: int = 0
) -> Verified:
    """The same for an exported log: on another machine, with a copy of the checkpoints and the public key."""
    return await _Verification(chain, trusted, report).over(read_lines(lines), total)


class _Verification:
    def __init__(self, chain: Chain, trusted: bytes | None, report: Report) -> None:
        self.chain = chain
        self.trusted = trusted
        self.report = report
        self.findings: list[Finding] = []
        self.notes: list[str] = []
        self.key = ""
        self.length = 0
        self.stopped = False
        self.promised: dict[int, Checkpoint] = {}

    async def over(self, batches: AsyncIterator[list[Recorded]], head: int) -> Verified:
        self.length = await asyncio.to_thread(self.chain.length)
        statements = await asyncio.to_thread(self._statements)
        self.promised = {one.position: one for one in statements}
        newest = max(self.promised, default=0)
        if self.length < newest:
            self._cut(newest)
        position, digest = await self._walk(batches, head)
        covered = min(position - self.stopped, max(self.length, newest))
        if self.key and self.length - newest > 4 * CHECKPOINT_EVERY:
            self._found("checkpoint_missing", newest + 1, f"After position {newest} there should be a checkpoint "
                        f"every {CHECKPOINT_EVERY} positions.")
        if not self.stopped and position < max(self.length, newest):
            what = "the chain of hashes goes" if self.length >= newest else "a signed checkpoint speaks"
            self._found("truncated", position + 1, f"The log ends at position {position}, but {what} on to position "
                        f"{max(self.length, newest)}: the newest events were removed, or an older state was restored.")
        if not self.length and not self.promised and position:
            self._found("chain_missing", 0, "There is no chain of hashes and no signed checkpoint: nothing can be "
                        "claimed about the past. From the next start on, the audit hashes the log as it is then.")
        unaudited = 0 if self.stopped else position - covered
        if unaudited and covered:
            self.notes.append(f"Positions {covered + 1} to {position} are not hashed yet; nothing is claimed of them.")
        return Verified(
            not self.findings, position, covered, unaudited, newest, len(statements), self.key, digest.hex(),
            tuple(self.findings), tuple(self.notes),
        )

    # --- the chain --------------------------------------------------------------------------------------------------

    async def _walk(self, batches: AsyncIterator[list[Recorded]], head: int) -> tuple[int, bytes]:
        """Up to the first contradiction, or to the end: the last position and its hash."""
        position, digest, good = 0, GENESIS, 0
        async for batch in batches:
            first, last = position + 1, batch[-1].position
            stored = await asyncio.to_thread(self.chain.hashes, first, last - position)
            for event in _with_holes(batch, first):
                position += 1
                before, promise = digest, self.promised.get(position)
                digest = linked(digest, event) if isinstance(event, Recorded) else unheld(digest, position)
                told = stored[(position - first) * HASH : (position - first + 1) * HASH]
                agrees = promise is not None and promise.digest == digest.hex()
                if told and told != digest:
                    self.stopped = True
                    if agrees:
                        self._found("chain_altered", position, f"The log is as it was signed at position {position}, "
                                    "but the chain's hash of it is another one.")
                    else:
                        await self._diagnose(batch, batches, position, before)
                    return position, before
                if promise is not None and not agrees:
                    self.stopped = True
                    self._rewritten(good, position, bool(told))
                    return position, before
                good = position if agrees else good
            self.report(position, head)
        return position, digest

    async def _diagnose(
        self, batch: list[Recorded], batches: AsyncIterator[list[Recorded]], position: int, before: bytes
    ) -> None:
        events = {one.position: one for one in batch if one.position >= position}
        async for more in batches:
            if len(events) > WINDOW:
                break
            events |= {one.position: one for one in more}
        stored = await asyncio.to_thread(self.chain.hashes, position, WINDOW + 2)
        kind, message = diagnosis(Evidence(position, before, events, stored))
        self._found(kind, position, message)

    def _rewritten(self, good: int, position: int, has_chain: bool) -> None:
        where = f"between positions {good + 1} and {position}"
        if has_chain:
            what = f"The log and its chain agree, but the signed checkpoint at {position} does not: both were rewritten"
        else:
            what = f"The log does not lead to the signed checkpoint at {position}: it was rewritten"
        since = f"Up to position {good} it is as it was signed." if good else "No earlier checkpoint narrows it down."
        self._found("rewritten", good + 1, f"{what} somewhere {where}. {since}")

    def _cut(self, newest: int) -> None:
        if self.length:
            self._found("chain_cut", self.length + 1, f"The chain of hashes ends at position {self.length}, but a "
                        f"signed checkpoint speaks of position {newest}: hashes were cut off.")
        else:
            self.notes.append("The chain of hashes is missing. The log is compared with the signed checkpoints alone: "
                              "a change is seen, but only between which two of them it lies.")

    # --- the checkpoints --------------------------------------------------------------------------------------------

    def _statements(self) -> list[Checkpoint]:
        lines = self.chain.statements()
        own = self.chain.public_key()
        pem = self.trusted or own
        if pem is None:
            if lines:
                self.notes.append("There is no public key: signatures were not checked, and no checkpoint counts.")
            return []
        key = public_key(pem)
        self.key = fingerprint(key)
        if self.trusted is None:
            self.notes.append(f"Signatures were checked with the key that lies beside the chain ({self.key[:16]}…). "
                              "Only a copy that was kept elsewhere proves that nobody replaced it.")
        elif own is not None and fingerprint(public_key(own)) != self.key:
            self._found("key_replaced", 0, "The public key beside the chain is not the trusted one.")
        good: list[Checkpoint] = []
        expected = 1
        for number, line in enumerate(lines, start=1):
            found = Checkpoint.of(line)
            if found is None or not is_signed(found, key):
                position = found.position if found else 0
                self._found("checkpoint_forged", position, f"Line {number} of the checkpoints"
                            f"{f' (position {position})' if position else ''} was not signed with this key.")
                expected = found.number + 1 if found else expected + 1
                continue
            if found.number != expected or (good and found.position <= good[-1].position):
                self._found("checkpoint_missing", found.position, f"Before checkpoint {found.number} (position "
                            f"{found.position}) there should be checkpoint {expected}.")
            expected = found.number + 1
            good.append(found)
        return good

    def _found(self, kind: Kind, position: int, message: str) -> None:
        self.findings.append(Finding(kind, position, message))


def _with_holes(batch: list[Recorded], first: int) -> Iterable[Recorded | int]:
    """Every position from ``first`` to the last event: the event, or the bare position where there is none."""
    expected = first
    for event in batch:
        while expected < event.position:
            yield expected
            expected += 1
        yield event
        expected += 1
