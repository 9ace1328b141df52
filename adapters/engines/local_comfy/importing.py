"""A graph of somebody's own becomes a workflow: what it must be told is found, what it stores is told apart per run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple

import orjson

from adapters.engines.local_comfy.declaring import choices, declared
from adapters.engines.local_comfy.editor import Graph, Known, saved_by_editor
from adapters.engines.local_comfy.finding import Found, found_in, slug, title_of, typed
from adapters.engines.local_comfy.python_json import loads
from adapters.engines.local_comfy.workflows import (
    DOCUMENT_BYTES,
    NODES_LIMIT,
    UNFIT_OUTPUTS,
    NotAWorkflow,
    Workflow,
    linked,
    read_workflow,
)
from domain.errors import Invalid
from domain.exchange.png_text import png_texts
from domain.ports.engines import Operation
from domain.ports.workflows import Taking

PICTURE_BYTES: Final = 64 * 2**20
"""Largest picture that a graph is looked for in."""

PARAMETERS_LIMIT: Final = 80
"""Most parameters that a graph gets; what goes beyond keeps its value."""

MAIN: Final = frozenset({"checkpoints", "diffusion_models", "upscale_models"})
"""Folders of the models that matter most."""

RESERVED: Final = frozenset({"character", "expression", "loras", "model", "seed"})
"""Names that mean something else; the seed is added here alone."""

_VIDEO = re.compile(r"SaveVideo|SaveWEBM|VideoCombine", re.I)
_AUDIO = re.compile(r"SaveAudio|PreviewAudio", re.I)
_LIKENESS = re.compile(r"face_?id|instant_?id|pulid|reactor|face_?swap|photomaker|live_?portrait|facerestore", re.I)
_NO_MEDIA = re.compile(r"Save_?(Text|String|Latent|LoRA|GLB|Mesh|Json)|(Checkpoint|Model|CLIP|VAE)_?Save", re.I)
OTHER_KINDS: Final = frozenset({"STRING", "INT", "FLOAT", "BOOLEAN", "LATENT", "MODEL", "CLIP", "VAE", "CONDITIONING",
                                "CLIP_VISION", "LORA_MODEL", "MESH", "VOXEL", "SPLAT"})
"""What flows between nodes and is neither seen nor heard."""

_INT64: Final = 2**63 - 1


class Imported(NamedTuple):
    """The workflow, what it makes, and what people should know of the import."""

    workflow: Workflow
    makes: Literal["image", "video"]
    likeness: bool
    notes: list[str]


def document_of(content: bytes) -> dict[str, Any]:
    """The graph in a file: JSON in either format, or a PNG with the graph that made it. Raises ``NotAWorkflow``."""
    if content[:8] == b"\x89PNG\r\n\x1a\n":
        content = _embedded(content)
    if len(content) > DOCUMENT_BYTES:
        raise NotAWorkflow(f"It is larger than {DOCUMENT_BYTES} bytes.")
    try:
        document = loads(content.removeprefix(b"\xef\xbb\xbf"))
    except ValueError as error:
        raise NotAWorkflow(f"It is not JSON: {str(error)[:200]}.") from None
    if isinstance(document, dict) and isinstance(document.get("prompt"), dict):
        document = document["prompt"]  # what is posted to /prompt
    if not isinstance(document, dict) or not document:
        raise NotAWorkflow("It is no workflow: it should be what ComfyUI's “Export (API)” writes.")
    return document


def _embedded(content: bytes) -> bytes:
    if len(content) > PICTURE_BYTES:
        raise NotAWorkflow(f"The picture is larger than {PICTURE_BYTES} bytes.")
    try:
        # No pixel is unpacked for it: a small picture could hold a gigabyte of them.
        told = {one.keyword: one.data for one in png_texts(content)}
    except Invalid as error:
        raise NotAWorkflow(f"The picture is damaged: {error.message}") from None
    text = told.get("prompt") or told.get("workflow") or b""
    if not text.strip():
        raise NotAWorkflow("The picture holds no workflow: it was not made by ComfyUI, or what it held was taken out.")
    try:
        text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1").encode()  # what the format says, and what hardly anybody writes
    return text


def plain_graph(document: Mapping[str, Any]) -> Graph:
    """A graph in API format, cleaned of what only the editor needs. Raises ``NotAWorkflow``."""
    assert not saved_by_editor(document), "the editor's own format is converted first"
    graph: Graph = {}
    for id_, node in document.items():
        if not isinstance(node, dict) or not isinstance(node.get("class_type"), str) or not isinstance(
                node.get("inputs", {}), dict):
            raise NotAWorkflow(f"{str(id_)[:60]!r} is no node with a class_type: it should be what ComfyUI's "
                               "“Export (API)” writes.")
        graph[str(id_)] = {"class_type": node["class_type"], "_meta": {"title": title_of(node)[:200]},
                           "inputs": {key: value for key, value in node.get("inputs", {}).items() if value is not None}}
    if len(graph) > NODES_LIMIT:
        raise NotAWorkflow(f"It has {len(graph)} nodes; {NODES_LIMIT} is the most.")
    return graph


def imported(graph: Graph, taking: Taking, known: Known) -> Imported:
    """The workflow that a graph is. Raises ``NotAWorkflow``."""
    notes: list[str] = []
    outputs = _outputs(graph, known, notes)
    graph = _needed(graph, outputs, notes)
    found = [*_exposed(graph, taking, known), *found_in(graph, known)]
    settings = _named([one for one in found if one.kind != "file"], notes)
    files = _named([one for one in found if one.kind == "file"], notes, set(settings))
    makes: Literal["image", "video"] = "video" if any(_VIDEO.search(graph[id_]["class_type"]) for id_ in outputs
                                                      ) else "image"
    chain = _chain(graph, notes) if "prompt" in settings or "seed" in settings else None
    parameters = {name: _parameter(several, graph, known) for name, several in settings.items()}
    if chain is not None:
        parameters["loras"] = {"type": "loras", "default": [], "description": "LoRAs, those of characters too."}
    inputs = {name: {"at": [one.place for one in several], "media": several[0].media,
                     "description": several[0].title[:500]} for name, several in files.items()}
    media = [str(one["media"]) for one in inputs.values()]
    document = {
        "id": taking.id, "name": taking.name or taking.id.replace("_", " "), "description": "Imported.",
        "operation": taking.operation or _operation(media, makes, settings, graph), "chain": chain,
        "main": next((name for name, several in settings.items() if several[0].folder in MAIN), None),
        "parameters": parameters, "inputs": inputs, "outputs": outputs, "graph": _emptied(graph, settings),
    }
    try:
        content = orjson.dumps(document)
    except TypeError:  # it is written less deep than it is read
        raise NotAWorkflow("An input of a node is nested too deeply.") from None
    workflow = read_workflow(content)
    likeness = bool(inputs) and any(_LIKENESS.search(node["class_type"]) for node in graph.values())
    return Imported(workflow, makes, likeness, notes)


def _outputs(graph: Graph, known: Known, notes: list[str]) -> list[str]:
    """The nodes that store results. Previews become files where nothing else is stored."""
    def stores(id_: str) -> bool:
        return "filename_prefix" in graph[id_]["inputs"] and graph[id_]["class_type"] not in UNFIT_OUTPUTS

    outputs = []
    for id_ in filter(stores, graph):
        if _seen_or_heard(graph[id_], known):
            outputs.append(id_)
        else:  # a job would fail by it after everything else was made
            notes.append(f"Node {id_} ({graph[id_]['class_type'][:60]}) stores no picture, video or sound: it is left "
                         "out.")
    if not outputs:
        for id_, node in graph.items():
            if node["class_type"] in ("PreviewImage", "SaveImageWebsocket") and "images" in node["inputs"]:
                graph[id_] = {**node, "class_type": "SaveImage",
                              "inputs": {"images": node["inputs"]["images"], "filename_prefix": "comfyvn"}}
                outputs.append(id_)
                notes.append(f"Node {id_} only showed its picture: here it stores it.")
    kept = [id_ for id_ in outputs if not _AUDIO.search(graph[id_]["class_type"])]
    if outputs and not kept:
        raise NotAWorkflow("It stores sound alone; workflows make pictures or videos.")
    if not kept:
        others = [node["class_type"] for node in graph.values() if (known.get(node["class_type"]) or {}).get(
            "output_node")]
        said = f" ({', '.join(others[:3])} has no filename_prefix)" if others else ""
        raise NotAWorkflow(f"It stores nothing{said}: end it with Save Image or Save Video.")
    for id_ in kept:
        if graph[id_]["inputs"].get("save_output") is False:
            graph[id_]["inputs"]["save_output"] = True
            notes.append(f"Node {id_} kept its result for a while only: here it stores it.")
    return kept[:20]


def _seen_or_heard(node: Mapping[str, Any], known: Known) -> bool:
    """Whether what a node stores can be an asset, as far as what flows into it tells."""
    found = [declared(known.get(node["class_type"]), name, node["inputs"])
             for name, value in node["inputs"].items() if linked(value) is not None]
    if not found or None in found:
        return _NO_MEDIA.search(node["class_type"]) is None
    return not {part.strip() for one in found if one is not None for part in str(one.kind).split(",")} <= OTHER_KINDS


def _needed(graph: Graph, outputs: list[str], notes: list[str]) -> Graph:
    """The part of a graph that its results are made by."""
    needed, pending = set(outputs), list(outputs)
    while pending:
        for name, value in graph[pending.pop()]["inputs"].items():
            if (link := linked(value)) is None:
                continue
            if link[0] not in graph:
                raise NotAWorkflow(f"Input {name[:60]} comes from node {link[0][:40]}, which is not there.")
            if link[0] not in needed:
                needed.add(link[0])
                pending.append(link[0])
    if left := [id_ for id_ in graph if id_ not in needed]:
        notes.append(f"Left out, for nothing is made of them: {', '.join(left[:10])}.")
    return {id_: node for id_, node in graph.items() if id_ in needed}


def _exposed(graph: Graph, taking: Taking, known: Known) -> Iterator[Found]:
    for name, where in taking.expose.items():
        id_, _, input_ = where.partition(".")
        node = graph.get(id_)
        value = node["inputs"].get(input_) if node is not None else None
        kind = typed(known.get(node["class_type"]), input_, node["inputs"]) if node is not None else None
        if node is None or kind is None or linked(value) is not None:
            raise NotAWorkflow(f"{where[:80]} is no setting of a node that is used.")
        if re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name) is None or name in RESERVED:
            raise NotAWorkflow(f"A parameter cannot be called {name[:60]!r}.")
        yield Found(name, kind, (id_, input_), value, title=title_of(node), longest=8000)  # type: ignore[arg-type]


def _named(found: list[Found], notes: list[str], taken: set[str] | None = None) -> dict[str, list[Found]]:
    """Every place under a name of its own; places that mean the same and hold the same have one name."""
    named: dict[str, list[Found]] = {}
    done: set[tuple[str, str]] = set()
    for one in found:
        if one.place in done:
            continue
        done.add(one.place)
        name = one.name if one.name == "seed" or one.name not in RESERVED else f"{one.name}_value"
        same = named.get(name)
        if same is not None and one.joins and same[0].kind == one.kind and (
                name == "seed" or same[0].value == one.value):
            same.append(one)
            continue
        if name in named or name in (taken or ()):
            titled = f"{slug(one.title)[:30]}_{one.name}".strip("_")
            name = next(free for free in (titled, *(f"{one.name}_{number}" for number in range(2, 1000)))
                        if free not in named and free not in (taken or ()) and free not in RESERVED)
        if len(named) >= PARAMETERS_LIMIT:
            notes.append(f"{title_of({'class_type': one.title})} {one.name} keeps its value: there are too many.")
            continue
        named[name] = [one]
    return named


def _parameter(several: list[Found], graph: Graph, known: Known) -> dict[str, Any]:
    one = several[0]
    told: dict[str, Any] = {"type": one.kind, "at": [each.place for each in several][:20],
                            "description": f"{one.title[:200]}: {one.place[1][:100]}", "default": one.value}
    if one.kind == "model":
        return {**told, "folder": one.folder, "default": _spelt(one, graph, known)}
    if one.kind in ("integer", "number"):
        if one.name == "seed":
            return {**told, "default": None, "required": True, "minimum": 0, "maximum": _INT64}
        node = graph[one.place[0]]
        found = declared(known.get(node["class_type"]), one.place[1], node["inputs"])
        for key, name in (("min", "minimum"), ("max", "maximum")):
            bound = found.options.get(key) if found is not None else None
            # What was saved is beyond its bounds where another server drew them: then it is left to this one to say no.
            if isinstance(bound, int | float) and abs(bound) < 2**53 and (
                    one.value >= bound if key == "min" else one.value <= bound):
                told[name] = bound
        return told
    if one.kind == "text":
        return {**told, "longest": one.longest or 8000, "required": one.name == "prompt" and not one.value.strip()}
    return told


def _spelt(one: Found, graph: Graph, known: Known) -> str:
    """The file as this installation writes it: folders are separated otherwise on other systems."""
    node = graph[one.place[0]]
    listed = choices(known.get(node["class_type"]), one.place[1], node["inputs"]) or ()
    plain = str(one.value).replace("\\", "/")
    return next((file for file in listed if file.replace("\\", "/") == plain), str(one.value))


def _emptied(graph: Graph, settings: Mapping[str, list[Found]]) -> Graph:
    """The graph with what is filled in anyway taken out: seeds of the editor do not fit into 64 bits with a sign."""
    for id_, name in (one.place for several in settings.values() for one in several if one.name == "seed"):
        graph[id_]["inputs"][name] = 0
    for node in graph.values():
        for name, value in node["inputs"].items():
            if type(value) is int and abs(value) > _INT64:
                raise NotAWorkflow(f"{name[:60]} of {node['class_type'][:60]} is a number that does not fit into 64 "
                                   "bits: choose a smaller one.")
    return graph


def _operation(media: list[str], makes: str, settings: Mapping[str, Any], graph: Graph) -> Operation:
    classes = " ".join(node["class_type"] for node in graph.values())
    painted = "prompt" in settings or "seed" in settings
    if "video" in media:
        lips = "audio" in media
        return "lip_sync" if lips else "upscale_video" if "Upscale" in classes and not painted else "edit_video"
    if makes == "video":
        if "image" in media:
            return "image_to_video" if painted or len(media) == 1 else "compose_video"
        return "text_to_video" if painted else "compose_video"
    if "image" in media:
        upscaled = "Upscale" in classes or "ImageScaleBy" in classes
        return "image_to_image" if painted else "upscale_image" if upscaled else (
            "edit_image" if len(media) == 1 else "compose_images")
    return "text_to_image" if painted else "compose_images"


def _chain(graph: Graph, notes: list[str]) -> dict[str, Any] | None:
    """Where LoRAs of characters go: right behind the one loader of the model."""
    roots: dict[str, set[tuple[str, int]]] = {"model": set(), "clip": set()}
    for node in graph.values():
        for kind, several in roots.items():
            link = linked(node["inputs"].get(kind))
            if link is not None and linked(graph[link[0]]["inputs"].get(kind)) is None:
                several.add(link)
    if len(roots["model"]) != 1 or len(roots["clip"]) > 1:
        if roots["model"]:
            notes.append("LoRAs of characters cannot be put in: the graph has more than one model.")
        return None
    (model,) = roots["model"]
    told: dict[str, Any] = {"model": list(model), "class_type": "LoraLoaderModelOnly"}
    if roots["clip"]:
        (clip,) = roots["clip"]
        told |= {"clip": list(clip), "class_type": "LoraLoader"}
    return told
