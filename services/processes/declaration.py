"""How a process is declared: the events that it reacts to, and a function from one of them to commands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from commands.declaration import Command
from domain.values import Event
from projections.declaration import Happened
from services.studio import Studio

React = Callable[[Happened], Awaitable[Sequence[Command]]]
"""What follows from an event: commands for its project, asked as one. It may run more than once for one event."""


@dataclass(frozen=True, slots=True)
class Process:
    """What must happen after an event happened.

    ``opened(studio)`` gives the reaction together with whatever it keeps open between events. ``at_once`` events are
    worked on at a time in one worker. An event whose worker says nothing for ``ack_wait_seconds`` goes to another one;
    workers say that they are alive while they work.
    """

    name: str
    events: tuple[type[Event], ...]
    opened: Callable[[Studio], AbstractAsyncContextManager[React]]
    at_once: int = 2
    ack_wait_seconds: float = 30.0
    about: str = ""
