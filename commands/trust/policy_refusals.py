"""How a policy says no: with what was found, and with exactly what to do and which call does it."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from domain.errors import Invalid, Locked, NotFound, Refused, Remedy
from domain.trust.policy import PolicyDecided
from domain.trust.policy_defaults import NOTICE

SHOWN = 20
"""Most remedies and findings of an error; the decision itself keeps more."""


def locked(decision: PolicyDecided) -> Locked:
    """The error of a decision that does not allow its action."""
    blocking = [one for one in decision.findings if one.level == "block"]
    reasons: list[str] = []
    remedies: list[Remedy] = []
    if decision.gate.requires_ack:
        reasons.append("the notice was not acknowledged")
        remedies.append(Remedy(
            f"Read the notice (GET /api/policy/status) and acknowledge it: POST /api/policy/ack "
            f'{{"notice": "{decision.gate.notice}"}}.', "acknowledge_policy",
        ))
    if decision.counts.block:
        plural = "s" if decision.counts.block > 1 else ""
        reasons.append(f"{decision.counts.block} finding{plural} must be mended: {blocking[0].message}"[:300])
        distinct = dict.fromkeys((f"{one.remedy.text} ({one.target})", one.remedy.action) for one in blocking)
        remedies += [Remedy(*one) for one in list(distinct)[:SHOWN]]
    return Locked(
        f"{decision.action} is not allowed: {' and '.join(reasons)}".rstrip(".") + ".",
        error="policy_blocked" if decision.counts.block else "acknowledgement_missing",
        remediation=remedies,
        detail={
            "decision_id": decision.decision_id, "action": decision.action, "allow": False,
            "counts": decision.counts.model_dump(), "gate": decision.gate.model_dump(mode="json"),
            "findings": [one.model_dump(mode="json") for one in decision.findings[:SHOWN]],
        },
    )


def unknown_notice(notice: str) -> Invalid:
    return Invalid(
        f"The notice in force is {NOTICE}, not {notice}.",
        error="unknown_notice",
        remediation=[Remedy("Read the notice in force: GET /api/policy/status.", "show_policy_status")],
        detail={"notice": notice, "in_force": NOTICE},
    )


def unknown_acknowledgement(user: str) -> NotFound:
    return NotFound(
        f"{user} has not acknowledged the policy.",
        error="unknown_acknowledgement",
        remediation=[Remedy("List the acknowledgements: GET /api/policy/status.", "show_policy_status")],
        detail={"user": user},
    )


def unknown_rule(rule_id: str) -> NotFound:
    return NotFound(
        f"The project has no rule {rule_id} of its own.",
        error="unknown_rule",
        remediation=[Remedy("List the rules: GET /api/policy/rules.", "list_policy_rules")],
        detail={"rule_id": rule_id},
    )


def unknown_handling(handling_id: str) -> NotFound:
    return NotFound(
        f"The project has no handling {handling_id}.",
        error="unknown_handling",
        remediation=[Remedy("List the handlings: GET /api/policy/handlings.", "list_policy_handlings")],
        detail={"handling_id": handling_id},
    )


def built_in_rule(rule_id: str) -> Refused:
    return Refused(
        f"{rule_id} is a built-in rule; it can neither be changed nor taken away.",
        error="built_in_rule",
        remediation=[Remedy("Add a rule under another id.", "rename")],
        detail={"rule_id": rule_id},
    )


def too_many(what: str, limit: int, action: str) -> Refused:
    return Refused(
        f"A project has at most {limit} {what}.",
        error="too_many",
        remediation=[Remedy("Take one away first.", action)],
        detail={"limit": limit},
    )


def unknown_facts(unknown: Collection[str], understood: Collection[str]) -> Invalid:
    named = sorted(unknown)[:SHOWN]
    close = {name: difflib.get_close_matches(name, sorted(understood), n=1) for name in named}
    meant = [Remedy(f"Did you mean {found[0]} instead of {name}?", "rename_fact") for name, found in close.items()
             if found]
    return Invalid(
        f"No rule understands {', '.join(named)}.",
        error="unknown_fact",
        remediation=[
            *meant,
            Remedy("Leave it out, or add a rule that looks at it: PUT /api/policy/rules/{rule_id}.", "leave_out"),
        ],
        detail={"facts": named, "understood": sorted(understood)},
    )
