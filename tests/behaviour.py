"""Given what has happened, when something is asked, then this follows: the words that context tests are written in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from commands.declaration import Command, no_material
from commands.envelope import Asked
from domain.errors import ComfyVNError
from domain.values import Event
from services.registry import REGISTRY

ASKED = Asked(
    command_id="command-1", actor="author", time="2026-01-02T03:04:05Z", project="demo", request="request-1", head=100
)


@dataclass(frozen=True)
class Given:
    """A history of one aggregate; ``others`` are the states of the streams that the command declares it reads,
    ``material`` the story that it is decided with."""

    history: Sequence[Event]
    others: Sequence[Any] = ()
    material: Any = None

    def when(self, command: Command, asked: Asked = ASKED) -> When:
        return When(self, command, asked)


@dataclass(frozen=True)
class When:
    """A command that has been asked on a history."""

    given: Given
    command: Command
    asked: Asked
    _memo: dict[str, Any] = field(default_factory=dict)

    def _state(self) -> Any:
        context = REGISTRY.homes[type(self.command).__name__]
        state = context.initial
        for event in self.given.history:
            state = context.evolve(state, event)
        return state

    def _decide(self) -> list[Event]:
        name = type(self.command).__name__
        asking = REGISTRY.askings.get(name) or REGISTRY.inner[name]
        others = (list(self.given.others),) if asking.others(self.command, self.asked) else ()
        state = self._state()
        if asking.material is no_material:
            return list(asking.decide(self.command, state, self.asked, *others))
        named = asking.material(self.command, state, self.asked, *others)
        story = None if named is None else self.given.material
        return list(asking.decide(self.command, state, self.asked, *others, story))

    def then(self, *events: Event) -> When:
        """Exactly these events follow."""
        assert self._decide() == list(events)
        return self

    def then_nothing(self) -> When:
        """It is so already."""
        return self.then()

    def then_refused(self, error: str, kind: type[ComfyVNError] = ComfyVNError) -> ComfyVNError:
        """A rule says no, with this code, and says what to do about it."""
        with pytest.raises(kind) as caught:
            self._decide()
        assert caught.value.code == error
        assert caught.value.remediation, f"{error} does not say what to do next"
        return caught.value

    def and_again_nothing(self) -> When:
        """Asked once more on top of what followed, nothing follows: a retry is harmless."""
        follow = self._decide()
        assert follow, "nothing followed the first time"
        again = replace(self.given, history=[*self.given.history, *follow])
        return again.when(self.command, self.asked).then_nothing()


def given(*history: Event, others: Sequence[Any] = (), material: Any = None) -> Given:
    """What has happened to the aggregate so far."""
    return Given(history, others, material)
