"""What a database says when it fails, as the kinds of ``domain.errors``: no SQL, no values, no addresses in them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, InterfaceError, SQLAlchemyError

from domain.errors import ComfyVNError, Invalid, Remedy, Unavailable

DAMAGED: Final = "read_side_damaged"
MISSING: Final = "read_model_missing"

_AGAIN: Final = Remedy("Try again in a moment.", "retry")
_DOCTOR: Final = Remedy("See `comfyvn doctor`.", "doctor")
_SPACE: Final = Remedy("Free some space on the disk of the read side; counting then goes on by itself.", "free_space")
_REBUILD: Final = Remedy(
    "Run `comfyvn projections rebuild`: it moves the damaged file aside and builds everything anew from the log.",
    "rebuild_projections",
)

_SQLITE: Final = {
    3: "PERM", 5: "BUSY", 6: "LOCKED", 8: "READONLY", 10: "IOERR", 11: "CORRUPT", 13: "FULL", 14: "CANTOPEN",
    18: "TOOBIG", 19: "CONSTRAINT", 20: "MISMATCH", 23: "AUTH", 25: "RANGE", 26: "NOTADB",
}
"""SQLite's primary result codes, https://www.sqlite.org/rescode.html"""


@contextmanager
def told() -> Iterator[None]:
    """Turns what the database driver raises into what callers understand.

    The cause is cut off on purpose: drivers put statements and their values into messages.
    """
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, psycopg.Error) as error:
        raise explained(error) from None


def explained(error: Exception) -> ComfyVNError:
    """The error as callers understand it."""
    driver = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    if isinstance(driver, ComfyVNError):
        return driver
    if isinstance(driver, sqlite3.Error):
        return _sqlite(driver)
    if isinstance(driver, psycopg.Error):
        return _postgres(driver)
    if isinstance(error, sa.exc.TimeoutError | InterfaceError):
        return Unavailable("Every connection to the read side is in use.", error="read_side_busy", remediation=[_AGAIN])
    return _unavailable("The read side failed", type(driver).__name__)


def _sqlite(error: sqlite3.Error) -> ComfyVNError:
    # The extended code may be newer than the driver's list of names; its low byte never is.
    code = getattr(error, "sqlite_errorcode", 0)
    name = _SQLITE.get(code & 0xFF, type(error).__name__)
    match name:
        case "CORRUPT" | "NOTADB":
            return Unavailable(
                "The file of the read side is damaged.", error=DAMAGED, remediation=[_REBUILD],
                detail={"reason": name},
            )
        case "FULL":
            return _full(name)
        case "BUSY" | "LOCKED":
            return Unavailable(
                "The read side is being written to by somebody else for too long.", error="read_side_busy",
                remediation=[_AGAIN], detail={"reason": name},
            )
        case "READONLY" | "CANTOPEN" | "PERM" | "AUTH":
            return Unavailable(
                "The file of the read side cannot be opened for writing.", error="read_side_not_writable",
                remediation=[Remedy("Check the permissions of the data folder.", "check_permissions"), _DOCTOR],
                detail={"reason": name},
            )
        case "IOERR":
            return Unavailable(
                "The disk of the read side fails or is full.", error="read_side_disk", remediation=[_SPACE, _DOCTOR],
                detail={"reason": name},
            )
        case "CONSTRAINT" | "TOOBIG" | "MISMATCH" | "RANGE":
            return _refused(name)
    if "no such table" in str(error):
        return missing()
    if isinstance(error, sqlite3.DataError | sqlite3.InterfaceError):
        return _refused(name)
    return _unavailable("The read side failed", name)


def _postgres(error: psycopg.Error) -> ComfyVNError:
    state = error.sqlstate or ""
    if isinstance(error, psycopg.errors.DiskFull):
        return _full(state)
    if isinstance(error, psycopg.errors.UndefinedTable):
        return missing()
    if state.startswith(("40", "55")) or isinstance(error, psycopg.errors.QueryCanceled):
        return Unavailable(
            "The read side is busy with something else.", error="read_side_busy", remediation=[_AGAIN],
            detail={"reason": state},
        )
    if state == "XX001" or state == "XX002":
        return Unavailable(
            "The database of the read side is damaged.", error=DAMAGED,
            remediation=[Remedy("Make a new database, point COMFYVN_DATABASE_URL to it and start.", "new_database")],
            detail={"reason": state},
        )
    if state.startswith(("22", "23", "54")) or isinstance(error, psycopg.DataError):
        return _refused(state or type(error).__name__)
    if isinstance(error, psycopg.errors.InsufficientPrivilege | psycopg.errors.ReadOnlySqlTransaction):
        return Unavailable(
            "The database user may not write to the read side.", error="read_side_not_writable",
            remediation=[Remedy("Grant the user CREATE and USAGE on the schema.", "check_permissions")],
            detail={"reason": state},
        )
    if state.startswith(("08", "57", "28", "3D", "53")) or (not state and isinstance(error, psycopg.OperationalError)):
        return _unavailable("The database of the read side cannot be reached", state or type(error).__name__)
    return _unavailable("The read side failed", state or type(error).__name__)


def missing() -> Unavailable:
    """A table that the projector has not made yet."""
    return Unavailable(
        "The read model is not there yet.", error=MISSING, remediation=[_AGAIN, _DOCTOR],
    )


def _full(reason: str) -> Unavailable:
    return Unavailable(
        "The disk of the read side is full.", error="read_side_full", remediation=[_SPACE], detail={"reason": reason}
    )


def _refused(reason: str) -> Invalid:
    return Invalid(
        "The read side refuses a change.", error="unstorable_value",
        remediation=[Remedy("Mend the projection that makes this change, then resume it.", "resume_projection")],
        detail={"reason": reason},
    )


def _unavailable(sentence: str, reason: str) -> Unavailable:
    return Unavailable(f"{sentence}.", error="read_side_unreachable", remediation=[_AGAIN, _DOCTOR],
                       detail={"reason": reason})
