"""Save slots: any body that a player needs, names that never meet, and what old and foreign slots lead to."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from behaviour import ASKED, given
from door import door, run
from hypothesis import given as any_given
from hypothesis import strategies as st
from playing_stories import PIER, STORY, content, folded, follows, played

from commands.story.playthrough_asks import AdvancePlaythrough, StartPlaythrough
from commands.story.save import DeleteSlot, SavePlaythrough, SaveSlot
from domain.errors import Invalid, NotFound, Refused
from domain.ids import token
from domain.story.play import story
from domain.story.playthrough import CONTEXT as PLAYS
from domain.story.save import CONTEXT, Empty, Filled, SlotDeleted, SlotSaved, for_pov, milliseconds, slot_id, slot_name

BODY: dict[str, Any] = {"vars": {"coins": 1}, "node_pointer": "toss", "seed": 5, "scene": "pier", "theme": "dusk"}
SAVED = SlotSaved(slot="quick", body=BODY, saved_at=ASKED.time, worldline="main", position=100)


def saving(**changed: Any) -> SaveSlot:
    return SaveSlot(slot="quick", body={name: one for name, one in {**BODY, **changed}.items() if one is not None})


def begun(**changed: Any) -> Any:
    """What a playthrough begins with from a slot with that body."""
    slot = folded(CONTEXT, follows([], saving(**changed)))
    scene = slot.body.get("scene")
    told = story(content(PIER)) if scene == "pier" else STORY
    return follows([], StartPlaythrough(playthrough_id="p", slot="quick"), others=[slot], told=told)[0]


def test_a_body_is_kept_as_it_is_with_the_position_that_it_speaks_of() -> None:
    given().when(saving()).then(SAVED)


@pytest.mark.parametrize("missing", [["vars"], ["node_pointer", "seed"], ["vars", "node_pointer", "seed"]])
def test_what_is_missing_is_named(missing: list[str]) -> None:
    body = {name: value for name, value in BODY.items() if name not in missing}
    refused = given().when(SaveSlot(slot="quick", body=body)).then_refused("missing_keys", Invalid)
    assert refused.message == f"missing keys: {', '.join(missing)}"


def test_saving_again_overwrites_and_the_log_keeps_both() -> None:
    found = folded(CONTEXT, [SAVED, *follows([SAVED], saving(seed=6))])
    assert isinstance(found, Filled)
    assert (found.saves, found.body["seed"]) == (2, 6)


def test_a_slot_is_emptied_once() -> None:
    given(SAVED).when(DeleteSlot(slot="quick")).then(SlotDeleted(slot="quick")).and_again_nothing()
    given().when(DeleteSlot(slot="quick")).then_refused("unknown_slot", NotFound)
    assert folded(CONTEXT, [SAVED, SlotDeleted(slot="quick")]) == Empty(saves=1)


def test_a_playthrough_is_saved_so_that_old_players_find_what_they_need() -> None:
    playing = folded(PLAYS, played(StartPlaythrough(playthrough_id="p"), AdvancePlaythrough(playthrough_id="p")))
    command = SavePlaythrough(slot="quick", playthrough_id="p", note="before the choice")
    (event,) = follows([], command, others=[playing])
    assert {"vars", "node_pointer", "seed", "scene", "rng", "pov"} <= event.body.keys()
    assert (event.body["node_pointer"], event.body["note"]) == ("ask", "before the choice")
    assert event.kept.standing == playing.standing
    given(event, others=[playing]).when(command).then_nothing()
    given(others=[PLAYS.initial]).when(command).then_refused("unknown_playthrough", NotFound)


# --- old bodies, and those of somebody else ---------------------------------------------------------------------------


def test_an_old_body_keeps_its_meaning() -> None:
    event = begun()
    assert (event.standing.scene, event.standing.node, event.standing.next) == ("pier", "toss", "chance")
    assert (event.variables, event.seed, event.standing.dice.uses) == ({"coins": 1}, 5, 0)
    rolled = begun(rng={"seed": 5, "value": 77, "uses": 4}, pov="mara", node_pointer="ask")
    assert rolled.standing.dice.model_dump() == {"seed": 5, "value": 77, "uses": 4}
    assert rolled.standing.offered == ("stay", "leave", "whisper")


def test_a_body_without_a_scene_is_found_by_its_node() -> None:
    assert begun(scene=None).standing.scene == "pier"
    assert begun(scene={"id": "pier"}).standing.scene == "pier"
    assert begun(scene=None, node_pointer={"scene": "pier", "node": "ask"}).standing.node == "ask"


@pytest.mark.parametrize(("changed", "code"), [
    ({"project": "elsewhere"}, "slot_of_another_project"),
    ({"schema": "comfyvn.save.v1"}, "slot_of_another_version"),
    ({"schema": "comfyvn.save.v99"}, "slot_of_another_version"),
    ({"node_pointer": "removed since"}, "slot_unusable"),
    ({"node_pointer": 7}, "slot_unusable"),
    ({"node_pointer": {}}, "slot_unusable"),
    ({"node_pointer": "removed since", "scene": None}, "slot_unusable"),
    ({"scene": "not a name!"}, "slot_unusable"),
    ({"vars": []}, "slot_unusable"),
    ({"seed": "five"}, "slot_unusable"),
    ({"seed": True}, "slot_unusable"),
    ({"rng": {"seed": 1}}, "slot_unusable"),
    ({"rng": {"seed": 1, "value": 2, "uses": -1}}, "slot_unusable"),
])
def test_what_cannot_be_played_is_said_clearly(changed: dict[str, Any], code: str) -> None:
    with pytest.raises(Refused) as caught:
        begun(**changed)
    assert caught.value.code == code
    assert caught.value.remediation


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", " ", " a", "a\n", "\x7f", "list", "\ud800"])
def test_some_names_are_no_names(name: str) -> None:
    with pytest.raises(ValueError, match="must not"):
        slot_name(name)


def test_a_slot_has_a_place_for_every_point_of_view() -> None:
    assert for_pov("quick", "mara") == "quick__pov_mara"
    assert slot_id("quick__pov_mara") == "quick__pov_mara"
    assert re.fullmatch(r"quick__pov_Mara_Lind-[0-9a-f]{10}", slot_id(for_pov("quick", "Mara Lind")))


@any_given(st.text(min_size=1, max_size=200), st.text(min_size=1, max_size=200))
def test_any_name_has_an_id_of_its_own(one: str, other: str) -> None:
    for name in (one, other, slot_id(one)):
        try:
            slot_name(name)
        except ValueError:
            return
        assert token(slot_id(name))
    assert (slot_id(one) == slot_id(other)) == (one == other)
    assert slot_id(slot_id(one)) != slot_id(one) or slot_id(one) == one


@any_given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2200, 1, 1)))
def test_milliseconds_are_those_of_the_calendar(time: datetime) -> None:
    exact = (time - datetime(1970, 1, 1)) // timedelta(milliseconds=1)
    assert milliseconds(time.replace(tzinfo=UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")) == exact
    assert milliseconds(time.replace(microsecond=0).isoformat() + "Z") == exact // 1000 * 1000


# --- at the door ------------------------------------------------------------------------------------------------------


def test_the_door_keeps_its_contract() -> None:
    async def scenario() -> None:
        async with door() as here:
            saved = await here.client.post("/api/save/slot one", json={**BODY, "more": [1]})
            assert saved.status_code == 200
            told = saved.json()
            assert told["ok"] is True
            assert {"slot": "slot one", "more": [1], "seed": 5}.items() <= told["save"].items()
            assert abs(told["save"]["saved_at"] - datetime.now(UTC).timestamp() * 1000) < 60_000
            shown = (await here.client.get("/api/save/slot one")).json()
            assert shown["save"] == told["save"]
            listed = (await here.client.get("/api/save/list")).json()
            (one,) = listed["slots"]
            assert {"slot", "saved_at", "saved_at_iso", "size_bytes"} <= one.keys()
            assert one["size_bytes"] > 50
            assert (await here.client.get("/api/save/other")).status_code == 404
            elsewhere = await here.client.get("/api/save/slot one", params={"project": "other"})
            assert elsewhere.status_code == 404

    run(scenario)


def test_the_door_refuses_clearly() -> None:
    async def scenario() -> None:
        async with door() as here:
            for body, status in (({"vars": {}}, 400), ({**BODY, "deep": "x" * 300_000}, 400)):
                refused = await here.client.post("/api/save/quick", json=body)
                assert refused.status_code == status, refused.text
                assert refused.json()["remediation"]
            for raw in (b"[]", b"{", b'{"vars": NaN}', b'{"vars": ' + b"[" * 9000 + b"]" * 9000 + b"}"):
                refused = await here.client.post(
                    "/api/save/quick", content=raw, headers={"Content-Type": "application/json"}
                )
                assert refused.status_code in (400, 422), refused.text
            assert (await here.client.post("/api/save/list", json=BODY)).status_code == 400
            first = await here.client.post("/api/save/quick", json=BODY, headers={"Idempotency-Key": "k"})
            again = await here.client.post("/api/save/quick", json=BODY, headers={"Idempotency-Key": "k"})
            assert again.json() == first.json()
            assert again.headers["idempotency-replayed"] == "true"
            stale = await here.client.post("/api/save/quick", json=BODY, headers={"If-Match": '"7"'})
            assert stale.status_code == 412
            dry = await here.client.post("/api/save/quick", json=BODY, params={"dry_run": "true"})
            assert dry.json()["dry_run"] is True
            deleted = await here.client.delete("/api/save/quick")
            assert deleted.status_code == 200
            assert (await here.client.get("/api/save/quick")).status_code == 404

    run(scenario)
