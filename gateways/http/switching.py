"""The door at which a switch to another worldline is confirmed: fork, keep the moment and switch, all or nothing.

What is asked follows from the body alone and not from where the view is, so that a request can be repeated.
"""

from __future__ import annotations

from time import perf_counter
from typing import Annotated, Any, Final

import orjson
from pydantic import Field, ValidationError

from commands.declaration import Command
from commands.story.pov import PovName, SwitchWorldline
from commands.story.snapshot import TakeSnapshot
from commands.story.worldline import ForkWorldline
from domain.bounded_json import BoundedObject
from domain.errors import NotFound
from domain.ids import MAIN, Token
from domain.story.pov import DEFAULT_VIEW
from domain.story.worldline import Label, NamedLane, Notes
from domain.values import Value
from gateways.http import schemas
from gateways.http.asking import DEFAULT_PROJECT, asker, dry_body, receipt_body, refuse_if_match
from gateways.http.bodies import check_media_type, read_object
from gateways.http.commands import circumstances
from gateways.http.metrics import Metrics
from gateways.http.problems import Reply, encode, malformed, unfit
from gateways.http.routing import Door
from gateways.http.visit import Visit
from projections.boards.worldline_bio import POSED as BIO
from projections.boards.worldline_bio import SuggestBio
from projections.story.pov import ShowPov
from services.dispatcher import Receipt
from services.studio import Studio

BodyObject = dict[str, Any]


class Fork(Value):
    """The worldline that is forked when the switch is confirmed."""

    source: Token | None = Field(default=None, description=(
        "Whom it leaves; else the `id` of the switch, and `main` where that is the fork's own id."
    ))
    id: Token | None = Field(default=None, description="Its id; else the `id` of the switch, which must be free.")
    lane: NamedLane | None = None
    label: Label | None = None
    notes: Notes = ""
    metadata: BoundedObject = {}
    snapshot: BodyObject | None = Field(default=None, description="A moment that is kept on the fork.")


class ConfirmSwitch(Value):
    """Confirm a switch to a worldline; with ``fork`` to a new one. ``apply`` of false only tells what would be."""

    id: Token
    view: Token = DEFAULT_VIEW
    apply: bool = True
    pov: PovName | None = None
    mask_pov: bool | Annotated[str, Field(max_length=200)] = False
    snapshot: BodyObject | None = Field(default=None, description="A moment of `id`, or of what is forked.")
    fork: Fork | None = None


class Confirming:
    """What a confirmed switch asks of the studio."""

    def __init__(self, confirmed: ConfirmSwitch, current: str) -> None:
        self.confirmed = confirmed
        self.current = current
        fork = confirmed.fork
        self.target = confirmed.id if fork is None or fork.id is None else fork.id
        named = None if fork is None else fork.source
        self.source = named or (confirmed.id if self.target != confirmed.id else MAIN)

    def commands(self) -> list[Command]:
        """In the order in which they are decided: the fork must be there before it is looked at."""
        confirmed, fork = self.confirmed, self.confirmed.fork
        asked: list[Command] = []
        if confirmed.snapshot is not None:
            place = self.target if fork is None else self.source
            asked.append(_snapshot(confirmed.snapshot, place, "snapshot"))
        if fork is not None:
            asked.append(ForkWorldline(
                worldline_id=self.target, parent=self.source, label=fork.label, lane=fork.lane, notes=fork.notes,
                metadata=fork.metadata, **({"pov": confirmed.pov} if confirmed.pov else {}),
            ))
            if fork.snapshot is not None:
                asked.append(_snapshot(fork.snapshot, self.target, "fork.snapshot"))
        asked.append(SwitchWorldline(view=confirmed.view, id=self.target, pov=confirmed.pov))
        return asked


def _snapshot(told: BodyObject, worldline: str, place: str) -> TakeSnapshot:
    try:
        return TakeSnapshot.model_validate_json(orjson.dumps({"worldline": worldline, **told}), strict=True)
    except ValidationError as error:
        raise unfit(error, what="The snapshot", code="invalid_fields", prefix=tuple(place.split("."))) from error


def switching_doors(studio: Studio, metrics: Metrics) -> list[Door]:
    """POST /api/pov/confirm_switch."""

    async def confirm(visit: Visit) -> Reply:
        project, worldline, dry_run = circumstances(visit)
        refuse_if_match(visit)
        for scope in ("pov:write", "worldline:read", "pov:read"):
            visit.grant.need(scope, project)
        who = asker(visit)
        body = await visit.body()
        check_media_type(visit.header(b"content-type"), visit.header(b"content-encoding"))
        confirmed = read(body)
        current = await _current(studio, project, confirmed.view)
        confirming = Confirming(confirmed, current)
        commands = confirming.commands()
        for command in commands:
            visit.grant.need(studio.registry.askings[type(command).__name__].scope, project)
        dry_run = dry_run or not confirmed.apply
        began = perf_counter()
        receipts = await studio.ask_all(commands, who, project=project, worldline=worldline, dry_run=dry_run)
        share = (perf_counter() - began) / len(commands)
        for command in commands:
            metrics.commanded(type(command).__name__, "dry_run" if dry_run else "accepted", share)
        told = _told(confirming, receipts, dry_run, visit.request_id)
        world = confirming.source if dry_run and confirmed.fork is not None else confirming.target
        told["diff"] = await _differs(studio, project, confirmed, world, current)
        headers = [(b"idempotency-replayed", b"true")] if all(one.repeated for one in receipts) else []
        return Reply(200, encode(told), headers)

    return [Door("POST", "/api/pov/confirm_switch", answer=confirm, operation=_OPERATION)]


def read(body: bytes) -> ConfirmSwitch:
    """What was confirmed; raises ``Invalid`` that names everything wrong."""
    given = read_object(body or b"{}")
    try:
        return ConfirmSwitch.model_validate_json(orjson.dumps(given), strict=True)
    except ValidationError as error:
        raise unfit(error, what="The switch", code="invalid_fields") from error
    except TypeError as error:
        raise malformed("it holds half of a surrogate pair") from error


async def _current(studio: Studio, project: str, view: str) -> str:
    shown = await studio.look(studio.registry.views["ShowPov"], ShowPov(project=project, view=view))
    return str(shown["worldline"])


async def _differs(studio: Studio, project: str, confirmed: ConfirmSwitch, world: str, current: str) -> Any:
    """What is different there from where the view was; nothing where the read side does not know it yet."""
    (bio,) = BIO
    query = SuggestBio(project=project, world=world, compare_to=current, pov=confirmed.pov, mask_pov=confirmed.mask_pov)
    try:
        return (await studio.look(bio, query))["diff"]
    except NotFound:
        return None


def _told(confirming: Confirming, receipts: list[Receipt], dry_run: bool, request_id: str) -> dict[str, Any]:
    results = [dry_body(one, request_id) if one.would is not None else receipt_body(one) for one in receipts]
    forked = confirming.confirmed.fork is not None
    return {
        "ok": True, "applied": not dry_run, "id": confirming.target, "previous": confirming.current,
        "forked_from": confirming.source if forked else None,
        "position": max((one.position for one in receipts), default=0), "results": results,
    }


_OPERATION: Final = {
    "operationId": "ConfirmSwitch", "tags": ["commands"],
    "summary": "Switch to a worldline: fork it, keep a moment and look at it, all or nothing.",
    "description": "Needs the scopes `pov:write`, `pov:read` and `worldline:read`; with `fork` also "
                   "`worldline:write`, with a snapshot `snapshot:write`. `apply: false` records nothing.",
    "parameters": [
        schemas.parameter("project", "query", schemas.NAME | {"default": DEFAULT_PROJECT}),
        schemas.parameter("worldline", "query", schemas.NAME | {"default": MAIN}),
        schemas.parameter("dry_run", "query", {"type": "boolean", "default": False}),
        *(one for one in schemas.COMMAND_HEADERS if one["name"] != "If-Match"),
    ],
    "requestBody": {"required": True, "content": {"application/json": {"schema": {
        "type": "object", "required": ["id"], "additionalProperties": False, "properties": {
            "id": schemas.NAME, "view": schemas.NAME, "apply": {"type": "boolean", "default": True},
            "pov": {"type": ["string", "null"], "maxLength": 200},
            "mask_pov": {"type": ["boolean", "string"], "default": False},
            "snapshot": {"type": ["object", "null"]},
            "fork": {"type": ["object", "null"], "additionalProperties": False, "properties": {
                "source": schemas.NAME, "id": schemas.NAME, "lane": {"type": "string"}, "label": {"type": "string"},
                "notes": {"type": "string"}, "metadata": {"type": "object"}, "snapshot": {"type": ["object", "null"]},
            }},
        },
    }}}},
    "responses": {
        "200": schemas.answer("Switched, or what would be.", {"type": "object"}, headers=("Idempotency-Replayed",)),
        **schemas.problems(400, 401, 403, 404, 409, 413, 415, 422, 423, 500, 503),
    },
}

