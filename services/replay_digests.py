"""The digest of a trace that grows: what was hashed once is not hashed again, also after the play has gone back."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final, NamedTuple

from domain.canonical import canonical
from domain.story.play import Station, Story, exact, recorded

STRIDE: Final = 64
"""Moments between two places from which hashing can go on."""

_BEFORE: Final = b'{"schema":"comfyvn.trace.v1","steps":['
_AFTER: Final = b"]}"


class _Place(NamedTuple):
    """How far it was hashed: so many moments, the last of which is ``station``."""

    count: int
    station: Station | None
    hashed: Any


class TraceDigest:
    """``of(path)`` is what ``trace_digest`` says of a path. A moment that was left is another object when the play has
    come there on another way, so places are told apart by what stands at them."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._places = [_Place(0, None, sha256(_BEFORE))]

    def of(self, path: Sequence[Station]) -> str:
        """The digest of a path, the moment where it stands last."""
        left = path[:-1]
        while len(self._places) > 1 and not self._on(left):
            self._places.pop()
        count, _, known = self._places[-1]
        hashed = known.copy()
        for station in left[count:]:
            hashed.update(self._told(station, first=count == 0))
            count += 1
            if count % STRIDE == 0:
                self._places.append(_Place(count, station, hashed.copy()))
        for station in path[-1:]:
            hashed.update(self._told(station, first=count == 0))
        hashed.update(_AFTER)
        return f"sha256:{hashed.hexdigest()}"

    def _on(self, left: Sequence[Station]) -> bool:
        place = self._places[-1]
        return place.count <= len(left) and left[place.count - 1] is place.station

    def _told(self, station: Station, *, first: bool) -> bytes:
        told = canonical(exact(recorded(self._story, [station])[0]))
        return told if first else b"," + told
