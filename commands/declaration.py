"""How a context declares its commands, so that every door can offer them without being written twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from commands.envelope import Asked
from domain.errors import ComfyVNError
from domain.ports import BlobInfo, Stream
from domain.values import Event, Json, Value


class Command(Value):
    """Something asked for, in the imperative. Closed: unknown fields are refused by name."""


class Pinned(NamedTuple):
    """Names a story that a command is decided with: what stands on a worldline as of a position (0: now, which is made
    a position), one timeline or scene of it, or whatever is played when nobody says."""

    worldline: str
    position: int
    timeline: str | None
    scene: str | None


def no_material(command: Any, state: Any, asked: Asked, *others: Any) -> Pinned | None:
    """For commands that need no story."""
    return None


def no_others(command: Any, asked: Asked) -> Sequence[Stream]:
    """For commands that are decided on one aggregate alone."""
    return ()


def any_version(command: Any) -> int | None:
    """For commands that are decided on whatever version there is."""
    return None


def no_blobs(command: Any) -> Sequence[BlobInfo]:
    """For commands that speak of no stored bytes."""
    return ()


def nothing_along(command: Any) -> Sequence[Command]:
    """For commands that change no other aggregate."""
    return ()


def accepted(events: Sequence[Event]) -> ComfyVNError | None:
    """For commands whose events are never bad news."""
    return None


def nothing_more(events: Sequence[Event]) -> Mapping[str, Json]:
    """For commands whose answer is no more than that they were accepted."""
    return {}


@dataclass(frozen=True, slots=True)
class Asking:
    """One command: its model, what it is about, and the door where people expect it.

    ``decide(command, state, asked)`` returns the events, or raises; with ``others`` it is called with a fourth
    argument, the states of those streams in their order (read, not guarded: only for what never changes back).
    With ``material`` the last argument is the ``domain.story.play.Story`` that ``material(command, state, asked)``
    names, or nothing when it names none (``material`` and ``decide`` get the states of ``others`` before it); ``told``
    gets it as a second argument too.
    ``id_field`` names the field that holds the aggregate's id; a command may leave that field empty (``None``) when
    ``creates`` is set, and gets an id derived from the command's id. ``route`` is ``"METHOD /path"`` for the
    resource door, path parameters fill fields of the same name. ``scope`` is what a token needs.
    ``bad_news(events)`` turns recorded events into the error that the caller is told *after* they are recorded.
    ``told(events)`` is what the caller is told of them beside their names and positions (findings, a new balance); the
    door adds its entries to the answer.
    ``needs_head``: ``asked.head`` is filled with the position of the log's end.
    ``expects(command)`` is the version on which it was worked out; on any other it is refused as ``Stale``.
    ``blobs(command)`` names the bytes that must be stored, in that size, before it is decided.
    ``along(command)`` are commands on other aggregates that are asked with it as one, whoever asks it: they are decided
    after everything that was asked (their ``others`` are read as that leaves them), a no of theirs is a no to all, and
    what they tell is told by this command.
    """

    command: type[Command]
    decide: Callable[..., Sequence[Event]]
    id_field: str
    scope: str
    route: str | None = None
    creates: bool = False
    needs_head: bool = False
    others: Callable[[Any, Asked], Sequence[Stream]] = no_others
    bad_news: Callable[[Sequence[Event]], ComfyVNError | None] = accepted
    told: Callable[..., Mapping[str, Json]] = nothing_more
    blobs: Callable[[Any], Sequence[BlobInfo]] = no_blobs
    material: Callable[..., Pinned | None] = no_material
    expects: Callable[[Any], int | None] = any_version
    along: Callable[[Any], Sequence[Command]] = nothing_along

    @property
    def name(self) -> str:
        return self.command.__name__
