"""The timeline: who did what, when, by which command, and what it changed, also where a branch began."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from projected import Projected
from pydantic import ValidationError

from adapters.memory.log import MemoryLog
from commands.declaration import Command
from commands.envelope import Asked
from commands.operations.ledger import GrantCredits
from commands.story.scene import CreateScene, DeleteScene, EditNode
from commands.story.worldline import ForkWorldline, UpdateWorldline
from commands.trust.policy import AcknowledgePolicy, RevokeAcknowledgement
from domain.errors import Invalid, NotFound
from domain.ids import MAIN
from projections.boards.timeline import CHANGES_LIMIT
from services.dispatcher import Dispatcher
from services.registry import REGISTRY

SCENE = {
    "id": "intro", "title": "Intro", "start": "one",
    "nodes": [
        {"id": "one", "text": "Hello.", "choices": [{"id": "on", "target": "two", "label": "On"}]},
        {"id": "two", "text": "Farewell.", "end": True},
    ],
}

STORY: list[tuple[Command, str, str]] = [
    (CreateScene.model_validate(SCENE), MAIN, "ada"),
    (ForkWorldline(worldline_id="night", at=1), MAIN, "ada"),
    (EditNode(scene_id="intro", node_id="one", text="Good day."), MAIN, "bob"),
    (EditNode(scene_id="intro", node_id="one", text="Good night."), "night", "eve"),
    (EditNode(scene_id="intro", node_id="one", text="Sleep well."), "night", "eve"),
    (GrantCredits(account="team", amount=10), MAIN, "ada"),
    (GrantCredits(account="team", amount=4), MAIN, "ada"),
    (AcknowledgePolicy(user="ada"), MAIN, "ada"),
    (RevokeAcknowledgement(user="ada"), MAIN, "ada"),
    (UpdateWorldline(worldline_id="night", notes="dark"), MAIN, "bob"),
    (ForkWorldline(worldline_id="late", parent="night", at=4), MAIN, "ada"),
    (DeleteScene(scene_id="intro"), "late", "eve"),
]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Projected:
    log = MemoryLog()

    async def scenario() -> None:
        dispatcher = Dispatcher(log, REGISTRY)
        for number, (command, worldline, actor) in enumerate(STORY, start=1):
            asked = Asked(f"c{number}", actor, f"2026-01-02T03:{number:02}:00Z", "demo", worldline=worldline)
            await dispatcher.ask(command, asked)

    asyncio.run(scenario())
    assert len(log.events) == len(STORY)
    projected = Projected(tmp_path_factory.mktemp("read"), ["timeline", "documents", "worldlines"])
    projected.count(log.events, batch=5)
    return projected


def text_of(changes: list[dict[str, Any]]) -> tuple[Any, Any]:
    (change,) = [one for one in changes if one["field"] == "nodes/one"]
    return tuple(side and side["node"]["text"] for side in (change["before"], change["after"]))  # type: ignore[return-value]


def positions(found: list[dict[str, Any]]) -> list[int]:
    return [one["position"] for one in found]


def test_everything_is_told_newest_first_with_who_when_and_by_which_command(seen: Projected) -> None:
    told = seen.pages("ShowTimeline", limit=5)
    assert positions(told) == list(range(12, 0, -1))
    assert told[-4] | {
        "position": 4, "worldline": "night", "category": "scene", "id": "intro", "actor": "eve", "command_id": "c4",
        "time": "2026-01-02T03:04:00Z",
    } == told[-4]


@pytest.mark.parametrize(("asked", "expected"), [
    ({"category": "scene", "id": "intro"}, [12, 5, 4, 3, 1]),
    ({"category": "scene", "id": "intro", "worldline": "night"}, [5, 4]),
    ({"worldline": "-"}, [11, 10, 9, 8, 7, 6, 2]),
    ({"actor": "bob"}, [10, 3]),
    ({"type": "CreditsGranted"}, [7, 6]),
    ({"command_id": "c7"}, [7]),
    ({"since": 9}, [12, 11, 10]),
    ({"as_of": 2}, [2, 1]),
    ({"since": 3, "as_of": 5}, [5, 4]),
    ({"worldline": "night", "inherited": True}, [5, 4, 1]),
    ({"worldline": "late", "inherited": True}, [12, 4, 1]),
    ({"worldline": "late", "inherited": True, "as_of": 11}, [4, 1]),
    ({"worldline": MAIN, "inherited": True}, [3, 1]),
    ({"project": "other"}, []),
])
def test_filters_narrow_and_pages_join(seen: Projected, asked: dict[str, Any], expected: list[int]) -> None:
    for limit in (1, 2, 100):
        assert positions(seen.pages("ShowTimeline", limit=limit, **asked)) == expected


def test_before_and_after_follow_one_another_on_a_worldline(seen: Projected) -> None:
    assert text_of(seen.see("ShowMoment", position=1)["changes"]) == (None, "Hello.")
    assert text_of(seen.see("ShowMoment", position=3)["changes"]) == ("Hello.", "Good day.")
    assert text_of(seen.see("ShowMoment", position=5)["changes"]) == ("Good night.", "Sleep well.")


def test_the_first_edit_on_a_branch_shows_what_it_had_inherited(seen: Projected) -> None:
    assert text_of(seen.see("ShowMoment", position=4)["changes"]) == ("Hello.", "Good night."), (
        "the parent's edit after the fork is none of the branch's business"
    )
    (summary,) = seen.see("ShowMoment", position=12)["changes"]
    assert summary["field"] == "summary"
    assert summary["before"]["title"] == "Intro"
    assert summary["after"] is None


def test_every_context_tells_what_changed(seen: Projected) -> None:
    told = {one["position"]: one["changes"] for one in seen.pages("ShowTimeline", changes=True, limit=5)}
    assert told[6] == [{"field": "balance", "before": None, "after": 10}]
    assert told[7] == [{"field": "balance", "before": 10, "after": 14}]
    (acknowledged,) = told[8]
    assert (acknowledged["field"], acknowledged["before"]) == ("acknowledgements/ada", None)
    (revoked,) = told[9]
    assert (revoked["before"], revoked["after"]) == (acknowledged["after"], None)
    assert told[10] == [{"field": "notes", "before": "", "after": "dark"}]
    for position, changes in told.items():
        assert seen.see("ShowMoment", position=position)["changes"] == changes


def test_what_the_documents_have_not_counted_yet_is_not_called_unchanged(tmp_path: Path) -> None:
    log = MemoryLog()

    async def scenario() -> None:
        dispatcher = Dispatcher(log, REGISTRY)
        for number, (command, worldline, actor) in enumerate(STORY[:3], start=1):
            asked = Asked(f"c{number}", actor, "2026-01-02T03:04:05Z", "demo", worldline=worldline)
            await dispatcher.ask(command, asked)

    asyncio.run(scenario())
    seen = Projected(tmp_path, ["documents", "worldlines"])
    seen.count(log.events[:2])
    ahead = Projected(tmp_path, ["timeline"])
    ahead.count(log.events)
    told = {one["position"]: one["changes"] for one in ahead.pages("ShowTimeline", changes=True)}
    assert told[3] is None
    assert told[1]


def test_what_never_was_is_said_so(seen: Projected) -> None:
    with pytest.raises(NotFound) as caught:
        seen.see("ShowMoment", position=99)
    assert caught.value.remediation
    with pytest.raises(NotFound):
        seen.see("ShowTimeline", worldline="nowhere", inherited=True)
    assert seen.see("ShowTimeline", worldline="nowhere")["items"] == []
    with pytest.raises(ValidationError):
        seen.see("ShowTimeline", worldline="not a name")
    for cursor in ("x", "WyJhIl0"):
        with pytest.raises(Invalid):
            seen.see("ShowTimeline", cursor=cursor)


def test_a_page_with_changes_is_bounded_and_the_rest_follows(tmp_path: Path) -> None:
    log = MemoryLog()

    async def scenario() -> None:
        dispatcher = Dispatcher(log, REGISTRY)
        for number in range(CHANGES_LIMIT + 5):
            asked = Asked(f"c{number}", "ada", "2026-01-02T03:04:05Z", "demo")
            await dispatcher.ask(GrantCredits(account="team", amount=1), asked)

    asyncio.run(scenario())
    seen = Projected(tmp_path, ["timeline", "documents", "worldlines"])
    seen.count(log.events)
    page = seen.see("ShowTimeline", changes=True, limit=500)
    assert len(page["items"]) == CHANGES_LIMIT
    told = seen.pages("ShowTimeline", changes=True, limit=500)
    balances = [one["changes"][0]["after"] for one in told]
    assert balances == list(range(CHANGES_LIMIT + 5, 0, -1))
