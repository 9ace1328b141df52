"""Doors to signed files: the signed bytes, what reading them says now, the picture of a lineage, and our root."""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from commands.studio.asset import unknown_asset
from domain.errors import NotFound, Remedy, Unavailable
from domain.studio import asset as assets
from domain.studio.provenance import signed
from gateways.http.asking import checked_name, visit_of
from gateways.http.downloads import Kept, given_out
from gateways.http.problems import encode
from gateways.http.schemas import NAME, parameter, problems
from gateways.http.visit import Visit, single
from projections.studio.lineage import ShowLineage
from services.handling import handled, must_be_stripped, registered_facts
from services.lineage_drawing import drawn
from services.signing import newest, read_kept, shown, standing
from services.studio import Studio

SCOPE: Final = "asset:read"
PICTURE_POLICY: Final = "default-src 'none'; frame-ancestors 'self'"


def router(studio: Studio) -> APIRouter:
    """The routes of credentials."""
    routes = APIRouter(tags=["provenance"])

    async def credentials(request: Request) -> Response:
        _, project, uid = _asked(request)
        made, found = await read_kept(studio, project, uid)
        told = {"uid": uid, "signed": made is not None, "form": made and made.form,
                "sha256": made and made.signed_digest, **shown(found)}
        return Response(encode(told), media_type="application/json")

    async def signed_bytes(request: Request) -> Response:
        visit, project, uid = _asked(request)
        state = await newest(studio, project, assets.CATEGORY, uid)
        if not isinstance(state, assets.Registered):
            raise unknown_asset(uid)
        found = signed(await standing(studio, project, uid))
        if found is None:
            raise NotFound(
                f"Asset {uid} is not signed.", error="not_signed",
                remediation=[Remedy("Ask for it with POST /api/assets/{uid}/sign, or look again in a moment.",
                                    "sign_asset")],
                detail={"uid": uid},
            )
        if found.form == "embedded":
            said = await handled(studio, project, "metadata", "download", registered_facts(state))
            if said.strips and said.by:  # credentials are metadata, and whatever was in the file is in the signed one
                raise must_be_stripped(
                    uid, said, "a signed file keeps it",
                    Remedy(f"Ask for it without: GET /api/assets/{uid}/download.", "download"),
                    Remedy("Strip what is generated when it is registered (the action generate), and keep it in "
                           "downloads: what is signed then leaks nothing.", "set_policy_handling"),
                )
        name = state.described.name or uid
        name += ".credentials.json" if found.form == "sidecar" else ""
        kept = Kept(found.signed_digest, found.signed_size, found.media_type, name)
        return await given_out(studio, visit, kept, "attachment", request.method)

    async def picture(request: Request) -> Response:
        _, project, uid = _asked(request)
        told = await studio.look(studio.registry.views["ShowLineage"], ShowLineage(project=project, uid=uid))
        svg = await asyncio.to_thread(drawn, told)
        headers = {"content-security-policy": PICTURE_POLICY, "x-content-type-options": "nosniff",
                   "cache-control": "private, no-cache"}
        return Response(svg, 200, headers, "image/svg+xml")

    async def root(request: Request) -> Response:
        visit = visit_of(request)
        single(visit.parameters(), frozenset())
        visit.grant.need(SCOPE, "default")
        if studio.credentials is None:
            raise Unavailable("This process has no signing keys.", error="no_signing_keys",
                              remediation=[Remedy("Ask the studio's worker.", "retry")])
        found = await asyncio.to_thread(studio.credentials.roots)
        return Response(found, media_type="application/x-pem-file",
                        headers={"content-disposition": 'attachment; filename="comfyvn-root.pem"'})

    for path, route, name, summary in (
        ("/api/assets/{uid}/credentials", credentials, "ShowCredentials",
         "What the credentials of an asset say, read now from the bytes that are kept."),
        ("/api/assets/{uid}/signed", signed_bytes, "DownloadSigned",
         "The signed file, or the signed statement that belongs beside it."),
        ("/api/assets/{uid}/lineage.svg", picture, "ShowLineagePicture", "The lineage of an asset as a picture."),
    ):
        routes.add_api_route(path, route, methods=["GET"], operation_id=name, summary=summary, response_class=Response,
                             responses={}, openapi_extra=_operation())
    routes.add_api_route("/api/provenance/certificate", root, methods=["GET"], operation_id="ShowSigningRoot",
                         summary="The root certificate by which others can trust what this studio signs.",
                         response_class=Response, responses={}, openapi_extra=_plain())
    return routes


def _asked(request: Request) -> tuple[Visit, str, str]:
    visit = visit_of(request)
    given = single(visit.parameters(), frozenset({"project"}))
    project = checked_name("project", given.get("project", "default"))
    visit.grant.need(SCOPE, project)
    uid = request.path_params["uid"]
    if not re.fullmatch("[0-9a-f]{16}", uid):
        raise unknown_asset(uid[:40])
    return visit, project, uid


def _operation() -> dict[str, Any]:
    return {
        "parameters": [
            parameter("uid", "path", {"type": "string", "pattern": "^[0-9a-f]{16}$"}, required=True),
            parameter("project", "query", NAME | {"default": "default"}),
        ],
        **_plain(),
    }


def _plain() -> dict[str, Any]:
    binary = {"*/*": {"schema": {"type": "string", "format": "binary"}}}
    return {"responses": {
        "200": {"description": "What was asked for.", "content": binary},
        **problems(400, 401, 403, 404, 422, 423, 500, 503),
    }}
