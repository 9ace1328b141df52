"""Workflows as users have them: what ComfyUI exports for its server, and what its editor saves of the same graph."""

from __future__ import annotations

from typing import Any


def node(class_: str, title: str = "", **inputs: Any) -> dict[str, Any]:
    """A node in API format."""
    return {"class_type": class_, "inputs": inputs, "_meta": {"title": title or class_}}


def painted(**changes: Any) -> dict[str, Any]:
    """The graph that everybody begins with, in API format."""
    graph = {
        "3": node("KSampler", seed=156680208700286, steps=20, cfg=8, sampler_name="euler", scheduler="normal",
                  denoise=1, model=["4", 0], positive=["6", 0], negative=["7", 0], latent_image=["5", 0]),
        "4": node("CheckpointLoaderSimple", "Load Checkpoint", ckpt_name="dreamy.safetensors"),
        "5": node("EmptyLatentImage", "Empty Latent Image", width=64, height=48, batch_size=1),
        "6": node("CLIPTextEncode", "CLIP Text Encode (Prompt)", text="a glass bottle", clip=["4", 1]),
        "7": node("CLIPTextEncode", "CLIP Text Encode (Prompt)", text="text, watermark", clip=["4", 1]),
        "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "9": node("SaveImage", "Save Image", filename_prefix="ComfyUI", images=["8", 0]),
    }
    return graph | changes


def plain() -> dict[str, Any]:
    """A graph without any model."""
    return {
        "1": node("EmptyImage", width=64, height=48, batch_size=1, color=255),
        "2": node("ImageInvert", image=["1", 0]),
        "3": node("ImageScale", image=["2", 0], upscale_method="lanczos", width=128, height=128, crop="disabled"),
        "4": node("SaveImage", filename_prefix="probe", images=["3", 0]),
    }


def _socket(name: str, kind: str, link: int | None) -> dict[str, Any]:
    return {"name": name, "type": kind, "link": link}


def edited() -> dict[str, Any]:
    """``painted`` as the editor saves it: with a note, a reroute, a muted and a bypassed node beside it."""
    def made(id_: int, class_: str, values: list[Any], *inputs: dict[str, Any], outputs: tuple[str, ...] = (),
             **more: Any) -> dict[str, Any]:
        return {"id": id_, "type": class_, "pos": [0, 0], "mode": 0, "widgets_values": values, "inputs": list(inputs),
                "outputs": [{"name": kind, "type": kind, "links": []} for kind in outputs], **more}

    nodes = [
        made(3, "KSampler", [156680208700286, "randomize", 20, 8, "euler", "normal", 1],
             _socket("model", "MODEL", 1), _socket("positive", "CONDITIONING", 4),
             _socket("negative", "CONDITIONING", 6), _socket("latent_image", "LATENT", 2), outputs=("LATENT",)),
        made(4, "CheckpointLoaderSimple", ["dreamy.safetensors"], outputs=("MODEL", "CLIP", "VAE"),
             title="Load Checkpoint"),
        made(5, "EmptyLatentImage", [64, 48, 1], outputs=("LATENT",), title="Empty Latent Image"),
        made(6, "CLIPTextEncode", ["a glass bottle"], _socket("clip", "CLIP", 3), outputs=("CONDITIONING",),
             title="CLIP Text Encode (Prompt)"),
        made(7, "CLIPTextEncode", ["text, watermark"], _socket("clip", "CLIP", 5), outputs=("CONDITIONING",),
             title="CLIP Text Encode (Prompt)"),
        made(8, "VAEDecode", [], _socket("samples", "LATENT", 7), _socket("vae", "VAE", 8), outputs=("IMAGE",)),
        made(9, "SaveImage", ["ComfyUI"], _socket("images", "IMAGE", 10), title="Save Image"),
        made(10, "Reroute", [], _socket("", "*", 9), outputs=("MODEL",)),
        made(11, "MarkdownNote", ["Change the prompt!"]),
        made(12, "ImageInvert", [], _socket("image", "IMAGE", 11), outputs=("IMAGE",), mode=4),
        made(13, "PreviewImage", [], _socket("images", "IMAGE", 12), mode=2),
    ]
    links = [[1, 10, 0, 3, 0, "MODEL"], [2, 5, 0, 3, 3, "LATENT"], [3, 4, 1, 6, 0, "CLIP"],
             [4, 6, 0, 3, 1, "CONDITIONING"], [5, 4, 1, 7, 0, "CLIP"], [6, 7, 0, 3, 2, "CONDITIONING"],
             [7, 3, 0, 8, 0, "LATENT"], [8, 4, 2, 8, 1, "VAE"], [9, 4, 0, 10, 0, "MODEL"],
             [10, 12, 0, 9, 0, "IMAGE"], [11, 8, 0, 12, 0, "IMAGE"], [12, 8, 0, 13, 0, "IMAGE"]]
    return {"last_node_id": 13, "last_link_id": 12, "nodes": nodes, "links": links, "groups": [], "version": 0.4}
