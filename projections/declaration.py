"""How a projection is declared: tables, a version, and a pure function from events to row changes.

A projection never reads: whatever it needs stands in the event. That is why it can be batched, coalesced, rebuilt
beside itself and compared to the byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from domain.ports import Recorded
from domain.tables import Change, Table
from domain.values import Event


class Happened(NamedTuple):
    """A recorded event with its decoded body; ``event`` is ``None`` for types that this release does not know
    and for projections that declare ``decodes=False``."""

    recorded: Recorded
    event: Event | None


@dataclass(frozen=True, slots=True)
class Projection:
    """One read model. ``categories`` of ``None`` means every event. Raise ``version`` when tables or meaning change:
    the read model is then rebuilt beside the old one and swapped in."""

    name: str
    version: int
    tables: tuple[Table, ...]
    apply: Callable[[Happened], Iterable[Change]]
    categories: frozenset[str] | None = None
    decodes: bool = True
    about: str = ""
