"""Doors to the log itself: every event, in order, page by page."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any, Final

from domain.errors import NotFound, Remedy
from domain.ports import Recorded
from gateways.http import openapi, schemas
from gateways.http.problems import Reply, wrong_fields
from gateways.http.routing import Door
from gateways.http.streams import SCOPE, check_scope, read_after, read_wanted
from gateways.http.visit import Visit, single
from services.studio import Studio
from services.wire import event_line

PAGE: Final = 100
PAGE_LIMIT: Final = 1000
PAGE_BYTES: Final = 4 * 2**20
"""A page ends earlier when it is as large as this."""

SCANNED: Final = 20_000
"""Most events that one page looks at; a page that finds little says where to go on."""

FILTERS: Final = ("project", "worldline", "category", "id", "type", "actor")


def log_doors(studio: Studio) -> list[Door]:
    """The list and the single event."""

    async def listed(visit: Visit) -> Reply:
        return await _listed(studio, visit)

    async def one(visit: Visit) -> Reply:
        return await _one(studio, visit)

    name = {"type": "string"}
    return [
        Door("GET", "/api/log", answer=listed, operation=openapi.read_operation(
            "ListLog", "Events in the order of the log.", "log", {
                "type": "object", "required": ["items", "next", "head"],
                "properties": {
                    "items": {"type": "array", "items": {"$ref": f"{schemas.REF}EventLine"}},
                    "next": {"type": ["integer", "null"], "description": "`after` of the next page; null at the end."},
                    "head": schemas.POSITION,
                },
            },
            parameters=[
                schemas.parameter("after", "query", schemas.POSITION | {"default": 0, "maximum": 10**18 - 1},
                                  "The events after this position."),
                schemas.parameter("limit", "query", {
                    "type": "integer", "minimum": 1, "maximum": PAGE_LIMIT, "default": PAGE,
                }),
                *(schemas.parameter(one, "query", name, "Only these; separated by commas.") for one in FILTERS),
            ],
            description=f"Needs the scope `{SCOPE}`. A page may hold less than `limit` and still have a next one.",
        )),
        Door("GET", "/api/log/{position}", answer=one, operation=openapi.read_operation(
            "ShowLogged", "One event of the log.", "log", {"$ref": f"{schemas.REF}EventLine"},
            parameters=[schemas.parameter("position", "path", {"type": "integer", "minimum": 1}, required=True)],
            statuses=(400, 401, 403, 404, 422, 500, 503), description=f"Needs the scope `{SCOPE}`.",
        )),
    ]


async def _listed(studio: Studio, visit: Visit) -> Reply:
    given: dict[str, Any] = single(visit.parameters(), frozenset({*FILTERS, "after", "limit"}))
    if "type" in given:
        given["event"] = given.pop("type")
    wanted = read_wanted(given)
    check_scope(visit.grant, wanted)
    after, limit = read_after(given.get("after")) or 0, _limit(given.get("limit"))
    actors = frozenset(given["actor"].split(",")) if "actor" in given else frozenset()
    head = await studio.log.head()
    lines: list[bytes] = []
    size = scanned = 0
    position = after
    more = False
    async with aclosing(
        studio.log.read(after=after, upto=head, pattern=wanted.pattern, batch=min(1000, max(limit, 100)))  # type: ignore[type-var]
    ) as batches:
        async for batch in batches:
            for recorded in batch:
                if len(lines) >= limit or size >= PAGE_BYTES or scanned >= SCANNED:
                    more = True
                    break
                scanned, position = scanned + 1, recorded.position
                if wanted.matches(recorded.stream, recorded.type) and (not actors or recorded.actor in actors):
                    lines.append(event_line(recorded))
                    size += len(lines[-1])
            if more:
                break
    next_ = b"%d" % position if more else b"null"
    body = b'{"items":[' + b",".join(lines) + b'],"next":' + next_ + b',"head":%d}' % head
    return Reply(200, body)


def _limit(text: str | None) -> int:
    if text is None:
        return PAGE
    if text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= PAGE_LIMIT:
        return int(text)
    raise wrong_fields("The query string", "invalid_parameters", [
        {"path": "limit", "message": f"a whole number from 1 to {PAGE_LIMIT} is needed"}
    ])


async def _one(studio: Studio, visit: Visit) -> Reply:
    single(visit.parameters(), frozenset())
    text = visit.path["position"]
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise wrong_fields("The address", "invalid_parameters", [
            {"path": "position", "message": "a position, a whole number from 1, is needed"}
        ])
    found = await _at(studio, int(text))
    if found is None:
        raise NotFound(
            f"There is no event at position {int(text)}.", error="unknown_position",
            remediation=[Remedy("GET /api/log lists what there is.", "list_log")], detail={"position": int(text)},
        )
    visit.grant.need(SCOPE, found.stream.project)
    return Reply(200, event_line(found))


async def _at(studio: Studio, position: int) -> Recorded | None:
    if position < 1:
        return None
    async with aclosing(studio.log.read(after=position - 1, upto=position)) as batches:  # type: ignore[type-var]
        async for batch in batches:
            for recorded in batch:
                if recorded.position == position:
                    return recorded
    return None
