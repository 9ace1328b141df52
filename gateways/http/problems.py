"""Every no that the HTTP door says: one shape, one map from kinds of errors to status codes.

The media type is ``application/problem+json`` (RFC 9457). ``type`` is ``urn:comfyvn:problem:<error>``; ``title`` names
the status; ``error``, ``message``, ``remediation`` and ``detail`` are those of ``domain.errors``; ``request_id`` finds
the request in the logs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from domain.errors import (
    ComfyVNError,
    Denied,
    Invalid,
    Locked,
    NotFound,
    Refused,
    Remedy,
    Stale,
    Unavailable,
)
from services.redaction import SECRETS

PROBLEM_TYPE: Final = b"application/problem+json"
JSON_TYPE: Final = b"application/json"

TITLES: Final[Mapping[int, str]] = {
    400: "The request cannot be understood",
    401: "Who asks is not known",
    403: "The caller may not do this",
    404: "Nothing of that name is here",
    405: "This address does not take that method",
    408: "The request came too slowly",
    409: "A rule says no",
    412: "The version is not the newest",
    413: "The request is too large",
    415: "The media type is not taken here",
    416: "There are no bytes in that range",
    422: "The request does not fit what is asked for",
    423: "A policy says no until something is mended",
    431: "The head of the request is too large",
    500: "Something broke that should not break",
    503: "Something that must answer does not answer now",
}
"""Every status that a problem may have, with its title."""

STATUS_OF_KIND: Final[tuple[tuple[type[ComfyVNError], int], ...]] = (
    (Invalid, 400), (NotFound, 404), (Stale, 412), (Locked, 423), (Refused, 409), (Denied, 403), (Unavailable, 503),
)
"""Kinds of errors in the order in which they are tried: ``Locked`` is also a ``Refused``."""

STATUS_OF_CODE: Final[Mapping[str, int]] = {
    "unauthenticated": 401,
    "method_not_allowed": 405,
    "append_too_large": 413,
    "body_late": 408,
    "body_too_large": 413,
    "event_too_large": 413,
    "head_late": 408,
    "head_too_large": 431,
    "upload_too_large": 413,
    "unsupported_media_type": 415,
    "range_not_satisfiable": 416,
    "idempotency_key_reused": 422,
    "invalid_fields": 422,
    "invalid_parameters": 422,
    "invalid_name": 422,
    "CONTRACT_MISMATCH": 422,
    "MISSING_REQUIRED_FIELD": 422,
    "INVALID_FIELD_TYPE": 422,
    "INVALID_FIELD_VALUE": 422,
    "VALIDATION_ERROR": 422,
    "CONSENT_MISSING": 422,
}
"""Codes whose status is not that of their kind."""

SHOWN: Final = 50
"""Most wrong fields that one problem names."""

RETRY_SECONDS: Final = b"1"

Headers = Sequence[tuple[bytes, bytes]]


class Reply(NamedTuple):
    """An answer before the headers that all answers share."""

    status: int
    body: bytes
    headers: Headers = ()
    media: bytes = JSON_TYPE


def encode(value: Any) -> bytes:
    """JSON of an answer. What orjson cannot say (integers beyond 64 bit) the standard library can."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, separators=(",", ":"), default=str).encode()


def status_of(error: ComfyVNError) -> int:
    """The status code of an error."""
    known = STATUS_OF_CODE.get(error.code)
    if known is not None:
        return known
    return next((status for kind, status in STATUS_OF_KIND if isinstance(error, kind)), 500)


def problem_body(error: ComfyVNError, request_id: str, *, status: int | None = None) -> dict[str, Any]:
    """The members of a problem."""
    status = status or status_of(error)
    return {
        "type": f"urn:comfyvn:problem:{error.code}", "title": TITLES.get(status, TITLES[500]), "status": status,
        "error": error.code, "message": SECRETS.text(error.message),
        "remediation": [{"text": SECRETS.text(remedy.text), "action": remedy.action} for remedy in error.remediation],
        "detail": SECRETS.redact(error.detail), "request_id": request_id,
    }


def problem(
    error: ComfyVNError, request_id: str, *, headers: Headers = (), more: Mapping[str, Any] | None = None
) -> Reply:
    """The answer for an error; ``more`` adds members (a recorded refusal also says what was recorded)."""
    body = problem_body(error, request_id)
    status: int = body["status"]
    added: list[tuple[bytes, bytes]] = []
    if status == 401:
        added.append((b"www-authenticate", b'Bearer realm="comfyvn"'))
    elif status == 405:
        added.append((b"allow", ", ".join(error.detail.get("allowed", ())).encode()))
    elif status == 408:
        added.append((b"connection", b"close"))
    elif status == 503:
        added.append((b"retry-after", RETRY_SECONDS))
    return Reply(status, encode(body | dict(more or {})), [*added, *headers], PROBLEM_TYPE)


def ending() -> Unavailable:
    """The error for a request that the end of the server has cut off; what it had recorded by then is recorded."""
    return Unavailable(
        "The studio is ending, and this was not done yet.", error="studio_ending",
        remediation=[Remedy("Try again in a moment; with the same Idempotency-Key a command takes effect once.",
                            "retry")],
    )


def broken(request_id: str, error_id: str) -> Reply:
    """The answer for what nobody expected; the trace stands in the log under ``error_id`` alone."""
    error = ComfyVNError(
        "The studio met an error that it does not know. Nothing is lost; it stands in the log of the server.",
        error="internal_error",
        remediation=[Remedy(f"Report it with the error id {error_id}.", "report")],
        detail={"error_id": error_id},
    )
    return problem(error, request_id)


# --- errors that only a door can have ---------------------------------------------------------------------------------


def unknown_path(path: str) -> NotFound:
    """No door has that address."""
    return NotFound(
        f"There is nothing at {path[:200]}.", error="unknown_path",
        remediation=[Remedy("Look at GET /openapi.json for what there is.", "open_openapi")],
    )


def unknown_command(name: str) -> NotFound:
    """No command has that name."""
    return NotFound(
        f"There is no command {name[:100]!a}.", error="unknown_command",
        remediation=[Remedy("GET /api/commands lists them.", "list_commands")], detail={"command": name[:100]},
    )


def method_not_allowed(method: str, allowed: Iterable[str]) -> Invalid:
    """The address exists and does not take the method."""
    known = sorted(allowed)
    return Invalid(
        f"{method[:20]} is not possible here; {', '.join(known)} is.", error="method_not_allowed",
        remediation=[Remedy(f"Use {' or '.join(known)}.", "change_method")], detail={"allowed": known},
    )


def unauthenticated(message: str) -> Denied:
    """A token is needed, or the one that came is not good."""
    return Denied(
        message, error="unauthenticated",
        remediation=[Remedy(
            "Send `Authorization: Bearer <token>`; `comfyvn token create` makes one.", "create_token"
        )],
    )


def missing_scope(scope: str, project: str | None) -> Denied:
    """The token is good and not for this."""
    where = f" in project {project}" if project else ""
    return Denied(
        f"This token may not do this{where}: it needs the scope {scope}.", error="missing_scope",
        remediation=[Remedy(f"Use a token with the scope {scope}{where}.", "create_token")],
        detail={"scope": scope, "project": project},
    )


def bad_header(name: str, rule: str) -> Invalid:
    """A header that cannot be understood."""
    return Invalid(
        f"The header {name} cannot be understood: {rule}.", error="invalid_header",
        remediation=[Remedy(f"Mend the header {name} or leave it away.", "fix_header")], detail={"header": name},
    )


def in_future(what: str, position: int, head: int) -> Invalid:
    """A position that the log has not reached."""
    return Invalid(
        f"{what}: position {position} has not happened yet; the newest is {head}.", error="position_in_future",
        remediation=[Remedy("Use a position that an answer has given out.", "use_known_position")],
        detail={"position": position, "head": head},
    )


def unfit(error: ValidationError, *, what: str, code: str, prefix: tuple[str | int, ...] = ()) -> Invalid:
    """The problem of a body or of parameters that were read and do not fit; every wrong field by its path."""
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    if errors[0]["type"] == "json_invalid":
        return malformed(errors[0]["msg"].removeprefix("Invalid JSON: "))
    fields = [_wrong_field(one, prefix) for one in errors[:SHOWN]]
    return wrong_fields(what, code, fields, more=len(errors) - len(fields))


def wrong_fields(what: str, code: str, fields: Sequence[Mapping[str, str]], *, more: int = 0) -> Invalid:
    """``fields`` is ``[{"path", "message"}]``."""
    first = fields[0]
    named = f"{first['path']}: {first['message']}" if first["path"] else first["message"]
    others = len(fields) + more - 1
    return Invalid(
        f"{what} does not fit. {named}" + (f" (and {others} more)" if others else ""), error=code,
        remediation=[Remedy("Mend what `detail.fields` names; GET /openapi.json has the shape.", "fix_fields")],
        detail={"fields": list(fields)} | ({"more": more} if more else {}),
    )


def malformed(why: str) -> Invalid:
    """A body that is not JSON."""
    return Invalid(
        f"The body is not usable JSON: {why[:200]}.", error="malformed_json",
        remediation=[Remedy("Send one JSON object in UTF-8.", "fix_json")],
    )


def _wrong_field(one: ErrorDetails, prefix: tuple[str | int, ...]) -> dict[str, str]:
    path = "/".join(str(part)[:100] for part in (*prefix, *one["loc"]))
    match one["type"]:
        case "extra_forbidden":
            message = "there is no such field"
        case "missing":
            message = "this field is needed"
        case _:
            message = one["msg"].removeprefix("Value error, ")[:300]
    return {"path": path[:400], "message": message}
