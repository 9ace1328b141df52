"""Asking for planned work: the job and the credits that it may cost, in one decision or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from secrets import token_hex
from typing import Final

from commands.declaration import Command
from commands.operations.ledger import ReserveCredits
from commands.studio.job import RequestJob
from domain.errors import Refused, Remedy
from domain.ids import derived_id
from domain.studio.job_values import Request, Step
from services.dispatcher import Receipt
from services.studio import Asker, Studio, command_id_of

LEAST: Final = 1
"""Held at least for paid work, in microcredits: so there is a reservation on which its real cost can be settled."""


async def requested(
    studio: Studio, asker: Asker, request: Request, steps: Sequence[Step], *, project: str, job_id: str | None = None,
    digest: str | None = None, dry_run: bool = False,
) -> Receipt:
    """Records the job with its plan and holds what it may cost at most; the receipt of the job, which also tells how
    its account and the budgets stand after that.

    A request without a ``root`` gets the job's own id. ``digest`` is that of what somebody asked for, where the plan
    is worked out from it and may be another one on a retry. Raises ``Refused`` when the account cannot pay for it, and
    the other kinds of ``domain.errors``.
    """
    job = job_id or new_job_id(asker, project)
    request = request if request.root else request.model_copy(update={"root": job})
    held = held_for(steps)
    commands: list[Command] = [RequestJob(job_id=job, request=request, steps=tuple(steps), held=held)]
    if held and request.account is None:
        raise Refused(
            "This work costs money, and no account is named that pays for it.", error="account_missing",
            remediation=[Remedy("Name an account, or choose an engine that is free.", "choose_account")],
            detail={"held": held},
        )
    if held:
        assert request.account is not None
        commands.append(ReserveCredits(
            account=request.account, attempt_id=job, amount=held, purpose=f"Job {request.name}"[:500],
            metadata={"job": job, "preset": request.preset, "project": project},
        ))
    receipts = await studio.ask_all(commands, asker, project=project, dry_run=dry_run, request=digest)
    return replace(receipts[0], told={**receipts[-1].told, **receipts[0].told}) if held else receipts[0]


def new_job_id(asker: Asker, project: str) -> str:
    """An id for a job: the same one for the same idempotency key."""
    if asker.key is None:
        return token_hex(8)
    return derived_id("job", project, command_id_of(asker, project), length=16)


def held_for(steps: Sequence[Step]) -> int:
    """What has to be held for a plan, in microcredits; nothing where nothing costs money."""
    return max(sum(step.estimate for step in steps if step.paid), LEAST) if any(step.paid for step in steps) else 0
