"""Handing tasks to engines, asking after them, telling engines to stop: whatever an adapter does, an answer comes."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from domain.ports import Blobs
from domain.ports.engines import Accepted, Engine, EngineError, Submission, Task
from domain.studio.fault import Fault, fault
from services.generation import tasks

SUBMIT_SECONDS: Final = 120.0
"""Longest time that an engine may take over one of these; after that nobody knows whether it has the task."""

log = structlog.get_logger("jobs")


async def handed(engine: Engine, task: Task, blobs: Blobs, job_id: str) -> Accepted | EngineError:
    """What the engine says to a task."""
    try:
        async with asyncio.timeout(SUBMIT_SECONDS):
            return await engine.submit(task, tasks.reading(blobs))
    except EngineError as error:
        return error
    except TimeoutError:
        return EngineError(fault("CONNECTION_TIMEOUT", "Handing the task over took too long."), Submission.UNKNOWN)
    except Exception as error:  # an adapter that breaks its promise: nobody knows how far it came
        log.exception("engine_defect", engine=engine.traits.id, job=job_id)
        return EngineError(_defect(error), Submission.UNKNOWN)


async def found(engine: Engine, attempt: str, job_id: str) -> Accepted | None:
    """An attempt that the engine has, or nothing; raises ``EngineError``."""
    try:
        async with asyncio.timeout(SUBMIT_SECONDS):
            return await engine.find(attempt)
    except EngineError:
        raise
    except Exception as error:
        log.exception("engine_defect", engine=engine.traits.id, job=job_id)
        raise EngineError(_defect(error)) from error


async def told_to_stop(engine: Engine, accepted: Accepted, job_id: str) -> None:
    """Tells the engine to stop, whether or not it listens."""
    try:
        async with asyncio.timeout(SUBMIT_SECONDS):
            await engine.cancel(accepted)
    except Exception as error:
        log.warning("not_cancelled", engine=engine.traits.id, job=job_id, reason=type(error).__name__)


def _defect(error: Exception) -> Fault:
    return fault("UNKNOWN_ERROR", f"The engine's adapter failed ({type(error).__name__}).")
