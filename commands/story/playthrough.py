"""Asking for a story to be played: begin, go on, choose, go back, look through other eyes, change variables, load.

Everything is decided with the story that the playthrough pins, never with what has been written since.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from commands.declaration import Asking, Command, Pinned
from commands.envelope import Asked
from commands.story import playthrough_refusals as refusals
from commands.story.playthrough_asks import (
    STEPS_LIMIT,
    AdvancePlaythrough,
    GoBack,
    LoadSlot,
    MakeChoice,
    OfPlaythrough,
    ResetPlaythroughVariables,
    SetPlaythroughVariables,
    StartPlaythrough,
    SwitchPlaythroughPov,
)
from commands.story.playthrough_slots import Beginning, filled, from_body, from_kept, scene_of
from domain.bounded_json import check_json, json_size
from domain.ids import UNBRANCHED, token
from domain.ports import Stream
from domain.story import save
from domain.story.play import (
    At,
    Station,
    Story,
    begun,
    choice_needed,
    content_digest,
    follow,
    named_way,
    over,
    run,
    settled,
)
from domain.story.playthrough import (
    CATEGORY,
    ChoiceMade,
    EndReached,
    Playing,
    PlayPovSwitched,
    PlayRolledBack,
    PlaythroughEvent,
    PlaythroughStarted,
    PlayVariablesChanged,
    SlotLoaded,
    StoryAdvanced,
    Unstarted,
    behind,
)
from domain.story.playthrough_values import LARGEST_COURSE, Pin, Scope, Standing, Step, cut, differences
from domain.story.retracing import at_of, begun_at, moment_of, retraced, standing_of, step_of, way_of
from domain.story.save import Empty, Filled
from domain.story.variable_tree import MISSING, change, changed, found

STEPS_BYTES: Final = 256 * 1024
"""Roughly the most bytes of the steps of one event; a long way is gone in several commands."""


# --- beginning --------------------------------------------------------------------------------------------------------


def start(
    command: StartPlaythrough, state: Unstarted | Playing, asked: Asked, *rest: Any
) -> list[PlaythroughEvent]:
    """Raises ``Refused`` when the id is taken, or when no scene may begin."""
    assert command.playthrough_id is not None
    if isinstance(state, Playing):
        raise refusals.playthrough_exists(command.playthrough_id)
    *others, story = rest
    pin = Pin(
        worldline=story.content["worldline"], position=story.content["position"],
        timeline=story.content.get("timeline"), scene=command.scene,
        content=content_digest(story),
    )
    if command.slot is None:
        beginning = _begun(command, story)
    else:
        kept = filled(command.slot, others[0][0], asked.project)
        beginning, pin = _from_slot(command, kept, story, pin)
    started = PlaythroughStarted(
        playthrough_id=command.playthrough_id, title=command.title, pin=pin, seed=beginning.seed, pov=beginning.pov,
        given=beginning.given, standing=beginning.standing, variables=beginning.variables, slot=command.slot,
        origin=beginning.origin, course=beginning.course,
    )
    return [started, *_ended(command.playthrough_id, None, beginning.standing)]


def _begun(command: StartPlaythrough, story: Story) -> Beginning:
    at = begun(story, seed=command.seed, pov=command.pov, variables=command.variables)
    return Beginning(at.dice.seed, at.pov, dict(command.variables), None, (), standing_of(story, at, 0), at.variables)


def _from_slot(command: StartPlaythrough, kept: Filled, story: Story, pin: Pin) -> tuple[Beginning, Pin]:
    assert command.slot is not None
    if kept.kept is None:
        scene = command.scene or (None if command.timeline else scene_of(kept.body))
        return from_body(command.slot, kept.body, story), pin.model_copy(update={"scene": scene})
    _same_content(kept.kept.pin, story)
    return from_kept(kept.kept), kept.kept.pin


def _started_with(
    command: StartPlaythrough, state: Unstarted | Playing, asked: Asked, *others: Any
) -> Pinned | None:
    if isinstance(state, Playing):
        return _pinned(command, state, asked)
    worldline = command.worldline or asked.worldline
    if command.slot is None:
        return Pinned(worldline, command.as_of, command.timeline, command.scene)
    kept = filled(command.slot, others[0][0], asked.project)
    named = [name for name in command.model_fields_set if getattr(command, name) is not None]
    refusals.check_unsaid(command.slot, named, pinned=kept.kept is not None)
    if kept.kept is not None:
        pin = kept.kept.pin
        return Pinned(pin.worldline, pin.position, pin.timeline, pin.scene)
    scene = command.scene or (None if command.timeline else scene_of(kept.body))
    return Pinned(
        command.worldline or kept.worldline, command.as_of or kept.position, command.timeline,
        _usable(command.slot, scene),
    )


def _usable(slot: str, scene: str | None) -> str | None:
    """The scene that an old body names, by any text."""
    try:
        return None if scene is None else token(scene)
    except ValueError as error:
        raise refusals.slot_unusable(slot, f"its scene {error}") from error


def _slot_stream(command: StartPlaythrough | LoadSlot, asked: Asked) -> list[Stream]:
    if command.slot is None:
        return []
    return [Stream(asked.project, UNBRANCHED, save.CATEGORY, save.slot_id(command.slot))]


# --- going on ---------------------------------------------------------------------------------------------------------


def advance(
    command: AdvancePlaythrough, state: Unstarted | Playing, asked: Asked, story: Story
) -> list[PlaythroughEvent]:
    """Nothing when it was to go to a question or the end and stands there. Raises ``Refused`` when it cannot go on."""
    playing = _playing(command, state, story)
    steps = command.steps or (1 if command.to == "step" else STEPS_LIMIT)
    at = at_of(playing.standing, playing.variables)
    events, _ = _gone_on(command.playthrough_id, playing, story, at, playing.standing.step, steps)
    if not events and command.to == "step":
        raise over(at) if at.finished else choice_needed(story, at)
    return events


def choose(
    command: MakeChoice, state: Unstarted | Playing, asked: Asked, story: Story
) -> list[PlaythroughEvent]:
    """Raises ``Refused`` for what is not offered, and where the dice decide."""
    playing = _playing(command, state, story)
    at = at_of(playing.standing, playing.variables)
    choice = named_way(story, at, command.choice)
    if playing.standing.next == "chance":
        raise refusals.dice_decide(playing.standing)
    after = follow(story, at, choice)
    standing = standing_of(story, after, playing.standing.step + 1)
    events: list[PlaythroughEvent] = [ChoiceMade(
        playthrough_id=command.playthrough_id, step=step_of("chosen", choice.id, at, after), standing=standing,
    )]
    if command.go_on:
        more, standing = _gone_on(command.playthrough_id, playing, story, after, standing.step, STEPS_LIMIT, standing)
        events += more[:1]
    return [*events, *_ended(command.playthrough_id, playing.standing, standing)]


def _gone_on(
    id_: str, playing: Playing, story: Story, at: At, step: int, steps: int, standing: Standing | None = None
) -> tuple[list[PlaythroughEvent], Standing]:
    """The event of going on from a moment, and where that leads; no event where it cannot go."""
    met: list[Station] = []
    after = run(story, at, steps, met)
    gone: list[Step] = []
    room = STEPS_BYTES
    for index, (here, choice) in enumerate(met):
        there = met[index + 1][0] if index + 1 < len(met) else after
        one = step_of(way_of(story, here, choice), choice.id if choice else None, here, there)
        gone.append(one)
        room -= 200 + (json_size(one.changed) if one.changed else 0)
        if room <= 0:
            after = there
            break
    if not gone:
        return [], standing or playing.standing
    standing = standing_of(story, after, step + len(gone))
    advanced = StoryAdvanced(playthrough_id=id_, steps=tuple(gone), standing=standing)
    return [advanced, *_ended(id_, None, standing)], standing


def _ended(id_: str, before: Standing | None, after: Standing) -> list[PlaythroughEvent]:
    if after.next != "finished" or (before is not None and before.next == "finished"):
        return []
    return [EndReached(playthrough_id=id_, scene=after.scene, node=after.node, step=after.step)]


# --- going back, and from outside -------------------------------------------------------------------------------------


def go_back(command: GoBack, state: Unstarted | Playing, asked: Asked, story: Story) -> list[PlaythroughEvent]:
    """Nothing when it stands there already. Raises ``Refused`` beyond what is known."""
    playing = _playing(command, state, story)
    step, first = playing.standing.step, behind(playing)
    target = command.to_step if command.to_step is not None else step - (command.steps or 1)
    if not first <= target <= step:
        raise refusals.nothing_behind(playing.standing, target, first)
    if target == step:
        return []
    at = retraced(story, begun_at(playing, story), cut(playing.course, target - first))
    changed_, removed = differences(playing.variables, at.variables)
    return [PlayRolledBack(
        playthrough_id=command.playthrough_id, steps=step - target, standing=standing_of(story, at, target),
        changed=changed_, removed=removed,
    )]


def switch_pov(
    command: SwitchPlaythroughPov, state: Unstarted | Playing, asked: Asked, story: Story
) -> list[PlaythroughEvent]:
    """Nothing when it is played through that point of view already."""
    playing = _playing(command, state, story)
    if playing.standing.pov == command.pov:
        return []
    at = settled(story, at_of(playing.standing, playing.variables)._replace(pov=command.pov))
    standing = standing_of(story, at, playing.standing.step)
    switched = PlayPovSwitched(playthrough_id=command.playthrough_id, pov=command.pov, standing=standing)
    return [switched, *_ended(command.playthrough_id, playing.standing, standing)]


def set_variables(
    command: SetPlaythroughVariables, state: Unstarted | Playing, asked: Asked, story: Story
) -> list[PlaythroughEvent]:
    """Nothing when they have these values already. Raises ``Refused`` for variables of the other scope."""
    playing = _playing(command, state, story)
    own = story.scenes[playing.standing.scene].variables
    for path in (*command.set, *command.clear):
        name = path.partition(".")[0]
        if (name in own) != (command.scope == "scene"):
            raise refusals.not_of_scope(name, command.scope, playing.standing.scene)
    actions = [{"type": "set", "key": path, "value": value} for path, value in command.set.items()]
    actions += [{"type": "clear", "key": path} for path in command.clear]
    after = changed(dict(playing.variables), [change(one) for one in actions])
    return _from_outside(command, playing, story, after, command.scope, reset=False)


def reset_variables(
    command: ResetPlaythroughVariables, state: Unstarted | Playing, asked: Asked, story: Story
) -> list[PlaythroughEvent]:
    """Nothing when they are as they were. The other scope is not touched."""
    playing = _playing(command, state, story)
    own = story.scenes[playing.standing.scene].variables
    if command.scope == "scene":
        after = {**playing.variables, **own}
    else:
        kept = {name: value for name, value in playing.variables.items() if name in own}
        first = {**story.variables, **playing.given}
        after = {**{name: value for name, value in first.items() if name not in own}, **kept}
    if command.names is not None:
        after = _only(command.names, playing.variables, after)
    return _from_outside(command, playing, story, after, command.scope, reset=True)


def _only(names: Sequence[str], before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """``before``, in which the named variables are as they are in ``after``."""
    to = {name: found(after, name.split(".")) for name in names}
    actions = [
        {"type": "clear", "key": name} if value is MISSING else {"type": "set", "key": name, "value": value}
        for name, value in to.items()
    ]
    return changed(dict(before), [change(one) for one in actions])


def _from_outside(
    command: OfPlaythrough, playing: Playing, story: Story, after: dict[str, Any], scope: Scope, *, reset: bool
) -> list[PlaythroughEvent]:
    changed_, removed = differences(playing.variables, after)
    if not changed_ and not removed:
        return []
    try:
        check_json(after)
    except ValueError as error:
        raise refusals.variables_too_large(str(error)) from error
    at = settled(story, at_of(playing.standing, after))
    standing = standing_of(story, at, playing.standing.step)
    told = PlayVariablesChanged(
        playthrough_id=command.playthrough_id, scope=scope, reset=reset, changed=changed_, removed=removed,
        standing=standing,
    )
    return [told, *_ended(command.playthrough_id, playing.standing, standing)]


def load(
    command: LoadSlot, state: Unstarted | Playing, asked: Asked, others: Sequence[Empty | Filled], story: Story
) -> list[PlaythroughEvent]:
    """Nothing when it stands exactly there already. Raises ``Refused`` for a slot of something else."""
    playing = _playing(command, state, story)
    kept = filled(command.slot, others[0], asked.project)
    if kept.kept is None or kept.kept.pin.content != playing.pin.content:
        raise refusals.slot_of_another_story(command.slot)
    to = from_kept(kept.kept)
    loaded = SlotLoaded(
        playthrough_id=command.playthrough_id, slot=command.slot, saved_version=kept.saves, standing=to.standing,
        variables=to.variables, seed=to.seed, pov=to.pov, given=to.given, origin=to.origin, course=to.course,
    )
    same = (playing.standing, playing.variables, playing.course) == (to.standing, to.variables, to.course)
    return [] if same else [loaded]


# --- what all of them need --------------------------------------------------------------------------------------------


def _playing(command: OfPlaythrough, state: Unstarted | Playing, story: Story | None) -> Playing:
    if isinstance(state, Unstarted) or story is None:
        raise refusals.unknown_playthrough(command.playthrough_id)
    _same_content(state.pin, story)
    if command.at_step is not None and command.at_step != state.standing.step:
        raise refusals.moved_on(state.standing, command.at_step)
    if len(state.course) >= LARGEST_COURSE and not isinstance(command, GoBack | LoadSlot):
        raise refusals.too_long(len(state.course))
    return state


def _same_content(pin: Pin, story: Story) -> None:
    if pin.content != (found := content_digest(story)):
        raise refusals.content_differs(pin, story, found)


def _pinned(command: Any, state: Unstarted | Playing, asked: Asked, *others: Any) -> Pinned | None:
    if isinstance(state, Unstarted):
        return None
    return Pinned(state.pin.worldline, state.pin.position, state.pin.timeline, state.pin.scene)


def told(events: Sequence[Any], story: Story | None) -> Mapping[str, Any]:
    """Where the play stands after it: ``{"step", "moment", "pov", "dice"}``."""
    standings = [one.standing for one in events if not isinstance(one, EndReached)]
    if not standings or story is None:
        return {}
    standing: Standing = standings[-1]
    node = story.scenes[standing.scene].nodes[standing.node].document
    return {
        "step": standing.step, "moment": moment_of(node, standing), "pov": standing.pov,
        "dice": standing.dice.model_dump(mode="json"),
    }


def _asking(command: type[Command], decide: Any, verb: str, **given: Any) -> Asking:
    return Asking(
        command, decide, id_field="playthrough_id", scope=f"{CATEGORY}:write", told=told, material=_pinned,
        route=f"POST /api/playthroughs/{{playthrough_id}}/{verb}", **given,
    )


COMMANDS = (
    Asking(
        StartPlaythrough, start, id_field="playthrough_id", scope=f"{CATEGORY}:write", told=told, creates=True,
        route="POST /api/playthroughs", others=_slot_stream, material=_started_with,
    ),
    _asking(AdvancePlaythrough, advance, "advance"),
    _asking(MakeChoice, choose, "choose"),
    _asking(GoBack, go_back, "back"),
    _asking(SwitchPlaythroughPov, switch_pov, "pov"),
    _asking(SetPlaythroughVariables, set_variables, "variables"),
    _asking(ResetPlaythroughVariables, reset_variables, "variables/reset"),
    _asking(LoadSlot, load, "load", others=_slot_stream),
)
