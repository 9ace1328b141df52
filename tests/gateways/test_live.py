"""The figures of the running process that the telemetry view shows beside what the log says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from door import Door, door, run

from domain.errors import Remedy, Unavailable
from gateways.http.metrics import BUCKETS, Metrics, quantile
from services.access import TokenBook
from services.registry import REGISTRY


def test_the_summary_tells_latency_by_command_and_lag_by_projection() -> None:
    async def scenario() -> None:
        async with door() as here:
            await here.fork("night", status=201)
            await here.fork("night", status=409)
            await here.fork("day", params={"dry_run": "true"}, status=200)
            answer = await here.client.get("/api/telemetry/summary?project=demo&min_position=1")
            assert answer.status_code == 200, answer.text
            told = answer.json()
            assert told["total"]["events"] == 1
            live = told["live"]
            assert live["since"] <= here.studio.clock()
            (command,) = live["commands"].items()
            name, figures = command
            assert (name, figures["count"]) == ("ForkWorldline", 3)
            assert figures["outcomes"] == {"accepted": 1, "worldline_exists": 1, "dry_run": 1}
            assert 0 < figures["mean_seconds"] < 60
            assert 0 < figures["p50_seconds"] <= figures["p99_seconds"] <= BUCKETS[-1]
            assert set(live["projections"]) == set(REGISTRY.projections)
            counted = live["projections"]["telemetry"]
            assert (counted["position"], counted["lag"], counted["status"]) == (1, 0, "live")

    run(scenario)


def nothing_counted(here: Door) -> None:
    """The tables of every projection, and nobody who fills them."""
    for one in REGISTRY.projections.values():
        here.studio.models.create(one.name, one.version, one.tables)


def test_what_nobody_counts_lags() -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here:
            nothing_counted(here)
            await here.forks(3)
            told = (await here.client.get("/api/telemetry/summary?project=demo")).json()["live"]
            lagging = told["projections"]["telemetry"]
            assert (lagging["position"], lagging["lag"], lagging["status"]) == (0, 3, "live")
            assert told["commands"]["ForkWorldline"]["count"] == 3

    run(scenario)


def test_the_summary_is_told_while_the_log_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def away() -> int:
        raise Unavailable("It is away.", error="away", remediation=[Remedy("Start it.", "start")])

    async def scenario() -> None:
        async with door() as here:
            await here.fork("night", status=201)
            path = "/api/telemetry/summary?project=demo"
            assert (await here.client.get(f"{path}&min_position=1")).status_code == 200
            monkeypatch.setattr(here.log, "head", away)
            answer = await here.client.get(path)
            assert answer.status_code == 200, answer.text
            assert answer.json()["total"]["events"] == 1
            assert answer.json()["live"]["projections"]["telemetry"]["lag"] is None
            monkeypatch.undo()

    run(scenario)


def test_a_token_of_some_projects_does_not_see_the_figures_of_all(tmp_path: Path) -> None:
    async def scenario() -> None:
        book = TokenBook(tmp_path / "tokens.json")
        every, bound = (
            {"Authorization": f"Bearer {book.create(name, ['telemetry:read'], projects)}"}
            for name, projects in (("every", ["*"]), ("bound", ["demo"]))
        )
        async with door(access=book, projecting=False) as here:
            nothing_counted(here)
            path = "/api/telemetry/summary?project=demo"
            seen: dict[str, Any] = (await here.client.get(path, headers=every)).json()
            assert seen["live"]["commands"] == {}
            seen = (await here.client.get(path, headers=bound)).json()
            assert seen["live"] is None
            assert seen["total"]["events"] == 0

    run(scenario)


@pytest.mark.parametrize(("seconds", "share", "at_least", "at_most"), [
    ([0.003] * 10, 0.5, 0.002, 0.004),
    ([0.0005] * 99 + [1.5], 0.5, 0.0, 0.001),
    ([0.0005] * 99 + [1.5], 0.999, 1.0, 2.0),
    ([1.5], 0.01, 1.0, 2.0),
    ([99.0], 0.5, 10.0, 10.0),
    ([0.0], 0.99, 0.0, 0.001),
])
def test_quantiles_lie_in_the_bucket_of_the_time_they_stand_for(
    seconds: list[float], share: float, at_least: float, at_most: float
) -> None:
    upto = [float(sum(one <= bound for one in seconds)) for bound in (*BUCKETS, float("inf"))]
    assert at_least <= quantile(upto, share) <= at_most


def test_latencies_add_up_whatever_the_outcome() -> None:
    metrics = Metrics()
    assert metrics.latencies() == {}
    for outcome, seconds in (("accepted", 0.1), ("accepted", 0.1), ("worldline_exists", 0.4)):
        metrics.commanded("ForkWorldline", outcome, seconds)
    (told,) = metrics.latencies().values()
    assert (told["count"], told["mean_seconds"]) == (3, 0.2)
    assert told["outcomes"] == {"accepted": 2, "worldline_exists": 1}
    assert 0.064 < told["p50_seconds"] <= 0.125
    assert 0.25 < told["p99_seconds"] <= 0.5
