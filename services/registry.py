"""Everything that can be asked, can have happened and can be seen: one line per context."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import ModuleType
from typing import Any, Final

import orjson
from pydantic import TypeAdapter, ValidationError

import commands.exchange.export
import commands.operations.budget
import commands.operations.ledger
import commands.story.character
import commands.story.merging
import commands.story.playthrough
import commands.story.pov
import commands.story.save
import commands.story.scene
import commands.story.snapshot
import commands.story.template
import commands.story.timeline
import commands.story.variables
import commands.story.world
import commands.story.worldline
import commands.studio.asset
import commands.studio.job
import commands.studio.model
import commands.studio.preset
import commands.studio.provenance
import commands.trust.policy
import commands.trust.provider
import domain.exchange.export
import domain.operations.budget
import domain.operations.ledger
import domain.story.character
import domain.story.playthrough
import domain.story.pov
import domain.story.save
import domain.story.scene
import domain.story.snapshot
import domain.story.template
import domain.story.timeline
import domain.story.variables
import domain.story.world
import domain.story.worldline
import domain.studio.asset
import domain.studio.job
import domain.studio.model
import domain.studio.preset
import domain.studio.provenance
import domain.trust.policy
import domain.trust.provider
import projections.boards.differing
import projections.boards.points_of_view
import projections.boards.presentation
import projections.boards.project
import projections.boards.registry
import projections.boards.timeline
import projections.boards.timeline_overlay
import projections.boards.variable_uses
import projections.boards.variables
import projections.boards.whole_project
import projections.boards.worldline_bio
import projections.boards.worldline_graph
import projections.exchange.export
import projections.operations.budget
import projections.operations.ledger
import projections.operations.telemetry
import projections.story.character
import projections.story.playthrough
import projections.story.pov
import projections.story.save
import projections.story.scene
import projections.story.snapshot
import projections.story.template
import projections.story.timeline
import projections.story.world
import projections.story.worldline
import projections.studio.asset
import projections.studio.disclosure
import projections.studio.job
import projections.studio.model
import projections.studio.preset
import projections.studio.provenance
import projections.trust.policy
from commands.declaration import Asking
from domain.context import Context
from domain.ports import Recorded
from domain.values import Event
from projections.boards.documents import documents
from projections.declaration import Happened, Projection
from projections.reading import View

CONTEXTS: Final = (
    (domain.story.worldline, commands.story.worldline, projections.story.worldline),
    (domain.story.pov, commands.story.pov, projections.story.pov),
    (domain.story.snapshot, commands.story.snapshot, projections.story.snapshot),
    (domain.story.scene, commands.story.scene, projections.story.scene),
    (domain.story.character, commands.story.character, projections.story.character),
    (domain.story.timeline, commands.story.timeline, projections.story.timeline),
    (domain.story.variables, commands.story.variables, None),
    (domain.story.template, commands.story.template, projections.story.template),
    (domain.story.world, commands.story.world, projections.story.world),
    (domain.story.playthrough, commands.story.playthrough, projections.story.playthrough),
    (domain.story.save, commands.story.save, projections.story.save),
    (domain.studio.asset, commands.studio.asset, projections.studio.asset),
    (domain.studio.provenance, commands.studio.provenance, projections.studio.provenance),
    (None, None, projections.studio.disclosure),
    (domain.studio.job, commands.studio.job, projections.studio.job),
    (domain.studio.preset, commands.studio.preset, projections.studio.preset),
    (domain.studio.model, commands.studio.model, projections.studio.model),
    (domain.operations.budget, commands.operations.budget, projections.operations.budget),
    (domain.operations.ledger, commands.operations.ledger, projections.operations.ledger),
    (domain.trust.policy, commands.trust.policy, projections.trust.policy),
    (domain.trust.provider, commands.trust.provider, None),
    (domain.exchange.export, commands.exchange.export, projections.exchange.export),
    (None, None, projections.operations.telemetry),
)
"""(domain, commands, projections) of each context; ``None`` where a context has no such layer."""

BOARDS: Final[tuple[ModuleType, ...]] = (
    projections.boards.timeline, projections.boards.project, projections.boards.registry, projections.boards.differing,
    projections.boards.worldline_graph,
    projections.boards.variables,
    projections.boards.variable_uses,
    projections.boards.presentation, projections.boards.points_of_view, projections.boards.timeline_overlay,
    projections.boards.worldline_bio,
)
"""Views across contexts: modules with ``PROJECTIONS`` and ``VIEWS``."""


class Undecodable(Exception):
    """A stored event whose body does not fit its type: the projection that needs it is stopped, not the studio."""


@dataclass(frozen=True)
class Registry:
    """What the loops need to know, gathered once from the declarations of the contexts.

    ``inner`` are commands that have no door: only a service that has worked them out asks them.
    """

    contexts: Mapping[str, Context]
    askings: Mapping[str, Asking]
    homes: Mapping[str, Context]
    projections: Mapping[str, Projection]
    views: Mapping[str, View]
    inner: Mapping[str, Asking] = field(default_factory=dict)

    @cached_property
    def event_types(self) -> dict[str, tuple[Context, type[Event]]]:
        """Event name -> its context and class."""
        return {event.__name__: (context, event) for context in self.contexts.values() for event in context.events}

    @cached_property
    def states(self) -> dict[str, TypeAdapter[Any]]:
        """Category -> how its state is written to and read from snapshots."""
        return {category: TypeAdapter(context.state) for category, context in self.contexts.items()}

    def encode(self, event: Event) -> bytes:
        """The JSON body of an event: every field, in the order of its class."""
        return event.__pydantic_serializer__.to_json(event)

    def decode(self, recorded: Recorded) -> Event | None:
        """The event in a stored message, upcast to today's schema; ``None`` for a type this release does not know.

        Raises ``Undecodable`` when the type is known and the body does not fit it.
        """
        known = self.event_types.get(recorded.type)
        if known is None:
            return None
        context, type_ = known
        try:
            if recorded.schema == type_.SCHEMA:
                return type_.__pydantic_validator__.validate_json(recorded.data)  # type: ignore[no-any-return]
            if recorded.schema > type_.SCHEMA:
                return None  # written by a newer release: for this one an unknown event
            body = orjson.loads(recorded.data)
            for version in range(recorded.schema, type_.SCHEMA):
                body = context.upcasters[recorded.type, version](body)
            return type_.model_validate(body)
        except (ValidationError, KeyError, orjson.JSONDecodeError) as error:
            raise Undecodable(f"{recorded.type} at position {recorded.position}: {error}") from error

    def happened(self, recorded: Recorded) -> Happened:
        """A recorded event with its decoded body."""
        return Happened(recorded, self.decode(recorded))


def _gather() -> Registry:
    contexts: dict[str, Context] = {}
    askings: dict[str, Asking] = {}
    homes: dict[str, Context] = {}
    projections_: dict[str, Projection] = {}
    views: dict[str, View] = {}
    inner: dict[str, Asking] = {}
    shown: list[ModuleType] = list(BOARDS)
    for home, asked, seen in CONTEXTS:
        if home is not None:
            contexts[home.CONTEXT.category] = home.CONTEXT
        if asked is not None:
            for asking in asked.COMMANDS:
                askings[asking.name], homes[asking.name] = asking, home.CONTEXT
            for asking in getattr(asked, "INNER", ()):
                inner[asking.name], homes[asking.name] = asking, home.CONTEXT
        if seen is not None:
            shown.append(seen)
    for module in shown:
        projections_ |= {projection.name: projection for projection in module.PROJECTIONS}
        views |= {view.name: view for view in module.VIEWS}
    board = documents({category: context.fields for category, context in contexts.items()})
    projections_[board.name] = board
    known = frozenset(event.__name__ for context in contexts.values() for event in context.events)
    views |= {view.name: view for view in projections.operations.telemetry.telemetry(known)}
    views |= {view.name: view for view in projections.boards.registry.registry(contexts)}
    views |= {view.name: view for view in projections.boards.whole_project.whole(contexts)}
    for category, asking in commands.story.merging.asked_of(contexts.values()):
        inner[asking.name], homes[asking.name] = asking, contexts[category]
    return Registry(contexts, askings, homes, projections_, views, inner)


REGISTRY: Final = _gather()
"""The registry of this release."""
