"""A project's policy as people see it: the gate, the rules, and the audit of every decision."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import Field

from domain.errors import NotFound, Remedy
from domain.ids import Token
from domain.tables import PAGE_LIMIT, Add, Change, Drop, Put, Reader, Row, Table, Where
from domain.trust.policy import (
    CATEGORY,
    PolicyAcknowledged,
    PolicyAcknowledgementRevoked,
    PolicyDecided,
    PolicyHandlingRemoved,
    PolicyHandlingSet,
    PolicyRuleRemoved,
    PolicyRuleSet,
)
from domain.trust.policy_defaults import BUILT_IN, FACTS, NOTICE, NOTICE_TEXT
from domain.trust.policy_handling import DEFAULTS
from domain.trust.policy_handling import FACTS as HANDLING_FACTS
from domain.trust.policy_rules import Action, beginnings, covers
from projections.declaration import Happened, Projection
from projections.reading import PageQuery, Query, View, page

ACKNOWLEDGEMENTS = Table(
    name="policy_acknowledgements",
    columns={
        "project": "text", "user": "text", "notice": "text", "notes": "text", "acknowledged_at": "text",
        "position": "int",
    },
    key=("project", "user"),
)

RULES = Table(
    name="policy_rules",
    columns={
        "project": "text", "rule_id": "text", "rule": "json", "position": "int", "updated_at": "text", "actor": "text",
    },
    key=("project", "rule_id"),
)

HANDLINGS = Table(
    name="policy_handlings",
    columns={
        "project": "text", "handling_id": "text", "handling": "json", "position": "int", "updated_at": "text",
        "actor": "text",
    },
    key=("project", "handling_id"),
)

DECISIONS = Table(
    name="policy_decisions",
    columns={
        "project": "text", "position": "int", "decision_id": "text", "action": "text", "action_path": "text",
        "enforced": "bool", "allow": "bool", "info": "int", "warn": "int", "block": "int", "subject": "json",
        "parts": "json", "digest": "text", "source": "text", "findings": "json", "gate": "json", "override": "json",
        "handlings": "json",
        "time": "text", "actor": "text",
    },
    key=("project", "position"),
    indexes=(("project", "decision_id"), ("project", "action_path", "position")),
)

COUNTS = Table(
    name="policy_counts",
    columns={
        "project": "text", "action": "text", "decisions": "int", "enforced": "int", "allowed": "int",
        "overridden": "int", "info": "int", "warn": "int", "block": "int", "last_position": "int",
        "last_time": "text",
    },
    key=("project", "action"),
)


def apply(happened: Happened) -> Iterable[Change]:
    """Acknowledgements and rules as they stand; decisions for ever, with their sums by action."""
    recorded, event = happened
    project = recorded.stream.project
    match event:
        case PolicyAcknowledged():
            yield Put(ACKNOWLEDGEMENTS.name, {
                "project": project, "user": event.user, "notice": event.notice, "notes": event.notes,
                "acknowledged_at": event.acknowledged_at, "position": recorded.position,
            })
        case PolicyAcknowledgementRevoked():
            yield Drop(ACKNOWLEDGEMENTS.name, {"project": project, "user": event.user})
        case PolicyRuleSet():
            yield Put(RULES.name, {
                "project": project, "rule_id": event.rule.rule_id, "rule": event.rule.model_dump(mode="json"),
                "position": recorded.position, "updated_at": recorded.time, "actor": recorded.actor,
            })
        case PolicyRuleRemoved():
            yield Drop(RULES.name, {"project": project, "rule_id": event.rule_id})
        case PolicyHandlingSet():
            yield Put(HANDLINGS.name, {
                "project": project, "handling_id": event.handling.handling_id,
                "handling": event.handling.model_dump(mode="json"), "position": recorded.position,
                "updated_at": recorded.time, "actor": recorded.actor,
            })
        case PolicyHandlingRemoved():
            yield Drop(HANDLINGS.name, {"project": project, "handling_id": event.handling_id})
        case PolicyDecided():
            said = event.model_dump(mode="json")
            counts = said["counts"]
            kept = {name: said[name] for name in (
                "decision_id", "action", "enforced", "allow", "subject", "parts", "digest", "source", "findings",
                "gate", "override", "handlings",
            )}
            yield Put(DECISIONS.name, {
                "project": project, "position": recorded.position, **kept, **counts,
                "action_path": event.action + ".", "time": recorded.time, "actor": recorded.actor,
            })
            amounts = {
                "decisions": 1, "enforced": int(event.enforced), "allowed": int(event.allow),
                "overridden": int(event.override is not None), **counts,
            }
            last = {"last_position": recorded.position, "last_time": recorded.time}
            for action in ("", *beginnings(event.action)):
                yield Add(COUNTS.name, {"project": project, "action": action}, amounts, last)


class ShowPolicyStatus(Query):
    """The gate of a project: the notice, who acknowledged it, and whether anything is still asked for."""


class ListPolicyRules(Query):
    """The rules in force: the built-in ones and the project's own (at most 200)."""

    action: Action | None = None


class ListPolicyHandlings(Query):
    """What the project says of prompts and of metadata that leaks (at most 100), and what is done otherwise."""


class AuditPolicy(PageQuery):
    """Every decision, newest first, with sums by action; an action counts its suffixes too."""

    action: Action | None = None
    allow: bool | None = None
    enforced: bool | None = None
    as_of: int = Field(default=0, ge=0, le=2**62, description="Decisions up to this position; 0 is all.")


class ShowPolicyDecision(Query):
    """One decision with what it was made on."""

    decision_id: Token


def show_status(reader: Reader, query: ShowPolicyStatus) -> dict[str, Any]:
    """The gate as it stands."""
    of = Where("project", "=", query.project)
    given = reader.rows(ACKNOWLEDGEMENTS.name, of, order=("user",), limit=PAGE_LIMIT)
    standing = [one["user"] for one in given if one["notice"] == NOTICE]
    return {
        "requires_ack": not standing, "acknowledged": bool(standing), "acknowledged_by": standing,
        "acknowledgements": [{name: one[name] for name in ("user", "notice", "notes", "acknowledged_at")}
                             for one in given],
        "notice": {"version": NOTICE, "text": NOTICE_TEXT},
        "override": {"warnings": True, "blocks": False},
        "rules": {"built_in": len(BUILT_IN), "own": reader.count(RULES.name, of)},
        "facts": FACTS, "decisions": _sums(reader, query.project, ""),
    }


def list_rules(reader: Reader, query: ListPolicyRules) -> dict[str, Any]:
    """Every rule in force, the built-in ones first."""
    own = reader.rows(RULES.name, Where("project", "=", query.project), order=("rule_id",), limit=PAGE_LIMIT)
    rules = [{**rule.model_dump(mode="json"), "built_in": True} for rule in BUILT_IN]
    rules += [{**row["rule"], "built_in": False} for row in own]
    if query.action is not None:
        action = query.action
        rules = [rule for rule in rules if any(covers(named, action) for named in rule["actions"])]
    return {"items": rules, "next": None}


def list_handlings(reader: Reader, query: ListPolicyHandlings) -> dict[str, Any]:
    """Every handling of the project, by its id."""
    own = reader.rows(HANDLINGS.name, Where("project", "=", query.project), order=("handling_id",), limit=PAGE_LIMIT)
    return {
        "items": [{**row["handling"], "set_by": row["actor"], "updated_at": row["updated_at"]} for row in own],
        "next": None, "defaults": dict(DEFAULTS), "facts": dict(HANDLING_FACTS),
    }


def audit(reader: Reader, query: AuditPolicy) -> dict[str, Any]:
    """A page of decisions, and the sums by action of all decisions that ``action`` names."""
    of = Where("project", "=", query.project)
    where = [of]
    where += [Where(name, "=", value) for name in ("allow", "enforced") if (value := getattr(query, name)) is not None]
    if query.action is not None:
        where.append(Where("action_path", "prefix", query.action + "."))
    if query.as_of:
        where.append(Where("position", "<=", query.as_of))
    found = page(
        reader, DECISIONS.name, *where, order=("-position",), limit=query.limit, cursor=query.cursor,
        shape=lambda row: _shape(row, ("parts", "subject")),
    )
    named = query.action or ""
    below = [Where("action", "prefix", named + "." if named else "")]
    rows = reader.rows(COUNTS.name, of, *below, Where("action", "!=", ""), order=("action",), limit=100)
    per_action = {row["action"]: _counts(row) for row in rows}
    return {**found, "summary": {"totals": _sums(reader, query.project, named), "per_action": per_action}}


def show_decision(reader: Reader, query: ShowPolicyDecision) -> dict[str, Any]:
    """One decision; raises ``NotFound``."""
    rows = reader.rows(
        DECISIONS.name, Where("project", "=", query.project), Where("decision_id", "=", query.decision_id),
        order=("position",), limit=1,
    )
    if not rows:
        raise NotFound(
            f"There is no decision {query.decision_id}.",
            error="unknown_decision",
            remediation=[Remedy("List the decisions: GET /api/policy/audit.", "audit_policy")],
            detail={"decision_id": query.decision_id},
        )
    return _shape(rows[0], ())


def _sums(reader: Reader, project: str, action: str) -> dict[str, Any]:
    row = reader.row(COUNTS.name, project=project, action=action)
    return _counts(row or dict.fromkeys(COUNTS.columns, 0) | {"last_time": None})


def _counts(row: Row) -> dict[str, Any]:
    told = {name: value for name, value in row.items() if name not in ("project", "action")}
    return {**told, "refused": row["decisions"] - row["allowed"]}


def _shape(row: Row, left_out: tuple[str, ...]) -> dict[str, Any]:
    counts = {name: row[name] for name in ("info", "warn", "block")}
    hidden = {"project", "action_path", *counts, *left_out}
    return {name: value for name, value in row.items() if name not in hidden} | {"counts": counts}


PROJECTIONS = (
    Projection(
        name="policy", version=2, tables=(ACKNOWLEDGEMENTS, RULES, HANDLINGS, DECISIONS, COUNTS), apply=apply,
        categories=frozenset({CATEGORY}), about="The gate, the rules, the handlings, and every decision.",
    ),
)

VIEWS = (
    View("ShowPolicyStatus", "/api/policy/status", ShowPolicyStatus, show_status, ("policy",), "policy:read"),
    View("ListPolicyRules", "/api/policy/rules", ListPolicyRules, list_rules, ("policy",), "policy:read"),
    View("ListPolicyHandlings", "/api/policy/handlings", ListPolicyHandlings, list_handlings, ("policy",),
         "policy:read"),
    View("AuditPolicy", "/api/policy/audit", AuditPolicy, audit, ("policy",), "policy:read"),
    View("ShowPolicyDecision", "/api/policy/decisions/{decision_id}", ShowPolicyDecision, show_decision, ("policy",),
         "policy:read"),
)
