"""What SQLite is told about the tables, so that it picks the declared index for a question.

Without statistics SQLite takes ten rows for what a first column leaves, whatever the column: the primary key looks as
good as any index, and every question about a project then reads the whole project. Measuring the tables (``ANALYZE``)
would mend that only after they have grown, and plans would change from day to day. So the statistics are written down
from the declarations instead, in the format of https://www.sqlite.org/fileformat2.html#stat1tab: large tables, a first
column that leaves everything, and every further one that narrows. Plans are then the same on the first event and on the
ten millionth. PostgreSQL measures by itself and keeps doing so.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from adapters.sql.schema import Stored

ROWS: Final = 10**9
"""As many rows as a table is taken to have."""

NARROWING: Final = {"text": 100, "json": 100, "int": 1000, "bool": 2}
"""How many times fewer rows are left by one more column of an index, by what it holds."""


def describe(connection: sa.Connection, places: list[Stored]) -> None:
    """Writes down what the planner should take live tables for; nothing on PostgreSQL. Belongs to the making of them.

    Other connections read it with the changed schema, this one at once.
    """
    if connection.dialect.name != "sqlite" or not places:
        return
    connection.exec_driver_sql("ANALYZE sqlite_schema")  # makes the table of statistics, which nobody else may
    for place in places:
        name = place.at.name
        connection.exec_driver_sql("DELETE FROM sqlite_stat1 WHERE tbl = ?", (name,))
        found = connection.exec_driver_sql(
            'SELECT name, "unique", origin FROM pragma_index_list(?)', (name,)
        ).all()
        for index, unique, origin in found:
            columns = connection.exec_driver_sql(
                "SELECT name FROM pragma_index_info(?) ORDER BY seqno", (index,)
            ).scalars().all()
            # Without rowids the primary key is the table itself, and is described under its name.
            called = name if origin == "pk" and not place.at.dialect_options["sqlite"]["with_rowid"] else index
            connection.exec_driver_sql(
                "INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES (?, ?, ?)",
                (name, called, _statistics(place, list(columns), bool(unique))),
            )
    connection.exec_driver_sql("ANALYZE sqlite_schema")


def _statistics(place: Stored, columns: list[str], unique: bool) -> str:
    """Rows in all, then rows that share the first column, the first two, and so on."""
    shared = [ROWS]
    for column in columns[1:]:
        kind = place.table.columns.get(column, "int")
        shared.append(max(2, shared[-1] // NARROWING[kind]))
    if unique:
        shared[-1] = 1
    # Skipping through the values of a column is what a project's worth of rows would be read by.
    return " ".join(map(str, (ROWS, *shared))) + " noskipscan"
