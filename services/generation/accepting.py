"""Accepting a wish: the policy is asked, then the job and the credits that it may cost are recorded, or nothing is.

A wish that comes again under the same key is answered with the job that it led to, without planning anything anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import orjson

from commands.trust.policy import EnforcePolicy, EvaluatePolicy
from domain.errors import ComfyVNError, Locked, Remedy
from domain.studio.asset import Registered
from domain.studio.fault import fault
from domain.studio.job import Closed, Open, Unrequested
from domain.trust.policy_rules import Thing
from services.dispatcher import Receipt
from services.generation.estimating import MICROCREDITS, expected_seconds
from services.generation.faults import raised
from services.generation.planning import Plan, job_state, planned, repeated
from services.generation.requesting import new_job_id, requested
from services.generation.wishes import Wish
from services.studio import Asker, Studio

_FUNDS: Final = {
    "insufficient_credits": "INSUFFICIENT_FUNDS", "unknown_account": "INSUFFICIENT_FUNDS",
    "account_missing": "INSUFFICIENT_FUNDS", "budget_exceeded": "BUDGET_EXCEEDED",
}
"""What a ledger or a budget says, and the fault that it is."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A job that was asked for: its state as it is now, its receipt, and its plan unless it was asked for before.
    ``seconds`` is how long such work has taken lately, where it has been done before."""

    job_id: str
    job: Open | Closed
    receipt: Receipt
    plan: Plan | None
    seconds: int | None = None


async def accepted(studio: Studio, project: str, wish: Wish, asker: Asker, *, action: str = "generate") -> Accepted:
    """Plans a wish and asks for it. Raises ``Locked`` where the policy says no, and what ``planned`` raises."""
    job_id = new_job_id(asker, project)
    digest = _digest("wish", project, wish.model_dump(mode="json", exclude_unset=True))
    if (before := await _before(studio, project, job_id, asker, digest)) is not None:
        return before
    plan = await planned(studio, project, wish, asker.actor, job_id)
    return await _asked(studio, project, plan, asker, job_id, digest, action, wish.nsfw_acknowledged)


async def again(
    studio: Studio, project: str, job_id: str, asker: Asker, *, quality: str | None = None, engine: str | None = None,
    without: tuple[str, ...] = (), spend_limit: float | None = None,
) -> Accepted:
    """Asks for the same work as a new job, with its lineage; optionally in another quality or on another engine."""
    new_id = new_job_id(asker, project)
    digest = _digest("again", project, [job_id, quality, engine, list(without), spend_limit])
    if (before := await _before(studio, project, new_id, asker, digest)) is not None:
        return before
    plan = await repeated(studio, project, job_id, asker.actor, new_id, quality=quality, engine=engine,
                          without=without, spend_limit=spend_limit)
    return await _asked(studio, project, plan, asker, new_id, digest, "generate", False)


async def foreseen(
    studio: Studio, project: str, wish: Wish, asker: Asker, *, action: str = "generate"
) -> dict[str, Any]:
    """What accepting a wish would do and cost, and whether policy and funds allow it. Nothing is recorded."""
    plan = await planned(studio, project, wish, asker.actor, "dry-run")
    plain = Asker(asker.actor)
    found = await _policy(studio, project, plan, plain, action, wish.nsfw_acknowledged, dry_run=True)
    lacking: dict[str, Any] | None = None
    stands: Mapping[str, Any] = {}
    try:
        stands = (await requested(studio, plain, plan.request, plan.steps, project=project, dry_run=True)).told
    except ComfyVNError as error:
        lacking = {"error": _FUNDS.get(error.code, error.code), "message": error.message,
                   "remediation": [one._asdict() for one in error.remediation]}
    return {
        "ok": True, "dry_run": True, "project": project, "plan": told(plan),
        "estimated_time_seconds": await expected_seconds(studio, project, plan.request, plan.steps),
        "policy": {"allow": found is None, "error": found and {
            "error": found.code, "message": found.message, "remediation": [one._asdict() for one in found.remediation],
        }},
        "funds": {"ok": lacking is None, "problem": lacking, "budgets": stands.get("budgets", []),
                  "warnings": stands.get("warnings", [])},
    }


def recorded(job: Open | Closed) -> dict[str, Any]:
    """What of a plan is recorded, as people and programs see it: the same whenever it is asked for."""
    was = job if isinstance(job, Open) else job.was
    return {
        "preset_id": was.request.preset, "quality_level": was.request.quality, "seed": was.request.seed,
        "account": was.request.account, "held": was.held, "credits": was.held / MICROCREDITS,
        "steps": [one.model_dump(mode="json") for one in was.steps],
        "engines": sorted({one.engine for one in was.steps}),
    }


def told(plan: Plan) -> dict[str, Any]:
    """A plan with what was left out and why, and what it would need."""
    return recorded(Open(request=plan.request, steps=plan.steps, held=plan.held)) | {
        "left_out": [{"id": one.id, "why": one.why, "message": one.fault and one.fault.message}
                     for one in plan.left_out],
        "remote": list(plan.remote), "needs_consent": list(plan.imitates), "notes": list(plan.notes),
    }


async def _before(studio: Studio, project: str, job_id: str, asker: Asker, digest: str) -> Accepted | None:
    if asker.key is None:
        return None
    job = await job_state(studio, project, job_id)
    if isinstance(job, Unrequested):
        return None
    was = job if isinstance(job, Open) else job.was
    # The log knows what the key was used for: it answers with the first receipt, or says that this is another wish.
    receipt = await requested(studio, asker, was.request, was.steps, project=project, job_id=job_id, digest=digest)
    return Accepted(job_id, job, receipt, None, await _seconds(studio, project, job))


async def _asked(
    studio: Studio, project: str, plan: Plan, asker: Asker, job_id: str, digest: str, action: str, nsfw: bool
) -> Accepted:
    plain = Asker(asker.actor, None, asker.correlation_id, asker.causation_id)
    if (no := await _policy(studio, project, plan, plain, action, nsfw)) is not None:
        raise no
    try:
        receipt = await requested(
            studio, asker, plan.request, plan.steps, project=project, job_id=job_id, digest=digest
        )
    except ComfyVNError as error:
        if error.code not in _FUNDS:
            raise
        detail = {"account": plan.request.account, "held": plan.held, **error.detail}
        raise raised(fault(_FUNDS[error.code], error.message, **detail), more=error.remediation) from error
    job = await job_state(studio, project, job_id)
    assert not isinstance(job, Unrequested), "the job was recorded"
    return Accepted(job_id, job, receipt, plan, await _seconds(studio, project, job))


async def _seconds(studio: Studio, project: str, job: Open | Closed) -> int | None:
    was = job if isinstance(job, Open) else job.was
    return await expected_seconds(studio, project, was.request, was.steps)


async def _policy(
    studio: Studio, project: str, plan: Plan, asker: Asker, action: str, nsfw: bool, *, dry_run: bool = False
) -> ComfyVNError | None:
    """The gate's no, which is recorded.

    What leaves this machine, or imitates a person, needs everything that the gate asks for. Work that stays here needs
    no acknowledgement of the notice: it is asked for when the result leaves. Whatever blocks stops either.
    """
    strict = bool(plan.remote or plan.imitates)
    facts: dict[str, Any] = {"nsfw_acknowledged": True} if nsfw else {}
    question = (EnforcePolicy if strict else EvaluatePolicy)(
        action=action, subject=Thing(kind="project", id=project, facts=facts), parts=tuple(_things(plan)),
        source="generation",
    )
    receipt = await studio.ask(question, asker, project=project, dry_run=dry_run)
    if receipt.problem is not None:
        return receipt.problem
    if not strict and receipt.told.get("blocked"):
        found = [one for one in receipt.told["findings"] if one["level"] == "block"]
        return Locked(
            found[0]["message"], error="policy_blocked",
            remediation=[Remedy(one["remedy"]["text"], one["remedy"]["action"]) for one in found[:10]],
            detail={"decision_id": receipt.told.get("decision_id"), "findings": found[:20]},
        )
    return None


def _things(plan: Plan) -> list[Thing]:
    engines = sorted({one.engine for one in plan.steps})
    # Connecting a remote engine with one's own key is the consent to use it.
    away = {"remote": True, "consent": True}
    things = [Thing(kind="engine", id=one, facts=away if one in plan.remote else {"remote": False}) for one in engines]
    for uid, asset in sorted(plan.assets.items()):
        things.append(Thing(kind="asset", id=uid, facts=_facts(asset, uid in plan.faces, plan)))
    return things


def _facts(asset: Registered, imitated: bool, plan: Plan) -> dict[str, Any]:
    said = asset.described
    facts: dict[str, Any] = {}
    if said.licence:
        facts["licence"] = said.licence[:500]
    if said.origin:
        facts["origin"] = said.origin[:500]
    if said.nsfw:
        facts["nsfw"] = True
    if imitated:
        facts |= {"face_reference": True, "consent": plan.request.consent is not None}
    return facts


def _digest(*said: Any) -> str:
    return sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]
