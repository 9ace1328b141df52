"""From a workflow and a task to the graph that ComfyUI runs: values checked, files named, LoRAs chained."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID, uuid5

from adapters.engines.local_comfy.workflows import Chain, Workflow, WorkflowParameter, linked
from domain.ports.engines import EngineError
from domain.studio.fault import fault
from domain.values import Json

LORAS_LIMIT: Final = 16
"""Most LoRAs of one graph."""

RUNS: Final = UUID("5d9c1f0e-6f0a-5b0e-9b53-2f7f6d0c7a41")
"""Namespace of the ids that runs have at ComfyUI."""

Graph = dict[str, dict[str, Any]]


def run_of(attempt: str) -> str:
    """What ComfyUI calls the run of an attempt. Newer servers take a UUID in small letters with hyphens and nothing
    else, older ones any text."""
    return str(uuid5(RUNS, attempt))


def filled(flow: Workflow, given: Mapping[str, Json], model: str) -> dict[str, Json]:
    """Every parameter of a workflow with its value: what was given, the model, else the default.

    Raises ``EngineError``: what is unknown, missing, null (trap 15: ComfyUI takes no null) or not possible.
    """
    offered = dict(given)
    if flow.main is not None and model:
        offered[flow.main] = model
    if unknown := sorted(offered.keys() - flow.parameters.keys() - {"seed"}):  # a seed is given to everything
        raise EngineError(fault("CONTRACT_MISMATCH", f"{flow.name} takes no {unknown[0]}.", fields=unknown[:20],
                                takes=sorted(flow.parameters)))
    values: dict[str, Json] = {}
    for name, parameter in flow.parameters.items():
        value = offered.get(name)
        if value is None:
            value = parameter.default
        if value is None and parameter.type == "loras":
            value = []
        if value is None or (parameter.required and value == ""):
            raise EngineError(fault("MISSING_REQUIRED_FIELD", f"{flow.name} needs {name}.", field=name))
        values[name] = _checked(name, parameter, value)
    return values


def build(flow: Workflow, values: Mapping[str, Json], files: Mapping[str, str], prefix: str) -> Graph:
    """The graph. ``files`` are the names that ComfyUI gave to the inputs; ``prefix`` begins the names of the results.

    The prefix is unique per attempt: an output node is then never answered from ComfyUI's cache with the name of an
    older file, which may be gone (trap 10).
    """
    graph: Graph = {
        id_: {"class_type": node.class_type, "inputs": copy.deepcopy(node.inputs)} for id_, node in flow.graph.items()
    }
    loras: list[Any] = []
    for name, parameter in flow.parameters.items():
        if parameter.type == "loras":
            loras += values[name] if isinstance(values[name], list) else []  # type: ignore[arg-type]
        for node, key in parameter.at:
            graph[node]["inputs"][key] = values[name]
    for name, one in flow.inputs.items():
        for node, key in one.at:
            if name in files:
                graph[node]["inputs"][key] = files[name]
    for node in flow.outputs:
        graph[node]["inputs"]["filename_prefix"] = prefix
    if flow.chain is not None:
        _chain(graph, flow.chain, loras)
        _say_words(graph, flow, loras)
    return graph


def _chain(graph: Graph, chain: Chain, loras: list[Any]) -> None:
    model, clip = list(chain.model), None if chain.clip is None else list(chain.clip)
    takers = [(node, key, linked(value)) for node, one in graph.items() for key, value in one["inputs"].items()]
    for number, lora in enumerate(loras, start=1):
        node = f"lora-{number}"
        inputs: dict[str, Any] = {"model": model, "lora_name": lora["name"], "strength_model": lora["strength"]}
        if clip is not None:
            inputs |= {"clip": clip, "strength_clip": lora["clip_strength"]}
        graph[node] = {"class_type": chain.class_type, "inputs": inputs}
        model, clip = [node, 0], None if clip is None else [node, 1]
    for taker, key, link in takers:
        if link == chain.model:
            graph[taker]["inputs"][key] = model
        elif clip is not None and link == chain.clip:
            graph[taker]["inputs"][key] = clip


def _say_words(graph: Graph, flow: Workflow, loras: list[Any]) -> None:
    """Puts the words that wake a LoRA (a character's name, mostly) before the prompt, unless they are in it."""
    prompt = flow.parameters.get("prompt")
    for node, key in () if prompt is None else prompt.at:
        said = str(graph[node]["inputs"][key])
        words = [lora["words"] for lora in loras if lora["words"] and lora["words"].lower() not in said.lower()]
        graph[node]["inputs"][key] = ", ".join([*dict.fromkeys(words), said] if said else dict.fromkeys(words))


def _checked(name: str, parameter: WorkflowParameter, value: Json) -> Json:
    match parameter.type:
        case "text" | "model":
            fits = isinstance(value, str)
        case "choice":
            fits = isinstance(value, str)
        case "integer":
            fits = isinstance(value, int) and not isinstance(value, bool)
        case "number":
            fits = isinstance(value, int | float) and not isinstance(value, bool)
        case "boolean":
            fits = isinstance(value, bool)
        case "loras":
            return [_lora(name, one) for one in _list(name, value)]
    if not fits:
        raise EngineError(fault("INVALID_FIELD_TYPE", f"{name} must be of type {parameter.type}.", field=name))
    if isinstance(value, str):
        if len(value) > parameter.longest:
            raise _impossible(name, f"must be no longer than {parameter.longest} characters")
        if parameter.choices and value not in parameter.choices:
            raise _impossible(name, f"must be one of {', '.join(parameter.choices)}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if value != value or (parameter.minimum is not None and value < parameter.minimum):
            raise _impossible(name, f"must be at least {parameter.minimum}")
        if parameter.maximum is not None and value > parameter.maximum:
            raise _impossible(name, f"must be at most {parameter.maximum}")
        if parameter.multiple_of is not None and value % parameter.multiple_of:
            raise _impossible(name, f"must be a multiple of {parameter.multiple_of}")
    return value


def _list(name: str, value: Json) -> list[Any]:
    if not isinstance(value, list):
        raise EngineError(fault("INVALID_FIELD_TYPE", f"{name} must be a list.", field=name))
    if len(value) > LORAS_LIMIT:
        raise _impossible(name, f"must name at most {LORAS_LIMIT}")
    return value


def _lora(name: str, given: Any) -> dict[str, Json]:
    """One LoRA: a file name, or an object with its strength, its character and the words that wake it."""
    one = {"name": given} if isinstance(given, str) else given
    known = {"name", "strength", "clip_strength", "character", "words"}
    if not isinstance(one, dict) or not isinstance(one.get("name"), str) or not one["name"] or one.keys() - known:
        raise EngineError(fault("INVALID_FIELD_TYPE", f"{name} must hold names of LoRAs, or objects with name, "
                                "strength, clip_strength, character and words.", field=name))
    strength = one.get("strength", 1.0)
    clip = one.get("clip_strength", strength)
    for number in (strength, clip):
        if isinstance(number, bool) or not isinstance(number, int | float) or not -10 <= number <= 10:
            raise _impossible(name, "must hold strengths from -10 to 10")
    texts = {key: one.get(key) or "" for key in ("character", "words")}
    if any(not isinstance(text, str) or len(text) > 500 for text in texts.values()) or len(one["name"]) > 500:
        raise _impossible(name, "must hold texts of at most 500 characters")
    return {"name": one["name"], "strength": strength, "clip_strength": clip, **texts}


def _impossible(name: str, sentence: str) -> EngineError:
    return EngineError(fault("INVALID_FIELD_VALUE", f"{name} {sentence}.", field=name))
