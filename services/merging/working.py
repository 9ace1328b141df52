"""Bringing a worldline's changes into another: worked out on what can be read, checked, and asked as one batch."""

from __future__ import annotations

import asyncio
from typing import Any, Final, NamedTuple

from commands.declaration import Command
from commands.story.merging import merging_of
from commands.story.worldline import put_away
from domain.errors import Invalid, NotFound, Remedy, Stale, Unavailable
from domain.ids import MAIN, UNBRANCHED
from domain.ports import Stream
from domain.story.merging.held import SUMMARY
from domain.story.merging.history import Version
from domain.story.worldline import CATEGORY, WorldlineMerged
from domain.tables import Reader, Where
from projections.boards import merging as board
from projections.boards.merging import Plan
from services.dispatcher import LARGEST
from services.merging.answers import (
    applied,
    conflicting,
    previewed,
    recorded,
    repeated,
    told,
    too_large,
    too_many,
    unknown_decisions,
)
from services.merging.asking import Merge
from services.merging.playing import shown_by_playing
from services.studio import Asker, Studio, command_id_of

ATTEMPTS: Final = 8
"""How often a merge is worked out again when somebody was faster."""

ONLY_LIMIT: Final = 1_000


class Worked(NamedTuple):
    """A merge as it was worked out: the plan, the commands that it comes to, and what playing has shown."""

    plan: Plan
    commands: list[Command]
    story: dict[str, Any]


def categories_of(studio: Studio) -> frozenset[str]:
    """What branches, and so can be compared and merged."""
    return frozenset(
        name for name, context in studio.registry.contexts.items() if context.branches and context.write is not None
    )


class Merging:
    """Merges worldlines of a studio."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._categories = categories_of(studio)

    async def merge(self, asked: Merge, asker: Asker, *, dry_run: bool = False) -> dict[str, Any]:
        """Merges, or tells what merging would do. The answer's shape is in docs/merging.md.

        Raises ``Refused`` (``merge_conflicts``, with the conflicts as data in its detail) while anything is undecided,
        ``Invalid``, ``NotFound``, ``Stale`` when others were faster again and again, and ``Unavailable``.
        """
        self._check(asked)
        if asker.key is not None and not dry_run and (known := await self._repeated(asked, asker)) is not None:
            return known
        for attempt in range(ATTEMPTS):
            worked = await self._worked(asked)
            if not worked.commands:
                return told(asked, worked.plan, worked.story) | {
                    "applied": False, "nothing_to_merge": True,
                    "message": f"{asked.target} has everything of {asked.source} already.",
                }
            try:
                receipts = await self._studio.ask_all(
                    worked.commands, asker, project=asked.project, worldline=asked.target, dry_run=dry_run,
                    request=asked.digest(),
                )
            except Stale:
                if attempt == ATTEMPTS - 1:
                    raise
                continue
            except Invalid as error:
                raise too_large(error, worked.plan) from error
            if dry_run:
                return previewed(asked, worked.plan, worked.story, receipts)
            return applied(receipts)
        raise AssertionError("the last attempt answers or raises")

    def _check(self, asked: Merge) -> None:
        if asked.source == asked.target:
            raise Invalid(
                f"Worldline {asked.source} cannot be merged into itself.", error="merge_into_itself",
                remediation=[Remedy("Name two worldlines.", "choose_worldline")], detail={"worldline": asked.source},
            )
        strange = sorted(
            one[:100] for one in asked.wanted.only if one.partition("/")[0] not in self._categories
        )
        if strange or len(asked.wanted.only) > ONLY_LIMIT:
            raise Invalid(
                f"Nothing that can be merged is called {strange[0]!r}." if strange
                else f"`only` names at most {ONLY_LIMIT} documents.",
                error="unknown_document" if strange else "too_many_documents",
                remediation=[Remedy("Name categories (`scene`) or documents (`scene/intro`).", "fix_only")],
                detail={"unknown": strange[:100], "categories": sorted(self._categories)},
            )

    # --- working it out -----------------------------------------------------------------------------------------------

    async def _worked(self, asked: Merge) -> Worked:
        head = await self._studio.log.head()
        await self._studio.counted(board.READS, head)
        return await asyncio.to_thread(self._work, asked, head)

    def _work(self, asked: Merge, head: int) -> Worked:
        with self._studio.models.reader() as reader:
            version = self._in_use(reader, asked)
            plan = board.plan(
                reader, asked.project, Version(asked.source, head), Version(asked.target, head), self._categories,
                asked.wanted,
            )
            if plan.unused:
                raise unknown_decisions(plan.unused)
            if plan.open:
                raise conflicting(asked, plan)
            self._must_be_valid(plan)
            shown = shown_by_playing(reader, asked, plan, head)
        if not plan.considered or (plan.converged and not plan.changed):
            return Worked(plan, [], shown)
        documents: list[Command] = [
            merging_of(one.category)(id=one.id, fields=dict(one.writes), version=one.ours.version)
            for one in plan.changed
        ]
        if len(documents) >= LARGEST:
            raise too_many(len(documents))
        return Worked(plan, [recorded(asked, plan, shown, version), *documents], shown)

    def _must_be_valid(self, plan: Plan) -> None:
        """Each merged document by its own context's rules; raises ``Invalid`` that names the document."""
        for one in plan.changed:
            context = self._studio.registry.contexts[one.category]
            if not one.alive or one.verbatim or context.write is None:
                continue
            try:
                context.write(one.id, context.initial, {**one.fields, SUMMARY: {}})
            except Invalid as error:
                error.detail["document"] = one.address
                raise

    def _in_use(self, reader: Reader, asked: Merge) -> int:
        """The version of the target's own stream; raises ``NotFound`` and ``Refused`` for what cannot be merged."""
        version = 0
        for name in (asked.source, asked.target):
            row = None if name == MAIN else reader.row("worldlines", project=asked.project, worldline_id=name)
            if name != MAIN and row is None:
                raise NotFound(
                    f"Project {asked.project} has no worldline {name}.", error="unknown_worldline",
                    remediation=[Remedy("List the worldlines of the project.", "list_worldlines")],
                    detail={"project": asked.project, "worldline": name},
                )
            if row is not None and row["archived"]:
                raise put_away(name)
            version = row["version"] if row is not None else 0
        newest = reader.rows(
            "worldline_merges", Where("project", "=", asked.project), Where("worldline_id", "=", asked.target),
            order=("-position",), limit=1,
        )
        return max([version, *(int(row["version"]) for row in newest)])

    # --- the same request again ---------------------------------------------------------------------------------------

    async def _repeated(self, asked: Merge, asker: Asker) -> dict[str, Any] | None:
        """The first answer, when this very request was applied before; raises ``Invalid`` for a key of another."""
        command_id = command_id_of(asker, asked.project)
        stream = Stream(asked.project, UNBRANCHED, CATEGORY, asked.target)
        dispatcher = self._studio.dispatcher
        loaded = await dispatcher.aggregates.load(stream)
        seen = loaded.seen.get(command_id)
        if seen is None and dispatcher.receipts is not None:
            seen = await dispatcher.receipts.find(asked.project, command_id, counted=loaded.forgotten)
        if seen is None:
            return None
        if seen.request != asked.digest():
            raise Invalid(
                "This Idempotency-Key was used before for another request.", error="idempotency_key_reused",
                remediation=[Remedy("Use a new key for a new request.", "new_key")],
            )
        positions = [one.position for one in seen.outcomes]
        found = await dispatcher.log.read_stream(stream, after=min(positions) - 1, upto=max(positions))
        for one in found:
            event = self._studio.registry.decode(one)
            if one.command_id == command_id and isinstance(event, WorldlineMerged):
                return repeated(event, one.version, one.position)
        raise Unavailable(
            "The merge that this key belongs to cannot be read.", error="event_unreadable",
            remediation=[Remedy("Run `comfyvn log verify`.", "verify")],
        )
