"""Snapshots: moments that are kept once, by a key of everything that they depend on."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from behaviour import ASKED, given
from hypothesis import given as drawn
from hypothesis import strategies as st
from pydantic import ValidationError
from story_reading import Telling

from commands.story.snapshot import DropSnapshot, TakeSnapshot
from commands.story.worldline import ForkWorldline
from domain.errors import NotFound, Refused
from domain.story.snapshot import SHOWN, Moment, SnapshotDropped, SnapshotTaken, cache_key, vars_digest
from domain.story.worldline import Archived, Forked, Unforked

TAKE = TakeSnapshot(scene="intro", node="gate")
DARK = Forked(
    parent="main", forked_at=1, label="Dark", lane="scratch", pov="ivo", root_node="start", notes="", metadata={},
)


def taken(command: TakeSnapshot = TAKE, **changed: Any) -> SnapshotTaken:
    key = cache_key(command.moment)
    return SnapshotTaken(
        snapshot_id=command.snapshot_id, cache_key=key, moment=command.moment, lane="official", at=ASKED.head,
        workflow_hash=sha256(key.encode()).hexdigest(), thumbnail=None, thumbnail_hash=None, metadata={},
    ).model_copy(update=changed)


def test_a_moment_is_kept_once() -> None:
    given().when(TAKE).then(taken()).and_again_nothing()
    later = ASKED._replace(head=500, time="2027-01-01T00:00:00Z")
    given(taken()).when(TAKE, later).then_nothing()


def test_another_picture_of_the_same_moment_takes_its_place() -> None:
    painted = TAKE.model_copy(update={"thumbnail": "a1", "metadata": {"mood": "calm"}})
    given(taken()).when(painted).then(taken(thumbnail="a1", metadata={"mood": "calm"})).and_again_nothing()


def test_a_snapshot_is_let_go_and_may_be_taken_again() -> None:
    id_ = TAKE.snapshot_id
    drop = DropSnapshot(snapshot_id=id_)
    given(taken()).when(drop).then(SnapshotDropped(snapshot_id=id_))
    given().when(drop).then_refused("unknown_snapshot", NotFound)
    given(taken(), SnapshotDropped(snapshot_id=id_)).when(TAKE).then(taken())


def test_its_worldline_must_be_in_use_and_gives_it_a_lane() -> None:
    there = TAKE.model_copy(update={"worldline": "dark"})
    given(others=[Unforked()]).when(there).then_refused("unknown_worldline", NotFound)
    given(others=[Archived(was=DARK, reason="")]).when(there).then_refused("worldline_archived", Refused)
    given(others=[DARK]).when(there).then(taken(there, lane="scratch"))


def test_the_key_names_everything_that_a_moment_depends_on() -> None:
    assert cache_key(TAKE.moment) == "intro:gate:main:narrator:_:_:_:_"
    full = TakeSnapshot(
        scene="intro", node="a:b%", worldline="dark", pov="mira", seed=0, theme="noir", weather="rain",
        variables={"b": 1.0, "a": [True, None]},
    )
    digest = sha256(b'{"a":[true,null],"b":1}').hexdigest()
    assert cache_key(full.moment) == f"intro:a%3Ab%25:dark:mira:0:noir:rain:{digest}"
    assert vars_digest({"big": 2**60}) == vars_digest({"big": str(2**60)}) != vars_digest({})


PARTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=6).map(str.strip)


@drawn(st.lists(st.tuples(PARTS, PARTS, PARTS), min_size=2, max_size=2, unique=True))
def test_different_moments_have_different_keys(moments: list[tuple[str, str, str]]) -> None:
    keys = [
        cache_key(Moment(scene="s", node=node, worldline="main", pov=pov, seed="", theme=theme, weather="",
                         vars_digest=""))
        for node, pov, theme in moments
    ]
    blanked = [tuple(part or "_" for part in one) for one in moments]
    assert (keys[0] == keys[1]) == (blanked[0] == blanked[1])


def test_what_does_not_fit_is_refused() -> None:
    for wrong in (
        {"seed": 2**63}, {"pov": "a\x07"}, {"thumbnail": "../x"}, {"variables": {"x": float("nan")}},
        {"theme": "x" * 201}, {"unknown": 1}, {"workflow_hash": "a b"}, {"scene": ""},
    ):
        with pytest.raises(ValidationError):
            TakeSnapshot.model_validate({"scene": "intro", "node": "gate", **wrong})


def test_snapshots_are_shown_newest_first_with_their_sidecar(tmp_path: Path) -> None:
    telling = Telling(tmp_path)
    telling.ask(ForkWorldline(worldline_id="dark", lane="scratch"))
    first = telling.ask(TakeSnapshot(scene="intro", node="gate", worldline="dark", seed=7, thumbnail="a1"))
    telling.ask(TakeSnapshot(scene="intro", node="road", worldline="dark"))
    telling.ask(TakeSnapshot(scene="coast", node="gate", worldline="dark"))
    items = telling.look("ListSnapshots", worldline="dark")["items"]
    assert [(one["scene"], one["node"]) for one in items] == [("coast", "gate"), ("intro", "road"), ("intro", "gate")]
    assert len(telling.look("ListSnapshots", worldline="dark", scene="intro")["items"]) == 2
    assert telling.look("ListSnapshots")["items"] == []
    shown = telling.look("ShowSnapshot", snapshot_id=first.id)
    sidecar = shown["sidecar"]
    assert (sidecar["seed"], sidecar["lane_label"], sidecar["lane_color"]) == (7, "Scratch", "#7A7A7A")
    assert (sidecar["tool"], sidecar["cache_key"], sidecar["thumbnail"]) == (
        "comfyvn.snapshot", first.told["cache_key"], "a1",
    )
    assert sidecar["captured_at"] == "2026-01-02T03:04:05Z"
    telling.ask(DropSnapshot(snapshot_id=first.id))
    with pytest.raises(NotFound):
        telling.look("ShowSnapshot", snapshot_id=first.id)


def test_only_the_newest_are_shown_and_none_is_lost(tmp_path: Path) -> None:
    telling = Telling(tmp_path)
    telling.ask(*[TakeSnapshot(scene="intro", node=f"n{number}") for number in range(SHOWN + 20)])

    def nodes(**query: Any) -> list[str]:
        found, cursor = [], ""
        while cursor is not None:
            told = telling.look("ListSnapshots", limit=100, cursor=cursor, **query)
            found += [one["node"] for one in told["items"]]
            cursor = told["next"]
        return found

    assert nodes() == [f"n{number}" for number in reversed(range(20, SHOWN + 20))]
    assert len(nodes(older=True)) == SHOWN + 20


def test_of_many_who_keep_one_moment_at_once_one_is_recorded(tmp_path: Path) -> None:
    telling = Telling(tmp_path)

    async def race() -> None:
        await asyncio.gather(*[telling.ask_later(TAKE) for _ in range(10)])

    asyncio.run(race())
    assert telling.head == 1
