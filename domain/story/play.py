"""A whole story made ready to be played: the scenes in their order, the variables they share, and one step at a time.

A story is a list of entries. An entry names a scene, or a branch group: alternatives of which the first is played whose
conditions hold for the variables at that moment. An entry or alternative that the point of view may not see, or whose
conditions fail, is passed over. Each scene begins with its own variables, set anew, and takes them along when it
ends; everything else is the play's and stays.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, Literal, NamedTuple

from domain.canonical import EXACT, digest
from domain.errors import Invalid, Refused, Remedy
from domain.story.dice import Dice, fallen, thrown
from domain.story.program import Choice, Node, Program, cast, entered, holds, named, offered, program, taken
from domain.story.variable_tree import Test, Variables, changed, test

Next = Literal["ask", "chance", "continue", "scene", "finished"]
"""What comes next: somebody chooses, the dice decide, it goes on by itself, another scene begins, or it is over."""

PLAYED: Final = ("id", "entries", "scenes", "variables", "default_pov", "seed")
"""The parts of a story's content that a play depends on."""

Station = tuple["At", Choice | None]
"""A moment, and the choice by which it was left: none into another scene, and at the last one."""


class Alternative(NamedTuple):
    """A scene that an entry may lead into. ``final``: the story is over when this scene is."""

    scene: str
    tests: tuple[Test, ...]
    visible_to: frozenset[str]
    final: bool


class Entry(NamedTuple):
    """A place in the order of a story. ``group`` names a branch group and is empty for a single scene."""

    id: str
    group: str
    alternatives: tuple[Alternative, ...]


class At(NamedTuple):
    """Where a play stands. ``entry`` is the index among the story's entries; ``finished``: nothing comes after."""

    entry: int
    scene: str
    node: str
    variables: Variables
    dice: Dice
    pov: str
    finished: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Story:
    """What can be played: entries in order and every scene that they name, made from ``content``."""

    id: str
    entries: tuple[Entry, ...]
    scenes: Mapping[str, Program]
    variables: Mapping[str, Any]
    default_pov: str
    seed: int
    content: Mapping[str, Any]
    _digest: list[str] = field(default_factory=list)

    def node(self, at: At) -> Node:
        """The node at which a play stands."""
        return self.scenes[at.scene].nodes[at.node]


def story(content: Mapping[str, Any]) -> Story:
    """Makes content ready to be played; raises ``Invalid`` when an entry names a scene that is not among the scenes.

    ``content`` is ``{"id", "entries": [{"id", "scene"} or {"id", "group", "alternatives": [{"scene", …}]}],
    "scenes": {id: document}, "variables": {name: value}, "default_pov"?, "seed"?}``; entries and alternatives may also
    have ``conditions``, ``visible_to`` and ``final``. Scenes must be valid documents.
    """
    entries = tuple(_entry(entry) for entry in content["entries"])
    missing = sorted({
        one.scene for entry in entries for one in entry.alternatives if one.scene not in content["scenes"]
    })
    if missing or not entries:
        raise Invalid(
            f"The story names scenes that are not there: {', '.join(missing)[:500]}." if missing
            else "The story has no scenes to play.",
            error="story_incomplete",
            remediation=[Remedy("Create or restore the scenes, or take them out of the timeline.", "edit_timeline")],
            detail={"timeline": content["id"], "missing_scenes": missing[:200]},
        )
    scenes = {id_: program(document) for id_, document in content["scenes"].items()}
    first = scenes[entries[0].alternatives[0].scene]
    return Story(
        content["id"], entries, scenes, content.get("variables") or {},
        content.get("default_pov") or first.default_pov, int(content.get("seed") or 0), content,
    )


def _entry(entry: Mapping[str, Any]) -> Entry:
    group = entry if "alternatives" in entry else {}
    own = tuple(test(one) for one in group.get("conditions", ()))
    views = frozenset(group.get("visible_to", ()))
    return Entry(entry["id"], entry.get("group", ""), tuple(
        Alternative(
            one["scene"], (*own, *(test(condition) for condition in one.get("conditions", ()))),
            _both(views, frozenset(one.get("visible_to", ()))), bool(one.get("final", False)),
        )
        for one in group.get("alternatives", (entry,))
    ))


def _both(one: frozenset[str], other: frozenset[str]) -> frozenset[str]:
    # An empty set is everybody, so two sets that share nobody must not become one.
    if not one or not other:
        return one | other
    return one & other or frozenset({"\x00nobody"})


def begun(
    story: Story, *, seed: int | None = None, pov: str | None = None, variables: Mapping[str, Any] | None = None
) -> At:
    """A play at its first node. ``variables`` override the story's own. Raises ``Refused`` when no scene may begin."""
    shared = {**story.variables, **(variables or {})}
    start = At(-1, "", "", shared, thrown(story.seed if seed is None else seed), pov or story.default_pov)
    first = _next_scene(story, start)
    if first is None:
        raise Refused(
            f"No scene of the story may begin for the point of view {start.pov}.",
            error="nothing_to_play",
            remediation=[Remedy("Choose another point of view, or look at the timeline's conditions.", "choose_pov")],
            detail={"timeline": story.id, "pov": start.pov},
        )
    return first


def _next_scene(story: Story, at: At) -> At | None:
    """The first node of the next scene that may be played, or nothing."""
    variables = at.variables
    if at.scene:
        own = story.scenes[at.scene].variables
        variables = {name: value for name, value in variables.items() if name not in own} if own else variables
    for index in range(at.entry + 1, len(story.entries)):
        for one in story.entries[index].alternatives:
            if (not one.visible_to or at.pov in one.visible_to) and holds(one.tests, variables):
                scene = story.scenes[one.scene]
                node = scene.nodes[scene.start]
                inside = entered(node, {**variables, **scene.variables})
                return _arrived(story, at._replace(entry=index, scene=scene.id, node=node.id, variables=inside))
    return None


def _arrived(story: Story, at: At) -> At:
    """``at``, marked as finished where nothing comes after."""
    if offered(story.node(at), at.variables, at.pov):
        return at
    final = any(one.scene == at.scene and one.final for one in story.entries[at.entry].alternatives)
    return at._replace(finished=True) if final or _next_scene(story, at) is None else at


def settled(story: Story, at: At) -> At:
    """A moment whose variables or point of view were changed from outside: whether anything comes after is looked at
    again."""
    return _arrived(story, at._replace(finished=False))


def ways(story: Story, at: At) -> tuple[Choice, ...]:
    """The choices that are offered where a play stands."""
    return () if at.finished else offered(story.node(at), at.variables, at.pov)


def coming(story: Story, at: At) -> Next:
    """What comes next. Where only one of several choices of a menu is offered, it still asks."""
    if at.finished:
        return "finished"
    node = story.node(at)
    if not offered(node, at.variables, at.pov):
        return "scene"
    assert node.manner != "end", "a node without choices offers none"
    return node.manner


def chosen(story: Story, at: At, choice_id: str) -> At:
    """The play after a choice that somebody made; the dice are not touched. Raises ``Refused`` for what is not
    offered."""
    return follow(story, at, named_way(story, at, choice_id))


def named_way(story: Story, at: At, choice_id: str) -> Choice:
    """The offered choice that is addressed so. Raises ``Refused`` for what is not offered."""
    choices = ways(story, at)
    choice = named(choices, choice_id)
    if choice is None:
        raise Refused(
            f"Choice {choice_id[:200]!r} is not available.",
            error="choice_unavailable",
            remediation=[Remedy("Choose one of those that are offered.", "choose")],
            detail={"scene": at.scene, "node": at.node, "offered": [one.id for one in choices][:200]},
        )
    return choice


def follow(story: Story, at: At, choice: Choice) -> At:
    """The play after one of its offered choices."""
    node, variables = taken(story.scenes[at.scene], choice, at.variables)
    return _arrived(story, at._replace(node=node.id, variables=variables))


def advanced(story: Story, at: At) -> tuple[At, Choice | None]:
    """The play after a step that needs nobody's choice, and the choice that was taken (none into another scene).

    Raises ``Refused`` at a menu and at the end.
    """
    met: list[Station] = []
    after = run(story, at, 1, met)
    if not met:
        raise over(at) if at.finished else choice_needed(story, at)
    return after, met[0][1]


def run(story: Story, at: At, steps: int, met: list[Station] | None = None) -> At:
    """The play after as many of ``steps`` steps as need nobody's choice: it stands still at a menu and at the end.

    ``met`` is given every moment that was left, and the choice by which it was.
    """
    while steps > 0 and not at.finished:
        at, steps, ended = _through_scene(story, at, steps, met)
        if not ended:
            break
        if at.finished or not steps:
            break
        if met is not None:
            met.append((at, None))
        after = _next_scene(story, at)
        assert after is not None, "a play that is not finished goes on"
        at, steps = after, steps - 1
    return at


def _through_scene(
    story: Story, at: At, steps: int, met: list[Station] | None
) -> tuple[At, int, bool]:
    """``run`` inside one scene: where it stands, how many steps are left, and whether the scene is over."""
    entry, scene, node_id, variables, dice, pov, _ = at
    nodes = story.scenes[scene].nodes
    node = nodes[node_id]
    while True:
        # Everything of a step in one place: this loop is what a play, and a playtest, spend their time in.
        choices, conditional, sums = node.seen(pov)
        if conditional:
            choices = offered(node, variables, pov)
        if not choices:
            return _arrived(story, At(entry, scene, node.id, variables, dice, pov)), steps, True
        if not steps or node.manner == "ask":
            return At(entry, scene, node.id, variables, dice, pov), steps, False
        here = At(entry, scene, node.id, variables, dice, pov) if met is not None else at
        if node.manner == "continue":
            choice = choices[0]
        elif conditional:
            choice, dice = cast(dice, choices)
        else:
            index, dice = fallen(dice, sums)
            choice = choices[index]
        if met is not None:
            met.append((here, choice))
        node = nodes[choice.target]
        if choice.arriving:
            variables = changed(variables, choice.arriving)
        steps -= 1


def choice_needed(story: Story, at: At) -> Refused:
    """The refusal to go on by itself at a menu."""
    return Refused(
        "Here somebody has to choose.",
        error="choice_needed",
        remediation=[Remedy("Choose one of those that are offered.", "choose")],
        detail={"scene": at.scene, "node": at.node, "offered": [one.id for one in ways(story, at)][:200]},
    )


def over(at: At) -> Refused:
    """The refusal to go on after the end."""
    return Refused(
        "The story is over.",
        error="play_finished",
        remediation=[Remedy("Go back to an earlier point, or begin again.", "go_back")],
        detail={"scene": at.scene, "node": at.node},
    )


def moment(story: Story, at: At) -> dict[str, Any]:
    """What a player meets: ``{"scene", "node", "speaker", "text", "next", "offered": [{"id", "label"}]}``.

    ``offered`` holds the choices of a menu; where the dice decide or it goes on by itself, nothing is asked.
    """
    document = story.node(at).document
    next_ = coming(story, at)
    shown = ways(story, at) if next_ == "ask" else ()
    return {
        "scene": at.scene, "node": at.node, "speaker": document.get("speaker", ""), "text": document.get("text", ""),
        "next": next_, "offered": [{"id": one.id, "label": one.label} for one in shown],
    }


def recorded(story: Story, stations: Iterable[tuple[At, Choice | None]]) -> list[dict[str, Any]]:
    """A trace: each moment with ``chosen`` (the id of the choice by which it was left, or null) and ``variables``."""
    return [
        {**moment(story, at), "chosen": choice.id if choice else None, "variables": at.variables}
        for at, choice in stations
    ]


def content_digest(story: Story) -> str:
    """The digest of everything that a play of the story depends on; where it was read makes no difference to it."""
    if not story._digest:
        played = {name: story.content[name] for name in PLAYED if name in story.content}
        # Not the canonical form: a whole project is large, and these bytes are the same wherever Python runs.
        text = json.dumps(played, sort_keys=True, separators=(",", ":"))
        story._digest.append("sha256:" + sha256(text.encode()).hexdigest())
    return story._digest[0]


def trace_digest(steps: Sequence[Mapping[str, Any]]) -> str:
    """The digest of a trace: the same wherever it is stored, or whether it is."""
    return digest(exact({"schema": "comfyvn.trace.v1", "steps": steps}))


def exact(value: Any) -> Any:
    """The same JSON with whole numbers as text where not every reader of JSON can hold them."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > EXACT:
        return str(value)
    if isinstance(value, Mapping):
        return {name: exact(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [exact(one) for one in value]
    return value
