"""The registry: every project with its beginning and end, and what each holds, on a worldline and as of a position."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from projected import Projected

from adapters.memory.log import MemoryLog
from commands.declaration import Command
from commands.envelope import Asked
from commands.operations.ledger import GrantCredits
from commands.story.scene import CreateScene, DeleteScene
from commands.story.worldline import ForkWorldline
from domain.errors import NotFound
from domain.ids import MAIN
from projections.boards.registry import kinds_of
from services.dispatcher import Dispatcher
from services.registry import REGISTRY


def scene(id_: str) -> CreateScene:
    nodes = [{"id": "one", "text": "Hello.", "end": True}]
    return CreateScene.model_validate({"id": id_, "title": id_.title(), "start": "one", "nodes": nodes})


STORY: list[tuple[Command, str, str]] = [
    (scene("alpha"), "demo", MAIN),
    (scene("beta"), "demo", MAIN),
    (ForkWorldline(worldline_id="night"), "demo", MAIN),
    (scene("gamma"), "demo", MAIN),
    (DeleteScene(scene_id="alpha"), "demo", "night"),
    (scene("delta"), "demo", "night"),
    (GrantCredits(account="team", amount=5), "demo", MAIN),
    (GrantCredits(account="team", amount=5), "other", MAIN),
    (DeleteScene(scene_id="beta"), "demo", MAIN),
]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Projected:
    log = MemoryLog()

    async def scenario() -> None:
        dispatcher = Dispatcher(log, REGISTRY)
        for number, (command, project, worldline) in enumerate(STORY, start=1):
            asked = Asked(f"c{number}", "ada", f"2026-01-02T03:{number:02}:00Z", project, worldline=worldline)
            await dispatcher.ask(command, asked)

    asyncio.run(scenario())
    projected = Projected(tmp_path_factory.mktemp("read"), ["registry", "documents", "worldlines"])
    projected.count(log.events, batch=4)
    return projected


def test_every_project_is_told_with_its_first_and_last_event(seen: Projected) -> None:
    assert seen.pages("ListProjects", limit=1) == [
        {"project": "demo", "events": 8, "things": 6, "first_position": 1, "first_time": "2026-01-02T03:01:00Z",
         "last_position": 9, "last_time": "2026-01-02T03:09:00Z", "last_actor": "ada"},
        {"project": "other", "events": 1, "things": 1, "first_position": 8, "first_time": "2026-01-02T03:08:00Z",
         "last_position": 8, "last_time": "2026-01-02T03:08:00Z", "last_actor": "ada"},
    ]


def counts(seen: Projected, **asked: Any) -> dict[str, int]:
    told = seen.see("ShowRegistry", **asked)
    assert told["counts"] == {name: kind["count"] for name, kind in told["kinds"].items()}
    return {name: told["counts"][name] for name in ("scene", "worldline", "account")}


def ids(seen: Projected, kind: str, **asked: Any) -> list[str]:
    return [one["id"] for one in seen.pages("ListThings", kind=kind, **asked)]


def test_what_a_project_holds_is_counted_and_listed(seen: Projected) -> None:
    assert counts(seen) == {"scene": 2, "worldline": 2, "account": 1}
    assert counts(seen, worldline="night") == {"scene": 2, "worldline": 2, "account": 1}
    assert counts(seen, as_of=2) == {"scene": 2, "worldline": 1, "account": 0}
    assert counts(seen, as_of=8) == {"scene": 3, "worldline": 2, "account": 1}
    assert counts(seen, project="nothing") == {"scene": 0, "worldline": 1, "account": 0}
    for limit in (1, 50):
        assert ids(seen, "scene", limit=limit) == ["alpha", "gamma"]
        assert ids(seen, "scene", limit=limit, worldline="night") == ["beta", "delta"]
        assert ids(seen, "scene", limit=limit, worldline="night", as_of=4) == ["alpha", "beta"]
        assert ids(seen, "worldline", limit=limit) == ["main", "night"]
        assert ids(seen, "account", limit=limit, as_of=6) == []
    (account,) = seen.pages("ListThings", kind="account")
    assert (account["id"], account["balance"]) == ("team", 5)


def test_the_first_things_of_a_kind_come_with_the_place_of_the_rest(seen: Projected) -> None:
    told = seen.see("ShowRegistry", limit=1)
    first = told["kinds"]["scene"]
    assert [one["id"] for one in first["items"]] == ["alpha"]
    rest = seen.see("ListThings", kind="scene", cursor=first["next"])
    assert [one["id"] for one in rest["items"]] == ["gamma"]
    assert rest["items"][0]["summary"]["title"] == "Gamma"


def test_an_unknown_kind_or_worldline_is_refused_by_name(seen: Projected) -> None:
    with pytest.raises(NotFound) as caught:
        seen.see("ListThings", kind="dragon")
    assert "scene" in caught.value.remediation[0].text
    with pytest.raises(NotFound):
        seen.see("ShowRegistry", worldline="nowhere")


def test_every_context_with_things_has_a_kind(tmp_path: Path) -> None:
    assert {"scene", "character", "asset", "worldline", "account"} <= kinds_of(REGISTRY.contexts).keys()
    told = Projected(tmp_path, ["registry", "documents", "worldlines"]).see("ShowRegistry")
    assert told["counts"] == dict.fromkeys(kinds_of(REGISTRY.contexts), 0) | {"worldline": 1}
