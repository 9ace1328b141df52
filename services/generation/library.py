"""Where presets come from: the studio's own, which are data beside this package, and those that a project wrote."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import orjson
from pydantic import ValidationError

from domain.canonical import digest
from domain.errors import Refused, Remedy
from domain.ids import UNBRANCHED, token
from domain.ports import Stream
from domain.studio.preset import (
    CATEGORY,
    Deleted,
    PresetCreated,
    PresetReplaced,
    Unwritten,
    deleted_preset,
    unknown_preset,
)
from domain.studio.preset_model import Preset
from services.dispatcher import Dispatcher


class Found(NamedTuple):
    """A preset, the digest of its document, and whether every project has it."""

    preset: Preset
    digest: str
    built_in: bool


@cache
def built_in() -> dict[str, Found]:
    """The studio's own presets by id, in the order of their kinds."""
    folder = files("services.presets")
    order = orjson.loads((folder / "order.json").read_bytes())
    presets = [Preset.model_validate_json((folder / f"{name}.json").read_bytes()) for name in order]
    return {one.id: Found(one, digest_of(one), True) for one in presets}


def digest_of(preset: Preset) -> str:
    """What a preset says, as a digest: two that differ in anything have different ones."""
    told = preset.model_dump(mode="json")
    for step in told["steps"]:
        for way in step["ways"]:
            if way["workflow"] is None:  # presets from before there were any keep the digests that jobs have recorded
                del way["workflow"]
    return digest(told)


def read_preset(document: dict[str, object]) -> Preset:
    """A stored preset; raises ``Refused`` for one that an older release wrote and this one cannot understand."""
    try:
        return Preset.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise Refused(
            f"The preset {str(document.get('id'))[:100]} does not fit this release: {first['msg'][:300]}.",
            error="preset_unreadable", remediation=[Remedy("Replace it by a mended one.", "replace_preset")],
        ) from None


async def find_preset(dispatcher: Dispatcher, project: str, preset_id: str) -> Found:
    """A preset by id, as it stands now; raises ``NotFound``."""
    known = built_in().get(preset_id)
    if known is not None:
        return known
    try:
        stream = Stream(project, UNBRANCHED, CATEGORY, token(preset_id))
    except ValueError:
        raise unknown_preset(preset_id) from None
    loaded = await dispatcher.aggregates.load(stream)
    newest = await dispatcher.log.last(stream)
    if (newest.position if newest else 0) != loaded.position:  # another process has changed it
        dispatcher.aggregates.forget(stream)
        loaded = await dispatcher.aggregates.load(stream)
    state = loaded.state
    if isinstance(state, Unwritten):
        dispatcher.aggregates.forget(stream)
        raise unknown_preset(preset_id)
    if isinstance(state, Deleted):
        raise deleted_preset(preset_id)
    preset = read_preset(state.document)
    return Found(preset, digest_of(preset), False)


async def earlier_preset(
    dispatcher: Dispatcher, project: str, preset_id: str, digest_then: str, workflows: Collection[str]
) -> Found | None:
    """A preset as it stood when it had this digest; else as it last stood with all of these workflows, by digest.

    The second is for digests of an earlier release, which knew less of a preset and so counted less. ``None``: it never
    stood so.
    """
    known: list[Found] = []
    for recorded in await dispatcher.log.read_stream(Stream(project, UNBRANCHED, CATEGORY, token(preset_id))):
        event = dispatcher.registry.decode(recorded)
        if isinstance(event, PresetCreated | PresetReplaced):
            try:
                preset = read_preset(event.document)
            except Refused:
                continue
            known.append(Found(preset, digest_of(preset), False))
    known.reverse()
    same = [one for one in known if one.digest == digest_then]
    suited = [one for one in known if set(workflows) <= one.preset.workflows.keys()]
    return next(iter([*same, *suited]), None)
