"""Workflows that presets run, as their engines see them now: read from what is stored, before anything is planned."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import structlog

from domain.ports.engines import EngineError, Offer, Reading
from domain.ports.workflows import TakesWorkflows
from domain.studio.fault import Fault, fault
from domain.studio.job_values import WorkflowDocument
from domain.studio.preset_model import Preset
from services.generation.engines import PATIENCE_SECONDS, Look, name_of
from services.generation.tasks import document_of, reading
from services.studio import Studio

AT_ONCE: Final = 8
"""Documents that are read and asked about at a time."""

Documents = Mapping[tuple[str, str], Sequence[Offer] | Fault]
"""(engine, digest of a document) → what it can do there now, or why nothing."""

log = structlog.get_logger("engines")


async def documents(studio: Studio, presets: Iterable[Preset], looks: Mapping[str, Look]) -> Documents:
    """What the workflows of presets can do on the engines that stand ready."""
    wanted = {
        (way.engine, way.workflow.digest): way.workflow
        for preset in presets for step in preset.steps for way in step.ways
        if way.workflow is not None and way.engine in studio.engines and (look := looks.get(way.engine)) and look.ready
    }
    room = asyncio.Semaphore(AT_ONCE)
    stored = reading(studio.blobs)

    async def told(engine_id: str, workflow: WorkflowDocument) -> Sequence[Offer] | Fault:
        async with room:
            return await _offers(studio, engine_id, workflow, stored)

    found = await asyncio.gather(*(told(engine_id, one) for (engine_id, _), one in wanted.items()))
    return dict(zip(wanted, found, strict=True))


async def _offers(
    studio: Studio, engine_id: str, workflow: WorkflowDocument, stored: Reading
) -> Sequence[Offer] | Fault:
    engine = studio.engines[engine_id]
    if not isinstance(engine, TakesWorkflows):
        return runs_none(engine_id)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await engine.workflow_offers(document_of(workflow), stored)
    except EngineError as error:
        return error.fault
    except TimeoutError:
        return fault("CONNECTION_TIMEOUT", f"{name_of(engine_id)} does not say what the workflow needs.",
                     engine=engine_id)
    except Exception as error:  # an adapter that breaks its promise must not take the page with it
        log.exception("workflow_not_looked_at", engine=engine_id)
        return fault("UNKNOWN_ERROR", f"Looking at the workflow failed ({type(error).__name__}).", engine=engine_id)


def runs_none(engine_id: str) -> Fault:
    """Why an engine cannot run a preset's workflow: it runs none at all."""
    return fault("CONTRACT_MISMATCH", f"{name_of(engine_id)} runs no workflows.", engine=engine_id)
