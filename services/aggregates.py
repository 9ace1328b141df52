"""Aggregates, folded: from memory, else from the newest snapshot and what came after, along the chain of worldlines."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final, NamedTuple

import orjson
import structlog
from pydantic import ValidationError

from commands.story.worldline import in_use
from domain.context import Context
from domain.errors import ComfyVNError, NotFound, Remedy, Unavailable
from domain.ids import MAIN, UNBRANCHED
from domain.ports import Conflict, Log, Recorded, Stream
from domain.story.worldline import Forked, forked
from services.registry import Registry, Undecodable

CACHED: Final = 4096
"""Aggregates kept folded in memory."""

REMEMBERED: Final = 64
"""Newest commands of an aggregate that its folded state remembers; older ones are found through ``Receipts``."""

SNAPSHOT_EVERY: Final = 50
"""Events between two snapshots of a small aggregate; a large one waits for one event per KiB of its state."""

BELIEVED_SECONDS: Final = 1.0
"""How long a worldline counts as in use without asking the log whether another process has put it away."""

log_ = structlog.get_logger("aggregates")


class Outcome(NamedTuple):
    """One recorded event as a receipt names it."""

    type: str
    position: int
    version: int


class Seen(NamedTuple):
    """What a command id has led to before."""

    request: str
    outcomes: tuple[Outcome, ...]


@dataclass(slots=True)
class Loaded:
    """A folded aggregate. ``position`` is the newest event on its own stream (0: none, also when it inherits)."""

    state: Any
    version: int = 0
    position: int = 0
    seen: OrderedDict[str, Seen] = field(default_factory=OrderedDict)
    forgotten: int = 0
    unsaved: int = 0

    def remember(self, command_id: str, request: str, outcome: Outcome) -> None:
        known = self.seen.get(command_id)
        outcomes = (*known.outcomes, outcome) if known else (outcome,)
        self.seen[command_id] = Seen(request, outcomes)
        while len(self.seen) > REMEMBERED:
            _, oldest = self.seen.popitem(last=False)
            self.forgotten = max(self.forgotten, oldest.outcomes[-1].position)


class Aggregates:
    """The folded aggregates of one log. What is cached may be older than the log: expected positions keep it honest."""

    def __init__(self, log: Log, registry: Registry) -> None:
        self.log = log
        self.registry = registry
        # Made now rather than with the first snapshot: it takes longer than opening an aggregate.
        self._states = registry.states
        self._cache: OrderedDict[Stream, Loaded] = OrderedDict()
        self._lines: dict[tuple[str, str], Forked] = {}
        self._asked: dict[Stream, float] = {}
        self._saving: set[asyncio.Task[None]] = set()

    def __contains__(self, stream: Stream) -> bool:
        return stream in self._cache

    async def close(self) -> None:
        """Waits for snapshots that are being saved."""
        await asyncio.gather(*self._saving, return_exceptions=True)

    def forget(self, stream: Stream) -> None:
        """The next ``load`` reads the log."""
        self._cache.pop(stream, None)

    def moved(self, stream: Stream, found: Loaded, state: Any, version: int, position: int, events: int) -> None:
        """An aggregate has grown by events of this process."""
        found.state, found.version, found.position = state, version, position
        found.unsaved += events
        self._keep(stream, found)
        self._save_later(stream, self.registry.contexts[stream.category], found)

    async def confirm(self, loaded: Mapping[Stream, Loaded]) -> None:
        """Raises ``Conflict`` when a no was said on a state that another process has since moved on from."""
        stale = []
        for stream, found in loaded.items():
            newest = await self.log.last(stream)
            if (newest.position if newest else 0) != found.position:
                stale.append(stream)
        if stale:
            raise Conflict(stale)

    async def load(self, stream: Stream) -> Loaded:
        """The aggregate as this process last knew it, else from its snapshot and what came after."""
        found = self._cache.get(stream)
        if found is not None:
            self._cache.move_to_end(stream)
            return found
        context = self.registry.contexts[stream.category]
        found = await self._restored(stream, context)
        await self._fold(stream, context, found, None)
        self._save_later(stream, context, found)
        self._keep(stream, found)
        return found

    def _keep(self, stream: Stream, found: Loaded) -> None:
        self._cache[stream] = found
        while len(self._cache) > CACHED:
            self._cache.popitem(last=False)

    async def load_at(self, stream: Stream, position: int) -> Loaded:
        """The aggregate as it was at a position."""
        context = self.registry.contexts[stream.category]
        found = await self._restored(stream, context)
        if found.position > position:
            found = await self._inherited(stream, context)
        await self._fold(stream, context, found, position)
        return found

    async def _fold(self, stream: Stream, context: Context, found: Loaded, upto: int | None) -> None:
        events = await self.log.read_stream(stream, after=found.position, upto=upto)
        if events and found.position == 0:
            inherited = await self._inherited(stream, context)
            found.state, found.version = inherited.state, inherited.version
        elif not events and found.position == 0:
            inherited = await self._inherited(stream, context, upto)
            found.state, found.version = inherited.state, inherited.version
        for recorded in events:
            self._evolve(context, found, recorded)
        found.unsaved += len(events)

    def _evolve(self, context: Context, found: Loaded, recorded: Recorded) -> None:
        try:
            event = self.registry.decode(recorded)
        except Undecodable as error:
            raise Unavailable(
                f"{recorded.stream.category} {recorded.stream.id} cannot be opened: the event at position "
                f"{recorded.position} does not fit its type {recorded.type}.",
                error="event_unreadable",
                remediation=[Remedy("Look at it with `comfyvn log show`, then run `comfyvn log verify`.", "verify")],
                detail={"position": recorded.position, "type": recorded.type},
            ) from error
        if event is not None:
            found.state = context.evolve(found.state, event)
        # Whatever else was published there by hand has no version and no command; versions go on from the last one.
        found.version, found.position = max(found.version, recorded.version), recorded.position
        if not recorded.command_id:
            return
        outcome = Outcome(recorded.type, recorded.position, recorded.version)
        found.remember(recorded.command_id, recorded.request, outcome)

    async def _inherited(self, stream: Stream, context: Context, upto: int | None = None) -> Loaded:
        """What a document is before its first event on its own worldline: the parent's, as of the fork."""
        if not context.branches or stream.worldline == MAIN:
            return Loaded(context.initial)
        line = await self._line(stream.project, stream.worldline)
        parent = stream._replace(worldline=line.parent)
        base = await self.load_at(parent, line.forked_at if upto is None else min(upto, line.forked_at))
        return Loaded(base.state, base.version)

    async def _line(self, project: str, worldline: str) -> Forked:
        # Where a worldline left its parent never changes, so one look is enough for the life of this process.
        known = self._lines.get((project, worldline))
        if known is None:
            stream = Stream(project, UNBRANCHED, "worldline", worldline)
            found = await self.load(stream)
            line = forked(found.state)
            if line is None:
                self.forget(stream)
                raise NotFound(
                    f"Project {project} has no worldline {worldline}.",
                    error="unknown_worldline",
                    remediation=[Remedy("Fork it first, or list the worldlines of the project.", "list_worldlines")],
                    detail={"project": project, "worldline": worldline},
                )
            known = self._lines[project, worldline] = line
        return known

    async def check_in_use(self, project: str, worldline: str) -> None:
        """Raises ``Refused`` for a worldline that was put away, ``NotFound`` for one that never was."""
        if worldline in (MAIN, UNBRANCHED):
            return
        stream = Stream(project, UNBRANCHED, "worldline", worldline)
        now = monotonic()
        if now - self._asked.get(stream, -BELIEVED_SECONDS) >= BELIEVED_SECONDS:
            newest = await self.log.last(stream)
            known = self._cache.get(stream)
            if known is not None and known.position != (newest.position if newest else 0):
                self.forget(stream)
            if len(self._asked) > CACHED:
                self._asked.clear()
            self._asked[stream] = now
        try:
            in_use(worldline, (await self.load(stream)).state)
        except NotFound:
            self.forget(stream)  # it may come into being through another process
            self._asked.pop(stream, None)
            raise

    async def _restored(self, stream: Stream, context: Context) -> Loaded:
        saved = await self.log.load_snapshot(stream)
        if saved is not None:
            try:
                head, _, body = saved.partition(b"\n")
                told = orjson.loads(head)
                if told["shape"] == context.snapshot:
                    seen = OrderedDict(
                        (id_, Seen(request, tuple(Outcome(*one) for one in outcomes)))
                        for id_, request, outcomes in told["seen"]
                    )
                    state = self._states[context.category].validate_json(body)
                    return Loaded(state, told["version"], told["position"], seen, told["forgotten"])
            except (ValueError, KeyError, TypeError, ValidationError) as error:
                log_.warning("snapshot_unreadable", stream=stream.subject, reason=str(error)[:200])
        return Loaded(context.initial)

    def _save_later(self, stream: Stream, context: Context, found: Loaded) -> None:
        if found.unsaved < SNAPSHOT_EVERY:
            return
        head = orjson.dumps({
            "shape": context.snapshot, "version": found.version, "position": found.position,
            "forgotten": found.forgotten,
            "seen": [[id_, seen.request, [tuple(one) for one in seen.outcomes]] for id_, seen in found.seen.items()],
        })
        body = self._states[context.category].dump_json(found.state)
        # A large state is saved less often, so that saving stays a small share of the work.
        found.unsaved = -(len(body) // 1024)
        task = asyncio.create_task(self._save(stream, head + b"\n" + body))
        self._saving.add(task)
        task.add_done_callback(self._saving.discard)

    async def _save(self, stream: Stream, snapshot: bytes) -> None:
        try:
            await self.log.save_snapshot(stream, snapshot)
        except ComfyVNError as error:
            log_.warning("snapshot_not_saved", stream=stream.subject, reason=error.message)
