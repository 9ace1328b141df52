"""Getting one append recorded exactly once: ask, and when the answer is unclear look whether it is there.

The expected position makes asking again safe: events that were recorded after all make the repeated request fail
with "wrong last sequence", and reading the stream tells whose events stand there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from secrets import token_urlsafe
from typing import Final, Literal, NamedTuple

import orjson

from adapters.nats.connection import Connection, Lost, NotConnected, Unanswered
from adapters.nats.reading import Reader
from adapters.nats.settling import look
from domain.errors import ComfyVNError, Invalid, Remedy, Unavailable
from domain.ports import Commit, Conflict

MOVED: Final = frozenset({10071, 10164, 10201})
"""Wrong last sequence (with and without its number), and a batch that repeats messages."""

FULL: Final = frozenset({10023, 10028, 10047, 10077})
"""No room: resources, memory, storage, and a store that could not write."""

TOO_LARGE: Final = frozenset({10054, 10199})
"""A message above the stream's limit; a batch above the server's."""

WRITING_SECONDS: Final = 2.0
"""Longest time that a batch is taken to be half written when nothing else follows it."""

Verdict = Literal["recorded", "moved", "full", "too_large", "again"]


@dataclass(slots=True)
class Entry:
    """One append under way. ``messages`` are (subject, header lines, body, expected position on a stream's first).

    ``uncertain``: something was sent and no answer came, so the events may be there.
    """

    commits: tuple[Commit, ...]
    messages: list[tuple[str, bytes, bytes, int | None]]
    size: int
    subjects: frozenset[str]
    deadline: float
    future: asyncio.Future[tuple[int, ...]]
    uncertain: bool = False

    def succeed(self, positions: Sequence[int]) -> None:
        """Answers the caller, if there still is one."""
        if not self.future.done():
            self.future.set_result(tuple(positions))

    def fail(self, error: Exception) -> None:
        """Tells the caller, if there still is one."""
        if not self.future.done():
            self.future.set_exception(error)


class Answer(NamedTuple):
    """What the server said: the last recorded position, or an error's code and words."""

    verdict: Verdict
    position: int = 0
    reason: str = ""


class Publisher:
    """Sends entries to one stream."""

    def __init__(self, connection: Connection, reader: Reader, *, attempt_seconds: float = 2.5) -> None:
        self.connection = connection
        self.reader = reader
        self.attempt_seconds = attempt_seconds
        self.lack: Callable[[], str] = str
        """Why there is no room for anything; empty where there is, or where nobody here can see the disk."""
        # Entries with several events that are tried alone are batches: the server takes 50 of them at once.
        self._batches = asyncio.Semaphore(16)

    def overtaken(self, entry: Entry) -> bool:
        """Whether a stream is known to have grown past what the entry expects."""
        return any(self.reader.known(commit.stream.subject) > commit.expected for commit in entry.commits)

    async def together(self, entries: Sequence[Entry], batch: str) -> bool:
        """Several entries as one batch; whether all are recorded. If not, nothing of them is, or nobody knows."""
        messages = [message for entry in entries for message in entry.messages]
        try:
            answer = await self._send(messages, batch, min(entry.deadline for entry in entries))
        except (Unanswered, NotConnected):
            return False
        except (Lost, TimeoutError):
            for entry in entries:
                entry.uncertain = True
            return False
        if answer.verdict != "recorded":
            return False
        position = answer.position - len(messages)
        for entry in entries:
            self._recorded(entry, range(position + 1, position + 1 + len(entry.messages)))
            position += len(entry.messages)
        return True

    async def alone(self, entry: Entry) -> None:
        """Tries one entry until it is recorded, refused, or out of time; its future gets the outcome."""
        try:
            entry_positions = await self._alone(entry)
        except (ComfyVNError, Conflict) as error:
            entry.fail(error)
        else:
            self._recorded(entry, entry_positions)

    async def _alone(self, entry: Entry) -> Sequence[int]:
        loop = asyncio.get_running_loop()
        pause, begun_since = 0.01, 0.0
        answer = Answer("moved") if self.overtaken(entry) else None
        while True:
            if answer is None:
                answer = await self._attempt(entry)
            match answer.verdict:
                case "recorded":
                    return range(answer.position - len(entry.messages) + 1, answer.position + 1)
                case "moved":
                    # Neither there nor overtaken: an earlier try is still on its way, and the next one will tell.
                    found = await look(self.reader, entry.commits)
                    if found.positions is not None:
                        return found.positions
                    begun_since = begun_since or (loop.time() if found.begun else 0.0)
                    if begun_since and loop.time() - begun_since > WRITING_SECONDS:
                        raise Conflict(found.begun)
                case "full":
                    if not entry.uncertain:
                        raise full(answer.reason)
                case "too_large":
                    raise _refused_as_too_large(answer.reason)
            reason, answer = answer.reason, None
            if loop.time() + pause >= entry.deadline or self.connection.is_closed:
                raise out_of_time(entry, self.lack() or reason)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.5)
            if not await self.connection.ready(entry.deadline - loop.time()):
                raise out_of_time(entry, self.lack() or reason)

    async def _attempt(self, entry: Entry) -> Answer:
        try:
            if len(entry.messages) == 1:
                return await self._send(entry.messages, "", entry.deadline)
            async with self._batches:
                return await self._send(entry.messages, token_urlsafe(9), entry.deadline)
        except Unanswered:
            return Answer("again", reason="the log has no leader at the moment")
        except NotConnected as error:
            return Answer("again", reason=str(error))
        except Lost as error:
            entry.uncertain = True
            return Answer("again", reason=str(error))
        except TimeoutError:
            entry.uncertain = True
            await self.connection.doubt()
            return Answer("again", reason="the log did not answer in time")

    async def _send(
        self, messages: Sequence[tuple[str, bytes, bytes, int | None]], batch: str, deadline: float
    ) -> Answer:
        left = deadline - asyncio.get_running_loop().time()
        seconds = max(0.5, min(self.attempt_seconds + len(messages) / 200, left))
        if not batch:
            subject, headers, body, expected = messages[0]
            headers += b"Nats-Expected-Last-Subject-Sequence: %d\r\n" % (expected or 0)
            _, told = await self.connection.ask(subject, body, headers, seconds=seconds)
            return _understood(told)
        name = batch.encode()
        sent = []
        for index, (subject, headers, body, expected) in enumerate(messages, 1):
            headers += b"Nats-Batch-Id: %b\r\nNats-Batch-Sequence: %d\r\n" % (name, index)
            if expected is not None:
                headers += b"Nats-Expected-Last-Subject-Sequence: %d\r\n" % expected
            if index == len(messages):
                headers += b"Nats-Batch-Commit: 1\r\n"
            sent.append((subject, headers, body))
        _, told = await self.connection.ask_batch(sent, seconds=seconds)
        return _understood(told)

    def _recorded(self, entry: Entry, positions: Sequence[int]) -> None:
        end = 0
        for commit in entry.commits:
            end += len(commit.events)
            if commit.events:
                self.reader.saw(commit.stream.subject, positions[end - 1])
        entry.succeed(positions)


def _understood(body: bytes) -> Answer:
    try:
        told = orjson.loads(body)
        error = told.get("error")
        if error is None:
            return Answer("recorded", int(told["seq"]))
        code, reason = error.get("err_code", 0), str(error.get("description", "unknown error"))
    except (ValueError, KeyError, AttributeError):
        return Answer("again", reason="the log gave an answer that is not understood")
    if code in MOVED:
        return Answer("moved", reason=reason)
    if code in FULL:
        return Answer("full", reason=reason)
    return Answer("too_large" if code in TOO_LARGE else "again", reason=f"{reason} ({code})")


def out_of_time(entry: Entry, reason: str) -> Unavailable:
    """The append was given up; whether its events are there is said plainly."""
    if entry.uncertain:
        return Unavailable(
            f"The log did not confirm this in time ({reason}), so it is not known whether it was recorded.",
            error="log_outcome_unknown",
            remediation=[Remedy("Repeat it with the same Idempotency-Key: it takes effect once.", "retry_same_key")],
        )
    return Unavailable(
        f"The log cannot record anything now ({reason}); nothing was recorded.",
        error="log_unreachable",
        remediation=[Remedy("Try again; if it lasts, check the NATS server with comfyvn doctor.", "retry")],
    )


def full(reason: str) -> Unavailable:
    """There is no room for an append, which was not sent or not taken."""
    return Unavailable(
        f"The log has no room left ({reason}); nothing was recorded.",
        error="log_full",
        remediation=[Remedy("Free disk space or raise the storage limit of JetStream, then try again.", "free_space")],
    )


def _refused_as_too_large(reason: str) -> Invalid:
    return Invalid(
        f"The log does not take an event or a batch of this size: {reason}.",
        error="event_too_large",
        remediation=[Remedy("Divide the change into smaller ones.", "divide")],
    )
