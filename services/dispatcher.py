"""Commands in, events out: load and fold, decide, append at the expected position, and decide again when raced."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple, Protocol
from weakref import WeakValueDictionary

from commands.declaration import Asking, Command, Pinned, no_material
from commands.envelope import Asked
from domain.context import Context
from domain.errors import ComfyVNError, Invalid, NotFound, Refused, Remedy, Stale, Unavailable
from domain.ids import MAIN, UNBRANCHED, checked, derived_id
from domain.ports import Commit, Conflict, Log, Proposed, Recorded, Stream
from domain.values import Event
from services.aggregates import Aggregates, Loaded, Outcome, Seen
from services.redaction import SECRETS
from services.registry import Registry

ATTEMPTS: Final = 40
"""How often a raced command is decided again before the caller is told to retry."""

LARGEST: Final = 1000
"""Most events of one batch, which stand next to each other in the log."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a command.

    ``version`` and ``position`` are those of the aggregate after it; ``created`` when it was the aggregate's first
    event; ``repeated`` when this is the first answer again. ``events`` are all that it has recorded: its own, then
    those of the commands it brought along; ``would`` holds them in a dry run.
    ``told`` is what else the command tells its caller (``Asking.told``).
    ``problem`` is bad news that was recorded (a blocking policy decision): the door raises it.
    """

    id: str
    stream: Stream
    version: int
    position: int
    events: tuple[Outcome, ...]
    created: bool = False
    repeated: bool = False
    would: tuple[Event, ...] | None = None
    told: Mapping[str, Any] = field(default_factory=dict)
    problem: ComfyVNError | None = None


def _without_keys(data: bytes) -> bytes:
    """An event is for ever, and read by many: a provider's key that was pasted into a text must not get into one."""
    if SECRETS.stands_in(data):
        raise Refused(
            "A key of a connected provider stands in this. What is recorded cannot be taken back, so it is not.",
            error="secret_in_text", remediation=[Remedy("Take the key out of the text.", "remove_secret")],
        )
    return data


class Receipts(Protocol):
    """Where commands older than an aggregate's memory are looked up."""

    async def find(self, project: str, command_id: str, *, counted: int) -> Seen | None:
        """What a command id has led to, once the index has counted position ``counted``. Raises ``Unavailable``."""
        ...


class Materials(Protocol):
    """Where the stories come from that commands are decided with."""

    async def material(self, project: str, pinned: Pinned) -> Any:
        """A story, as it stands there for ever. Raises ``NotFound``, ``Invalid`` and ``Unavailable``."""
        ...


class Dispatcher:
    """Handles commands for every context of a registry on one log."""

    def __init__(
        self, log: Log, registry: Registry, receipts: Receipts | None = None, materials: Materials | None = None
    ) -> None:
        self.materials = materials
        self.log = log
        self.registry = registry
        self.receipts = receipts
        self.aggregates = Aggregates(log, registry)
        self._locks: WeakValueDictionary[Stream, asyncio.Lock] = WeakValueDictionary()

    async def close(self) -> None:
        """Waits for snapshots that are being saved."""
        await self.aggregates.close()

    # --- asking -----------------------------------------------------------------------------------------------

    async def ask(
        self, command: Command, asked: Asked, *, expected_version: int | None = None, dry_run: bool = False,
        keyed: bool = False,
    ) -> Receipt:
        """Decides one command and appends what follows from it.

        ``keyed``: the command id comes from a caller's idempotency key, so it may have been used long ago.
        Raises the kinds of ``domain.errors``; ``Unavailable`` means that the events may or may not be there.
        """
        (receipt,) = await self.ask_all(
            [command], asked, expected_version=expected_version, dry_run=dry_run, keyed=keyed
        )
        return receipt

    async def ask_all(
        self, asks: Sequence[Command], asked: Asked, *, expected_version: int | None = None,
        dry_run: bool = False, keyed: bool = False,
    ) -> list[Receipt]:
        """Decides several commands as one: all their events are appended in one atomic batch, or none."""
        checked("project", asked.project)
        checked("worldline", asked.worldline)
        plans = [self._plan(command, asked, index) for index, command in enumerate(asks)]
        plans += self._along(plans, asked)
        if any(plan.asking.needs_head for plan in plans):
            asked = asked._replace(head=await self.log.head())
        async with AsyncExitStack() as stack:
            for stream in sorted({plan.stream for plan in plans}):
                await stack.enter_async_context(self._lock(stream))
            for attempt in range(ATTEMPTS):
                # A dry run appends nothing, so no conflict would tell it that it hoped in vain.
                hopeful = attempt == 0 and expected_version is None and not dry_run
                try:
                    told = await self._attempt(plans, asked, expected_version, dry_run, keyed, hopeful)
                    return _with_those_along(told, plans, len(asks))
                except Conflict as conflict:
                    for stream in conflict.streams:
                        self.aggregates.forget(stream)
                except Unavailable:
                    for plan in plans:
                        self.aggregates.forget(plan.stream)
                    raise
        raise Unavailable(
            "Too many others are changing this at the same time.",
            error="contended",
            remediation=[Remedy("Try again: nothing was recorded.", "retry")],
            detail={"streams": [plan.stream.subject for plan in plans]},
        )

    async def _attempt(
        self, plans: Sequence[_Plan], asked: Asked, expected_version: int | None, dry_run: bool, keyed: bool,
        hopeful: bool,
    ) -> list[Receipt]:
        loaded = {plan.stream: await self._opened(plan, hopeful) for plan in plans}
        repeated = await self._repeated(plans, loaded, asked, keyed)
        if repeated is not None:
            return repeated
        try:
            decided = await self._decide(plans, loaded, asked, expected_version)
        except ComfyVNError:
            await self.aggregates.confirm(loaded)
            raise
        if not any(events for events, *_ in decided):
            await self.aggregates.confirm(loaded)
        commits = self._commits(plans, loaded, decided, asked)
        if dry_run:
            return [
                Receipt(
                    plan.id, plan.stream, version, loaded[plan.stream].position, (),
                    created=was == 0 and bool(events), would=tuple(events), told=plan.asking.told(events, *material),
                    problem=plan.asking.bad_news(events),
                )
                for plan, (events, was, version, _, material) in zip(plans, decided, strict=True)
            ]
        positions = iter(await self.log.append(commits) if commits else ())
        recorded = {commit.stream: [next(positions) for _ in commit.events] for commit in commits}
        return [self._receipt(plan, loaded[plan.stream], asked, recorded, *told)
                for plan, told in zip(plans, decided, strict=True)]

    async def _decide(
        self, plans: Sequence[_Plan], loaded: dict[Stream, Loaded], asked: Asked, expected_version: int | None
    ) -> list[_Decided]:
        # Commands of one batch that meet on one stream are decided one after the other, each on what the last left.
        current = {stream: (found.state, found.version) for stream, found in loaded.items()}
        decided: list[_Decided] = []
        for line in sorted({plan.stream.worldline for plan in plans}):
            await self.aggregates.check_in_use(asked.project, line)
        for place, plan in enumerate(plans):
            state, version = current[plan.stream]
            own = plan.asking.expects(plan.command)
            expected = expected_version if own is None and plan.brought_by is None else own
            if expected is not None and version != expected:
                raise Stale(
                    f"{plan.id} is at version {version}, not {expected}.",
                    remediation=[Remedy("Load the newest version, look at the difference and try again.", "reload")],
                    detail={"expected": expected, "current": version, "id": plan.id},
                )
            others = await self._others(plan, asked, current)
            material = await self._material(plan, state, asked, others)
            events = list(plan.asking.decide(plan.command, state, asked._replace(place=place), *others, *material))
            after = state
            for event in events:
                after = plan.context.evolve(after, event)
            current[plan.stream] = (after, version + len(events))
            decided.append(_Decided(events, version, version + len(events), after, material))
        return decided

    async def _material(
        self, plan: _Plan, state: Any, asked: Asked, others: tuple[Any, ...]
    ) -> tuple[Any, ...]:
        if plan.asking.material is no_material:
            return ()
        pinned = plan.asking.material(plan.command, state, asked, *others)
        if pinned is None:
            return (None,)
        if self.materials is None:
            raise Unavailable(
                "Stories cannot be read here.", error="no_stories",
                remediation=[Remedy("Ask a studio with a read side.", "open_studio")],
            )
        return (await self.materials.material(asked.project, pinned),)

    async def _others(
        self, plan: _Plan, asked: Asked, current: Mapping[Stream, tuple[Any, int]] | None = None
    ) -> tuple[list[Any], ...]:
        if not (streams := plan.asking.others(plan.command, asked)):
            return ()
        states = []
        for stream in streams:
            if current and stream in current:  # as the commands before it in the batch have left it
                states.append(current[stream][0])
                continue
            found = await self.aggregates.load(stream)
            newest = await self.log.last(stream)
            if (newest.position if newest else 0) != found.position:  # moved on through another process
                self.aggregates.forget(stream)
                found = await self.aggregates.load(stream)
            states.append(found.state)
        return (states,)

    def _commits(
        self, plans: Sequence[_Plan], loaded: dict[Stream, Loaded], decided: Sequence[_Decided], asked: Asked
    ) -> list[Commit]:
        proposed: dict[Stream, list[Proposed]] = {}
        for place, (plan, (events, was, *_)) in enumerate(zip(plans, decided, strict=True)):
            for offset, event in enumerate(events, start=1):
                proposed.setdefault(plan.stream, []).append(Proposed(
                    type(event).__name__, event.SCHEMA, _without_keys(self.registry.encode(event)),
                    _event_id(asked, place, offset - 1), was + offset, asked.time,
                    asked.actor, asked.command_id, asked.request, asked.correlation_id or asked.command_id,
                    asked.causation_id,
                ))
        return [Commit(stream, loaded[stream].position, tuple(events)) for stream, events in proposed.items()]

    def _receipt(
        self, plan: _Plan, found: Loaded, asked: Asked, recorded: dict[Stream, list[int]],
        events: Sequence[Event], was: int, version: int, after: Any, material: tuple[Any, ...],
    ) -> Receipt:
        mine = recorded.get(plan.stream, [])[: len(events)]
        del recorded.get(plan.stream, [])[: len(events)]
        outcomes = tuple(
            Outcome(type(event).__name__, position, was + offset)
            for offset, (event, position) in enumerate(zip(events, mine, strict=True), start=1)
        )
        for outcome in outcomes:
            found.remember(asked.command_id, asked.request, outcome)
        if outcomes:
            self.aggregates.moved(plan.stream, found, after, version, outcomes[-1].position, len(outcomes))
        return Receipt(
            plan.id, plan.stream, version, found.position, outcomes, created=was == 0 and bool(outcomes),
            told=plan.asking.told(events, *material), problem=plan.asking.bad_news(events),
        )

    def _along(self, plans: Sequence[_Plan], asked: Asked) -> list[_Plan]:
        """What the commands bring along, behind all that was asked, so that the places of that stay as they are."""
        brought = [(place, command) for place, plan in enumerate(plans) for command in plan.asking.along(plan.command)]
        return [
            self._plan(command, asked, len(plans) + number)._replace(brought_by=place)
            for number, (place, command) in enumerate(brought)
        ]

    def _plan(self, command: Command, asked: Asked, index: int) -> _Plan:
        name = type(command).__name__
        asking = self.registry.askings.get(name) or self.registry.inner.get(name)
        if asking is None:
            raise NotFound(f"There is no command {type(command).__name__}.", error="unknown_command")
        context = self.registry.homes[asking.name]
        id_: str | None = getattr(command, asking.id_field)
        if id_ is None:
            if not asking.creates:
                raise Invalid(f"{asking.name} needs {asking.id_field}.", error="missing_id")
            id_ = derived_id(context.category, asked.project, asked.command_id, str(index), length=16)
            command = command.model_copy(update={asking.id_field: id_})
        checked(asking.id_field, id_)
        line = asked.worldline if context.branches else UNBRANCHED
        return _Plan(command, asking, context, Stream(asked.project, line, context.category, id_), id_)

    # --- the same command again -------------------------------------------------------------------------------

    async def _repeated(
        self, plans: Sequence[_Plan], loaded: dict[Stream, Loaded], asked: Asked, keyed: bool
    ) -> list[Receipt] | None:
        found = [loaded[plan.stream].seen.get(asked.command_id) for plan in plans]
        if not any(found) and keyed and self.receipts is not None:
            counted = max(one.forgotten for one in loaded.values())
            known = await self.receipts.find(asked.project, asked.command_id, counted=counted)
            found = [known for _ in plans]
        if not any(found):
            return None
        if any(seen is not None and seen.request != asked.request for seen in found):
            raise Invalid(
                "This Idempotency-Key was used before for another request.",
                error="idempotency_key_reused",
                remediation=[Remedy("Use a new key for a new request.", "new_key")],
            )
        # What one stream remembers is its own part of the batch, and not every stream has been read.
        positions = [outcome.position for seen in found if seen is not None for outcome in seen.outcomes]
        first, last = min(positions, default=1), max(positions, default=0)
        answers: list[Receipt] = []
        for place, plan in enumerate(plans):
            earlier = next((one for one in reversed(answers) if one.stream == plan.stream), None)
            state = loaded[plan.stream].state
            answers.append(await self._first_answer(place, plan, asked, first, last, earlier, state))
        return answers

    async def _first_answer(
        self, place: int, plan: _Plan, asked: Asked, first: int, last: int, earlier: Receipt | None, state: Any
    ) -> Receipt:
        """What a command was told. Its batch holds the positions ``first`` and ``last``; ``earlier`` is what a command
        before it in the batch was told about the same stream."""
        between = await self.log.read_stream(plan.stream, after=max(last - LARGEST, 0), upto=first + LARGEST)
        by_id = {one.event_id: one for one in between}
        recorded: list[Recorded] = []
        while (one := by_id.get(_event_id(asked, place, len(recorded)))) is not None:
            recorded.append(one)
        outcomes = tuple(Outcome(one.type, one.position, one.version) for one in recorded)
        events = [event for one in recorded if (event := self.registry.decode(one)) is not None]
        version, position = (outcomes[-1].version, outcomes[-1].position) if outcomes else (0, 0)
        if not outcomes and earlier is not None:  # it was so already, by what the batch itself had done
            version, position = earlier.version, earlier.position
        elif not outcomes:
            before = await self.log.read_stream(plan.stream, upto=first - 1)
            version, position = (before[-1].version, before[-1].position) if before else (0, 0)
        created = bool(outcomes) and outcomes[0].version == 1
        others = await self._others(plan, asked)
        material = await self._material(plan, state, asked, others)
        return Receipt(plan.id, plan.stream, version, position, outcomes, created=created, repeated=True,
                       told=plan.asking.told(events, *material), problem=plan.asking.bad_news(events))

    async def _opened(self, plan: _Plan, hopeful: bool) -> Loaded:
        # What a command creates is most likely not there yet. Assuming so saves two reads; when it is wrong, the
        # append at position 0 conflicts, or the second look at a refusal does, and the next attempt reads.
        new = plan.asking.creates and plan.stream.worldline in (MAIN, UNBRANCHED)
        if hopeful and new and plan.stream not in self.aggregates:
            return Loaded(plan.context.initial)
        return await self.aggregates.load(plan.stream)

    def _lock(self, stream: Stream) -> asyncio.Lock:
        lock = self._locks.get(stream)
        if lock is None:
            lock = self._locks[stream] = asyncio.Lock()
        return lock


class _Plan(NamedTuple):
    command: Command
    asking: Asking
    context: Context
    stream: Stream
    id: str
    brought_by: int | None = None


class _Decided(NamedTuple):
    events: list[Event]
    was: int
    version: int
    after: Any
    material: tuple[Any, ...]


def _with_those_along(receipts: list[Receipt], plans: Sequence[_Plan], asked: int) -> list[Receipt]:
    """The receipts of what was asked; each names the events of what it brought along, and tells what that told."""
    for plan, receipt in zip(plans[asked:], receipts[asked:], strict=True):
        assert plan.brought_by is not None, "whatever stands behind what was asked was brought along"
        first = receipts[plan.brought_by]
        would = None if first.would is None else (*first.would, *(receipt.would or ()))
        receipts[plan.brought_by] = replace(
            first, events=(*first.events, *receipt.events), would=would, told={**receipt.told, **first.told})
    return receipts[:asked]


def _event_id(asked: Asked, place: int, number: int) -> str:
    """The id of the event with that number (from 0) of the command at a place in its batch: the same on every retry."""
    # The request is part of it: a key reused for something else must not find "its own" event there.
    numbered = f"{place}.{number}" if place else str(number)
    return derived_id(asked.project, asked.command_id, asked.request, numbered)
