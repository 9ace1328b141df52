"""Doing what a project's policy says of prompts and of metadata that leaks, wherever an asset comes in or goes out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from domain.errors import Locked, Remedy
from domain.ids import UNBRANCHED
from domain.ports import Stream
from domain.studio.asset import Registered
from domain.trust.policy import CATEGORY, GATE, Gate
from domain.trust.policy_handling import Ruled, Then, What, ruled
from services.generation.materials import newest
from services.media.stripping import Unstrippable, stripped_file
from services.studio import Studio

PLAIN: Final = ("text/", "application/json")
"""Types of files that are nothing but their content."""


async def gate_of(studio: Studio, project: str) -> Gate:
    """A project's gate as the log has it now, whoever has changed it."""
    state: Gate = await newest(studio.dispatcher, Stream(project, UNBRANCHED, CATEGORY, GATE))
    return state


async def handled(
    studio: Studio, project: str, what: What, action: str, facts: Mapping[str, Any], otherwise: Then | None = None
) -> Ruled:
    """What the project says is done with an asset of these facts; where it says nothing, ``otherwise``."""
    return ruled((await gate_of(studio, project)).handlings.values(), what, action, facts, otherwise)


def facts_of(told: Mapping[str, Any]) -> dict[str, Any]:
    """What conditions may look at, from an asset as views show it (its row): only what is known of it."""
    facts: dict[str, Any] = {
        name: told[name][:500] for name in ("kind", "media_type", "asset_type", "licence", "origin") if told.get(name)
    }
    facts["nsfw"] = bool(told.get("nsfw"))
    facts["generated"] = any(one.get("how") == "generate" for one in told.get("sources") or ())
    return facts


def registered_facts(asset: Registered) -> dict[str, Any]:
    """The same of an asset as the log has it."""
    said = asset.described
    return facts_of({
        "kind": asset.content, "media_type": asset.media_type, "asset_type": said.asset_type, "licence": said.licence,
        "origin": said.origin, "nsfw": said.nsfw, "sources": [{"how": one.how} for one in said.sources],
    })


class Cleaned(NamedTuple):
    """What was done to a file: ``stripped`` of what ``removed`` names, ``clean`` already, or ``unstrippable``."""

    state: str
    removed: tuple[str, ...] = ()
    reason: str = ""


async def cleaned(place: Path, media_type: str) -> Cleaned:
    """Strips a file where it lies, off the event loop. What cannot be stripped stays as it is, and is told so."""
    if media_type.startswith(PLAIN):
        return Cleaned("clean")
    beside = place.with_name(place.name + ".stripped")
    try:
        removed = await asyncio.to_thread(stripped_file, place, beside, media_type)
    except Unstrippable as error:
        beside.unlink(missing_ok=True)
        return Cleaned("unstrippable", (), error.reason)
    if not removed:
        beside.unlink(missing_ok=True)
        return Cleaned("clean")
    beside.replace(place)
    return Cleaned("stripped", tuple(dict.fromkeys(removed))[:40])


def must_be_stripped(uid: str, by: Ruled, why: str, *remedies: Remedy) -> Locked:
    """The no to giving a file out as it is, where the project says that what leaks is stripped."""
    return Locked(
        f"The policy of the project strips what asset {uid} tells besides its content; {why}.",
        error="metadata_policy",
        remediation=[*remedies, Remedy(
            f"Or change what the policy says: PUT or DELETE /api/policy/handlings/{by.by[0] if by.by else '{id}'}.",
            "set_policy_handling",
        )],
        detail={"uid": uid, "handlings": list(by.by)},
    )
