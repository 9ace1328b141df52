"""The rows of ``projection_checkpoints``: which tables stand where, and how far each has counted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from adapters.sql.schema import CHECKPOINTS, Stored, stored, tables_of
from adapters.sql.values import unescaped
from domain.ports import Checkpoint, Progress

C: Final = CHECKPOINTS.c


class Standing(NamedTuple):
    """One row without its shape."""

    name: str
    generation: int
    live: bool
    version: int
    position: int
    status: str
    failed_position: int
    error: str
    generations: int
    indexed: bool
    shape_digest: str

    @property
    def checkpoint(self) -> Checkpoint:
        return Checkpoint(
            self.name, self.version, self.generation, self.position,
            "stopped" if self.status == "stopped" else "live", self.failed_position, unescaped(self.error),
        )


_COLUMNS: Final = [CHECKPOINTS.c[name] for name in Standing._fields]


def standings(connection: sa.Connection, *where: Any, lock: bool = False) -> list[Standing]:
    """The rows that match, by name. ``lock`` keeps other writers of a PostgreSQL database from them."""
    asked = sa.select(*_COLUMNS).where(*where).order_by(C.name, C.generation)
    if lock:
        asked = asked.with_for_update()
    return _read(connection.execute(asked))


# Asked with every batch that is counted: composed once, since composing them takes longer than running them.
_NAMED: Final = (
    sa.select(*_COLUMNS).where(C.name.in_(sa.bindparam("names", expanding=True))).order_by(C.name, C.generation)
)
_NAMED_LOCKED: Final = _NAMED.with_for_update()
_LIVE: Final = sa.select(*_COLUMNS).where(C.live == 1).order_by(C.name, C.generation)
_MOVE: Final = (
    sa.update(CHECKPOINTS)
    .where(C.name == sa.bindparam("of_name"), C.generation == sa.bindparam("of_generation"))
    .values(position=sa.bindparam("to_position"))
)


def standings_named(connection: sa.Connection, names: Sequence[str], *, lock: bool) -> list[Standing]:
    """The rows of these projections, live or not."""
    return _read(connection.execute(_NAMED_LOCKED if lock else _NAMED, {"names": list(names)}))


def standings_live(connection: sa.Connection) -> list[Standing]:
    """The rows of all live projections."""
    return _read(connection.execute(_LIVE))


def move(connection: sa.Connection, steps: Sequence[Progress]) -> None:
    """Sets the checkpoints to where the steps end."""
    connection.execute(_MOVE, [
        {"of_name": one.projection, "of_generation": one.generation, "to_position": one.position} for one in steps
    ])


def _read(rows: Iterable[Any]) -> list[Standing]:
    return [
        Standing(name, generation, bool(live), version, at, status, failed, error, generations, bool(indexed), shape)
        for name, generation, live, version, at, status, failed, error, generations, indexed, shape in rows
    ]


def shape_digest(shape: str) -> str:
    """The name of a shape."""
    return sha256(shape.encode()).hexdigest()[:32]


class Shapes:
    """Shapes by their digest, read from the database once."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self._catalogue: tuple[Sequence[tuple[str, int, str]], Mapping[str, Stored]] = ((), {})
        self.seen: dict[tuple[str, int], str] = {}
        """Projection and generation -> shape, as last seen: a good guess, to be checked."""

    def of(self, connection: sa.Connection, standing: Standing) -> str:
        shape = self._known.get(standing.shape_digest)
        if shape is None:
            asked = sa.select(C.shape).where(C.name == standing.name, C.generation == standing.generation)
            shape = self._known[standing.shape_digest] = str(connection.execute(asked).scalar_one())
        self.seen[standing.name, standing.generation] = shape
        return shape

    def live(self, connection: sa.Connection, found: Sequence[Standing]) -> Mapping[str, Stored]:
        """Declared name -> table, of all live projections."""
        key = [(one.name, one.generation, one.shape_digest) for one in found]
        known, tables = self._catalogue
        if known != key:
            tables = {}
            for one in found:
                shape = self.of(connection, one)
                tables |= {name: stored(shape, name, one.generation, True) for name in tables_of(shape)}
            self._catalogue = (key, tables)
        return tables

    def names(self) -> list[str]:
        """Names of all live tables, as last seen."""
        return sorted(self._catalogue[1])

    def forget(self) -> None:
        """Lets go of what was seen."""
        self._catalogue = ((), {})
        self.seen.clear()
