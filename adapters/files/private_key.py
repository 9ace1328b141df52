"""A random key in a file of its own: made once, by whichever process comes first, readable by its owner alone."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final

from adapters.files.replacing import place_first
from domain.errors import Unavailable

KEY_BYTES: Final = 32


def private_key(place: Path) -> bytes:
    """The key at a place, made if there is none. Raises ``Unavailable`` for a file that holds something else."""
    try:
        if not place.exists():
            place_first(place, secrets.token_bytes(KEY_BYTES))  # of two processes one is first, and both read its key
        key = place.read_bytes()
    except OSError as error:
        raise Unavailable(f"{place} cannot be used: {error.strerror}.", error="private_key") from None
    if len(key) != KEY_BYTES:
        raise Unavailable(f"{place} is not the key that it was.", error="private_key")
    return key
