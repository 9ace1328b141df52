"""Whose face work would use: references that are named so, and pictures in which one is known to be, however they come.

A face reaches an engine in three ways: by an input that a preset says shows a person; by a step that asks its engine to
imitate one, whatever stood between it and the picture; and by a picture or video that was made with a face before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from domain.errors import Unavailable
from domain.studio.asset_values import UID_LENGTH
from domain.studio.preset_model import Preset
from domain.studio.preset_plan import PlannedStep
from projections.studio.lineage import LIKENESS, FindLikenesses
from services.studio import Studio

IMITATED: Final = frozenset({"identity", "face", "face_reference", "identity_reference"})
"""Inputs of engines, whatever they do, whose person is shown again."""

IMITATES: Final[Mapping[str, frozenset[str]]] = {"expression_transfer": frozenset({"image", "source_video"})}
"""Operation -> its inputs whose person is shown again."""

VISUAL: Final = frozenset({"image", "video"})


def faces_named(preset: Preset, given: Mapping[str, Any], steps: Sequence[PlannedStep]) -> dict[str, str]:
    """Asset -> why its person would be imitated: what the preset and its steps say."""
    found: dict[str, str] = {}
    for name, one in preset.inputs.items():
        if one.shows_person:
            found |= dict.fromkeys(_uids(given.get(name)), f"{name} shows a person")
    made = {one.id: one for one in steps}
    for step in steps:
        imitated = IMITATED | IMITATES.get(step.operation, frozenset())
        for name, refs in step.inputs.items():
            if name in imitated:
                for uid in _assets(refs, made):
                    found.setdefault(uid, f"step {step.id} imitates the person of its {name}")
    return found


async def faces_known(
    studio: Studio, project: str, preset: Preset, given: Mapping[str, Any], steps: Sequence[PlannedStep]
) -> dict[str, str]:
    """Asset -> why a person is known to be in it: it was a reference before, or was made from one.

    Raises ``Unavailable`` while the read side has not counted what has happened: then nobody can say.
    """
    wanted = [uid for name, one in preset.inputs.items() if one.type in VISUAL for uid in _uids(given.get(name))]
    wanted += [uid for step in steps for refs in step.inputs.values() for uid in _assets(refs, {})]
    uids = tuple(uid for uid in dict.fromkeys(wanted) if _is_uid(uid))[:200]
    if not uids:
        return {}
    head = await studio.log.head()
    found = await studio.look(LIKENESS, FindLikenesses(project=project, uids=uids, min_position=head))
    return {uid: f"{uid} was used as a picture of a person before" if first == uid else
            f"{uid} was made from {first}, which shows a person" for uid, first in found.items()}


async def faces(
    studio: Studio, project: str, preset: Preset, given: Mapping[str, Any], steps: Sequence[PlannedStep], *,
    agreed: bool,
) -> dict[str, str]:
    """Both. With ``agreed``, what cannot be looked up now is left out: consent is there, whoever else is shown."""
    named = faces_named(preset, given, steps)
    try:
        return {**await faces_known(studio, project, preset, given, steps), **named}
    except Unavailable:
        if not agreed:
            raise
        return named


def _assets(refs: Iterable[str], made: Mapping[str, PlannedStep], seen: frozenset[str] = frozenset()) -> Iterator[str]:
    """The assets behind references, also those from which the step of a reference makes its own."""
    for ref in refs:
        kind, _, rest = ref.partition(":")
        if kind == "asset":
            yield rest
        step = rest.partition(".")[0]
        if kind == "step" and step in made and step not in seen:
            for inputs in made[step].inputs.values():
                yield from _assets(inputs, made, seen | {step})


def _uids(value: Any) -> list[str]:
    return [one for one in (value if isinstance(value, list | tuple) else [value]) if isinstance(one, str)]


def _is_uid(text: str) -> bool:
    return len(text) == UID_LENGTH and all(letter in "0123456789abcdef" for letter in text)
