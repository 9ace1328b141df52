"""``images.rpy`` and ``audio.rpy``: what is seen and heard, its files, and stand-ins for what is not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from domain.exchange.renpy.material import PICTURES, SOUNDS, Asset
from domain.exchange.renpy.names import Names
from domain.exchange.renpy.naming import named
from domain.exchange.renpy.spelling import comment, literal


@dataclass(slots=True)
class Media:
    """Files of a game that are bytes: path in its folder -> asset; and what is missing, by reference and kind."""

    files: dict[str, Asset] = field(default_factory=dict)
    missing: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    used_as: dict[str, list[str]] = field(default_factory=dict)


def image_lines(names: Names, assets: Mapping[str, Asset], media: Media) -> Iterator[str]:
    """The images of a game; notes files and what is missing in ``media``."""
    yield "# What is seen. A picture that was not there when the game was written has a stand-in."
    yield ""
    images = list(names.images())
    paths = _paths("images", (asset for _, asset, _ in images if asset), assets, PICTURES)
    for name, reference, called in images:
        path = paths.get(reference or "")
        tag = name.partition(" ")[0]
        if path is not None and reference is not None:
            media.files[f"game/{path}"] = assets[reference]
            media.used_as.setdefault(assets[reference].uid, []).append(name)
            yield f"image {name} = {_picture(tag, path)}"
        elif tag.startswith("o_"):
            yield f"image {name} = vn_tint({literal(called)})"
            if reference:
                _note(media, "images", reference, name, assets)
        else:
            yield f"image {name} = vn_stand_in({literal(called[:80])}, {literal(tag == 'bg')})"
            _note(media, "images", reference or called, name, assets)


def sound_lines(names: Names, assets: Mapping[str, Asset], media: Media) -> Iterator[str]:
    """The sounds of a game; a sound that is not there is a second of silence."""
    yield "# What is heard. A sound that was not there when the game was written is silence."
    yield ""
    paths = _paths("audio", names.told.sounds, assets, SOUNDS)
    for reference in names.told.sounds:
        name, path = names.sound(reference), paths.get(reference)
        if path is None:
            yield f'define audio.{name} = "<silence 1.0>"  # missing: {comment(reference)}'
            _note(media, "audio", reference, name, assets)
            continue
        media.files[f"game/{path}"] = assets[reference]
        media.used_as.setdefault(assets[reference].uid, []).append(f"audio {name}")
        yield f"define audio.{name} = {literal(path)}"


def _picture(tag: str, path: str) -> str:
    if tag in ("bg",) or tag.startswith("o_"):
        return f"vn_backdrop({literal(path)})"
    return f"vn_figure({literal(path)})" if tag.startswith("c_") else literal(path)


def _paths(
    folder: str, references: Any, assets: Mapping[str, Asset], endings: Mapping[str, str]
) -> dict[str, str]:
    """A file for every asset whose bytes can be used; references to one asset share it."""
    usable = {one: assets[one] for one in references if one in assets and not assets[one].trouble
              and assets[one].media_type in endings}
    by_uid = {asset.uid: asset for asset in usable.values()}
    stems: dict[str, str] = {}
    taken: set[str] = set()
    for asset in sorted(by_uid.values(), key=lambda one: one.uid):
        stem = asset.stem or asset.uid
        stems[asset.uid] = stem if stem not in taken else f"{stem} {asset.uid}"
        taken.add(stems[asset.uid])
    files = named((stems[uid] for uid in sorted(stems)), lower=True, else_="file")
    return {
        one: f"{folder}/{files[stems[asset.uid]]}.{endings[asset.media_type]}" for one, asset in usable.items()
    }


def _note(media: Media, kind: str, reference: str, name: str, assets: Mapping[str, Asset]) -> None:
    known = assets.get(reference)
    reason = "unknown" if known is None else known.trouble or "unsupported"
    one = media.missing.setdefault((reference, kind), {
        "kind": kind, "reference": reference, "reason": reason, "used_as": [],
        **({"media_type": known.media_type} if known else {}),
    })
    one["used_as"].append(name)
