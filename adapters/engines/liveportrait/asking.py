"""What LivePortrait may be asked: its parameters, and how the command line of an installed release says them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from domain.ports.engines import EngineError, Task
from domain.studio.fault import fault


class Animate(BaseModel):
    """A face moves as the face of a driving video does. What is ``None`` is left to the installed release."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    seed: Annotated[int, Field(ge=0, le=2**63 - 1, description="Not used: the same inputs make the same result.")] = 0
    region: Literal["all", "exp", "pose", "lip", "eyes"] = "all"
    multiplier: Annotated[float, Field(ge=0.1, le=3)] = 1.0
    relative: bool | None = None
    stitching: bool | None = None
    pasteback: bool | None = None
    crop_driving: bool | None = None
    force_cpu: bool = False
    device: Annotated[int, Field(ge=0, le=63)] = 0


OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "region": ("animation_region",), "multiplier": ("driving_multiplier",),
    "relative": ("flag_relative_motion", "flag_relative"), "stitching": ("flag_stitching",),
    "pasteback": ("flag_pasteback",), "crop_driving": ("flag_crop_driving_video",), "force_cpu": ("flag_force_cpu",),
    "device": ("device_id",),
}
"""Parameter -> the option that says it, by release the newest first."""


def judged(task: Task) -> Animate:
    """The parameters of a task that fits. Raises ``EngineError`` with what does not."""
    if task.operation != "expression_transfer" or task.model not in ("", "liveportrait"):
        raise EngineError(fault("CONTRACT_MISMATCH", f"LivePortrait does no {task.operation} by {task.model[:100]}."))
    _inputs(task)
    problems: dict[str, str] = {}
    try:
        return Animate.model_validate(dict(task.parameters))
    except ValidationError as error:
        told = error.errors(include_input=False, include_url=False, include_context=False)
        problems = {str(one["loc"][0])[:60] if one["loc"] else "parameters": one["msg"] for one in told[:10]}
    said = "; ".join(f"{name}: {text}" for name, text in problems.items())
    raise EngineError(fault("INVALID_FIELD_VALUE", f"The parameters do not fit: {said}.", fields=problems))


def _inputs(task: Task) -> None:
    sources = [name for name in ("image", "source_video") if task.inputs.get(name)]
    wanted = {"image": "image", "source_video": "video", "video": "video"}
    if len(sources) != 1 or not task.inputs.get("video"):
        told = "LivePortrait needs an image (or a source_video) to move, and a video that it moves like."
        raise EngineError(fault("MISSING_REQUIRED_FIELD", told, fields=["image", "video"]))
    for name, materials in task.inputs.items():
        if name not in wanted or len(materials) != 1:
            raise EngineError(fault("CONTRACT_MISMATCH", f"LivePortrait takes one image or source_video and one video, "
                                                         f"not {len(materials)} {name[:60]}."))
        if not materials[0].media_type.startswith(f"{wanted[name]}/"):  # a .pkl template could run code: never
            raise EngineError(fault("FILE_REFUSED", f"{name} must be {wanted[name]}, not {materials[0].media_type}."))


def arguments(asked: Animate, options: frozenset[str]) -> list[str]:
    """The options of what differs from the defaults. Raises ``ValueError`` with what this release does not know."""
    words: list[str] = []
    for name, known in OPTIONS.items():
        value: Any = getattr(asked, name)
        if value == Animate.model_fields[name].default:
            continue
        option = next((one for one in known if one in options), None)
        if option is None:
            raise ValueError(name)
        if isinstance(value, bool):
            words.append(f"--{'' if value else 'no-'}{option}")
        else:
            words += [f"--{option}", str(value)]
    return words
