"""How long work like this takes: a median of the last runs of the same preset, quality and engines, or nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from job_stories import cancelled, requested, stopped, taken, whole
from projected import Projected

from adapters.memory.log import MemoryLog
from commands.envelope import Asked
from commands.studio.job import RequestJob
from commands.studio.job_work import CompleteJob, TakeJob
from projections.studio.job_durations import RUNS, Usual, usual
from services.dispatcher import Dispatcher
from services.registry import REGISTRY

HERE = frozenset({"studio_local"})


def history(folder: Path, *jobs: tuple[Sequence[Any], float]) -> Projected:
    """Jobs one after the other, each with how many seconds lie between its taking and its end."""
    log = MemoryLog()

    async def scenario() -> None:
        dispatcher, now, number = Dispatcher(log, REGISTRY), 0.0, 0
        for commands, seconds in jobs:
            now += 5  # the queue: it is no part of how long the work takes
            for command in commands:
                number += 1
                if isinstance(command, CompleteJob):
                    now += seconds
                minutes, rest = divmod(now, 60)
                time = f"2026-01-02T{int(minutes) // 60:02}:{int(minutes) % 60:02}:{rest:09.6f}Z"
                await dispatcher.ask(command, Asked(f"c{number}", "mara", time, "demo"))
                if isinstance(command, RequestJob | TakeJob):
                    now += 3 if isinstance(command, RequestJob) else 0

    asyncio.run(scenario())
    folder.mkdir(parents=True, exist_ok=True)
    seen = Projected(folder, ["jobs"])
    seen.count(log.events)
    return seen


def told(seen: Projected, preset: str = "photoreal_portrait_v1", quality: str = "standard",
         engines: frozenset[str] = HERE) -> Usual | None:
    with seen.models.reader() as reader:
        return usual(reader, "demo", preset, quality, engines)


def test_it_is_the_median_of_runs_that_were_completed(tmp_path: Path) -> None:
    seen = history(
        tmp_path, (whole("a"), 10), (whole("b"), 30), (whole("c"), 500), ((requested("d"), taken("d")), 0),
        ((requested("e"), taken("e"), cancelled("e"), stopped("e")), 0),
    )
    assert told(seen) == Usual(30.0, 3)


def test_between_two_runs_it_is_the_middle(tmp_path: Path) -> None:
    assert told(history(tmp_path, (whole("a"), 10), (whole("b"), 20.5))) == Usual(15.25, 2)


def test_another_preset_quality_or_engine_tells_nothing(tmp_path: Path) -> None:
    seen = history(tmp_path, (whole("a"), 10), (whole("b", quality="pro"), 60))
    assert told(seen, quality="pro") == Usual(60.0, 1)
    assert told(seen, quality="low") is None
    assert told(seen, preset="repair_v1") is None
    assert told(seen, engines=frozenset({"provider_fal"})) is None
    assert told(seen, engines=HERE | {"provider_fal"}) is None
    with seen.models.reader() as reader:
        assert usual(reader, "other", "photoreal_portrait_v1", "standard", HERE) is None


def test_only_the_newest_runs_count(tmp_path: Path) -> None:
    old = [(whole(f"o{n}"), 900.0) for n in range(RUNS)]
    new = [(whole(f"n{n}"), 8.0) for n in range(RUNS)]
    assert told(history(tmp_path, *old, *new)) == Usual(8.0, RUNS)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 90), min_size=1, max_size=7))
def test_it_lies_between_the_shortest_and_the_longest(tmp_path_factory: Any, seconds: list[int]) -> None:
    found = told(history(tmp_path_factory.mktemp("runs"), *((whole(f"j{n}"), one) for n, one in enumerate(seconds))))
    assert found is not None
    assert found.runs == len(seconds)
    assert min(seconds) <= found.seconds <= max(seconds)
    assert sum(one <= found.seconds for one in seconds) * 2 >= len(seconds)
