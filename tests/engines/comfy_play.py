"""What the tests of ComfyUI share: a fake server, an adapter of it, and small tasks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from engines.fake_comfy import FakeComfy
from ports.engine_suite import Stored, picture, refused

from adapters.engines.local_comfy.engine import LocalComfy
from domain.ports.engines import Accepted, Material, Outcome, Task, Waiting, Working
from domain.studio.fault import Fault

Scenario = Callable[[FakeComfy, LocalComfy], Awaitable[None]]
STORED = Stored(picture(), picture(16, 16, (255, 255, 255)))


def play(scenario: Scenario) -> None:
    """Runs one scenario with a fresh server and a fresh adapter."""

    async def whole() -> None:
        async with FakeComfy() as server, adapter(server) as engine:
            await asyncio.wait_for(scenario(server, engine), 30)

    asyncio.run(whole())


@asynccontextmanager
async def adapter(server: FakeComfy, **given: Any) -> AsyncIterator[LocalComfy]:
    engine = LocalComfy(server.url, **{"patience_seconds": 20.0, **given})
    try:
        yield engine
    finally:
        await engine.close()


def card(attempt: str, color: int = 0x336699) -> Task:
    return Task(attempt, "compose_images", "plain_card", {"width": 32, "height": 16, "color": color})


def portrait(attempt: str, model: str = "dreamy.safetensors", **parameters: Any) -> Task:
    return Task(attempt, "text_to_image", model,
                {"prompt": "a harbour at dusk", "seed": 7, "width": 64, "height": 64, **parameters})


def working_on(attempt: str, operation: Any, model: str, parameters: Mapping[str, Any],
               **inputs: Sequence[Material]) -> Task:
    return Task(attempt, operation, model, parameters, inputs)


async def ended(engine: LocalComfy, accepted: Accepted) -> Outcome:
    """Polls until nothing follows."""
    while True:
        outcome = await engine.poll(accepted)
        if not isinstance(outcome, Waiting | Working):
            return outcome
        await asyncio.sleep(0.01)


async def done(engine: LocalComfy, task: Task) -> tuple[Accepted, Any]:
    accepted = await engine.submit(task, STORED)
    return accepted, await ended(engine, accepted)


async def why(engine: LocalComfy, task: Task) -> Fault:
    """The fault that a task is refused with."""
    return (await refused(engine.submit(task, STORED))).fault
