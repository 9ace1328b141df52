"""Recorded playthroughs, read back with the story that they pin: to be played again, and to be shown as a trace."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

from domain.errors import NotFound, Refused, Remedy
from domain.ids import UNBRANCHED, checked
from domain.ports import Stream
from domain.story.play import Story, content_digest, recorded, trace_digest
from domain.story.playthrough import CATEGORY, PlaythroughEvent, PlaythroughStarted
from domain.story.replaying import Mark, Replay
from services.studio import Studio


class Recording(NamedTuple):
    """The events of a playthrough up to a version, and the story that it pins."""

    playthrough_id: str
    version: int
    events: tuple[PlaythroughEvent, ...]
    story: Story


async def recording(studio: Studio, project: str, playthrough_id: str, version: int | None = None) -> Recording:
    """Reads a playthrough. Raises ``NotFound`` for one that never began, or not up to that ``version``."""
    stream = Stream(project, UNBRANCHED, CATEGORY, checked("playthrough", playthrough_id))
    found = await studio.log.read_stream(stream)
    newest = found[-1].version if found else 0
    if not found or (version is not None and version > newest):
        raise unknown(project, playthrough_id, version, newest)
    kept = [one for one in found if version is None or one.version <= version]
    events: list[Any] = [event for one in kept if (event := studio.registry.decode(one)) is not None]
    story = await story_of(studio, project, playthrough_id, events)
    return Recording(playthrough_id, kept[-1].version, tuple(events), story)


async def story_of(studio: Studio, project: str, playthrough_id: str, events: Sequence[Any]) -> Story:
    """The story that the first event of a playthrough pins; raises ``Refused`` where that cannot be read."""
    if not events or not isinstance(events[0], PlaythroughStarted):
        raise Refused(
            f"The beginning of playthrough {playthrough_id} cannot be read.", error="playthrough_unreadable",
            remediation=[Remedy("Look at its events with `comfyvn log tail`.", "look_at_log")],
        )
    pin = events[0].pin
    story = await studio.stories.pinned(project, pin.worldline, pin.position, pin.timeline, pin.scene)
    await asyncio.to_thread(content_digest, story)
    return story


def unknown(project: str, playthrough_id: str, version: int | None, newest: int) -> NotFound:
    """The refusal of a playthrough that never began, or not up to that version."""
    return NotFound(
        f"Project {project} has no playthrough {playthrough_id}"
        + (f" of version {version}; its newest is {newest}." if newest else "."),
        error="unknown_playthrough",
        remediation=[Remedy("List those there are: GET /api/playthroughs.", "list_playthroughs")],
        detail={"playthrough": playthrough_id, "version": newest},
    )


class Verdict(NamedTuple):
    """What a whole replay comes to. ``marks`` counts what was compared; ``diverged`` is the first that differs."""

    marks: int
    steps: int
    diverged: Mark | None
    trace: str
    finished: bool

    def shown(self) -> dict[str, Any]:
        return {
            "ok": self.diverged is None, "marks": self.marks, "steps": self.steps, "finished": self.finished,
            "diverged": self.diverged.shown() if self.diverged else None,
            "diverged_at_step": self.diverged.standing.step if self.diverged else None, "digest": self.trace,
        }


def judged(recording: Recording) -> Verdict:
    """Plays everything again."""
    replay = Replay(recording.story)
    count, last = 0, None
    for mark in replay.marks(recording.events):
        count, last = count + 1, mark
    trace = trace_digest(recorded(recording.story, replay.path))
    diverged = last if last is not None and last.differs else None
    return Verdict(count, len(replay.stations), diverged, trace, bool(replay.at and replay.at.finished))


def traced(recording: Recording) -> tuple[list[dict[str, Any]], str]:
    """The trace of the path that stands, and its digest."""
    replay = Replay(recording.story)
    for _ in replay.marks(recording.events):
        pass
    steps = recorded(recording.story, replay.path)
    return steps, trace_digest(steps)
