"""What was done to a log, judged from where its events still fit the chain of hashes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from domain.ports import Recorded
from services.sealing import HASH, linked, unheld

WINDOW: Final = 512
"""How far after the first contradiction events are looked for."""

Judgement = Literal["changed", "removed", "inserted", "reordered", "chain_altered"]


class Evidence(NamedTuple):
    """What there is from the first contradiction on.

    ``before`` is the good hash before ``position``, ``events`` what the log holds by position, ``stored`` the chain's
    hashes from ``position`` on.
    """

    position: int
    before: bytes
    events: Mapping[int, Recorded]
    stored: bytes

    def hash_at(self, position: int) -> bytes | None:
        """The stored hash of a position, if there is one."""
        if position == self.position - 1:
            return self.before
        start = (position - self.position) * HASH
        return self.stored[start : start + HASH] or None

    def fits(self, event: Recorded | None, position: int) -> bool:
        """Whether an event is the one that once stood at a position."""
        before, after = self.hash_at(position - 1), self.hash_at(position)
        if event is None or before is None or after is None:
            return False
        return linked(before, event._replace(position=position)) == after

    def place(self, event: Recorded | None) -> int:
        """Where after the contradiction an event once stood; 0 when nowhere near."""
        return next((at for at in range(self.position + 1, self.position + WINDOW) if self.fits(event, at)), 0)


def diagnosis(evidence: Evidence) -> tuple[Judgement, str]:
    """What the first contradiction looks like, in one word and in one sentence."""
    at = evidence.position
    here = evidence.events.get(at)
    last = _altered_upto(evidence)
    if last:
        what = f"position {at} is" if last == at else f"positions {at} to {last} are"
        return "chain_altered", f"The log is whole, but the chain's hash of {what} not what it was."
    if here is None:
        return "removed", f"The event at position {at} was removed: there is nothing."
    came_from = evidence.place(here)
    now = next((one for one in range(at + 1, at + WINDOW) if evidence.fits(evidence.events.get(one), at)), 0)
    if now:
        if not came_from and (now + 1 not in evidence.events or evidence.fits(evidence.events[now + 1], at + 1)):
            count = now - at
            return "inserted", f"{_events(count)} inserted at position {at}; what stood there stands at {now} now."
        other = f" and what stands there once stood at {came_from}" if came_from else ""
        return "reordered", f"The event of position {at} stands at {now} now{other}: events were put in another order."
    if came_from:
        return "removed", f"{_events(came_from - at)} removed at position {at}; what stands there was at {came_from}."
    follow = evidence.events.get(at + 1)
    if follow is None or evidence.fits(follow, at + 1):
        return "changed", f"The event at position {at} ({here.type or 'no type'}) was changed."
    return "changed", f"The event at position {at} ({here.type or 'no type'}) was changed, and so was what follows it."


def _altered_upto(evidence: Evidence) -> int:
    """The last altered hash of the chain, when the log's own events lead back to hashes that stand there; else 0."""
    at, digest = evidence.position, evidence.before
    for position in range(at, at + WINDOW):
        stored = evidence.hash_at(position)
        event = evidence.events.get(position)
        if stored is None or (event is None and position > max(evidence.events, default=0)):
            return 0
        digest = linked(digest, event) if event is not None else unheld(digest, position)
        if digest == stored:
            return position - 1
    return 0


def _events(count: int) -> str:
    return "One event was" if count == 1 else f"{count} events were"
