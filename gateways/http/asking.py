"""From a request to an asker and back from a receipt to an answer: shared by every door that asks commands.

A router of its own (uploads) depends on ``needs(scope)``, asks with ``asker_of(request)``, answers with ``answered``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import Request, Response

from domain.errors import Denied, Invalid, NotFound, Remedy, Stale
from domain.ids import MAIN, UNBRANCHED, token
from domain.ports import Stream
from gateways.http.gate import Pass
from gateways.http.problems import Reply, bad_header, encode, problem, problem_body, wrong_fields
from gateways.http.visit import Visit
from services.dispatcher import Receipt
from services.registry import Registry
from services.studio import Asker, Studio

ACTOR: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@:+-]{0,99}\Z")
"""What may stand in the header X-Comfyvn-Actor."""

VISIBLE: Final = re.compile(r"[\x21-\x7e]{1,255}\Z")
"""What may stand in Idempotency-Key and X-Correlation-Id."""

DEFAULT_PROJECT: Final = "default"

_VERSION: Final = re.compile(r'"?(\d{1,18})(?:-[0-9a-f]{1,64})?"?\Z')


def asker(visit: Visit) -> Asker:
    """Who stands at the door, by which key; raises ``Invalid`` and ``Denied``."""
    actor = key = correlation = None
    for name, value in visit.scope["headers"]:
        if name == b"idempotency-key":
            key = _once("Idempotency-Key", key, value)
        elif name == b"x-comfyvn-actor":
            actor = _once("X-Comfyvn-Actor", actor, value)
        elif name == b"x-correlation-id":
            correlation = _once("X-Correlation-Id", correlation, value)
    return Asker(_actor(visit.grant, actor), key, correlation or "")


def _once(header: str, before: str | None, value: bytes) -> str:
    text = value.decode("latin-1")
    if before is not None or not VISIBLE.match(text):
        raise bad_header(header, "it is one text of 1 to 255 visible ASCII characters without blanks")
    return text


def _actor(passed: Pass, claimed: str | None) -> str:
    own = passed.name or "local"
    if claimed is None or claimed == own:
        return own
    if passed.grant is not None:
        raise Denied(
            f"This token asks as {own}, not as somebody else.", error="actor_not_yours",
            remediation=[Remedy("Leave the header X-Comfyvn-Actor away.", "drop_actor")],
        )
    if not ACTOR.match(claimed):
        raise bad_header("X-Comfyvn-Actor", "it is 1 to 100 characters of A-Z a-z 0-9 _ . @ : + -")
    return claimed


def if_match(visit: Visit) -> int | str | None:
    """The expected version in If-Match: a number, ``"*"`` or nothing. Tags of views, ``"7-2fb0…"``, say one too."""
    found = None
    for name, value in visit.scope["headers"]:
        if name == b"if-match":
            if found is not None:
                raise bad_header("If-Match", "it came twice")
            found = value.decode("latin-1").strip()
    if found is None or found == "*":
        return found
    match = _VERSION.match(found)
    if match is None or (found[0] == '"') != (found[-1] == '"'):
        raise bad_header("If-Match", 'it is one version such as "7", or *')
    return int(match[1])


@lru_cache(maxsize=4096)
def checked_name(kind: str, text: str) -> str:
    """A project or worldline from the query string; raises ``Invalid`` that names the parameter."""
    try:
        return token(text)
    except ValueError as error:
        raise wrong_fields("The query string", "invalid_parameters", [{"path": kind, "message": str(error)}]) from error


async def expected_version(
    studio: Studio, visit: Visit, category: str, id_: str | None, project: str, worldline: str
) -> int | None:
    """What If-Match expects of an aggregate; ``*`` only expects that it exists. Raises ``Stale``."""
    wanted = if_match(visit)
    if wanted is None or isinstance(wanted, int):
        return wanted
    if id_ is not None and await exists(studio, category, id_, project, worldline):
        return None
    raise Stale(
        "If-Match: * needs something that exists.", error="nothing_to_match",
        remediation=[Remedy("Leave If-Match away to create it.", "drop_if_match")],
        detail={"expected": "*", "current": 0, "id": id_},
    )


async def exists(studio: Studio, category: str, id_: str, project: str, worldline: str) -> bool:
    """Whether anything has happened to an aggregate, here or on the worldline that it is inherited from."""
    line = worldline if studio.registry.contexts[category].branches else UNBRANCHED
    try:
        found = await studio.dispatcher.aggregates.load(Stream(project, line, category, token(id_)))
    except (ValueError, NotFound):
        return False
    return found.version > 0


# --- answers ----------------------------------------------------------------------------------------------------------


class Locations:
    """Where what a command created is shown."""

    def __init__(self, registry: Registry) -> None:
        self._shown: dict[str, str] = {}
        for asking in registry.askings.values():
            category = registry.homes[asking.name].category
            paths = [
                view.path for view in registry.views.values() if view.path.count("{") == 1
                and view.path.endswith("/{" + asking.id_field + "}") and asking.id_field in view.query.model_fields
            ]
            if paths:
                home = (asking.route or "").partition(" ")[2].partition("/{")[0]
                best = min(paths, key=lambda path: (not path.startswith(f"{home}/{{"), len(path)))
                if category not in self._shown or asking.creates:
                    self._shown[category] = best

    def of(self, receipt: Receipt, worldline: str) -> str:
        """The address of the aggregate; of its first event in the log where no view shows it."""
        path = self._shown.get(receipt.stream.category)
        if path is None:
            return f"/api/log/{receipt.events[0].position}"
        named = {}
        if receipt.stream.project != DEFAULT_PROJECT:
            named["project"] = receipt.stream.project
        if worldline not in (MAIN, UNBRANCHED):
            named["worldline"] = worldline
        path = path[: path.index("{")] + receipt.id
        return f"{path}?{urlencode(named)}" if named else path


def receipt_body(receipt: Receipt) -> dict[str, Any]:
    """What an accepted command is told, with what the command itself adds (``Asking.told``: findings, a balance).

    The same again when it is repeated; a header says that it was.
    """
    return dict(receipt.told) | {
        "ok": True, "id": receipt.id, "version": receipt.version, "position": receipt.position,
        "events": [{"type": one.type, "position": one.position} for one in receipt.events],
        "project": receipt.stream.project, "worldline": receipt.stream.worldline,
    }


def accepted(receipt: Receipt, request_id: str, locations: Locations) -> Reply:
    """The answer for a receipt: 201 and its place when it created something, else 200; recorded bad news: a problem."""
    if receipt.would is not None:
        return Reply(200, encode(dry_body(receipt, request_id)))
    headers = [(b"etag", b'"%d"' % receipt.version)]
    if receipt.repeated:
        headers.append((b"idempotency-replayed", b"true"))
    if receipt.problem is not None:
        told = receipt_body(receipt) | {"ok": False}
        return problem(receipt.problem, request_id, headers=headers, more=told)
    if not receipt.created:
        return Reply(200, encode(receipt_body(receipt)), headers)
    headers.append((b"location", locations.of(receipt, receipt.stream.worldline).encode()))
    return Reply(201, encode(receipt_body(receipt)), headers)


def dry_body(receipt: Receipt, request_id: str) -> dict[str, Any]:
    """What a dry run is told: the events that would be, and the bad news that would be recorded with them."""
    told: dict[str, Any] = dict(receipt.told) | {
        "ok": True, "dry_run": True, "id": receipt.id, "version": receipt.version,
        "project": receipt.stream.project, "worldline": receipt.stream.worldline,
        "would": [
            {"type": type(event).__name__, "data": event.model_dump(mode="json")} for event in receipt.would or ()
        ],
    }
    if receipt.problem is not None:
        told["problem"] = problem_body(receipt.problem, request_id)
    return told


# --- for routers of their own -----------------------------------------------------------------------------------------


def visit_of(request: Request) -> Visit:
    """The visit behind a FastAPI request."""
    visit: Visit = request.scope["comfyvn.visit"]
    return visit


def asker_of(request: Request) -> Asker:
    """Who stands at the door, for routers: usable as ``Depends(asker_of)``."""
    return asker(visit_of(request))


def project_of(request: Request) -> str:
    """The parameter ``project``, checked."""
    return checked_name("project", request.query_params.get("project", DEFAULT_PROJECT))


def needs(scope: str) -> Callable[[Request], None]:
    """A dependency that lets only callers with a scope in the project in: ``Depends(needs("asset:write"))``."""

    def check(request: Request) -> None:
        visit_of(request).grant.need(scope, project_of(request))

    return check


def answered(request: Request, receipt: Receipt, locations: Locations | None = None) -> Response:
    """The answer for a receipt as a FastAPI response."""
    visit = visit_of(request)
    known: Locations = locations or request.app.state.locations
    reply = accepted(receipt, visit.request_id, known)
    headers = {name.decode(): value.decode() for name, value in reply.headers}
    return Response(reply.body, reply.status, headers, reply.media.decode())


def refuse_if_match(visit: Visit) -> None:
    """For doors that change several things at once, where one version says nothing."""
    if visit.header(b"if-match") is not None:
        raise Invalid(
            "If-Match has no meaning here: several things change at once.", error="invalid_header",
            remediation=[Remedy("Leave If-Match away, or ask the commands one by one.", "drop_if_match")],
        )
