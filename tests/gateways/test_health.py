"""Health, status and figures: asked of what must answer, within bounded time, and true."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from door import door, run, until
from prometheus_client.parser import text_string_to_metric_families

from domain.errors import Remedy, Unavailable
from services.registry import REGISTRY


def test_health_is_ok_while_the_log_and_the_read_side_answer() -> None:
    async def scenario() -> None:
        async with door() as here:
            await here.forks(2)
            answer = await here.client.get("/health")
            assert answer.status_code == 200
            assert answer.json() == {"status": "ok", "log": "ok", "read_side": "ok", "position": 2}

    run(scenario)


@pytest.mark.parametrize("part", ["log", "read_side"])
@pytest.mark.parametrize("how", ["fails", "hangs"])
def test_health_says_which_part_does_not_answer(part: str, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateways.http.health.ASK_SECONDS", 1.5)
    released = threading.Event()

    def failing(*_: Any) -> Any:
        if how == "hangs":
            released.wait(20)
        raise Unavailable("It is away.", error="away", remediation=[Remedy("Start it.", "start")])

    async def failing_log() -> int:
        if how == "hangs":
            await asyncio.Event().wait()
        return int(failing())

    async def scenario() -> None:
        async with door(projecting=False) as here:
            if part == "log":
                monkeypatch.setattr(here.log, "head", failing_log)
            else:
                monkeypatch.setattr(here.studio.models, "checkpoints", failing)
            try:
                # However many ask, one question is under way.
                answers = await asyncio.gather(*(here.client.get("/health") for _ in range(20)))
            finally:
                released.set()
            for answer in answers:
                assert answer.status_code == 503
                told = answer.json()
                assert told["error"] == ("away" if how == "fails" else f"{part}_silent")
                assert told[part] == told["error"]
                assert told["log" if part == "read_side" else "read_side"] == "ok"
                assert told["remediation"]
            status = await here.client.get("/status")
            assert status.json()[part]["ok"] is False
            monkeypatch.undo()

    run(scenario)


def test_status_tells_how_far_every_projection_is_and_what_was_stopped() -> None:
    async def scenario() -> None:
        async with door(worker_status=lambda: {"worker": "running"}) as here:
            await here.forks(3)
            models = here.studio.models

            def counted() -> bool:
                known = models.checkpoints()
                return all(name in known and known[name].position == 3 for name in REGISTRY.projections)

            await until(counted, "everything to be counted")
            models.stop("worldlines", 2, "it broke")
            told = (await here.client.get("/status")).json()
            assert told["log"] == {"ok": True, "position": 3, "reason": None}
            assert {one["name"] for one in told["projections"]} == set(REGISTRY.projections)
            stopped = next(one for one in told["projections"] if one["name"] == "worldlines")
            assert (stopped["status"], stopped["lag"]) == ("stopped", 0)
            assert told["quarantine"] == [{"projection": "worldlines", "position": 2, "error": "it broke"}]
            assert told["worker"] == {"worker": "running"}
            assert {"POST /api/commands/ForkWorldline", "GET /api/pov/worlds", "WS /events/ws"} <= set(told["routes"])

    run(scenario)


def test_figures_are_prometheus_text_and_count_what_happened() -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here:
            await here.fork("night", status=201)
            await here.fork("night", status=409)
            await here.fork("day", params={"dry_run": "true"}, status=200)
            await here.client.get("/nowhere/at/all")
            await here.client.get("/somewhere/else")
            answer = await here.client.get("/metrics")
            assert answer.headers["content-type"].startswith("text/plain")
            found = {
                (sample.name, *sorted(sample.labels.items())): sample.value
                for family in text_string_to_metric_families(answer.text) for sample in family.samples
            }

            def of(name: str, **labels: str) -> float:
                return found[(name, *sorted(labels.items()))]

            command = {"command": "ForkWorldline"}
            assert of("comfyvn_commands_total", outcome="accepted", **command) == 1
            assert of("comfyvn_commands_total", outcome="worldline_exists", **command) == 1
            assert of("comfyvn_commands_total", outcome="dry_run", **command) == 1
            assert of("comfyvn_command_seconds_count", **command) == 3
            assert of("comfyvn_http_requests_total", method="-", route="-", status="404") == 2
            assert of("comfyvn_log_head_position") == 1
            assert of("comfyvn_up", part="log") == 1

    run(scenario)


def test_the_page_lists_the_doors() -> None:
    async def scenario() -> None:
        async with door(projecting=False) as here:
            page = await here.client.get("/")
            assert page.headers["content-type"] == "text/html; charset=utf-8"
            for path in ("/api/commands/ForkWorldline", "/api/log", "/events/sse", "/events/ws", "/openapi.json"):
                assert path in page.text

    run(scenario)
