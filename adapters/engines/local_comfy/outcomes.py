"""What ComfyUI's answers mean: its history, its refusals and its errors in the words of the engine protocol."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, Final

from adapters.engines.local_comfy.catalogue import MODEL_FILES, Missing, folder_of, missing_fault
from adapters.engines.local_comfy.client import without_paths
from domain.ports.engines import Cancelled, Done, EngineError, Failed, Outcome, Product
from domain.studio.fault import Fault, fault
from domain.values import Json

PRODUCTS_LIMIT: Final = 256
"""Most files of one run."""

MEDIA: Final[Mapping[str, str]] = {
    ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp", ".gif": "image/gif",
    ".avif": "image/avif", ".mp4": "video/mp4", ".webm": "video/webm", ".mov": "video/quicktime",
    ".mkv": "video/x-matroska", ".flac": "audio/flac", ".mp3": "audio/mpeg", ".wav": "audio/wav", ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
}
"""Extension -> what the file says it is; the kernel judges the bytes."""


BESIDE: Final = frozenset({".txt", ".md", ".json", ".csv", ".yaml", ".log", ".latent", ".safetensors", ".glb", ".obj"})
"""Extensions of what nodes write beside their pictures. Nothing of it can be an asset, and none is made of it."""


def outcome(entry: Any, facts: Mapping[str, Json]) -> Outcome:
    """The outcome of one entry of the history.

    Decided by its messages: ``status_str`` calls a run that was interrupted an error (trap 3).
    """
    if not isinstance(entry, dict):
        raise odd("The history of ComfyUI holds something that is no entry.")
    status = entry.get("status")
    messages = [*_messages(status.get("messages"))] if isinstance(status, dict) else []
    for kind, said in reversed(messages):
        match kind:
            case "execution_interrupted":
                return Cancelled()
            case "execution_error":
                return Failed(_error(said))
            case "execution_success":
                return _done(entry.get("outputs"), facts)
    told = status.get("status_str") if isinstance(status, dict) else None
    if told == "error":
        return Failed(fault("ENGINE_ERROR", "ComfyUI failed and did not say why."))
    if told == "success" or (status is None and entry.get("outputs")):
        return _done(entry.get("outputs"), facts)
    raise odd("The history of ComfyUI does not say how the run ended.")


def refusal(answer: Mapping[str, Any]) -> Fault:
    """Why a graph was not taken: from the ``error`` and the ``node_errors`` of an answer."""
    missing: list[Missing] = []
    first: Fault | None = None
    for class_, one in _node_errors(answer.get("node_errors")):
        if (found := _missing(class_, one)) is not None:
            missing.append(found)
        first = first or _node_fault(class_, one)
    if missing:
        return missing_fault(missing)
    if first is not None:
        return first
    error = answer.get("error")
    kind, said = (error.get("type"), error.get("message")) if isinstance(error, dict) else (None, error)
    if (named := _absent(error)) is not None:
        return missing_fault([Missing("node", without_paths(named, 200))])
    if kind == "prompt_outputs_failed_validation":  # without any node: the graph runs in a circle
        return fault("CONTRACT_MISMATCH", "ComfyUI does not take the graph: it runs in a circle.", type=str(kind))
    return fault("CONTRACT_MISMATCH", f"ComfyUI does not take the graph: {without_paths(said or 'no reason given')}",
                 type=without_paths(kind, 100))


def odd(sentence: str) -> EngineError:
    """An answer that ComfyUI does not give."""
    return EngineError(fault("ENGINE_ERROR", sentence))


def _messages(told: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for one in told if isinstance(told, list) else []:
        if isinstance(one, list) and len(one) == 2 and isinstance(one[0], str) and isinstance(one[1], dict):
            yield one[0], one[1]


def _done(outputs: Any, facts: Mapping[str, Json]) -> Done | Failed:
    everything = [*_products(outputs)]
    products = [one for one in everything if PurePosixPath(one.name).suffix.lower() not in BESIDE] or everything
    if not products:  # trap 12: a node that only sends to a socket stores nothing
        return Failed(fault("ENGINE_ERROR", "ComfyUI finished and stored no file.", reason="no_files"))
    return Done(products[:PRODUCTS_LIMIT], facts=facts)


def _products(outputs: Any) -> Iterator[Product]:
    seen: set[str] = set()
    known: set[tuple[str, str]] = set()
    for told in outputs.values() if isinstance(outputs, dict) else []:
        for files in told.values() if isinstance(told, dict) else []:
            for file in files if isinstance(files, list) else []:
                if not isinstance(file, dict) or file.get("type") != "output":
                    continue  # previews lie in "temp"
                name, folder = file.get("filename"), file.get("subfolder") or ""
                if not isinstance(name, str) or not isinstance(folder, str) or not _plain(name, folder):
                    raise odd("ComfyUI names a file that lies outside of its output folder.")
                if (folder, name) in known:
                    continue  # one node hands its files on to another, which tells of them again
                known.add((folder, name))
                shown = name if name not in seen else f"{len(seen)}-{name}"
                seen.add(shown)
                yield Product(shown, MEDIA.get(PurePosixPath(name).suffix.lower(), "application/octet-stream"),
                              {"filename": name, "subfolder": folder, "type": "output"})


def _plain(name: str, folder: str) -> bool:
    parts = [name, *folder.replace("\\", "/").split("/")]
    plain = name not in ("", ".", "..") and not set(name) & set('/\\:"')
    return plain and len(name) + len(folder) <= 500 and ".." not in parts and not folder.startswith("/") and all(
        letter.isprintable() for letter in name + folder)


def _error(said: Mapping[str, Any]) -> Fault:
    """A run that broke. Traceback and inputs are left out: they hold the server's paths, and prompts (trap 13)."""
    node = without_paths(said.get("node_type") or "a node", 100)
    kind = without_paths(said.get("exception_type") or "", 100)
    message = without_paths(said.get("exception_message") or "it did not say why")
    detail = {"node": without_paths(said.get("node_id") or "", 100), "node_type": node, "exception": kind}
    told = f"{kind} {message}".lower()
    if "outofmemory" in told or "out of memory" in told:
        return fault("ENGINE_ERROR", f"The memory was not enough for {node}: take a smaller size or fewer frames.",
                     reason="out_of_memory", **detail)
    if "no space left" in told:
        return fault("DISK_FULL", f"The disk of ComfyUI is full ({node}).", **detail)
    return fault("ENGINE_ERROR", f"{node} failed: {message}", **detail)


def _absent(error: Any) -> str | None:
    """The node class that is not installed: older servers name it in a sentence alone, newer ones by itself."""
    if not isinstance(error, dict):
        return None
    extra = error.get("extra_info")
    class_ = extra.get("class_type") if isinstance(extra, dict) else None
    match error.get("type"):
        case "missing_node_type" if isinstance(class_, str) and class_:
            return class_
        case "invalid_prompt":
            named = re.search(r"node (.+) does not exist", str(error.get("message")))
            return named[1] if named else None
        case _:
            return None


def _node_errors(told: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for one in told.values() if isinstance(told, dict) else []:
        errors = one.get("errors") if isinstance(one, dict) else None
        for error in errors if isinstance(errors, list) else []:
            if isinstance(error, dict):
                yield str(one.get("class_type")), error


def _missing(class_: str, error: Mapping[str, Any]) -> Missing | None:
    """The model file that a list of a loader does not hold."""
    extra = error.get("extra_info")
    if error.get("type") != "value_not_in_list" or not isinstance(extra, dict):
        return None
    name, value = str(extra.get("input_name")), str(extra.get("received_value"))
    folder = folder_of(class_, name)
    if folder is None and not value.lower().endswith(MODEL_FILES):
        return None
    return Missing("model", without_paths(value, 200), folder or "models")


def _node_fault(class_: str, error: Mapping[str, Any]) -> Fault:
    kind = str(error.get("type"))
    extra = error.get("extra_info")
    name = without_paths(extra.get("input_name") or "", 100) if isinstance(extra, dict) else ""
    where = f"{name} of {without_paths(class_, 100)}" if name else without_paths(class_, 100)
    code, sentence = {
        "required_input_missing": ("MISSING_REQUIRED_FIELD", f"{where} is needed."),
        "value_bigger_than_max": ("INVALID_FIELD_VALUE", f"{where}: {without_paths(error.get('message'), 200)}."),
        "value_smaller_than_min": ("INVALID_FIELD_VALUE", f"{where}: {without_paths(error.get('message'), 200)}."),
        "value_not_in_list": ("INVALID_FIELD_VALUE", f"{where} is none of the possible values."),
        "invalid_input_type": ("INVALID_FIELD_TYPE", f"{where} has another type."),
        "custom_validation_failed": (
            "FILE_NOT_FOUND" if re.search(r"Invalid \w+ file", str(error.get("details"))) else "INVALID_FIELD_VALUE",
            f"{where}: {without_paths(error.get('details'), 200)}.",
        ),
        "invalid_dynamic_input": ("INVALID_FIELD_VALUE", f"{where}: {without_paths(error.get('details'), 200)}."),
        "dependency_cycle": ("CONTRACT_MISMATCH", "ComfyUI does not take the graph: it runs in a circle "
                             f"({without_paths(error.get('details'), 200)})."),
    }.get(kind, ("CONTRACT_MISMATCH", f"{where}: {without_paths(error.get('message') or kind, 200)}."))
    return fault(code, sentence, field=name, type=without_paths(kind, 100))
