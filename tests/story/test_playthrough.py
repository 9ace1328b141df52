"""Playthroughs: begun, gone on with, chosen in, gone back in, changed from outside, and put to where a slot stands."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import pytest
from any_stories import any_stories
from behaviour import ASKED, given
from hypothesis import given as any_given
from hypothesis import settings
from hypothesis import strategies as st
from playing_stories import HOME, PIER, STORY, content, folded, follows, played

from commands.story import playthrough as asking
from commands.story.playthrough_asks import (
    AdvancePlaythrough,
    GoBack,
    LoadSlot,
    MakeChoice,
    ResetPlaythroughVariables,
    SetPlaythroughVariables,
    StartPlaythrough,
    SwitchPlaythroughPov,
)
from commands.story.save import SavePlaythrough
from domain.errors import Invalid, NotFound, Refused
from domain.story.play import content_digest, recorded, run, story, trace_digest
from domain.story.playthrough import (
    CONTEXT,
    ChoiceMade,
    EndReached,
    Playing,
    PlayPovSwitched,
    PlayRolledBack,
    PlaythroughStarted,
    PlayVariablesChanged,
    SlotLoaded,
    StoryAdvanced,
)
from domain.story.playthrough_values import Pin, Rolled, Standing, Step
from domain.story.replaying import Replay
from domain.story.retracing import at_of
from domain.story.save import CONTEXT as SAVES
from domain.story.save import Filled

START = StartPlaythrough(playthrough_id="p", seed=1000)
ON = AdvancePlaythrough(playthrough_id="p")
TO_QUESTION = AdvancePlaythrough(playthrough_id="p", to="question")
STAY = MakeChoice(playthrough_id="p", choice="stay")
LEAVE = MakeChoice(playthrough_id="p", choice="leave")
BACK = GoBack(playthrough_id="p")
SEEDED = Rolled(seed=1000, value=1000, uses=0)


def standing(node: str, step: int, next_: str, *offered: str, **given: Any) -> Standing:
    fields: dict[str, Any] = {
        "step": step, "entry": 0, "scene": "pier", "node": node, "pov": "narrator", "dice": SEEDED, "next": next_,
        "offered": offered, **given,
    }
    return Standing(**fields)


def state(*events: Any) -> Playing:
    found = folded(CONTEXT, events)
    assert isinstance(found, Playing)
    return found


STARTED = PlaythroughStarted(
    playthrough_id="p", title="",
    pin=Pin(worldline="main", position=2, timeline=None, scene=None, content=content_digest(STORY)),
    seed=1000, pov="narrator", given={}, standing=standing("start", 0, "continue"), variables={"luck": 0, "coins": 2},
)
ASKS = standing("ask", 1, "ask", "stay", "leave")


# --- beginning ----------------------------------------------------------------------------------------------------


def test_a_playthrough_pins_what_it_plays() -> None:
    given(material=STORY).when(START).then(STARTED)


def test_a_playthrough_may_be_begun_with_other_dice_eyes_and_variables() -> None:
    (event,) = follows([], StartPlaythrough(
        playthrough_id="p", title="Try", seed=-1, pov="mara", variables={"luck": 5, "new": None}
    ))
    assert (event.title, event.seed, event.pov) == ("Try", 2**32 - 1, "mara")
    assert event.variables == {"luck": 5, "new": None, "coins": 2}
    assert event.given == {"luck": 5, "new": None}


def test_an_id_is_taken_once() -> None:
    given(STARTED, material=STORY).when(START).then_refused("playthrough_exists", Refused)


def test_a_story_that_is_over_at_once_ends_at_once() -> None:
    started, ended = follows([], START, told=story(content(HOME)))
    assert started.standing.next == "finished"
    assert ended == EndReached(playthrough_id="p", scene="shore", node="dusk", step=0)


def test_where_no_scene_may_begin_nothing_begins() -> None:
    told = content()
    for entry in told["entries"]:
        entry["visible_to"] = ["nobody else"]
    given(material=story(told)).when(START).then_refused("nothing_to_play", Refused)


# --- going on -----------------------------------------------------------------------------------------------------


def test_a_step_goes_on_by_itself() -> None:
    step = Step(how="continued", choice="ask", entry=0, scene="pier", node="ask")
    given(STARTED, material=STORY).when(ON).then(
        StoryAdvanced(playthrough_id="p", steps=(step,), standing=ASKS)
    )


def test_at_a_question_one_step_is_refused_and_going_to_a_question_is_done_already() -> None:
    history = played(START, ON)
    refused = given(*history, material=STORY).when(ON).then_refused("choice_needed", Refused)
    assert refused.detail["offered"] == ["stay", "leave"]
    given(*history, material=STORY).when(TO_QUESTION).then_nothing()


def test_a_choice_draws_nothing_and_says_what_it_changed() -> None:
    history = played(START, ON)
    step = Step(
        how="chosen", choice="stay", entry=0, scene="pier", node="toss",
        changed={"mood": {"mara": "glad"}, "coins": 1.0},
    )
    given(*history, material=STORY).when(STAY).then(
        ChoiceMade(playthrough_id="p", step=step, standing=standing("toss", 2, "chance"))
    )


def test_choosing_may_go_on_to_the_next_question_or_the_end() -> None:
    chosen, advanced, ended = follows(played(START, ON), MakeChoice(playthrough_id="p", choice="stay", go_on=True))
    assert isinstance(chosen, ChoiceMade)
    assert [(one.how, one.node) for one in advanced.steps] == [("drawn", "gone"), ("entered", "dusk")]
    assert advanced.steps[0].dice == advanced.steps[0].dice
    assert advanced.steps[0].changed == {"luck": 1.0}
    assert advanced.steps[1].removed == ("coins",)
    assert ended == EndReached(playthrough_id="p", scene="shore", node="dusk", step=4)
    assert advanced.standing.next == "finished"


def test_where_the_dice_decide_nobody_chooses() -> None:
    history = played(START, ON, STAY)
    given(*history, material=STORY).when(MakeChoice(playthrough_id="p", choice="heads")).then_refused("dice_decide")


@pytest.mark.parametrize("choice", ["whisper", "nothing", "gone"])
def test_what_is_not_offered_is_refused(choice: str) -> None:
    history = played(START, ON)
    refused = given(*history, material=STORY).when(MakeChoice(playthrough_id="p", choice=choice)).then_refused(
        "choice_unavailable", Refused
    )
    assert refused.detail["offered"] == ["stay", "leave"]


def test_after_the_end_nothing_comes() -> None:
    history = played(START, ON, LEAVE, ON)
    assert isinstance(history[-1], EndReached)
    given(*history, material=STORY).when(ON).then_refused("play_finished", Refused)
    given(*history, material=STORY).when(LEAVE).then_refused("choice_unavailable", Refused)
    given(*history, material=STORY).when(TO_QUESTION).then_nothing()


def test_who_asks_for_a_step_that_is_over_is_told_where_it_stands() -> None:
    history = played(START, ON, LEAVE)
    command = MakeChoice(playthrough_id="p", choice="leave", at_step=1)
    refused = given(*history, material=STORY).when(command).then_refused("play_moved_on", Refused)
    assert refused.detail["step"] == 2


def test_a_playthrough_that_never_began_is_unknown() -> None:
    for command in (ON, STAY, BACK, SwitchPlaythroughPov(playthrough_id="p", pov="x")):
        given(material=STORY).when(command).then_refused("unknown_playthrough", NotFound)


def test_a_story_that_reads_otherwise_than_it_was_pinned_is_not_played_on() -> None:
    changed = copy.deepcopy(content())
    changed["scenes"]["pier"]["nodes"][0]["text"] = "You went."
    refused = given(*played(START), material=story(changed)).when(ON).then_refused("content_differs", Refused)
    assert refused.detail["pinned"] == content_digest(STORY)


def test_a_long_way_is_one_event_of_bounded_size() -> None:
    ring = {"id": "ring", "start": "n0", "nodes": [
        {"id": f"n{number}", "choices": [{"target": f"n{(number + 1) % 50}"}], "actions": [
            {"type": "set", "key": "big", "value": f"{number} " * 2000}]} for number in range(50)
    ]}
    told = story(content(ring))
    (event,) = follows(played(START, told=told), AdvancePlaythrough(playthrough_id="p", steps=1000), told=told)
    assert 10 < len(event.steps) < 200
    assert len(event.model_dump_json()) < 2 * asking.STEPS_BYTES
    assert event.standing.node == event.steps[-1].node
    small = {"id": "ring", "start": "n", "nodes": [{"id": "n", "choices": [{"target": "n"}]}]}
    told = story(content(small))
    (event,) = follows(played(START, told=told), AdvancePlaythrough(playthrough_id="p", to="question"), told=told)
    assert event.standing.step == len(event.steps) == 1000


def test_a_course_has_an_end() -> None:
    long = state(*played(START, ON)).model_copy(update={"course": (("pov", "x"),) * 20_000})
    with pytest.raises(Refused) as caught:
        asking.choose(STAY, long, ASKED, STORY)
    assert caught.value.code == "play_too_long"
    assert asking.go_back(GoBack(playthrough_id="p", to_step=1), long, ASKED, STORY) == []


# --- back ---------------------------------------------------------------------------------------------------------


def test_going_back_is_something_that_happens() -> None:
    history = played(START, ON, STAY)
    given(*history, material=STORY).when(BACK).then(PlayRolledBack(
        playthrough_id="p", steps=1, standing=ASKS, changed={"coins": 2}, removed=("mood",),
    ))
    back = [*history, *follows(history, BACK)]
    assert state(*back).variables == state(*history[:2]).variables
    assert state(*back).course == state(*history[:2]).course


def test_the_dice_are_as_they_were_so_the_same_choice_leads_to_the_same() -> None:
    once = played(START, ON, STAY, ON)
    again = played(START, ON, STAY, ON, GoBack(playthrough_id="p", steps=2), STAY, ON)
    assert state(*once) == state(*again)


def test_back_to_a_step_keeps_what_was_changed_there_before_it_was_left() -> None:
    tune = SetPlaythroughVariables(playthrough_id="p", set={"luck": 9})
    history = played(START, ON, tune, STAY, SwitchPlaythroughPov(playthrough_id="p", pov="mara"), ON)
    back = state(*history, *follows(history, GoBack(playthrough_id="p", to_step=1)))
    assert (back.variables["luck"], back.standing.pov, back.standing.node) == (9, "narrator", "ask")
    start = state(*history, *follows(history, GoBack(playthrough_id="p", to_step=0)))
    assert start.variables == {"luck": 0, "coins": 2}


def test_nobody_goes_back_beyond_the_beginning_or_forward() -> None:
    history = played(START, ON)
    given(*history, material=STORY).when(GoBack(playthrough_id="p", steps=2)).then_refused("nothing_behind")
    given(*history, material=STORY).when(GoBack(playthrough_id="p", to_step=2)).then_refused("nothing_behind")
    given(*history, material=STORY).when(GoBack(playthrough_id="p", to_step=1)).then_nothing()


def test_an_end_may_be_gone_back_from() -> None:
    history = played(START, ON, LEAVE, ON, GoBack(playthrough_id="p", steps=2), STAY)
    assert state(*history).standing.node == "toss"


# --- from outside -------------------------------------------------------------------------------------------------


def test_variables_of_the_play_and_of_the_scene_are_changed_apart() -> None:
    history = played(START)
    session = SetPlaythroughVariables(playthrough_id="p", set={"a.b": 1}, clear=("luck",))
    (event,) = follows(history, session)
    assert (event.changed, event.removed, event.reset) == ({"a": {"b": 1}}, ("luck",), False)
    given(*history, event, material=STORY).when(session).then_nothing()
    for scope, path in (("session", "coins"), ("scene", "luck")):
        wrong = SetPlaythroughVariables(playthrough_id="p", scope=scope, set={path: 1})  # type: ignore[arg-type]
        given(*history, material=STORY).when(wrong).then_refused("wrong_scope", Refused)


def test_a_reset_touches_its_scope_alone() -> None:
    history = played(
        StartPlaythrough(playthrough_id="p", seed=1000, variables={"luck": 4}),
        SetPlaythroughVariables(playthrough_id="p", set={"luck": 9, "extra": True}),
        SetPlaythroughVariables(playthrough_id="p", scope="scene", set={"coins": 50}),
    )
    session = follows(history, ResetPlaythroughVariables(playthrough_id="p", scope="session"))
    assert state(*history, *session).variables == {"luck": 4, "coins": 50}
    scene = follows(history, ResetPlaythroughVariables(playthrough_id="p", scope="scene"))
    assert state(*history, *scene).variables == {"luck": 9, "extra": True, "coins": 2}
    given(*history, *session, *scene, material=STORY).when(
        ResetPlaythroughVariables(playthrough_id="p", scope="session")
    ).then_nothing()


def test_variables_that_nobody_could_keep_are_refused() -> None:
    history = played(START)
    for number in range(2):
        history += follows(history, SetPlaythroughVariables(playthrough_id="p", set={f"v{number}": "x" * 100_000}))
    command = SetPlaythroughVariables(playthrough_id="p", set={"v2": "x" * 100_000})
    given(*history, material=STORY).when(command).then_refused("variables_too_large", Invalid)


def test_another_point_of_view_is_offered_other_choices() -> None:
    history = played(START, ON)
    (event,) = follows(history, SwitchPlaythroughPov(playthrough_id="p", pov="mara"))
    assert isinstance(event, PlayPovSwitched)
    assert event.standing.offered == ("stay", "leave", "whisper")
    given(*history, event, material=STORY).when(SwitchPlaythroughPov(playthrough_id="p", pov="mara")).then_nothing()


# --- slots --------------------------------------------------------------------------------------------------------


def slot_of(*history: Any) -> Filled:
    found = folded(SAVES, follows([], SavePlaythrough(slot="quick", playthrough_id="p"), others=[state(*history)]))
    assert isinstance(found, Filled)
    return found


LOAD = LoadSlot(playthrough_id="p", slot="quick")


def test_a_play_is_put_to_where_its_slot_stands() -> None:
    then = played(START, ON, STAY)
    now = played(START, ON, LEAVE, ON)
    (event,) = follows(now, LOAD, others=[slot_of(*then)])
    assert isinstance(event, SlotLoaded)
    assert state(*now, event) == state(*then)
    assert follows([*now, event], LOAD, others=[slot_of(*then)]) == []
    (back,) = follows([*now, event], GoBack(playthrough_id="p", to_step=0))
    assert back.standing.node == "start"


def test_a_slot_of_another_story_is_not_loaded() -> None:
    other = story(content(HOME))
    slot = slot_of(*played(START, told=other))
    given(*played(START), others=[slot], material=STORY).when(LOAD).then_refused("slot_of_another_story", Refused)
    given(*played(START), others=[SAVES.initial], material=STORY).when(LOAD).then_refused("unknown_slot", NotFound)


def test_a_playthrough_begins_where_a_slot_stands() -> None:
    then = played(START, ON, STAY)
    begin = StartPlaythrough(playthrough_id="q", slot="quick")
    (event,) = follows([], begin, others=[slot_of(*then)])
    assert (event.slot, event.pin) == ("quick", STARTED.pin)
    assert state(event).model_dump(exclude={"kind"}) == state(*then).model_dump(exclude={"kind"})


@pytest.mark.parametrize("fields", [{"seed": 1}, {"pov": "x"}, {"variables": {"a": 1}}, {"as_of": 3}, {"scene": "s"}])
def test_what_a_slot_says_is_not_asked_for_again(fields: dict[str, Any]) -> None:
    begin = StartPlaythrough.model_validate({"playthrough_id": "q", "slot": "quick", **fields})
    given(others=[slot_of(*played(START))], material=STORY).when(begin).then_refused("slot_says_so", Invalid)


def test_without_its_course_a_slot_is_where_going_back_ends() -> None:
    slot = slot_of(*played(START, ON, STAY))
    assert slot.kept is not None
    bare = slot.model_copy(update={"kept": slot.kept.model_copy(update={"course": None})})
    history = follows([], StartPlaythrough(playthrough_id="p", slot="quick"), others=[bare])
    history += follows(history, ON)
    assert state(*history).standing.step == 3
    given(*history, material=STORY).when(GoBack(playthrough_id="p", to_step=1)).then_refused("nothing_behind")
    (back,) = follows(history, BACK)
    assert back.standing == slot.kept.standing


# --- whatever is asked --------------------------------------------------------------------------------------------

ASKS_ANYTHING = st.lists(st.one_of(
    st.builds(AdvancePlaythrough, playthrough_id=st.just("p"), steps=st.integers(1, 9)),
    st.builds(lambda index: index, st.integers(0, 5)),
    st.builds(GoBack, playthrough_id=st.just("p"), steps=st.integers(1, 6)),
    st.builds(SwitchPlaythroughPov, playthrough_id=st.just("p"), pov=st.sampled_from(["ann", "narrator", "x"])),
    st.builds(lambda value: SetPlaythroughVariables(playthrough_id="p", set={"flag": value, "n.m": value}),
              st.integers(-2, 2) | st.booleans()),
    st.builds(ResetPlaythroughVariables, playthrough_id=st.just("p"), scope=st.sampled_from(["session", "scene"])),
), max_size=25)


@any_given(any_stories(), ASKS_ANYTHING, st.integers(-(2**40), 2**40))
@settings(max_examples=120, deadline=None)
def test_whatever_is_asked_the_events_lead_there_again(
    told_content: dict[str, Any], asks: list[Any], seed: int
) -> None:
    told = story({**told_content, "worldline": "main", "position": 1, "timeline": None})
    try:
        history = follows([], StartPlaythrough(playthrough_id="p", seed=seed), told=told)
    except Refused:
        return  # no scene may begin: other tests say so
    for one in asks:
        if isinstance(one, int):
            offered = state(*history).standing.offered
            if not offered:
                continue
            one = MakeChoice(playthrough_id="p", choice=offered[one % len(offered)], go_on=one % 2 == 0)
        with contextlib.suppress(Refused, Invalid):
            history += follows(history, one, told=told)
    stands = state(*history)
    replay = Replay(told)
    marks = list(replay.marks([type(one).model_validate_json(one.model_dump_json()) for one in history]))
    assert [mark.differs for mark in marks if mark.differs] == []
    assert replay.at == at_of(stands.standing, stands.variables)
    assert len(replay.stations) == stands.standing.step
    again = Replay(told)
    list(again.marks(history))
    assert trace_digest(recorded(told, again.path)) == trace_digest(recorded(told, replay.path))


def test_a_replay_says_where_it_comes_out_otherwise() -> None:
    history = played(START, ON, STAY, ON)
    advanced = next(one for one in history if isinstance(one, StoryAdvanced) and one.steps[0].how == "drawn")
    assert advanced.steps[0].dice is not None
    dice = advanced.steps[0].dice.model_copy(update={"value": 1})
    forged = advanced.model_copy(update={"steps": (advanced.steps[0].model_copy(update={"dice": dice}),)})
    marks = list(Replay(STORY).marks([forged if one is advanced else one for one in history]))
    assert [bool(one.differs) for one in marks] == [False, False, False, True]
    assert {one["what"] for one in marks[-1].differs} == {"dice"}


def test_a_replay_of_another_story_ends_at_its_content() -> None:
    other = copy.deepcopy(PIER)
    other["nodes"][0]["text"] = "You went."
    marks = list(Replay(story(content(other, HOME))).marks(played(START, ON)))
    assert [one["what"] for one in marks[-1].differs] == ["content"]
    assert len(marks) == 1


def test_a_replay_of_a_choice_that_is_not_there_any_more_says_so() -> None:
    history = played(START, ON, STAY)
    forged = [one.model_copy(update={"step": one.step.model_copy(update={"choice": "fly"})})
              if isinstance(one, ChoiceMade) else one for one in history]
    *_, last = Replay(STORY).marks(forged)
    assert last.how == "refused"
    assert last.differs[0]["what"] == "possible"


def test_the_play_of_the_runner_is_the_play_of_the_events() -> None:
    history = played(START, TO_QUESTION, STAY, TO_QUESTION)
    after = run(STORY, at_of(STARTED.standing, STARTED.variables), 1)
    assert after.node == "ask"
    assert isinstance(state(*history), Playing)
    assert any(isinstance(one, PlayVariablesChanged) for one in history) is False
