"""Models of remote services as data: what each must be told under our names, and how the service calls it.

A list lies beside as JSON for each service. Everything is checked before anything is sent: a task that the service
would refuse, or worse, would take and do otherwise, costs nothing here.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Final, Literal, NamedTuple, get_args

import orjson
from pydantic import Field

from adapters.engines.remote.asking import refused
from domain.bounded_json import BoundedJson, BoundedObject, Number
from domain.ports.engines import Material, Offer, Operation, Reading, Task
from domain.values import Json, Value

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]

EVERYWHERE: Final = frozenset({"seed"})
"""Parameters that every task may have; a model that takes none is not told."""


class Parameter(Value):
    """What a model is told. ``field`` is the service's name (dots lead into objects); ``spelt`` how it wants it."""

    type: Literal["text", "integer", "number", "boolean", "choice"]
    field: Annotated[str, Field(max_length=100)] = ""
    spelt: Literal["as_is", "text"] = "as_is"
    required: bool = False
    default: BoundedJson = None
    minimum: Number | None = None
    maximum: Number | None = None
    multiple_of: Annotated[int, Field(ge=1)] | None = None
    longest: Annotated[int, Field(ge=1)] = 4000
    choices: Annotated[tuple[str | int, ...], Field(max_length=50)] = ()
    description: Annotated[str, Field(max_length=300)] = ""


class FileInput(Value):
    """A file that a model works on, and how it is handed over."""

    field: Annotated[str, Field(max_length=100)]
    media: Literal["image", "video", "audio"]
    form: Literal["base64", "data_uri", "upload", "part"] = "data_uri"
    required: bool = True
    many: bool = False
    most: Annotated[int, Field(ge=1, le=20)] = 1
    largest: Annotated[int, Field(ge=1)] = 10_000_000


class Model(Value):
    """One model of a service. ``path`` is where it is asked, ``fixed`` is said each time, ``media`` what it makes."""

    id: Annotated[str, Field(min_length=1, max_length=300)]
    operation: Operation
    path: Annotated[str, Field(max_length=300)] = ""
    parameters: dict[Name, Parameter] = {}
    inputs: dict[Name, FileInput] = {}
    fixed: BoundedObject = {}
    media: Literal["image/png", "image/jpeg", "video/mp4"]
    source: Annotated[str, Field(max_length=500)] = ""


class Handed(NamedTuple):
    """A file in memory with what it is."""

    material: Material
    content: bytes


class Models:
    """The models of one service, by id and operation."""

    def __init__(self, service: str, models: Sequence[Model]) -> None:
        self._service = service
        self._models = {(one.operation, one.id): one for one in models}
        assert len(self._models) == len(models), "a model is listed once for each operation"

    @property
    def all(self) -> list[Model]:
        return list(self._models.values())

    def offers(self) -> list[Offer]:
        """What the service can be asked for."""
        return [Offer(one.operation, one.id, _shown(one)) for one in self._models.values()]

    def of(self, task: Task) -> Model:
        """The model of a task; raises ``EngineError`` for one that is not listed."""
        found = self._models.get((task.operation, task.model))
        if found is None and task.operation in get_args(Operation) and not task.model:
            found = next((one for one in self._models.values() if one.operation == task.operation), None)
        if found is None:
            raise refused("INVALID_FIELD_VALUE", f"{self._service} has no model {task.model[:100] or 'of no name'} "
                          f"for {task.operation} that is known here.", model=task.model[:100],
                          known=[id_ for operation, id_ in self._models if operation == task.operation])
        return found


@cache
def listed(service: str, file: str) -> Models:
    """The list that lies beside."""
    content = files("adapters.engines.remote").joinpath("models", f"{file}.json").read_bytes()
    return Models(service, [Model.model_validate(one) for one in orjson.loads(content)])


def _shown(model: Model) -> dict[str, Any]:
    parameters = {
        name: one.model_dump(mode="json", exclude_defaults=True, exclude={"field", "spelt"})
        for name, one in model.parameters.items()
    }
    inputs = {name: one.model_dump(mode="json", include={"media", "required", "many", "most", "largest"})
              for name, one in model.inputs.items()}
    return {"parameters": parameters, "inputs": inputs, "source": model.source}


def filled(model: Model, task: Task) -> dict[str, Any]:
    """The parameters of a task under the service's names, checked. Raises ``EngineError``."""
    extra = sorted(task.parameters.keys() - model.parameters.keys() - EVERYWHERE)
    if extra:
        raise refused("INVALID_FIELD_VALUE", f"{model.id} takes no {', '.join(extra)[:200]}.",
                      fields=[one[:100] for one in extra[:20]])
    body: dict[str, Any] = {}
    for name, one in model.parameters.items():
        value = task.parameters.get(name)
        value = one.default if value is None else value
        if value is None:
            if one.required:
                raise refused("MISSING_REQUIRED_FIELD", f"{model.id} needs {name}.", fields=[name])
            continue
        put(body, one.field or name, _checked(model.id, name, one, value))
    for field, value in model.fixed.items():
        put(body, field, value)
    return body


def put(body: dict[str, Any], field: str, value: Any) -> None:
    """Sets a field; dots lead into objects."""
    *way, last = field.split(".")
    for step in way:
        body = body.setdefault(step, {})
    body[last] = value


def _checked(model: str, name: str, one: Parameter, value: Json) -> Any:
    def wrong(why: str, code: str = "INVALID_FIELD_VALUE") -> Exception:
        return refused(code, f"{name} of {model} {why}.", fields=[name])

    kinds: dict[str, tuple[type, ...]] = {
        "text": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "choice": (str, int),
    }
    if one.type == "integer" and isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, kinds[one.type]) or (isinstance(value, bool) and one.type != "boolean"):
        raise wrong(f"must be of the type {one.type}", "INVALID_FIELD_TYPE")
    if isinstance(value, str) and len(value) > one.longest:
        raise wrong(f"is longer than {one.longest} characters")
    if isinstance(value, str) and one.required and not value.strip():
        raise wrong("is empty", "MISSING_REQUIRED_FIELD")
    if one.type in ("integer", "number") and isinstance(value, int | float):
        if not (one.minimum is None or value >= one.minimum) or not (one.maximum is None or value <= one.maximum):
            raise wrong(f"must lie between {one.minimum} and {one.maximum}")
        if one.multiple_of is not None and value % one.multiple_of:
            raise wrong(f"must be a multiple of {one.multiple_of}")
    if one.choices:
        # 5 and "5" mean the same to people; services differ in what they want.
        same = next((choice for choice in one.choices if str(choice) == str(value)), None)
        if same is None:
            raise wrong(f"must be one of {', '.join(map(str, one.choices))}")
        value = same
    return str(value) if one.spelt == "text" else value


async def handed(model: Model, task: Task, reading: Reading) -> dict[str, list[Handed]]:
    """The files of a task, read whole and bounded, by input. Raises ``EngineError`` before anything is sent."""
    extra = sorted(task.inputs.keys() - model.inputs.keys())
    if extra:
        raise refused("INVALID_FIELD_VALUE", f"{model.id} takes no file {', '.join(extra)[:200]}.",
                      fields=[one[:100] for one in extra[:20]])
    found: dict[str, list[Handed]] = {}
    for name, one in model.inputs.items():
        materials = list(task.inputs.get(name, ()))
        if not materials:
            if one.required:
                raise refused("MISSING_REQUIRED_FIELD", f"{model.id} needs the file {name}.", fields=[name])
            continue
        if len(materials) > (one.most if one.many else 1):
            raise refused("INVALID_FIELD_VALUE", f"{model.id} takes fewer files for {name}.", fields=[name])
        found[name] = [Handed(material, await _read(name, one, material, reading)) for material in materials]
    return found


async def _read(name: str, one: FileInput, material: Material, reading: Reading) -> bytes:
    if not material.media_type.startswith(f"{one.media}/"):
        raise refused("INVALID_FIELD_TYPE", f"The file {name} must be of the kind {one.media}.", fields=[name])
    if material.size > one.largest:
        raise refused("INVALID_FIELD_VALUE", f"The file {name} is larger than {one.largest} bytes.", fields=[name])
    content = bytearray()
    async with reading(material) as pieces:
        async for piece in pieces:
            content += piece
            if len(content) > material.size:
                break
    if len(content) != material.size:
        raise refused("FILE_NOT_FOUND", f"The file {name} is not what it was when it was chosen.", fields=[name])
    return bytes(content)


def base64_of(handed: Handed) -> str:
    """A file as base64."""
    return base64.b64encode(handed.content).decode()


def data_uri(handed: Handed) -> str:
    """A file as an address that holds it."""
    return f"data:{handed.material.media_type};base64,{base64_of(handed)}"
