"""Where files are downloaded from: one answer to one GET, redirects followed with care, bytes still to come."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from domain.studio.fault import Fault


class SourceError(Exception):
    """Nothing can be had from there. ``again``: trying again may help, after ``after_seconds`` at least."""

    def __init__(self, fault: Fault, *, again: bool = False, after_seconds: float = 0.0) -> None:
        super().__init__(fault.message)
        self.fault = fault
        self.again = again
        self.after_seconds = after_seconds


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer whose bytes are still to come. Names of ``headers`` are in small letters."""

    status: int
    headers: Mapping[str, str]
    pieces: AsyncIterator[bytes]


class Source(Protocol):
    """The web, as far as it may be asked."""

    def check(self, url: str) -> None:
        """Raises ``SourceError`` for an address that is never asked."""
        ...

    def get(self, url: str, headers: Mapping[str, str]) -> AbstractAsyncContextManager[Answer]:
        """The answer at an address. Raises ``SourceError``, also while its pieces are read."""
        ...
