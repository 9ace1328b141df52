"""A story with a menu, dice, a second scene and secrets, for tests of what plays it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from behaviour import ASKED

from commands.declaration import Command, no_material
from domain.context import Context
from domain.story.play import Story, story
from domain.values import Event
from services.registry import REGISTRY

PIER: dict[str, Any] = {
    "id": "pier", "title": "The Pier", "start": "start", "variables": {"coins": 2}, "nodes": [
        {"id": "start", "speaker": "Mara", "text": "You came.", "choices": [{"target": "ask"}]},
        {"id": "ask", "text": "And now?", "choices": [
            {"id": "stay", "target": "toss", "label": "Stay", "actions": [
                {"type": "set", "key": "mood.mara", "value": "glad"}, {"type": "decrement", "key": "coins"}]},
            {"id": "leave", "target": "gone", "label": "Leave"},
            {"id": "whisper", "target": "toss", "label": "Whisper", "visible_to": ["mara"]},
        ]},
        {"id": "toss", "type": "chance", "text": "A coin turns.", "choices": [
            {"id": "heads", "target": "ask", "weight": 1},
            {"id": "tails", "target": "gone", "weight": 2, "actions": [{"type": "increment", "key": "luck"}]}]},
        {"id": "gone", "text": "The ferry leaves.", "end": True},
    ],
}

HOME: dict[str, Any] = {
    "id": "shore", "start": "dusk",
    "nodes": [{"id": "dusk", "text": "Lamps.", "actions": [{"type": "set", "key": "mood.sea", "value": "calm"}]}],
}


def content(*scenes: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Content as the story board gives it."""
    told = scenes or (PIER, HOME)
    return {
        "id": "main", "worldline": "main", "position": 2, "timeline": None, "implicit": True,
        "entries": [{"id": one["id"], "scene": one["id"]} for one in told],
        "scenes": {one["id"]: one for one in told}, "variables": {"luck": 0}, **fields,
    }


STORY: Story = story(content())


def follows(history: Sequence[Event], command: Command, others: Sequence[Any] = (), told: Story = STORY) -> list[Any]:
    """The events of a command on a history."""
    asking = REGISTRY.askings[type(command).__name__]
    state = folded(REGISTRY.homes[type(command).__name__], history)
    rest: list[Any] = [list(others)] if asking.others(command, ASKED) else []
    if asking.material is not no_material:
        named = asking.material(command, state, ASKED, *rest)
        rest.append(None if named is None else told)
    return list(asking.decide(command, state, ASKED, *rest))


def folded(context: Context, history: Sequence[Event]) -> Any:
    """What events add up to."""
    state = context.initial
    for event in history:
        state = context.evolve(state, event)
    return state


def played(*commands: Command, told: Story = STORY) -> list[Any]:
    """The events of commands, each decided on what the last left."""
    history: list[Any] = []
    for command in commands:
        history += follows(history, command, told=told)
    return history
