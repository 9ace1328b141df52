"""Templates that every project has: the shapes that stories are made of most often."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final


def _parameter(name: str, type_: str, description: str, default: Any = None, **more: Any) -> dict[str, Any]:
    told = {"name": name, "type": type_, "description": description, **more}
    return told | ({"required": True} if default is None else {"default": default})


_TITLE: Final = _parameter("title", "text", "Title of the scene.")

TALK: Final[dict[str, Any]] = {
    "title": "Talk", "description": "Two people speak by turns, and the scene ends. Nothing is decided.",
    "tags": ["linear"],
    "parameters": [
        _TITLE,
        _parameter("first", "character", "Who speaks first."), _parameter("second", "character", "Who answers."),
        _parameter("opening", "text", "The first line."), _parameter("answer", "text", "What is answered."),
        _parameter("closing", "text", "The last line."),
        {"name": "background", "type": "asset", "description": "What stands behind them; nothing when left away."},
    ],
    "pattern": {
        "title": "{{title}}", "start": "opening", "nodes": [
            {"id": "opening", "speaker": "{{first}}", "text": "{{opening}}", "directives": [
                {"kind": "background", "asset": "{{background}}"},
                {"kind": "portrait", "character": "{{first}}", "position": "left"},
                {"kind": "portrait", "character": "{{second}}", "position": "right"},
            ], "choices": [{"target": "answer"}]},
            {"id": "answer", "speaker": "{{second}}", "text": "{{answer}}", "choices": [{"target": "closing"}]},
            {"id": "closing", "speaker": "{{first}}", "text": "{{closing}}", "end": True},
        ],
    },
}

CHOICE: Final[dict[str, Any]] = {
    "title": "Choice with consequences",
    "description": "A question with two answers. Each is remembered and leads to a moment of its own; both meet again.",
    "tags": ["choice"],
    "parameters": [
        _TITLE,
        _parameter("asks", "character", "Who asks."), _parameter("question", "text", "What is asked."),
        _parameter("yes", "text", "The first answer.", "Yes."), _parameter("no", "text", "The second answer.", "No."),
        _parameter("after_yes", "text", "What follows from the first."),
        _parameter("after_no", "text", "What follows from the second."),
        _parameter("remembered_as", "variable", "The variable that remembers the answer.", "answered_yes"),
        _parameter("together", "text", "How it goes on after either."),
    ],
    "pattern": {
        "title": "{{title}}", "start": "question", "nodes": [
            {"id": "question", "type": "choice", "speaker": "{{asks}}", "text": "{{question}}", "choices": [
                {"id": "yes", "label": "{{yes}}", "target": "after_yes",
                 "actions": [{"type": "set", "key": "{{remembered_as}}", "value": True}]},
                {"id": "no", "label": "{{no}}", "target": "after_no",
                 "actions": [{"type": "set", "key": "{{remembered_as}}", "value": False}]},
            ]},
            {"id": "after_yes", "text": "{{after_yes}}", "choices": [{"target": "together"}]},
            {"id": "after_no", "text": "{{after_no}}", "choices": [{"target": "together"}]},
            {"id": "together", "text": "{{together}}", "end": True},
        ],
    },
}


def _place(number: int) -> dict[str, Any]:
    return {"id": f"to_{number}", "label": f"{{{{place_{number}}}}}", "target": f"place_{number}"}


HUB: Final[dict[str, Any]] = {
    "title": "Hub",
    "description": "A place from which three others are visited in any order, and left when enough were seen.",
    "tags": ["hub", "exploration"],
    "parameters": [
        _TITLE, _parameter("here", "text", "What is seen on arriving."),
        *(part for number in (1, 2, 3) for part in (
            _parameter(f"place_{number}", "text", f"What the way to place {number} is called."),
            _parameter(f"seen_{number}", "text", f"What is found at place {number}."),
        )),
        _parameter("leave", "text", "What leaving is called.", "Leave."),
        _parameter("needed", "integer", "Visits before it is possible to leave.", 1),
        _parameter("counter", "variable", "The variable that counts the visits.", "visits"),
        _parameter("farewell", "text", "What is said on leaving."),
    ],
    "pattern": {
        "title": "{{title}}", "start": "hub", "variables": {"{{counter}}": 0}, "nodes": [
            {"id": "hub", "type": "choice", "text": "{{here}}", "choices": [
                *(_place(number) for number in (1, 2, 3)),
                {"id": "leave", "label": "{{leave}}", "target": "farewell", "conditions": [
                    {"key": "{{counter}}", "operator": "gte", "value": "{{needed}}"},
                ]},
            ]},
            *({"id": f"place_{number}", "text": f"{{{{seen_{number}}}}}",
               "actions": [{"type": "increment", "key": "{{counter}}", "amount": 1}], "choices": [{"target": "hub"}]}
              for number in (1, 2, 3)),
            {"id": "farewell", "text": "{{farewell}}", "end": True},
        ],
    },
}

CHANCE: Final[dict[str, Any]] = {
    "title": "Chance", "description": "Something is tried, and the dice decide: it succeeds, or it does not.",
    "tags": ["chance"],
    "parameters": [
        _TITLE, _parameter("attempt", "text", "What is tried."),
        _parameter("success", "text", "What happens when it succeeds."),
        _parameter("failure", "text", "What happens when it fails."),
        _parameter("odds_for", "number", "How much speaks for it.", 1),
        _parameter("odds_against", "number", "How much speaks against it.", 1),
        _parameter("remembered_as", "variable", "The variable that remembers how it went.", "succeeded"),
    ],
    "pattern": {
        "title": "{{title}}", "start": "attempt", "nodes": [
            {"id": "attempt", "type": "chance", "text": "{{attempt}}", "choices": [
                {"id": "success", "target": "success", "weight": "{{odds_for}}",
                 "actions": [{"type": "set", "key": "{{remembered_as}}", "value": True}]},
                {"id": "failure", "target": "failure", "weight": "{{odds_against}}",
                 "actions": [{"type": "set", "key": "{{remembered_as}}", "value": False}]},
            ]},
            {"id": "success", "text": "{{success}}", "end": True},
            {"id": "failure", "text": "{{failure}}", "end": True},
        ],
    },
}

LIBRARY: Final[Mapping[str, dict[str, Any]]] = {"chance": CHANCE, "choice": CHOICE, "hub": HUB, "talk": TALK}
"""Built-in templates by id. A template of the project with the same id goes before."""
