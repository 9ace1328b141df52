"""Doors to playtests: every path of a story played beside the server, the last reports, and traces of one scene."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Awaitable, Mapping
from hashlib import sha256
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError

from domain.bounded_json import BoundedObject
from domain.errors import Invalid, NotFound, Remedy
from domain.ids import MAIN, Token
from domain.story.playtest.asking import PLAYS_LIMIT, POVS_LIMIT, STATES_LIMIT, STEPS_LIMIT, WORDS_PER_MINUTE
from domain.story.playtest.exploring import Bounds
from domain.story.playtest.trace import STEPS_LIMIT as TRACE_LIMIT
from gateways.http import schemas
from gateways.http.asking import DEFAULT_PROJECT, checked_name
from gateways.http.bodies import check_media_type, read_object
from gateways.http.problems import Reply, encode, unfit
from gateways.http.routing import Door
from gateways.http.visit import ClientGone, Visit, single
from services.playtest.page import policy
from services.playtest.running import Playtests
from services.studio import Studio

READ: Final = "playtest:read"
WRITE: Final = "playtest:write"

KEPT: Final = 32
"""Most reports that are kept, in memory: the same question gives the same report again."""

KEPT_BYTES: Final = 128 * 2**20

TRACE_SCHEMA: Final = "comfyvn.playtest.trace.v1"

Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Answer = TypeVar("Answer")


class RunPlaytest(BaseModel):
    """What to play. With a scene document in ``scene`` it is one play of that scene by the dice, told as a trace."""

    model_config = ConfigDict(extra="forbid", strict=True)

    mode: Literal["exhaustive", "random"] = "exhaustive"
    timeline: Token | None = None
    scene: Token | dict[str, Any] | None = None
    worldline: Token = MAIN
    as_of: Annotated[int, Field(ge=0, lt=10**18)] = 0
    pov: Name | list[Name] | None = None
    seed: Seed | None = None
    plays: Annotated[int, Field(ge=1, le=PLAYS_LIMIT)] = 200
    variables: BoundedObject | None = None
    max_states: Annotated[int, Field(ge=1, le=STATES_LIMIT)] = Bounds().states
    max_transitions: Annotated[int, Field(ge=1, le=10 * STATES_LIMIT)] | None = None
    max_depth: Annotated[int, Field(ge=0, le=10**9)] = Bounds().depth
    max_steps: Annotated[int, Field(ge=1, le=STEPS_LIMIT)] | None = None
    words_per_minute: Annotated[int, Field(ge=1, le=10_000)] = WORDS_PER_MINUTE
    tables: StrictBool = True
    format: Literal["json", "html"] = "json"
    against: Token | None = None
    against_as_of: Annotated[int, Field(ge=0, lt=10**18)] = 0
    choices: Annotated[list[Name], Field(max_length=TRACE_LIMIT)] = []
    persist: StrictBool = False
    dry_run: StrictBool = False

    def wanted(self) -> dict[str, Any]:
        """As the playing process takes it."""
        povs = [self.pov] if isinstance(self.pov, str) else self.pov or []
        if len(povs) > POVS_LIMIT:
            raise Invalid(
                f"{len(povs)} points of view are more than one playtest plays, which is {POVS_LIMIT}.",
                error="too_many_povs", remediation=[Remedy("Name fewer of them.", "name_fewer")],
            )
        return {
            "mode": self.mode, "povs": povs, "seed": self.seed, "plays": self.plays, "variables": self.variables,
            "bounds": {"states": self.max_states, "transitions": self.max_transitions or 10 * self.max_states,
                       "depth": self.max_depth},
            "steps": self.max_steps or 2_000, "words_per_minute": self.words_per_minute,
        }


class Kept(NamedTuple):
    """A report that can be looked at again."""

    project: str
    about: dict[str, Any]
    report: bytes
    page: bytes


class Reports:
    """The last reports."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Kept] = OrderedDict()

    def keep(self, one: Kept) -> str:
        """Keeps a report and forgets the oldest; its id, which is that of its bytes."""
        id_ = sha256(one.project.encode() + b"\0" + one.report).hexdigest()[:24]
        self._kept[id_] = one
        self._kept.move_to_end(id_)
        while len(self._kept) > 1 and (len(self._kept) > KEPT or self._bytes() > KEPT_BYTES):
            self._kept.popitem(last=False)
        return id_

    def _bytes(self) -> int:
        return sum(len(kept.report) + len(kept.page) for kept in self._kept.values())

    def of(self, project: str) -> list[dict[str, Any]]:
        """What there is of a project, newest first."""
        return [{"report_id": id_, **one.about} for id_, one in reversed(self._kept.items()) if one.project == project]

    def get(self, project: str, id_: str) -> Kept:
        """One of them. Raises ``NotFound``."""
        found = self._kept.get(id_)
        if found is None or found.project != project:
            raise NotFound(
                "There is no such report here any more.", error="unknown_report",
                remediation=[Remedy("Run the playtest again: the same question gives the same report.", "run_again")],
            )
        return found


def playtest_doors(studio: Studio, playtests: Playtests | None = None) -> list[Door]:
    """Running, the last reports, their pages, and stored traces."""
    running, reports = playtests or Playtests(), Reports()

    async def run(visit: Visit) -> Reply:
        project = _project(visit, READ)
        asked = _asked(await _body(visit))
        if isinstance(asked.scene, dict):
            return await _traced(studio, running, visit, project, asked)
        return await _reported(studio, running, reports, visit, project, asked)

    async def listed(visit: Visit) -> Reply:
        return Reply(200, encode({"items": reports.of(_project(visit, READ))}))

    async def one(visit: Visit) -> Reply:
        found = reports.get(_project(visit, READ), visit.path["report_id"])
        return Reply(200, _with_id(visit.path["report_id"], found.report))

    async def page(visit: Visit) -> Reply:
        return _page(reports.get(_project(visit, READ), visit.path["report_id"]).page)

    async def trace(visit: Visit) -> Reply:
        return await _stored_trace(studio, _project(visit, READ), visit.path["digest"])

    return [
        Door("POST", "/api/playtest/run", answer=run, operation=_run_operation()),
        Door("GET", "/api/playtest/reports", answer=listed, operation=_read(
            "ListPlaytestReports", "The last reports of a project, newest first.")),
        Door("GET", "/api/playtest/reports/{report_id}", answer=one, operation=_read(
            "ShowPlaytestReport", "One of the last reports.", "report_id")),
        Door("GET", "/api/playtest/reports/{report_id}/page", answer=page, operation=_read(
            "ShowPlaytestPage", "The page of one of the last reports, for people.", "report_id", html=True)),
        Door("GET", "/api/playtest/traces/{digest}", answer=trace, operation=_read(
            "ShowPlaytestTrace", "A trace that was stored.", "digest")),
    ]


def _project(visit: Visit, scope: str) -> str:
    given = single(visit.parameters(), frozenset({"project"}))
    project = checked_name("project", given.get("project", DEFAULT_PROJECT))
    visit.grant.need(scope, project)
    return project


async def _body(visit: Visit) -> bytes:
    body = await visit.body()
    check_media_type(visit.header(b"content-type"), visit.header(b"content-encoding"))
    return body


def _asked(body: bytes) -> RunPlaytest:
    try:
        return RunPlaytest.model_validate(read_object(body or b"{}"))
    except ValidationError as error:
        raise unfit(error, what="The playtest", code="invalid_fields") from error


async def _reported(
    studio: Studio, running: Playtests, reports: Reports, visit: Visit, project: str, asked: RunPlaytest
) -> Reply:
    if asked.persist or asked.choices:
        raise Invalid(
            "`persist` and `choices` belong to a trace, which needs a scene document in `scene`.",
            error="contradicting_playtest", remediation=[Remedy("Leave them away.", "fix_fields")],
        )
    order: dict[str, Any] = {"task": "report", "wanted": asked.wanted(), "page": True, "tables": asked.tables}
    story = await studio.stories.pinned(project, asked.worldline, asked.as_of, asked.timeline, asked.scene)  # type: ignore[arg-type]
    order["content"] = story.content
    if asked.against is not None:
        other = await studio.stories.pinned(project, asked.against, asked.against_as_of, asked.timeline, asked.scene)  # type: ignore[arg-type]
        order["against"] = other.content
    done = await _unless_gone(visit, running.run(order))
    about = {
        "mode": asked.mode, "worldline": asked.worldline, "position": story.content.get("position"),
        "timeline": story.content.get("timeline"), "scene": asked.scene, "against": asked.against,
        "bytes": len(done.report),
    }
    id_ = reports.keep(Kept(project, about, done.report, done.page))
    if asked.format == "html":
        return _page(done.page)
    query = "" if project == DEFAULT_PROJECT else f"?project={project}"
    return Reply(200, _with_id(id_, done.report),
                 [(b"content-location", f"/api/playtest/reports/{id_}{query}".encode())])


async def _traced(studio: Studio, running: Playtests, visit: Visit, project: str, asked: RunPlaytest) -> Reply:
    keep = asked.persist and not asked.dry_run
    if keep:
        visit.grant.need(WRITE, project)
    if asked.pov is not None and not isinstance(asked.pov, str):
        raise Invalid("A trace has one point of view.", error="contradicting_playtest",
                      remediation=[Remedy("Name one in `pov`.", "fix_fields")])
    order = {
        "task": "trace", "scene": asked.scene, "seed": asked.seed or 0, "pov": asked.pov, "variables": asked.variables,
        "steps": min(asked.max_steps or 1_000, TRACE_LIMIT), "choices": asked.choices,
    }
    done = await _unless_gone(visit, running.run(order))
    told: dict[str, Any] = {"dry_run": asked.dry_run, "persisted": keep, "trace_id": None}
    if keep:
        # Which project it is of stands around the trace, so that its digest is the same everywhere.
        head = json.dumps({"schema": TRACE_SCHEMA, "project": project}).encode()
        told["trace_id"] = (await studio.blobs.put(head[:-1] + b',"trace":' + done.report + b"}")).digest
    return Reply(200, encode(told)[:-1] + b"," + done.report[1:])


async def _stored_trace(studio: Studio, project: str, digest: str) -> Reply:
    unknown = NotFound("There is no such trace.", error="unknown_trace",
                       remediation=[Remedy("Run it again with `persist`.", "run_again")])
    if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise unknown
    found = await studio.blobs.head(digest)
    if found is None or found.size > 256 * 2**20:
        raise unknown
    data = await studio.blobs.get(digest)
    head = json.dumps({"schema": TRACE_SCHEMA, "project": project}).encode()[:-1] + b',"trace":'
    if not data.startswith(head):  # any other blob, or one of another project
        raise unknown
    return Reply(200, data[len(head) : -1])


async def _unless_gone(visit: Visit, work: Awaitable[Answer]) -> Answer:
    """What the work gives; it is given up as soon as the client has gone."""
    doing = asyncio.ensure_future(work)
    leaving = asyncio.create_task(_gone(visit))
    try:
        await asyncio.wait({doing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            return doing.result()
        raise ClientGone
    finally:
        for one in (doing, leaving):
            one.cancel()
        await asyncio.gather(doing, leaving, return_exceptions=True)


async def _gone(visit: Visit) -> None:
    while (await visit.receive())["type"] != "http.disconnect":
        pass


def _with_id(id_: str, report: bytes) -> bytes:
    return b'{"report_id":"' + id_.encode() + b'",' + report[1:]


def _page(page: bytes) -> Reply:
    return Reply(200, page, [(b"content-security-policy", (policy() + "; frame-ancestors 'none'").encode())],
                 b"text/html; charset=utf-8")


def _parameters() -> list[schemas.Schema]:
    return [schemas.parameter("project", "query", schemas.NAME | {"default": DEFAULT_PROJECT})]


def _run_operation() -> schemas.Schema:
    shape: Mapping[str, Any] = RunPlaytest.model_json_schema()
    # These hold free JSON, whose own schema refers to definitions that the document does not have.
    free = {
        "scene": {"type": ["object", "string", "null"], "description": "A scene's id, or a whole scene document."},
        "variables": {"type": ["object", "null"], "description": "Override those that the story begins with."},
    }
    body = {
        "type": "object", "additionalProperties": False,
        "properties": {name: free.get(name) or _plain(one) for name, one in shape["properties"].items()},
    }
    return {
        "operationId": "RunPlaytest", "tags": ["playtest"],
        "summary": "Every path of a story played, or many at random, and what was found; or a trace of one scene.",
        "description": f"Needs the scope `{READ}`, and `{WRITE}` for `persist`. Nothing is recorded in the log.",
        "parameters": _parameters(),
        "requestBody": {"required": False, "content": {"application/json": {"schema": body}}},
        "responses": {
            "200": {"description": "The report, or the trace.", "content": {
                "application/json": {"schema": {"type": "object"}}, "text/html": {"schema": {"type": "string"}},
            }, "headers": {"X-Request-Id": schemas.HEADERS["X-Request-Id"]}},
            **schemas.problems(400, 401, 403, 404, 409, 413, 415, 422, 500, 503),
        },
    }


def _plain(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a field without what only pydantic says."""
    return {name: value for name, value in schema.items() if name != "title"}


def _read(name: str, summary: str, parameter: str | None = None, *, html: bool = False) -> schemas.Schema:
    parameters = _parameters()
    if parameter is not None:
        parameters.append(schemas.parameter(parameter, "path", {"type": "string", "minLength": 1}, required=True))
    media = "text/html" if html else "application/json"
    return {
        "operationId": name, "tags": ["playtest"], "summary": summary, "description": f"Needs the scope `{READ}`.",
        "parameters": parameters,
        "responses": {
            "200": {"description": summary, "content": {media: {"schema": {"type": "string" if html else "object"}}},
                    "headers": {"X-Request-Id": schemas.HEADERS["X-Request-Id"]}},
            **schemas.problems(400, 401, 403, 404, 422, 500, 503),
        },
    }
