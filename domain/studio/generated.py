"""What facts of an asset say that it was generated, and what that amounts to in a signed statement.

An asset is generated when one of its sources says ``how: generate``, or when its metadata has ``generation``. There
stands what a source has no room for: ``job_id``, ``preset``, ``preset_digest``, ``quality``, ``step``, ``operation``,
``engine``, ``model``, ``seed``, ``prompt_sha256``, and ``parents``, the ids of what it was made from. Who knows which
of them the asset is another state of says so in ``ingredients``, a list of ``{"uid", "role"}`` with the role ``parent``
or ``component``; else the first input of an edit is. All of it is optional.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from domain.studio.asset_values import Source
from domain.studio.source_types import TRAINED

METADATA: Final = "generation"
"""The key of an asset's metadata under which the facts of its generation stand."""

PROCEDURAL: Final = frozenset({"studio_local"})
"""Engines in which no trained model has a part: what they make is ``algorithmicMedia``, not "made by AI"."""

EDITS: Final = frozenset({
    "image_to_image", "image_to_video", "lip_sync", "expression_transfer", "upscale_image", "upscale_video",
    "restore_face", "edit_image", "edit_video",
})
"""Operations whose first input is what comes out, in another state."""

COMPOSES: Final = frozenset({"compose_images", "compose_video"})
"""Operations that put their inputs side by side."""

Role = Literal["parent", "component"]
_UID = re.compile(r"[0-9a-f]{16}\Z")
_TEXTS: Final = (
    "job_id", "root", "attempt", "preset", "preset_digest", "quality", "step", "operation", "engine", "model", "seed",
    "prompt_sha256",
)
INGREDIENT_LIMIT: Final = 64


class Ingredient(NamedTuple):
    """An asset that something was made from."""

    uid: str
    role: Role


class Generation(NamedTuple):
    """How an asset was generated; empty texts where it is not known."""

    job_id: str = ""
    root: str = ""
    attempt: str = ""
    preset: str = ""
    preset_digest: str = ""
    quality: str = ""
    step: str = ""
    operation: str = ""
    engine: str = ""
    model: str = ""
    seed: str = ""
    prompt_sha256: str = ""
    workflow_digest: str = ""
    ingredients: tuple[Ingredient, ...] = ()

    def told(self) -> dict[str, Any]:
        """What is known of it, as JSON."""
        return {name: value for name, value in self._asdict().items() if value and name != "ingredients"}


class Step(NamedTuple):
    """One action of a signed statement: its C2PA name, an IPTC term or nothing, and on which ingredients."""

    action: str
    term: str = ""
    ingredients: tuple[int, ...] = ()


def generation_of(sources: Sequence[Source], metadata: Mapping[str, Any], *, uid: str = "") -> Generation | None:
    """How an asset was generated; nothing for one that was not. The last source that says so counts."""
    source = next((one for one in reversed(sources) if one.how == "generate"), None)
    said = metadata.get(METADATA)
    if source is None and not (isinstance(said, Mapping) and said):
        return None
    said = said if isinstance(said, Mapping) else {}
    source = source or Source(how="other")
    texts = {name: _text(said.get(name)) for name in _TEXTS}
    own = {"job_id": source.job_id, "engine": source.engine, "model": source.model, "seed": source.seed}
    texts |= {name: value for name, value in own.items() if value}
    made_from = [*source.made_from, *_uids(said.get("parents"))]
    return Generation(
        **texts, workflow_digest=source.workflow_digest,
        ingredients=_ingredients(said.get("ingredients"), made_from, texts["operation"], texts["engine"], uid),
    )


def parents_of(sources: Sequence[Source], metadata: Mapping[str, Any], *, uid: str = "") -> tuple[str, ...]:
    """The assets that one was made from, by any of its sources, in a fixed order, each once and never itself."""
    generation = generation_of(sources, metadata, uid=uid)
    found = [one.uid for one in generation.ingredients] if generation else []
    for source in sources:
        found += source.made_from
    return tuple(one for one in dict.fromkeys(found) if one != uid)


def steps(generation: Generation, terms: Mapping[str, str]) -> tuple[Step, ...]:
    """The actions of a generated asset. ``terms`` holds the IPTC term of each ingredient of which it is known.

    Exactly one ``c2pa.created`` or ``c2pa.opened`` comes first; created has a term, opened a parent, placed its parts.
    """
    parent = next((place for place, one in enumerate(generation.ingredients) if one.role == "parent"), None)
    trained = generation.engine not in PROCEDURAL
    known = [terms.get(one.uid, "") for one in generation.ingredients]
    if parent is not None:
        return (Step("c2pa.opened", "", (parent,)), Step("c2pa.edited", _edited(trained, known)),
                *_placed(generation))
    if generation.operation in COMPOSES or (not trained and generation.ingredients):
        return (Step("c2pa.created", _composed(trained, known)), *_placed(generation))
    return (Step("c2pa.created", "trainedAlgorithmicMedia" if trained else "algorithmicMedia"),)


def term_of(steps: Iterable[Step]) -> str:
    """The term that a statement amounts to: that of its last action that has one."""
    return next((one.term for one in reversed(tuple(steps)) if one.term), "")


def _edited(trained: bool, known: Sequence[str]) -> str:
    if trained or TRAINED & set(known):
        return "compositeWithTrainedAlgorithmicMedia"
    return "algorithmicMedia" if set(known) == {"algorithmicMedia"} else "algorithmicallyEnhanced"


def _composed(trained: bool, known: Sequence[str]) -> str:
    if trained or TRAINED & set(known):
        return "compositeWithTrainedAlgorithmicMedia"
    return "algorithmicMedia" if set(known) == {"algorithmicMedia"} else "composite"


def _placed(generation: Generation) -> tuple[Step, ...]:
    """References of a generated picture shaped it and are not in it; sounds and shots that were joined are."""
    places = tuple(place for place, one in enumerate(generation.ingredients) if one.role == "component")
    within = generation.operation in COMPOSES | {"lip_sync"} or generation.engine in PROCEDURAL
    return (Step("c2pa.placed", "", places),) if places and within else ()


def _ingredients(
    said: Any, made_from: Sequence[str], operation: str, engine: str, uid: str
) -> tuple[Ingredient, ...]:
    found: dict[str, Role] = {}
    for one in said if isinstance(said, list) else ():
        if isinstance(one, Mapping) and isinstance(one.get("uid"), str) and _UID.match(one["uid"]):
            found.setdefault(one["uid"], "parent" if one.get("role") == "parent" else "component")
    edits = operation in EDITS or (not operation and engine in PROCEDURAL and len(made_from) == 1)
    for place, one in enumerate(made_from):
        first = place == 0 and edits and "parent" not in found.values()
        found.setdefault(one, "parent" if first else "component")
    found.pop(uid, None)
    kept: list[Ingredient] = []
    for name, role in found.items():  # a statement has one parent at most
        taken = any(one.role == "parent" for one in kept)
        kept.append(Ingredient(name, "component" if taken else role))
    return tuple(kept[:INGREDIENT_LIMIT])


def _uids(value: Any) -> list[str]:
    found = value if isinstance(value, list) else []
    return [one for one in found if isinstance(one, str) and _UID.match(one)]


def _text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return ""
    return str(value)[:200] if isinstance(value, str | int) else ""
