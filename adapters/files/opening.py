"""Opening a local file that somebody named, with errors that say what to do."""

from __future__ import annotations

from typing import IO

from domain.errors import Invalid, NotFound, Remedy


def opened(path: str) -> IO[bytes]:
    """The file, to be read; raises ``NotFound``, or ``Invalid`` when it may not be read."""
    try:
        return open(path, "rb")
    except FileNotFoundError as error:
        raise NotFound(
            "There is no such file.", error="unknown_file", remediation=[Remedy("Check the path.", "check_path")]
        ) from error
    except OSError as error:
        raise Invalid(
            f"The file cannot be read: {error.strerror}.",
            error="unreadable_file",
            remediation=[Remedy("Check its permissions.", "check_permissions")],
        ) from error
