"""Who asks, when and why: what travels with a command so that deciding needs no clock and no dice."""

from __future__ import annotations

from typing import NamedTuple

from domain.ids import derived_id


class Asked(NamedTuple):
    """The circumstances of a command, fixed at the door.

    ``command_id`` is also the idempotency key's id; ``time`` is RFC 3339 in UTC; ``request`` the digest of what was
    asked, so that a reused key shows; ``head`` the position of the log's end when that matters (else 0); ``place`` is
    the command's among those that are asked as one, from 0.
    """

    command_id: str
    actor: str
    time: str
    project: str
    worldline: str = "main"
    head: int = 0
    request: str = ""
    correlation_id: str = ""
    causation_id: str = ""
    place: int = 0

    def new_id(self, kind: str) -> str:
        """An id for a thing that this command creates: the same for every retry, its own in a batch."""
        place = (str(self.place),) if self.place else ()
        return derived_id(kind, self.project, self.command_id, *place, length=16)
