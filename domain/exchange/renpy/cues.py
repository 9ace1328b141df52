"""Directives as statements: ``show``, ``hide``, ``with``, ``camera``, ``play``, ``pause``.

What a cue means does not depend on the path by which a node was reached, so neither do its statements: who is on stage
keeps what a cue leaves away, and what is not on stage is not animated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

from domain.exchange.renpy.casting import played_by
from domain.exchange.renpy.names import Names
from domain.exchange.renpy.spelling import comment, literal

ZORDERS: Final[Mapping[str, int]] = {
    "under_background": -30_000, "background": -20_000, "under_portrait": -10_000, "portrait": 0,
    "over_portrait": 10_000, "over_ui": 30_000,
}
"""Where each layer of the studio begins among the pictures of Ren'Py's master layer."""

OVERLAYS: Final = 20_000

POSITIONS: Final[Mapping[str, tuple[float, float]]] = {
    "far_left": (0.1, 1.0), "left": (0.25, 1.0), "center_left": (0.375, 1.0), "center": (0.5, 1.0),
    "middle": (0.5, 1.0), "center_right": (0.625, 1.0), "right": (0.75, 1.0), "far_right": (0.9, 1.0),
    "offscreen_left": (-0.3, 1.0), "offscreen_right": (1.3, 1.0), "top": (0.5, 0.5), "bottom": (0.5, 1.0),
    "top_left": (0.25, 0.5), "top_right": (0.75, 0.5), "bottom_left": (0.25, 1.0), "bottom_right": (0.75, 1.0),
}
"""Named places as fractions of the frame: where the middle of a picture's lower edge stands."""

WARPERS: Final[Mapping[str, str]] = {
    "linear": "linear", "ease_in": "easeout", "ease_out": "easein", "ease_in_out": "ease",
    "ease_in_cubic": "easeout_cubic", "ease_out_cubic": "easein_cubic", "ease_in_out_cubic": "ease_cubic",
}
"""Ren'Py names a warper for the end at which it is gentle with the picture's arrival: its ``easein`` slows down."""

WIPES: Final = {"left": "left", "right": "right", "up": "up", "down": "down"}

FADED: Final = frozenset({"fade", "fade_to_black", "fade_black", "fadeblack"})

Directive = Mapping[str, Any]


@dataclass(slots=True)
class Cues:
    """Writes the directives of nodes. ``tuned`` are channels whose loudness is changed while something plays; ``roles``
    are those who are somebody else among the pictures of the game."""

    names: Names
    width: int
    height: int
    tuned: frozenset[str] = frozenset()
    roles: Mapping[str, str] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)

    def lines(self, directives: Sequence[Directive]) -> Iterator[str]:
        """The statements of a node's directives, in the order of their times."""
        advance: float | None = None
        now = 0.0
        ordered = sorted(played_by(directives, self.roles), key=lambda one: float(one.get("at_seconds", 0)))
        for (at, smooth), group in groupby(ordered, key=lambda one: (float(one.get("at_seconds", 0)), _smooth(one))):
            cues = list(group)
            if at > now and not all(one["kind"] == "sound" for one in cues):
                # Sounds wait by themselves; whatever is seen holds back what comes after it.
                yield f"pause {literal(at - now)}"
                now = at
            for one in cues:
                if one["kind"] == "timing" and one.get("action") == "advance":
                    advance = float(one.get("seconds", 0))
                elif one["kind"] == "timing":
                    now += float(one.get("seconds", 0)) if one.get("action", "wait") == "wait" else 0.0
                yield from self._one(one, at - now)
            if smooth:
                yield f"with {smooth}"
        if advance is not None:
            yield f"show screen vn_advance({literal(advance)})"

    def _one(self, one: Directive, late: float) -> Iterator[str]:
        match one["kind"]:
            case "background":
                name = self.names.background(one.get("asset"))
                if name:
                    yield f"show {name} zorder {ZORDERS['background']}"
                elif self.names.told.backgrounds:
                    yield "hide bg"
                else:
                    yield "# nothing to clear: no background is ever shown"
            case "portrait":
                yield from self._portrait(one)
            case "expression" | "pose" as kind:
                tag = self.names.character(one["character"])
                yield f'if renpy.showing("{tag}"):'
                yield f"    show {self.names.face(one['character'], **{kind: one[kind]})}"
            case "prop":
                yield from self._prop(one)
            case "overlay":
                yield from self._overlay(one)
            case "camera":
                yield from self._camera(one)
            case "tween":
                yield from self._tween(one)
            case "timing":
                yield from _timing(one)
            case "sound":
                yield from self._sound(one, late)
            case _:
                yield f"# left out: the cue {comment(str(one.get('name', one['kind'])))} of an extension"

    # --- pictures -----------------------------------------------------------------------------------------------------

    def _portrait(self, one: Directive) -> Iterator[str]:
        tag = self.names.character(one["character"])
        if one.get("action") == "hide":
            yield f'if renpy.showing("{tag}"):'
            yield f"    hide {tag}"
            return
        shown = self.names.face(one["character"], one.get("asset"), one.get("expression"), one.get("pose"))
        place = self._place(one, one.get("position"))
        for name in ("scale", "flip"):
            if name in one:
                place[name] = one[name]
        order = ""
        if "layer" in one or "order" in one:
            order = f" zorder {ZORDERS[one.get('layer', 'portrait')] + int(one.get('order', 0))}"
        yield f"show {shown}{_at(place)}{order}"

    def _place(self, one: Directive, named: str | None) -> dict[str, Any]:
        place: dict[str, Any] = {}
        if named is not None:
            key = named.strip().lower().replace(" ", "_").replace("-", "_")
            if key not in POSITIONS:
                self.unknown.add(f"position {named}")
            place["x"], place["y"] = POSITIONS.get(key, POSITIONS["center"])
        place.update({name: float(one[name]) for name in ("x", "y") if one.get(name) is not None})
        return place

    def _prop(self, one: Directive) -> Iterator[str]:
        tag = self.names.prop(one["prop"])
        if one.get("action") == "hide":
            yield f'if renpy.showing("{tag}"):'
            yield f"    hide {tag}"
            return
        place = self._place(one, one.get("anchor", "center"))
        order = ZORDERS[one.get("layer", "over_portrait")]
        yield f"show {self.names.prop(one['prop'], one.get('asset'))}{_at(place)} zorder {order}"

    def _overlay(self, one: Directive) -> Iterator[str]:
        tag = self.names.overlay(one["overlay"])
        if one.get("action") == "hide":
            yield f'if renpy.showing("{tag}"):'
            yield f"    hide {tag}"
            return
        shown = self.names.overlay(one["overlay"], one.get("asset"))
        yield f"show {shown} at vn_veil({literal(float(one.get('strength', 1)))}) zorder {OVERLAYS}"

    # --- movement -----------------------------------------------------------------------------------------------------

    def _camera(self, one: Directive) -> Iterator[str]:
        action = one.get("action", "move")
        seconds = float(one.get("seconds", 0))
        warper = WARPERS[one.get("ease", "ease_in_out")]
        yield "camera:"
        yield "    subpixel True"
        if action == "shake":
            strength = one.get("strength")
            yield from _shaken(0.5 if strength is None else float(strength), seconds or 0.5, self.width)
            return
        given: dict[str, Any] = dict(one)
        if action == "reset":
            given |= {"x": 0, "y": 0, "zoom": 1, "rotation": 0}
        moved = []
        # The camera goes one way, and so everything that it sees goes the other.
        for axis in ("x", "y"):
            if given.get(axis) is not None:
                moved.append(f"{axis}pos {literal(0.5 - float(given[axis]))}")
        if given.get("zoom") is not None:
            moved.append(f"zoom {literal(float(given['zoom']))}")
        if given.get("rotation") is not None:
            moved.append(f"rotate {literal(-float(given['rotation']))}")
        if not moved:
            yield "    pass"
        elif action == "set" or seconds == 0:
            yield from (f"    {one}" for one in moved)
        else:
            yield f"    {warper} {literal(seconds)} {' '.join(moved)}"

    def _tween(self, one: Directive) -> Iterator[str]:
        target = self.names.target(one["target"])
        if target is None:
            yield f"# left out: nothing on stage is called {comment(one['target'])}"
            return
        deep = ""
        if target:
            yield f'if renpy.showing("{target}"):'
            yield f"    show {target}:"
            deep = "    "
        else:
            yield "camera:"
            yield "    subpixel True"
        for line in self._motion(one):
            yield f"{deep}    {line}"

    def _motion(self, one: Directive) -> Iterator[str]:
        seconds, warper = float(one.get("seconds", 0.45)), WARPERS[one.get("ease", "ease_in_out_cubic")]
        start, end = one.get("start"), one.get("end")
        match one["effect"]:
            case "fade":
                before = {"alpha": 0.0 if start is None else start}
                after = {"alpha": 1.0 if end is None else end}
            case "rotate":
                before = {"rotate": 0.0 if start is None else start}
                after = {"rotate": one.get("degrees") if one.get("degrees") is not None else end or 360.0}
            case "scale":
                before, after = ({"zoom": start} if start is not None else {}), {"zoom": 1.1 if end is None else end}
            case "pulse":
                before = {"zoom": 1.0 if start is None else start}
                after = {"zoom": 1.06 if end is None else end}
            case _:
                before = {}
                after = {"xoffset": round(float(one.get("x") or 0) * self.width),
                         "yoffset": round(float(one.get("y") or 0) * self.height)}
        yield "subpixel True"
        for name, value in before.items():
            yield f"{name} {literal(_number(name, value))}"
        told = " ".join(f"{name} {literal(_number(name, value))}" for name, value in after.items())
        if one["effect"] == "pulse":
            back = " ".join(f"{name} {literal(_number(name, value))}" for name, value in before.items())
            yield f"{warper} {literal(seconds / 2)} {told}"
            yield f"{warper} {literal(seconds / 2)} {back}"
        else:
            yield f"{warper} {literal(seconds)} {told}"
        if one.get("hold_seconds"):
            yield f"pause {literal(float(one['hold_seconds']))}"
        if one.get("loop"):
            yield "repeat"

    # --- sound --------------------------------------------------------------------------------------------------------

    def _sound(self, one: Directive, late: float) -> Iterator[str]:
        channel, action = one.get("channel", "effect"), one.get("action", "play")
        fade_in, fade_out = float(one.get("fade_in_seconds", 0)), float(one.get("fade_out_seconds", 0))
        volume = min(1.0, 10 ** (float(one.get("gain_db", 0)) / 20))
        if action == "stop":
            yield f"stop {channel}" + (f" fadeout {literal(fade_out)}" if fade_out else "")
            return
        if action == "gain":
            yield f"$ renpy.music.set_volume({literal(volume)}, delay={literal(fade_in)}, channel={literal(channel)})"
            return
        if one.get("asset") is None:
            yield f"# left out: nobody says what plays on the channel {channel}"
            return
        sound = f"audio.{self.names.sound(one['asset'])}"
        if channel in self.tuned:
            yield f"$ renpy.music.set_volume({literal(volume)}, channel={literal(channel)})"
        told = f"[{literal(f'<silence {late}>')}, {sound}]" if late > 0 else sound
        line = f"{action} {channel} {told}"
        line += " loop" if one.get("loop") and late <= 0 else " noloop"
        if action == "play" and fade_out:
            line += f" fadeout {literal(fade_out)}"
        if fade_in:
            line += f" fadein {literal(fade_in)}"
        if channel not in self.tuned and volume < 1.0:
            line += f" volume {literal(volume)}"
        if action == "play" and channel in ("music", "ambience") and late <= 0:
            line += " if_changed"
        yield line


def _at(place: Mapping[str, Any]) -> str:
    return f" at vn_place({', '.join(f'{name}={literal(value)}' for name, value in place.items())})" if place else ""


def _number(name: str, value: Any) -> int | float:
    return int(value) if name in ("xoffset", "yoffset") else float(value)


def _shaken(strength: float, seconds: float, width: int) -> Iterator[str]:
    far = max(1, round(strength * width * 0.02))
    for _ in range(max(1, min(200, round(seconds / 0.16)))):
        yield f"    linear 0.04 offset ({far}, {far // 2})"
        yield f"    linear 0.08 offset (-{far}, -{far // 2})"
        yield "    linear 0.04 offset (0, 0)"


def _timing(one: Directive) -> Iterator[str]:
    match one.get("action", "wait"):
        case "wait" if one.get("seconds"):
            seconds = literal(float(one["seconds"]))
            yield f"pause {seconds}" if one.get("skippable", True) else f"$ renpy.pause({seconds}, hard=True)"
        case "wait_for_input":
            yield "pause"
        case "wait_for_sound":
            yield "$ vn_wait_for_sound()"


def _smooth(one: Directive) -> str:
    """The transition of a cue as an expression, empty for a cut."""
    told = one.get("transition") or {}
    name, seconds = str(told.get("name", "cut")).lower(), float(told.get("seconds", 0))
    if name == "cut" or seconds <= 0:
        return ""
    key = name.replace("-", "_").replace(" ", "_")
    length = literal(seconds)
    if one.get("action") == "move":
        return f"MoveTransition({length})"
    for kind, factory in (("wipe", "wipe"), ("slide", "slide"), ("push", "push")):
        way = key.removeprefix(kind).strip("_")
        if key.startswith(kind):
            return f'CropMove({length}, "{factory}{WIPES.get(way, "right")}")' if kind != "push" else (
                f'PushMove({length}, "push{WIPES.get(way, "right")}")'
            )
    if key in FADED:
        return f"Fade({literal(seconds / 2)}, 0.0, {literal(seconds / 2)})"
    if key in ("flash", "white", "fade_white", "fade_to_white"):
        return f'Fade({literal(seconds / 2)}, 0.0, {literal(seconds / 2)}, color="#ffffff")'
    if key in ("pixellate", "pixelate"):
        return f"Pixellate({length}, 5)"
    if key.startswith("iris"):
        return f'CropMove({length}, "{"irisout" if "out" in key else "irisin"}")'
    return f"Dissolve({length})"
