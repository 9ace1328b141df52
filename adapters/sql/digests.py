"""Digests of tables: SHA-256 over the rows in canonical form and order of their key, the same on every database."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

import orjson
import sqlalchemy as sa

from adapters.sql.schema import Stored, stored_key

CHUNK: Final = 2000
"""Rows in memory at once."""


def digest(connection: sa.Connection, place: Stored) -> str:
    """The digest of all rows of a table, in hex.

    Form: the JSON array of [column, kind] pairs and of the key's columns, then each row as a JSON array of its stored
    values in declared order, one per line. Two tables have the same digest when they have the same rows.
    """
    table = place.table
    header = [[*map(list, table.columns.items())], list(stored_key(table))]
    taken = sha256(orjson.dumps(header) + b"\n")
    booleans = [number for number, column in enumerate(place.columns) if table.columns.get(column) == "bool"]
    asked = sa.select(*[place.at.c[column] for column in place.columns])
    asked = asked.order_by(*[place.at.c[column] for column in stored_key(table)])
    found = connection.execution_options(yield_per=CHUNK).execute(asked)
    for partition in found.partitions(CHUNK):
        lines: list[bytes] = []
        for row in partition:
            values = list(row)
            for number in booleans:
                values[number] = None if values[number] is None else bool(values[number])
            lines.append(orjson.dumps(values, option=orjson.OPT_APPEND_NEWLINE))
        taken.update(b"".join(lines))
    return taken.hexdigest()
