"""What playing the merged story shows before it is merged, within bounds that are told."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final

import orjson

from domain.bounded_json import same_json
from domain.errors import ComfyVNError
from domain.story.merging.documents import Merged
from domain.story.merging.held import Held
from domain.story.merging.proof import proof, skeleton
from domain.story.play import Story, story
from domain.story.scene_states import document_from
from domain.tables import Reader, Where
from projections.boards.merging import Plan
from projections.boards.overlay import Overlaid
from projections.boards.story import story_content
from services.merging.asking import Merge

WHOLE: Final = 2_500
"""Most fields of scenes (a node is one) of a project whose whole story is played; of a larger one only the scenes are
whose paths change."""

APART: Final = 1_000
"""Most nodes of scenes that are played by themselves for one merge."""

STATES_APART: Final = 500


def shown_by_playing(reader: Reader, asked: Merge, plan: Plan, head: int) -> dict[str, Any]:
    """What playing the target's story shows, as it is and as it would be; its shape is in docs/merging.md."""
    if not plan.changed:
        return {"playable": None, "why": "Nothing changes."}
    if not any(map(_other_paths, plan.changed)):
        return {"playable": None, "why": "No path changes: only what is shown and said on the way."}
    size = reader.count(
        "document_fields", Where("project", "=", asked.project), Where("category", "=", "scene"),
        Where("worldline", "in", sorted({asked.source, asked.target, *(one.worldline for one in plan.common)})),
    )
    if size > WHOLE:
        return _apart(reader, asked, plan)
    laid = {(one.category, one.id): one.writes for one in plan.changed}
    before, why_before = _story(reader, asked, head)
    after, why = _story(Overlaid(reader, asked.project, asked.target, laid), asked, head)
    if after is None:
        return {"playable": False, "why": why, "before": why_before or None}
    return proof(before, after)


def _other_paths(one: Merged) -> bool:
    """Whether a merged document may lead elsewhere than before."""
    if one.category == "scene":
        return one.alive != one.ours.alive or not same_json(skeleton(one.fields), skeleton(one.ours.fields))
    return one.category in ("timeline", "variables")


def _story(reader: Reader, asked: Merge, head: int) -> tuple[Story | None, str]:
    """The story of the target as a reader shows it, or why it cannot be played."""
    try:
        return story(story_content(reader, asked.project, asked.target, head)), ""
    except ComfyVNError as error:
        return None, error.message


def _apart(reader: Reader, asked: Merge, plan: Plan) -> dict[str, Any]:
    """Of a large project, the scenes whose paths change, each by itself and with its own variables."""
    scenes = [one for one in plan.changed if one.category == "scene" and one.alive and _other_paths(one)]
    shown: dict[str, Any] = {}
    left = APART
    for one in scenes:
        left -= len(one.fields)
        if left < 0:
            break
        before = _alone(one.id, one.ours) if one.ours.alive else None
        shown[one.id] = proof(before, _alone(one.id, one.after), STATES_APART)
    changed = sorted(
        name for name, told in shown.items() if any(view["appeared"] or view["vanished"] for view in told["views"])
    )
    digests = orjson.dumps({name: told["digest"] for name, told in shown.items()})
    return {
        "playable": True, "apart": True, "scenes": len(shown), "unplayed": len(scenes) - len(shown),
        "changed_endings": changed[:50], "digest": f"sha256:{sha256(digests).hexdigest()}",
    }


def _alone(id_: str, held: Held) -> Story:
    return story({
        "id": id_, "entries": [{"id": id_, "scene": id_}], "scenes": {id_: document_from(id_, held.fields)},
        "variables": {},
    })
