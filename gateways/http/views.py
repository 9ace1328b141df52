"""Doors for looking: every view of the registry at its path, with strict parameters, ETag and the position it shows."""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from hashlib import sha256
from typing import Any, Final, Union, get_args, get_origin

from pydantic import ValidationError

from gateways.http import openapi
from gateways.http.gate import Pass
from gateways.http.hub import Hub
from gateways.http.live import Beside
from gateways.http.problems import Reply, encode, in_future, unfit, wrong_fields
from gateways.http.routing import Answering, Door
from gateways.http.visit import Parameters, Visit
from projections.reading import AcrossQuery, Query, View
from services.studio import Studio

_LISTS: Final = (list, tuple, set, frozenset)


def view_doors(studio: Studio, hub: Hub, beside: Beside) -> list[Door]:
    """A door per view; ``beside`` are the figures of this process that some of them show too."""
    return [
        Door("GET", view.path, answer=_shown(studio, hub, view, beside.get(view.name)),
             operation=partial(openapi.view_operation, view))
        for view in studio.registry.views.values()
    ]


def lists_of(query: type[Query]) -> frozenset[str]:
    """Fields of a query that may come several times."""
    return frozenset(name for name, field in query.model_fields.items() if _is_list(field.annotation))


def _is_list(annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return any(_is_list(one) for one in get_args(annotation))
    return (origin or annotation) in _LISTS


def read_query(query: type[Query], lists: frozenset[str], parameters: Parameters, path: Mapping[str, str]) -> Query:
    """A view's question from the query string and the path; raises ``Invalid`` that names every wrong parameter."""
    given: dict[str, Any] = dict(path)
    wrong = []
    for name, value in parameters:
        if name in path or name not in query.model_fields:
            wrong.append({"path": name[:100], "message": "there is no such parameter"})
        elif name in lists:
            given.setdefault(name, []).append(value)
        elif name in given:
            wrong.append({"path": name, "message": "this parameter came twice"})
        else:
            given[name] = value
    if wrong:
        raise wrong_fields("The query string", "invalid_parameters", wrong)
    try:
        return query.model_validate(given)
    except ValidationError as error:
        raise unfit(error, what="The question", code="invalid_parameters") from error


def _shown(studio: Studio, hub: Hub, view: View, live: Callable[[], Awaitable[Any]] | None) -> Answering:
    lists = lists_of(view.query)

    async def answer(visit: Visit) -> Reply:
        query = read_query(view.query, lists, visit.parameters(), visit.path)
        query = _allowed(visit.grant, view, query)
        query = await reachable(studio, hub, query)
        seen = await studio.look_closely(view, query)
        told = seen.answer
        if live is not None:
            # These are figures of every project, so a token that is bound to some does not see them.
            told = told | {"live": await live() if visit.grant.everywhere(view.scope) else None}
        body = encode(told)
        headers = [(b"x-comfyvn-position", b"%d" % seen.position), (b"cache-control", b"no-cache")]
        tag = entity_tag(told, body)
        if tag is not None:
            headers.append((b"etag", tag))
            if matches(visit.header(b"if-none-match"), tag.decode()):
                return Reply(304, b"", headers)
        return Reply(200, body, headers)

    return answer


def _allowed(grant: Pass, view: View, query: Query) -> Query:
    """The question, once it is sure that the asker may ask it; raises ``Denied``.

    A question across projects is narrowed to those that a bound token is good for.
    """
    if not isinstance(query, AcrossQuery):
        grant.need(view.scope, query.project)
        return query
    for project in query.among:
        grant.need(view.scope, project)
    return query if query.among else query.model_copy(update={"among": grant.reach(view.scope)})


async def reachable(studio: Studio, hub: Hub, query: Query) -> Query:
    """The question, once it is sure that its positions have happened: nobody waits for what may never come.

    A question about a position also waits until the view has counted it; else the answer could still change.
    """
    as_of = getattr(query, "as_of", 0)
    wanted = max(query.min_position, as_of)
    if not wanted:
        return query
    # What the event stream has already seen need not be asked for again.
    if wanted > hub.head and wanted > (head := await studio.log.head()):
        raise in_future("as_of" if as_of == wanted else "min_position", wanted, head)
    return query if query.min_position == wanted else query.model_copy(update={"min_position": wanted})


def entity_tag(answer: Any, body: bytes) -> bytes | None:
    """``"<version>-<digest>"`` for an answer with a version, else nothing.

    The version alone would not do: an answer may also show what other things did. If-Match takes the tag as it is.
    """
    version = answer.get("version") if isinstance(answer, dict) else None
    if type(version) is not int:
        return None
    return b'"%d-%b"' % (version, sha256(body).hexdigest()[:16].encode())


def matches(if_none_match: str | None, tag: str) -> bool:
    """Whether a client already has the answer with that tag (weak comparison, RFC 9110)."""
    if if_none_match is None:
        return False
    told = [one.strip().removeprefix("W/") for one in if_none_match[:4000].split(",")]
    return "*" in told or tag in told
