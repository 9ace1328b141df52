"""Node classes of the fake ComfyUI: what ``/object_info`` says of them, and the small pictures that they make."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from io import BytesIO
from typing import Any, NamedTuple

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

class Spec(NamedTuple):
    """A node class: its inputs, the types of its outputs, whether it is an output node."""

    required: dict[str, list[Any]]
    outputs: list[str]
    stores: bool = False
    optional: dict[str, list[Any]] = {}


def specs(models: dict[str, list[str]]) -> dict[str, Spec]:
    """Every class, with the files that its loaders list just now."""

    def listed(folder: str) -> list[Any]:
        return [models.get(folder, []), {"tooltip": "The name of the file."}]

    return {name: Spec(*one) for name, one in {
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
    }.items()}


def info(class_: str, spec: Spec) -> dict[str, Any]:
    """As ``/object_info`` tells of one class."""
    inputs = {"required": spec.required, **({"optional": spec.optional} if spec.optional else {})}
    return {"input": inputs, "input_order": {group: list(one) for group, one in inputs.items()},
            "output": spec.outputs, "output_node": spec.stores, "name": class_, "display_name": class_,
            "category": "image"}


def link(value: Any) -> bool:
    return isinstance(value, list)


def run(class_: str, given: dict[str, Any], opened: Callable[[str], Image.Image]) -> list[Any]:
    """What a node gives: pictures for those that need no model, tokens of their inputs for the others."""
    match class_:
        case "EmptyImage":
            color = given["color"]
            return [Image.new("RGB", (given["width"], given["height"]), (color >> 16, color >> 8 & 255, color & 255))]
        case "LoadImage" | "LoadImageMask":
            return [opened(given["image"]), None]
        case "LoadVideo":
            return [Image.new("RGB", (16, 16))]
        case "GetVideoComponents":
            return [given["video"], None, 8.0, 8, "sRGB"]
        case "CreateVideo" | "BatchImagesNode":
            return [given.get("images", given.get("images.image0"))]
        case "PrimitiveString":
            return [given["value"]]
        case "Choose":
            return [given["image"]]
        case "ResizeImageMaskNode":
            by = given.get("resize_type.multiplier")
            size = given["input"].size if by else (given["resize_type.width"], given["resize_type.height"])
            return [given["input"].resize(tuple(max(1, round(side * (by or 1))) for side in size))]
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


def order_of(graph: dict[str, Any], wanted: list[str]) -> list[str]:
    """The nodes that outputs need, in the order in which they run."""
    order: list[str] = []

    def visit(node: str) -> None:
        for value in graph[node]["inputs"].values():
            if link(value):
                visit(value[0])
        if node not in order:
            order.append(node)

    for node in wanted:
        visit(node)
    return order


def key_of(graph: dict[str, Any], node: str) -> str:
    """What a node is remembered by: its class and everything that leads to it."""
    inputs = {name: [key_of(graph, value[0]), value[1]] if link(value) else value
              for name, value in graph[node]["inputs"].items()}
    return hashlib.sha256(json.dumps([graph[node]["class_type"], inputs], sort_keys=True).encode()).hexdigest()
