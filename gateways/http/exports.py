"""Doors of exports: ask for a game of a story, look at what it would be, and fetch it when it is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import Field, ValidationError, model_validator

from domain.errors import NotFound, Refused, Remedy
from domain.exchange.export import CATEGORY, POVS_LIMIT, WORLDS_LIMIT, Finished, Order, Unrequested
from domain.ids import MAIN, Token, token
from domain.values import Value
from gateways.http import schemas
from gateways.http.asking import asker, checked_name, receipt_body, refuse_if_match, visit_of
from gateways.http.bodies import check_media_type, read_object
from gateways.http.commands import circumstances
from gateways.http.downloads import Kept, given_out
from gateways.http.problems import Reply, encode, in_future, malformed, unfit, wrong_fields
from gateways.http.routing import Door
from gateways.http.visit import Visit, single
from projections.boards.story import READS
from services.exports.asking import latest, previewed, requested
from services.studio import Studio

WRITE: Final = f"{CATEGORY}:write"
READ: Final = f"{CATEGORY}:read"

_MANY: Final = frozenset({"pov", "world"})
_ASKED: Final = frozenset({
    "project", "timeline", "scene", "worldline", "world_mode", "as_of", "pov_mode", "title", "version", "mode",
    "folder", "min_position",
})

Pov = Annotated[str, Field(min_length=1, max_length=200)]


class RenpyExport(Value):
    """A game for Ren'Py: which story as of when, which worldlines and points of view, and how it is called.

    Without a timeline or a scene it is the story that is played when nobody says. Several worlds are one game in the
    mode `multi`; in `canonical` the first is. `acknowledged` says that its rating is known, as the policy asks of
    stories for the mature.
    """

    project: Token | None = None
    timeline: Token | None = None
    scene: Token | None = None
    worldline: Token | None = None
    worlds: Annotated[tuple[Token, ...], Field(max_length=WORLDS_LIMIT)] = ()
    world_mode: Literal["canonical", "multi"] = "canonical"
    as_of: Annotated[int, Field(ge=0, le=2**53)] = 0
    pov: Pov | None = None
    povs: Annotated[tuple[Pov, ...], Field(max_length=POVS_LIMIT)] = ()
    pov_mode: Literal["disabled", "single", "master", "forks", "both"] | None = None
    title: Annotated[str, Field(max_length=300)] = ""
    version: Annotated[str, Field(max_length=100)] = "1.0"
    mode: Literal["sfw", "warn", "unrestricted"] = "sfw"
    acknowledged: bool = False
    folder: Token | None = None
    force: bool = False

    @model_validator(mode="after")
    def _one_story(self) -> RenpyExport:
        if self.timeline is not None and self.scene is not None:
            raise ValueError("name a timeline or a scene, not both")
        if self.worldline is not None and self.worlds:
            raise ValueError("name a worldline or worlds, not both")
        if self.pov is not None and len({self.pov, *self.povs}) > POVS_LIMIT:
            raise ValueError(f"at most {POVS_LIMIT} points of view become routes")
        return self

    def order(self, worldline: str) -> Order:
        """What is asked of the context."""
        worlds = tuple(dict.fromkeys(self.worlds)) or (self.worldline or worldline,)
        povs = tuple(dict.fromkeys((*((self.pov,) if self.pov else ()), *self.povs)))
        return Order(
            timeline=self.timeline, scene=self.scene, worldlines=worlds, world_mode=self.world_mode,
            position=self.as_of, povs=povs, pov_mode=self.pov_mode, title=self.title, version=self.version,
            # Who acknowledges what is exported lets it through; the decision records that it was warned of.
            mode="warn" if self.acknowledged and self.mode == "sfw" else self.mode,
            nsfw_acknowledged=self.acknowledged, folder=self.folder, force=self.force,
        )


def export_doors(studio: Studio) -> list[Door]:
    """POST /api/export/renpy, and the preview with GET and POST."""

    async def ask(visit: Visit) -> Reply:
        project, worldline, dry_run = circumstances(visit)
        project, order = await _told(visit, project, worldline)
        visit.grant.need(READ if dry_run else WRITE, project)
        refuse_if_match(visit)
        if dry_run:
            return Reply(200, encode(await previewed(studio, project, order, asker(visit))))
        receipt, export_id = await requested(studio, project, order, asker(visit))
        told: dict[str, Any] = {"ok": True, "id": export_id, "project": project, "status": "waiting"}
        headers = [(b"location", f"/api/exports/{export_id}?project={project}".encode())]
        if receipt is None:
            headers.append((b"idempotency-replayed", b"true"))
            state = await latest(studio, project, export_id)
            told["status"] = state.kind
        else:
            told |= receipt_body(receipt)
        told["links"] = _links(project, export_id)
        return Reply(202, encode(told), headers)

    async def look(visit: Visit) -> Reply:
        project, order, position = _asked(visit)
        visit.grant.need(READ, project)
        if position:
            if position > (head := await studio.log.head()):
                raise in_future("min_position", position, head)
            await studio.counted(READS, position)
        return Reply(200, encode(await _preview(studio, visit, project, order)))

    async def pose(visit: Visit) -> Reply:
        project, worldline, _ = circumstances(visit)
        return Reply(200, encode(await _preview(studio, visit, *await _told(visit, project, worldline))))

    return [
        Door("POST", "/api/export/renpy", answer=ask, operation=_ASK),
        Door("GET", "/api/export/renpy/preview", answer=look, operation=_LOOK),
        Door("POST", "/api/export/renpy/preview", answer=pose, operation=_POSE),
    ]


async def _preview(studio: Studio, visit: Visit, project: str, order: Order) -> dict[str, Any]:
    visit.grant.need(READ, project)
    return await previewed(studio, project, order, asker(visit))


def _links(project: str, export_id: str) -> dict[str, str]:
    place = f"/api/exports/{export_id}"
    return {"self": f"{place}?project={project}", "file": f"{place}/file?project={project}",
            "cancel": f"{place}/cancel?project={project}"}


async def _told(visit: Visit, project: str, worldline: str) -> tuple[str, Order]:
    body = await visit.body()
    if body:
        check_media_type(visit.header(b"content-type"), visit.header(b"content-encoding"))
    given = read_object(body or b"{}")
    said = given.get("project")
    if said is not None and said != project and "project" in dict(visit.parameters()):
        raise wrong_fields("The body", "invalid_fields", [
            {"path": "project", "message": "the address names another project"},
        ])
    asked = _read(given)
    return asked.project or project, asked.order(worldline)


def _asked(visit: Visit) -> tuple[str, Order, int]:
    """The same from an address, where ``pov`` and ``world`` may stand several times, and the position to wait for."""
    parameters = visit.parameters()
    many: dict[str, list[str]] = {"pov": [], "world": []}
    for name, value in parameters:
        if name in _MANY:
            many[name].append(value)
    given = single(tuple(one for one in parameters if one[0] not in _MANY), _ASKED)
    project = checked_name("project", given.pop("project", "default"))
    body: dict[str, Any] = dict(given) | {"povs": many["pov"], "worlds": many["world"]}
    for name in body.keys() & {"as_of", "min_position"}:
        if not (body[name].isascii() and body[name].isdigit() and len(body[name]) <= 16):
            raise wrong_fields("The query string", "invalid_parameters",
                               [{"path": name, "message": "a position is a whole number"}])
        body[name] = int(body[name])
    position = int(body.pop("min_position", 0))
    return project, _read(body).order(MAIN), position


def _read(given: Mapping[str, Any]) -> RenpyExport:
    try:
        return RenpyExport.model_validate_json(orjson.dumps(given), strict=True)
    except ValidationError as error:
        raise unfit(error, what="The export", code="invalid_fields") from error
    except TypeError as error:  # half of a surrogate pair, or a number beyond 64 bit
        raise malformed("it holds what JSON in UTF-8 cannot say") from error


def router(studio: Studio) -> APIRouter:
    """The route of the finished archive."""
    routes = APIRouter(tags=["exports"])

    async def file(request: Request) -> Response:
        visit = visit_of(request)
        given = single(visit.parameters(), frozenset({"project"}))
        project = checked_name("project", given.get("project", "default"))
        visit.grant.need(READ, project)
        result = await _finished(studio, project, request.path_params["export_id"])
        kept = Kept(result.digest, result.size, "application/zip", result.name)
        return await given_out(studio, visit, kept, "attachment", request.method)

    path = "/api/exports/{export_id}/file"
    routes.add_api_route(path, file, methods=["GET"], operation_id="DownloadExport", response_class=Response,
                         summary="The archive of a finished export.", responses={}, openapi_extra=_FILE)
    routes.add_api_route(path, file, methods=["HEAD"], include_in_schema=False, response_class=Response)
    return routes


async def _finished(studio: Studio, project: str, export_id: str) -> Any:
    try:
        state = await latest(studio, project, token(export_id))
    except ValueError:
        state = Unrequested()
    if isinstance(state, Unrequested):
        raise NotFound(
            f"Project {project} has no export {export_id[:96]}.", error="unknown_export",
            remediation=[Remedy("List the exports of the project.", "list_exports")],
        )
    if not isinstance(state, Finished):
        raise Refused(
            f"This export is not finished: it is {state.kind}.", error="export_not_finished",
            remediation=[Remedy("Look how far it is, or why it has ended.", "show_export")],
            detail={"status": state.kind},
        )
    return state.result


# --- what OpenAPI says about it ------------------------------------------------------------------------------------

_PLACES: Final = [
    schemas.parameter("project", "query", schemas.NAME | {"default": "default"}),
    schemas.parameter("worldline", "query", schemas.NAME | {"default": MAIN}),
]
_BODY: Final = {"required": False, "content": {"application/json": {"schema": RenpyExport.model_json_schema()}}}
_SHOWN: Final = schemas.answer(
    "Every file with its fate (`new`, `modified`, `unchanged`, `removed`), short diffs, and what the gate would say.",
    {"type": "object", "required": ["ok", "files", "summary", "gate"]},
)
_TEXT: Final = {"type": "string"}

_ASK: Final[schemas.Schema] = {
    "operationId": "ExportRenpy", "tags": ["exports"], "summary": "Make a Ren'Py game of a story.",
    "description": f"Needs the scope `{WRITE}`. The policy decides before anything is written; a worker then makes it.",
    "parameters": [
        *_PLACES, schemas.parameter("dry_run", "query", {"type": "boolean", "default": False}, "Only preview it."),
        *(one for one in schemas.COMMAND_HEADERS if one["name"] != "If-Match"),
    ],
    "requestBody": _BODY,
    "responses": {
        "200": _SHOWN,
        "202": schemas.answer("Asked for.", {"type": "object", "required": ["ok", "id", "status", "links"]},
                              headers=("Location", "Idempotency-Replayed")),
        **schemas.problems(400, 401, 403, 404, 409, 413, 415, 422, 423, 500, 503),
    },
}

_LOOK: Final[schemas.Schema] = {
    "operationId": "PreviewRenpyExport", "tags": ["exports"], "summary": "What exporting a Ren'Py game would do.",
    "description": f"Needs the scope `{READ}`. Nothing is written and nothing is recorded.",
    "parameters": [
        *_PLACES,
        *(schemas.parameter(name, "query", schemas.NAME) for name in ("timeline", "scene", "folder")),
        schemas.parameter("as_of", "query", {"type": "integer", "minimum": 0, "default": 0}),
        schemas.parameter("min_position", "query", {"type": "integer", "minimum": 0, "default": 0}),
        schemas.parameter("world", "query", {"type": "array", "items": _TEXT}, "Worldlines; may stand several times."),
        schemas.parameter("world_mode", "query", {"enum": ["canonical", "multi"], "default": "canonical"}),
        schemas.parameter("pov", "query", {"type": "array", "items": _TEXT}, "May stand several times."),
        schemas.parameter("pov_mode", "query", {"enum": ["disabled", "single", "master", "forks", "both"]}),
        schemas.parameter("mode", "query", {"enum": ["sfw", "warn", "unrestricted"], "default": "sfw"}),
        *(schemas.parameter(name, "query", _TEXT) for name in ("title", "version")),
    ],
    "responses": {"200": _SHOWN, **schemas.problems(400, 401, 403, 404, 409, 422, 500, 503)},
}

_POSE: Final[schemas.Schema] = {
    **{name: value for name, value in _LOOK.items() if name not in ("parameters", "operationId")},
    "operationId": "PosedRenpyExport", "requestBody": _BODY,
    "parameters": [*_PLACES, schemas.parameter("dry_run", "query", {"type": "boolean", "default": False})],
    "responses": {"200": _SHOWN, **schemas.problems(400, 401, 403, 404, 409, 413, 415, 422, 500, 503)},
}

_FILE: Final[dict[str, Any]] = {
    "parameters": [
        schemas.parameter("export_id", "path", schemas.NAME, required=True), _PLACES[0],
        schemas.parameter("Range", "header", _TEXT, "One range of bytes."),
        schemas.parameter("If-Range", "header", _TEXT), schemas.parameter("If-None-Match", "header", _TEXT),
    ],
    "responses": {
        "200": {"description": "The archive.", "content": {"application/zip": {"schema": {
            "type": "string", "format": "binary",
        }}}},
        "206": {"description": "The range asked for."}, "304": {"description": "The client has it already."},
        **schemas.problems(400, 401, 403, 404, 409, 416, 422, 500, 503),
    },
}
