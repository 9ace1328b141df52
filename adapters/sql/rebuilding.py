"""Making, indexing, dropping and swapping the tables of a projection, inside a transaction of the caller."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from adapters.sql import searching
from adapters.sql.catalogue import C, Shapes, Standing, shape_digest, standings
from adapters.sql.planning import describe
from adapters.sql.schema import CHECKPOINTS, indexes, stored, tables_of
from domain.errors import NotFound, Refused, Remedy
from domain.ports import Checkpoint, Overtaken


def create(connection: sa.Connection, projection: str, version: int, shape: str) -> Checkpoint:
    """Empty live tables, unless there are some."""
    for standing in standings(connection, C.name == projection, C.live == 1):
        same = standing.shape_digest == shape_digest(shape)
        return standing.checkpoint if same else standing.checkpoint._replace(version=0)
    _refuse_foreign(connection, projection, tables_of(shape))
    _make(connection, shape, 1, live=True)
    _index(connection, shape, 1, live=True)
    describe(connection, [stored(shape, name, 1, True) for name in tables_of(shape)])
    _insert(connection, projection, 1, version, shape, live=True)
    return Checkpoint(projection, version, 1, 0, "live", 0, "")


def begin(connection: sa.Connection, shapes: Shapes, projection: str, version: int, shape: str) -> int:
    """Empty tables beside the live ones."""
    found = standings(connection, C.name == projection, lock=_locks(connection))
    live = _live(found, projection)
    for left in found:
        if not left.live:
            drop(connection, shapes, left)
    _refuse_foreign(connection, projection, tables_of(shape).keys() - tables_of(shapes.of(connection, live)).keys())
    generation = live.generations + 1
    connection.execute(sa.update(CHECKPOINTS).where(*_row(live)).values(generations=generation))
    _make(connection, shape, generation, live=False)
    _insert(connection, projection, generation, version, shape, live=False)
    return generation


def finish_indexes(connection: sa.Connection, shapes: Shapes, projection: str, generation: int) -> None:
    """Makes the indexes that only readers need; rebuilt tables are filled without them."""
    mine = (C.name == projection, C.generation == generation, C.live == 0)
    for standing in standings(connection, *mine, lock=_locks(connection)):
        if not standing.indexed:
            _index(connection, shapes.of(connection, standing), generation, live=False)
            connection.execute(sa.update(CHECKPOINTS).where(*_row(standing)).values(indexed=1))


def swap(connection: sa.Connection, shapes: Shapes, projection: str, generation: int, beyond: bool) -> bool:
    """Rebuilt tables become the live ones, unless they have counted less and the log goes on (not ``beyond``)."""
    found = standings(connection, C.name == projection, lock=_locks(connection))
    live = _live(found, projection)
    fresh = next((one for one in found if one.generation == generation and not one.live), None)
    if fresh is None:
        raise Overtaken(projection)
    if fresh.position < live.position and not beyond:
        return False
    shape = shapes.of(connection, fresh)
    _refuse_foreign(connection, projection, tables_of(shape).keys() - tables_of(shapes.of(connection, live)).keys())
    drop(connection, shapes, live)
    quote = connection.dialect.identifier_preparer.quote
    for name in sorted(tables_of(shape)):
        place = stored(shape, name, generation, False)
        connection.exec_driver_sql(f"ALTER TABLE {quote(place.at.name)} RENAME TO {quote(name)}")
    describe(connection, [stored(shape, name, generation, True) for name in sorted(tables_of(shape))])
    connection.execute(sa.update(CHECKPOINTS).where(*_row(fresh)).values(live=1, generations=live.generations))
    return True


def drop(connection: sa.Connection, shapes: Shapes, standing: Standing) -> None:
    """Drops the tables of one generation and its row."""
    shape = shapes.of(connection, standing)
    for name in sorted(tables_of(shape)):
        place = stored(shape, name, standing.generation, standing.live)
        searching.drop(connection, place, standing.generation)
        place.at.drop(connection, checkfirst=True)
    connection.execute(sa.delete(CHECKPOINTS).where(*_row(standing)))


def _make(connection: sa.Connection, shape: str, generation: int, *, live: bool) -> None:
    for name in tables_of(shape):
        # The bare table: its cached definition may carry indexes that were made for another database.
        connection.execute(sa.schema.CreateTable(stored(shape, name, generation, live).at))


def _index(connection: sa.Connection, shape: str, generation: int, *, live: bool) -> None:
    for name in tables_of(shape):
        for index in indexes(stored(shape, name, generation, live), generation):
            index.create(connection)
        searching.make(connection, stored(shape, name, generation, live), generation)


def _insert(
    connection: sa.Connection, projection: str, generation: int, version: int, shape: str, *, live: bool
) -> None:
    connection.execute(
        sa.insert(CHECKPOINTS).values(
            name=projection, generation=generation, live=int(live), version=version, position=0, status="live",
            failed_position=0, error="", generations=generation, indexed=int(live),
            shape_digest=shape_digest(shape), shape=shape,
        )
    )


def _refuse_foreign(connection: sa.Connection, projection: str, names: Iterable[str]) -> None:
    """Nobody's table is overwritten because it happens to have our name."""
    inspector = sa.inspect(connection)
    for name in sorted(names):
        if inspector.has_table(name):
            raise Refused(
                f"Read model {projection} needs a table {name}, and there is one that belongs to somebody else.",
                error="table_taken",
                remediation=[Remedy("Give the read side a database of its own.", "set_database_url")],
                detail={"projection": projection, "table": name},
            )


def _live(found: Sequence[Standing], projection: str) -> Standing:
    for one in found:
        if one.live:
            return one
    raise unknown(projection)


def unknown(projection: str) -> NotFound:
    """No such tables."""
    return NotFound(
        f"There are no such tables of read model {projection}.", error="unknown_read_model",
        remediation=[Remedy("List the projections.", "list_projections")], detail={"projection": projection},
    )


def _row(standing: Standing) -> tuple[sa.ColumnElement[bool], ...]:
    return C.name == standing.name, C.generation == standing.generation


def _locks(connection: sa.Connection) -> bool:
    return connection.dialect.name == "postgresql"
