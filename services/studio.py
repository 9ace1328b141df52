"""A running studio: the ports that were plugged in, and the two things one does with it, asking and looking."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from secrets import token_hex
from time import monotonic
from typing import Any, Final, NamedTuple

import orjson

from commands.declaration import Command
from commands.envelope import Asked
from domain.errors import Refused, Remedy, Unavailable
from domain.ids import MAIN, derived_id
from domain.ports import Blobs, Log, ReadModels
from domain.ports.credentials import Credentials
from domain.ports.downloads import Source
from domain.ports.model_files import ModelFiles
from projections.reading import Query, View
from services.dispatcher import Dispatcher, Receipt
from services.generation.engines import Engines
from services.generation.webhooks import Webhooks
from services.pinning import PinnedStories
from services.registry import Registry
from services.settings import Settings
from services.stories import Stories
from services.vault import Vault

MOMENT_SECONDS: Final = 3.0
"""How long a question waits at most for what this process has just recorded, when nobody asked it to wait."""

FIRST_MOMENT_SECONDS: Final = 20.0
"""The same while a worker that is bound to count has yet to start."""

HURRY_SECONDS: Final = 10.0
"""How long questions do not wait after one has waited in vain."""

REMEMBERED_PROJECTS: Final = 1024
"""Projects whose newest position is remembered."""


def utc_now() -> str:
    """Now, as RFC 3339 in UTC with microseconds: the one clock of the studio, read only at its doors."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Asker:
    """Who stands at a door. ``key`` is the idempotency key that came with the request, if one did."""

    actor: str
    key: str | None = None
    correlation_id: str = ""
    causation_id: str = ""


class Looked(NamedTuple):
    """A view's answer and the position that everything it reads has counted at least."""

    answer: Any
    position: int


@dataclass(slots=True)
class Studio:
    """Everything a door needs. Made by ``services.bootstrap``."""

    settings: Settings
    registry: Registry
    log: Log
    dispatcher: Dispatcher
    models: ReadModels
    blobs: Blobs
    clock: Callable[[], str] = utc_now
    moment_seconds: float = MOMENT_SECONDS
    first_moment_seconds: float = 0.0
    engines: Engines = field(default_factory=Engines)
    credentials: Credentials | None = None
    vault: Vault = field(default_factory=Vault)
    webhooks: Webhooks | None = None
    model_files: ModelFiles | None = None
    source: Source | None = None
    stories: Stories = field(init=False)
    _newest: dict[str, int] = field(default_factory=dict)
    _counted: dict[str, int] = field(default_factory=dict)
    _hurry_until: float = 0.0

    def __post_init__(self) -> None:
        self.stories = Stories(self)
        self.dispatcher.materials = PinnedStories(self.stories)

    async def ask(
        self, command: Command, asker: Asker, *, project: str, worldline: str = MAIN,
        expected_version: int | None = None, dry_run: bool = False,
    ) -> Receipt:
        """Asks one command; raises the kinds of ``domain.errors``."""
        (receipt,) = await self.ask_all(
            [command], asker, project=project, worldline=worldline, expected_version=expected_version, dry_run=dry_run
        )
        return receipt

    async def ask_all(
        self, commands: Sequence[Command], asker: Asker, *, project: str, worldline: str = MAIN,
        expected_version: int | None = None, dry_run: bool = False, at_hand: Collection[str] = (),
        request: str | None = None,
    ) -> list[Receipt]:
        """Asks several commands as one: all or none.

        ``at_hand`` are digests of bytes that the caller has but does not store for a dry run. ``request`` is the digest
        of what was asked where the commands are worked out from it, and may be others on a retry.
        """
        await self._stored(commands, at_hand)
        command_id, digest = token_hex(11), ""
        if asker.key is not None:
            command_id = command_id_of(asker, project)
            digest = request or _digest(commands, f"{project}\n{worldline}\n{expected_version}\n")
        asked = Asked(
            command_id=command_id, actor=asker.actor, time=self.clock(), project=project, worldline=worldline,
            request=digest, correlation_id=asker.correlation_id, causation_id=asker.causation_id,
        )
        receipts = await self.dispatcher.ask_all(
            commands, asked, expected_version=expected_version, dry_run=dry_run, keyed=asker.key is not None
        )
        if not dry_run:
            if len(self._newest) > REMEMBERED_PROJECTS:
                self._newest.clear()
            newest = max(receipt.position for receipt in receipts)
            self._newest[project] = max(self._newest.get(project, 0), newest)
        return receipts

    async def _stored(self, commands: Sequence[Command], at_hand: Collection[str]) -> None:
        for command in commands:
            asking = self.registry.askings.get(type(command).__name__)
            for wanted in asking.blobs(command) if asking else ():
                if wanted.digest in at_hand:
                    continue
                found = await self.blobs.head(wanted.digest)
                if found is None or found.size != wanted.size:
                    raise Refused(
                        f"No bytes of that size are stored under {wanted.digest}.",
                        error="blob_missing",
                        remediation=[Remedy("Upload the file; that registers it too.", "upload")],
                        detail={"digest": wanted.digest, "size": wanted.size, "stored": found and found.size},
                    )

    async def look(self, view: View, query: Query) -> Any:
        """Answers a view's question, after it has counted ``query.min_position``."""
        return (await self.look_closely(view, query)).answer

    async def look_closely(self, view: View, query: Query) -> Looked:
        """Like ``look``, with the position that the answer shows.

        Without ``min_position`` it waits a moment for what this process has recorded in the project, so that whoever
        asks and then looks through one door sees it; when the read side is further behind than that, it answers as is.
        """
        if query.min_position:
            await self.counted(view.reads, query.min_position)
        else:
            await self._own_writes(view.reads, self._newest.get(query.project, 0))
        looked = await asyncio.to_thread(self._answer, view, query)
        for name in view.reads:
            self._counted[name] = max(self._counted.get(name, 0), looked.position)
        return looked

    async def _own_writes(self, projections: Sequence[str], position: int) -> None:
        """Waits, not long, until read models have counted a position."""
        behind = [name for name in projections if self._counted.get(name, 0) < position]
        began = monotonic()
        while behind and monotonic() >= self._hurry_until:
            behind = list(await asyncio.to_thread(self._behind, behind, position))
            if behind and monotonic() - began > max(self.moment_seconds, self.first_moment_seconds):
                # Nobody counts, or not fast enough: others need not wait in vain as well.
                self._hurry_until = monotonic() + HURRY_SECONDS
                self.first_moment_seconds = 0.0
            elif behind:
                await asyncio.sleep(0.003)
            else:
                self.first_moment_seconds = 0.0

    async def counted(self, projections: Sequence[str], position: int) -> None:
        """Waits until read models have counted a position; raises ``Unavailable`` when that takes too long."""
        deadline = monotonic() + self.settings.wait_seconds
        pause = 0.002
        while True:
            behind = await asyncio.to_thread(self._behind, projections, position)
            if not behind:
                return
            if monotonic() > deadline:
                raise Unavailable(
                    f"{', '.join(sorted(behind))} has not counted position {position} yet.",
                    error="read_side_behind",
                    remediation=[
                        Remedy("Ask again in a moment.", "retry"),
                        Remedy("Look at `comfyvn doctor` for a stopped projection.", "doctor"),
                    ],
                    detail={"position": position, "projections": behind},
                )
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.05)

    def _behind(self, projections: Sequence[str], position: int) -> dict[str, int]:
        known = self.models.checkpoints()
        places = {name: known[name].position if name in known else 0 for name in projections}
        return {name: place for name, place in places.items() if place < position}

    def _answer(self, view: View, query: Query) -> Looked:
        with self.models.reader() as reader:
            position = min((reader.position(name) for name in view.reads), default=0)
            return Looked(view.answer(reader, query), position)


def command_id_of(asker: Asker, project: str) -> str:
    """The command id that an idempotency key means."""
    assert asker.key is not None, "the request came with a key"
    return derived_id("key", project, asker.actor, asker.key)


def _digest(commands: Sequence[Command], place: str) -> str:
    """What was asked, as a digest: it tells a retry from a key that is used for something else."""
    # What is left out and what is set to its default are different requests: an edit changes only what it names.
    told = [[type(one).__name__, one.model_dump(mode="json", exclude_unset=True)] for one in commands]
    return sha256(place.encode() + orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]
