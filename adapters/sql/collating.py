"""Which of PostgreSQL's rules for upper and lower case is used: the best that the server has."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import sqlalchemy as sa

_known: WeakKeyDictionary[sa.Engine, str] = WeakKeyDictionary()


def best_collation(connection: sa.Connection) -> str:
    """The collation whose lower case follows Unicode, where the server has one; asked of it once."""
    engine = connection.engine
    name = _known.get(engine)
    if name is None:
        asked = sa.text("SELECT collname FROM pg_catalog.pg_collation WHERE collname IN ('und-x-icu', 'pg_c_utf8')")
        found = set(connection.execute(asked).scalars())
        name = _known[engine] = next((one for one in ("und-x-icu", "pg_c_utf8") if one in found), "C")
    return name
