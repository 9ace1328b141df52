"""What a user's graph must be told: prompts, seed, sizes, models and files, found by what they are connected to.

A prompt is a text that leads to what a sampler calls ``positive``; a seed is what samplers call so; a picture is what a
loader of pictures loads. Everything else keeps the value that it was saved with, unless somebody asks for it by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple

from adapters.engines.local_comfy.catalogue import folder_of
from adapters.engines.local_comfy.declaring import declared
from adapters.engines.local_comfy.editor import Graph, Known
from adapters.engines.local_comfy.workflows import linked

SEEDS: Final = frozenset({"seed", "noise_seed"})
TEXTS: Final = frozenset({"text", "text_g", "text_l", "clip_l", "t5xxl", "clip_g", "prompt", "string", "value",
                          "populated_text", "wildcard_text", "llama"})
NEGATIVES: Final = frozenset({"negative_prompt", "negative_text", "text_negative", "neg_prompt"})
POSITIVES: Final = frozenset({"prompt", "positive_prompt", "text_positive", "positive", "text"})
NOT_WORDS: Final = frozenset({"model", "clip", "vae", "image", "images", "pixels", "samples", "latent", "latent_image",
                              "mask", "control_net", "style_model", "clip_vision", "clip_vision_output", "video"})
"""Inputs that no words come through."""

PLAIN: Final[Mapping[str, str]] = {
    "steps": "steps", "cfg": "cfg", "denoise": "denoise", "guidance": "guidance", "width": "width", "height": "height",
    "batch_size": "batch", "length": "frames", "video_frames": "frames", "num_frames": "frames", "frames": "frames",
    "fps": "fps", "frame_rate": "fps", "sampler_name": "sampler", "scheduler": "scheduler", "shift": "shift",
    "motion_bucket_id": "motion", "scale_by": "factor", "megapixels": "megapixels",
}
"""Inputs that people want to set -> what they are called outside."""

MODELS: Final[Mapping[str, str]] = {
    "checkpoints": "checkpoint", "diffusion_models": "diffusion_model", "vae": "vae", "loras": "lora",
    "text_encoders": "text_encoder", "controlnet": "controlnet", "upscale_models": "upscaler",
    "clip_vision": "clip_vision", "ipadapter": "ipadapter", "style_models": "style_model",
}
"""Folder of models -> what one of its files is called outside."""

FILES: Final[Mapping[tuple[str, str], tuple[str, Literal["image", "video", "audio"]]]] = {
    ("LoadImage", "image"): ("image", "image"), ("LoadImageMask", "image"): ("mask", "image"),
    ("LoadImageOutput", "image"): ("image", "image"), ("LoadAudio", "audio"): ("audio", "audio"),
    ("LoadVideo", "file"): ("video", "video"), ("VHS_LoadVideo", "video"): ("video", "video"),
    ("VHS_LoadAudioUpload", "audio"): ("audio", "audio"),
}
"""(class, input) of nodes that load what was uploaded -> (what it is called outside, its kind)."""

KEPT: Final = frozenset({"filename_prefix", "upload", "control_after_generate", "audioUI", "videopreview"})
"""Inputs that are nobody's business: names of files are ours, the rest is the editor's own."""


class Found(NamedTuple):
    """One place of a graph that somebody may want to fill."""

    name: str
    kind: Literal["text", "integer", "number", "boolean", "model", "file"]
    place: tuple[str, str]
    value: Any
    joins: bool = False
    folder: str = ""
    media: str = ""
    title: str = ""
    longest: int = 0


def found_in(graph: Graph, known: Known) -> list[Found]:
    """Every place worth telling of, prompts first. Of a graph without prompts that is every setting."""
    words = _prompts(graph)
    places = {place: name for name, several in words.items() for place in several}
    everything = not words["prompt"]
    settings = [one for id_, node in graph.items() for one in _of_node(id_, node, known, places, everything)]
    rank = {"prompt": 0, "negative_prompt": 1, "seed": 3}
    return sorted(settings, key=lambda one: rank.get(one.name, 2))


def title_of(node: Mapping[str, Any]) -> str:
    """What people call a node."""
    meta = node.get("_meta")
    told = meta.get("title") if isinstance(meta, dict) else None
    return str(told or node["class_type"])


def slug(text: str) -> str:
    """A name for a parameter: small letters, digits and underscores, a letter first."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text)
    name = re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")[:40].strip("_")
    return name if name[:1].isalpha() else f"x_{name}".strip("_")


def typed(description: Mapping[str, Any] | None, name: str, inputs: Mapping[str, Any]) -> str | None:
    """The type of a setting, as the server declares it, else as its value is; ``None`` for what is no plain value."""
    told, value = declared(description, name, inputs), inputs.get(name)
    kind = told.kind if told is not None else None
    if kind == "FLOAT" and isinstance(value, int | float) and not isinstance(value, bool):
        return "number"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "number" if name in ("cfg", "denoise", "guidance", "shift", "scale_by", "frame_rate", "strength",
                                    "strength_model", "strength_clip") else "integer"
    if isinstance(value, float):
        return "number"
    return "text" if isinstance(value, str) else None


def _of_node(id_: str, node: Mapping[str, Any], known: Known, words: Mapping[tuple[str, str], str],
             everything: bool) -> Iterator[Found]:
    class_, description, title = node["class_type"], known.get(node["class_type"]), title_of(node)
    for name, value in node["inputs"].items():
        place = (id_, name)
        if linked(value) is not None or name in KEPT:
            continue
        if (file := _file(class_, name, node["inputs"], description)) is not None:
            yield Found(file[0], "file", place, value, media=file[1], title=title)
        elif place in words:
            yield Found(words[place], "text", place, value, joins=True, title=title, longest=20_000)
        elif name in SEEDS and typed(description, name, node["inputs"]) == "integer":
            yield Found("seed", "integer", place, value, joins=True, title=title)
        elif isinstance(value, str) and (folder := folder_of(class_, name)) is not None:
            yield Found(MODELS.get(folder, slug(folder).removesuffix("s")), "model", place, value, joins=True,
                        folder=folder, title=title)
        elif (kind := typed(description, name, node["inputs"])) is not None and (everything or name in PLAIN):
            yield Found(PLAIN.get(name) or slug(name), kind, place, value, joins=True,  # type: ignore[arg-type]
                        title=title, longest=8000)


def _file(class_: str, name: str, inputs: Mapping[str, Any],
          description: Mapping[str, Any] | None) -> tuple[str, str] | None:
    if (class_, name) in FILES:
        return FILES[class_, name]
    found = declared(description, name, inputs)
    return next(((media, media) for media in ("image", "video", "audio")
                 if found is not None and found.options.get(f"{media}_upload")), None)


def _prompts(graph: Graph) -> dict[str, list[tuple[str, str]]]:
    """Places of the texts that say what is wanted, and what is not."""
    found: dict[str, list[tuple[str, str]]] = {"prompt": [], "negative_prompt": []}
    for node in graph.values():
        for role, names in (("positive", ("positive", "conditioning")), ("negative", ("negative",))):
            for name in names:
                samples = name != "conditioning" or "Guider" in node["class_type"]
                if samples and (link := linked(node["inputs"].get(name))) is not None:
                    key = "prompt" if role == "positive" else "negative_prompt"
                    found[key] += [one for one in _words(graph, link[0], role) if one not in found[key]]
    if not found["prompt"]:
        found = _by_name(graph)
    # A negative that is an emptied positive is fed by the positive's words.
    found["negative_prompt"] = [one for one in found["negative_prompt"] if one not in found["prompt"]]
    return found


def _words(graph: Graph, start: str, role: str) -> list[tuple[str, str]]:
    """The texts that a conditioning is made of."""
    found: list[tuple[str, str]] = []
    seen, pending = {start}, [start]
    while pending:
        id_ = pending.pop(0)
        inputs = graph[id_]["inputs"]
        here = [(id_, name) for name, value in inputs.items() if name in TEXTS and isinstance(value, str)]
        found += here
        both = linked(inputs.get("positive")) is not None
        for name, value in inputs.items():
            link = linked(value)
            if link is None or link[0] in seen or name in NOT_WORDS or (both and name in ("positive", "negative")
                                                                        and name != role):
                continue
            if link[0] in graph:
                seen.add(link[0])
                pending.append(link[0])
    return found


def _by_name(graph: Graph) -> dict[str, list[tuple[str, str]]]:
    """For nodes that sample and encode in one: inputs that are called prompts."""
    found: dict[str, list[tuple[str, str]]] = {"prompt": [], "negative_prompt": []}
    for id_, node in graph.items():
        for name, value in node["inputs"].items():
            if isinstance(value, str) and name in NEGATIVES:
                found["negative_prompt"].append((id_, name))
            elif isinstance(value, str) and name in POSITIVES and not value.lower().endswith((".png", ".safetensors")):
                found["prompt"].append((id_, name))
    return found
