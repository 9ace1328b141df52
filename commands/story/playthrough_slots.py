"""Beginning at, and putting a play to, what a save slot keeps: today's slots and those of old players."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from commands.story import playthrough_refusals as refusals
from domain.story.dice import MODULUS, Dice, thrown
from domain.story.play import At, Story, settled
from domain.story.playthrough_values import Move, Origin, Standing
from domain.story.retracing import standing_of
from domain.story.save import SCHEMA, Empty, Filled, Kept


class Beginning(NamedTuple):
    """How a play began and what has led to where it stands."""

    seed: int
    pov: str
    given: dict[str, Any]
    origin: Origin | None
    course: tuple[Move, ...]
    standing: Standing
    variables: dict[str, Any]


def filled(slot: str, state: Empty | Filled, project: str) -> Filled:
    """A slot that keeps something of this project in a shape that this release reads; raises ``NotFound`` and
    ``Refused``."""
    if isinstance(state, Empty):
        raise refusals.unknown_slot(slot)
    schema, home = state.body.get("schema"), state.body.get("project")
    if isinstance(schema, str) and schema.startswith("comfyvn.") and schema != SCHEMA:
        raise refusals.slot_of_another_version(slot, schema[:200])
    if isinstance(home, str) and home != project:
        raise refusals.slot_of_another_project(slot, home[:200], project)
    return state


def from_kept(kept: Kept) -> Beginning:
    """Where a playthrough stood when it was saved. Without its course it cannot be gone back from there."""
    if kept.course is None:
        origin = Origin(standing=kept.standing, variables=kept.variables)
        return Beginning(kept.seed, kept.pov, kept.given, origin, (), kept.standing, kept.variables)
    return Beginning(
        kept.seed, kept.pov, kept.given, kept.origin, kept.course, kept.standing, kept.variables
    )


def scene_of(body: Mapping[str, Any]) -> str | None:
    """The scene that an old body speaks of, where it names one."""
    pointer = body.get("node_pointer")
    for told in (body.get("scene"), body.get("scene_id"), pointer):
        if isinstance(told, Mapping):
            told = told.get("scene_id") or told.get("scene") or (told.get("id") if told is not pointer else None)
        elif told is pointer:
            told = None
        if isinstance(told, str) and told:
            return told
    return None


def from_body(slot: str, body: Mapping[str, Any], story: Story) -> Beginning:
    """Where an old body stands in a story: its scene, node, variables and dice. Raises ``Refused``."""
    node = _node_of(slot, body)
    scene = scene_of(body) or _only_scene_with(slot, node, story)
    entry = next((
        index for index, one in enumerate(story.entries) if any(two.scene == scene for two in one.alternatives)
    ), None)
    if entry is None:
        raise refusals.slot_unusable(slot, f"scene {scene[:200]!r} is no part of the story {story.id}")
    if node not in story.scenes[scene].nodes:
        raise refusals.slot_unusable(slot, f"scene {scene} has no node {node[:200]!r} there and then")
    variables = body.get("vars")
    if not isinstance(variables, dict):
        raise refusals.slot_unusable(slot, "its `vars` are no object")
    pov = body.get("pov")
    dice = _dice_of(slot, body)
    at = settled(story, At(
        entry, scene, node, variables, dice, pov if isinstance(pov, str) and pov else story.default_pov
    ))
    standing = standing_of(story, at, 0)
    origin = Origin(standing=standing, variables=variables)
    return Beginning(dice.seed, at.pov, {}, origin, (), standing, variables)


def _node_of(slot: str, body: Mapping[str, Any]) -> str:
    told = body.get("node_pointer")
    if isinstance(told, Mapping):
        told = told.get("node_id") or told.get("node") or told.get("id")
    if not isinstance(told, str) or not told:
        raise refusals.slot_unusable(slot, "its `node_pointer` names no node")
    return told


def _only_scene_with(slot: str, node: str, story: Story) -> str:
    found = [id_ for id_, scene in story.scenes.items() if node in scene.nodes]
    if len(found) != 1:
        told = "no scene of the story has" if not found else f"{len(found)} scenes of the story have"
        raise refusals.slot_unusable(slot, f"it names no scene, and {told} a node {node[:200]!r}")
    return found[0]


def _dice_of(slot: str, body: Mapping[str, Any]) -> Dice:
    rng = body.get("rng")
    if isinstance(rng, Mapping):
        seed, value, uses = (rng.get(name, 0 if name == "uses" else None) for name in ("seed", "value", "uses"))
        if _whole(seed) and _whole(value) and _whole(uses) and uses >= 0:
            return Dice(seed % MODULUS, value % MODULUS, uses)
        raise refusals.slot_unusable(slot, "its `rng` is not {seed, value, uses}")
    if not _whole(body.get("seed")):
        raise refusals.slot_unusable(slot, "its `seed` is no whole number")
    return thrown(body["seed"])


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
