"""What an installation has: its node classes and the files that its loaders list, as ``/object_info`` tells.

Asked before anything is submitted, so that people learn in one sentence which node or model is missing.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from adapters.engines.local_comfy.building import Graph
from adapters.engines.local_comfy.client import Client, quoted
from adapters.engines.local_comfy.declaring import Declared, choices, declared, unwrapped, uploads
from adapters.engines.local_comfy.workflows import Workflow, linked
from domain.ports.engines import EngineError
from domain.studio.fault import Fault, fault
from domain.studio.model_library import supplying

FRESH_SECONDS: Final = 20.0
"""How long what an installation has is believed. A model that is copied in is seen after at most so long."""

UPLOAD_BYTES: Final = 100 * 2**20
"""Largest file that ComfyUI takes unless it was started with another limit."""

FORM_BYTES: Final = 64 * 2**10
"""Room for what surrounds a file that is handed over."""

CLASSES_LIMIT: Final = 1000
"""Most node classes that are remembered."""

MODEL_FILES: Final = (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".gguf", ".onnx")

FOLDERS: Final[Mapping[str, str]] = {
    "ckpt_name": "checkpoints", "lora_name": "loras", "vae_name": "vae", "unet_name": "diffusion_models",
    "clip_name": "text_encoders", "clip_name1": "text_encoders", "clip_name2": "text_encoders",
    "clip_name3": "text_encoders", "control_net_name": "controlnet", "style_model_name": "style_models",
    "gligen_name": "gligen", "ipadapter_file": "ipadapter",
}
"""Inputs of loaders that name files -> the folder below ``models`` where those lie."""

_BY_CLASS: Final[Mapping[str, str]] = {
    "UpscaleModelLoader": "upscale_models", "FaceRestoreModelLoader": "facerestore_models",
    "ADE_AnimateDiffLoaderGen1": "animatediff_models", "CLIPVisionLoader": "clip_vision",
    "ImageOnlyCheckpointLoader": "checkpoints",
}
"""The same for inputs that are merely called ``model_name`` or ``clip_name``."""

LISTS: Final = {
    "checkpoints": ("CheckpointLoaderSimple", "ckpt_name"), "loras": ("LoraLoader", "lora_name"),
    "upscale_models": ("UpscaleModelLoader", "model_name"), "vae": ("VAELoader", "vae_name"),
    "diffusion_models": ("UNETLoader", "unet_name"),
}
"""Folders that ``offers`` tells of, and the loader that lists their files."""


_NODE: Final = "Install the custom node, then restart ComfyUI."
_FILE: Final = "Put the file into that folder below ComfyUI's models; it is seen within half a minute."


class Missing(NamedTuple):
    """Something that is not installed: a node class, or a file of a folder (``any`` for: not a single one)."""

    kind: Literal["node", "model"]
    name: str
    folder: str = ""

    def __str__(self) -> str:
        return f"node {self.name}" if self.kind == "node" else f"{self.folder}/{self.name}"


class Catalogue:
    """Node classes by name, asked one by one and remembered for a while."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: OrderedDict[str, tuple[float, Mapping[str, Any] | None]] = OrderedDict()
        self._asking_all = asyncio.Lock()
        self._everything: tuple[float, Any] = (0.0, None)

    async def described(self, classes: Sequence[str]) -> dict[str, Mapping[str, Any] | None]:
        """Class -> its description, ``None`` when it is not installed."""
        now, names = time.monotonic(), list(dict.fromkeys(classes))
        told = {name: seen[1] for name in names if (seen := self._known.get(name)) and now - seen[0] <= FRESH_SECONDS}
        unknown = [name for name in names if name not in told]
        answers = await asyncio.gather(*map(self._asked, unknown), return_exceptions=True)
        for name, answer in zip(unknown, answers, strict=True):
            if isinstance(answer, BaseException):
                raise answer
            told[name] = answer
            self._known[name] = (now, answer)
            while len(self._known) > CLASSES_LIMIT:
                self._known.popitem(last=False)
        return told

    def forget(self) -> None:
        """What was known may be old: the server has just said something else."""
        self._known.clear()
        self._everything = (0.0, None)

    async def files(self, folder: str) -> tuple[str, ...]:
        """The files of a folder that ``LISTS`` knows."""
        class_, input_ = LISTS[folder]
        return choices((await self.described([class_]))[class_], input_, {}) or ()

    async def largest_upload(self) -> int:
        """The largest file that it takes: as it says, else what is usual."""
        try:
            told = await self._client.get("/features")
        except EngineError:
            return UPLOAD_BYTES
        limit = told.get("max_upload_size") if isinstance(told, dict) else None
        if not isinstance(limit, int | float) or not FORM_BYTES < limit < 2**53:
            return UPLOAD_BYTES
        return int(limit) - FORM_BYTES

    async def _asked(self, name: str) -> Mapping[str, Any] | None:
        try:
            answer = await self._client.get("/object_info/" + quoted(name))
        except EngineError as error:
            if error.fault.detail.get("status") == 500:  # a class that cannot say what it takes cannot run either, and
                return None  # what has to do with it alone is not everybody's trouble
            if error.fault.detail.get("status") != 404:
                raise
            answer = await self._all()  # the oldest servers tell of all classes at once, and of none alone
        if not isinstance(answer, dict) or not isinstance(answer.get(name, {}), dict):
            raise EngineError(fault("ENGINE_ERROR", "What answers there does not speak as ComfyUI does."))
        return answer.get(name)

    async def _all(self) -> Any:
        """Everything at once, asked once for however many classes are asked for together."""
        async with self._asking_all:
            began, answer = self._everything
            if answer is None or time.monotonic() - began > FRESH_SECONDS:
                answer = await self._client.get("/object_info")
                self._everything = (time.monotonic(), answer)
            return answer


def folder_of(class_: str, input_: str) -> str | None:
    """The folder that a loader's input names a file of; ``None`` for inputs that name no model."""
    return _BY_CLASS.get(class_) if input_ in ("model_name",) or class_ == "CLIPVisionLoader" else FOLDERS.get(input_)


def missing_for(flow: Workflow, known: Mapping[str, Mapping[str, Any] | None]) -> list[Missing]:
    """What an installation lacks for a workflow whose model has not been chosen: nodes, and folders that are empty."""
    found = [Missing("node", class_) for class_ in _classes(flow) if known.get(class_) is None]
    for parameter in flow.parameters.values():
        for node, key in parameter.at if parameter.type == "model" else ():
            class_ = flow.graph[node].class_type
            listed = choices(known.get(class_), key, flow.graph[node].inputs)
            wanted = parameter.default if isinstance(parameter.default, str) else ""
            if listed is None or (wanted and wanted in listed):
                continue
            if wanted or not any(parameter.suits(file) for file in listed):
                found.append(Missing("model", wanted or "any" + "".join(f" *{part}*" for part in parameter.like[:1]),
                                     parameter.folder))
    return list(dict.fromkeys(found))


def _classes(flow: Workflow) -> list[str]:
    return list(dict.fromkeys(node.class_type for node in flow.graph.values()))


def lacking(graph: Graph, known: Mapping[str, Mapping[str, Any] | None], handed: set[tuple[str, str]],
            folders: Mapping[tuple[str, str], str]) -> Fault | None:
    """Why a finished graph cannot run on an installation; ``None`` when nothing speaks against it.

    ``handed`` are (node, input) that hold files which have only just been handed over, ``folders`` those that hold
    models of a workflow.
    """
    missing = [Missing("node", str(node["class_type"])) for node in graph.values() if known[node["class_type"]] is None]
    wrong: list[Fault] = []
    for place, class_, value in _values(graph):
        found = declared(known[class_], place[1], graph[place[0]]["inputs"])
        if found is None or place in handed or uploads(found):
            continue
        listed = choices(known[class_], place[1], graph[place[0]]["inputs"])
        absent = None if listed is None else next((one for one in _each(value) if one not in listed), None)
        if listed is not None and absent is not None:
            folder = folders.get(place) or folder_of(class_, place[1])
            if folder or absent.lower().endswith(MODEL_FILES):
                missing.append(Missing("model", absent, folder or "models"))
            elif not _custom(known[class_]):
                wrong.append(fault("INVALID_FIELD_VALUE", f"{class_} knows no {place[1]} {absent:.100}.",
                                   field=place[1], choices=list(listed[:50])))
        elif not _custom(known[class_]) and (sentence := _out_of_range(found, value)) is not None:
            wrong.append(fault("INVALID_FIELD_VALUE", f"{place[1]} of {class_} {sentence}.", field=place[1]))
    return missing_fault(missing) if missing else next(iter(wrong), None)


def _custom(description: Mapping[str, Any] | None) -> bool:
    """Whether a class was installed besides: such may judge values themselves, and take what they do not list."""
    return description is not None and str(description.get("python_module")).startswith("custom_nodes")


def missing_fault(missing: Sequence[Missing]) -> Fault:
    """DEPENDENCY_MISSING with names, and where each belongs."""
    unique = list(dict.fromkeys(missing))
    said = ", ".join(_spoken(one) for one in unique[:5]) + (f" and {len(unique) - 5} more" if len(unique) > 5 else "")
    nodes = any(one.kind == "node" for one in unique)
    supplied = {one: supplying(one.folder, one.name) for one in unique if one.kind == "model"}
    ids = list(dict.fromkeys(id_ for id_ in supplied.values() if id_ is not None))
    catalogue = f" The model catalogue has it: download {' and '.join(ids[:5])}." if ids else ""
    return fault(
        "DEPENDENCY_MISSING", f"ComfyUI has not {said}.",
        missing=[{"kind": one.kind, "name": one.name, "folder": one.folder,
                  **({"model": supplied[one]} if supplied.get(one) else {})} for one in unique[:50]],
        hint=(_NODE if nodes else _FILE) + catalogue,
    )


def _spoken(one: Missing) -> str:
    if one.kind == "node":
        return f"the node {one.name}"
    if one.name.startswith("any"):
        return f"{one.name.replace('any', 'any file', 1)} in models/{one.folder}"
    return f"the file models/{one.folder}/{one.name}"


def _values(graph: Graph) -> Iterator[tuple[tuple[str, str], str, Any]]:
    for id_, node in graph.items():
        for name, value in node["inputs"].items():
            if linked(value) is None:
                yield (id_, name), node["class_type"], unwrapped(value)


def _each(value: Any) -> list[str]:
    """What has to be among the choices: one value, or several where several may be chosen."""
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]


def _out_of_range(found: Declared, value: Any) -> str | None:
    if found.kind not in ("INT", "FLOAT") or isinstance(value, bool):
        return None
    low, high = found.options.get("min"), found.options.get("max")
    if isinstance(value, str):  # what is written as a text is read as a number by the server
        try:
            value = float(value) if found.kind == "FLOAT" else int(value)
        except ValueError:
            return "must be a number"
    if not isinstance(value, int | float):
        return "must be a number"
    if isinstance(low, int | float) and value < low:
        return f"must be at least {low}"
    if isinstance(high, int | float) and value > high:
        return f"must be at most {high}"
    return None
