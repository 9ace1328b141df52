"""Doors for asking: every command at ``/api/commands/{Name}`` and at the resource where people expect it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from time import perf_counter
from typing import Any, Final

from commands.declaration import Asking, Command
from domain.errors import ComfyVNError
from domain.ids import MAIN
from gateways.http import openapi
from gateways.http.asking import (
    DEFAULT_PROJECT,
    Locations,
    accepted,
    asker,
    checked_name,
    dry_body,
    expected_version,
    receipt_body,
    refuse_if_match,
)
from gateways.http.bodies import check_media_type, command_of, read_command, read_object
from gateways.http.metrics import Metrics
from gateways.http.problems import Reply, encode, problem, unknown_command, wrong_fields
from gateways.http.routing import Answering, Door
from gateways.http.visit import Visit, single
from services.dispatcher import Receipt
from services.studio import Studio

BATCH_LIMIT: Final = 500
"""Most commands of one batch."""

LARGE: Final = 256 * 2**10
"""Bodies over so many bytes are read in a thread, so that nobody else waits for them."""

PARAMETERS: Final = frozenset({"project", "worldline", "dry_run"})

_YES_NO: Final = {"true": True, "1": True, "false": False, "0": False}


def command_doors(studio: Studio, locations: Locations, metrics: Metrics) -> list[Door]:
    """A door per command, another per declared route, the batch, and the list of all commands."""
    doors = [
        Door("GET", "/api/commands", answer=_list(studio), operation=openapi.commands_listed()),
        Door("POST", "/api/commands", answer=_batch(studio, metrics),
             operation=partial(openapi.batch_operation, studio.registry)),
    ]
    for asking in studio.registry.askings.values():
        answer = _asked(studio, asking, locations, metrics)
        branches = studio.registry.homes[asking.name].branches
        path = f"/api/commands/{asking.name}"
        doors.append(_door("POST", path, answer, asking, branches))
        if asking.route is not None:
            method, _, path = asking.route.partition(" ")
            doors.append(_door(method, path, answer, asking, branches))
    return doors


def _door(method: str, path: str, answer: Answering, asking: Asking, branches: bool) -> Door:
    return Door(method, path, answer=answer, operation=partial(openapi.command_operation, asking, path, branches))


def circumstances(visit: Visit) -> tuple[str, str, bool]:
    """Project, worldline and ``dry_run`` of a command; raises ``Invalid`` that names what is wrong."""
    parameters = visit.parameters()
    if not parameters:
        return DEFAULT_PROJECT, MAIN, False
    given = single(parameters, PARAMETERS)
    dry_run = _YES_NO.get(given.get("dry_run", "false"))
    if dry_run is None:
        raise wrong_fields("The query string", "invalid_parameters", [
            {"path": "dry_run", "message": "this is either true or false"}
        ])
    project = checked_name("project", given.get("project", DEFAULT_PROJECT))
    return project, checked_name("worldline", given.get("worldline", MAIN)), dry_run


def _asked(studio: Studio, asking: Asking, locations: Locations, metrics: Metrics) -> Answering:
    type_, name, scope = asking.command, asking.name, asking.scope
    category = studio.registry.homes[name].category

    async def answer(visit: Visit) -> Reply:
        began = perf_counter()
        outcome = "failed"
        try:
            project, worldline, dry_run = circumstances(visit)
            visit.grant.need(scope, project)
            who = asker(visit)
            body = await visit.body()
            if body:
                check_media_type(visit.header(b"content-type"), visit.header(b"content-encoding"))
            if len(body) > LARGE:
                command = await asyncio.to_thread(read_command, type_, body, visit.path)
            else:
                command = read_command(type_, body, visit.path)
            expected = await expected_version(
                studio, visit, category, getattr(command, asking.id_field), project, worldline
            )
            receipt = await studio.ask(
                command, who, project=project, worldline=worldline, expected_version=expected, dry_run=dry_run
            )
            outcome = _outcome(receipt)
            return accepted(receipt, visit.request_id, locations)
        except ComfyVNError as error:
            outcome = error.code
            raise
        finally:
            metrics.commanded(name, outcome, perf_counter() - began)

    return answer


def _outcome(receipt: Receipt) -> str:
    if receipt.would is not None:
        return "dry_run"
    if receipt.repeated:
        return "repeated"
    if receipt.problem is not None:
        return receipt.problem.code
    return "accepted" if receipt.events else "unchanged"


def _batch(studio: Studio, metrics: Metrics) -> Answering:
    async def answer(visit: Visit) -> Reply:
        project, worldline, dry_run = circumstances(visit)
        refuse_if_match(visit)
        who = asker(visit)
        body = await visit.body()
        check_media_type(visit.header(b"content-type"), visit.header(b"content-encoding"))
        commands = read_batch(studio, read_object(body))
        for command in commands:
            visit.grant.need(studio.registry.askings[type(command).__name__].scope, project)
        began = perf_counter()
        receipts = await studio.ask_all(commands, who, project=project, worldline=worldline, dry_run=dry_run)
        share = (perf_counter() - began) / len(commands)
        for command, receipt in zip(commands, receipts, strict=True):
            metrics.commanded(type(command).__name__, _outcome(receipt), share)
        return _batch_reply(receipts, visit.request_id, dry_run)

    return answer


def read_batch(studio: Studio, body: dict[str, Any]) -> list[Command]:
    """The commands of a batch, in order; raises ``Invalid`` and ``NotFound``."""
    asked = body.get("commands")
    wrong = [{"path": name[:100], "message": "there is no such field"} for name in body if name != "commands"]
    if not isinstance(asked, list) or not 1 <= len(asked) <= BATCH_LIMIT:
        wrong.append({"path": "commands", "message": f"a list of 1 to {BATCH_LIMIT} commands is needed"})
    if wrong or not isinstance(asked, list):
        raise wrong_fields("The body", "invalid_fields", wrong)
    return [_one_of_batch(studio, index, one) for index, one in enumerate(asked)]


def _one_of_batch(studio: Studio, index: int, one: Any) -> Command:
    name = one.get("command") if isinstance(one, dict) else None
    if not isinstance(name, str):
        message = "an object with the name of a command in its field `command` is needed"
        raise wrong_fields("The body", "invalid_fields", [{"path": f"commands/{index}", "message": message}])
    asking = studio.registry.askings.get(name)
    if asking is None:
        raise unknown_command(name)
    fields = {key: value for key, value in one.items() if key != "command"}
    return command_of(asking.command, fields, ("commands", index))


def _batch_reply(receipts: Sequence[Receipt], request_id: str, dry_run: bool) -> Reply:
    if dry_run and any(one.would is not None for one in receipts):
        return Reply(200, encode({
            "ok": True, "dry_run": True, "results": [dry_body(receipt, request_id) for receipt in receipts],
        }))
    results = [receipt_body(receipt) | ({"ok": False} if receipt.problem else {}) for receipt in receipts]
    position = max((one.position for one in receipts), default=0)
    headers = [(b"idempotency-replayed", b"true")] if all(one.repeated for one in receipts) else []
    bad_news = next((one.problem for one in receipts if one.problem is not None), None)
    if bad_news is not None:
        return problem(bad_news, request_id, headers=headers,
                       more={"ok": False, "position": position, "results": results})
    return Reply(200, encode({"ok": True, "position": position, "results": results}), headers)


def _list(studio: Studio) -> Answering:
    made: list[Reply] = []

    def make() -> Reply:
        items = [
            {
                "name": asking.name, "about": openapi.about(asking.command), "scope": asking.scope,
                "category": studio.registry.homes[asking.name].category,
                "branches": studio.registry.homes[asking.name].branches, "creates": asking.creates,
                "id_field": asking.id_field, "door": f"POST /api/commands/{asking.name}", "route": asking.route,
                "schema": asking.command.model_json_schema(),
            }
            for asking in studio.registry.askings.values()
        ]
        return Reply(200, encode({"items": items, "next": None}))

    async def answer(visit: Visit) -> Reply:
        single(visit.parameters(), frozenset())
        if not made:  # the schemas of all commands take a second, and are the same every time
            made.append(await asyncio.to_thread(make))
        return made[0]

    return answer
