"""A node's directives as an ordered plan: what happens on stage, when, with which asset, and the stage afterwards.

The order is that of the times (``at_seconds``), and at one time that in which the author wrote. A ``wait`` holds back
whatever comes after it until it is over; a wait for the player or for a sound has no known end, so times after it are
told as though it took none, and ``phase`` counts such waits. What is odd never stops a plan: it is a warning with its
place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, assert_never

from pydantic import TypeAdapter, ValidationError

from domain.errors import Invalid, Remedy
from domain.story import directives as cue
from domain.story.looks import knows, look
from domain.story.scene_model import Directives
from domain.story.scene_rules import SHOWN, Problem, schema_problems
from domain.story.staging import EMPTY, PLACES, Heard, Motion, Stage, Standing, Thing, Veil, View

Characters = Mapping[str, Mapping[str, Any]]
"""Character's id -> its document or fields."""

Step = dict[str, Any]

_DIRECTIVES: Final = TypeAdapter(Directives)

KINDS: Final = (
    "background", "portrait", "expression", "pose", "camera", "tween", "timing", "sound", "prop", "overlay", "custom",
)

OPEN_ENDED: Final = frozenset({"wait_for_input", "wait_for_sound"})
"""Waits of which nobody knows beforehand how long they take."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in order, the stage before and after them, how long they take, and what is odd."""

    node: str
    before: Stage
    steps: tuple[Step, ...]
    after: Stage
    seconds: float
    phases: int
    warnings: tuple[Problem, ...]

    def shown(self) -> dict[str, Any]:
        """The plan as JSON."""
        return {
            "node": self.node, "before": self.before.shown(), "steps": list(self.steps), "after": self.after.shown(),
            "seconds": self.seconds, "phases": self.phases,
            "warnings": [one.shown() for one in self.warnings[:SHOWN]],
        }


def read(told: Any) -> tuple[cue.Directive, ...]:
    """Directives as typed cues; raises ``Invalid`` that names each one that is unknown or does not fit."""
    if not isinstance(told, list | tuple):
        raise _unfit([Problem("directives", "a list of directives is needed", "list_type")])
    wrong = [
        Problem(f"directives/{index}/kind", f"{str(one.get('kind'))[:60]!r} is none of {', '.join(KINDS)}", "unknown")
        if isinstance(one, Mapping) else Problem(f"directives/{index}", "an object is needed", "dict_type")
        for index, one in enumerate(told) if not isinstance(one, Mapping) or one.get("kind") not in KINDS
    ]
    if wrong:
        raise _unfit(wrong)
    try:
        return _DIRECTIVES.validate_python(tuple(told))
    except ValidationError as error:
        found = [one._replace(path=f"directives/{one.path}".rstrip("/")) for one in schema_problems(error)]
        raise _unfit(found) from error


def _unfit(problems: Sequence[Problem]) -> Invalid:
    first = problems[0]
    return Invalid(
        f"The directives cannot be planned: {first.path}: {first.message}.",
        error="invalid_directives",
        remediation=[Remedy("Write each directive as the scene schema has it: GET /openapi.json.", "mend_directives")],
        detail={"fields": [{"path": one.path, "message": one.message} for one in problems[:SHOWN]]},
    )


def plan(node: Mapping[str, Any], stage: Stage = EMPTY, characters: Characters | None = None) -> Plan:
    """The plan of a node on a stage. ``node`` needs no more than its ``id`` and ``directives``."""
    return _Planning(stage, characters or {}).run(str(node.get("id", "")), read(node.get("directives", ())))


def staged(nodes: Iterable[Mapping[str, Any]], stage: Stage = EMPTY, characters: Characters | None = None) -> Stage:
    """The stage after a path of nodes: where a viewer is who jumps into the middle."""
    for node in nodes:
        if node.get("directives"):
            stage = plan(node, stage, characters).after
    return stage


@dataclass(slots=True)
class _Planning:
    """One plan in the making."""

    stage: Stage
    characters: Characters
    warnings: list[Problem] = field(default_factory=list)
    path: str = ""

    def run(self, node: str, cues: Sequence[cue.Directive]) -> Plan:
        before = self.stage
        steps: list[Step] = []
        free = longest = 0.0  # nothing starts before ``free``: the end of the last wait
        phase = 0
        for index, one in sorted(enumerate(cues), key=lambda pair: (pair[1].at_seconds, pair[0])):
            self.path = f"directives/{index}"
            starts = max(float(one.at_seconds), free)
            told = self._applied(one)
            seconds = told.pop("seconds")
            step: Step = {
                "step": len(steps), "directive": index, "id": one.id, "kind": one.kind, "does": told.pop("does"),
                "phase": phase, "at_seconds": starts, "seconds": seconds,
                "ends_at_seconds": None if seconds is None else starts + seconds, **told,
            }
            steps.append(step)
            longest = max(longest, starts + (seconds or 0.0))
            if step["kind"] == "timing" and step["blocks"]:
                free = starts + (seconds or 0.0)
                phase += told["action"] in OPEN_ENDED
        return Plan(node, before, tuple(steps), self.stage, longest, phase + 1, tuple(self.warnings))

    def _warn(self, code: str, message: str) -> None:
        self.warnings.append(Problem(self.path, message, code))

    def _set(self, **changes: Any) -> None:
        self.stage = self.stage.model_copy(update=changes)

    def _applied(self, one: cue.Directive) -> Step:
        match one:
            case cue.Background():
                return self._background(one)
            case cue.Portrait():
                return self._portrait(one)
            case cue.Expression():
                return self._look(one.character, {"expression": one.expression}, one.transition)
            case cue.Pose():
                return self._look(one.character, {"pose": one.pose}, one.transition)
            case cue.Camera():
                return self._camera(one)
            case cue.Tween():
                return self._tween(one)
            case cue.Timing():
                return self._timing(one)
            case cue.Sound():
                return self._sound(one)
            case cue.Prop():
                return self._prop(one)
            case cue.Overlay():
                return self._overlay(one)
            case cue.Custom():
                return {"does": "custom", "seconds": 0.0, "name": one.name, "parameters": one.parameters}
            case _:
                assert_never(one)

    # --- pictures -----------------------------------------------------------------------------------------------------

    def _background(self, one: cue.Background) -> Step:
        was = self.stage.background
        smooth = one.transition.seconds > 0 and one.transition.name != "cut"
        if one.asset == was:
            does = "stay"
            if was is None:
                self._warn("nothing_to_clear", "There is no background to clear.")
        elif one.asset is None:
            does = "fade_out" if smooth else "clear"
        elif was is None:
            does = "fade_in" if smooth else "cut"
        else:
            does = "crossfade" if smooth else "cut"
        self._set(background=one.asset)
        return {"does": does, **_change(one.transition, still=does == "stay"), "asset": one.asset, "replaces": was}

    def _portrait(self, one: cue.Portrait) -> Step:
        was = self.stage.characters.get(one.character)
        if one.action == "hide":
            return self._leave(one, was)
        if one.action == "move" and was is None:
            self._warn("not_on_stage", f"{one.character} is moved without being on stage, and enters.")
        given = one.model_fields_set
        named: dict[str, Any] = {name: getattr(one, name) for name in (*PLACES, "expression", "pose") if name in given}
        # Whoever is on stage keeps what the cue leaves away.
        now = (was or Standing()).model_copy(update=named)
        if was is not None and was.asset and one.asset is None and not {"expression", "pose"} & given:
            asset, by = self._kept(was)
        else:
            asset, by = self._asset(one.character, one.asset, now, was)
        now = now.model_copy(update={"asset": asset})
        moved = was is not None and any(getattr(now, name) != getattr(was, name) for name in PLACES)
        if was is None:
            does = "enter"
        elif moved:
            does = "move"
        else:
            does = "stay" if now == was else "change"
        self._set(characters={**self.stage.characters, one.character: now})
        implied = ["already_on_stage"] if was is not None and one.action == "show" else []
        implied += ["enters"] if was is None and one.action == "move" else []
        return {
            "does": does, **_change(one.transition, still=does == "stay"), "character": one.character, "asset": asset,
            "asset_by": by, "implied": implied, **now.model_dump(mode="json", exclude={"asset"}),
            "from": was.model_dump(mode="json") if was is not None and does != "stay" else None,
        }

    def _leave(self, one: cue.Portrait, was: Standing | None) -> Step:
        if was is None:
            self._warn("not_on_stage", f"{one.character} leaves without being on stage.")
        self._set(
            characters={name: other for name, other in self.stage.characters.items() if name != one.character},
            motions={name: other for name, other in self.stage.motions.items() if name != one.character},
        )
        return {
            "does": "leave" if was else "nothing", **_change(one.transition, still=was is None),
            "character": one.character, "asset": None, "from": was.model_dump(mode="json") if was else None,
        }

    def _look(self, character: str, named: dict[str, str], transition: cue.Transition) -> Step:
        was = self.stage.characters.get(character)
        if was is None:
            (what,) = named
            self._warn("not_on_stage", f"{character} gets another {what} without being on stage.")
            return {"does": "nothing", "seconds": 0.0, "character": character, **named, "asset": None}
        now = was.model_copy(update=named)
        asset, by = self._asset(character, None, now, was)
        now = now.model_copy(update={"asset": asset})
        does = "stay" if now == was else "change"
        self._set(characters={**self.stage.characters, character: now})
        return {
            "does": does, **_change(transition, still=does == "stay"), "character": character, "asset": asset,
            "asset_by": by, "expression": now.expression, "pose": now.pose, "replaces": was.asset,
        }

    def _kept(self, was: Standing) -> tuple[str | None, str | None]:
        return was.asset, "stage"

    def _asset(
        self, character: str, named: str | None, now: Standing, was: Standing | None
    ) -> tuple[str | None, str | None]:
        """The asset that shows somebody, and by what it was found."""
        if named is not None:
            return named, "directive"
        told = self.characters.get(character)
        if told is None:
            if self.characters:
                self._warn("unknown_character", f"There is no character {character}.")
            return (was.asset, "stage") if was is not None and was.asset else (None, None)
        for kind, name in (("expressions", now.expression), ("poses", now.pose)):
            if name is not None and not knows(told, kind, name):
                self._warn(f"unknown_{kind[:-1]}", f"{character} has no {kind[:-1]} {name!r}.")
        found = look(told, now.expression, now.pose)
        if found.asset is None and was is not None and was.asset:
            return was.asset, "stage"
        if found.asset is None:
            self._warn("no_asset", f"Nothing shows {character}: give it a portrait, or name an asset.")
        return found

    def _prop(self, one: cue.Prop) -> Step:
        was = self.stage.props.get(one.prop)
        rest = {name: other for name, other in self.stage.props.items() if name != one.prop}
        if one.action == "hide":
            if was is None:
                self._warn("not_on_stage", f"Prop {one.prop} goes without being on stage.")
            self._set(props=rest, motions={name: m for name, m in self.stage.motions.items() if name != one.prop})
            return {"does": "leave" if was else "nothing", **_change(one.transition, still=was is None),
                    "prop": one.prop, "asset": None}
        now = Thing(asset=one.asset or (was.asset if was else None) or one.prop, anchor=one.anchor, x=one.x, y=one.y,
                    layer=one.layer)
        does = "enter" if was is None else "stay" if now == was else "change"
        self._set(props={**rest, one.prop: now})
        return {"does": does, **_change(one.transition, still=does == "stay"), "prop": one.prop,
                **now.model_dump(mode="json")}

    def _overlay(self, one: cue.Overlay) -> Step:
        was = self.stage.overlays.get(one.overlay)
        rest = {name: other for name, other in self.stage.overlays.items() if name != one.overlay}
        if one.action == "hide":
            if was is None:
                self._warn("not_on_stage", f"Overlay {one.overlay} goes without being shown.")
            self._set(overlays=rest)
            return {"does": "leave" if was else "nothing", **_change(one.transition, still=was is None),
                    "overlay": one.overlay, "asset": None}
        now = Veil(asset=one.asset or (was.asset if was else None), strength=one.strength)
        does = "enter" if was is None else "stay" if now == was else "change"
        self._set(overlays={**rest, one.overlay: now})
        return {"does": does, **_change(one.transition, still=does == "stay"), "overlay": one.overlay,
                **now.model_dump(mode="json")}

    # --- movement, time and sound -------------------------------------------------------------------------------------

    def _camera(self, one: cue.Camera) -> Step:
        was = self.stage.camera
        if one.focus is not None and not self.stage.holds(one.focus):
            self._warn("not_on_stage", f"The camera looks for {one.focus}, which is not on stage.")
        seconds = 0.0 if one.action == "set" else float(one.seconds)
        if one.action == "shake":
            return {"does": "shake", "seconds": seconds, "ease": one.ease, "camera": was.model_dump(mode="json"),
                    "strength": 0.5 if one.strength is None else one.strength}
        named = {name: value for name in ("x", "y", "zoom", "rotation", "focus")
                 if (value := getattr(one, name)) is not None}
        now = View() if one.action == "reset" else was.model_copy(update=named)
        self._set(camera=now)
        does = "stay" if now == was else "cut" if seconds == 0 else "move"
        return {"does": does, "seconds": 0.0 if does == "stay" else seconds, "ease": one.ease,
                "camera": now.model_dump(mode="json"), "from": was.model_dump(mode="json")}

    def _tween(self, one: cue.Tween) -> Step:
        there = self.stage.holds(one.target)
        if not there:
            self._warn("not_on_stage", f"{one.target} is animated without being on stage.")
        elif one.loop:
            now = Motion(effect=one.effect, seconds=one.seconds)
            self._set(motions={**self.stage.motions, one.target: now})
        else:  # a new movement takes the place of an older one
            self._set(motions={name: other for name, other in self.stage.motions.items() if name != one.target})
        seconds = None if one.loop else float(one.seconds) + float(one.hold_seconds)
        return {
            "does": "animate" if there else "nothing", "seconds": seconds if there else 0.0,
            **one.model_dump(mode="json", exclude={"id", "at_seconds", "kind", "seconds"}),
            "once_seconds": one.seconds,
        }

    def _timing(self, one: cue.Timing) -> Step:
        if one.action == "wait_for_sound" and not self.stage.sound:
            self._warn("nothing_sounds", "The play waits for a sound, and none is playing.")
        seconds = None if one.action in OPEN_ENDED else float(one.seconds)
        return {"does": "advance" if one.action == "advance" else "wait", "seconds": seconds, "action": one.action,
                "blocks": one.action != "advance", "skippable": one.skippable}

    def _sound(self, one: cue.Sound) -> Step:
        was = self.stage.sound.get(one.channel)
        told = {"channel": one.channel, "gain_db": one.gain_db, "loop": one.loop, "asset": one.asset,
                "replaces": was.asset if was else None, "fade_in_seconds": one.fade_in_seconds,
                "fade_out_seconds": one.fade_out_seconds}
        if one.action in ("stop", "gain"):
            return self._heard_already(one, was, told)
        if one.asset is None:
            self._warn("no_asset", f"Something plays on the channel {one.channel}, but nobody says what.")
            return {"does": "nothing", "seconds": 0.0, **told}
        now = Heard(asset=one.asset, gain_db=one.gain_db, loop=one.loop)
        lasting = one.channel in ("music", "ambience") or one.loop
        if was is None or was.asset is None:
            does = "play"
        elif one.action == "queue":
            does = "queue"
        else:
            does = "stay" if now == was and lasting else "replace"
        if lasting and does != "stay":
            self._set(sound={**self.stage.sound, one.channel: now})
        return {"does": does, "seconds": 0.0 if does == "stay" else float(one.fade_in_seconds), **told}

    def _heard_already(self, one: cue.Sound, was: Heard | None, told: Step) -> Step:
        if was is None:
            if one.channel in ("music", "ambience"):
                self._warn("nothing_sounds", f"Nothing is playing on the channel {one.channel}.")
            return {"does": one.action if one.channel in ("effect", "voice") else "nothing",
                    "seconds": float(one.fade_out_seconds), **told}
        rest = {name: other for name, other in self.stage.sound.items() if name != one.channel}
        if one.action == "gain":
            rest[one.channel] = was.model_copy(update={"gain_db": one.gain_db})
        self._set(sound=rest)
        seconds = one.fade_out_seconds if one.action == "stop" else one.fade_in_seconds
        return {"does": one.action, "seconds": float(seconds), **told, "asset": was.asset}


def _change(transition: cue.Transition, *, still: bool) -> Step:
    """How long a change of picture takes, and how it looks; nothing changes in no time."""
    seconds = 0.0 if still or transition.name == "cut" else float(transition.seconds)
    return {"seconds": seconds, "transition": transition.model_dump(mode="json")}
