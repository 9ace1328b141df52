"""Bytes that no event names: what a crash between storing and recording has left behind, found and taken away.

Bytes are stored before the event that names them, so that an event never speaks of bytes that are not there. Whoever
dies in between leaves an orphan. It is harmless, and it is found by comparing what is stored with what the log names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple

import structlog

from domain.ports import Blobs, KeptBlob, Log, Recorded
from domain.studio.job import (
    CATEGORY,
    AttemptAccepted,
    AttemptFailed,
    AttemptLost,
    AttemptResolved,
    JobCancelled,
    JobCompleted,
    JobFailed,
    JobLost,
    StepFinished,
)

GRACE_SECONDS: Final = 24 * 3600.0
"""How long bytes may lie there before nobody is about to name them any more."""

CLOCK_SECONDS: Final = 60.0
"""How far the clocks of a store and of whoever recorded events may differ."""

ENVELOPE: Final = b'{"schema": "comfyvn.playtest.trace.'
"""How a stored trace of a playtest begins: people were given its digest, and no event is."""

TOGETHER: Final = 200
"""Blobs that are discarded between two looks at what the log names by now."""

_DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")

_BEGUN: Final = frozenset({AttemptAccepted.__name__, AttemptResolved.__name__})
_ENDED: Final = frozenset(one.__name__ for one in (
    AttemptFailed, AttemptLost, StepFinished, JobCompleted, JobFailed, JobCancelled, JobLost,
))

Report = Callable[[int, int], None]

Reason = Literal["", "fresh", "job", "trace"]
"""Why an orphan stays: it was stored a moment ago, a job is at work that may be about to name it, or it is a trace."""

log = structlog.get_logger("blobs")


class Orphan(NamedTuple):
    """Stored bytes that no event names. ``stays`` is empty for one that may be taken away."""

    digest: str
    size: int
    stored_at: str
    stays: Reason


@dataclass(frozen=True, slots=True)
class Surveyed:
    """What is stored, and what of it no event names, oldest first. ``head`` is the log's end as it was compared;
    ``before`` the moment before which an orphan must have been stored to be taken away (seconds since the epoch)."""

    blobs: int
    bytes: int
    head: int
    before: float
    orphans: tuple[Orphan, ...]

    @property
    def removable(self) -> tuple[Orphan, ...]:
        """Those that may be taken away."""
        return tuple(one for one in self.orphans if not one.stays)


@dataclass(slots=True)
class _Named:
    """What the log says, read once: which of the stored bytes no event has named so far, and which jobs' attempts an
    engine has accepted that are not over."""

    unnamed: dict[str, KeptBlob]
    working: dict[str, str] = field(default_factory=dict)
    position: int = 0

    def count(self, batch: Iterable[Recorded]) -> None:
        for one in batch:
            self.position = one.position
            if self.unnamed:
                # Any digest in any event counts, also in one of a type that only a newer release knows.
                for digest in _DIGEST.findall(one.data):
                    self.unnamed.pop(digest.decode(), None)
            if one.stream.category == CATEGORY:
                if one.type in _ENDED:
                    self.working.pop(one.stream.subject, None)
                elif one.type in _BEGUN:
                    self.working.setdefault(one.stream.subject, one.time)

    def earliest(self) -> float:
        """When the oldest of these attempts was accepted: what was stored since may be about to be named."""
        times = []
        for told in self.working.values():
            try:
                times.append(datetime.fromisoformat(told).timestamp())
            except ValueError:
                times.append(0.0)  # nobody knows: everything stays
        return min(times, default=float("inf")) - CLOCK_SECONDS


async def survey(
    log: Log, blobs: Blobs, now: datetime, *, grace_seconds: float = GRACE_SECONDS, traces: bool = False,
    report: Report = lambda done, total: None,
) -> Surveyed:
    """Compares what is stored with what the log names, from its first event to its last. ``traces``: stored traces of
    playtests count as orphans that may go. Raises ``Unavailable``."""
    # What is stored first: whatever is named afterwards is seen to be named.
    stored = {one.digest: one async for batch in blobs.everything() for one in batch}
    number, size = len(stored), sum(one.size for one in stored.values())
    named, head = _Named(stored), await log.head()
    async for batch in log.read(upto=head):
        named.count(batch)
        report(named.position, head)
    before = min(now.timestamp() - grace_seconds, named.earliest())
    fresh = now.timestamp() - grace_seconds
    found = []
    for one in sorted(named.unnamed.values(), key=lambda one: (one.stored_at, one.digest)):
        stays: Reason = "fresh" if one.stored_at >= fresh else "job" if one.stored_at >= before else ""
        if not traces and await _is_trace(blobs, one):
            stays = "trace"
        found.append(Orphan(one.digest, one.size, _stamp(one.stored_at), stays))
    return Surveyed(number, size, head, before, tuple(found))


async def remove(
    log_: Log, blobs: Blobs, surveyed: Surveyed, report: Report = lambda done, total: None
) -> list[Orphan]:
    """Takes away what a survey found and may be taken away; what is named, stored again or worked on by now stays.
    What was taken away. Raises ``Unavailable``."""
    wanted, gone = surveyed.removable, []
    named = _Named({one.digest: KeptBlob(one.digest, one.size, 0.0) for one in wanted})
    named.position = surveyed.head
    for start in range(0, len(wanted), TOGETHER):
        async for batch in log_.read(after=named.position):
            named.count(batch)
        for one in wanted[start : start + TOGETHER]:
            if one.digest in named.unnamed and await blobs.discard(one.digest, surveyed.before):
                log.info("orphan_removed", digest=one.digest, size=one.size)
                gone.append(one)
        report(min(start + TOGETHER, len(wanted)), len(wanted))
    return gone


def as_told(surveyed: Surveyed, gone: Iterable[Orphan] | None = None) -> dict[str, Any]:
    """A survey, and what was removed, as programs read it."""
    told: dict[str, Any] = {
        "blobs": surveyed.blobs, "bytes": surveyed.bytes, "position": surveyed.head,
        "orphans": [one._asdict() for one in surveyed.orphans], "removable": len(surveyed.removable),
        "removable_bytes": sum(one.size for one in surveyed.removable),
    }
    return told if gone is None else told | {"removed": [one.digest for one in gone]}


async def _is_trace(blobs: Blobs, one: KeptBlob) -> bool:
    head = b"".join([piece async for piece in blobs.stream(one.digest, 0, len(ENVELOPE))])
    return head == ENVELOPE


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
