"""A damaged SQLite file: found out, and moved aside so that everything can be counted again from the log."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


def damaged(file: Path) -> bool:
    """Whether a file is there and is not a sound database."""
    if not file.exists():
        return False
    try:
        with closing(sqlite3.connect(file, timeout=30)) as connection:
            return [row[0] for row in connection.execute("PRAGMA quick_check(1)")] != ["ok"]
    except sqlite3.DatabaseError as error:
        name = getattr(error, "sqlite_errorname", "")
        if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            return True
        raise


def moved_aside(file: Path) -> Path:
    """Renames a database with its companions to the first free ``<name>.damaged-<n>``; where it lies now."""
    number = 1
    while (aside := file.with_name(f"{file.name}.damaged-{number}")).exists():
        number += 1
    # The log of unwritten pages goes with its file: beside a new one it would be taken for the new one's.
    for ending in ("-wal", "-shm"):
        companion = file.with_name(file.name + ending)
        if companion.exists():
            companion.rename(aside.with_name(aside.name + ending))
    file.rename(aside)
    return aside
