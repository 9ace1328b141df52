"""What playthroughs and save slots say no with: a sentence, a code, and what to do next."""

from __future__ import annotations

from collections.abc import Collection

from domain.errors import Invalid, NotFound, Refused, Remedy
from domain.story.play import Story
from domain.story.playthrough_values import LARGEST_COURSE, Pin, Standing


def unknown_playthrough(id_: str) -> NotFound:
    """There is no such playthrough."""
    return NotFound(
        f"There is no playthrough {id_}.", error="unknown_playthrough",
        remediation=[
            Remedy("Start one: POST /api/playthroughs.", "start_playthrough"),
            Remedy("List those there are: GET /api/playthroughs.", "list_playthroughs"),
        ],
        detail={"playthrough": id_},
    )


def playthrough_exists(id_: str) -> Refused:
    """The id is taken by a play that began otherwise."""
    return Refused(
        f"There is a playthrough {id_} already.", error="playthrough_exists",
        remediation=[Remedy("Leave the id away to get a new one, or choose another.", "choose_id")],
        detail={"playthrough": id_},
    )


def unknown_slot(slot: str) -> NotFound:
    """Nothing is kept under that name in this project."""
    return NotFound(
        f"Nothing is saved in slot {slot!r} of this project.", error="unknown_slot",
        remediation=[Remedy("List the slots: GET /api/save/list.", "list_slots")], detail={"slot": slot},
    )


def content_differs(pin: Pin, story: Story, digest: str) -> Refused:
    """What is read at the pinned position is not what was played."""
    return Refused(
        f"What stands on worldline {pin.worldline} at position {pin.position} is not what this play began with.",
        error="content_differs",
        remediation=[
            Remedy("Begin a new playthrough of what stands there now.", "start_playthrough"),
            Remedy("Look at the log with `comfyvn log verify`: the past should not change.", "verify"),
        ],
        detail={"story": story.id, "pinned": pin.content, "found": digest, "position": pin.position},
    )


def moved_on(standing: Standing, wanted: int) -> Refused:
    """The play does not stand where the asker believes."""
    return Refused(
        f"The play stands at step {standing.step}, not {wanted}.", error="play_moved_on",
        remediation=[Remedy("Look where it stands, and ask again if that is still wanted.", "show_playthrough")],
        detail={"expected_step": wanted, "step": standing.step, "scene": standing.scene, "node": standing.node},
    )


def dice_decide(standing: Standing) -> Refused:
    """Nobody chooses at a moment of chance."""
    return Refused(
        f"At node {standing.node!r} the dice decide; nobody chooses.", error="dice_decide",
        remediation=[Remedy("Advance: one draw is made.", "advance")],
        detail={"scene": standing.scene, "node": standing.node},
    )


def nothing_behind(standing: Standing, wanted: int, first: int) -> Refused:
    """It does not reach back that far."""
    return Refused(
        f"The play stands at step {standing.step} and reaches back to step {first}; {wanted} is not among them.",
        error="nothing_behind", remediation=[Remedy("Go back by fewer steps.", "go_back_less")],
        detail={"step": standing.step, "first": first, "wanted": wanted},
    )


def too_long(moves: int) -> Refused:
    """A play that has no room for another move."""
    return Refused(
        f"This play has {moves} moves; it takes no more than {LARGEST_COURSE}.", error="play_too_long",
        remediation=[Remedy("Save it, and begin a new playthrough from that slot.", "save_and_start")],
        detail={"moves": moves, "limit": LARGEST_COURSE},
    )


def variables_too_large(why: str) -> Invalid:
    """Variables that nobody could keep."""
    return Invalid(
        f"The variables {why}.", error="variables_too_large",
        remediation=[Remedy("Set less.", "set_less")],
    )


def not_of_scope(name: str, scope: str, scene: str) -> Refused:
    """A variable of the other scope."""
    other = "session" if scope == "scene" else "scene"
    why = f"is not one of scene {scene}'s own" if scope == "scene" else f"belongs to scene {scene} while it is played"
    return Refused(
        f"The variable {name!r} {why}.", error="wrong_scope",
        remediation=[Remedy(f"Set it in the scope {other}.", "change_scope")],
        detail={"name": name, "scope": scope, "scene": scene},
    )


def slot_of_another_project(slot: str, project: str, here: str) -> Refused:
    """A body that was saved elsewhere."""
    return Refused(
        f"Slot {slot!r} was saved in project {project}, and this is {here}.", error="slot_of_another_project",
        remediation=[Remedy("Play it in the project that it was saved in.", "change_project")],
        detail={"slot": slot, "saved_in": project, "project": here},
    )


def slot_of_another_version(slot: str, schema: str) -> Refused:
    """A body of a kind that this release does not read."""
    return Refused(
        f"Slot {slot!r} is of the kind {schema!r}, which this release does not read.",
        error="slot_of_another_version",
        remediation=[Remedy("Load it with the release that saved it, or save the play again.", "use_other_release")],
        detail={"slot": slot, "schema": schema},
    )


def slot_of_another_story(slot: str) -> Refused:
    """A slot of something else than what is played."""
    return Refused(
        f"Slot {slot!r} keeps a play of another story, or of another state of it.", error="slot_of_another_story",
        remediation=[Remedy("Start a playthrough from the slot instead.", "start_from_slot")], detail={"slot": slot},
    )


def slot_unusable(slot: str, why: str) -> Refused:
    """A body that says nothing that could be played."""
    return Refused(
        f"Nothing can be played from slot {slot!r}: {why}.", error="slot_unusable",
        remediation=[
            Remedy("Look at the slot, mend its body and save it again.", "mend_slot"),
            Remedy("Name the scene or timeline that it belongs to when you start from it.", "name_story"),
        ],
        detail={"slot": slot},
    )


def check_unsaid(slot: str, named: Collection[str], *, pinned: bool) -> None:
    """Raises ``Invalid`` when somebody asks for what the slot already says."""
    said = {"seed", "pov", "variables"} | ({"worldline", "as_of", "timeline", "scene"} if pinned else set())
    if against := sorted(said & set(named)):
        raise Invalid(
            f"Slot {slot!r} says already: {', '.join(against)}.", error="slot_says_so",
            remediation=[Remedy("Leave these fields away.", "leave_away")], detail={"slot": slot, "fields": against},
        )
