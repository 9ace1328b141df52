"""The most that a plan may cost: what the engine says, else what the table of costs says, else what the asker allows.

Nobody's price is guessed. Where neither engine nor table can tell, whoever asks says the most that it may cost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from math import ceil
from typing import Final

from domain.errors import ComfyVNError, Remedy
from domain.ports.engines import Engine, EngineError, Material, Task
from domain.studio.asset import Preview, Registered
from domain.studio.fault import fault
from domain.studio.job_values import Request, Step
from domain.studio.preset_plan import PlannedStep
from domain.studio.pricing import microcredits
from projections.studio.job_durations import Usual, usual
from services.generation.costs import Given, upper
from services.generation.faults import raised
from services.generation.materials import material_of
from services.studio import Studio

MICROCREDITS: Final = 1_000_000
"""Of one credit."""

PATIENCE_SECONDS: Final = 8.0
"""How long one engine may take to say what a task costs."""


async def estimated(
    engines: Mapping[str, Engine], steps: Sequence[PlannedStep], assets: Mapping[str, Registered],
    spend_limit: float | None,
) -> tuple[tuple[Step, ...], int]:
    """The steps with the most that each may cost, and the sum, in microcredits.

    Raises ``INSUFFICIENT_FUNDS`` when it is more than ``spend_limit`` (in credits), ``VALIDATION_ERROR`` when nobody
    can tell and no limit was given. With a limit, what nobody can tell may cost what the rest leaves of it.
    """
    costs = await asyncio.gather(*(_cost(engines[one.engine], one, assets) for one in steps))
    unknown = [one for one, cost in zip(steps, costs, strict=True) if cost is None]
    known = sum(cost for cost in costs if cost is not None)
    limit = None if spend_limit is None else round(spend_limit * MICROCREDITS)
    if unknown and limit is None:
        named = sorted({f"{one.model or one.operation} of {one.engine}" for one in unknown})
        raise raised(
            fault("VALIDATION_ERROR", f"Nobody can say beforehand what {', '.join(named)[:300]} costs.",
                  steps=[one.id for one in unknown]),
            more=Remedy("Say the most that it may cost, in credits: spend_limit.", "set_spend_limit"),
        )
    if limit is not None and (known > limit or (unknown and known >= limit)):
        raise raised(fault("INSUFFICIENT_FUNDS", f"It may cost {known / MICROCREDITS:g} credits, which is more than "
                           f"the {spend_limit:g} that were allowed.", estimate=known, limit=limit))
    share = (limit - known) // len(unknown) if unknown and limit is not None else 0
    done = tuple(_step(one, share if cost is None else cost) for one, cost in zip(steps, costs, strict=True))
    return done, sum(one.estimate for one in done)


async def expected_seconds(studio: Studio, project: str, request: Request, steps: Sequence[Step]) -> int | None:
    """How long work like this takes by its own history, in whole seconds; nothing where there is none to tell.

    Waiting in the queue is not in it. It decorates an answer, so nothing waits for the read side, and its troubles are
    no reason not to answer.
    """
    engines = {one.engine for one in steps}

    def look() -> Usual | None:
        with studio.models.reader() as reader:
            return usual(reader, project, request.preset, request.quality, engines)

    try:
        found = await asyncio.to_thread(look)
    except ComfyVNError:
        return None
    return None if found is None else max(1, ceil(found.seconds))


def _step(one: PlannedStep, estimate: int) -> Step:
    return Step(
        id=one.id, operation=one.operation, engine=one.engine, model=one.model, parameters=dict(one.parameters),
        inputs={name: tuple(refs) for name, refs in one.inputs.items()}, output=one.output, paid=one.paid,
        finds_attempts=one.finds_attempts, estimate=estimate, workflow=one.workflow,
    )


async def _cost(engine: Engine, step: PlannedStep, assets: Mapping[str, Registered]) -> int | None:
    if not step.paid:
        return 0
    task = Task("estimate", step.operation, step.model, step.parameters, _files(step, assets))  # type: ignore[arg-type]
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            told = await engine.estimate(task)
    except (EngineError, TimeoutError):
        told = None
    if told is None:
        dollars = upper(step.engine, step.operation, step.model, step.parameters, _given(step, assets))
        return None if dollars is None else microcredits(dollars)
    amount, unit = told
    if amount < 0 or amount != amount or amount == float("inf"):
        return None
    match unit.lower():
        case "usd" | "dollars":
            return microcredits(amount)
        case "credits" if amount == 0:
            return 0
        case _:
            return None  # an engine's own unit, of which nobody here knows what it costs


def _files(step: PlannedStep, assets: Mapping[str, Registered]) -> dict[str, list[Material]]:
    found: dict[str, list[Material]] = {}
    for name, refs in step.inputs.items():
        uids = [ref.removeprefix("asset:") for ref in refs if ref.startswith("asset:")]
        if uids and all(uid in assets for uid in uids):
            found[name] = [material_of(uid, assets[uid]) for uid in uids]
    return found


def _given(step: PlannedStep, assets: Mapping[str, Registered]) -> dict[str, list[Given]]:
    """What is known of the files that a step works on; of those that earlier steps make, nothing yet."""
    return {
        name: [_measured(assets.get(ref.removeprefix("asset:"))) for ref in refs] for name, refs in step.inputs.items()
    }


def _measured(asset: Registered | None) -> Given:
    found = asset.preview.measures if asset is not None and isinstance(asset.preview, Preview) else {}

    def number(name: str) -> float:
        value = found.get(name)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0

    return Given(number("duration_ms") / 1000, int(number("width")), int(number("height")))
