"""What the assets of a game tell besides their content is taken out where the project's policy says so.

Nothing is stored for it: what a file will be is worked out from what is kept, and done again when the game is written.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Final

from domain.errors import Locked, Remedy
from domain.exchange.renpy.material import Asset
from domain.trust.policy_handling import ruled
from services.handling import PLAIN, facts_of, gate_of
from services.media.stripping import SIZE_LIMIT, Unstrippable, stripped
from services.studio import Studio

ACTION: Final = "export.renpy"

REMEMBERED: Final = 20_000
"""Stripped files whose digest and size are remembered: by the digest of the whole file, so it is always true."""

SHOWN: Final = 20

_KNOWN: Final[OrderedDict[tuple[str, str], tuple[str, int]]] = OrderedDict()


async def cleared(studio: Studio, project: str, assets: Mapping[str, Asset]) -> dict[str, Asset]:
    """The same assets, each as it will be in the game. Raises ``Locked`` for those that nobody here can strip."""
    handlings = (await gate_of(studio, project)).handlings.values()
    found: dict[str, Asset] = {}
    stuck: dict[str, str] = {}
    by: set[str] = set()
    for name, asset in assets.items():
        facts = facts_of({
            "kind": asset.kind, "media_type": asset.media_type, "asset_type": asset.asset_type,
            "licence": asset.licence, "origin": asset.origin, "nsfw": asset.nsfw, "sources": asset.sources,
        })
        said = ruled(handlings, "metadata", ACTION, facts)
        if asset.trouble or not said.strips or asset.media_type.startswith(PLAIN):
            found[name] = asset
            continue
        by |= set(said.by)
        try:
            found[name] = await _stripped(studio, asset)
        except Unstrippable as error:
            stuck[asset.uid] = f"{asset.name or asset.uid}: {error.message}"
    if stuck:
        raise _locked(stuck, sorted(by))
    return found


async def _stripped(studio: Studio, asset: Asset) -> Asset:
    key = asset.digest, asset.media_type
    known = _KNOWN.get(key)
    if known is None:
        if asset.size > SIZE_LIMIT:
            raise Unstrippable("too_large", f"Files over {SIZE_LIMIT:,} bytes are not stripped.")
        data = await studio.blobs.get(asset.digest)
        known = _KNOWN[key] = await asyncio.to_thread(_measured, data, asset.media_type)
        while len(_KNOWN) > REMEMBERED:
            _KNOWN.popitem(last=False)
    digest, size = known
    if digest == asset.digest:
        return asset
    return replace(asset, digest=digest, size=size, stored=(asset.digest, asset.size))


def _measured(data: bytes, media_type: str) -> tuple[str, int]:
    found = stripped(data, media_type).data
    return sha256(found).hexdigest(), len(found)


def _locked(stuck: Mapping[str, str], by: list[str]) -> Locked:
    shown = dict(list(stuck.items())[:SHOWN])
    return Locked(
        f"The policy of the project strips what files tell besides their content, and {len(stuck)} of this game cannot "
        f"be stripped here. {next(iter(shown.values()))}"[:500],
        error="metadata_policy",
        remediation=[
            Remedy("Put files of another format in their place: PNG, JPEG, WebP, AVIF, WAV, FLAC, MP3 or MP4.",
                   "replace_asset"),
            Remedy(f"Or leave their types out of the handling {by[0]}: a condition on media_type.",
                   "set_policy_handling"),
        ],
        detail={"assets": shown, "handlings": by},
    )
