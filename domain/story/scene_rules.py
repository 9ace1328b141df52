"""What makes a scene document valid, and what is odd about a valid one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from domain.bounded_json import json_size
from domain.story.scene_model import HEADER_BYTES, NODE_BYTES, SCENE_BYTES, SceneDocument

Document = Mapping[str, Any]
"""A scene document, or a node, as JSON data that fits the schema."""

SHOWN: Final = 200
"""Most errors, and most warnings, that one answer lists."""


class Problem(NamedTuple):
    """Something about a document: where (``nodes/3/choices/0/target``), what, and a stable code."""

    path: str
    message: str
    code: str

    def shown(self) -> dict[str, str]:
        return {"path": self.path, "message": self.message, "code": self.code}


def address(choice: Document) -> str:
    """By what a choice is picked: its id, else its target."""
    return str(choice.get("id") or choice["target"])


def judge(document: Any) -> dict[str, Any]:
    """``{"valid", "errors": [{path, message, code}], "warnings": […]}`` for anything that may be a scene document.

    A document without an id is judged as well: it gets one when it is created.
    """
    if isinstance(document, Mapping) and "id" not in document:
        document = {**document, "id": "unnamed"}
    try:
        SceneDocument.model_validate(document)
    except ValidationError as error:
        return {"valid": False, "errors": [one.shown() for one in schema_problems(error)][:SHOWN], "warnings": []}
    errors = [one.shown() for one in graph_problems(document)]
    warned = [] if errors else [one.shown() for one in warnings(document)]
    return {"valid": not errors, "errors": errors[:SHOWN], "warnings": warned[:SHOWN]}


def schema_problems(error: ValidationError) -> list[Problem]:
    """What a model refused, with paths like ``nodes/3/text``."""
    found = []
    for one in error.errors(include_url=False, include_context=False, include_input=False):
        path = "/".join(str(part) for part in one["loc"])
        found.append(Problem(path, one["msg"].removeprefix("Value error, "), one["type"]))
    return found


def graph_problems(document: Document) -> list[Problem]:
    """Errors that no single field shows: doubled ids, a start or a target that is missing, what is too large."""
    nodes: Sequence[Document] = document["nodes"]
    found = []
    first: dict[str, int] = {}
    for index, node in enumerate(nodes):
        if first.setdefault(node["id"], index) != index:
            message = f"Node id {node['id']!r} is used by nodes/{first[node['id']]} already."
            found.append(Problem(f"nodes/{index}/id", message, "duplicate_node"))
    if document["start"] not in first:
        found.append(Problem("start", f"There is no node {document['start']!r} to start at.", "missing_start"))
    for index, node in enumerate(nodes):
        found += node_problems(node, first, f"nodes/{index}")
    found += header_problems({name: value for name, value in document.items() if name != "nodes"})
    if json_size(document) > SCENE_BYTES:
        found.append(Problem("", f"The scene is larger than {SCENE_BYTES} bytes.", "too_large"))
    return found


def header_problems(header: Document) -> list[Problem]:
    """Errors of everything of a scene besides its nodes."""
    if json_size(header) <= HEADER_BYTES:
        return []
    return [Problem("", f"The scene without its nodes is larger than {HEADER_BYTES} bytes.", "too_large")]


def node_problems(node: Document, known: Iterable[str], path: str) -> list[Problem]:
    """Errors of one node among nodes of the ``known`` ids (a container with a quick ``in``)."""
    found = []
    choices: Sequence[Document] = node.get("choices", ())
    for index, choice in enumerate(choices):
        if choice["target"] not in known:
            message = f"There is no node {choice['target']!r} for this choice to lead to."
            found.append(Problem(f"{path}/choices/{index}/target", message, "missing_target"))
    for kind in ("choices", "directives"):
        for index in _doubled(node.get(kind, ())):
            message = f"The id {node[kind][index]['id']!r} is used twice among the {kind} of {node['id']!r}."
            found.append(Problem(f"{path}/{kind}/{index}/id", message, f"duplicate_{kind[:-1]}"))
    if json_size(node) > NODE_BYTES:
        found.append(Problem(path, f"Node {node['id']!r} is larger than {NODE_BYTES} bytes.", "too_large"))
    return found


def _doubled(items: Sequence[Document]) -> Iterator[int]:
    seen: set[str] = set()
    for index, item in enumerate(items):
        if (id_ := item.get("id")) is None:
            continue
        if id_ in seen:
            yield index
        seen.add(id_)


def warnings(document: Document) -> list[Problem]:
    """What is probably not meant: nodes that nothing leads to, dead ends, choices that can never be taken."""
    nodes: Sequence[Document] = document["nodes"]
    reached = _reached(document)
    found = []
    for index, node in enumerate(nodes):
        path, id_ = f"nodes/{index}", node["id"]
        choices: Sequence[Document] = node.get("choices", ())
        open_ = [choice for choice in choices if choice.get("weight", 1) > 0]
        if id_ not in reached:
            found.append(Problem(path, f"Nothing leads from the start to node {id_!r}.", "unreachable"))
        if not open_ and not node.get("end", False):
            message = f"Node {id_!r} is a dead end: give it a choice, or say `end`."
            found.append(Problem(path, message, "dead_end"))
        if choices and node.get("end", False):
            found.append(Problem(path, f"Node {id_!r} is an end and has choices all the same.", "end_with_choices"))
        found += _odd_choices(node, path)
    return found


def _odd_choices(node: Document, path: str) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, choice in enumerate(node.get("choices", ())):
        here = f"{path}/choices/{index}"
        if choice.get("weight", 1) == 0:
            yield Problem(f"{here}/weight", "A choice of weight 0 is never offered.", "never_offered")
        if (name := address(choice)) in seen:
            message = f"Another choice of this node is addressed as {name!r} too: give each an id."
            yield Problem(here, message, "ambiguous_choice")
        seen.add(name)
        for number, condition in enumerate(choice.get("conditions", ())):
            if condition["operator"] in ("gt", "gte", "lt", "lte") and not _numeric(condition["value"]):
                message = f"{condition['operator']} compares numbers; with this value it is never true."
                yield Problem(f"{here}/conditions/{number}/value", message, "never_true")


def _numeric(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _reached(document: Document) -> set[str]:
    """Ids of the nodes that choices of a weight above 0 lead to from the start, whatever their conditions."""
    targets = {
        node["id"]: [choice["target"] for choice in node.get("choices", ()) if choice.get("weight", 1) > 0]
        for node in document["nodes"]
    }
    reached = {document["start"]}
    pending = [document["start"]]
    while pending:
        for target in targets.get(pending.pop(), ()):
            if target not in reached:
                reached.add(target)
                pending.append(target)
    return reached
