"""Doors of the model catalogue that look at the disk: the catalogue, one model, what is installed, download, verify."""

from __future__ import annotations

from typing import Any, Final

from commands.studio.model_downloads import RequestModelDownload
from gateways.http import openapi, schemas
from gateways.http.asking import DEFAULT_PROJECT, Locations, accepted, asker, checked_name, expected_version
from gateways.http.bodies import check_media_type, read_command, read_object
from gateways.http.commands import circumstances
from gateways.http.hub import Hub
from gateways.http.problems import Reply, encode, wrong_fields
from gateways.http.routing import Answering, Door
from gateways.http.views import lists_of, reachable, read_query
from gateways.http.visit import Visit, single
from projections.studio.model_catalogue import ListModels, ShowModel
from services.models.catalogue import installed, listed, model_now, planned, requested, shown, verified
from services.studio import Studio

READ: Final = "model:read"
WRITE: Final = "model:write"


def model_doors(studio: Studio, hub: Hub, locations: Locations) -> list[Door]:
    """Everything below /api/models that views and commands alone do not answer."""
    return [
        Door("GET", "/api/models/catalog", answer=_list(studio, hub), operation=_LIST),
        Door("GET", "/api/models/catalog/{model_id}", answer=_show(studio, hub), operation=_SHOW),
        Door("GET", "/api/models/installed", answer=_installed(studio), operation=_INSTALLED),
        Door("POST", "/api/models/{model_id}/download", answer=_download(studio, locations), operation=_DOWNLOAD),
        Door("POST", "/api/models/{model_id}/verify", answer=_verify(studio), operation=_VERIFY),
    ]


def _list(studio: Studio, hub: Hub) -> Answering:
    lists = lists_of(ListModels)

    async def answer(visit: Visit) -> Reply:
        query = read_query(ListModels, lists, visit.parameters(), visit.path)
        visit.grant.need(READ, query.project)
        found = await reachable(studio, hub, query)
        assert isinstance(found, ListModels)
        seen = await listed(studio, found)
        return _told(seen.answer, seen.position)

    return answer


def _show(studio: Studio, hub: Hub) -> Answering:
    async def answer(visit: Visit) -> Reply:
        query = read_query(ShowModel, frozenset(), visit.parameters(), visit.path)
        visit.grant.need(READ, query.project)
        found = await reachable(studio, hub, query)
        assert isinstance(found, ShowModel)
        seen = await shown(studio, found)
        return _told(seen.answer, seen.position)

    return answer


def _told(answer: dict[str, Any], position: int) -> Reply:
    return Reply(200, encode(answer), [(b"x-comfyvn-position", b"%d" % position), (b"cache-control", b"no-cache")])


def _installed(studio: Studio) -> Answering:
    async def answer(visit: Visit) -> Reply:
        given = single(visit.parameters(), frozenset({"project"}))
        project = checked_name("project", given.get("project", DEFAULT_PROJECT))
        visit.grant.need(READ, project)
        return Reply(200, encode(await installed(studio, project)))

    return answer


def _download(studio: Studio, locations: Locations) -> Answering:
    async def answer(visit: Visit) -> Reply:
        project, worldline, dry_run = circumstances(visit)
        visit.grant.need(READ if dry_run else WRITE, project)
        body = await visit.body()
        if body:
            check_media_type(visit.header(b"content-type"), visit.header(b"content-encoding"))
        command = read_command(RequestModelDownload, body, visit.path)
        assert isinstance(command, RequestModelDownload)
        expected = await expected_version(studio, visit, "model", command.model_id, project, worldline)
        if dry_run:
            return Reply(200, encode(await planned(studio, project, command)))
        receipt = await requested(studio, project, command, asker(visit), expected_version=expected)
        if receipt.problem is not None:
            return accepted(receipt, visit.request_id, locations)
        place = f"/api/models/{command.model_id}/download?project={project}"
        told = await _underway(studio, project, command.model_id)
        reply = accepted(receipt, visit.request_id, locations)
        body_ = {**read_object(reply.body), **told, "links": {
            "self": place, "cancel": f"/api/models/{command.model_id}/cancel?project={project}",
        }}
        headers = [one for one in reply.headers if one[0] != b"location"]
        return Reply(202, encode(body_), [*headers, (b"location", place.encode())])

    return answer


async def _underway(studio: Studio, project: str, model_id: str) -> dict[str, Any]:
    state = await model_now(studio, project, model_id)
    return {"number": state.number, "status": state.download.kind}


def _verify(studio: Studio) -> Answering:
    async def answer(visit: Visit) -> Reply:
        given = single(visit.parameters(), frozenset({"project"}))
        project = checked_name("project", given.get("project", DEFAULT_PROJECT))
        visit.grant.need(READ, project)
        raw = await visit.body()
        if raw and read_object(raw):
            raise wrong_fields("The body", "invalid_fields", [{"path": "", "message": "nothing is needed here"}])
        return Reply(200, encode(await verified(studio, project, visit.path["model_id"])))

    return answer


# --- what OpenAPI says about it ------------------------------------------------------------------------------------

_PROJECT: Final = schemas.parameter("project", "query", schemas.NAME | {"default": DEFAULT_PROJECT})
_MODEL: Final = schemas.parameter("model_id", "path", schemas.NAME, required=True)
_NEEDS_READ: Final = f"Needs the scope `{READ}`."
_PAGE: Final = {"$ref": f"{schemas.REF}Page"}

_LIST: Final = openapi.read_operation(
    "ListModels", "The catalogue: curated entries, then the project's own; what is installed, how downloads stand.",
    "models", _PAGE, parameters=openapi.query_parameters(ListModels, "/api/models/catalog"),
    statuses=(400, 401, 403, 404, 409, 422, 500, 503), headers=("X-Comfyvn-Position",), description=_NEEDS_READ,
)
_SHOW: Final = openapi.read_operation(
    "ShowModel", "One model: what it is, what has to be acknowledged, whether it is there, how its download stands.",
    "models", {"type": "object", "required": ["id", "license", "installed", "to_acknowledge"]},
    parameters=openapi.query_parameters(ShowModel, "/api/models/catalog/{model_id}"),
    statuses=(400, 401, 403, 404, 409, 422, 500, 503), headers=("X-Comfyvn-Position",), description=_NEEDS_READ,
)
_INSTALLED: Final = openapi.read_operation(
    "ListInstalledModels", "The files in the models folder, and which entry each one is.", "models", _PAGE,
    parameters=[_PROJECT], statuses=(400, 401, 403, 422, 500, 503), description=_NEEDS_READ,
)
_DOWNLOAD: Final[schemas.Schema] = {
    "operationId": "DownloadModel", "tags": ["models"],
    "summary": "Download a model's file: a worker fetches and checks it.",
    "description": f"Needs the scope `{WRITE}`. While it runs, asking again leads to the same download.",
    "parameters": [
        _MODEL, _PROJECT, schemas.parameter("worldline", "query", schemas.NAME | {"default": "main"}),
        schemas.parameter("dry_run", "query", {"type": "boolean", "default": False},
                          "Only tell size, licence, target, free space, and what would hinder it."),
        *schemas.COMMAND_HEADERS,
    ],
    "requestBody": {"required": False, "content": {"application/json": {"schema": {
        "type": "object", "additionalProperties": False, "properties": {"acknowledge": {
            "type": "array", "maxItems": 10,
            "items": {"enum": ["license_unknown", "license_terms", "checksum_missing", "pickle"]},
        }},
    }}}},
    "responses": {
        "200": schemas.answer("What it would do.", {"type": "object", "required": ["ok", "dry_run", "target"]}),
        "202": schemas.answer("Asked for.", {"type": "object", "required": ["ok", "id", "status", "links"]},
                              headers=("Location", "ETag", "Idempotency-Replayed")),
        **schemas.problems(400, 401, 403, 404, 409, 412, 413, 415, 422, 500, 503),
    },
}
_VERIFY: Final[schemas.Schema] = {
    "operationId": "VerifyModel", "tags": ["models"],
    "summary": "Read the whole file and say whether it is the right one.", "description": _NEEDS_READ,
    "parameters": [_MODEL, _PROJECT],
    "responses": {
        "200": schemas.answer("What it is.", {"type": "object", "required": ["ok", "matches", "sha256", "message"]}),
        **schemas.problems(400, 401, 403, 404, 413, 422, 500, 503),
    },
}
