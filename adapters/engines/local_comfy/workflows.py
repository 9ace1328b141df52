"""Workflows: graphs in ComfyUI's API format with typed places to fill in. Ours lie beside as JSON, users bring theirs.

A workflow says which operation it is, what it must be told (``parameters``), which files it works on (``inputs``),
where in the graph each of those goes, and which nodes write its results. LoRAs are a chain: one loader node for each,
put between what gives model and text encoder and everything that takes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, get_args

import orjson
from pydantic import Field, ValidationError, field_validator, model_validator

from domain.bounded_json import BoundedJson, BoundedObject, Number, check_json
from domain.ports.engines import Operation
from domain.studio.job_values import WORKFLOW_BYTES
from domain.values import Value

NODES_LIMIT: Final = 500
"""Most nodes of one graph."""

FILES_LIMIT: Final = 200
"""Most workflows of a folder."""

DOCUMENT_BYTES: Final = WORKFLOW_BYTES
"""Largest workflow document."""

UNFIT_OUTPUTS: Final = frozenset({"SaveImageWebsocket", "PreviewImage", "PreviewAudio", "PreviewVideo"})
"""Nodes whose results nobody can fetch later: they go to a socket or to a folder that is emptied (trap 12)."""

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Place = tuple[str, Annotated[str, Field(min_length=1, max_length=200)]]
"""A node's id, and the name of one of its inputs."""

Type = Literal["text", "integer", "number", "boolean", "choice", "model", "loras"]


class WorkflowParameter(Value):
    """What a workflow must be told, and where it goes. ``folder`` is the kind of file that a ``model`` is.

    One folder holds models of very different kinds: ``like`` and ``unlike`` are parts of the names of those that suit,
    and do not. They guide what is taken and offered; whoever names a file gets that file.
    """

    type: Type
    at: Annotated[tuple[Place, ...], Field(max_length=20)] = ()
    description: Annotated[str, Field(max_length=500)] = ""
    required: bool = False
    default: BoundedJson = None
    minimum: Number | None = None
    maximum: Number | None = None
    multiple_of: Annotated[int, Field(ge=1, le=1024)] | None = None
    longest: Annotated[int, Field(ge=1, le=20_000)] = 8000
    choices: Annotated[tuple[str, ...], Field(max_length=200)] = ()
    folder: Annotated[str, Field(max_length=100)] = ""
    like: Annotated[tuple[str, ...], Field(max_length=20)] = ()
    unlike: Annotated[tuple[str, ...], Field(max_length=20)] = ()

    def suits(self, file: str) -> bool:
        """Whether a file may be taken that nobody has named."""
        name = file.lower()
        return (not self.like or any(part in name for part in self.like)) and not any(
            part in name for part in self.unlike)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.type == "loras") == bool(self.at):
            raise ValueError("says where it goes by `at`; LoRAs alone go where `chain` says")
        if self.type == "model" and not self.folder:
            raise ValueError("needs the `folder` that its model lies in")
        return self


class WorkflowInput(Value):
    """A file that a workflow works on, and the nodes that load it."""

    at: Annotated[tuple[Place, ...], Field(min_length=1, max_length=20)]
    media: Literal["image", "video", "audio"] = "image"
    description: Annotated[str, Field(max_length=500)] = ""
    required: bool = True


class Chain(Value):
    """Where LoRA loaders are put: between the outputs ``model`` and ``clip`` and everything that takes them."""

    model: tuple[str, Annotated[int, Field(ge=0, le=20)]]
    clip: tuple[str, Annotated[int, Field(ge=0, le=20)]] | None = None
    class_type: Literal["LoraLoader", "LoraLoaderModelOnly"] = "LoraLoader"


class Node(Value):
    """One node in API format."""

    class_type: Annotated[str, Field(min_length=1, max_length=200)]
    inputs: BoundedObject = {}
    meta: BoundedObject = Field(default={}, alias="_meta")

    def links(self) -> Iterator[tuple[str, str]]:
        """(name of the input, id of the node it comes from)."""
        for name, value in self.inputs.items():
            if (link := linked(value)) is not None:
                yield name, link[0]


class Workflow(Value):
    """A whole workflow. ``main`` names the parameter that a task's model fills. ``media_type`` is what comes out."""

    id: Name
    name: Annotated[str, Field(min_length=1, max_length=200)]
    description: Annotated[str, Field(max_length=2000)] = ""
    operation: str
    main: Name | None = None
    parameters: Annotated[dict[Name, WorkflowParameter], Field(max_length=100)] = {}
    inputs: Annotated[dict[Name, WorkflowInput], Field(max_length=20)] = {}
    chain: Chain | None = None
    outputs: Annotated[tuple[str, ...], Field(min_length=1, max_length=20)]
    graph: Annotated[dict[str, Node], Field(min_length=1, max_length=NODES_LIMIT)]

    @field_validator("operation")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in get_args(Operation):
            raise ValueError(f"is not an operation; they are {', '.join(get_args(Operation))}")
        return value

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        if problems := [*_problems(self)]:
            raise ValueError("; ".join(problems[:20]))
        return self


class NotAWorkflow(ValueError):
    """A document that is no workflow; the sentence says why."""


def read_workflow(content: bytes | str) -> Workflow:
    """A workflow from its JSON. Raises ``NotAWorkflow``."""
    if len(content) > DOCUMENT_BYTES:
        raise NotAWorkflow(f"It is larger than {DOCUMENT_BYTES} bytes.")
    try:
        document = orjson.loads(content)
        check_json(document, size=DOCUMENT_BYTES)
    except (orjson.JSONDecodeError, ValueError) as error:
        raise NotAWorkflow(f"It is not JSON that can be used: {str(error)[:200]}.") from None
    if not isinstance(document, dict):
        raise NotAWorkflow("It is not an object.")
    if isinstance(document.get("nodes"), list) or (isinstance(document.get("graph", {}), dict) and isinstance(
        document.get("graph", {}).get("nodes"), list
    )):
        raise NotAWorkflow("It was saved for ComfyUI's editor: export it with “Export (API)” and use that as `graph`.")
    try:
        return Workflow.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "The workflow"
        raise NotAWorkflow(f"{place}: {first['msg'].removeprefix('Value error, ')}.") from None


class WorkflowFolder:
    """A folder of users' own workflows. Files are read again when they change; one that is broken says why and harms
    nobody else."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._read: dict[str, tuple[tuple[int, int], Workflow | NotAWorkflow]] = {}

    def read(self) -> tuple[list[Workflow], dict[str, str]]:
        """(workflows by file name, file -> why it is none). Blocks for as long as the disk does."""
        found = sorted(self._place.glob("*.json"))[:FILES_LIMIT] if self._place.is_dir() else []
        self._read = {path.name: self._one(path) for path in found}
        flows: dict[str, Workflow] = {}
        problems: dict[str, str] = {}
        for name, (_, one) in self._read.items():
            if isinstance(one, NotAWorkflow):
                problems[name] = str(one)
            elif one.id in flows:
                problems[name] = f"Another file has the id {one.id} already."
            else:
                flows[one.id] = one
        return list(flows.values()), problems

    def _one(self, path: Path) -> tuple[tuple[int, int], Workflow | NotAWorkflow]:
        try:
            stat = path.stat()
            mark = (stat.st_mtime_ns, stat.st_size)
            if (known := self._read.get(path.name)) is not None and known[0] == mark:
                return known
            if stat.st_size > DOCUMENT_BYTES or not path.is_file():
                raise NotAWorkflow(f"It is no file of at most {DOCUMENT_BYTES} bytes.")
            return mark, read_workflow(path.read_bytes())
        except NotAWorkflow as error:
            return mark, error
        except OSError as error:
            return (0, 0), NotAWorkflow(f"It cannot be read: {error.strerror}.")


@cache
def built_in() -> tuple[Workflow, ...]:
    """Our own workflows, the ones to be preferred first."""
    folder = files("adapters.engines.local_comfy") / "workflows"
    order = orjson.loads((folder / "order.json").read_bytes())
    return tuple(read_workflow((folder / f"{name}.json").read_bytes()) for name in order)


def linked(value: Any) -> tuple[str, int] | None:
    """The link that an input's value is: [id of a node, number of its output]."""
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and type(value[1]) is int:
        return value[0], value[1]
    return None


def titles(graph: Mapping[str, Any]) -> dict[str, str]:
    """Id of a node -> what people call it, as words: ``KSampler``, ``Checkpoint Loader Simple``."""
    return {id_: re.sub(r"(?<=[a-z])(?=[A-Z])", " ", str(node["class_type"]))[:60] for id_, node in graph.items()}


def _problems(flow: Workflow) -> Iterator[str]:
    for id_, node in flow.graph.items():
        for name, source in node.links():
            if source not in flow.graph:
                yield f"node {id_} takes {name} from node {source}, which is not there"
    if (round_trip := _cycle(flow.graph)) is not None:
        yield f"the graph runs in a circle at node {round_trip}"
    places = [(name, place) for name, parameter in flow.parameters.items() for place in parameter.at]
    places += [(name, place) for name, one in flow.inputs.items() for place in one.at]
    for name, (node_id, input_name) in places:
        if node_id not in flow.graph or input_name not in flow.graph[node_id].inputs:
            yield f"{name} goes to {input_name} of node {node_id}, which is not there"
        elif linked(flow.graph[node_id].inputs[input_name]) is not None:
            yield f"{name} goes to {input_name} of node {node_id}, which takes it from another node"
    if both := flow.parameters.keys() & flow.inputs.keys():
        yield f"{sorted(both)[0]} is a parameter and an input"
    for id_ in flow.outputs:
        if id_ not in flow.graph:
            yield f"output node {id_} is not there"
        elif flow.graph[id_].class_type in UNFIT_OUTPUTS:
            yield f"output node {id_} ({flow.graph[id_].class_type}) stores nothing that could be fetched"
        elif "filename_prefix" not in flow.graph[id_].inputs:
            yield f"output node {id_} has no filename_prefix, so that its files could not be told apart"
    if flow.main is not None and (flow.main not in flow.parameters or flow.parameters[flow.main].type != "model"):
        yield f"main names {flow.main}, which is no parameter of type model"
    lists_loras = any(one.type == "loras" for one in flow.parameters.values())
    if lists_loras != (flow.chain is not None):
        yield "a parameter of type loras and a chain go together"
    ends = [] if flow.chain is None else [end for end in (flow.chain.model, flow.chain.clip) if end is not None]
    for source, _ in ends:
        if source not in flow.graph:
            yield f"the chain begins at node {source}, which is not there"
    if flow.chain is not None and (flow.chain.class_type == "LoraLoader") != (flow.chain.clip is not None):
        yield "LoraLoader needs model and clip, LoraLoaderModelOnly the model alone"


def _cycle(graph: Mapping[str, Node]) -> str | None:
    """A node that a circle leads through: ComfyUI refuses those without saying where."""
    waiting = {id_: {source for _, source in node.links() if source in graph} for id_, node in graph.items()}
    while ready := [id_ for id_, sources in waiting.items() if not sources]:
        for id_ in ready:
            del waiting[id_]
        for sources in waiting.values():
            sources.difference_update(ready)
    return next(iter(sorted(waiting)), None)


def accepts(flow: Workflow, inputs: Sequence[str]) -> bool:
    """Whether a workflow can work on exactly these inputs."""
    needed = {name for name, one in flow.inputs.items() if one.required}
    return needed <= set(inputs) <= set(flow.inputs)
