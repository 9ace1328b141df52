"""A finished game as files: texts and bytes by path, its manifests, the games of single points of view beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, Final

from domain.exchange.renpy.casting import characters_of
from domain.exchange.renpy.manifests import export_manifest, label_manifest, provenance
from domain.exchange.renpy.material import Asset, Tale, Wishes
from domain.exchange.renpy.naming import named
from domain.exchange.renpy.project import Game, game, povs_of
from domain.exchange.renpy.routes import pov_name
from domain.exchange.renpy.spelling import json_text
from domain.story.play import content_digest

WRITER: Final = 2
"""Version of the writer: raise it when the same story is written otherwise, so that old folders are written anew."""

PROVENANCE: Final = "provenance.json"

FORKS: Final = "forks"

_WORN: Final = ("name", "color", "portrait", "expressions", "poses")


@dataclass(frozen=True, slots=True)
class Package:
    """Every file of an export. ``recipe`` is the digest of everything that it was written from."""

    recipe: str
    texts: Mapping[str, bytes]
    blobs: Mapping[str, Asset]
    missing: Sequence[Mapping[str, Any]]
    unused: Sequence[Asset]
    manifest: Mapping[str, Any]
    digests: Mapping[str, str] = field(default_factory=dict)


def recipe_of(tales: Sequence[Tale], assets: Mapping[str, Asset], unused: Sequence[Asset], wishes: Wishes) -> str:
    """The digest of everything that a package is written from: the same recipe, the same bytes."""
    told = {
        "writer": WRITER,
        "tales": [
            [tale.world, tale.label, tale.prefix, content_digest(tale.story), tale.story.content.get("position"),
             tale.story.content.get("title"), _people(tale)]
            for tale in tales
        ],
        "assets": {reference: _told(asset) for reference, asset in sorted(assets.items())},
        "unused": [_told(asset) for asset in unused],
        "wishes": _told(wishes),
    }
    spelt = json.dumps(told, sort_keys=True, separators=(",", ":"), default=dict)
    return "sha256:" + sha256(spelt.encode(errors="replace")).hexdigest()


def _people(tale: Tale) -> dict[str, Any]:
    return {
        id_: {path: value for path, value in sorted(fields.items()) if path.split("/")[0] in _WORN}
        for id_, fields in sorted(tale.characters.items())
    }


def _told(one: Asset | Wishes) -> list[Any]:
    told = {name: getattr(one, name) for name in one.__slots__}
    # What is given out as it is kept has the recipe that it always had.
    return [value for name, value in told.items() if name != "stored" or value is not None]


def package(
    tales: Sequence[Tale], assets: Mapping[str, Asset], unused: Sequence[Asset], wishes: Wishes
) -> Package:
    """Writes everything. What the game of a single point of view is, stands in a folder of its own below ``forks``."""
    first = game(tales, assets, wishes)
    forks, beside = _forks(tales, assets, wishes)
    texts, blobs = _files(first, "")
    for folder, fork in beside:
        more, bytes_ = _files(fork, folder)
        texts |= more
        blobs |= bytes_
    manifest = export_manifest(first, tuple(unused), tuple(forks))
    texts["export_manifest.json"] = json_text(manifest).encode()
    texts["README.txt"] = _readme(first).encode()
    recipe = recipe_of(tales, assets, unused, wishes)
    digests = {path: sha256(text).hexdigest() for path, text in texts.items()}
    files = {path: {"sha256": digests[path], "bytes": len(text)} for path, text in texts.items()}
    files |= {path: {"sha256": asset.digest, "bytes": asset.size} for path, asset in blobs.items()}
    told = provenance(first, recipe, files)
    texts[PROVENANCE] = json_text(told).encode()
    missing = [one for _, one in sorted(first.media.missing.items())]
    digests |= {path: asset.digest for path, asset in blobs.items()}
    digests[PROVENANCE] = sha256(texts[PROVENANCE]).hexdigest()
    return Package(recipe, dict(sorted(texts.items())), dict(sorted(blobs.items())), missing, unused, manifest, digests)


def _forks(
    tales: Sequence[Tale], assets: Mapping[str, Asset], wishes: Wishes
) -> tuple[list[dict[str, Any]], list[tuple[str, Game]]]:
    if wishes.pov_mode not in ("forks", "both"):
        return [], []
    povs = wishes.povs or tuple(dict.fromkeys(pov for tale in tales for pov in povs_of(tale)))
    characters = characters_of(tales)
    slugs = named(povs, lower=True, else_="pov")
    told, games = [], []
    for pov in povs:
        folder = f"{FORKS}/{slugs[pov]}/"
        title = f"{wishes.title or wishes.project}: {pov_name(pov, characters)}"
        games.append((folder, game(tales, assets, replace(wishes, povs=(pov,), pov_mode="single", title=title))))
        told.append({
            "id": pov, "name": pov_name(pov, characters), "slug": slugs[pov],
            "manifest": f"{folder}export_manifest.json", "script": f"{folder}game/script.rpy",
            "game_dir": f"{folder}game",
        })
    return told, games


def _files(one: Game, folder: str) -> tuple[dict[str, bytes], dict[str, Asset]]:
    texts = {folder + path: text.encode() for path, text in one.texts.items()}
    texts[f"{folder}label_manifest.json"] = json_text(label_manifest(one)).encode()
    if folder:
        texts[f"{folder}export_manifest.json"] = json_text(export_manifest(one)).encode()
    return texts, {folder + path: asset for path, asset in one.bytes_.items()}


def _readme(one: Game) -> str:
    title = one.wishes.title or one.wishes.project
    plain = "".join(letter if letter.isprintable() else " " for letter in title)
    return (
        f"{plain}\n\nA game for Ren'Py 8: put this folder among your Ren'Py projects, and launch or build it there.\n\n"
        "game/script.rpy is where it begins, game/story.rpy the order of the scenes, game/scenes the scenes.\n"
        "Files of your own stay when the story is exported again; change the story in the studio, not here.\n"
        f"What is missing stands in export_manifest.json, where everything comes from in {PROVENANCE}.\n"
    )

