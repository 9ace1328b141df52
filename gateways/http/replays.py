"""Doors to recorded playthroughs: their trace, and playing them again step by step.

The client holds the cursor, so any process of the studio can answer, and a restart loses nothing. What was played is
kept while there is room, so that a step costs what it plays.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

from pydantic import Field, ValidationError

from domain.ids import Token
from domain.story.playthrough import CATEGORY
from domain.values import Value
from gateways.http import openapi, schemas
from gateways.http.asking import DEFAULT_PROJECT, checked_name
from gateways.http.bodies import check_media_type, read_object
from gateways.http.problems import Reply, encode, unfit, wrong_fields
from gateways.http.routing import Door
from gateways.http.visit import Visit, single
from services.replay_tapes import MARKS_LIMIT, Tape, Tapes
from services.studio import Studio

SCOPE: Final = f"{CATEGORY}:read"

Version = Annotated[int, Field(strict=True, ge=1, le=2**53)]


class StartReplay(Value):
    """A playthrough to be played again, as it was at a version; else as it is now."""

    playthrough_id: Token
    version: Version | None = None


class StepReplay(StartReplay):
    """The next steps of a replay, from the cursor that the last answer gave."""

    cursor: Annotated[int, Field(strict=True, ge=0, le=2**53)]
    steps: Annotated[int, Field(strict=True, ge=1, le=MARKS_LIMIT)] = 1


def replay_doors(studio: Studio) -> list[Door]:
    """Start, step and status of a replay, and the trace of a playthrough."""

    tapes = Tapes(studio)

    async def read(visit: Visit, playthrough_id: str, version: int | None) -> tuple[Tape, int]:
        project = checked_name("project", dict(visit.parameters()).get("project", DEFAULT_PROJECT))
        visit.grant.need(SCOPE, project)
        return await tapes.tape(project, playthrough_id, version)

    async def walked(visit: Visit, asked: StartReplay, cursor: int, steps: int) -> Reply:
        tape, version = await read(visit, asked.playthrough_id, asked.version)
        found = await asyncio.to_thread(tape.marked, version, cursor, steps)
        return Reply(200, encode(_progress(tape, version, found, cursor)))

    async def start(visit: Visit) -> Reply:
        return await walked(visit, await _asked(visit, StartReplay), 0, 1)

    async def step(visit: Visit) -> Reply:
        asked = await _asked(visit, StepReplay)
        return await walked(visit, asked, asked.cursor, asked.steps)

    async def status(visit: Visit) -> Reply:
        given = _parameters(visit, {"playthrough_id", "version", "anew"})
        if (anew := given.get("anew", "false")) not in ("true", "false"):
            raise wrong_fields("The query string", "invalid_parameters", [
                {"path": "anew", "message": "this is either true or false"}
            ])
        tape, version = await read(visit, given.get("playthrough_id", ""), _whole(given, "version", None, 2**53, 1))
        verdict = await asyncio.to_thread(tape.judged, version, anew=anew == "true")
        return Reply(200, encode({
            "playthrough_id": tape.playthrough_id, "version": version, **verdict.shown(),
            "content": tape.events[0].pin.content,
        }))

    async def trace(visit: Visit) -> Reply:
        given = _parameters(visit, {"after", "limit", "version"})
        first = _whole(given, "after", 0, 2**53, 0) or 0
        limit = _whole(given, "limit", 200, MARKS_LIMIT, 1) or 1
        tape, version = await read(visit, visit.path["playthrough_id"], _whole(given, "version", None, 2**53, 1))
        steps, digest = await asyncio.to_thread(tape.traced, version)
        next_ = first + limit if first + limit < len(steps) else None
        return Reply(200, encode({
            "playthrough_id": tape.playthrough_id, "version": version, "digest": digest, "count": len(steps),
            "steps": steps[first : first + limit], "next": next_,
        }))

    return [
        Door("POST", "/replay/start", answer=start, operation=_operation(
            "StartReplay", "A recorded playthrough, ready to be played again.", StartReplay)),
        Door("POST", "/replay/step", answer=step, operation=_operation(
            "StepReplay", "The next steps of a replay, each compared with what was recorded.", StepReplay)),
        Door("GET", "/replay/status", answer=status, operation=_reading(
            "ShowReplay", "A whole replay: whether path, variables, dice and digests came out as they were recorded.",
            [schemas.parameter("playthrough_id", "query", schemas.NAME, required=True), _VERSION,
             schemas.parameter("anew", "query", {"type": "boolean", "default": False},
                               "Play everything again, also what was played before.")])),
        Door("GET", "/api/playthroughs/{playthrough_id}/trace", answer=trace, operation=_reading(
            "ShowPlaythroughTrace", "Every moment of the path of a playthrough, and the digest of all of them.",
            [schemas.parameter("playthrough_id", "path", schemas.NAME, required=True), _VERSION,
             schemas.parameter("after", "query", {"type": "integer", "minimum": 0, "default": 0}),
             schemas.parameter("limit", "query", {
                 "type": "integer", "minimum": 1, "maximum": MARKS_LIMIT, "default": 200})])),
    ]


def _progress(tape: Tape, version: int, found: tuple[list[Any], bool], cursor: int) -> dict[str, Any]:
    marks, more = found
    diverged = next((one for one in marks if one.differs), None)
    started: Any = tape.events[0]
    return {
        "ok": diverged is None, "playthrough_id": tape.playthrough_id, "version": version,
        "cursor": cursor + len(marks), "done": not more, "steps": [one.shown() for one in marks],
        "diverged_at_step": diverged.standing.step if diverged else None, "pin": started.pin.model_dump(mode="json"),
        "seed": started.seed,
    }


async def _asked(visit: Visit, model: type[Any]) -> Any:
    single(visit.parameters(), frozenset({"project"}))
    body = await visit.body(64 * 1024)
    check_media_type(visit.header(b"content-type"), visit.header(b"content-encoding"))
    given = read_object(body)
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise unfit(error, what="The body", code="invalid_fields") from error


def _parameters(visit: Visit, names: set[str]) -> dict[str, str]:
    return single(visit.parameters(), frozenset({"project", *names}))


def _whole(given: dict[str, str], name: str, default: int | None, most: int, least: int) -> int | None:
    text = given.get(name)
    if text is None:
        return default
    if text.isascii() and text.isdigit() and len(text) <= 16 and least <= int(text) <= most:
        return int(text)
    raise wrong_fields("The query string", "invalid_parameters", [
        {"path": name, "message": f"a whole number from {least} to {most} is needed"}
    ])


_PROJECT: Final = schemas.parameter("project", "query", schemas.NAME | {"default": DEFAULT_PROJECT})
_VERSION: Final = schemas.parameter(
    "version", "query", {"type": "integer", "minimum": 1, "maximum": 2**53}, "As it was at this version; else now.",
)


def _operation(name: str, summary: str, body: type[Value]) -> schemas.Schema:
    return {
        "operationId": name, "tags": ["replay"], "summary": summary, "description": f"Needs the scope `{SCOPE}`.",
        "parameters": [_PROJECT],
        "requestBody": {"required": True, "content": {"application/json": {"schema": body.model_json_schema()}}},
        "responses": {"200": schemas.answer(summary, {"type": "object", "required": ["ok", "cursor", "steps"]}),
                      **schemas.problems(400, 401, 403, 404, 409, 413, 415, 422, 500, 503)},
    }


def _reading(name: str, summary: str, parameters: list[schemas.Schema]) -> schemas.Schema:
    return openapi.read_operation(
        name, summary, "replay", {"type": "object"}, parameters=[_PROJECT, *parameters],
        statuses=(400, 401, 403, 404, 409, 422, 500, 503), description=f"Needs the scope `{SCOPE}`.",
    )
