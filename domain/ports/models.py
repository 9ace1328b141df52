"""Read models: their checkpoints, steps through the log, and the port that keeps the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Literal, NamedTuple, Protocol

from domain.tables import Change, Reader, Table


class Checkpoint(NamedTuple):
    """How far a read model has counted.

    ``generation`` grows with every swap, so that a projector that still works for the old tables notices.
    A ``stopped`` projection met an event that it could not apply: ``failed_position`` and ``error`` say which and why;
    its tables stay readable as of ``position``.
    """

    projection: str
    version: int
    generation: int
    position: int
    status: Literal["live", "stopped"]
    failed_position: int
    error: str


class Progress(NamedTuple):
    """Row changes of one projection for one stretch of the log: from ``after`` (exclusive) up to ``position``.

    ``changes`` pairs each change with the position of the event that it follows from, in order.
    """

    projection: str
    generation: int
    after: int
    position: int
    changes: Sequence[tuple[int, Change]]


class Fingerprint(NamedTuple):
    """What the tables of a read model hold at a position: table -> digest of its rows."""

    version: int
    position: int
    tables: Mapping[str, str]


class Overtaken(Exception):
    """A read model moved on under a projector (another projector, a swap): read the checkpoint and start from there."""


class ReadModels(Protocol):
    """Tables of read models with their checkpoints in the same database. Blocking: call it from a thread.

    Every method raises ``Unavailable`` when the database cannot be reached, is full or is damaged.
    """

    def reader(self) -> AbstractContextManager[Reader]:
        """A reader on one consistent state of all live tables."""
        ...

    def checkpoints(self) -> Mapping[str, Checkpoint]:
        """Projection name -> checkpoint, for every projection that has live tables."""
        ...

    def create(self, projection: str, version: int, tables: Sequence[Table]) -> Checkpoint:
        """Empty live tables at position 0 for a projection that has none; its checkpoint if it has.

        That checkpoint says version 0 when the live tables are of another shape than the declared ones. Raises
        ``Refused`` when a table of that name is there already and belongs to somebody else.
        """
        ...

    def advance(self, steps: Sequence[Progress]) -> None:
        """Applies steps of several projections and moves their checkpoints, all in one transaction.

        Raises ``Overtaken`` (and changes nothing) when a checkpoint is not where a step starts.
        """
        ...

    def stop(self, projection: str, failed_position: int, error: str) -> None:
        """Marks a projection as stopped by an event; ``resume`` takes that back."""
        ...

    def resume(self, projection: str) -> None:
        """Marks a stopped projection as live again, from its checkpoint."""
        ...

    def begin_rebuild(self, projection: str, version: int, tables: Sequence[Table]) -> int:
        """Makes empty tables beside the live ones (dropping leftovers of an earlier try); their generation.

        ``advance`` takes steps for that generation as for the live one.
        """
        ...

    def swap(self, projection: str, generation: int, *, beyond: bool = False) -> bool:
        """Puts rebuilt tables in place of the live ones in one transaction and drops those.

        False, and nothing changes, while the rebuilt tables have counted less than the live ones, unless ``beyond``:
        the live ones have counted beyond the end of the log, so they belong to another one.
        """
        ...

    def drop_rebuild(self, projection: str, generation: int) -> None:
        """Throws rebuilt tables away."""
        ...

    def rebuilds(self) -> Mapping[str, Checkpoint]:
        """Projection name -> checkpoint of its tables that are being rebuilt, for every projection that has such."""
        ...

    def digests(self, projection: str, generation: int | None = None) -> Mapping[str, str]:
        """Table -> digest of its rows in canonical form, the same for the same rows on every database.

        ``generation`` of ``None`` means the live tables.
        """
        ...

    def fingerprint(self, projection: str, generation: int | None = None) -> Fingerprint:
        """``digests`` together with the position that they belong to, from one consistent state.

        Raises ``NotFound`` when there are no such tables.
        """
        ...

    def mend(self) -> str | None:
        """Moves a damaged database aside, so that every read model can be made anew; where it lies now.

        Nothing when the database is sound, or when mending it is its own administrator's business.
        """
        ...

    def close(self) -> None:
        """Gives connections back."""
        ...
