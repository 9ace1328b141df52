"""Files out: an asset's bytes with ranges and tags, and the small pictures of it."""

from __future__ import annotations

import asyncio
import mimetypes
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from domain.errors import Invalid, NotFound, Remedy
from domain.ids import UNBRANCHED
from domain.ports import Stream
from domain.studio.asset import CATEGORY, Registered, Removed
from gateways.http.asking import checked_name, visit_of
from gateways.http.problems import in_future, problem, wrong_fields
from gateways.http.schemas import HEADERS, NAME, parameter, problems
from gateways.http.views import matches
from gateways.http.visit import Visit, single
from projections.studio.asset import ShowAsset
from services.handling import facts_of, handled, must_be_stripped, registered_facts
from services.media.stripping import SIZE_LIMIT, Unstrippable, stripped
from services.studio import Studio

SCOPE: Final = "asset:read"
POLICY: Final = (
    "sandbox; default-src 'none'; img-src 'self' data:; media-src 'self'; style-src 'unsafe-inline'; "
    "frame-ancestors 'self'"
)
"""What a page made of an asset may do when somebody opens its address: be looked at. No scripts, no requests."""

ACTIVE: Final = frozenset({"text/html", "application/xml", "application/xhtml+xml", "application/pdf"})
"""Types that are saved, not opened."""

_RANGE = re.compile(r"bytes\s*=\s*(\d{0,19})-(\d{0,19})\s*\Z")
_RISKY = re.compile(
    r"\.(html?|xhtml|svg|xml|js|mjs|exe|com|bat|cmd|scr|msi|ps1|vbs|hta|lnk|jar|sh|desktop|app|dll|url)\Z",
    re.IGNORECASE,
)
_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff/\\:*?"<>|]')
_EXTENSIONS: Final = {
    "image/jpeg": ".jpg", "image/webp": ".webp", "audio/wav": ".wav", "audio/flac": ".flac", "audio/ogg": ".ogg",
    "video/matroska": ".mkv", "font/ttf": ".ttf", "font/otf": ".otf", "font/woff": ".woff", "font/woff2": ".woff2",
    "text/plain": ".txt", "application/octet-stream": ".bin", "application/x-tar": ".tar",
}


class Kept(NamedTuple):
    """Bytes that can be given out."""

    digest: str
    size: int
    media_type: str
    name: str
    facts: Mapping[str, Any] = {}


def add_routes(routes: APIRouter, studio: Studio) -> None:
    """Adds the routes that give bytes out."""

    async def download(request: Request) -> Response:
        visit, given = _looked(request, {"download", "metadata"})
        given["uid"] = request.path_params["uid"]
        asset = await _asset(studio, given, given["uid"])
        saved = given.get("download", "false") in ("true", "1")
        if await _strips(studio, given, asset):
            return await _clean(studio, asset, "attachment" if saved else "inline", request.method)
        return await given_out(studio, visit, asset, "attachment" if saved else "inline", request.method)

    async def thumbnail(request: Request) -> Response:
        visit, given = _looked(request, {"size"})
        size = given.get("size", "256")
        if size not in ("256", "512"):
            raise wrong_fields("The query string", "invalid_parameters",
                               [{"path": "size", "message": "this is either 256 or 512"}])
        found = await _variant(studio, given, request.path_params["uid"], size)
        return await given_out(studio, visit, found, "inline", request.method)

    async def waveform(request: Request) -> Response:
        visit, given = _looked(request, set())
        found = await _variant(studio, given, request.path_params["uid"], "peaks")
        return await given_out(studio, visit, found, "inline", request.method)

    for path, route, name, summary, extra in (
        ("download", download, "DownloadAsset", "An asset's bytes.", [parameter(
            "download", "query", {"type": "boolean", "default": False}, "Save it instead of showing it."), parameter(
            "metadata", "query", {"type": "string", "enum": ["keep", "strip"]},
            "Whether what it tells besides its content stays in; by default as the project's policy says, else as "
            "`download_metadata` is set.")]),
        ("thumbnail", thumbnail, "ShowThumbnail", "A small picture of an asset: a thumbnail or a waveform.", [parameter(
            "size", "query", {"type": "integer", "enum": [256, 512], "default": 256}, "Its longer side in pixels.")]),
        ("waveform", waveform, "ShowWaveform", "The peaks of a sound as audiowaveform JSON, version 2.", []),
    ):
        address = f"/api/assets/{{uid}}/{path}"
        routes.add_api_route(address, route, methods=["GET"], operation_id=name, summary=summary,
                             response_class=Response, responses={}, openapi_extra=_operation(extra))
        routes.add_api_route(address, route, methods=["HEAD"], include_in_schema=False, response_class=Response)


def _looked(request: Request, more: set[str]) -> tuple[Visit, dict[str, str]]:
    visit = visit_of(request)
    given = single(visit.parameters(), frozenset({"project", "min_position"} | more))
    given["project"] = checked_name("project", given.get("project", "default"))
    visit.grant.need(SCOPE, given["project"])
    return visit, given


async def _shown(studio: Studio, given: Mapping[str, str], uid: str) -> dict[str, Any]:
    if not re.fullmatch("[0-9a-f]{16}", uid):
        raise _unknown(uid)
    wanted = given.get("min_position", "0")
    if not wanted.isascii() or not wanted.isdigit() or len(wanted) > 18:
        raise wrong_fields("The query string", "invalid_parameters",
                           [{"path": "min_position", "message": "a position is a whole number"}])
    position = int(wanted)
    if position and position > (head := await studio.log.head()):
        raise in_future("min_position", position, head)
    view = studio.registry.views["ShowAsset"]
    shown: dict[str, Any] = await studio.look(
        view, ShowAsset(project=given["project"], uid=uid, min_position=position)
    )
    if shown["removed"]:
        raise _removed(uid)
    return shown


async def _asset(studio: Studio, given: Mapping[str, str], uid: str) -> Kept:
    try:
        shown = await _shown(studio, given, uid)
    except NotFound as error:
        # Just registered, and the read side has not counted it yet: the log knows.
        if error.code != "unknown_asset" or not re.fullmatch("[0-9a-f]{16}", uid):
            raise
        loaded = await studio.dispatcher.aggregates.load(Stream(given["project"], UNBRANCHED, CATEGORY, uid))
        if isinstance(loaded.state, Removed):
            raise _removed(uid) from error
        if not isinstance(loaded.state, Registered):
            raise
        state = loaded.state
        return Kept(state.digest, state.size, state.media_type, state.described.name or uid, registered_facts(state))
    return Kept(shown["digest"], shown["size"], shown["media_type"], shown["name"] or uid, facts_of(shown))


async def _variant(studio: Studio, given: Mapping[str, str], uid: str, name: str) -> Kept:
    shown = await _shown(studio, given, uid)
    preview = shown["preview"]
    for one in preview["variants"]:
        if one["name"] == name:
            stem = PurePosixPath(shown["name"] or uid).stem
            return Kept(one["digest"], one["size"], one["media_type"], f"{stem}-{name}")
    match preview["status"]:
        case "awaited":
            raise NotFound(
                "The preview of this asset is not made yet.", error="preview_awaited",
                remediation=[Remedy("Ask again in a moment.", "retry")], detail={"uid": uid},
            )
        case "failed":
            raise NotFound(
                f"No preview of this asset could be made: {preview['message'] or preview['reason']}",
                error="preview_failed", remediation=[Remedy("Look at the file itself.", "download")],
                detail={"uid": uid, "reason": preview["reason"]},
            )
        case _:
            raise NotFound(
                f"An asset of type {shown['kind']} has no such preview.", error="no_preview",
                remediation=[Remedy("Look at the file itself.", "download")], detail={"uid": uid, "variant": name},
            )


async def given_out(studio: Studio, visit: Visit, told: Kept, disposition: str, method: str) -> Response:
    """Stored bytes as an answer: whole, in part, or none where the caller has them; raises ``NotFound``."""
    tag = f'"{told.digest}"'
    headers = {
        "etag": tag, "accept-ranges": "bytes", "cache-control": "private, no-cache",
        "x-content-type-options": "nosniff", "content-security-policy": POLICY,
        "content-disposition": _disposition(told, disposition),
    }
    if matches(visit.header(b"if-none-match"), tag):
        return Response(None, 304, headers)
    if await studio.blobs.head(told.digest) is None:
        raise NotFound(
            "The bytes of this asset are not kept here.", error="blob_missing",
            remediation=[Remedy("Restore the blobs from a backup, or upload the file again.", "restore_blob")],
            detail={"digest": told.digest},
        )
    part = _part(visit.header(b"range"), visit.header(b"if-range"), tag, told.size)
    if part is None:
        refused = Invalid(
            f"There are {told.size} bytes and none in that range.", error="range_not_satisfiable",
            remediation=[Remedy("Ask for a range within the size.", "fix_range")], detail={"size": told.size},
        )
        reply = problem(refused, visit.request_id)
        return Response(reply.body, reply.status, {"content-range": f"bytes */{told.size}"}, reply.media.decode())
    start, end, status = part
    if status == 206:
        headers["content-range"] = f"bytes {start}-{end - 1}/{told.size}"
    headers["content-length"] = str(end - start)
    media_type = told.media_type + ("; charset=utf-8" if told.media_type.startswith("text/") else "")
    if method == "HEAD":
        return Response(None, status, headers | {"content-type": media_type})
    return StreamingResponse(_pieces(studio, told.digest, start, end), status, headers, media_type)


async def _strips(studio: Studio, given: Mapping[str, str], asset: Kept) -> bool:
    """Whether what leaks is taken out: the policy's strip binds, its keep is a default like the setting."""
    wanted = given.get("metadata")
    if wanted not in (None, "keep", "strip"):
        raise wrong_fields("The query string", "invalid_parameters",
                           [{"path": "metadata", "message": "this is either keep or strip"}])
    said = await handled(studio, given["project"], "metadata", "download", asset.facts,
                         studio.settings.download_metadata)
    if wanted == "keep" and said.strips and said.by:
        raise must_be_stripped(given["uid"], said, "it is not given out as it is",
                               Remedy("Ask for it without metadata=keep.", "strip_metadata"))
    return said.strips if wanted is None else wanted == "strip"


async def _clean(studio: Studio, told: Kept, disposition: str, method: str) -> Response:
    """The whole file without what it tells besides its content; raises ``Invalid`` where that is not known how."""
    if told.size > SIZE_LIMIT:
        raise _not_strippable("too_large", f"Files over {SIZE_LIMIT:,} bytes are not stripped.")
    try:
        found = await asyncio.to_thread(stripped, await studio.blobs.get(told.digest), told.media_type)
    except Unstrippable as error:
        raise _not_strippable(error.reason, error.message) from error
    headers = {
        "cache-control": "private, no-cache", "x-content-type-options": "nosniff", "content-security-policy": POLICY,
        "content-disposition": _disposition(told, disposition), "content-length": str(len(found.data)),
        "x-comfyvn-stripped": ", ".join(dict.fromkeys(
            re.sub(r"[^\x20-\x2b\x2d-\x7e]", "_", one) for one in found.removed[:20])),
    }
    return Response(None if method == "HEAD" else found.data, 200, headers, told.media_type)


def _not_strippable(reason: str, message: str) -> Invalid:
    return Invalid(
        message, error="cannot_strip", remediation=[Remedy("Ask for it with metadata=keep.", "keep_metadata")],
        detail={"reason": reason},
    )


async def _pieces(studio: Studio, digest: str, start: int, end: int) -> AsyncIterator[bytes]:
    async for piece in studio.blobs.stream(digest, start, end):
        yield piece


def _part(asked: str | None, if_range: str | None, tag: str, size: int) -> tuple[int, int, int] | None:
    """(start, end, status) of what is asked for (RFC 9110, 14); nothing when no byte of it exists.

    Several ranges, other units and malformed ones are ignored, as is any range of another version of the bytes.
    """
    whole = (0, size, 200)
    if asked is None or (if_range is not None and if_range.strip() != tag):
        return whole
    match = _RANGE.match(asked.strip())
    if match is None or match.groups() == ("", ""):
        return whole
    first, last = match.groups()
    if first == "":
        length = int(last)
        return (max(size - length, 0), size, 206) if length else None
    if last and int(last) < int(first):
        return whole
    if int(first) >= size:
        return None
    return int(first), min(int(last) + 1 if last else size, size), 206


def _disposition(told: Kept, disposition: str) -> str:
    name = safe_name(told.name, told.media_type)
    plain = re.sub(r'[^A-Za-z0-9 ._()+-]', "_", name)
    kind = "attachment" if told.media_type in ACTIVE else disposition
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def safe_name(name: str, media_type: str) -> str:
    """A file name whose ending is true to the bytes and that no system takes for a path or a program."""
    cleaned = _UNSAFE.sub("_", name).strip(" .") or "asset"
    extension = _EXTENSIONS.get(media_type) or mimetypes.guess_extension(media_type) or ".bin"
    guessed = mimetypes.guess_type(cleaned)[0] or ""
    family = media_type.partition("/")[0]
    true = guessed.partition("/")[0] == family if family in ("image", "audio", "video") else not _RISKY.search(cleaned)
    if guessed == media_type or (true and PurePosixPath(cleaned).suffix and not _RISKY.search(cleaned)):
        return cleaned
    return cleaned + extension


def _unknown(uid: str) -> NotFound:
    return NotFound(
        f"There is no asset {uid[:40]}.", error="unknown_asset",
        remediation=[Remedy("List the assets of the project.", "list_assets")],
    )


def _removed(uid: str) -> NotFound:
    return NotFound(
        f"Asset {uid} has been removed.", error="asset_removed",
        remediation=[Remedy("Restore it first.", "restore_asset")], detail={"uid": uid},
    )


def _operation(extra: list[dict[str, Any]]) -> dict[str, Any]:
    binary = {"*/*": {"schema": {"type": "string", "format": "binary"}}}
    header = {"X-Request-Id": HEADERS["X-Request-Id"], "ETag": {"schema": {"type": "string"}}}
    return {
        "parameters": [
            parameter("uid", "path", {"type": "string", "pattern": "^[0-9a-f]{16}$"}, required=True),
            parameter("project", "query", NAME | {"default": "default"}),
            parameter("min_position", "query", {"type": "integer", "minimum": 0, "default": 0}), *extra,
            parameter("Range", "header", {"type": "string"}, "One range of bytes."),
            parameter("If-Range", "header", {"type": "string"}),
            parameter("If-None-Match", "header", {"type": "string"}),
        ],
        "responses": {
            "200": {"description": "The bytes.", "content": binary, "headers": header},
            "206": {"description": "The range asked for.", "content": binary, "headers": header},
            "304": {"description": "The client has them already."},
            **problems(400, 401, 403, 404, 416, 422, 423, 500, 503),
        },
    }
