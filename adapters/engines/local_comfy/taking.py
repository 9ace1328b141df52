"""Workflows of users at one ComfyUI: read with what it knows of its nodes, and written down as what is stored."""

from __future__ import annotations

import asyncio

import orjson

from adapters.engines.local_comfy.catalogue import Catalogue, missing_for
from adapters.engines.local_comfy.editor import INSTEAD, Known, classes_of, graph_of, saved_by_editor
from adapters.engines.local_comfy.importing import Imported, document_of, imported, plain_graph
from adapters.engines.local_comfy.workflows import (
    DOCUMENT_BYTES,
    NotAWorkflow,
    Workflow,
    WorkflowParameter,
    built_in,
)
from domain.ports.engines import EngineError
from domain.ports.workflows import TakenFile, TakenParameter, TakenWorkflow, Taking
from domain.studio.fault import fault


async def taken(content: bytes, taking: Taking, catalogue: Catalogue) -> TakenWorkflow:
    """What is in a file. Raises ``EngineError``."""
    try:
        document = await asyncio.to_thread(document_of, content)
        if saved_by_editor(document):
            try:
                known: Known = await catalogue.described(classes_of(document))
            except EngineError as error:
                raise EngineError(fault(
                    error.fault.code, "It was saved by ComfyUI's editor, and only a running ComfyUI can say what its "
                    f"settings are called. Start it, or: {INSTEAD}")) from None
            graph, asked = graph_of(document, known), True
        else:
            graph = plain_graph(document)
            try:
                known, asked = await catalogue.described([node["class_type"] for node in graph.values()]), True
            except EngineError:
                known, asked = {}, False
        found = imported(graph, taking, known)
    except NotAWorkflow as error:
        raise EngineError(fault("CONTRACT_MISMATCH", str(error)[:2000], reason="not_a_workflow")) from None
    if any(flow.id == taking.id for flow in built_in()):
        raise EngineError(fault("CONTRACT_MISMATCH", f"{taking.id} is a workflow of the studio: choose another id.",
                                reason="workflow_exists"))
    if asked and (new := {node.class_type for node in found.workflow.graph.values()} - known.keys()):
        known = {**known, **await catalogue.described(sorted(new))}
    notes = [*found.notes] if asked else [*found.notes, "ComfyUI does not answer: whether it has the nodes and models "
                                                        "was not looked at."]
    missing = [str(one) for one in missing_for(found.workflow, known)] if asked else []
    return _told(found, notes, missing)


def _told(found: Imported, notes: list[str], missing: list[str]) -> TakenWorkflow:
    flow = found.workflow
    # One way to write it: the same graph has the same digest wherever it is taken in.
    document = orjson.dumps(flow.model_dump(mode="json", by_alias=True, exclude_defaults=True))
    if len(document) > DOCUMENT_BYTES:
        raise EngineError(fault("CONTRACT_MISMATCH", f"It is larger than {DOCUMENT_BYTES} bytes.",
                                reason="not_a_workflow"))
    return TakenWorkflow(
        id=flow.id, name=flow.name, operation=flow.operation, makes=found.makes,  # type: ignore[arg-type]
        parameters=[_parameter(flow, name, one) for name, one in flow.parameters.items() if one.type != "loras"],
        files=[TakenFile(name, one.media, one.description) for name, one in flow.inputs.items()],
        document=document, main=flow.main, loras=flow.chain is not None, likeness=found.likeness, notes=notes,
        missing=missing,
    )


def _parameter(flow: Workflow, name: str, one: WorkflowParameter) -> TakenParameter:
    kind = "text" if one.type == "choice" else one.type
    assert kind != "loras"
    return TakenParameter(name, kind, one.description, one.default, one.required, one.minimum, one.maximum)
