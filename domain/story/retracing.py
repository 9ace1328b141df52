"""The way back through a play: from how it began and its course, every moment that it has been at.

Nothing but the story, the seed and what people did is needed: the dice and the story lead to the same moments again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from domain.errors import Refused, Remedy
from domain.story.knowledge import masked_node
from domain.story.play import At, Station, Story, begun, chosen, coming, named_way, run, settled, ways
from domain.story.playthrough import Playing
from domain.story.playthrough_values import How, Move, Origin, Rolled, Standing, Step, applied, differences
from domain.story.program import Choice
from domain.story.scene_rules import address


def at_of(standing: Standing, variables: Mapping[str, Any]) -> At:
    """Where a play stands, for the runner."""
    return At(
        standing.entry, standing.scene, standing.node, dict(variables), standing.dice.dice(), standing.pov,
        standing.next == "finished",
    )


def standing_of(story: Story, at: At, step: int) -> Standing:
    """Where a play stands, to be kept."""
    next_ = coming(story, at)
    offered = tuple(one.id for one in ways(story, at)) if next_ == "ask" else ()
    return Standing(
        step=step, entry=at.entry, scene=at.scene, node=at.node, pov=at.pov, dice=Rolled.of(at.dice), next=next_,
        offered=offered,
    )


def way_of(story: Story, at: At, choice: Choice | None) -> How:
    """How a moment was left that needed nobody."""
    if choice is None:
        return "entered"
    return "drawn" if story.node(at).manner == "chance" else "continued"


def step_of(how: How, choice: str | None, before: At, after: At) -> Step:
    """What is kept of a step."""
    changed, removed = differences(before.variables, after.variables)
    dice = Rolled.of(after.dice) if after.dice != before.dice else None
    return Step(
        how=how, choice=choice, entry=after.entry, scene=after.scene, node=after.node, dice=dice, changed=changed,
        removed=removed,
    )


def moment_of(node: Mapping[str, Any], standing: Standing) -> dict[str, Any]:
    """What a player meets, as ``play.moment`` says it, from the document of the node and where the play stands.

    Of a moment that the point of view may not know of, neither text nor speaker is told.
    """
    seen = masked_node(node, standing.pov)
    labels = {address(choice): choice.get("label", "") for choice in reversed(node.get("choices", ()))}
    return {
        "scene": standing.scene, "node": standing.node, "speaker": seen.get("speaker", ""),
        "text": seen.get("text", ""), "next": standing.next,
        "offered": [{"id": id_, "label": labels.get(id_, "")} for id_ in standing.offered],
    }


def origin_of(
    story: Story, origin: Origin | None, *, seed: int, pov: str, given: Mapping[str, Any]
) -> At:
    """The first moment of a play. Raises ``Refused`` when no scene may begin."""
    if origin is None:
        return begun(story, seed=seed, pov=pov, variables=given)
    return at_of(origin.standing, origin.variables)


def retraced(
    story: Story, at: At, course: Sequence[Move], met: list[Station] | None = None
) -> At:
    """Where a course leads from a moment; ``met`` is given every moment that was left on the way.

    Raises ``Refused`` where the story does not go that way.
    """
    for kind, told in course:
        match kind:
            case "auto":
                assert isinstance(told, int), "steps are counted"
                gone: list[Station] = []
                at = run(story, at, told, gone)
                if len(gone) != told:
                    raise strayed(at, told, len(gone))
                if met is not None:
                    met += gone
            case "choice":
                if met is not None:
                    met.append((at, named_way(story, at, str(told))))
                at = chosen(story, at, str(told))
            case "set":
                assert isinstance(told, dict), "what was changed and removed"
                variables = applied(at.variables, told["changed"], told["removed"])  # type: ignore[arg-type]
                at = settled(story, at._replace(variables=variables))
            case _:
                at = settled(story, at._replace(pov=str(told)))
    return at


def strayed(at: At, wanted: int, gone: int) -> Refused:
    """The refusal to follow a course that the story does not take."""
    return Refused(
        f"The story does not go on from node {at.node!r} of scene {at.scene!r} as it did.",
        error="story_differs",
        remediation=[Remedy("Begin a new playthrough: what was played cannot be read as it was.", "start_playthrough")],
        detail={"scene": at.scene, "node": at.node, "steps": wanted, "gone": gone},
    )


def begun_at(playing: Playing, story: Story) -> At:
    """The first moment of a playthrough."""
    return origin_of(story, playing.origin, seed=playing.seed, pov=playing.pov, given=playing.given)
