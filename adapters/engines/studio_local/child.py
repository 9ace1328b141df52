"""The built-in engine's child process: does one task and ends."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from adapters.engines.attempts.child import Limits, Made, Telling, Unfit, run
from adapters.engines.attempts.folder import AttemptFolder
from adapters.engines.studio_local import camera, coloring, detail, ffmpeg, films, media, placeholder, storyboard
from adapters.engines.studio_local.parameters import Parameters
from adapters.engines.studio_local.recipes import recipe_of
from adapters.engines.studio_local.version import versions

LIMITS: Final = Limits(memory=4 * 2**30, file_bytes=2 * 2**30 + 2**20)


class Job:
    """One task: its parameters, its files, and where its products go."""

    def __init__(self, folder: AttemptFolder, order: dict[str, Any], parameters: Parameters, telling: Telling) -> None:
        self.folder, self.asked, self._telling = folder, parameters, telling
        self._inputs = order["inputs"]

    def file(self, name: str, number: int = 0) -> Path:
        return self.folder.inputs / self._inputs[name][number]["file"]

    def files(self, name: str) -> list[Path]:
        return [self.file(name, number) for number in range(len(self._inputs[name]))]

    def told(self, stage: str, first: float = 0.0, last: float = 1.0) -> Callable[[float], None]:
        """A way to tell progress within one stage that covers a part of the whole."""
        return lambda fraction: self._telling(first + (last - first) * fraction, stage)

    def picture(self, image: Image.Image, name: str = "image", facts: dict[str, Any] | None = None) -> Made:
        format_ = self.asked.format  # type: ignore[attr-defined]
        product = media.saved(image, self.folder.products, name, format_)
        return Made([product], {"width": image.width, "height": image.height, **(facts or {})})

    def film(self) -> Path:
        return self.folder.products / "video.mp4"


def _denoised(image: Image.Image, strength: float, method: str, told: Callable[[float], None]) -> Image.Image:
    if not strength:
        return image
    if method == "guided":
        return detail.in_strips(image, detail.denoised(strength), told)
    told(0.0)
    plain = image.convert("RGB")
    raw = ffmpeg.filtered(plain.tobytes(), plain.size, f"nlmeans=s={1.5 + 9 * strength:.3f}:p=5:r=11")
    made = Image.frombytes("RGB", plain.size, raw)
    if image.mode == "RGBA":
        made.putalpha(image.getchannel("A"))
    return made


def _placeholder(job: Job, asked: Any) -> Made:
    image = placeholder.painted(
        asked.prompt, asked.width, asked.height, asked.seed, asked.label, asked.mood, asked.motif,
    )
    unused = sorted(name for name in asked.UNUSED if getattr(asked, name) is not None)
    return job.picture(image, facts={"placeholder": True, "unused_parameters": unused})


def _upscale_image(job: Job, asked: Any) -> Made:
    image = media.opened(job.file("image"))
    size = (image.width * asked.scale, image.height * asked.scale)
    if size[0] * size[1] > media.PIXELS or max(size) > media.SIDE:
        told = f"{size[0]} × {size[1]} pixels are more than a picture may have here: choose a smaller scale."
        raise Unfit("INVALID_FIELD_VALUE", told, field="scale")
    image = _denoised(image, asked.denoise, asked.method, job.told("denoising", 0, 0.3))
    image = image.resize(size, Image.Resampling.LANCZOS)
    if asked.sharpen:
        image = detail.in_strips(image, detail.sharpened(asked.sharpen), job.told("sharpening", 0.3, 1))
    return job.picture(image)


def _denoise(job: Job, asked: Any) -> Made:
    image = media.opened(job.file("image"))
    return job.picture(_denoised(image, asked.strength, asked.method, job.told("denoising")))


def _grade(job: Job, asked: Any) -> Made:
    return job.picture(coloring.colored(media.opened(job.file("image")), coloring.of(asked)))


def _tone_map(job: Job, asked: Any) -> Made:
    colors = coloring.table(tone=asked.tone, exposure=asked.exposure)
    return job.picture(coloring.colored(media.opened(job.file("image")), colors))


def _grain(job: Job, asked: Any) -> Made:
    image = media.opened(job.file("image"))
    return job.picture(detail.grained(image, asked.amount, asked.size, asked.seed, asked.colored))


def _finish(job: Job, asked: Any) -> Made:
    image = _denoised(media.opened(job.file("image")), asked.denoise, "guided", job.told("denoising", 0, 0.5))
    if not coloring.neutral(asked):
        image = coloring.colored(image, coloring.of(asked))
    job.told("finishing")(0.6)
    if asked.vignette:
        image = detail.vignetted(image, asked.vignette)
    if asked.grain:
        image = detail.grained(image, asked.grain, asked.grain_size, asked.seed, False)
    if asked.bars:
        image = detail.barred(image, asked.bars)
    return job.picture(image)


def _storyboard(job: Job, asked: Any) -> Made:
    pictures = []
    panel = (asked.width, asked.width)
    for place, path in enumerate(files := job.files("images")):
        job.told("opening pictures", 0, 0.7)(place / len(files))
        picture = media.opened(path)
        picture.thumbnail(panel, Image.Resampling.LANCZOS)  # 24 whole pictures would not fit into memory
        pictures.append(picture)
    board, boxes = storyboard.drawn(pictures, asked.captions, asked.title, asked.columns, asked.width,
                                    asked.panel_ratio, asked.background, asked.numbered)
    return job.picture(board, "storyboard", {"panels": boxes})


def _filmed(job: Job, asked: Any, count: int, **sound: Any) -> Made:
    image = media.opened(job.file("image"))
    size = camera.size_of(image, asked.width, asked.height)
    shots = camera.frames(image, size, count, asked.move, asked.amount, asked.easing, asked.seed, job.told("filming"))
    ffmpeg.filmed(shots, size, asked.fps, job.film(), **sound)
    seconds = round(count / asked.fps, 3)
    facts = {"width": size[0], "height": size[1], "frames": count, "fps": asked.fps, "seconds": seconds}
    return Made([("video.mp4", "video/mp4")], facts)


def _camera(job: Job, asked: Any) -> Made:
    return _filmed(job, asked, max(1, round(asked.seconds * asked.fps)))


def _still_audio(job: Job, asked: Any) -> Made:
    sound, seconds = films.sound_of(job.file("audio"))
    return _filmed(job, asked, max(1, math.ceil(seconds * asked.fps)), sound=sound, volume=asked.volume)


def _video(job: Job, filters: list[str], stage: str, scale: int = 1) -> Made:
    facts = films.filtered(job.file("video"), job.folder.work, job.film(), filters, scale, job.told(stage))
    return Made([("video.mp4", "video/mp4")], facts)


def _finish_video(job: Job, asked: Any) -> Made:
    return _video(job, [
        *films.denoise(asked.denoise), *films.deflicker(asked.deflicker), *films.grade(asked, job.folder.work),
        *films.vignette(asked.vignette), *films.grain(asked.grain, asked.seed),
    ], "finishing")


def _upscale_video(job: Job, asked: Any) -> Made:
    scaled = [f"scale=iw*{asked.scale}:ih*{asked.scale}:flags=lanczos+accurate_rnd+full_chroma_int"]
    return _video(job, [
        *films.denoise(asked.denoise), *films.deflicker(asked.deflicker), *(scaled if asked.scale > 1 else []),
        *films.sharpen(asked.sharpen),
    ], "upscaling", asked.scale)


def _join(job: Job, asked: Any) -> Made:
    facts = films.joined(job.file("video"), job.file("audio"), job.film(), asked.until, asked.volume,
                         asked.keep_original, job.told("joining"))
    return Made([("video.mp4", "video/mp4")], facts)


def _concat(job: Job, asked: Any) -> Made:
    facts = films.chained(job.files("videos"), job.film(), asked.fade, asked.fps, job.told("joining"))
    return Made([("video.mp4", "video/mp4")], facts)


WORK: Final[dict[tuple[str, str], Callable[[Job, Any], Made]]] = {
    ("text_to_image", "placeholder"): _placeholder,
    ("upscale_image", "lanczos"): _upscale_image,
    ("edit_image", "denoise"): _denoise,
    ("edit_image", "color_grade"): _grade,
    ("edit_image", "tone_map"): _tone_map,
    ("edit_image", "film_grain"): _grain,
    ("edit_image", "finish"): _finish,
    ("compose_images", "storyboard"): _storyboard,
    ("image_to_video", "camera"): _camera,
    ("upscale_video", "lanczos"): _upscale_video,
    ("edit_video", "deflicker"): lambda job, asked: _video(job, films.deflicker(asked.strength), "deflickering"),
    ("edit_video", "denoise"): lambda job, asked: _video(job, films.denoise(asked.strength), "denoising"),
    ("edit_video", "color_grade"): lambda job, asked: _video(job, films.grade(asked, job.folder.work), "grading"),
    ("edit_video", "film_grain"): lambda job, asked: _video(job, films.grain(asked.amount, asked.seed), "graining"),
    ("edit_video", "finish"): _finish_video,
    ("compose_video", "join_audio"): _join,
    ("compose_video", "still_audio"): _still_audio,
    ("compose_video", "concat"): _concat,
}


def work(folder: AttemptFolder, order: dict[str, Any], telling: Telling) -> Made:
    """Does the task of an order."""
    np.seterr(all="ignore")
    recipe = recipe_of(order["operation"], order["model"])
    if recipe is None:
        raise Unfit("CONTRACT_MISMATCH", f"The built-in engine has no {order['operation']} by {order['model'][:100]}.")
    asked = recipe.parameters.model_validate(order["parameters"])
    made = WORK[recipe.operation, recipe.model](Job(folder, order, asked, telling), asked)
    facts = {"engine": "studio_local", "model": recipe.model, "seed": asked.seed, "versions": versions(), **made.facts}
    return Made(made.products, facts)


if __name__ == "__main__":
    run(work, sys.argv[1], LIMITS)
