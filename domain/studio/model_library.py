"""The curated catalogue: models that the presets name, each with licence, checksum, size and source.

Checksums and sizes are those that the publishers list; an address that moves on is caught by them. What is missing here
because nobody could state one of the four is added as a custom entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from domain.studio.model_entry import Entry

_HUB: Final = "https://huggingface.co"


def _hub(repository: str, revision: str, path: str) -> dict[str, Any]:
    return {"url": f"{_HUB}/{repository}/resolve/{revision}/{path}", "source": f"{_HUB}/{repository}",
            "filename": path.rpartition("/")[2]}


_ENTRIES: Final[dict[str, dict[str, Any]]] = {
    "sdxl-base-1.0": {
        "name": "SDXL Base 1.0", "type": "checkpoint",
        **_hub("stabilityai/stable-diffusion-xl-base-1.0", "462165984030d82259a11f4367a4eed129e94a7b",
               "sd_xl_base_1.0.safetensors"),
        "size_bytes": 6_938_078_334, "sha256": "31e35c80fc4829d14f90153f4c74cd59c90b779f6afe05a74cd6120b893f7e5b",
        "license": "CreativeML Open RAIL++-M",
        "license_url": f"{_HUB}/stabilityai/stable-diffusion-xl-base-1.0/blob/main/LICENSE.md",
        "tags": ("sdxl", "base", "photoreal"), "hardware_notes": "A GPU with 8 GB or more.",
        "recommended_use": "Portraits and scenes at 1024 pixels; the base of most SDXL LoRAs.",
    },
    "sd-1.5": {
        "name": "Stable Diffusion 1.5", "type": "checkpoint",
        **_hub("stable-diffusion-v1-5/stable-diffusion-v1-5", "main", "v1-5-pruned-emaonly.safetensors"),
        "size_bytes": 4_265_146_304, "sha256": "6ce0161689b3853acaa03779ec93eafe75a02f4ced659bee03f50797806fa2fa",
        "license": "CreativeML Open RAIL-M",
        "license_url": f"{_HUB}/spaces/CompVis/stable-diffusion-license",
        "tags": ("sd15", "base"), "hardware_notes": "A GPU with 4 GB or more; slow on a processor alone.",
        "recommended_use": "Small machines, drafts, and animation with AnimateDiff.",
    },
    "sd-vae-ft-mse": {
        "name": "VAE for Stable Diffusion 1.x", "type": "vae",
        **_hub("stabilityai/sd-vae-ft-mse-original", "629b3ad3030ce36e15e70c5db7d91df0d60c627f",
               "vae-ft-mse-840000-ema-pruned.safetensors"),
        "size_bytes": 334_641_190, "sha256": "735e4c3a447a3255760d7f86845f09f937809baa529c17370d83e4c3758f3c75",
        "license": "MIT", "tags": ("sd15", "vae"),
        "recommended_use": "Better eyes and lettering with models of the 1.x family.",
    },
    "sdxl-vae-fp16-fix": {
        "name": "VAE for SDXL in half precision", "type": "vae",
        **_hub("madebyollin/sdxl-vae-fp16-fix", "207b116dae70ace3637169f1ddd2434b91b3a8cd", "sdxl_vae.safetensors"),
        "size_bytes": 334_641_162, "sha256": "235745af8d86bf4a4c1b5b4f529868b37019a10f7c0b2e79ad0abca3a22bc6e1",
        "license": "MIT", "tags": ("sdxl", "vae"),
        "recommended_use": "SDXL on cards that compute in half precision: no black pictures.",
    },
    "flux1-schnell": {
        "name": "FLUX.1 [schnell]", "type": "diffusion_model",
        **_hub("Comfy-Org/flux1-schnell", "7d679837b018bfeb28eca55734b335efcd0e7100", "flux1-schnell.safetensors"),
        "size_bytes": 23_782_506_688, "sha256": "9403429e0052277ac2a87ad800adece5481eecefd9ed334e1f348723621d2a0a",
        "license": "Apache-2.0", "license_url": f"{_HUB}/black-forest-labs/FLUX.1-schnell",
        "tags": ("flux", "base"), "hardware_notes": "A GPU with 24 GB, or 12 GB and patience.",
        "recommended_use": "Pictures in four steps. Needs flux-clip-l, flux-t5xxl-fp8 and flux-vae.",
    },
    "flux-clip-l": {
        "name": "CLIP-L for FLUX", "type": "text_encoder",
        **_hub("comfyanonymous/flux_text_encoders", "6af2a98e3f615bdfa612fbd85da93d1ed5f69ef5", "clip_l.safetensors"),
        "size_bytes": 246_144_152, "sha256": "660c6f5b1abae9dc498ac2d21e1347d2abdb0cf6c0c0c8576cd796491d9a6cdd",
        "license": "Apache-2.0", "tags": ("flux", "text-encoder"), "recommended_use": "Reads prompts for FLUX.",
    },
    "flux-t5xxl-fp8": {
        "name": "T5-XXL for FLUX, 8 bit", "type": "text_encoder",
        **_hub("comfyanonymous/flux_text_encoders", "6af2a98e3f615bdfa612fbd85da93d1ed5f69ef5",
               "t5xxl_fp8_e4m3fn.safetensors"),
        "size_bytes": 4_893_934_904, "sha256": "7d330da4816157540d6bb7838bf63a0f02f573fc48ca4d8de34bb0cbfd514f09",
        "license": "Apache-2.0", "tags": ("flux", "text-encoder"), "recommended_use": "Reads prompts for FLUX.",
    },
    "flux-vae": {
        "name": "VAE for FLUX", "type": "vae",
        **_hub("Comfy-Org/Lumina_Image_2.0_Repackaged", "main", "split_files/vae/ae.safetensors"),
        "size_bytes": 335_304_388, "sha256": "afc8e28272cd15db3919bacdb6918ce9c1ed22e96cb12c4d5ed0fba823529e38",
        "license": "Apache-2.0", "tags": ("flux", "vae"), "recommended_use": "The decoder that FLUX.1 needs.",
    },
    "realesrgan-x4plus": {
        "name": "Real-ESRGAN x4plus", "type": "upscaler",
        "url": "https://github.com/xinntao/Real-ESRGAN/releases/download/v0.1.0/RealESRGAN_x4plus.pth",
        "source": "https://github.com/xinntao/Real-ESRGAN", "filename": "RealESRGAN_x4plus.pth",
        "size_bytes": 67_040_989, "sha256": "4fa0d38905f75ac06eb49a7951b426670021be3018265fd191d2125df9d682f1",
        "license": "BSD-3-Clause", "license_url": "https://github.com/xinntao/Real-ESRGAN/blob/master/LICENSE",
        "tags": ("upscale",), "recommended_use": "Four times larger photographs and renderings.",
    },
    "animatediff-sd15-v2": {
        "name": "AnimateDiff motion module v2 for SD 1.5", "type": "motion_model",
        **_hub("guoyww/animatediff", "main", "mm_sd_v15_v2.ckpt"),
        "size_bytes": 1_817_888_431, "sha256": "69ed0f5fef82b110aca51bcab73b21104242bc65d6ab4b8b2a2a94d31cad1bf0",
        "license": "Apache-2.0", "tags": ("animation", "sd15"),
        "recommended_use": "Short films from a prompt; needs the extension AnimateDiff Evolved.",
    },
}

LIBRARY: Final[Mapping[str, Entry]] = {id_: Entry.model_validate(told) for id_, told in _ENTRIES.items()}
"""The curated entries by id."""


def supplying(folder: str, name: str) -> str | None:
    """The id of the curated entry that a missing file would come from: by its name, or, where any file of a folder
    would do (``any``, ``any *flux*``), the smallest that fits."""
    fitting = [(entry.size_bytes or 0, id_) for id_, entry in LIBRARY.items()
               if entry.folder == folder and supplies(entry.filename, name)]
    return min(fitting)[1] if fitting else None


def supplies(filename: str, name: str) -> bool:
    """Whether a file is the one that is missing: of that name, or, for ``any *part*``, with that in its name."""
    if name == "any":
        return True
    if name.startswith("any *"):
        return name[len("any *"):].rstrip("*").lower() in filename.lower()
    return filename == name.rpartition("/")[2]
