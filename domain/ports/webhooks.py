"""Calls from outside that say that something has moved at an engine, and how one knows who called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Forged(Exception):
    """The call does not come from whom it says, or not now. The message is fit to be shown."""


class Checking(Protocol):
    """How an engine's calls are checked."""

    async def __call__(self, headers: Mapping[str, str], body: bytes, now: float, /) -> str:
        """What names this delivery, for telling repetitions. Headers in lower case. Raises ``Forged``."""
        ...
