"""What inputs stand for: assets that are really there and of the right kind, and what a character looks like."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any, Final

from domain.errors import NotFound, Unavailable
from domain.ids import UNBRANCHED
from domain.ports import Blobs, Stream
from domain.ports.engines import Material
from domain.story.authored import Written, document_from
from domain.story.character import CHARACTER
from domain.studio.asset import CATEGORY as ASSET
from domain.studio.asset import Registered
from domain.studio.asset_values import UID_LENGTH
from domain.studio.fault import Fault, fault
from domain.studio.preset_model import FILES, Preset
from domain.studio.preset_plan import PlannedStep
from services.dispatcher import Dispatcher
from services.generation.tasks import gone

PICTURES: Final = frozenset({"image", "video"})
"""Kinds of assets that can show a character."""

WORDS_LIMIT = 1000
"""Most characters that a character adds to a prompt."""


async def newest(dispatcher: Dispatcher, stream: Stream) -> Any:
    """An aggregate as the log has it, also when another process has changed it."""
    loaded = await dispatcher.aggregates.load(stream)
    last = await dispatcher.log.last(stream)
    if last is not None and last.position != loaded.position:
        dispatcher.aggregates.forget(stream)
        loaded = await dispatcher.aggregates.load(stream)
    elif last is None:
        dispatcher.aggregates.forget(stream)
    return loaded.state


async def assets_of(
    dispatcher: Dispatcher, project: str, preset: Preset, given: Mapping[str, Any]
) -> tuple[dict[str, Registered], list[Fault]]:
    """The assets that inputs name by uid, and what is wrong with them."""
    found: dict[str, Registered] = {}
    wrong: list[Fault] = []
    for name, one in preset.inputs.items():
        if one.type not in FILES or given.get(name) is None:
            continue
        value = given[name]
        for uid in value if isinstance(value, list) else [value]:
            asset = None
            if len(uid) == UID_LENGTH:
                asset = await newest(dispatcher, Stream(project, UNBRANCHED, ASSET, uid))
            if not isinstance(asset, Registered):
                wrong.append(fault("FILE_NOT_FOUND", f"{name}: project {project} has no asset {uid[:60]}.", field=name))
            elif asset.content != one.type:
                wrong.append(fault("FILE_REFUSED", f"{name}: {uid} is of the kind {asset.content}, not {one.type}.",
                                   field=name, media_type=asset.media_type))
            else:
                found[uid] = asset
    return found, wrong


async def assets_behind(
    dispatcher: Dispatcher, project: str, character: Mapping[str, Any], steps: Sequence[PlannedStep],
    known: Mapping[str, Registered],
) -> tuple[dict[str, Registered], list[Fault]]:
    """The assets that steps work on and no input names, which are the pictures of the character; and what is wrong
    with them."""
    found: dict[str, Registered] = {}
    wrong: list[Fault] = []
    refs = (ref for step in steps for refs in step.inputs.values() for ref in refs)
    for uid in dict.fromkeys(ref.removeprefix("asset:") for ref in refs if ref.startswith("asset:")):
        if uid in known:
            continue
        what = "portrait" if uid == character.get("portrait") else "picture"
        whose = f"The {what} of character {character.get('id')} is asset {uid[:60]}"
        help_ = f"Give the character another {what}, or leave it away."
        asset = await newest(dispatcher, Stream(project, UNBRANCHED, ASSET, uid)) if len(uid) == UID_LENGTH else None
        if not isinstance(asset, Registered):
            wrong.append(fault("FILE_NOT_FOUND", f"{whose}, which project {project} has not. {help_}", uid=uid))
        elif asset.content not in PICTURES:
            wrong.append(fault("FILE_REFUSED", f"{whose}, which is of the kind {asset.content}. {help_}", uid=uid,
                               media_type=asset.media_type))
        else:
            found[uid] = asset
    return found, wrong


async def unkept(blobs: Blobs, assets: Mapping[str, Registered]) -> list[Fault]:
    """What is wrong with assets whose bytes are not kept here any more. Where blobs are away just now nothing is: the
    work waits for them, and whoever does it looks again."""
    with suppress(Unavailable):
        kept = await asyncio.gather(*(blobs.head(one.digest) for one in assets.values()))
        return [gone(one.digest, one.described.name or "")
                for one, info in zip(assets.values(), kept, strict=True) if info is None]
    return []


def material_of(uid: str, asset: Registered) -> Material:
    """An asset as engines are given it."""
    return Material(f"sha256:{asset.digest}", asset.size, asset.media_type, asset.described.name or uid)


async def character_of(
    dispatcher: Dispatcher, project: str, worldline: str, preset: Preset, given: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Fault]]:
    """What ``{{character.…}}`` stands for: empty without a character; the LoRAs that have a name at the engine."""
    input_ = next((name for name, one in preset.inputs.items() if one.type == "character"), None)
    character_id = given.get(input_) if input_ is not None else None
    if not isinstance(character_id, str):
        return {}, []
    try:
        state = await newest(dispatcher, Stream(project, worldline, CHARACTER.category, character_id))
    except NotFound as error:
        return {}, [fault("FILE_NOT_FOUND", error.message, field=input_)]
    if not isinstance(state, Written):
        return {}, [fault("FILE_NOT_FOUND", f"{input_}: there is no character {character_id}.", field=input_)]
    document = document_from(CHARACTER, state.fields)
    look, wrong = _look(document, given.get("expression"), character_id)
    words = [document.get("name") or character_id, look.get("prompt") or look.get("description") or ""]
    told = {
        "id": character_id, "name": document.get("name"), "loras": _loras(document, character_id) or None,
        "prompt": ", ".join(one.strip() for one in words if one and one.strip())[:WORDS_LIMIT] + ", ",
        "portrait": (document.get("portrait") or {}).get("asset"), "look": look.get("asset"),
    }
    return told, wrong


def _look(document: Mapping[str, Any], wanted: Any, character_id: str) -> tuple[Mapping[str, Any], list[Fault]]:
    if not isinstance(wanted, str) or not wanted:
        return {}, []
    for kind in ("expressions", "poses", "avatars"):
        if wanted in document.get(kind, {}):
            return document[kind][wanted], []
    known = sorted({*document.get("expressions", {}), *document.get("poses", {}), *document.get("avatars", {})})
    return {}, [fault("INVALID_FIELD_VALUE", f"Character {character_id} has no expression or pose {wanted[:60]}.",
                      field="expression", known=known[:50])]


def _loras(document: Mapping[str, Any], character_id: str) -> list[dict[str, Any]]:
    found = []
    for one in document.get("loras", {}).values():
        file = one.get("name") or (PurePosixPath(one["path"].replace("\\", "/")).name if one.get("path") else "")
        if not file:
            continue  # only the asset is known, and engines do not take LoRAs as files
        weight = one.get("weight", 1)
        found.append({
            "name": file, "strength": weight, "clip_strength": one.get("clip_weight") or weight,
            "character": character_id, "words": ", ".join(one.get("trigger_words") or ())[:500],
        })
    return found
