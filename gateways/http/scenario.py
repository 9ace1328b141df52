"""Doors to one scene that is played step by step by whoever holds its state; nothing is recorded."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from hashlib import sha256
from typing import Any, Final

import orjson

from domain.errors import Invalid, Remedy
from domain.story.program import Program, program
from domain.story.scenario import invalid_scene, step, verdict
from gateways.http import schemas
from gateways.http.asking import DEFAULT_PROJECT, checked_name
from gateways.http.bodies import check_media_type, read_object
from gateways.http.problems import Reply, encode
from gateways.http.routing import Door
from gateways.http.visit import Visit, single

SCOPE: Final = "scene:read"

LARGE: Final = 64 * 2**10
"""Bodies over so many bytes are read in a thread, so that nobody else waits for them."""

KEPT: Final = 32
"""Scenes that are kept ready: a client sends the same one with every step."""

_FIELDS: Final = frozenset({"scene", "state", "seed", "choice", "choice_id", "pov"})


def scenario_doors() -> list[Door]:
    """Whether a scene is valid, and one step of it."""
    ready = Ready()

    async def validate(visit: Visit) -> Reply:
        return Reply(200, await _worked(visit, _validated))

    async def run_step(visit: Visit) -> Reply:
        return Reply(200, await _worked(visit, ready.stepped))

    return [
        Door("POST", "/api/scenario/validate", answer=validate, operation=_operation(
            "ValidateScenario", "Whether a scene can be played, with everything that is wrong about it.",
            {"type": "object", "description": "`{\"scene\": {…}}`, or the scene itself."},
            {"type": "object", "required": ["valid", "errors", "warnings"], "properties": {
                "valid": {"type": "boolean"}, "errors": {"type": "array"}, "warnings": {"type": "array"},
            }},
        )),
        Door("POST", "/api/scenario/run/step", answer=run_step, operation=_operation(
            "StepScenario", "One step of a scene from the state that the client holds.",
            {
                "type": "object", "required": ["scene"], "additionalProperties": False,
                "properties": {
                    "scene": {"type": "object"},
                    "state": {"type": ["object", "null"], "description": "As the last answer gave it."},
                    "seed": {"type": ["integer", "null"], "minimum": -(2**63), "maximum": 2**63 - 1},
                    "choice_id": {"type": ["string", "null"], "minLength": 1},
                    "choice": {"type": ["string", "null"], "minLength": 1, "description": "The same as `choice_id`."},
                    "pov": {"type": ["string", "null"], "maxLength": 200},
                },
            },
            {"type": "object", "required": ["ok", "state", "node", "choices", "finished"], "properties": {
                "ok": {"const": True}, "state": {"type": "object"}, "node": {"type": "object"},
                "choices": {"type": "array"}, "finished": {"type": "boolean"},
            }},
        )),
    ]


def _operation(name: str, summary: str, body: schemas.Schema, answered: schemas.Schema) -> schemas.Schema:
    return {
        "operationId": name, "tags": ["scenario"], "summary": summary,
        "description": f"Needs the scope `{SCOPE}`. Nothing is recorded.",
        "parameters": [schemas.parameter("project", "query", schemas.NAME | {"default": DEFAULT_PROJECT})],
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {"200": schemas.answer(summary, answered),
                      **schemas.problems(400, 401, 403, 413, 415, 422, 500, 503)},
    }


async def _worked(visit: Visit, work: Any) -> bytes:
    given = single(visit.parameters(), frozenset({"project"}))
    visit.grant.need(SCOPE, checked_name("project", given.get("project", DEFAULT_PROJECT)))
    body = await visit.body()
    check_media_type(visit.header(b"content-type"), visit.header(b"content-encoding"))
    told: bytes = await asyncio.to_thread(work, body) if len(body) > LARGE else work(body)
    return told


def _validated(body: bytes) -> bytes:
    given = read_object(body)
    return encode(verdict(given.get("scene", given)))


class Ready:
    """Scenes that are ready to be played, by what they say."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, Program] = OrderedDict()

    def stepped(self, body: bytes) -> bytes:
        """The answer to one step; raises ``Invalid``."""
        given = read_object(body)
        wrong = sorted(given.keys() - _FIELDS)
        if wrong or "scene" not in given:
            what = f"there is no field {wrong[0][:100]!r}" if wrong else "the field `scene` is missing"
            raise Invalid(
                f"The body does not fit: {what}.", error="invalid_step",
                remediation=[Remedy("Send {scene, state?, seed?, choice_id?, pov?}.", "fix_fields")],
                detail={"fields": wrong[:50] or ["scene"]},
            )
        choice = given.get("choice_id")
        other = given.get("choice")
        if choice is not None and other is not None and choice != other:
            raise Invalid(
                "`choice` and `choice_id` say different things.", error="invalid_step",
                remediation=[Remedy("Send one of them.", "fix_fields")],
            )
        ready = self._program(given["scene"])
        told = step(
            ready, given.get("state"), seed=given.get("seed"), choice=other if choice is None else choice,
            pov=given.get("pov"),
        )
        return encode({"ok": True, **told})

    def _program(self, scene: Any) -> Program:
        try:
            key = sha256(orjson.dumps(scene, option=orjson.OPT_SORT_KEYS)).digest()
        except TypeError:  # half of a surrogate pair, which the verdict names
            key = b""
        known = self._kept.pop(key, None) if key else None
        if known is None:
            told = verdict(scene)
            if not told["valid"]:
                raise invalid_scene(told["errors"])
            known = program(scene)
        if key:
            self._kept[key] = known
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return known
