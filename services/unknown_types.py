"""Event types that this release does not know: skipped by projections, and counted so that nobody overlooks them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from domain.ports import Recorded
from services.registry import Registry

KNOWN_TYPES: Final = 1000
"""Unknown event types that are counted one by one; further ones are counted together as ``…``."""


class Unknown(NamedTuple):
    """An event type that this release does not know: how often it was met, and where first and last."""

    events: int
    first_position: int
    last_position: int


@dataclass(slots=True)
class UnknownTypes:
    """Unknown event types by name. An event that is read again is not counted again."""

    registry: Registry
    types: dict[str, Unknown] = field(default_factory=dict)
    position: int = 0

    def note(self, events: Sequence[Recorded]) -> None:
        """Looks at events in the order of the log."""
        known = self.registry.event_types
        for recorded in events:
            if recorded.position <= self.position:
                continue
            found = known.get(recorded.type)
            if found is not None and recorded.schema <= found[1].SCHEMA:
                continue
            name = recorded.type if found is None else f"{recorded.type} (schema {recorded.schema})"
            if name not in self.types and len(self.types) >= KNOWN_TYPES:
                name = "…"
            seen = self.types.get(name, Unknown(0, recorded.position, 0))
            self.types[name] = Unknown(seen.events + 1, seen.first_position, recorded.position)
        if events:
            self.position = max(self.position, events[-1].position)
