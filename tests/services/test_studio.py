"""Asking, then looking through one door: own writes are seen, and a read side that stands still delays once."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from studios import project, studio_on

from commands.operations.ledger import GrantCredits
from domain.errors import NotFound
from projections.reading import Query
from services.registry import REGISTRY
from services.studio import Asker, Studio

VIEW = REGISTRY.views["ShowAccount"]


def account(name: str) -> Query:
    return VIEW.query.model_validate({"project": "demo", "account": name})


async def granted(studio: Studio, name: str) -> None:
    await studio.ask(GrantCredits(account=name, amount=5), Asker("author"), project="demo")


def test_who_asks_and_then_looks_waits_for_the_read_side(tmp_path: Path) -> None:
    async def scenario() -> None:
        studio = studio_on(tmp_path)
        studio.moment_seconds = 60
        await granted(studio, "a")
        looking = asyncio.create_task(studio.look(VIEW, account("a")))
        done, _ = await asyncio.wait([looking], timeout=0.1)
        assert not done, "the question was answered before the read side had counted what was recorded"
        await project(studio)
        assert (await looking)["balance"] == 5

    asyncio.run(scenario())


def test_a_read_side_that_stands_still_delays_one_question_and_then_none(tmp_path: Path) -> None:
    async def scenario() -> None:
        studio = studio_on(tmp_path)
        studio.moment_seconds = 0.2
        await granted(studio, "a")
        began = time.monotonic()
        with pytest.raises(NotFound):
            await studio.look(VIEW, account("a"))
        assert time.monotonic() - began >= 0.2
        waited = asyncio.create_task(studio.look(VIEW, account("a")))
        studio.moment_seconds = 60
        with pytest.raises(NotFound):
            await asyncio.wait_for(waited, 30)
        await project(studio)
        assert (await studio.look(VIEW, account("a")))["balance"] == 5

    asyncio.run(scenario())


def test_who_only_looks_does_not_wait_for_what_others_record(tmp_path: Path) -> None:
    async def scenario() -> None:
        writer = studio_on(tmp_path)
        reader = studio_on(tmp_path, writer.log)
        reader.moment_seconds = 60
        await granted(writer, "a")
        with pytest.raises(NotFound):
            await asyncio.wait_for(reader.look(VIEW, account("a")), 30)

    asyncio.run(scenario())
