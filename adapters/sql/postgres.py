"""What only PostgreSQL needs: turns for changes of tables, locks that let readers finish, and Unicode lower case."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import monotonic, sleep
from typing import Final

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from adapters.sql.collating import best_collation
from adapters.sql.reader import Containing
from domain.errors import Unavailable

TURN: Final = 0x434F4D465956
"""Advisory lock of whoever makes, swaps or drops tables: one at a time per database."""

PATIENCE_SECONDS: Final = 30.0
"""How long a swap tries to get hold of the tables before it gives up."""


def turn(connection: sa.Connection) -> None:
    """Waits until nobody else makes or drops tables; the turn ends with the transaction."""
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(TURN)))


def share_lock(connection: sa.Connection, names: Iterable[str]) -> None:
    """Keeps tables from being swapped while a transaction reads them.

    A name is looked up when it is used, not when the snapshot is taken: without this, a reader whose snapshot is older
    than a swap would find the new table with only the rows that it had back then.
    """
    quote = connection.dialect.identifier_preparer.quote
    tables = ", ".join(quote(name) for name in sorted(names))
    if tables:
        connection.exec_driver_sql(f"LOCK TABLE {tables} IN ACCESS SHARE MODE")


def patiently(postgres: bool, attempt: Callable[[], bool]) -> bool:
    """Repeats a transaction that asks for exclusive locks until it gets them.

    It waits only briefly each time, since everybody who comes to read waits behind it.
    """
    deadline = monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return attempt()
        except Unavailable as error:
            if not postgres or error.code != "read_side_busy" or monotonic() > deadline:
                raise
        sleep(0.05)


def containing(connection: sa.Connection) -> Containing:
    """Case-insensitive search with the best rules for case that the server has."""
    name = best_collation(connection)

    def contains(column: ColumnElement[str], value: str) -> ColumnElement[bool]:
        wanted = sa.literal(value, sa.Text())
        return sa.func.strpos(
            sa.func.lower(sa.collate(column, name)), sa.func.lower(sa.collate(wanted, name))
        ) > 0

    return contains
