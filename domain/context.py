"""What a context declares about itself so that one loop can run them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from domain.values import Event, Json

Fields = Mapping[str, Json]
"""Path of a field of the document -> its whole value after the event; ``None`` removes the field."""

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
"""The stored body of one schema version -> the body of the next."""


def no_fields(event: Any) -> Fields:
    """For contexts whose aggregates are not documents."""
    return {}


@dataclass(frozen=True, slots=True)
class Context:
    """One kind of aggregate.

    ``state`` is the type of every situation an aggregate can be in (for snapshots); ``initial`` the situation
    before anything happened; ``evolve(state, event)`` what an event makes of it. ``fields(event)`` says which
    fields of the document an event sets, each with its whole value after the event: read models, time travel,
    before-and-after and merging all work on that. An authored document ``branches`` with its worldline.
    ``snapshot`` is the version of the state's shape: raise it when old snapshots must not be read.
    """

    category: str
    branches: bool
    events: tuple[type[Event], ...]
    state: Any
    initial: Any
    evolve: Callable[[Any, Any], Any]
    fields: Callable[[Any], Fields] = no_fields
    upcasters: Mapping[tuple[str, int], Upcaster] = field(default_factory=dict)
    snapshot: int = 1
