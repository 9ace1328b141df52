"""Replays that are walked step by step, kept where they are: each step plays only what no step has played before."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final
from weakref import WeakValueDictionary

from domain.errors import Invalid, Remedy
from domain.ids import UNBRANCHED, checked
from domain.ports import Stream
from domain.story.play import Story, recorded, trace_digest
from domain.story.playthrough import CATEGORY
from domain.story.replaying import Mark, Replay
from services.replay_digests import TraceDigest
from services.replaying import Recording, Verdict, judged, story_of, traced, unknown
from services.studio import Studio

MARKS_LIMIT: Final = 1000
"""Most marks, or moments, of one answer."""

KEPT: Final = 64
"""Most replays that are kept."""

KEPT_EVENTS: Final = 100_000
"""Most events of all that are kept; the newest stays even when it has more."""

EVERYTHING: Final = 2**62
"""More marks than there are."""

Trace = tuple[list[dict[str, Any]], str]


@dataclass(slots=True)
class Tape:
    """The events of a playthrough, its story, and how far it has been played again.

    Events are never changed and versions only follow, so what was played once holds for every later question, whoever
    asks, and of whichever version.
    """

    playthrough_id: str
    story: Story
    events: list[Any] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    position: int = 0
    newest: int = 0
    marks: list[Mark] = field(default_factory=list)
    _replay: Replay | None = None
    _digest: TraceDigest | None = None
    _ends: list[int] = field(default_factory=list)
    _traced: tuple[int, Trace] | None = None
    _judged: tuple[int, Verdict] | None = None
    _lock: Lock = field(default_factory=Lock)

    def recording(self, version: int) -> Recording:
        """The events up to a version, with the story."""
        return Recording(self.playthrough_id, version, tuple(self.events[: self._count(version)]), self.story)

    def _count(self, version: int) -> int:
        return bisect_right(self.versions, version)

    def marked(self, version: int, cursor: int, count: int) -> tuple[list[Mark], bool]:
        """The marks after ``cursor`` as of a version, at most ``count``, and whether there are more. Raises ``Invalid``
        beyond the end. It may take long where much was never played, so not in the loop."""
        with self._lock:
            events = self._count(version)
            self._play(events, cursor + count)
            there = self._ends[events - 1] if len(self._ends) >= events else len(self.marks)
        if cursor > there:
            raise Invalid(
                f"The replay has {there} marks; there is none at {cursor}.", error="replay_over",
                remediation=[Remedy("Go on from the cursor that the last answer gave.", "use_cursor")],
                detail={"cursor": cursor, "marks": there},
            )
        return self.marks[cursor : min(cursor + count, there)], there > cursor + count

    def judged(self, version: int, *, anew: bool = False) -> Verdict:
        """What the whole replay comes to at a version. It plays what was never played; ``anew`` plays everything."""
        if anew:
            return judged(self.recording(version))
        with self._lock:
            if self._judged is None or self._judged[0] != version:
                self._judged = version, self._verdict(version)
            return self._judged[1]

    def _verdict(self, version: int) -> Verdict:
        replay = self._stood(version)
        if replay is None:
            return judged(self.recording(version))
        if self._digest is None:
            self._digest = TraceDigest(self.story)
        last = self.marks[-1] if self.marks else None
        return Verdict(
            len(self.marks), len(replay.stations), last if last is not None and last.differs else None,
            self._digest.of(replay.path), bool(replay.at and replay.at.finished),
        )

    def _stood(self, version: int) -> Replay | None:
        """The replay, when it stands at that version after playing on to it; nothing when it has gone further."""
        events = self._count(version)
        if len(self._ends) > events:
            return None
        self._play(events, EVERYTHING)
        return self._replay

    def _play(self, events: int, marks: int) -> None:
        """Plays on until there are more than so many marks, or so many events have been played."""
        if self._replay is None:
            self._replay = Replay(self.story)
        while len(self._ends) < events and len(self.marks) <= marks:
            if not (self.marks and self.marks[-1].differs):
                for mark in self._replay.played(self.events[len(self._ends)]):
                    self.marks.append(mark)
                    if mark.differs:
                        break
            self._ends.append(len(self.marks))

    def traced(self, version: int) -> Trace:
        """The trace of the path that stands at a version, and its digest."""
        with self._lock:
            if self._traced is None or self._traced[0] != version:
                replay = self._stood(version)
                if replay is None:
                    self._traced = version, traced(self.recording(version))
                else:
                    steps = recorded(self.story, replay.path)
                    self._traced = version, (steps, trace_digest(steps))
            return self._traced[1]


class Tapes:
    """The replays of a studio that somebody walks through. Losing one costs time and nothing else."""

    def __init__(self, studio: Studio, *, kept: int = KEPT, kept_events: int = KEPT_EVENTS) -> None:
        self._studio = studio
        self._kept: OrderedDict[tuple[str, str], Tape] = OrderedDict()
        # A lock lives for as long as somebody holds it or waits for it.
        self._reading: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        self._most, self._most_events = kept, kept_events

    async def tape(self, project: str, playthrough_id: str, version: int | None = None) -> tuple[Tape, int]:
        """A playthrough, and the version that is meant (none: its newest). Raises ``NotFound``."""
        address = project, checked("playthrough", playthrough_id)
        lock = self._reading.get(address)
        if lock is None:
            lock = self._reading[address] = asyncio.Lock()
        async with lock:
            tape = self._kept.get(address)
            if tape is None or version is None or version > tape.newest:
                tape = await self._read(address, tape)
            self._keep(address, tape)
        if version is not None and version > tape.newest:
            raise unknown(project, playthrough_id, version, tape.newest)
        return tape, tape.newest if version is None else version

    async def _read(self, address: tuple[str, str], tape: Tape | None) -> Tape:
        """Reads what has happened since; the first time, everything."""
        project, playthrough_id = address
        stream = Stream(project, UNBRANCHED, CATEGORY, playthrough_id)
        found = await self._studio.log.read_stream(stream, after=tape.position if tape else 0)
        decoded = [(one.version, event) for one in found if (event := self._studio.registry.decode(one)) is not None]
        if tape is None:
            if not found:
                raise unknown(project, playthrough_id, None, 0)
            events = [event for _, event in decoded]
            tape = Tape(playthrough_id, await story_of(self._studio, project, playthrough_id, events))
        for version, event in decoded:
            tape.versions.append(version)
            tape.events.append(event)
        if found:
            tape.position, tape.newest = found[-1].position, found[-1].version
        return tape

    def _keep(self, address: tuple[str, str], tape: Tape) -> None:
        self._kept[address] = tape
        self._kept.move_to_end(address)
        while len(self._kept) > 1 and (
            len(self._kept) > self._most or sum(len(one.events) for one in self._kept.values()) > self._most_events
        ):
            self._kept.popitem(last=False)
