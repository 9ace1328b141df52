"""The parameters of the built-in engine's recipes, with their bounds and defaults."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _whole(value: Any) -> Any:
    """JSON of other programs writes 2 as 2.0; that is still a whole number, and "2" is not."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, BeforeValidator(_whole)]
Seed = Annotated[Whole, Field(ge=0, le=2**63 - 1, description="The same seed makes the same bytes.")]
Part = Annotated[float, Field(ge=0, le=1)]
Side = Annotated[Whole, Field(ge=64, le=4096, description="Pixels.")]
Color = Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]
Look = Literal["none", "warm", "cool", "cinematic", "noir", "pastel", "vintage", "vivid", "night", "sepia", "bleach"]
Tone = Literal["none", "reinhard", "filmic"]
Move = Literal["zoom_in", "zoom_out", "pan_left", "pan_right", "pan_up", "pan_down", "ken_burns", "still"]
Easing = Literal["linear", "ease_in", "ease_out", "ease_in_out"]
Format = Literal["png", "jpeg", "webp"]


class Parameters(BaseModel):
    """Parameters of a recipe. What no recipe knows is refused, so that nothing is dropped in silence."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    seed: Seed = 0


class Picture(Parameters):
    """How a resulting picture is written."""

    format: Format = "png"


class Placeholder(Picture):
    """A picture that says what will be here. Those in ``UNUSED`` are taken so that drafts share presets with models."""

    UNUSED: ClassVar[tuple[str, ...]] = (
        "negative_prompt", "steps", "cfg", "guidance", "sampler", "scheduler", "checkpoint", "loras", "denoise",
        "style",
    )

    prompt: Annotated[str, Field(max_length=4000)] = ""
    width: Side = 1024
    height: Side = 1024
    label: Annotated[str, Field(max_length=60)] = ""
    mood: Literal["auto", "day", "dusk", "night", "forest", "sea", "snow", "room", "city", "rose"] = "auto"
    motif: Literal["auto", "hills", "orbs", "waves", "figure"] = "auto"
    negative_prompt: Any = None
    steps: Any = None
    cfg: Any = None
    guidance: Any = None
    sampler: Any = None
    scheduler: Any = None
    checkpoint: Any = None
    loras: Any = None
    denoise: Any = None
    style: Any = None


class UpscaleImage(Picture):
    """Lanczos, then details made clearer without halos; noise may be taken away before."""

    scale: Annotated[Whole, Field(ge=2, le=4)] = 2
    sharpen: Part = 0.4
    denoise: Part = 0.0
    method: Literal["guided", "nlmeans"] = "guided"


class Denoise(Picture):
    """Noise taken away, edges kept: ``guided`` is quick, ``nlmeans`` thorough."""

    strength: Part = 0.5
    method: Literal["guided", "nlmeans"] = "guided"


class Coloring(Parameters):
    """Colours: exposure in stops, a tone curve, a look, then contrast, saturation and temperature."""

    look: Look = "none"
    strength: Part = 1.0
    tone: Tone = "none"
    exposure: Annotated[float, Field(ge=-4, le=4)] = 0.0
    contrast: Annotated[float, Field(ge=-1, le=1)] = 0.0
    saturation: Annotated[float, Field(ge=-1, le=1)] = 0.0
    temperature: Annotated[float, Field(ge=-1, le=1)] = 0.0


class Grade(Coloring, Picture):
    """Colours of a picture."""

    look: Look = "cinematic"


class ToneMap(Picture):
    """Highlights brought back by a tone curve."""

    tone: Literal["reinhard", "filmic"] = "reinhard"
    exposure: Annotated[float, Field(ge=-4, le=4)] = 0.5


class Grain(Picture):
    """Grain as of film: strongest in the middle tones; ``size`` in pixels."""

    amount: Part = 0.3
    size: Annotated[float, Field(ge=1, le=4)] = 1.2
    colored: bool = False


class Finish(Coloring, Picture):
    """Everything at once, in the order denoise, colours, vignette, grain, bars; 0 leaves a part out."""

    denoise: Part = 0.0
    vignette: Part = 0.0
    grain: Part = 0.0
    grain_size: Annotated[float, Field(ge=1, le=4)] = 1.2
    bars: Annotated[float, Field(ge=0, le=4, description="Width to height that stays visible, 2.39 for film.")] = 0.0


class Storyboard(Picture):
    """Pictures in a grid, numbered, each with its caption. ``columns`` 0 chooses."""

    captions: Annotated[list[Annotated[str, Field(max_length=500)]], Field(max_length=24)] = []
    title: Annotated[str, Field(max_length=120)] = ""
    columns: Annotated[Whole, Field(ge=0, le=6)] = 0
    width: Annotated[Whole, Field(ge=480, le=4096)] = 1920
    panel_ratio: Annotated[float, Field(ge=0.4, le=3)] = 16 / 9
    background: Color = "#16181d"
    numbered: bool = True


class Camera(Parameters):
    """A still picture as a video by a move of the camera. ``amount`` is the part of the picture that the move covers;
    ``width`` and ``height`` 0 follow the picture, up to 1280 pixels."""

    move: Move = "ken_burns"
    seconds: Annotated[float, Field(ge=0.2, le=60)] = 4.0
    fps: Annotated[Whole, Field(ge=1, le=60)] = 24
    amount: Annotated[float, Field(ge=0.02, le=0.5)] = 0.15
    easing: Easing = "ease_in_out"
    width: Annotated[Whole, Field(ge=0, le=1920)] = 0
    height: Annotated[Whole, Field(ge=0, le=1920)] = 0
    prompt: Annotated[str, Field(max_length=4000, description="Not used; a camera move needs none.")] = ""


class FinishVideo(Coloring):
    """Everything for a video, in the order denoise, deflicker, colours, vignette, grain; 0 leaves a part out."""

    denoise: Part = 0.0
    deflicker: Part = 0.0
    vignette: Part = 0.0
    grain: Part = 0.0


class UpscaleVideo(Parameters):
    """Lanczos, with denoising and deflickering before and sharpening after."""

    scale: Annotated[Whole, Field(ge=1, le=4)] = 2
    sharpen: Part = 0.3
    denoise: Part = 0.0
    deflicker: Part = 0.0


class Deflicker(Parameters):
    """Brightness evened out over neighbouring frames."""

    strength: Part = 0.7


class DenoiseVideo(Parameters):
    """Noise taken away in space and time."""

    strength: Part = 0.5


class GradeVideo(Coloring):
    """Colours of a video."""

    look: Look = "cinematic"


class GrainVideo(Parameters):
    """Grain that moves."""

    amount: Part = 0.3


class JoinAudio(Parameters):
    """A video with a sound. ``until`` says which of them decides the length; a shorter video is repeated."""

    until: Literal["shortest", "video", "audio"] = "video"
    volume: Annotated[float, Field(ge=0, le=4)] = 1.0
    keep_original: bool = False


class StillAudio(Parameters):
    """One picture for as long as a sound, with a camera move."""

    move: Move = "still"
    amount: Annotated[float, Field(ge=0.02, le=0.5)] = 0.08
    easing: Easing = "ease_in_out"
    fps: Annotated[Whole, Field(ge=1, le=60)] = 24
    width: Annotated[Whole, Field(ge=0, le=1920)] = 0
    height: Annotated[Whole, Field(ge=0, le=1920)] = 0
    volume: Annotated[float, Field(ge=0, le=4)] = 1.0


class Concat(Parameters):
    """Clips one after another, fitted into the size of the first; ``fade`` seconds of cross-fade between them."""

    fade: Annotated[float, Field(ge=0, le=2)] = 0.0
    fps: Annotated[Whole, Field(ge=1, le=60)] = 24
