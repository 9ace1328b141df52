"""Random valid presentation directives of every kind, with references to assets that exist and to some that do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from domain.story.directives import (
    Background,
    Camera,
    Custom,
    Expression,
    Overlay,
    Portrait,
    Pose,
    Prop,
    Sound,
    Timing,
    Tween,
)

Json = Any

ABSENT = (
    "missing", "rooms/kitchen.png", "no [x] {b} 100%.ogg", "../../escape.png", "\"q\"", "日本.webp", "a" * 300, "black",
)

CHARACTERS = ("ann", "ben", "stranger", "two words", "[x]", "None", "master")

NAMES = (
    "left", "center", "right", "far left", "happy", "sad", "[x]", "100%", "日本", "a.b", "left ", "show", "x" * 100,
)

EASES = ("linear", "ease_in", "ease_out", "ease_in_out", "ease_in_cubic", "ease_out_cubic", "ease_in_out_cubic")

TRANSITIONS = ("cut", "dissolve", "fade", "pixellate", "wipeleft", "no such [x]", "move", "Dissolve")

LAYERS = ("under_background", "background", "under_portrait", "portrait", "over_portrait", "over_ui")

KINDS = (Background, Portrait, Expression, Pose, Camera, Tween, Timing, Sound, Prop, Overlay, Custom)


def any_directives(random: Random, assets: Sequence[str] = ()) -> list[Json]:
    """One to four directives; their ids, where they have any, differ."""
    made = [_one(random, assets) for _ in range(random.randint(1, 4))]
    for number, one in enumerate(made):
        if random.random() < 0.2:
            one["id"] = f"d{number}"
    return made


def _one(random: Random, assets: Sequence[str]) -> Json:
    kind = random.choice(KINDS)
    name = str(kind.model_fields["kind"].annotation.__args__[0])
    required = {field for field, told in kind.model_fields.items() if told.is_required()} - {"kind"}
    fields = _fields(random, assets, name)
    kept = {field: make() for field, make in fields.items() if field in required or random.random() < 0.5}
    return {"kind": name, **kept}


def _fields(random: Random, assets: Sequence[str], kind: str) -> dict[str, Callable[[], Json]]:
    def one(values: Sequence[Json]) -> Callable[[], Json]:
        return lambda: random.choice(values)

    def asset() -> Json:
        return random.choice(assets) if assets and random.random() < 0.7 else random.choice((*ABSENT, None))

    def transition() -> Json:
        return {"name": random.choice(TRANSITIONS), "seconds": random.choice((0, 0.5, 1)), "ease": random.choice(EASES)}

    place = one((0, 0.5, 1, -0.25, 10, -10, 0.3333333333333333, None))
    late = {"at_seconds": one((0, 0.25, 3600))}
    match kind:
        case "background":
            return {**late, "asset": asset, "transition": transition}
        case "portrait":
            return {
                **late, "character": one(CHARACTERS), "action": one(("show", "show", "move", "hide")), "asset": asset,
                "expression": one(NAMES), "pose": one(NAMES), "position": one(NAMES), "x": place, "y": place,
                "scale": one((1, 0.5, 100, 0.001)), "flip": one((True, False)), "layer": one(LAYERS),
                "order": one((0, -1000, 1000, 3)), "transition": transition,
            }
        case "expression" | "pose":
            return {**late, "character": one(CHARACTERS), kind: one(NAMES), "transition": transition}
        case "camera":
            return {
                **late, "action": one(("set", "move", "shake", "reset")), "x": place, "y": place,
                "zoom": one((1, 2, 0.5, None)), "rotation": one((0, 90, -3600, None)),
                "focus": one((*CHARACTERS, None)),
                "strength": one((0, 0.5, 1, None)), "seconds": one((0, 1.5)), "ease": one(EASES),
            }
        case "tween":
            return {
                **late, "target": one((*CHARACTERS, "portrait", "lamp")),
                "effect": one(("fade", "drift", "pulse", "rotate", "scale")), "start": place, "end": place, "x": place,
                "y": place, "degrees": one((90, -90, None)), "seconds": one((0.05, 0.45, 60)),
                "hold_seconds": one((0, 1)),
                "ease": one(EASES), "loop": one((True, False)), "stop_at_end": one((True, False)),
            }
        case "timing":
            return {
                **late, "action": one(("wait", "wait_for_input", "wait_for_sound", "advance")),
                "seconds": one((0, 0.1, 3600)), "skippable": one((True, False)),
            }
        case "sound":
            return {
                **late, "channel": one(("music", "ambience", "effect", "voice")),
                "action": one(("play", "play", "queue", "stop", "gain")), "asset": asset, "gain_db": one((0,
                -6, 24, -120)),
                "fade_in_seconds": one((0, 1.5)), "fade_out_seconds": one((0, 2)), "loop": one((True, False)),
            }
        case "prop":
            return {
                **late, "prop": one(("lamp", "[x]", "two words", "日本")), "action": one(("show", "show", "hide")),
                "asset": asset, "anchor": one(NAMES), "x": place, "y": place, "layer": one(LAYERS),
                "transition": transition,
            }
        case "overlay":
            return {
                **late, "overlay": one(NAMES), "action": one(("show", "show", "hide")), "asset": asset,
                "strength": one((0, 0.5, 1)), "transition": transition,
            }
    return {**late, "name": one(NAMES), "parameters": one(({}, {"a": [1, None]}, {"[x]": "{b}"}))}
