"""From what ComfyUI's editor saves to the graph that its server runs: links followed, settings given their names.

The editor keeps a node's settings as a list without names; which is which only the server's ``/object_info`` tells. So
this needs a server that knows the nodes, and it refuses in a sentence whatever it would have to guess.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from adapters.engines.local_comfy.declaring import BRANCHING, Declared, declarations
from adapters.engines.local_comfy.workflows import NotAWorkflow

Graph = dict[str, dict[str, Any]]
Known = Mapping[str, Mapping[str, Any] | None]

INSTEAD: Final = "Export it in ComfyUI with “Export (API)” and import that file."
NOTES: Final = frozenset({"Note", "MarkdownNote"})
MUTED: Final = 2
BYPASSED: Final = 4
CONTROLS: Final = frozenset({"fixed", "randomize", "increment", "decrement"})
HOPS: Final = 200
"""Most reroutes one after another."""

_SUBGRAPH = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")
_SETTINGS: Final = frozenset({"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", BRANCHING})
_REPEATED: Final = {"COMFY_AUTOGROW_V3": "input", "COMFY_DYNAMICGROUP_V3": ""}
"""Inputs that are as many as somebody has added -> where they say what each is like."""
_LISTED: Final = {"INT": (int,), "FLOAT": (int, float), "STRING": (str,), "BOOLEAN": (bool,)}


def saved_by_editor(document: Any) -> bool:
    """Whether a document is what the editor saves, and not a graph in API format."""
    return isinstance(document, dict) and isinstance(document.get("nodes"), list)


def classes_of(document: Mapping[str, Any]) -> list[str]:
    """The node classes that have to be known for the conversion."""
    with _shaped():
        return list(dict.fromkeys(str(node["type"]) for node in _nodes(document).values() if _runs(node)))


def graph_of(document: Mapping[str, Any], known: Known) -> Graph:
    """The graph in API format. Raises ``NotAWorkflow``."""
    with _shaped():
        nodes, links = _nodes(document), _links(document)
        if absent := [class_ for class_ in classes_of(document) if known.get(class_) is None]:
            raise NotAWorkflow(f"This ComfyUI has no node {', '.join(absent[:5])}: install it, or: {INSTEAD}")
        return {
            id_: {"class_type": node["type"], "inputs": _inputs(id_, node, nodes, links, known[node["type"]] or {}),
                  "_meta": {"title": str(node.get("title") or node["type"])[:200]}}
            for id_, node in nodes.items() if _runs(node)
        }


@contextmanager
def _shaped() -> Iterator[None]:
    """A number where a list should be, a list where a name should be: whatever is not made as the editor makes it."""
    try:
        yield
    except (TypeError, AttributeError, LookupError) as error:
        raise NotAWorkflow(f"It is not made as the editor saves workflows ({type(error).__name__}). {INSTEAD}"
                           ) from error


def _nodes(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for node in document["nodes"]:
        if not isinstance(node, dict) or not isinstance(node.get("id"), int | str) or not isinstance(
                node.get("type"), str):
            raise NotAWorkflow(f"It holds a node without an id or a type. {INSTEAD}")
        if _SUBGRAPH.match(node["type"]) or node["type"].startswith("workflow>"):
            raise NotAWorkflow(f"It holds a subgraph, which only the editor can unfold. {INSTEAD}")
        found[str(node["id"])] = node
    return found


def _links(document: Mapping[str, Any]) -> dict[Any, tuple[str, int]]:
    """Id of a link -> the node and the number of the output where it begins. Older files have lists, newer objects."""
    found = {}
    for link in document.get("links") or []:
        if isinstance(link, dict):
            link = [link.get("id"), link.get("origin_id"), link.get("origin_slot")]
        if not isinstance(link, list) or len(link) < 3 or not isinstance(link[0], int) or type(link[2]) is not int:
            raise NotAWorkflow(f"It holds a link that leads nowhere. {INSTEAD}")
        found[link[0]] = (str(link[1]), link[2])
    return found


def _runs(node: Mapping[str, Any]) -> bool:
    virtual = node["type"] in NOTES or node["type"] in ("Reroute", "PrimitiveNode")
    return not virtual and node.get("mode") not in (MUTED, BYPASSED)


def _inputs(
    id_: str, node: Mapping[str, Any], nodes: Mapping[str, Any], links: Mapping[Any, tuple[str, int]],
    description: Mapping[str, Any],
) -> dict[str, Any]:
    inputs: dict[str, Any] = dict(_settings(id_, node, description))
    for socket in node.get("inputs") or []:
        if not isinstance(socket, dict) or socket.get("link") is None or not isinstance(socket.get("name"), str):
            continue
        found = _source(socket["link"], nodes, links)
        if found is not None:  # else what it came from is switched off, and the setting holds if there is one
            inputs[socket["name"]] = found[0] if len(found) == 1 else list(found)
    return {name: value for name, value in inputs.items() if value is not None}


def _source(link: Any, nodes: Mapping[str, Any], links: Mapping[Any, tuple[str, int]]) -> tuple[Any, ...] | None:
    """Where a link really begins: (node, output), or (value,) of a primitive; nothing behind a node that is off."""
    for _ in range(HOPS):
        begin = links.get(link)
        node = nodes.get(begin[0]) if begin is not None else None
        if begin is None or node is None:
            return None
        if node["type"] == "PrimitiveNode":
            values = node.get("widgets_values")
            return (values[0],) if isinstance(values, list) and values else None
        if _runs(node):
            return begin
        if node.get("mode") == MUTED or (passed := _passed(node, begin[1])) is None:
            return None
        link = passed
    raise NotAWorkflow(f"Its reroutes run in a circle. {INSTEAD}")


def _passed(node: Mapping[str, Any], slot: int) -> Any:
    """The link that a reroute or a bypassed node hands on: of the same kind as its output."""
    sockets = [one for one in node.get("inputs") or [] if isinstance(one, dict)]
    outputs = node.get("outputs") or []
    kind = outputs[slot].get("type") if slot < len(outputs) and isinstance(outputs[slot], dict) else None
    if node["type"] == "Reroute":
        return sockets[0].get("link") if sockets else None
    same = [one for one in sockets[slot : slot + 1] if one.get("type") == kind]
    return next((one.get("link") for one in [*same, *sockets] if one.get("type") == kind), None)


def _settings(id_: str, node: Mapping[str, Any], description: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The settings of a node by name, in the order in which the server declares them."""
    values = node.get("widgets_values")
    pending = [one for one in declarations(description) if _set(one)]
    if isinstance(values, dict):
        while pending:
            one = pending.pop(0)
            if values.get(one.name) is not None:
                yield one.name, _wrapped(values[one.name])
                pending = [*filter(_set, one.beneath(values[one.name])), *pending]
        return
    left = list(values) if isinstance(values, list) else []
    while pending and left:
        one, value = pending.pop(0), left.pop(0)
        if _repeated(one):
            raise NotAWorkflow(f"Node {id_} ({node['type']}) has settings that repeat, which only the editor can tell "
                               f"apart. {INSTEAD}")
        if not _fits(one, value):
            raise NotAWorkflow(f"Node {id_} ({node['type']}) was saved with other settings than this ComfyUI knows: "
                               f"{one.name} cannot be {str(value)[:60]!r}. {INSTEAD}")
        yield one.name, _wrapped(value)
        _skip(one, left)
        pending = [*filter(_set, one.beneath(value)), *pending]
    if any(value is not None for value in left) and len(left) > 2:
        raise NotAWorkflow(f"Node {id_} ({node['type']}) has more settings than this ComfyUI knows. {INSTEAD}")


def _skip(one: Declared, left: list[Any]) -> None:
    """Takes away what the editor keeps behind a setting for itself."""
    controlled = one.options.get("control_after_generate") or (
        one.kind == "INT" and one.name.rpartition(".")[2] in ("seed", "noise_seed"))
    uploaded = any(one.options.get(f"{media}_upload") for media in ("image", "video", "audio"))
    if left and controlled and left[0] in CONTROLS:
        left.pop(0)
        if left and one.kind != "INT" and left[0] == "":  # choices have a filter besides
            left.pop(0)
    elif left and uploaded and left[0] in ("image", "video", "audio", ""):
        left.pop(0)


def _set(one: Declared) -> bool:
    """Whether an input is set in the node itself, and not only by a link."""
    known = isinstance(one.kind, list) or (isinstance(one.kind, str) and one.kind in _SETTINGS) or bool(
        one.options.get("socketless"))
    return (known or _repeated(one)) and not one.options.get("forceInput")


def _repeated(one: Declared) -> bool:
    """Whether there are several settings for one that is declared. Sockets may repeat: they bring their names along."""
    if not isinstance(one.kind, str) or one.kind not in _REPEATED:
        return False
    place, template = _REPEATED[one.kind], one.options.get("template")
    told = template.get(place) if place and isinstance(template, dict) else template
    return any(_set(each) for each in declarations({"input": told}))


def _fits(one: Declared, value: Any) -> bool:
    if isinstance(one.kind, list) or one.kind in ("COMBO", BRANCHING):
        several = isinstance(value, list) and bool(one.options.get("multiselect"))
        return isinstance(value, str | int | float | bool) or value is None or several
    if one.kind in ("INT", "FLOAT") and isinstance(value, bool):
        return False
    return not isinstance(one.kind, str) or one.kind not in _LISTED or isinstance(value, _LISTED[one.kind])


def _wrapped(value: Any) -> Any:
    """A list in a graph would be a link."""
    return {"__value__": value} if isinstance(value, list) else value
