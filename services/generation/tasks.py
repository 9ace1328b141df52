"""From a step of a plan to the task that an engine is given: references filled in, files named by their content."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final

from domain.errors import NotFound, Unavailable
from domain.ids import UNBRANCHED
from domain.ports import Blobs, Stream
from domain.ports.engines import EngineError, Material, Operation, Reading, Task
from domain.ports.workflows import TakesWorkflows
from domain.studio.asset import CATEGORY as ASSET
from domain.studio.asset import Registered, Removed
from domain.studio.asset_values import UID_LENGTH
from domain.studio.fault import Fault, fault
from domain.studio.job import Open
from domain.studio.job_values import Step, WorkflowDocument
from domain.values import Json
from services.studio import Studio

STEP_SECONDS: Final = 900.0
"""How long one attempt may take, where its parameters do not say."""

DEADLINE: Final = "deadline_seconds"
"""The parameter of a step that says how long it may take; it is not handed to the engine."""


class Unfillable(Exception):
    """A step refers to what there is not: the plan is wrong, or an asset is gone."""


async def task_of(studio: Studio, project: str, job: Open, step: Step, attempt: str) -> Task:
    """The task of a step; raises ``EngineError`` with a fault that names what is missing."""
    try:
        parameters = {
            name: _filled(value, job) for name, value in step.parameters.items() if name != DEADLINE
        }
        uids = {name: _uids(references, job) for name, references in step.inputs.items()}
    except Unfillable as error:
        raise EngineError(fault("CONTRACT_MISMATCH", str(error), step=step.id)) from error
    workflow = None
    if step.workflow is not None:
        if not isinstance(studio.engines.get(step.engine), TakesWorkflows):
            raise EngineError(fault("CONTRACT_MISMATCH", f"{step.engine} runs no workflows.", engine=step.engine))
        workflow = document_of(step.workflow)
    inputs = {name: [await _material(studio, project, uid) for uid in found] for name, found in uids.items()}
    operation: Operation = step.operation  # type: ignore[assignment]  # a newer operation is refused by its engine
    return Task(attempt, operation, step.model, parameters, inputs, seconds_of(step), workflow=workflow)


def document_of(workflow: WorkflowDocument) -> Material:
    """A workflow as an engine is handed it."""
    return Material(f"sha256:{workflow.digest}", workflow.size, "application/json", "workflow.json")


def seconds_of(step: Step) -> float:
    """How long an attempt at a step may take."""
    told = step.parameters.get(DEADLINE)
    if isinstance(told, int | float) and not isinstance(told, bool) and told > 0:
        return float(told)
    return STEP_SECONDS


def told(task: Task) -> dict[str, Json]:
    """A task as an event keeps it: everything but the bytes."""
    return {
        "operation": task.operation, "model": task.model, "parameters": dict(task.parameters),
        "inputs": {
            name: [{"digest": one.digest, "size": one.size, "media_type": one.media_type} for one in found]
            for name, found in task.inputs.items()
        },
        "deadline_seconds": task.deadline_seconds,
        **({"workflow": {"digest": task.workflow.digest, "size": task.workflow.size}} if task.workflow else {}),
    }


def reading(blobs: Blobs) -> Reading:
    """Where engines get the bytes of materials from. What is gone, or is not what it was, is told before the last
    piece has been handed over: so nobody has a whole request by then."""

    @asynccontextmanager
    async def read(material: Material) -> AsyncIterator[AsyncIterator[bytes]]:
        async with aclosing(_pieces(blobs, material)) as pieces:
            yield pieces

    return read


async def _pieces(blobs: Blobs, material: Material) -> AsyncGenerator[bytes, None]:
    hashed, size, held = hashlib.sha256(), 0, b""
    try:
        async for piece in blobs.stream(material.digest.removeprefix("sha256:"), 0, material.size):
            if held:
                yield held
            hashed.update(piece)
            size, held = size + len(piece), piece
    except NotFound:
        raise EngineError(gone(material.digest, material.name)) from None
    except Unavailable as error:
        raise EngineError(fault("SERVICE_UNAVAILABLE", error.message, digest=material.digest)) from error
    if size != material.size or f"sha256:{hashed.hexdigest()}" != material.digest:
        raise EngineError(fault(
            "FILE_REFUSED", f"The stored bytes of {_called(material.digest, material.name)} are not what they "
            "were: restore them from a backup, or register the file again.", digest=material.digest,
            uid=_uid(material.digest),
        ))
    if held:
        yield held


def gone(digest: str, name: str = "") -> Fault:
    """Why nothing can be done with a material: its bytes are not kept here any more."""
    return fault(
        "FILE_NOT_FOUND", f"The bytes of {_called(digest, name)} are not kept here any more: restore them from a "
        "backup or register the same file again, then run it again; or choose another file.", digest=digest,
        uid=_uid(digest),
    )


def _called(digest: str, name: str) -> str:
    return f"asset {_uid(digest)}" + (f" ({name[:200]})" if name and name != _uid(digest) else "")


def _uid(digest: str) -> str:
    return digest.removeprefix("sha256:")[:UID_LENGTH]


def ingredients(job: Open, step: Step) -> list[str]:
    """Assets that a step works on, each once."""
    found: dict[str, None] = {}
    for references in step.inputs.values():
        found |= dict.fromkeys(_uids(references, job))
    return list(found)


def _filled(value: Json, job: Open) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"$step"}:
            return _told_by(str(value["$step"]), job)
        return {name: _filled(one, job) for name, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, job) for one in value]
    return value


def _told_by(reference: str, job: Open) -> Json:
    step, _, name = reference.partition(".")
    facts: Mapping[str, Json] = job.facts.get(step, {})
    if name not in facts:
        raise Unfillable(f"Step {step} has told nothing called {name or 'that'}.")
    return facts[name]


def _uids(references: tuple[str, ...], job: Open) -> list[str]:
    found: list[str] = []
    for reference in references:
        kind, _, named = reference.partition(":")
        if kind == "asset":
            found.append(named)
            continue
        step, _, output = named.partition(".")
        outputs = job.finished.get(step)
        if kind != "step" or outputs is None or output not in outputs:
            raise Unfillable(f"There is no {reference}.")
        found += outputs[output]
    return found


async def _material(studio: Studio, project: str, uid: str) -> Material:
    stream = Stream(project, UNBRANCHED, ASSET, uid)
    aggregates = studio.dispatcher.aggregates
    state = (await aggregates.load(stream)).state
    if not isinstance(state, Registered):
        aggregates.forget(stream)  # it may have come through another process
        state = (await aggregates.load(stream)).state
    asset = state.was if isinstance(state, Removed) else state
    if not isinstance(asset, Registered):
        raise EngineError(fault("FILE_NOT_FOUND", f"There is no asset {uid} any more.", uid=uid))
    return Material(f"sha256:{asset.digest}", asset.size, asset.media_type, asset.described.name)
