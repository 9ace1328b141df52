"""What an export is written from: the stories as of a position, and the assets that they name."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from domain.errors import Invalid, Remedy
from domain.exchange.export import Order
from domain.exchange.renpy.material import Asset, PovMode, Tale, Wishes
from domain.exchange.renpy.naming import named
from domain.exchange.renpy.package import Package, package, recipe_of
from domain.exchange.renpy.project import povs_of, references
from domain.ids import MAIN
from domain.tables import Reader, Row, Where
from services.exports.clearing import cleared
from services.studio import Studio

READS: Final = ("assets", "worldlines", "timeline")

NAMED: Final = 400
"""Assets asked for by name in one question; databases bound what one may hold."""

MANY: Final = 100_000
"""Rows read at once; a project has fewer assets."""

UNUSED_LIMIT: Final = 500
"""Most unused assets that a manifest lists."""

RATINGS: Final[Mapping[str, str]] = {
    "e": "E", "everyone": "E", "all ages": "E", "all-ages": "E", "g": "E", "t": "T", "teen": "T", "pg-13": "T",
    "pg13": "T", "m": "M", "mature": "M", "r": "M", "17+": "M", "adult": "Adult", "ao": "Adult", "18+": "Adult",
    "r18": "Adult", "nsfw": "Adult", "explicit": "Adult", "x": "Adult",
}
"""What people write for a rating, and the rating that is meant."""

ORDERED: Final = ("", "E", "T", "M", "Adult")

_DAMAGED: Final = frozenset({"damaged", "truncated", "too_many_pixels", "renderer_died"})


@dataclass(frozen=True, slots=True)
class Gathered:
    """Everything that a package is written from. ``ratings`` are those of scenes, by id, where one is said."""

    order: Order
    tales: tuple[Tale, ...]
    assets: Mapping[str, Asset]
    unused: tuple[Asset, ...]
    wishes: Wishes
    ratings: Mapping[str, str]

    @property
    def recipe(self) -> str:
        """The digest of all of it."""
        return recipe_of(self.tales, self.assets, self.unused, self.wishes)

    def packed(self) -> Package:
        """The package. Blocking: run it in a thread."""
        return package(self.tales, self.assets, self.unused, self.wishes)

    @property
    def rating(self) -> str:
        """The highest rating that is said of any scene; empty where none is."""
        return max(self.ratings.values(), key=ORDERED.index, default="")


async def gathered(studio: Studio, project: str, order: Order) -> Gathered:
    """Reads what an order needs; raises ``NotFound``, ``Invalid`` and ``Unavailable``."""
    order = order if order.position else order.model_copy(update={"position": await studio.log.head()})
    worldlines = order.worldlines if order.world_mode == "multi" else order.worldlines[:1]
    stories = [
        await studio.stories.pinned(project, line, order.position, order.timeline, order.scene) for line in worldlines
    ]
    prefixes = named(worldlines, lower=True, else_="world") if len(worldlines) > 1 else {}
    await studio.counted(READS, order.position)
    labels = await asyncio.to_thread(_labels, studio, project, worldlines)
    tales = tuple(
        Tale(line, labels.get(line, line), story, f"{prefixes[line]}__" if line in prefixes else "")
        for line, story in zip(worldlines, stories, strict=True)
    )
    wanted = await asyncio.to_thread(references, tales)
    assets, unused, told_at = await asyncio.to_thread(_assets, studio, project, wanted, tales)
    assets = await cleared(studio, project, await _kept(studio, assets))
    ratings = {id_: rating for tale in tales for id_, rating in _ratings(tale)}
    return Gathered(order, tales, assets, unused, _wishes(project, order, tales, told_at, ratings), ratings)


def _wishes(project: str, order: Order, tales: Sequence[Tale], told_at: str, ratings: Mapping[str, str]) -> Wishes:
    known = list(dict.fromkeys(pov for tale in tales for pov in povs_of(tale)))
    people = {id_ for tale in tales for id_ in tale.characters}
    unknown = [pov for pov in order.povs if pov not in known and pov not in people]
    if unknown:
        raise Invalid(
            f"The story knows no point of view {unknown[0]!r}.", error="unknown_pov",
            remediation=[Remedy("Choose one that the story names, or make a character of it.", "choose_pov")],
            detail={"povs": unknown[:20], "known": known[:50]},
        )
    mode: PovMode = order.pov_mode or ("master" if len(order.povs) > 1 else "single")
    title = order.title or str(tales[0].story.content.get("title") or "") or project
    rating = max(ratings.values(), key=ORDERED.index, default="")
    gate = {"action": "export.renpy", "mode": order.mode, "nsfw_acknowledged": order.nsfw_acknowledged}
    return Wishes(
        project=project, title=title, version=order.version, povs=order.povs, pov_mode=mode,
        world_mode=order.world_mode, generated_at=told_at, gate=gate, rating=rating,
    )


def _ratings(tale: Tale) -> Iterable[tuple[str, str]]:
    for id_, program in tale.story.scenes.items():
        told = (program.document.get("metadata") or {}).get("rating")
        if isinstance(told, str) and told.strip():
            # A rating that nobody understands is not taken for a mild one.
            yield id_, RATINGS.get(told.strip().lower(), "M")


def _labels(studio: Studio, project: str, worldlines: Sequence[str]) -> dict[str, str]:
    with studio.models.reader() as reader:
        rows = {line: reader.row("worldlines", project=project, worldline_id=line) for line in worldlines
                if line != MAIN}
    return {line: str(row["label"]) for line, row in rows.items() if row and row.get("label")}


def _assets(
    studio: Studio, project: str, wanted: Sequence[str], tales: Sequence[Tale]
) -> tuple[dict[str, Asset], tuple[Asset, ...], str]:
    with studio.models.reader() as reader:
        found = _found(reader, project, wanted)
        used = {row["uid"] for row in found.values()}
        unused = [row for kind in ("image", "audio") for row in reader.rows(
            "assets", Where("project", "=", project), Where("removed", "=", False), Where("kind", "=", kind),
            order=("registered_position",), limit=MANY,
        ) if row["uid"] not in used]
        position = max((tale.story.content.get("position") or 0 for tale in tales), default=0)
        told = reader.row("timeline", project=project, position=position)
    beside = sorted((_asset(row) for row in unused), key=lambda one: one.uid)[:UNUSED_LIMIT]
    return {name: _asset(row) for name, row in found.items()}, tuple(beside), str(told["time"]) if told else ""


def _found(reader: Reader, project: str, wanted: Sequence[str]) -> dict[str, Row]:
    """The row of each reference: by id, else by a name that uses it, else by what it is called."""
    found: dict[str, Row] = {}
    for names in _portions([one for one in wanted if len(one) == 16]):
        for row in _rows(reader, project, "uid", names):
            found[row["uid"]] = row
    left = [one for one in wanted if one not in found]
    for names in _portions(left):
        told = {spelt: one for one in names for spelt in (f"path:{one}", one)}
        uses = reader.rows("asset_references", Where("project", "=", project), Where("reference", "in", sorted(told)),
                           order=("reference", "uid"), limit=MANY)
        uids = {told[row["reference"]]: row["uid"] for row in reversed(uses)}
        rows = {row["uid"]: row for row in _rows(reader, project, "uid", sorted(set(uids.values())))} if uids else {}
        found.update({one: rows[uid] for one, uid in uids.items() if uid in rows})
    for names in _portions([one for one in left if one not in found]):
        for row in _rows(reader, project, "name", names):
            found.setdefault(row["name"], row)
    return found


def _rows(reader: Reader, project: str, column: str, names: Sequence[str]) -> list[Row]:
    return list(reader.rows("assets", Where("project", "=", project), Where(column, "in", list(names)),
                            order=("registered_position",), limit=MANY))


def _portions(names: Sequence[str]) -> list[Sequence[str]]:
    return [names[start : start + NAMED] for start in range(0, len(names), NAMED)]


def _asset(row: Row) -> Asset:
    trouble = "removed" if row["removed"] else ""
    if row["preview"] == "failed" and row["preview_reason"] in _DAMAGED:
        trouble = "damaged"
    return Asset(
        row["uid"], row["digest"], row["size"], row["media_type"], row["name"], row["kind"], row["asset_type"],
        row["licence"], row["origin"], bool(row["nsfw"]), tuple(row["sources"]), trouble,
    )


async def _kept(studio: Studio, assets: Mapping[str, Asset]) -> dict[str, Asset]:
    """The same assets; those whose bytes are not here say so."""
    digests = {asset.digest for asset in assets.values() if not asset.trouble}
    there = {digest: await studio.blobs.head(digest) is not None for digest in sorted(digests)}
    return {
        name: asset if asset.trouble or there[asset.digest] else replace(asset, trouble="no_bytes")
        for name, asset in assets.items()
    }
