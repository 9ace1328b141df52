"""What the built-in engine can do: operations and models with inputs and parameters, judged before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

from pydantic import ValidationError

from adapters.engines.studio_local.parameters import (
    Camera,
    Concat,
    Deflicker,
    Denoise,
    DenoiseVideo,
    Finish,
    FinishVideo,
    Grade,
    GradeVideo,
    Grain,
    GrainVideo,
    JoinAudio,
    Parameters,
    Placeholder,
    StillAudio,
    Storyboard,
    ToneMap,
    UpscaleImage,
    UpscaleVideo,
)
from domain.ports.engines import EngineError, Offer, Operation, Task
from domain.studio.fault import Fault, fault


class Wanted(NamedTuple):
    """An input of a recipe: what kind of file, and how many."""

    kind: Literal["image", "video", "audio"]
    least: int = 1
    most: int = 1


class Recipe(NamedTuple):
    """What is made of what by which parameters."""

    operation: Operation
    model: str
    parameters: type[Parameters]
    inputs: Mapping[str, Wanted]


_IMAGE: Final = {"image": Wanted("image")}
_VIDEO: Final = {"video": Wanted("video")}

RECIPES: Final = {(one.operation, one.model): one for one in (
    Recipe("text_to_image", "placeholder", Placeholder, {}),
    Recipe("upscale_image", "lanczos", UpscaleImage, _IMAGE),
    Recipe("edit_image", "denoise", Denoise, _IMAGE),
    Recipe("edit_image", "color_grade", Grade, _IMAGE),
    Recipe("edit_image", "tone_map", ToneMap, _IMAGE),
    Recipe("edit_image", "film_grain", Grain, _IMAGE),
    Recipe("edit_image", "finish", Finish, _IMAGE),
    Recipe("compose_images", "storyboard", Storyboard, {"images": Wanted("image", 1, 24)}),
    Recipe("image_to_video", "camera", Camera, _IMAGE),
    Recipe("upscale_video", "lanczos", UpscaleVideo, _VIDEO),
    Recipe("edit_video", "deflicker", Deflicker, _VIDEO),
    Recipe("edit_video", "denoise", DenoiseVideo, _VIDEO),
    Recipe("edit_video", "color_grade", GradeVideo, _VIDEO),
    Recipe("edit_video", "film_grain", GrainVideo, _VIDEO),
    Recipe("edit_video", "finish", FinishVideo, _VIDEO),
    Recipe("compose_video", "join_audio", JoinAudio, {"video": Wanted("video"), "audio": Wanted("audio")}),
    Recipe("compose_video", "still_audio", StillAudio, {"image": Wanted("image"), "audio": Wanted("audio")}),
    Recipe("compose_video", "concat", Concat, {"videos": Wanted("video", 1, 12)}),
)}
"""Every recipe by operation and model."""


def offers(missing: Sequence[str] = ()) -> list[Offer]:
    """The recipes as offers: ``parameters`` holds the JSON schema and the inputs; ``missing`` is what video needs."""
    found = []
    for recipe in RECIPES.values():
        inputs = {name: {"kind": one.kind, "least": one.least, "most": one.most} for name, one in recipe.inputs.items()}
        films = "video" in recipe.operation
        found.append(Offer(recipe.operation, recipe.model,
                           {"schema": recipe.parameters.model_json_schema(), "inputs": inputs},
                           tuple(missing) if films else ()))
    return found


def recipe_of(operation: str, model: str) -> Recipe | None:
    """The recipe of a task; an empty model means the first one of the operation."""
    if not model:
        return next((one for one in RECIPES.values() if one.operation == operation), None)
    return RECIPES.get((operation, model))  # type: ignore[call-overload, no-any-return]


def judged(task: Task) -> Recipe:
    """The recipe of a task that fits it. Raises ``EngineError`` with what does not fit."""
    recipe = recipe_of(task.operation, task.model)
    if recipe is None:
        known = sorted(one.model for one in RECIPES.values() if one.operation == task.operation)
        raise EngineError(fault(
            "CONTRACT_MISMATCH", f"The built-in engine has no {task.operation} by {task.model[:100]}.", known=known,
        ))
    _inputs(recipe, task)
    try:
        recipe.parameters.model_validate(dict(task.parameters))
    except ValidationError as error:
        raise EngineError(_unfit(error)) from None
    return recipe


def _inputs(recipe: Recipe, task: Task) -> None:
    for name in task.inputs:
        if name not in recipe.inputs:
            raise EngineError(fault("CONTRACT_MISMATCH", f"{recipe.model} takes no input {name[:60]}.",
                                    known=sorted(recipe.inputs)))
    for name, wanted in recipe.inputs.items():
        given = task.inputs.get(name, ())
        if len(given) < wanted.least:
            raise EngineError(fault("MISSING_REQUIRED_FIELD", f"{recipe.model} needs {name}.", field=name))
        if len(given) > wanted.most:
            raise EngineError(fault("INVALID_FIELD_VALUE", f"{recipe.model} takes at most {wanted.most} {name}.",
                                    field=name))
        for material in given:
            family = material.media_type.partition("/")[0]
            if family != wanted.kind and family != "application":  # what a type nobody knows is, its bytes decide
                raise EngineError(fault("FILE_REFUSED", f"{name} must be {_a(wanted.kind)}, not {material.media_type}.",
                                        field=name))


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def _unfit(error: ValidationError) -> Fault:
    problems = error.errors(include_input=False, include_url=False, include_context=False)[:10]
    named = {".".join(map(str, one["loc"])) or "parameters": one["msg"] for one in problems}
    kinds = {one["type"] for one in problems}
    code = "INVALID_FIELD_VALUE"
    if "extra_forbidden" in kinds:
        code = "CONTRACT_MISMATCH"
    elif any(kind.endswith("_type") or kind == "is_instance_of" for kind in kinds):
        code = "INVALID_FIELD_TYPE"
    told = "; ".join(f"{name[:60]}: {text}" for name, text in named.items())
    return fault(code, f"The parameters do not fit: {told}.", fields=named)
