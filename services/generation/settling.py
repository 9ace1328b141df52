"""What a job has really cost, and the entry of the ledger that closes its account together with the job."""

from __future__ import annotations

from typing import Final

import structlog

from commands.declaration import Command
from commands.operations.ledger import ReleaseReservation, SettleReservation
from domain.ports.engines import Done
from domain.studio.job import Open
from domain.studio.job_values import Step
from domain.studio.pricing import microcredits

FREE: Final = 0

log = structlog.get_logger("jobs")


def cost_of(step: Step, done: Done) -> int:
    """Microcredits that a finished attempt costs: what the engine says, else what was estimated at most."""
    if not step.paid:
        return FREE
    if done.cost is None or done.unit not in ("usd", "USD", "dollars"):
        return step.estimate
    try:
        return microcredits(done.cost)
    except ValueError:
        log.warning("cost_unreadable", engine=step.engine, cost=done.cost)
        return step.estimate


def closing(job: Open, job_id: str, more: int = 0, reason: str = "") -> list[Command]:
    """What the ledger is asked when a job is closed that has cost ``more`` than was recorded of it: to settle what it
    cost and give the rest back. Nothing where nothing was held."""
    if not job.held or job.request.account is None:
        return []
    account, spent = job.request.account, job.spent + more
    if spent:
        return [SettleReservation(account=account, attempt_id=job_id, actual=spent)]
    return [ReleaseReservation(account=account, attempt_id=job_id, reason=reason[:500])]
