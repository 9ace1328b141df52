"""A random key in a file of its own: made once, by whichever process comes first, readable by its owner alone."""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from domain.errors import Unavailable

KEY_BYTES: Final = 32


def private_key(place: Path) -> bytes:
    """The key at a place, made if there is none. Raises ``Unavailable`` for a file that holds something else."""
    try:
        place.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        if not place.exists():
            handle, name = tempfile.mkstemp(dir=place.parent, prefix=place.name + ".")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(secrets.token_bytes(KEY_BYTES))
                    file.flush()
                    os.fsync(file.fileno())
                with suppress(FileExistsError):
                    os.link(name, place)  # of two processes one is first, and both read its key
            finally:
                Path(name).unlink(missing_ok=True)
        key = place.read_bytes()
    except OSError as error:
        raise Unavailable(f"{place} cannot be used: {error.strerror}.", error="private_key") from None
    if len(key) != KEY_BYTES:
        raise Unavailable(f"{place} is not the key that it was.", error="private_key")
    return key
