"""One scene played step by step by whoever holds its state: nothing is kept here, and a seed takes the same path.

The order of work: a play without a state enters the start node first; then the choices that are available are found,
one is taken (the one that was named, else one by a draw), its actions run, the play moves, and the actions of the node
that it moved to run. The state is ``{scene_id, current_node, variables, history, rng, finished, pov}``; ``history``
begins with the start node and no choice, and then holds each node that was left with the choice by which it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from domain.errors import Invalid, Remedy
from domain.story.dice import MODULUS, Dice, thrown
from domain.story.program import Choice, Program, cast, entered, named, offered, taken
from domain.story.scene_rules import judge

STATE: Final = frozenset({"scene_id", "current_node", "variables", "history", "rng", "finished", "pov"})
"""The fields of a state. Others are refused by name."""

POV_LIMIT: Final = 200
"""Longest point of view in characters."""


class Situation(NamedTuple):
    """Where a play of one scene stands."""

    node: str
    variables: dict[str, Any]
    history: list[Any]
    dice: Dice
    finished: bool
    pov: str


def verdict(scene: Any) -> dict[str, Any]:
    """``{"valid", "errors": [{path, message, code}], "warnings"}``; a scene to be played needs its id."""
    told = judge(scene)
    if isinstance(scene, Mapping) and "id" not in scene:
        missing = {"path": "id", "message": "Field required", "code": "missing"}
        return {"valid": False, "errors": [missing, *told["errors"]], "warnings": []}
    return told


def invalid_scene(errors: list[dict[str, str]]) -> Invalid:
    """The refusal of a scene that cannot be played, with all that is wrong about it."""
    told = "; ".join(f"{one['path'] or 'scene'}: {one['message']}" for one in errors)
    return Invalid(
        f"The scene is not valid. {told[:4000]}", error="invalid_scene",
        remediation=[Remedy("POST /api/scenario/validate says what is wrong; mend that.", "validate")],
        detail={"errors": errors},
    )


def step(
    program: Program, state: Any = None, *, seed: Any = None, choice: Any = None, pov: Any = None
) -> dict[str, Any]:
    """``{"state", "node", "choices", "finished"}`` after one step. ``choice`` is addressed by its id, else its target.

    A finished state comes back unchanged. Raises ``Invalid`` for what is not a state of this scene, and for a choice
    that is not available.
    """
    wanted = None if choice is None else _text("choice", choice)
    if state is None or state == {}:
        here = _begun(program, seed, pov)
        history = here.history
    else:
        here = _read(program, state, seed, pov)
        history = here.history
        if here.finished:
            return _told(program, here, state)
    node = program.nodes[here.node]
    available = offered(node, here.variables, here.pov)
    if wanted is not None:
        found = named(available, wanted)
        if found is None:
            raise unavailable(wanted, available)
        dice = here.dice
    elif available:
        found, dice = cast(here.dice, available)
    else:
        return _told(program, here._replace(finished=True))
    target, variables = taken(program, found, here.variables)
    finished = not offered(target, variables, here.pov)
    left = {"node": here.node, "choice": found.id}
    return _told(program, Situation(target.id, variables, [*history, left], dice, finished, here.pov))


def _begun(program: Program, seed: Any, pov: Any) -> Situation:
    if seed is not None and not _whole(seed):
        raise _bad("seed", "must be a whole number")
    variables = entered(program.nodes[program.start], dict(program.variables))
    history = [{"node": program.start, "choice": None}]
    return Situation(program.start, variables, history, thrown(seed or 0), False, _pov(pov, None, program))


def _read(program: Program, state: Any, seed: Any, pov: Any) -> Situation:
    if not isinstance(state, Mapping):
        raise _bad("state", "must be an object")
    if unknown := sorted(str(name)[:100] for name in state.keys() - STATE)[:20]:
        raise _bad(f"state/{unknown[0]}", "there is no such field")
    scene_id = state.get("scene_id")
    if scene_id is not None and scene_id != program.id:
        raise Invalid(
            f"state.scene_id {str(scene_id)[:100]!r} is not the scene {program.id!r}.", error="scene_mismatch",
            remediation=[Remedy("Send the scene that the state belongs to, or leave the state away.", "send_scene")],
            detail={"state": str(scene_id)[:200], "scene": program.id},
        )
    current = state.get("current_node")
    if not isinstance(current, str) or current not in program.nodes:
        raise Invalid(
            f"The scene has no node {str(current)[:128]!r} to go on from.", error="unknown_node",
            remediation=[Remedy("Begin without a state, or with one of this scene as it is now.", "begin_again")],
            detail={"current_node": str(current)[:200], "scene": program.id},
        )
    variables = state.get("variables", program.variables)
    history = state.get("history", [])
    finished = state.get("finished", False)
    if not isinstance(variables, Mapping):
        raise _bad("state/variables", "must be an object")
    if not isinstance(history, list):
        raise _bad("state/history", "must be a list")
    if not isinstance(finished, bool):
        raise _bad("state/finished", "must be true or false")
    return Situation(
        current, dict(variables), history, _dice(state.get("rng"), seed), finished,
        _pov(pov, state.get("pov"), program),
    )


def _dice(rng: Any, seed: Any) -> Dice:
    if seed is not None and not _whole(seed):
        raise _bad("seed", "must be a whole number")
    if rng is None:
        return thrown(seed or 0)
    if not isinstance(rng, Mapping):
        raise _bad("state/rng", "must be {seed, value, uses}")
    told: dict[str, Any] = {name: rng.get(name) for name in ("seed", "value", "uses")}
    told["uses"] = told["uses"] or 0
    # Without a value nothing has been drawn yet.
    told["value"] = told["seed"] if told["value"] is None else told["value"]
    for name, value in told.items():
        if not _whole(value) or (name == "uses" and value < 0):
            raise _bad(f"state/rng/{name}", "must be a whole number" + (" from 0" if name == "uses" else ""))
    return Dice(told["seed"] % MODULUS, told["value"] % MODULUS, told["uses"])


def _pov(asked: Any, kept: Any, program: Program) -> str:
    for place, one in (("pov", asked), ("state/pov", kept)):
        if one is None or one == "":
            continue
        if not isinstance(one, str) or len(one) > POV_LIMIT:
            raise _bad(place, f"must be a text of at most {POV_LIMIT} characters")
        return one
    return program.default_pov


def _text(place: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise _bad(place, "must be a text")
    return value


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _bad(path: str, message: str) -> Invalid:
    return Invalid(
        f"{path}: {message}.", error="invalid_state",
        remediation=[Remedy("Send back a state as an answer gave it, or none.", "send_state")],
        detail={"fields": [{"path": path, "message": message}]},
    )


def unavailable(wanted: str, available: tuple[Choice, ...]) -> Invalid:
    """The refusal of a choice that is not available."""
    return Invalid(
        f"choice {wanted[:200]!r} is not available", error="choice_unavailable",
        remediation=[Remedy("Choose one of those that are available, or none to have one drawn.", "choose")],
        detail={"choice": wanted[:200], "available": [one.id for one in available][:200]},
    )


def _told(program: Program, at: Situation, unchanged: Any = None) -> dict[str, Any]:
    node = program.nodes[at.node]
    choices = () if at.finished else offered(node, at.variables, at.pov)
    state = unchanged if unchanged is not None else {
        "scene_id": program.id, "current_node": at.node, "variables": at.variables, "history": at.history,
        "rng": at.dice.state(), "finished": at.finished, "pov": at.pov,
    }
    return {
        "state": state, "node": node.document, "choices": [{**one.document, "id": one.id} for one in choices],
        "finished": at.finished,
    }
