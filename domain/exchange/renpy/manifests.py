"""What stands beside a game for tools: the export manifest, the labels, and where everything comes from."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from domain.canonical import digest
from domain.exchange.renpy.material import Asset
from domain.exchange.renpy.project import Game
from domain.exchange.renpy.routes import Route, Written
from domain.exchange.renpy.scenes import caption, labels
from domain.story.play import content_digest
from domain.story.program import Node

SCHEMA = "comfyvn.renpy@1"


def label_manifest(game: Game) -> dict[str, Any]:
    """Which label, variable and caption stands for which part of the story."""
    return {
        "schema": SCHEMA, "project": game.wishes.project, "timeline": game.tales[0].tale.story.id,
        "generated_at": game.wishes.generated_at, "weather_bake": False,
        "pov_labels": [
            {"pov": route.id, "label": route.entry_label, "world": one.tale.world}
            for one in game.tales for route in one.routes
        ],
        "battle_labels": [battle for one in game.tales for battle in _battles(one)],
        "worlds": [_world(game, index) for index in range(len(game.tales))],
        "speakers": _speakers(game, {
            speaker: variable for those in reversed(game.voices.speakers) for speaker, variable in those.items()
        }),
    }


def _speakers(game: Game, speakers: Mapping[str, str]) -> dict[str, dict[str, str]]:
    return {
        speaker: {"variable": variable, "name": game.voices.defined[variable].name}
        for speaker, variable in speakers.items()
    }


def _world(game: Game, index: int) -> dict[str, Any]:
    one = game.tales[index]
    scenes = {}
    for id_, program in one.tale.story.scenes.items():
        names = labels(program, one.scene_labels[id_])
        menus = {node.id: _menu(node) for node in program.nodes.values() if node.manner == "ask"}
        scenes[id_] = {"label": one.scene_labels[id_], "nodes": names, "menus": menus}
    told = {
        "world": one.tale.world, "timeline": one.tale.story.id, "entries": list(one.entry_labels),
        "end": one.end_label, "scenes": scenes,
    }
    if len(game.tales) > 1:  # who speaks may be called otherwise on each of them
        told["speakers"] = _speakers(game, game.voices.speakers[index])
    return told


def _menu(node: Node) -> list[dict[str, str]]:
    return [
        {"id": choice.id, "label": choice.label, "caption": caption(choice)} for choice in node.choices
        if choice.weight > 0
    ]


def _battles(one: Written) -> list[dict[str, str]]:
    """Nodes and scenes of a fight: their id or label says so."""
    found = []
    for id_, program in one.tale.story.scenes.items():
        if "battle" in id_.lower():
            found.append(_battle(id_, one.scene_labels[id_]))
        for node, label in labels(program, one.scene_labels[id_]).items():
            if "battle" in node.lower():
                found.append(_battle(id_, label))
    return found


def _battle(scene: str, label: str) -> dict[str, str]:
    return {"scene_id": scene, "label": label, "hash": sha256(f"{scene}\n{label}".encode()).hexdigest()[:16]}


def export_manifest(game: Game, unused: tuple[Asset, ...] = (), forks: tuple[Mapping[str, Any], ...] = ()) -> dict[
    str, Any
]:
    """What was exported, what is missing and what nobody uses."""
    first = game.tales[0]
    wishes = game.wishes
    kinds = ("backgrounds", "portraits", "props", "overlays", "audio")
    shown: dict[str, list[dict[str, Any]]] = {kind: [] for kind in kinds}
    for path, asset in sorted(game.bytes_.items()):
        for kind in _kinds(game, asset):
            shown[kind].append({"path": path, "asset": asset.uid, "sha256": asset.digest, "bytes": asset.size,
                                "licence": asset.licence, "origin": asset.origin})
    return {
        "schema": SCHEMA,
        "project": {"id": wishes.project, "title": wishes.title or wishes.project, "version": wishes.version},
        "timeline": {
            "id": first.tale.story.id, "title": str(first.tale.story.content.get("title") or first.tale.story.id),
            "scenes": list(dict.fromkeys(
                alternative.scene for entry in first.tale.story.entries for alternative in entry.alternatives
            )),
            "position": first.tale.story.content.get("position"),
        },
        "generated_at": wishes.generated_at, "output_dir": ".",
        "script": {"path": "game/script.rpy", "labels": _all_labels(game)},
        "assets": shown,
        "missing_assets": {
            kind: [one for _, one in sorted(game.media.missing.items()) if one["kind"] == kind]
            for kind in ("images", "audio")
        },
        "unused_assets": [{"asset": one.uid, "name": one.name, "kind": one.kind} for one in unused],
        "gate": dict(wishes.gate), "rating": wishes.rating or None,
        "rating_gate": {"rating": wishes.rating or None, "acknowledged": bool(wishes.gate.get("nsfw_acknowledged"))},
        "worlds": {
            "mode": wishes.world_mode, "active": first.tale.world,
            "worlds": [{"id": one.tale.world, "label": one.tale.label, "prefix": one.tale.prefix,
                        "digest": content_digest(one.tale.story)} for one in game.tales],
        },
        "pov": {
            "mode": wishes.pov_mode, "menu_enabled": wishes.pov_mode in ("master", "both"),
            "active": None if wishes.pov_mode == "disabled" else game.active, "default": game.default,
            "routes": [] if wishes.pov_mode == "disabled" else [
                _route(one, route) for one in game.tales for route in one.routes
            ],
            "forks": list(forks),
        },
    }


def _kinds(game: Game, asset: Asset) -> list[str]:
    """As what an asset is used, from the names of its images."""
    kinds = {"bg": "backgrounds", "c": "portraits", "p": "props", "o": "overlays", "audio": "audio"}
    used = game.media.used_as.get(asset.uid, ())
    return sorted({kinds[name.partition(" ")[0].partition("_")[0]] for name in used})


def _route(one: Written, route: Route) -> dict[str, Any]:
    return {
        "id": route.id, "name": route.name, "slug": route.slug, "entry_label": route.entry_label,
        "scene_labels": [one.scene_labels[scene] for scene in route.scenes], "scenes": list(route.scenes),
        "world": one.tale.world,
    }


def _all_labels(game: Game) -> list[str]:
    found = ["start"]
    for one in game.tales:
        found += [route.entry_label for route in one.routes]
        found += [*one.entry_labels, one.end_label]
        for id_, program in one.tale.story.scenes.items():
            found += [one.scene_labels[id_], *labels(program, one.scene_labels[id_]).values()]
    return found


def provenance(game: Game, recipe: str, files: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Where every file comes from: position and digest of the story, licence and sources of every asset."""
    told = {
        "version": 1, "schema": SCHEMA, "project": game.wishes.project, "recipe": recipe,
        "stories": [
            {"world": one.tale.world, "timeline": one.tale.story.id, "position": one.tale.story.content.get("position"),
             "content": content_digest(one.tale.story), "scenes": sorted(one.tale.story.scenes),
             "characters": sorted(one.tale.characters)}
            for one in game.tales
        ],
        "assets": [
            {"path": path, "asset": asset.uid, "sha256": asset.digest, "bytes": asset.size, "name": asset.name,
             "media_type": asset.media_type, "licence": asset.licence, "origin": asset.origin, "nsfw": asset.nsfw,
             "sources": list(asset.sources), **({"stripped_from": asset.stored[0]} if asset.stored else {})}
            for path, asset in sorted(game.bytes_.items())
        ],
        "files": dict(sorted(files.items())),
        "findings": [{"finding": "missing", **one} for _, one in sorted(game.media.missing.items())],
    }
    return {**told, "digest": digest(told)}
