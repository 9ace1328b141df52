"""How far each projection is, as doctors and dashboards show it."""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import Final, Literal, NamedTuple

from services.unknown_types import Unknown

RATE_SECONDS: Final = 5.0
"""Stretch of time over which rates are taken."""

NEAR: Final = 1000
"""Events behind the log's end that still count as live."""

State = Literal["live", "catching_up", "rebuilding", "stopped", "newer", "beyond", "refused"]
"""What a projection is doing.

    live, catching_up   counting, near to or far from the log's end
    rebuilding          its old tables stand still while new ones are built beside them
    stopped             an event could not be applied: ``resume`` or ``rebuild``
    newer               a newer release has made its tables: this one leaves them alone
    beyond              it has counted further than this log goes: another log, or one restored from a backup
    refused             its tables cannot be made
"""

class ProjectionStatus(NamedTuple):
    """Where one projection stands; ``rate`` in events per second of the log, over the last seconds."""

    name: str
    state: State
    version: int
    position: int
    lag: int
    rate: float
    failed_position: int
    error: str


class ProjectorStatus(NamedTuple):
    """Where all of them stand. ``trouble`` says why nothing moves, when nothing can."""

    head: int
    projections: Mapping[str, ProjectionStatus]
    unknown: Mapping[str, Unknown]
    trouble: str


class Rate:
    """Events per second over the last seconds."""

    def __init__(self) -> None:
        self._began = monotonic()
        self._events = 0
        self._before = 0.0

    def note(self, events: int) -> None:
        """So many more."""
        self._turn()
        self._events += events

    def per_second(self) -> float:
        """The rate of the last whole stretch, or of the present one when it is the first."""
        self._turn()
        return self._before or self._events / max(monotonic() - self._began, 0.001)

    def _turn(self) -> None:
        passed = monotonic() - self._began
        if passed >= RATE_SECONDS:
            self._before = self._events / passed if passed < 2 * RATE_SECONDS else 0.0
            self._began, self._events = monotonic(), 0
