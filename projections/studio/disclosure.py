"""What was generated, how and with what: the disclosure that shops ask for, from what is known of each asset.

itch.io asks for graphics, sound, text and code apart; Steam asks what was made beforehand and what a game makes while
it is played. Only what the studio knows is in here: a file that was brought in counts as generated when its sources
say so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

from domain.studio.asset import CATEGORY, AssetDescribed, AssetRegistered, AssetRemoved, AssetRestored
from domain.studio.asset_values import Source
from domain.tables import Add, Change, Drop, Patch, Reader, Row, Table, Where
from projections.declaration import Happened, Projection
from projections.reading import PageQuery, View, page
from projections.studio.job_views import asset_url

Category = Literal["graphics", "sound", "text", "other"]
"""What shops ask for; ``other`` is asked for by nobody. Code is never an asset."""

CATEGORIES: Final[dict[str, Category]] = {
    "image": "graphics", "video": "graphics", "font": "graphics", "audio": "sound", "text": "text",
}
ALGORITHMIC: Final = frozenset({"studio_local"})
"""Engines that compute without a model: filters, camera moves, placeholders."""

GROUPED: Final = 20_000
"""Most files whose engines and models are summed up."""

FACTS: Final = ("preset", "quality", "operation", "prompt_sha256", "prompt_digest", "prompt_hash", "step")
"""What a generated asset's metadata may say that belongs here."""

GENERATED = Table(
    name="generated_assets",
    columns={
        "project": "text", "uid": "text", "name": "text", "kind": "text", "category": "text", "made_by": "text",
        "engine": "text", "model": "text", "seed": "text", "job_id": "text", "made_from": "json", "facts": "json",
        "licence": "text", "removed": "bool", "changes": "int", "position": "int", "registered_position": "int",
        "created_at": "text",
    },
    key=("project", "uid"),
    indexes=(
        ("project", "removed", "registered_position"), ("project", "removed", "category", "registered_position"),
        ("project", "removed", "made_by", "registered_position"),
    ),
)


def apply(happened: Happened) -> Iterable[Change]:
    """An asset that says it was generated is a row, as long as it says so."""
    recorded, event = happened
    key = {"project": recorded.stream.project, "uid": recorded.stream.id}
    match event:
        case AssetRegistered() | AssetDescribed():
            source = made(event.sources)
            if source is None:
                if isinstance(event, AssetDescribed):
                    yield Drop(GENERATED.name, key)
                return
            facts = {name: event.metadata[name] for name in FACTS if name in event.metadata}
            yield Add(
                GENERATED.name, key, {"changes": 1},
                {
                    "name": event.name, "kind": event.kind, "category": CATEGORIES.get(event.kind, "other"),
                    "made_by": "studio" if source.engine in ALGORITHMIC else "model", "engine": source.engine,
                    "model": source.model, "seed": source.seed, "job_id": source.job_id,
                    "made_from": list(source.made_from), "facts": facts, "licence": event.licence,
                    "position": recorded.position,
                },
                first={"removed": False, "registered_position": recorded.position, "created_at": recorded.time},
            )
        case AssetRemoved():
            yield Patch(GENERATED.name, key, {"removed": True, "position": recorded.position})
        case AssetRestored():
            yield Patch(GENERATED.name, key, {"removed": False, "position": recorded.position})


def made(sources: Sequence[Source]) -> Source | None:
    """The newest source that says that an engine made it."""
    return next((one for one in reversed(sources) if one.how == "generate"), None)


class ShowDisclosure(PageQuery):
    """Which assets were generated, how and with what, in the words that shops ask for."""

    category: Category | None = None
    made_by: Literal["model", "studio"] | None = None


def show_disclosure(reader: Reader, query: ShowDisclosure) -> dict[str, Any]:
    """A page of generated assets, newest first, under what they add up to."""
    of = [Where("project", "=", query.project), Where("removed", "=", False)]
    narrowed = [Where(name, "=", value) for name in ("category", "made_by")
                if (value := getattr(query, name)) is not None]
    listed = page(
        reader, GENERATED.name, *of, *narrowed, order=("-registered_position",), limit=query.limit,
        cursor=query.cursor, shape=shape,
    )
    by_model = Where("made_by", "=", "model")
    counts = {name: reader.count(GENERATED.name, *of, Where("category", "=", name), by_model)
              for name in ("graphics", "sound", "text")}
    names = reader.columns(GENERATED.name, ("category", "engine", "model"), *of, by_model, limit=GROUPED)
    used = Counter(zip(*names, strict=True))
    means = [{"category": category, "engine": engine, "model": model, "assets": count}
             for (category, engine, model), count in sorted(used.items())]
    return {
        "project": query.project,
        "counts": {"generated": counts, "computed": reader.count(GENERATED.name, *of, Where("made_by", "=", "studio"))},
        "means": means, "itch": _itch(counts), "steam": _steam(counts, means),
        "note": "Only what the studio has recorded: what was made elsewhere and brought in without saying so, and text "
                "and code that were written with a model outside the studio, are yours to add.",
        **listed,
    }


def _itch(counts: dict[str, int]) -> dict[str, Any]:
    """The form of itch.io: one answer, and four boxes; code is no asset, so the studio cannot know of it."""
    return {"generative_ai": any(counts.values()), "graphics": counts["graphics"] > 0, "sound": counts["sound"] > 0,
            "text": counts["text"] > 0, "code": None}


def _steam(counts: dict[str, int], means: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The form of Steam: what was made beforehand, and what a game makes while it is played."""
    told = [f"{count:,} {name} {'file was' if count == 1 else 'files were'} made with "
            + _named([one for one in means if one["category"] == name]) + "."
            for name, count in counts.items() if count]
    return {
        "pre_generated": {"used": bool(told), "statement": " ".join(told)},
        "live_generated": {"used": False, "statement": "Games that the studio exports hold no model and ask none "
                                                       "while they are played."},
    }


def _named(means: Sequence[dict[str, Any]]) -> str:
    names = [f"{one['model'] or 'a model that is not named'} ({one['engine'] or 'an engine that is not named'})"
             for one in means]
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def shape(row: Row) -> dict[str, Any]:
    """A generated asset as the list shows it."""
    hidden = {"project", "removed", "changes", "registered_position"}
    told = {name: value for name, value in row.items() if name not in hidden}
    return {**told, "url": asset_url(row["project"], row["uid"])}


PROJECTIONS = (
    Projection(
        name="disclosure", version=1, tables=(GENERATED,), apply=apply, categories=frozenset({CATEGORY}),
        about="Which assets were generated, how and with what.",
    ),
)

VIEWS = (
    View("ShowDisclosure", "/api/disclosure", ShowDisclosure, show_disclosure, ("disclosure",), "asset:read"),
)
