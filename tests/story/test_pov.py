"""Views of a project: through whose eyes, on which worldline, and slots named after points of view."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from behaviour import ASKED, given
from hypothesis import given as drawn
from hypothesis import strategies as st
from pydantic import ValidationError
from story_reading import Telling

from commands.story.pov import ActivateWorldline, ForkSlot, SetPov, SwitchWorldline, fork_slot
from commands.story.worldline import ArchiveWorldline, ForkWorldline
from domain.errors import NotFound, Refused
from domain.ids import token
from domain.story.pov import (
    CONTEXT,
    HISTORY_LIMIT,
    SLOTS_LIMIT,
    PovSet,
    SlotForked,
    Viewing,
    WorldlineEntered,
    evolve,
    next_slot,
)
from domain.story.worldline import Archived, Forked, Unforked

MIRA = PovSet(view="default", pov="mira", worldline="main", previous="narrator")
DARK = Forked(
    parent="main", forked_at=1, label="Dark", lane="vn_branch", pov="ivo", root_node="start", notes="", metadata={},
)
ENTERED = WorldlineEntered(
    view="default", worldline="dark", pov="ivo", previous="narrator", previous_worldline="main",
)


def slot(number: int, name: str, pov: str = "mira") -> SlotForked:
    return SlotForked(view="default", slot="evening", pov=pov, name=name, number=number)


# --- eyes ---------------------------------------------------------------------------------------------------------


def test_a_view_looks_through_somebody_and_again_nothing() -> None:
    given().when(SetPov(pov="mira")).then(MIRA).and_again_nothing()
    given().when(SetPov(pov=" mira ")).then(MIRA)


def test_nobody_named_is_the_narrator() -> None:
    for empty in (None, "", "  "):
        given(MIRA).when(SetPov(pov=empty)).then(
            PovSet(view="default", pov="narrator", worldline="main", previous="mira")
        )
        given().when(SetPov(pov=empty)).then_nothing()


def test_the_history_grows_only_by_changes_and_is_bounded() -> None:
    state = Viewing()
    for number in range(HISTORY_LIMIT + 20):
        state = evolve(state, PovSet(view="v", pov=f"p{number}", worldline="main", previous=state.pov))
    assert len(state.history) == HISTORY_LIMIT
    assert state.history[-1] == f"p{HISTORY_LIMIT + 18}"
    same = WorldlineEntered(view="v", worldline="dark", pov=state.pov, previous=state.pov, previous_worldline="main")
    assert evolve(state, same).history == state.history


def test_names_with_control_characters_are_refused() -> None:
    for text in ("a\nb", "\x00", "x" * 201, "\ud800"):
        with pytest.raises(ValidationError):
            SetPov(pov=text)
        with pytest.raises(ValidationError):
            ForkSlot(slot=text)


# --- slots --------------------------------------------------------------------------------------------------------


def test_slots_are_numbered_from_the_second_on() -> None:
    first, second = slot(1, "evening__pov_mira"), slot(2, "evening__pov_mira_2")
    ask = ForkSlot(slot="evening", pov="mira")
    given().when(ask).then(first)
    given(first).when(ask).then(second)
    given(first, second).when(ask).then(slot(3, "evening__pov_mira_3"))


def test_an_empty_point_of_view_is_the_current_one() -> None:
    given(MIRA).when(ForkSlot(slot="evening")).then(slot(1, "evening__pov_mira"))
    given(MIRA).when(ForkSlot(slot="evening", pov="")).then(slot(1, "evening__pov_mira"))
    given().when(ForkSlot(slot="evening")).then(slot(1, "evening__pov_narrator", "narrator"))


@pytest.mark.parametrize(("text", "pov", "name"), [
    ("day 1", "Mara B.", "day_1__pov_Mara_B_"), ("../etc/passwd", "a/b", "_etc_passwd__pov_a_b"),
    ("-x", "mira", "x__pov_mira"),
])
def test_a_slot_name_holds_what_it_may(text: str, pov: str, name: str) -> None:
    assert next_slot(Viewing(), text, pov) == (name, 1)


def test_names_in_other_scripts_and_very_long_ones_stay_apart() -> None:
    found = {next_slot(Viewing(), "門", pov)[0] for pov in ("門番", "王", "ключ", "x" * 200, "x" * 199 + "y")}
    assert len(found) == 5
    assert all(token(name) for name in found)


def test_a_view_gives_out_so_many_names_and_no_more() -> None:
    full = Viewing(slots={f"s{number}": 1 for number in range(SLOTS_LIMIT)})
    with pytest.raises(Refused) as caught:
        fork_slot(ForkSlot(slot="x"), full, ASKED)
    assert caught.value.code == "too_many_slots"


PARTS = st.sampled_from(["a", "a_2", "b", "a__pov_b", "b_2", "門", "-", "", " a", "a b"])


@drawn(st.lists(st.tuples(PARTS, PARTS), max_size=30))
def test_no_name_is_given_out_twice(asks: list[tuple[str, str]]) -> None:
    state, names = Viewing(), []
    for text, pov in asks:
        name, number = next_slot(state, text or "x", pov)
        state = evolve(state, SlotForked(view="v", slot=text or "x", pov=pov, name=name, number=number))
        names.append(token(name))
    assert len(set(names)) == len(names)


# --- worldlines ---------------------------------------------------------------------------------------------------


def test_a_switch_sets_the_worldline_and_the_eyes_that_belong_there() -> None:
    given(others=[DARK]).when(SwitchWorldline(id="dark")).then(ENTERED).and_again_nothing()
    given(others=[DARK]).when(ActivateWorldline(worldline_id="dark")).then(ENTERED)
    given(others=[DARK]).when(SwitchWorldline(id="dark", pov="mira")).then(
        ENTERED.model_copy(update={"pov": "mira"})
    )
    given(ENTERED).when(SwitchWorldline(id="main")).then(WorldlineEntered(
        view="default", worldline="main", pov="narrator", previous="ivo", previous_worldline="dark",
    ))


def test_a_worldline_that_is_not_in_use_is_not_entered() -> None:
    given(others=[Unforked()]).when(SwitchWorldline(id="dark")).then_refused("unknown_worldline", NotFound)
    away = Archived(was=DARK, reason="")
    given(others=[away]).when(SwitchWorldline(id="dark")).then_refused("worldline_archived", Refused)


def test_views_show_what_they_look_at_and_looked_at(tmp_path: Path) -> None:
    telling = Telling(tmp_path)
    assert telling.look("ShowPov") == {
        "view": "default", "pov": "narrator", "worldline": "main", "history": [], "version": 0, "updated_at": None,
    }
    telling.ask(ForkWorldline(worldline_id="dark", pov="ivo"))
    for command in (SetPov(pov="mira"), SetPov(pov="mira"), SwitchWorldline(id="dark"), SetPov(pov="mira", view="tv")):
        telling.ask(command)
    shown = telling.look("ShowPov")
    assert (shown["pov"], shown["worldline"], shown["history"]) == ("ivo", "dark", ["narrator", "mira"])
    assert telling.look("ShowPov", view="tv")["worldline"] == "main"
    changes = telling.look("ListPovChanges", limit=1)
    assert changes["items"][0]["previous_worldline"] == "main"
    assert telling.look("ListPovChanges", cursor=changes["next"])["items"][0]["pov"] == "mira"
    assert telling.ask(ForkSlot(slot="evening")).told == {"slot": "evening__pov_ivo", "pov": "ivo"}
    assert telling.ask(ForkSlot(slot="evening")).told["slot"] == "evening__pov_ivo_2"
    assert [one["name"] for one in telling.look("ListSlotForks")["items"]] == [
        "evening__pov_ivo_2", "evening__pov_ivo",
    ]


def test_a_fork_and_a_switch_to_it_are_one(tmp_path: Path) -> None:
    telling = Telling(tmp_path)
    telling.ask(ForkWorldline(worldline_id="dark", pov="ivo"), SwitchWorldline(id="dark"))
    assert telling.look("ShowPov")["worldline"] == "dark"
    with pytest.raises(NotFound):
        telling.ask(ForkWorldline(worldline_id="bright"), SwitchWorldline(id="nowhere"))
    assert "bright" not in [one["id"] for one in telling.look("ListWorldlines")["items"]]


def test_a_worldline_that_is_looked_at_may_be_put_away(tmp_path: Path) -> None:
    telling = Telling(tmp_path)
    telling.ask(ForkWorldline(worldline_id="dark"), SwitchWorldline(id="dark"))
    telling.ask(ArchiveWorldline(worldline_id="dark"))
    assert telling.look("ShowPov")["worldline"] == "dark"
    telling.ask(SwitchWorldline(id="main"))


def test_of_many_who_fork_a_slot_at_once_each_gets_a_name(tmp_path: Path) -> None:
    telling = Telling(tmp_path)

    async def race() -> list[Any]:
        return await asyncio.gather(*[telling.ask_later(ForkSlot(slot="a", pov="b")) for _ in range(20)])

    names = {receipt.told["slot"] for receipt in asyncio.run(race())}
    assert names == {"a__pov_b", *(f"a__pov_b_{number}" for number in range(2, 21))}
    assert telling.state(CONTEXT.category, "default", worldline="-").slots["a__pov_b"] == 20
