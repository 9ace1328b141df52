"""Doors for comparing and merging worldlines: bodies as people have always sent them, answers as views give them.

``apply`` of false, or ``dry_run``, tells what would be and changes nothing. Conflicts come as an object in ``detail``.
"""

from __future__ import annotations

from time import perf_counter
from typing import Annotated, Any, Final, TypeVar

from pydantic import AliasChoices, Field, StrictBool, ValidationError

from domain.bounded_json import BoundedJson
from domain.errors import ComfyVNError
from domain.ids import MAIN, Token
from domain.story.merging.conflicts import Rule
from domain.values import Value
from gateways.http import openapi, schemas
from gateways.http.asking import DEFAULT_PROJECT, asker, checked_name, refuse_if_match
from gateways.http.bodies import check_media_type, read_object
from gateways.http.commands import circumstances
from gateways.http.hub import Hub
from gateways.http.metrics import Metrics
from gateways.http.problems import Reply, encode, unfit
from gateways.http.routing import Answering, Door
from gateways.http.views import reachable
from gateways.http.visit import Visit
from projections.boards.differing import DiffWorldlines
from projections.boards.merging import Wanted
from projections.boards.worldline_graph import ShowWorldlineGraph
from projections.reading import Query
from services.merging.asking import Merge
from services.merging.decisions import decisions_of
from services.merging.working import ONLY_LIMIT, Merging, categories_of
from services.studio import Studio

Position = Annotated[int, Field(ge=0, le=2**62)]
Pov = Annotated[str, Field(max_length=200)]


class DiffBody(Value):
    """Two worldlines, or one at two positions (0 is now). ``mask_pov`` shows both as one point of view may see them."""

    source: Annotated[Token, Field(validation_alias=AliasChoices("source", "a", "world"))] = MAIN
    target: Annotated[Token, Field(validation_alias=AliasChoices("target", "b", "compare_to"))] = MAIN
    source_at: Position = 0
    target_at: Position = 0
    scene: Annotated[Token | None, Field(validation_alias=AliasChoices("scene", "scene_id"))] = None
    category: Token | None = None
    pov: Pov | None = None
    mask_pov: StrictBool | Pov | None = None
    project: Token | None = None


class GraphBody(Value):
    """Worldlines beside each other, compared with ``target``."""

    target: Annotated[Token, Field(validation_alias=AliasChoices("target", "world"))] = MAIN
    worlds: Annotated[tuple[Token, ...], Field(max_length=50)] = ()
    as_of: Position = 0
    pov: Pov | None = None
    mask_pov: StrictBool | Pov | None = None
    fast_forward: StrictBool = True
    project: Token | None = None


class MergeBody(Value):
    """Merge ``source`` into ``target``. ``resolutions`` are by conflict id or address (``"ours"``, ``"theirs"``,
    ``"base"``, ``"newest"``, or ``{"value": …}``); ``rule`` settles all other conflicts; ``only`` narrows it."""

    source: Token
    target: Token = MAIN
    apply: StrictBool = True
    rule: Annotated[Rule | None, Field(validation_alias=AliasChoices("rule", "strategy", "policy"))] = None
    resolutions: dict[str, BoundedJson] | list[BoundedJson] = {}
    only: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=400)], ...], Field(max_length=ONLY_LIMIT)] = ()
    pov: Pov | None = None
    mask_pov: StrictBool | Pov | None = None
    project: Token | None = None


Body = TypeVar("Body", bound=Value)


def merging_doors(studio: Studio, hub: Hub, metrics: Metrics) -> list[Door]:
    """The doors below ``/api/diffmerge``, and those of the same meaning below ``/api/pov``."""
    diff, graph = _looking(studio, hub, DiffBody, _diff_query), _looking(studio, hub, GraphBody, _graph_query)
    merge = _merging(studio, metrics)
    told: schemas.Schema = {"type": "object"}
    return [
        Door("POST", "/api/diffmerge/scene", answer=diff, operation=_operation(
            "DiffScene", "What differs between two worldlines, in the order of the story.", DiffBody, told)),
        Door("POST", "/api/pov/diff", answer=diff, operation=_operation(
            "DiffPov", "What differs between two worldlines, as one point of view may see it.", DiffBody, told)),
        Door("POST", "/api/diffmerge/worldlines/graph", answer=graph, operation=_operation(
            "GraphWorldlines", "Worldlines beside each other, with what they share.", GraphBody, told)),
        *(Door("POST", path, answer=merge, operation=_operation(
            name, "Merge a worldline into another, or tell what that would do.", MergeBody, told,
            parameters=_MERGING, statuses=(400, 401, 403, 404, 409, 412, 413, 415, 422, 500, 503)))
          for path, name in (("/api/diffmerge/worldlines/merge", "MergeWorldlines"), ("/api/pov/merge", "MergePov"))),
    ]


_MERGING: Final = [
    schemas.parameter("dry_run", "query", {"type": "boolean", "default": False}, "The same as `apply` of false."),
    *(one for one in schemas.COMMAND_HEADERS if one["name"] != "If-Match"),
]


def _operation(
    name: str, summary: str, body: type[Value], told: schemas.Schema, *, parameters: list[schemas.Schema] | None = None,
    statuses: tuple[int, ...] = (400, 401, 403, 404, 415, 422, 500, 503),
) -> schemas.Schema:
    operation = openapi.read_operation(
        name, summary, "views" if parameters is None else "commands", told, statuses=statuses,
        parameters=[schemas.parameter("project", "query", schemas.NAME | {"default": DEFAULT_PROJECT}),
                    *(parameters or ())],
        description=openapi.about(body),
    )
    schema = body.model_json_schema()
    schema.pop("$defs", None)  # nothing but free JSON is defined there
    free = schema["properties"].get("resolutions")
    if free is not None:
        free["anyOf"] = [{"type": "object"}, {"type": "array", "items": {"type": "object"}}]
    return operation | {"requestBody": {"required": body is MergeBody, "content": {
        "application/json": {"schema": schema},
    }}}


async def _read(visit: Visit, model: type[Body]) -> Body:
    body = await visit.body()
    if body:
        check_media_type(visit.header(b"content-type"), visit.header(b"content-encoding"))
    given: dict[str, Any] = read_object(body) if body else {}
    try:
        return model.model_validate_json(encode(given), strict=True)
    except ValidationError as error:
        raise unfit(error, what="The body", code="invalid_fields") from error


def _project(visit: Visit, told: str | None) -> str:
    named = dict(visit.parameters()).get("project")
    return checked_name("project", named or told or DEFAULT_PROJECT)


# --- looking ----------------------------------------------------------------------------------------------------------


def _masking(body: DiffBody | GraphBody) -> dict[str, Any]:
    """One point of view for both sides, or none; ``mask_pov`` may name it."""
    if isinstance(body.mask_pov, str):
        return {"pov": body.mask_pov or body.pov, "mask_pov": True}
    return {"pov": body.pov, "mask_pov": body.mask_pov}


def _diff_query(body: DiffBody, project: str) -> Query:
    return DiffWorldlines(
        project=project, source=body.source, target=body.target, source_at=body.source_at, target_at=body.target_at,
        scene=body.scene, category=body.category, **_masking(body),
    )


def _graph_query(body: GraphBody, project: str) -> Query:
    return ShowWorldlineGraph(
        project=project, target=body.target, worlds=body.worlds, as_of=body.as_of, fast_forward=body.fast_forward,
        **_masking(body),
    )


def _looking(studio: Studio, hub: Hub, model: type[Body], query_of: Any) -> Answering:
    async def answer(visit: Visit) -> Reply:
        body = await _read(visit, model)
        query: Query = query_of(body, _project(visit, getattr(body, "project", None)))
        view = next(one for one in studio.registry.views.values() if one.query is type(query))
        visit.grant.need(view.scope, query.project)
        looked = await studio.look_closely(view, await reachable(studio, hub, query))
        return Reply(200, encode(looked.answer), [(b"x-comfyvn-position", b"%d" % looked.position)])

    return answer


# --- merging ----------------------------------------------------------------------------------------------------------


def _merging(studio: Studio, metrics: Metrics) -> Answering:
    merging = Merging(studio)
    scopes = ("worldline:write", *(f"{category}:write" for category in sorted(categories_of(studio))))

    async def answer(visit: Visit) -> Reply:
        began, outcome = perf_counter(), "failed"
        try:
            _, _, dry_run = circumstances(visit)
            refuse_if_match(visit)
            body = await _read(visit, MergeBody)
            dry_run = dry_run or not body.apply
            project = _project(visit, body.project)
            for scope in ("worldline:read",) if dry_run else scopes:
                visit.grant.need(scope, project)
            asked = Merge(project, body.source, body.target, Wanted(
                decisions_of(body.resolutions), body.rule, frozenset(body.only),
            ))
            told = await merging.merge(asked, asker(visit), dry_run=dry_run)
            outcome = "dry_run" if dry_run else "accepted" if told["applied"] else "unchanged"
            headers = [(b"idempotency-replayed", b"true")] if told.get("repeated") else []
            return Reply(200, encode(told), headers)
        except ComfyVNError as error:
            outcome = error.code
            raise
        finally:
            metrics.commanded("MergeWorldlines", outcome, perf_counter() - began)

    return answer
