"""One play by the dice alone, step by step, as a record whose digest says what was played and nothing else.

Every step draws once, at menus too. What is done with the record (kept or not) is no part of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from domain.canonical import digest
from domain.errors import Invalid, Remedy
from domain.story.dice import Dice, thrown
from domain.story.play import exact
from domain.story.program import Choice, Node, Program, cast, entered, named, offered, program, taken
from domain.story.scene_rules import judge
from domain.story.variable_tree import Variables

SCHEMA_VERSION: Final = "1.0"

STEPS_LIMIT: Final = 10_000
"""Most steps of one trace."""


def trace(
    document: Any, *, seed: int = 0, pov: str | None = None, variables: Mapping[str, Any] | None = None,
    steps: int = 1_000, choices: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Plays one scene document. ``choices`` are taken first, in order and without a draw.

    ``{"schema_version", "meta", "config", "initial", "steps": [...], "final", "provenance": {"digest", …}}``. Raises
    ``Invalid`` for a scene that is not valid and for a choice that is not offered.
    """
    judged = judge(document)
    if not judged["valid"]:
        first = judged["errors"][0]
        raise Invalid(
            f"The scene is not valid. {first['path']}: {first['message']}", error="invalid_scene",
            remediation=[Remedy("Mend what `detail.errors` names.", "fix_scene")], detail={"errors": judged["errors"]},
        )
    made = program({"id": "unnamed", **document})
    view = pov or made.default_pov
    node = made.nodes[made.start]
    shared: Variables = {**made.variables, **(variables or {})}
    player = _Player(made, node, entered(node, shared), thrown(seed), view)
    initial = player.state()
    told = player.played(list(choices), min(steps, STEPS_LIMIT))
    body = {
        "schema_version": SCHEMA_VERSION,
        "meta": {"scene_id": made.id, "title": document.get("title", ""), "pov": view,
                 "scene_digest": digest(exact(dict(made.document)))},
        "config": {"seed": seed % 2**32, "pov": view, "variables": dict(variables or {}), "max_steps": steps,
                   "choices": list(choices)},
        "initial": initial, "steps": told, "final": player.state() | {"steps": len(told)},
    }
    return {**body, "provenance": {"tool": "comfyvn.playtest", "digest": digest(exact(body))}}


class _Player:
    def __init__(self, program: Program, node: Node, variables: Variables, dice: Dice, pov: str) -> None:
        self.program, self.node, self.variables, self.dice, self.pov = program, node, variables, dice, pov
        self.history = 1

    def _ways(self) -> tuple[Choice, ...]:
        return offered(self.node, self.variables, self.pov)

    def state(self) -> dict[str, Any]:
        return {
            "node": self.node.id, "variables": self.variables, "variables_digest": digest(exact(self.variables)),
            "rng": self.dice.state(), "history_length": self.history, "finished": not self._ways(), "pov": self.pov,
            "available_choices": [one.id for one in self._ways()],
        }

    def played(self, wanted: list[str], most: int) -> list[dict[str, Any]]:
        steps: list[dict[str, Any]] = []
        while len(steps) < most and (ways := self._ways()):
            left, before = self.node, self.dice
            if wanted:
                choice = named(ways, wanted[0])
                if choice is None:
                    raise Invalid(
                        f"Choice {wanted[0][:100]!r} is not available at {left.id}.", error="choice_unavailable",
                        remediation=[Remedy("Choose one of those that are offered.", "choose")],
                        detail={"node": left.id, "offered": [one.id for one in ways][:200], "step": len(steps)},
                    )
                wanted.pop(0)
            else:
                choice, self.dice = cast(self.dice, ways)
            self.node, self.variables = taken(self.program, choice, self.variables)
            self.history += 1
            after = self.state()
            steps.append({
                "index": len(steps), "from_node": left.id, "to_node": self.node.id, "choice_id": choice.id,
                "choice_target": choice.target, "choice_text": choice.label, "rng_before": before.state(),
                "rng_after": self.dice.state(),
                **{name: after[name] for name in ("variables", "variables_digest", "history_length", "finished", "pov",
                                                  "available_choices")},
            })
        return steps
