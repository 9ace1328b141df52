"""Doors and how a request finds one: literal segments win over parameters, a method that is missing is told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from gateways.http.problems import Reply
from gateways.http.visit import Visit

Answering = Callable[[Visit], Awaitable[Reply]]
"""A door that answers with one reply."""

Streaming = Callable[[Visit, Any], Awaitable[None]]
"""A door that speaks to the client by itself: it gets the ASGI ``send``."""

Operation = Mapping[str, Any] | Callable[[], Mapping[str, Any]]
"""An OpenAPI operation, or what makes it when somebody asks for the document."""


@dataclass(frozen=True, slots=True)
class Door:
    """One address with one method.

    ``operation`` is its OpenAPI operation; a door without one is described elsewhere or is no part of the interface.
    What is made from the shape of a command or view is made on demand: a server that starts need not wait for it.
    ``open`` doors need no token even where tokens are needed.
    """

    method: str
    path: str
    answer: Answering | None = None
    stream: Streaming | None = None
    operation: Operation = field(default_factory=dict)
    open: bool = False

    def described(self) -> Mapping[str, Any]:
        """Its OpenAPI operation; empty when it has none."""
        return self.operation() if callable(self.operation) else self.operation


@dataclass(slots=True)
class _Place:
    literal: dict[str, _Place] = field(default_factory=dict)
    parameter: _Place | None = None
    doors: dict[str, tuple[Door, tuple[str, ...]]] = field(default_factory=dict)


class Found(NamedTuple):
    """A door and the parameters of its path; without a door, ``allowed`` are the methods that the address has."""

    door: Door | None
    path: dict[str, str]
    allowed: tuple[str, ...] = ()


NOWHERE: Final = Found(None, {})


class Doors:
    """All doors, found by method and path."""

    def __init__(self, doors: Iterable[Door] = ()) -> None:
        self.all: list[Door] = []
        self._exact: dict[tuple[str, str], Found] = {}
        self._root = _Place()
        for door in doors:
            self.add(door)

    def add(self, door: Door) -> None:
        """Adds a door; two for one address are a mistake of the registry."""
        place, names = self._root, []
        for segment in door.path.strip("/").split("/"):
            if segment.startswith("{"):
                names.append(segment[1:-1])
                place.parameter = place = place.parameter or _Place()
            else:
                place = place.literal.setdefault(segment, _Place())
        if door.method in place.doors:
            raise ValueError(f"{door.method} {door.path} is declared twice")
        place.doors[door.method] = (door, tuple(names))
        self.all.append(door)
        if not names:
            self._exact[door.method, door.path] = Found(door, {})

    def find(self, method: str, path: str) -> Found:
        """The door of a request; HEAD goes where GET goes."""
        found = self._exact.get((method, path))
        if found is not None:
            return found
        if not path.startswith("/") or (path.endswith("/") and path != "/"):
            return NOWHERE
        allowed: set[str] = set()
        segments = path[1:].split("/")
        told = _search(self._root, segments, 0, (), "GET" if method == "HEAD" else method, allowed)
        if told is not None:
            return told
        if "GET" in allowed:
            allowed.add("HEAD")
        return Found(None, {}, tuple(sorted(allowed)))


def _search(
    place: _Place, segments: list[str], at: int, values: tuple[str, ...], method: str, allowed: set[str]
) -> Found | None:
    if at == len(segments):
        known = place.doors.get(method)
        if known is not None:
            return Found(known[0], dict(zip(known[1], values, strict=True)))
        allowed.update(place.doors)
        return None
    segment = segments[at]
    literal = place.literal.get(segment)
    if literal is not None:
        told = _search(literal, segments, at + 1, values, method, allowed)
        if told is not None:
            return told
    if place.parameter is not None and segment:
        return _search(place.parameter, segments, at + 1, (*values, segment), method, allowed)
    return None
