"""Doors of generation: which presets can run now, running one, the plain contract for a picture or a video, engines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import Field, ValidationError

from domain.bounded_json import BoundedObject
from domain.errors import Invalid, NotFound, Remedy
from domain.ids import Token
from domain.studio.fault import fault
from domain.studio.job import Closed, Open
from domain.values import Value
from gateways.http import openapi, schemas
from gateways.http.asking import DEFAULT_PROJECT, asker, checked_name, refuse_if_match
from gateways.http.bodies import check_media_type, read_object
from gateways.http.commands import circumstances
from gateways.http.problems import Reply, encode, in_future, malformed, unfit, wrong_fields
from gateways.http.routing import Answering, Door
from gateways.http.visit import Visit, single
from services.generation.accepting import Accepted, accepted, foreseen, recorded
from services.generation.faults import raised
from services.generation.library import find_preset
from services.generation.showing import engine_shown, engines_shown, makes, preset_shown, presets_shown
from services.generation.wishes import EngineId, Terms, Wish
from services.studio import Studio

RUN: Final = "job:write"
READ: Final = "preset:read"
ENGINES: Final = "engine:read"

Prompt = Annotated[str, Field(min_length=1, max_length=2000)]


class PresetInputs(Value):
    """What a preset is run with."""

    inputs: BoundedObject = {}
    quality_level: Annotated[str, Field(min_length=1, max_length=64)] | None = None


class RunPreset(Terms, PresetInputs):
    """A run of a preset. `engine` goes before others where it suits; `spend_limit` is in credits (a credit is a cent).
    `consent_given` says that the people shown have agreed; it is recorded with your name."""

    nsfw_acknowledged: bool = False


class GenerateRequest(Value):
    """A picture or a video. `prompt` is needed by presets that paint; `inputs` holds what else a preset takes."""

    preset_id: Annotated[str, Field(min_length=1, max_length=100)]
    prompt: Prompt | None = None
    negative_prompt: Annotated[str, Field(max_length=2000)] | None = None
    quality_level: Literal["low", "standard", "pro"] = "standard"
    seed: Annotated[int, Field(ge=0, lt=2**32)] | None = None
    identity_reference: Annotated[tuple[Token, ...], Field(max_length=20)] | None = None
    consent_given: bool = False
    inputs: BoundedObject = {}
    engine: EngineId | None = None
    account: Token | None = None
    spend_limit: Annotated[float, Field(ge=0, le=1_000_000)] | None = None


def generate_doors(studio: Studio) -> list[Door]:
    """Presets with what they can do now, running them, and engines."""
    return [
        Door("GET", "/api/presets", answer=_presets(studio), operation=_LIST),
        Door("GET", "/api/presets/{id}", answer=_preset(studio), operation=_SHOW),
        Door("POST", "/api/presets/{id}/run", answer=_run(studio), operation=_RUN),
        Door("POST", "/api/generate/image", answer=_generate(studio, "image"), operation=_generating("image")),
        Door("POST", "/api/generate/video", answer=_generate(studio, "video"), operation=_generating("video")),
        Door("GET", "/api/engines", answer=_engines(studio), operation=_ENGINES),
        Door("GET", "/api/engines/{id}", answer=_engine(studio), operation=_ENGINE),
    ]


# --- looking --------------------------------------------------------------------------------------------------------


def _presets(studio: Studio) -> Answering:
    async def answer(visit: Visit) -> Reply:
        given = single(visit.parameters(), frozenset({"project", "min_position"}))
        project = checked_name("project", given.get("project", DEFAULT_PROJECT))
        visit.grant.need(READ, project)
        position = given.get("min_position", "0")
        if not (position.isascii() and position.isdigit() and len(position) <= 18):
            raise wrong_fields("The query string", "invalid_parameters",
                               [{"path": "min_position", "message": "a position is a whole number"}])
        if int(position) and int(position) > (head := await studio.log.head()):
            raise in_future("min_position", int(position), head)
        return Reply(200, encode(await presets_shown(studio, project, min_position=int(position))))

    return answer


def _preset(studio: Studio) -> Answering:
    async def answer(visit: Visit) -> Reply:
        given = single(visit.parameters(), frozenset({"project"}))
        project = checked_name("project", given.get("project", DEFAULT_PROJECT))
        visit.grant.need(READ, project)
        return Reply(200, encode(await preset_shown(studio, project, visit.path["id"])))

    return answer


def _engines(studio: Studio) -> Answering:
    async def answer(visit: Visit) -> Reply:
        checked_name("project", single(visit.parameters(), frozenset({"project"})).get("project", DEFAULT_PROJECT))
        visit.grant.need(ENGINES, DEFAULT_PROJECT)
        return Reply(200, encode(await engines_shown(studio)))

    return answer


def _engine(studio: Studio) -> Answering:
    async def answer(visit: Visit) -> Reply:
        checked_name("project", single(visit.parameters(), frozenset({"project"})).get("project", DEFAULT_PROJECT))
        visit.grant.need(ENGINES, DEFAULT_PROJECT)
        found = await engine_shown(studio, visit.path["id"])
        if found is None:
            raise NotFound(
                f"There is no engine {visit.path['id'][:100]}.", error="unknown_engine",
                remediation=[Remedy("List the engines: GET /api/engines.", "list_engines")],
            )
        return Reply(200, encode(found))

    return answer


# --- running --------------------------------------------------------------------------------------------------------


def _run(studio: Studio) -> Answering:
    async def answer(visit: Visit) -> Reply:
        project, worldline, dry_run = circumstances(visit)
        asked: RunPreset = await _read(visit, RunPreset)
        found = await find_preset(studio.dispatcher, project, visit.path["id"])
        said = asked.model_dump(exclude_unset=True, exclude={"quality_level"})
        wish = _wished(preset_id=visit.path["id"], quality=asked.quality_level, worldline=worldline, **said)
        return await _accepted(studio, visit, project, wish, makes(found.preset), dry_run)

    return answer


def _generate(studio: Studio, kind: str) -> Answering:
    async def answer(visit: Visit) -> Reply:
        project, worldline, dry_run = circumstances(visit)
        asked: GenerateRequest = await _read(visit, GenerateRequest)
        preset = (await find_preset(studio.dispatcher, project, asked.preset_id)).preset
        if makes(preset) not in (kind, "any"):
            raise raised(fault("CONTRACT_MISMATCH", f"{preset.name} makes something else ({makes(preset)}): ask for it "
                               f"at /api/generate/{makes(preset)}.", fields=[{"path": "preset_id"}]))
        inputs, notes = _inputs(asked, preset.inputs)
        wish = _wished(
            preset_id=asked.preset_id, quality=asked.quality_level, worldline=worldline, inputs=inputs,
            consent_given=asked.consent_given, engine=asked.engine, account=asked.account,
            spend_limit=asked.spend_limit,
        )
        return await _accepted(studio, visit, project, wish, kind, dry_run, notes)

    return answer


def _wished(**given: Any) -> Wish:
    try:
        return Wish.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:  # what stood in fields of its own and in `inputs` may be too much together
        raise _mismatch(error) from error


def _inputs(asked: GenerateRequest, known: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The inputs of a preset from the plain contract, which says the same words to every preset."""
    inputs: dict[str, Any] = dict(asked.inputs)
    notes: list[str] = []
    if asked.prompt is not None:
        place = next((name for name in ("prompt", "prompt_template") if name in known), None)
        if place is None:
            notes.append("This preset paints nothing: the prompt is not used.")
        else:
            inputs[place] = asked.prompt
    if asked.negative_prompt:
        inputs["negative_prompt"] = asked.negative_prompt
    if asked.seed is not None:
        inputs["seed"] = asked.seed
    if asked.identity_reference:
        one = known.get("identity_reference")
        alone = one is not None and not one.many and len(asked.identity_reference) == 1
        inputs["identity_reference"] = asked.identity_reference[0] if alone else list(asked.identity_reference)
    return inputs, notes


async def _read(visit: Visit, model: Any) -> Any:
    body = await visit.body()
    if body:
        check_media_type(visit.header(b"content-type"), visit.header(b"content-encoding"))
    try:
        given = read_object(body or b"{}")
    except Invalid as error:
        if error.code != "invalid_fields":
            raise
        raise Invalid(error.message, error="CONTRACT_MISMATCH", remediation=error.remediation,
                      detail=error.detail) from error
    try:
        return model.model_validate_json(orjson.dumps(given), strict=True)
    except ValidationError as error:
        raise _mismatch(error) from error
    except TypeError as error:  # half of a surrogate pair, or a number beyond 64 bit
        raise malformed("it holds what JSON in UTF-8 cannot say") from error


def _mismatch(error: ValidationError) -> Invalid:
    told = unfit(error, what="The request", code="CONTRACT_MISMATCH")
    remedies = [*raised(fault("CONTRACT_MISMATCH", "x")).remediation, *told.remediation]
    return Invalid(told.message, error=told.code, remediation=remedies, detail=told.detail)


async def _accepted(
    studio: Studio, visit: Visit, project: str, wish: Wish, kind: str, dry_run: bool, notes: list[str] | None = None
) -> Reply:
    visit.grant.need(READ if dry_run else RUN, project)
    refuse_if_match(visit)
    action = f"generate.{kind}" if kind in ("image", "video") else "generate"
    who = asker(visit)
    if dry_run:
        return Reply(200, encode(await foreseen(studio, project, wish, who, action=action)))
    found = await accepted(studio, project, wish, who, action=action)
    headers = [(b"location", f"/api/jobs/{found.job_id}?project={project}".encode())]
    if found.receipt.repeated:
        headers.append((b"idempotency-replayed", b"true"))
    return Reply(202, encode(_body(project, found, notes or [])), headers)


def _body(project: str, found: Accepted, notes: list[str]) -> dict[str, Any]:
    job, place = found.job, f"/api/jobs/{found.job_id}"
    request = job.request if isinstance(job, Open) else job.was.request
    output = None
    if isinstance(job, Closed) and job.outcome == "completed":
        uid = next((uids[0] for uids in job.outputs.values() if uids), None)
        output = uid and f"/api/assets/{uid}/download?project={project}"
    return {
        "ok": True, "job_id": found.job_id, "id": found.job_id, "project": project, "status": _status(job),
        "preset_id": request.preset, "quality_level": request.quality, "seed": request.seed,
        "estimated_time_seconds": found.seconds, "output_url": output,
        "error": job.fault.message if isinstance(job, Closed) and job.fault else None,
        "position": found.receipt.position, "plan": recorded(job),
        "budgets": found.receipt.told.get("budgets", []), "warnings": found.receipt.told.get("warnings", []),
        "notes": [*notes, *(found.plan.notes if found.plan else ())],
        "left_out": [one.id for one in found.plan.left_out if one.fault] if found.plan else [],
        "links": {"self": f"{place}?project={project}", "events": f"{place}/events?project={project}",
                  "cancel": f"{place}/cancel?project={project}"},
    }


def _status(job: Open | Closed) -> str:
    if isinstance(job, Closed):
        return job.outcome
    return "running" if job.taken else "queued"


# --- what OpenAPI says about it -------------------------------------------------------------------------------------

_PROJECT: Final = schemas.parameter("project", "query", schemas.NAME | {"default": DEFAULT_PROJECT})
_ID: Final = schemas.parameter("id", "path", {"type": "string"}, required=True)
_OBJECT: Final[schemas.Schema] = {"type": "object"}

_LIST: Final[schemas.Schema] = {
    "operationId": "ListPresets", "tags": ["generation"],
    "summary": "Every preset, with whether it can run now and what is missing.",
    "description": f"Needs the scope `{READ}`. Nothing is recorded; engines are looked at behind the answer.",
    "parameters": [_PROJECT, schemas.parameter("min_position", "query", {"type": "integer", "minimum": 0})],
    "responses": {"200": schemas.answer("The presets.", _OBJECT | {"required": ["items", "next"]}),
                  **schemas.problems(400, 401, 403, 422, 500, 503)},
}
_SHOW: Final[schemas.Schema] = {
    "operationId": "ShowPreset", "tags": ["generation"], "summary": "One preset, with whether it can run now.",
    "description": f"Needs the scope `{READ}`.", "parameters": [_ID, _PROJECT],
    "responses": {"200": schemas.answer("The preset.", _OBJECT),
                  **schemas.problems(400, 401, 403, 404, 409, 422, 500, 503)},
}
_CIRCUMSTANCES: Final = [
    _PROJECT, schemas.parameter("worldline", "query", schemas.NAME | {"default": "main"}, "Where characters are read."),
    schemas.parameter("dry_run", "query", {"type": "boolean", "default": False}, "Only show the plan and its cost."),
    *(one for one in schemas.COMMAND_HEADERS if one["name"] != "If-Match"),
]
_RESPONSES: Final[schemas.Schema] = {
    "200": schemas.answer("What would be done, and what it may cost at most.",
                          _OBJECT | {"required": ["ok", "dry_run", "plan"]}),
    "202": schemas.answer("Asked for: a worker does it.", _OBJECT | {
        "required": ["job_id", "status", "preset_id"],
        "properties": {
            "job_id": {"type": "string"}, "preset_id": {"type": "string"},
            "status": {"enum": ["queued", "running", "completed", "failed", "cancelled", "lost"]},
            "estimated_time_seconds": {
                "type": ["integer", "null"],
                "description": "Median of the last completed runs of this preset in this quality on these engines, "
                               "from when a worker takes it; null where there were none.",
            }, "output_url": {"type": ["string", "null"]},
            "error": {"type": ["string", "null"]},
        },
    }, headers=("Location", "Idempotency-Replayed")),
    **schemas.problems(400, 401, 403, 404, 409, 413, 415, 422, 423, 500, 503),
}


def _posted(model: type[Value]) -> schemas.Schema:
    return {"required": True, "content": {"application/json": {"schema": openapi.inlined(model)}}}


_RUN: Final[schemas.Schema] = {
    "operationId": "RunPreset", "tags": ["generation"], "summary": "Run a preset as a job.",
    "description": f"Needs the scope `{RUN}`; a dry run `{READ}`. The plan, the job and what it may cost are recorded "
                   "in one decision.",
    "parameters": [_ID, *_CIRCUMSTANCES], "requestBody": _posted(RunPreset) | {"required": False},
    "responses": _RESPONSES,
}


def _generating(kind: str) -> schemas.Schema:
    return {
        "operationId": f"Generate{kind.capitalize()}", "tags": ["generation"], "summary": f"Generate one {kind}.",
        "description": f"Needs the scope `{RUN}`; a dry run `{READ}`. Runs a preset whose result is a {kind}.",
        "parameters": _CIRCUMSTANCES, "requestBody": _posted(GenerateRequest), "responses": _RESPONSES,
    }


_ENGINES: Final[schemas.Schema] = {
    "operationId": "ListEngines", "tags": ["generation"], "summary": "Every engine: health, balance, what it offers.",
    "description": f"Needs the scope `{ENGINES}`. What was seen last is shown; a newer look runs behind the answer.",
    "parameters": [_PROJECT],
    "responses": {"200": schemas.answer("The engines.", _OBJECT | {"required": ["items", "next"]}),
                  **schemas.problems(400, 401, 403, 422, 500)},
}
_ENGINE: Final[schemas.Schema] = {
    **_ENGINES, "operationId": "ShowEngine", "summary": "One engine.", "parameters": [_ID, _PROJECT],
    "responses": {"200": schemas.answer("The engine.", _OBJECT), **schemas.problems(400, 401, 403, 404, 422, 500)},
}
