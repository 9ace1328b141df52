"""Workflows that users bring become presets: the graph is stored as bytes, the log has a preset that names it.

So every worker runs the same graph, whatever becomes of its machine, and what a job was planned with can be run again.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from commands.studio.preset import CreatePreset, ReplacePreset
from domain.errors import Invalid, NotFound, Refused, Remedy
from domain.ports.engines import EngineError, Operation
from domain.ports.workflows import TakenParameter, TakenWorkflow, TakesWorkflows, Taking
from domain.studio.fault import fault
from services.dispatcher import Receipt
from services.generation.faults import raised
from services.generation.library import find_preset
from services.studio import Asker, Studio

ENGINE: Final = "local_comfy"

FILE_BYTES: Final = 64 * 2**20
"""Largest file that is read: a picture with its graph in it."""

DEFAULT_LONGEST: Final = 2000
"""Longest text that a preset has as a default."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of a file: the workflow, the preset that runs it, and whether anything was new."""

    workflow: TakenWorkflow
    preset: Mapping[str, Any]
    receipt: Receipt
    changed: bool


async def take_workflow_file(studio: Studio, path: Path, asker: Asker, **given: Any) -> Taken:
    """``take_workflow`` for a local file."""
    content = await asyncio.to_thread(_read, path)
    return await take_workflow(studio, content, path.stem, asker, **given)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES + 1)  # what a device says of its size is nothing
    except OSError as error:
        raise NotFound(f"{path} cannot be read: {error.strerror}.", error="no_such_file",
                       remediation=[Remedy("Name a file that is there.", "choose_file")]) from None
    if len(content) > FILE_BYTES:
        raise Invalid(f"{path.name} is larger than {FILE_BYTES} bytes.", error="too_large",
                      remediation=[Remedy("Choose a smaller file.", "choose_file")])
    return content


async def take_workflow(
    studio: Studio, content: bytes, name: str, asker: Asker, *, project: str, id_: str | None = None,
    title: str | None = None, operation: Operation | None = None, expose: Mapping[str, str] | None = None,
    replace: bool = False, dry_run: bool = False,
) -> Taken:
    """Takes a graph in: stored, and a preset for it in the project. The very same again changes nothing.

    Raises ``Invalid`` for what is no workflow, ``Refused`` for another one of that id unless ``replace``.
    """
    engine = studio.engines.get(ENGINE)
    if not isinstance(engine, TakesWorkflows):
        raise Refused("ComfyUI is not set up here, and nobody else runs workflows.", error="ENGINE_OFFLINE",
                      remediation=[Remedy("Set COMFYVN_COMFY_URL to where ComfyUI listens.", "start_engine")])
    wanted = _id(id_ or name)
    try:
        flow = await engine.take_workflow(content, Taking(wanted, title or name[:200], operation, expose or {}))
    except EngineError as error:
        exists = error.fault.detail.get("reason") == "workflow_exists"
        raise raised(error.fault, more=Remedy("Choose another --id.", "choose_id") if exists else None) from None
    preset = preset_of(flow)
    asked = ReplacePreset if replace and await _is_there(studio, project, wanted) else CreatePreset
    command = _command(asked, preset)
    digest = hashlib.sha256(flow.document).hexdigest()
    (foreseen,) = await studio.ask_all([command], asker, project=project, dry_run=True, at_hand={digest})
    if dry_run:
        return Taken(flow, preset, foreseen, bool(foreseen.would))
    await studio.blobs.put(flow.document)  # an event never speaks of bytes that are not there
    receipt = await studio.ask(command, asker, project=project)
    return Taken(flow, preset, receipt, bool(receipt.events))


def told(taken: Taken, dry_run: bool) -> dict[str, Any]:
    """What came of a file, as programs read it."""
    flow = taken.workflow
    return {"ok": True, "id": flow.id, "name": flow.name, "operation": flow.operation, "makes": flow.makes,
            "preset": taken.preset, "notes": list(flow.notes), "missing": list(flow.missing),
            "changed": taken.changed, "position": taken.receipt.position, "dry_run": dry_run}


def preset_of(flow: TakenWorkflow) -> dict[str, Any]:
    """The preset of a workflow: one step, every parameter an input, characters where LoRAs can be put in."""
    inputs: dict[str, Any] = {}
    parameters: dict[str, Any] = {}
    for one in flow.files:
        inputs[one.name] = {"type": one.media, "description": one.description, "required": True,
                            "shows_person": flow.likeness and one.media != "audio"}
    for given in flow.parameters:
        parameters[given.name] = "{{seed}}" if given.name == "seed" else f"{{{{inputs.{given.name}}}}}"
        inputs[given.name] = _input(given)
    if flow.loras:
        inputs |= {"character": {"type": "character", "description": "Its words and its LoRAs are added."},
                   "expression": {"type": "text", "description": "The character's expression or pose, by its name.",
                                  "longest": 200}}
        parameters["loras"] = "{{character.loras}}"
        if "prompt" in inputs:
            parameters["prompt"] = "{{character.prompt}}{{inputs.prompt}}"
    model = flow.id if flow.main is None else f"{flow.id}:{{{{inputs.{flow.main}}}}}"
    if flow.main is not None:
        del parameters[flow.main]
    step = {
        "id": "made", "operation": flow.operation, "description": flow.name, "output": flow.makes,
        "inputs": {one.name: f"{{{{inputs.{one.name}}}}}" for one in flow.files},
        "ways": [{"engine": ENGINE, "model": model, "parameters": parameters, "workflow": {
            "digest": hashlib.sha256(flow.document).hexdigest(), "size": len(flow.document)}}],
    }
    return {
        "id": flow.id, "name": flow.name, "description": "A workflow of ComfyUI.",
        "category": "video_generation" if flow.makes == "video" else
        "image_generation" if "image" in flow.operation and flow.operation.startswith("text") else "post_processing",
        "inputs": inputs, "quality_levels": {"standard": {}}, "steps": [step], "tags": ["comfyui"],
        "requires_consent": any(one.get("shows_person") for one in inputs.values()),
    }


def _input(one: TakenParameter) -> dict[str, Any]:
    if one.name == "seed":
        return {"type": "integer", "description": "The same seed makes the same again; without it one is drawn.",
                "minimum": 0, "maximum": 2**32 - 1}
    kind = "text" if one.kind == "model" else one.kind
    made: dict[str, Any] = {"type": kind, "description": one.description, "required": one.required}
    for name, bound in (("minimum", one.minimum), ("maximum", one.maximum)):
        if bound is not None:
            made[name] = bound
    if kind == "text":
        made["longest"] = 300 if one.kind == "model" else 8000
    # A default that is one reference would be filled in; the workflow has it anyway, but for what is joined with more.
    if not one.required and one.default is not None and one.kind != "model":
        if isinstance(one.default, str) and ("{{" in one.default or len(one.default) > DEFAULT_LONGEST):
            return made | ({"required": True} if one.name == "prompt" else {})
        made["default"] = one.default
    return made


def _command(asked: type[CreatePreset | ReplacePreset], preset: Mapping[str, Any]) -> CreatePreset | ReplacePreset:
    try:
        return asked.model_validate(preset)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise raised(fault("CONTRACT_MISMATCH", f"The workflow makes no preset: {place[:200]}: {first['msg'][:300]}.")
                     ) from None


def _id(text: str) -> str:
    found = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:60].strip("_")
    if not found:
        raise raised(fault("INVALID_FIELD_VALUE", f"{text[:60]!r} is no id: use small letters, digits and _.",
                           field="id"))
    return found if found[0].isalpha() else f"workflow_{found}"[:60]


async def _is_there(studio: Studio, project: str, preset_id: str) -> bool:
    try:
        await find_preset(studio.dispatcher, project, preset_id)
    except NotFound:
        return False
    return True
