"""Doors for questions that are too large for an address: a view's question as a JSON body. Nothing is recorded.

Where and when (``project``, ``worldline``, ``as_of``, ``min_position``) may stand in the address as everywhere else, or
in the body.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, Final

import orjson
from pydantic import ValidationError

from gateways.http import openapi, schemas
from gateways.http.bodies import check_media_type, read_object
from gateways.http.hub import Hub
from gateways.http.problems import Reply, encode, malformed, unfit, wrong_fields
from gateways.http.routing import Answering, Door
from gateways.http.schemas import parameter
from gateways.http.views import reachable
from gateways.http.visit import Visit, single
from projections.boards import points_of_view, presentation, worldline_bio
from projections.reading import BranchQuery, Query, View
from services.studio import Studio

LARGE: Final = 64 * 2**10
"""Bodies over so many bytes are read in a thread, so that nobody else waits for them."""

POSED: Final[tuple[View, ...]] = (*presentation.POSED, *points_of_view.POSED, *worldline_bio.POSED)

_NUMBERS: Final = frozenset({"as_of", "min_position"})


def posed_doors(studio: Studio, hub: Hub) -> list[Door]:
    """A POST door per posed question."""
    return [
        Door("POST", view.path, answer=_posed(studio, hub, view), operation=partial(_operation, view)) for view in POSED
    ]


def _circumstances(view: View) -> frozenset[str]:
    branching = BranchQuery if issubclass(view.query, BranchQuery) else Query
    return frozenset(branching.model_fields)


def _posed(studio: Studio, hub: Hub, view: View) -> Answering:
    allowed = _circumstances(view)

    async def answer(visit: Visit) -> Reply:
        given = single(visit.parameters(), allowed)
        body = await visit.body()
        check_media_type(visit.header(b"content-type"), visit.header(b"content-encoding"))
        if len(body) > LARGE:
            query = await asyncio.to_thread(read_posed, view.query, given, body)
        else:
            query = read_posed(view.query, given, body)
        visit.grant.need(view.scope, query.project)
        query = await reachable(studio, hub, query)
        seen = await studio.look_closely(view, query)
        return Reply(200, encode(seen.answer), [(b"x-comfyvn-position", b"%d" % seen.position)])

    return answer


def read_posed(type_: type[Query], given: dict[str, str], body: bytes) -> Query:
    """A question from a body and the parameters beside it; raises ``Invalid`` that names everything wrong."""
    told = read_object(body or b"{}")
    wrong = [
        {"path": name, "message": "it stands in the address and in the body"} for name in given if name in told
    ] + [
        {"path": name, "message": "this is a whole number"}
        for name, value in given.items()
        if name in _NUMBERS and not (value.isascii() and value.isdigit() and len(value) <= 19)
    ]
    if wrong:
        raise wrong_fields("The question", "invalid_parameters", wrong)
    beside: dict[str, Any] = {name: int(value) if name in _NUMBERS else value for name, value in given.items()}
    try:
        return type_.__pydantic_validator__.validate_json(orjson.dumps({**told, **beside}), strict=True)  # type: ignore[no-any-return]
    except ValidationError as error:
        raise unfit(error, what="The question", code="invalid_fields") from error
    except TypeError as error:  # half of a surrogate pair, or a number beyond 64 bit
        raise malformed("it holds what JSON in UTF-8 cannot say") from error


def _operation(view: View) -> schemas.Schema:
    schema = openapi.inlined(view.query)
    beside = _circumstances(view)
    places = [
        parameter(name, "query", {key: value for key, value in told.items() if key not in ("title", "description")},
                  told.get("description", ""))
        for name, told in schema["properties"].items() if name in beside
    ]
    return {
        "operationId": view.name, "tags": ["views"], "summary": view.about or openapi.about(view.query),
        "description": f"Needs the scope `{view.scope}`. Reads {', '.join(view.reads)}. Nothing is recorded.",
        "parameters": places,
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {
            "200": schemas.answer("The answer.", {"type": "object"}, headers=("X-Comfyvn-Position",)),
            **schemas.problems(400, 401, 403, 404, 413, 415, 422, 500, 503),
        },
    }
