"""Node classes of the fake ComfyUI: what ``/object_info`` says of them, how graphs are judged, and small pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

from PIL import Image, ImageFilter, ImageOps

METHODS = ["nearest-exact", "bilinear", "area", "bicubic", "lanczos"]
SAMPLERS = ["euler", "euler_ancestral", "dpmpp_2m", "dpmpp_sde"]
SCHEDULERS = ["simple", "karras", "normal"]


def integer(default: int, low: int, high: int) -> list[Any]:
    return ["INT", {"default": default, "min": low, "max": high}]


def number(default: float, low: float, high: float) -> list[Any]:
    return ["FLOAT", {"default": default, "min": low, "max": high}]


TEXT = ["STRING", {"multiline": True}]
SAVED = {"images": ["IMAGE", {"tooltip": "The images to save."}], "filename_prefix": ["STRING", {"default": "ComfyUI"}]}

Spec = tuple[dict[str, list[Any]], list[str], bool]
"""(required inputs, types of the outputs, whether it is an output node)."""


def specs(models: dict[str, list[str]]) -> dict[str, Spec]:
    """Every class, with the files that its loaders list just now."""

    def listed(folder: str) -> list[Any]:
        return [models.get(folder, []), {"tooltip": "The name of the file."}]

    return {
        "EmptyImage": ({"width": integer(512, 1, 16384), "height": integer(512, 1, 16384),
                        "batch_size": integer(1, 1, 4096), "color": integer(0, 0, 0xFFFFFF)}, ["IMAGE"], False),
        "LoadImage": ({"image": [models.get("input", []), {"image_upload": True}]}, ["IMAGE", "MASK"], False),
        "LoadImageMask": ({"image": [models.get("input", []), {"image_upload": True}],
                           "channel": [["alpha", "red", "green", "blue"]]}, ["MASK"], False),
        "ImageInvert": ({"image": ["IMAGE"]}, ["IMAGE"], False),
        "ImageBlur": ({"image": ["IMAGE"], "blur_radius": integer(1, 1, 31), "sigma": number(1.0, 0.1, 10.0)},
                      ["IMAGE"], False),
        "ImageScale": ({"image": ["IMAGE"], "upscale_method": [METHODS, {}], "width": integer(512, 0, 16384),
                        "height": integer(512, 0, 16384), "crop": [["disabled", "center"], {}]}, ["IMAGE"], False),
        # As newer servers say it: COMBO with options.
        "ImageScaleBy": ({"image": ["IMAGE"], "upscale_method": ["COMBO", {"options": METHODS}],
                          "scale_by": number(1.0, 0.01, 8.0)}, ["IMAGE"], False),
        "SaveImage": (SAVED, [], True),
        "SaveImageWebsocket": ({"images": ["IMAGE", {}]}, [], True),
        "PreviewImage": ({"images": ["IMAGE", {}]}, [], True),
        "CheckpointLoaderSimple": ({"ckpt_name": listed("checkpoints")}, ["MODEL", "CLIP", "VAE"], False),
        "ImageOnlyCheckpointLoader": ({"ckpt_name": listed("checkpoints")}, ["MODEL", "CLIP_VISION", "VAE"], False),
        "LoraLoader": ({"model": ["MODEL"], "clip": ["CLIP"], "lora_name": listed("loras"),
                        "strength_model": number(1, -100, 100), "strength_clip": number(1, -100, 100)},
                       ["MODEL", "CLIP"], False),
        "CLIPTextEncode": ({"text": TEXT, "clip": ["CLIP"]}, ["CONDITIONING"], False),
        "EmptyLatentImage": ({"width": integer(512, 16, 16384), "height": integer(512, 16, 16384),
                              "batch_size": integer(1, 1, 4096)}, ["LATENT"], False),
        "VAEEncode": ({"pixels": ["IMAGE"], "vae": ["VAE"]}, ["LATENT"], False),
        "VAEEncodeForInpaint": ({"pixels": ["IMAGE"], "vae": ["VAE"], "mask": ["MASK"],
                                 "grow_mask_by": integer(6, 0, 64)}, ["LATENT"], False),
        "VAEDecode": ({"samples": ["LATENT"], "vae": ["VAE"]}, ["IMAGE"], False),
        "KSampler": ({"model": ["MODEL"], "positive": ["CONDITIONING"], "negative": ["CONDITIONING"],
                      "latent_image": ["LATENT"], "seed": integer(0, 0, 2**64 - 1), "steps": integer(20, 1, 10000),
                      "cfg": number(8.0, 0.0, 100.0), "sampler_name": [SAMPLERS, {}], "scheduler": [SCHEDULERS, {}],
                      "denoise": number(1.0, 0.0, 1.0)}, ["LATENT"], False),
        "UpscaleModelLoader": ({"model_name": listed("upscale_models")}, ["UPSCALE_MODEL"], False),
        "ImageUpscaleWithModel": ({"upscale_model": ["UPSCALE_MODEL"], "image": ["IMAGE"]}, ["IMAGE"], False),
        "CheckpointSave": ({"model": ["MODEL"], "clip": ["CLIP"], "vae": ["VAE"],
                            "filename_prefix": ["STRING", {}]}, [], True),
        "UNETLoader": ({"unet_name": listed("diffusion_models"), "weight_dtype": [["default", "fp8_e4m3fn"]]},
                       ["MODEL"], False),
        "VAELoader": ({"vae_name": listed("vae")}, ["VAE"], False),
    }


def info(class_: str, spec: Spec) -> dict[str, Any]:
    """As ``/object_info`` tells of one class."""
    required, outputs, is_output = spec
    return {"input": {"required": required}, "output": outputs, "output_node": is_output, "name": class_,
            "display_name": class_, "category": "image"}


Problem = dict[str, Any]


def judged(graph: dict[str, Any], known: dict[str, Spec], exists: Callable[[str], bool]) -> tuple[
    Problem | None, dict[str, Any], list[str]
]:
    """(error, node_errors, good output nodes), as the real server's validation answers."""
    for id_, node in graph.items():
        class_ = node.get("class_type")
        if class_ is None:
            return _error("invalid_prompt", "Cannot execute because a node is missing the class_type property.",
                          f"Node ID '#{id_}'"), {}, []
        if class_ not in known:
            return _error("invalid_prompt", f"Cannot execute because node {class_} does not exist.",
                          f"Node ID '#{id_}'"), {}, []
    outputs = [id_ for id_, node in graph.items() if known[node["class_type"]][2]]
    if not outputs:
        return _error("prompt_no_outputs", "Prompt has no outputs", ""), {}, []
    errors: dict[str, Any] = {}
    good = []
    for output in outputs:
        if _cyclic(graph, output):
            continue
        wrong = {id_: found for id_ in _needed(graph, output) if (found := _wrong(graph, id_, known, exists))}
        for id_, found in wrong.items():
            one = errors.setdefault(id_, {"errors": found, "dependent_outputs": [],
                                          "class_type": graph[id_]["class_type"]})
            one["dependent_outputs"].append(output)
        if not wrong:
            good.append(output)
    if good:
        return None, errors, good
    return _error("prompt_outputs_failed_validation", "Prompt outputs failed validation", ""), errors, []


def _error(kind: str, message: str, details: str) -> Problem:
    return {"type": kind, "message": message, "details": details, "extra_info": {}}


def link(value: Any) -> bool:
    return isinstance(value, list)


def _needed(graph: dict[str, Any], id_: str) -> list[str]:
    found = [id_]
    for one in found:
        for value in graph[one].get("inputs", {}).values():
            if link(value) and len(value) == 2 and value[0] in graph and value[0] not in found:
                found.append(value[0])
    return found


def _cyclic(graph: dict[str, Any], start: str) -> bool:
    def walk(id_: str, above: tuple[str, ...]) -> bool:
        if id_ in above:
            return True
        return any(walk(value[0], (*above, id_)) for value in graph.get(id_, {}).get("inputs", {}).values()
                   if link(value) and len(value) == 2)

    return walk(start, ())


def _wrong(graph: dict[str, Any], id_: str, known: dict[str, Spec], exists: Callable[[str], bool]) -> list[Problem]:
    node = graph[id_]
    given = node.get("inputs", {})
    found = []
    for name, config in known[node["class_type"]][0].items():
        extra = {"input_name": name, "input_config": config}
        if name not in given:
            found.append({"type": "required_input_missing", "message": "Required input is missing", "details": name,
                          "extra_info": {"input_name": name}})
            continue
        value = given[name]
        if link(value):
            found += _bad_link(graph, name, value, known, extra, config)
            continue
        extra["received_value"] = value
        kind, options = config[0], config[1] if len(config) > 1 else {}
        if kind in ("INT", "FLOAT"):
            found += _bad_number(kind, name, value, options, extra)
        elif options.get("image_upload"):
            if not exists(str(value)):
                found.append({"type": "custom_validation_failed", "message": "Custom validation failed for node",
                              "details": f"{name} - Invalid image file: {value}", "extra_info": {"input_name": name}})
        else:
            listed = kind if isinstance(kind, list) else options.get("options")
            if listed is not None and value not in listed:
                found.append({"type": "value_not_in_list", "message": "Value not in list",
                              "details": f"{name}: '{value}' not in {listed}", "extra_info": extra})
    return found


def _bad_number(kind: str, name: str, value: Any, options: dict[str, Any], extra: dict[str, Any]) -> list[Problem]:
    try:
        value = int(value) if kind == "INT" else float(value)
    except (TypeError, ValueError) as error:
        return [{"type": "invalid_input_type", "message": f"Failed to convert an input value to a {kind} value",
                 "details": f"{name}, {value}, {error}", "extra_info": {**extra, "exception_message": str(error)}}]
    if value > options["max"]:
        return [{"type": "value_bigger_than_max", "message": f"Value {value} bigger than max of {options['max']}",
                 "details": name, "extra_info": extra}]
    if value < options["min"]:
        return [{"type": "value_smaller_than_min", "message": f"Value {value} smaller than min of {options['min']}",
                 "details": name, "extra_info": extra}]
    return []


def _bad_link(graph: dict[str, Any], name: str, value: Any, known: dict[str, Spec], extra: dict[str, Any],
              config: list[Any]) -> list[Problem]:
    if len(value) != 2:
        return [{"type": "bad_linked_input",
                 "message": "Bad linked input, must be a length-2 list of [node_id, slot_index]", "details": name,
                 "extra_info": {**extra, "received_value": value}}]
    if value[0] not in graph:
        trace = ['  File "/home/someone/ComfyUI/execution.py", line 788, in validate_inputs\n']
        return [{"type": "exception_during_validation", "message": "Exception when validating node",
                 "details": f"'{value[0]}'", "extra_info": {"exception_type": "KeyError", "traceback": trace}}]
    received = known[graph[value[0]]["class_type"]][1][value[1]]
    if received != config[0]:
        said = f"{name}, received_type({received}) mismatch input_type({config[0]})"
        return [{"type": "return_type_mismatch", "message": "Return type mismatch between linked nodes",
                 "details": said, "extra_info": {**extra, "received_type": received, "linked_node": value}}]
    return []


def run(class_: str, given: dict[str, Any], opened: Callable[[str], Image.Image]) -> list[Any]:
    """What a node gives: pictures for those that need no model, tokens of their inputs for the others."""
    match class_:
        case "EmptyImage":
            color = given["color"]
            return [Image.new("RGB", (given["width"], given["height"]), (color >> 16, color >> 8 & 255, color & 255))]
        case "LoadImage" | "LoadImageMask":
            return [opened(given["image"]), None]
        case "ImageInvert":
            return [ImageOps.invert(given["image"])]
        case "ImageBlur":
            return [given["image"].filter(ImageFilter.GaussianBlur(given["sigma"]))]
        case "ImageScale":
            return [given["image"].resize((given["width"], given["height"]))]
        case "ImageScaleBy":
            size = given["image"].size
            return [given["image"].resize(tuple(max(1, round(side * given["scale_by"])) for side in size))]
        case "ImageUpscaleWithModel":
            return [given["image"].resize(tuple(side * 4 for side in given["image"].size))]
        case "EmptyLatentImage":
            return [("latent", given["width"], given["height"])]
        case "VAEEncode" | "VAEEncodeForInpaint":
            return [("latent", *given["pixels"].size)]
        case "KSampler":
            mark = hashlib.sha256(repr(sorted((k, v) for k, v in given.items() if k != "latent_image")).encode())
            return [("sampled", *given["latent_image"][1:3], mark.digest()[:3])]
        case "VAEDecode":
            _, width, height, color = given["samples"]
            return [Image.new("RGB", (width, height), tuple(color))]
        case _:
            return [(class_, slot, repr(sorted(given.items()))) for slot in range(3)]


def png(image: Image.Image, texts: dict[str, str]) -> bytes:
    """A PNG with the graph in its text chunks, as the real node writes it."""
    from PIL.PngImagePlugin import PngInfo

    chunks = PngInfo()
    for key, text in texts.items():
        chunks.add_text(key, text)
    out = BytesIO()
    image.save(out, "PNG", pnginfo=chunks, compress_level=4)
    return out.getvalue()
