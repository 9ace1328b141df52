"""Files in: uploads as forms, and files that already lie in the studio's inbox folder."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from domain.errors import Invalid, Remedy
from gateways.http import downloads
from gateways.http.asking import asker, dry_body, receipt_body, refuse_if_match, visit_of
from gateways.http.bodies import check_media_type, read_object
from gateways.http.commands import circumstances
from gateways.http.multipart import Form, read_form
from gateways.http.problems import encode, unfit, wrong_fields
from gateways.http.schemas import COMMAND_HEADERS, NAME, REF, answer, parameter, problems
from services.dispatcher import Receipt
from services.inbox_folder import fetched
from services.keeping_assets import AssetFacts, Found, examined, kept
from services.scratch import scratch
from services.studio import Studio

SCOPE: Final = "asset:write"
_WORDS: Final = ("name", "asset_type", "licence", "license", "origin", "notes", "reference")
_FIELDS: Final = (*_WORDS, "tags", "nsfw", "metadata", "source")


class RegisterFile(AssetFacts):
    """A file of the inbox folder that is to become an asset, by its path below that folder."""

    path: str


def router(studio: Studio) -> APIRouter:
    """The routes of files: in and out."""
    routes = APIRouter(tags=["uploads"])

    async def upload(request: Request) -> Response:
        visit = visit_of(request)
        project, _, dry_run = circumstances(visit)
        visit.grant.need(SCOPE, project)
        refuse_if_match(visit)
        who = asker(visit)
        with scratch(studio.settings, "upload") as folder:
            form = await read_form(request, folder, studio.settings.upload_limit)
            facts = _facts(form)
            found = [await examined(one.path, facts, how="upload", name=one.name) for one in form.files]
            receipts = await kept(studio, found, who, project=project, dry_run=dry_run)
        return _answered(request, found, receipts)

    async def register(request: Request) -> Response:
        visit = visit_of(request)
        project, _, dry_run = circumstances(visit)
        visit.grant.need(SCOPE, project)
        refuse_if_match(visit)
        who = asker(visit)
        body = await visit.body()
        check_media_type(visit.header(b"content-type"), visit.header(b"content-encoding"))
        read_object(body)
        try:
            asked = RegisterFile.model_validate_json(body)
        except ValidationError as error:
            raise unfit(error, what="RegisterFile", code="invalid_fields") from error
        facts = AssetFacts.model_construct(**asked.model_dump(exclude={"path", "source"}), source=asked.source)
        with scratch(studio.settings, "register") as folder:
            path = folder / "file"
            await asyncio.to_thread(fetched, studio.settings, asked.path, path)
            found = [await examined(path, facts, how="register", name=asked.path)]
            receipts = await kept(studio, found, who, project=project, dry_run=dry_run)
        return _answered(request, found, receipts)

    routes.add_api_route("/api/assets/upload", upload, methods=["POST"], operation_id="UploadAssets",
                         summary="Upload files; each becomes an asset, or is one already.",
                         responses={}, response_class=Response, openapi_extra=_upload_operation())
    routes.add_api_route("/api/assets/register", register, methods=["POST"], operation_id="RegisterFile",
                         summary="Make an asset of a file in the inbox folder.",
                         responses={}, response_class=Response, openapi_extra=_register_operation())
    downloads.add_routes(routes, studio)
    return routes


def _facts(form: Form) -> AssetFacts:
    """What the fields of a form say; raises ``Invalid`` that names every wrong field."""
    if not form.files:
        raise wrong_fields("The form", "invalid_fields", [{"path": "file", "message": "this file is needed"}])
    wrong = [{"path": one[:100], "message": "there is no such field"} for one in form.fields if one not in _FIELDS]
    wrong += [{"path": one.field[:100], "message": "a file is sent as `file` or `files`"}
              for one in form.files if one.field not in ("file", "files", "file[]", "files[]")]
    wrong += [{"path": name, "message": "this field came twice"}
              for name, values in form.fields.items() if len(values) > 1 and name in _FIELDS and name != "tags"]
    said: dict[str, Any] = {name: form.fields[name][0] for name in _WORDS if name in form.fields}
    if "tags" in form.fields:
        said["tags"] = _tags(form.fields["tags"])
    if "nsfw" in form.fields:
        said["nsfw"] = {"true": True, "1": True, "false": False, "0": False}.get(form.fields["nsfw"][0].lower(), "?")
    for name in ("metadata", "source"):
        if form.fields.get(name, [""])[0].strip():
            try:
                said[name] = read_object(form.fields[name][0].encode())
            except Invalid as error:
                wrong.append({"path": name, "message": error.message})
    if wrong:
        raise wrong_fields("The form", "invalid_fields", wrong)
    if len(form.files) > 1 and said.get("name") is not None:
        raise Invalid(
            "One name cannot be that of several files.", error="one_name_for_many",
            remediation=[Remedy("Leave `name` away, or upload one file at a time.", "fix_fields")],
        )
    try:
        return AssetFacts.model_validate_json(orjson.dumps(said))
    except ValidationError as error:
        raise unfit(error, what="The form", code="invalid_fields") from error
    except TypeError as error:
        raise wrong_fields("The form", "invalid_fields", [{"path": "", "message": "it is not UTF-8"}]) from error


def _tags(values: Sequence[str]) -> list[str]:
    """Tags as repeated fields, separated by commas, or as a JSON list."""
    found: list[str] = []
    for value in values:
        if value.lstrip().startswith("["):
            try:
                told = orjson.loads(value)
            except orjson.JSONDecodeError:
                told = None
            if isinstance(told, list) and all(isinstance(one, str) for one in told):
                found += told
                continue
        found += [tag.strip() for tag in value.split(",") if tag.strip()]
    return found


def _answered(request: Request, found: Sequence[Found], receipts: Sequence[Receipt]) -> Response:
    """For one file its receipt with what it was found to be; for several a list of such."""
    visit = visit_of(request)
    told = []
    for one, receipt in zip(found, receipts, strict=True):
        body = receipt_body(receipt) if receipt.would is None else dry_body(receipt, visit.request_id)
        told.append(body | {"asset": _found(one)})
    created = any(receipt.created for receipt in receipts) and receipts[0].would is None
    body = told[0] if len(told) == 1 else {
        "ok": True, "items": told, "position": max(receipt.position for receipt in receipts),
    }
    headers: dict[str, str] = {}
    if all(receipt.repeated for receipt in receipts):
        headers["idempotency-replayed"] = "true"
    if len(told) == 1 and receipts[0].would is None:
        headers["etag"] = f'"{receipts[0].version}"'
        if created:
            headers["location"] = request.app.state.locations.of(receipts[0], receipts[0].stream.worldline)
    return Response(encode(body), 201 if created else 200, headers, "application/json")


def _found(one: Found) -> dict[str, Any]:
    command = one.command
    return {
        "uid": command.uid, "hash": command.digest, "bytes": command.size, "media_type": command.media_type,
        "type": command.kind, "cautions": list(command.cautions), "name": command.name,
    }


# --- what OpenAPI says about it ------------------------------------------------------------------------------------

_TEXT: Final = {"type": "string"}
_PARAMETERS: Final = [
    parameter("project", "query", NAME | {"default": "default"}, "It comes into being with its first command."),
    parameter("dry_run", "query", {"type": "boolean", "default": False}, "Decide without storing or recording."),
    *(one for one in COMMAND_HEADERS if one["name"] != "If-Match"),
]


def _responses() -> dict[str, Any]:
    one = {"anyOf": [{"$ref": f"{REF}Accepted"}, {"$ref": f"{REF}DryRun"}, {
        "type": "object", "required": ["ok", "items", "position"],
        "properties": {"ok": {"const": True}, "items": {"type": "array"}, "position": {"type": "integer"}},
    }]}
    return {
        "200": answer("It was so already, or what would be.", one, headers=("ETag", "Idempotency-Replayed")),
        "201": answer("Registered.", one, headers=("ETag", "Location", "Idempotency-Replayed")),
        **problems(400, 401, 403, 404, 409, 412, 413, 415, 422, 500, 503),
    }


def _operation(media_type: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "parameters": _PARAMETERS, "responses": _responses(),
        "requestBody": {"required": True, "content": {media_type: {"schema": dict(schema)}}},
    }


def _upload_operation() -> dict[str, Any]:
    file = {"type": "string", "format": "binary"}
    return _operation("multipart/form-data", {
        "type": "object", "required": ["file"], "additionalProperties": False,
        "properties": {
            "file": {"anyOf": [file, {"type": "array", "items": file}]},
            **dict.fromkeys(_WORDS, _TEXT),
            "tags": {"type": "string", "description": "Separated by commas, a JSON list, or the field repeated."},
            "nsfw": {"type": "string", "enum": ["true", "false"]},
            "metadata": {"type": "string", "description": "A JSON object."},
            "source": {"type": "string", "description": "A JSON object: how the file came to be."},
        },
    })


def _register_operation() -> dict[str, Any]:
    words = {name: {"type": ["string", "null"]} for name in _WORDS}
    return _operation("application/json", {
        "type": "object", "required": ["path"], "additionalProperties": False,
        "properties": {
            "path": {"type": "string", "description": "Below the folder `inbox` of the data folder."}, **words,
            "tags": {"type": ["array", "null"], "items": _TEXT}, "nsfw": {"type": ["boolean", "null"]},
            "metadata": {"type": ["object", "null"]}, "source": {"type": ["object", "null"]},
        },
    })
