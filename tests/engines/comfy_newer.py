"""What ComfyUI 0.38 does otherwise than the recorded 0.3.64, as read in its source: ids, refusals, nodes."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from engines.comfy_nodes import METHODS, Spec, integer, number, specs

Problem = dict[str, Any]

VERSION = "0.38.1"


def refused_id(given: Any) -> Problem | None:
    """The error for an id that is no UUID in small letters with hyphens. None at all is no error."""
    try:
        if given is None or (isinstance(given, str) and str(UUID(given)) == given):
            return None
    except ValueError:
        pass
    return {"type": "invalid_prompt_id", "message": "prompt_id must be a valid UUID",
            "details": "prompt_id must be a UUID string in canonical lowercase hyphenated form; omit it to let the "
                       "server generate one", "extra_info": {}}


def absent_class(id_: str, node: dict[str, Any]) -> Problem:
    """The error for a node without a class, or of one that is not installed."""
    class_ = node.get("class_type")
    title = node.get("_meta", {}).get("title", class_)
    message = f"Node '{title}' not found. The custom node may not be installed." if class_ is not None else (
        f"Node '{title or f'ID #{id_}'}' has no class_type. The workflow may be corrupted or a custom node is missing.")
    return {"type": "missing_node_type", "message": message, "details": f"Node ID '#{id_}'",
            "extra_info": {"node_id": id_, "class_type": class_, "node_title": title}}


def in_circle(graph: dict[str, Any], nodes: list[str]) -> Problem:
    """What each node of a circle is told."""
    path = " -> ".join(f"{id_} ({graph[id_]['class_type']})" for id_ in [*nodes, nodes[0]])
    return {"type": "dependency_cycle", "message": "Dependency cycle detected", "details": path,
            "extra_info": {"node_id": nodes[0], "cycle_nodes": nodes}}


def combo(options: list[Any], **more: Any) -> list[Any]:
    return ["COMBO", {"multiselect": False, "options": options, **more}]


def branching(**branches: dict[str, Any]) -> list[Any]:
    """An input that brings others along: by what it is set to."""
    return ["COMFY_DYNAMICCOMBO_V3", {"options": [
        {"key": key.replace("_", " "), "inputs": {"required": {}, **inputs}} for key, inputs in branches.items()]}]


def _codec(*names: str) -> list[Any]:
    def encoded(crf: float) -> dict[str, Any]:
        again = {"required": {"crf": number(crf, 0.0, 63.0)}}
        return {"optional": {"encoding": ["COMFY_DYNAMICCOMBO_V3", {"options": [
            {"key": "auto", "inputs": {"required": {}}}, {"key": "re-encode", "inputs": again}]}]}}

    return branching(**{name: {} if name == "auto" else encoded(23.0) for name in names})


def newer_specs(models: dict[str, list[str]]) -> dict[str, Spec]:
    """Every class as a newer server has it."""
    every = ("auto", "h264", "av1")
    resized = {"width": integer(512, 0, 16384), "height": integer(512, 0, 16384), "crop": combo(["disabled", "center"])}
    files = models.get("input", [])
    older = specs(models)
    return {
        **older,
        "SaveImage": older["SaveImage"]._replace(outputs=["IMAGE"]),
        "PreviewImage": older["PreviewImage"]._replace(outputs=["IMAGE"]),
        "UpscaleModelLoader": Spec({"model_name": combo(models.get("upscale_models", []))}, ["UPSCALE_MODEL"]),
        "VAELoader": Spec({"vae_name": [[*models.get("vae", []), "pixel_space"]]}, ["VAE"]),
        "LoadVideo": Spec({"file": combo(files, video_upload=True)}, ["VIDEO"], optional={
            "edit": ["VIDEO_EDIT", {"socketless": True, "default": {"trim": {"start_time": 0.0, "duration": 0.0}}}]}),
        "GetVideoComponents": Spec({"video": ["VIDEO", {}]}, ["IMAGE", "AUDIO", "FLOAT", "COMBO", "COMBO"]),
        "CreateVideo": Spec({"images": ["IMAGE", {}], "fps": number(30.0, 1.0, 120.0)}, ["VIDEO"], optional={
            "audio": ["AUDIO", {}], "bit_depth": combo(["auto", 8, 10]), "color_space": combo(["sRGB", "HDR"]),
            "codec": combo(["none", *every])}),
        "SaveVideo": Spec({
            "video": ["VIDEO", {}], "filename_prefix": ["STRING", {"default": "video/ComfyUI"}],
            "format": branching(auto={"required": {"codec": _codec(*every)}},
                                mp4={"required": {"codec": _codec(*every)}},
                                webm={"required": {"codec": _codec("auto", "av1")}}),
        }, ["VIDEO"], True, {"codec": _codec(*every)}),
        "ResizeImageMaskNode": Spec({
            "input": ["COMFY_MATCHTYPE_V3", {"template": {"template_id": "input_type", "allowed_types": "IMAGE,MASK"}}],
            "resize_type": branching(scale_dimensions={"required": resized},
                                     scale_by_multiplier={"required": {"multiplier": number(1.0, 0.01, 8.0)}}),
            "scale_method": combo(METHODS, default="area"),
        }, ["COMFY_MATCHTYPE_V3"]),
        "BatchImagesNode": Spec({"images": ["COMFY_AUTOGROW_V3", {"template": {
            "input": {"required": {"image": ["IMAGE", {}]}}, "prefix": "image", "min": 1, "max": 50}}]}, ["IMAGE"]),
        "PrimitiveString": Spec({"value": ["STRING", {}]}, ["STRING"]),
        "SaveText": Spec({"text": ["STRING", {"forceInput": True}], "filename_prefix": ["STRING", {}],
                          "format": combo(["txt", "md", "json"])}, ["STRING"], True),
        "Choose": Spec({"image": ["IMAGE", {}], "marks": ["COMBO", {"multiselect": True, "options": ["a", "b", "c"]}],
                        "tint": ["COLOR", {"socketless": True, "default": "#ffffff"}]}, ["IMAGE"]),
    }
