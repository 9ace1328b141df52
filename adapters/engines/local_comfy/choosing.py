"""Which workflow does a task, and with which model file; and everything that could be done, as offers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from adapters.engines.local_comfy.catalogue import Missing, missing_fault, missing_for
from adapters.engines.local_comfy.declaring import choices
from adapters.engines.local_comfy.workflows import Workflow, WorkflowParameter, accepts
from domain.ports.engines import EngineError, Offer, Operation, Task
from domain.studio.fault import fault

Known = Mapping[str, Mapping[str, Any] | None]


class Chosen(NamedTuple):
    """A workflow and its model file (empty for those without one)."""

    flow: Workflow
    model: str


def choose(flows: Sequence[Workflow], task: Task, known: Known) -> Chosen:
    """The workflow for a task. Its ``model`` is a file's name, a workflow's id, ``<id>:<file>``, or empty: the first
    that can run, with the first file of its folder.

    Raises ``EngineError``: CONTRACT_MISMATCH when nothing takes such inputs, DEPENDENCY_MISSING with names.
    """
    fitting = [flow for flow in flows if accepts(flow, list(task.inputs))]
    if not fitting:
        given = ", ".join(sorted(task.inputs)) or "no files"
        raise EngineError(fault("CONTRACT_MISMATCH", f"No workflow for {task.operation} takes {given}.",
                                takes=[sorted(flow.inputs) for flow in flows][:20]))
    id_, _, file = task.model.partition(":")
    if (named := next((flow for flow in fitting if flow.id == id_), None)) is not None:
        return Chosen(named, file or _asked_for(named, task) or _usual(named, known))
    if task.model:
        for flow in fitting:
            if task.model in _files(flow, known):
                return Chosen(flow, task.model)
        folder = next((_main(flow).folder for flow in fitting if flow.main is not None), "models")
        raise EngineError(missing_fault([Missing("model", task.model, folder)]))
    for flow in fitting:
        if not missing_for(flow, known):
            return Chosen(flow, _asked_for(flow, task) or _usual(flow, known))
    raise EngineError(missing_fault(missing_for(fitting[0], known)))


def offered(flows: Sequence[Workflow], known: Known, loras: Sequence[str]) -> list[Offer]:
    """Every workflow: by its id, and by each model file that it can take where no other takes that one before it."""
    offers: dict[tuple[str, str], Offer] = {}
    for flow in flows:
        missing = [str(one) for one in missing_for(flow, known)]
        schema = described(flow, known, loras)
        for model in [flow.id, *(_suited(flow, known) if not missing else ())]:
            operation = cast("Operation", flow.operation)
            offers.setdefault((flow.operation, model), Offer(operation, model, schema, missing))
    return list(offers.values())


def described(flow: Workflow, known: Known, loras: Sequence[str]) -> dict[str, Any]:
    """A workflow's parameters as a JSON Schema, with the values that this installation has; its inputs beside them."""
    return {
        "type": "object", "title": flow.name, "description": flow.description, "additionalProperties": False,
        "properties": {name: _schema(flow, one, known, loras) for name, one in flow.parameters.items()},
        "required": [name for name, one in flow.parameters.items() if one.required and name != flow.main],
        "x-workflow": flow.id,
        "x-inputs": {name: {"media": one.media, "required": one.required, "description": one.description}
                     for name, one in flow.inputs.items()},
    }


def _schema(flow: Workflow, one: WorkflowParameter, known: Known, loras: Sequence[str]) -> dict[str, Any]:
    kind = {"text": "string", "choice": "string", "model": "string", "loras": "array"}.get(one.type, one.type)
    schema: dict[str, Any] = {"type": kind}
    if one.description:
        schema["description"] = one.description
    if one.default is not None:
        schema["default"] = one.default
    for key, value in (("minimum", one.minimum), ("maximum", one.maximum), ("multipleOf", one.multiple_of)):
        if value is not None:
            schema[key] = value
    listed = one.choices or next((found for node, key in one.at if (found := _listed(flow, node, key, known))), ())
    if one.type == "loras":
        schema["items"] = {"type": ["string", "object"], "examples": list(loras[:500])}
    elif listed and kind == "string":
        schema["enum"] = list(listed[:500])
    elif kind == "string":
        schema["maxLength"] = one.longest
    return schema


def _main(flow: Workflow) -> WorkflowParameter:
    assert flow.main is not None
    return flow.parameters[flow.main]


def _asked_for(flow: Workflow, task: Task) -> str:
    """The main model, when it is named among the parameters."""
    value = task.parameters.get(flow.main) if flow.main is not None else None
    return value if isinstance(value, str) else ""


def _usual(flow: Workflow, known: Known) -> str:
    """The file of a workflow when nobody has named one: the one that it was made with, else the first that suits."""
    made_with = _main(flow).default if flow.main is not None else None
    return made_with if isinstance(made_with, str) and made_with else next(_suited(flow, known), "")


def _suited(flow: Workflow, known: Known) -> Iterator[str]:
    """The files that may be taken for a workflow when nobody has named one."""
    return (file for file in _files(flow, known) if _main(flow).suits(file))


def _files(flow: Workflow, known: Known) -> Iterator[str]:
    if flow.main is not None:
        node, key = _main(flow).at[0]
        yield from _listed(flow, node, key, known) or ()


def _listed(flow: Workflow, node: str, key: str, known: Known) -> tuple[str, ...] | None:
    return choices(known.get(flow.graph[node].class_type), key, flow.graph[node].inputs)
