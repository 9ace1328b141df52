"""Asking a project's policy: acknowledge, revoke, set and remove rules and handlings, evaluate, enforce."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from commands.declaration import Asking, Command
from commands.envelope import Asked
from commands.trust.policy_refusals import (
    built_in_rule,
    locked,
    too_many,
    unknown_acknowledgement,
    unknown_facts,
    unknown_handling,
    unknown_notice,
    unknown_rule,
)
from domain.bounded_json import json_size
from domain.canonical import digest
from domain.errors import ComfyVNError
from domain.ids import Token, derived_id
from domain.trust.policy import (
    ACKNOWLEDGEMENT_LIMIT,
    RULE_LIMIT,
    Acknowledgement,
    Gate,
    GateFacts,
    Notes,
    Notice,
    Override,
    Person,
    PolicyAcknowledged,
    PolicyAcknowledgementRevoked,
    PolicyDecided,
    PolicyEvent,
    PolicyHandlingRemoved,
    PolicyHandlingSet,
    PolicyRuleRemoved,
    PolicyRuleSet,
)
from domain.trust.policy_defaults import BUILT_IN, FACTS, NOTICE
from domain.trust.policy_handling import FACTS as HANDLING_FACTS
from domain.trust.policy_handling import HANDLING_LIMIT, Handling, applies
from domain.trust.policy_rules import (
    FINDING_LIMIT,
    Action,
    Rule,
    Text,
    Thing,
    counted,
    facts_of,
    findings,
)
from domain.values import Json

SUBJECT_BYTES = 128 * 1024
"""Largest subject with its parts, as JSON: the decision keeps what it was made on."""


class PolicyCommand(Command):
    """Something asked of the gate; a project has one."""

    gate: Literal["gate"] = "gate"


class AcknowledgePolicy(PolicyCommand):
    """Accept the notice in force for this project, in the name of a person (default: whoever asks)."""

    user: Person | None = None
    notice: Notice = NOTICE
    notes: Notes = ""


class RevokeAcknowledgement(PolicyCommand):
    """Take an acknowledgement back (default: that of whoever asks)."""

    user: Person | None = None
    reason: Notes = ""


class SetPolicyRule(Rule, PolicyCommand):
    """Add a rule to this project, or change one of its own."""


class RemovePolicyRule(PolicyCommand):
    """Take one of this project's own rules away."""

    rule_id: Token


class SetPolicyHandling(Handling, PolicyCommand):
    """Say what becomes of prompts, or of metadata that leaks: kept or stripped, for these actions, on conditions.

    What one handling strips is stripped, also where another keeps it.
    """


class RemovePolicyHandling(PolicyCommand):
    """Take a handling away."""

    handling_id: Token


class OverrideWarnings(Command):
    """Why one goes on in spite of warnings. What blocks cannot be overridden."""

    reason: Annotated[str, Field(min_length=3, max_length=2000)]


class PolicyQuestion(PolicyCommand):
    """An action, what it is about, and the things that it touches, each with what is known of it."""

    action: Action
    subject: Thing = Thing(kind="project")
    parts: Annotated[tuple[Thing, ...], Field(max_length=1000)] = ()
    override: OverrideWarnings | None = None
    source: Text = ""

    @model_validator(mode="after")
    def _bounded(self) -> PolicyQuestion:
        size = json_size(self.model_dump(mode="json", include={"subject", "parts"}))
        if size > SUBJECT_BYTES:
            raise ValueError(f"subject and parts are {size} bytes of JSON; {SUBJECT_BYTES} is the most")
        return self


class EvaluatePolicy(PolicyQuestion):
    """Hold an action against the rules and record what they find; the answer tells it and stops nobody."""


class EnforcePolicy(PolicyQuestion):
    """Hold an action against the rules, record the decision, and be told 423 when it says no."""


def acknowledge(command: AcknowledgePolicy, state: Gate, asked: Asked) -> list[PolicyEvent]:
    """Nothing when that person's acknowledgement stands with the same notes."""
    if command.notice != NOTICE:
        raise unknown_notice(command.notice)
    user = command.user or _person(asked)
    known = state.acknowledgements.get(user)
    if known is not None and (known.notice, known.notes) == (command.notice, command.notes):
        return []
    if known is None and len(state.acknowledgements) >= ACKNOWLEDGEMENT_LIMIT:
        raise too_many("acknowledgements", ACKNOWLEDGEMENT_LIMIT, "revoke_acknowledgement")
    return [PolicyAcknowledged(user=user, notice=command.notice, notes=command.notes, acknowledged_at=asked.time)]


def revoke(command: RevokeAcknowledgement, state: Gate, asked: Asked) -> list[PolicyEvent]:
    """Raises ``NotFound`` for a person who has acknowledged nothing."""
    user = command.user or _person(asked)
    if user not in state.acknowledgements:
        raise unknown_acknowledgement(user)
    return [PolicyAcknowledgementRevoked(user=user, reason=command.reason)]


def set_rule(command: SetPolicyRule, state: Gate, asked: Asked) -> list[PolicyEvent]:
    """Nothing when the rule is so already; built-in rules are not changed."""
    if any(rule.rule_id == command.rule_id for rule in BUILT_IN):
        raise built_in_rule(command.rule_id)
    rule = Rule.model_validate(command.model_dump(exclude={"gate"}))
    if state.rules.get(command.rule_id) == rule:
        return []
    if command.rule_id not in state.rules and len(state.rules) >= RULE_LIMIT:
        raise too_many("rules", RULE_LIMIT, "remove_policy_rule")
    return [PolicyRuleSet(rule=rule)]


def remove_rule(command: RemovePolicyRule, state: Gate, asked: Asked) -> list[PolicyEvent]:
    """Raises ``NotFound`` for a rule that the project does not have."""
    if any(rule.rule_id == command.rule_id for rule in BUILT_IN):
        raise built_in_rule(command.rule_id)
    if command.rule_id not in state.rules:
        raise unknown_rule(command.rule_id)
    return [PolicyRuleRemoved(rule_id=command.rule_id)]


def set_handling(command: SetPolicyHandling, state: Gate, asked: Asked) -> list[PolicyEvent]:
    """Nothing when it is so already. Raises ``Invalid`` for a fact that nobody will know."""
    if unknown := {one.fact for one in command.when} - HANDLING_FACTS.keys():
        raise unknown_facts(unknown, HANDLING_FACTS.keys())
    handling = Handling.model_validate(command.model_dump(exclude={"gate"}))
    if state.handlings.get(command.handling_id) == handling:
        return []
    if command.handling_id not in state.handlings and len(state.handlings) >= HANDLING_LIMIT:
        raise too_many("handlings", HANDLING_LIMIT, "remove_policy_handling")
    return [PolicyHandlingSet(handling=handling)]


def remove_handling(command: RemovePolicyHandling, state: Gate, asked: Asked) -> list[PolicyEvent]:
    """Raises ``NotFound`` for a handling that the project does not have."""
    if command.handling_id not in state.handlings:
        raise unknown_handling(command.handling_id)
    return [PolicyHandlingRemoved(handling_id=command.handling_id)]


def evaluate(command: EvaluatePolicy, state: Gate, asked: Asked) -> list[PolicyEvent]:
    """Always one decision."""
    return [_decided(command, state, asked, enforced=False)]


def enforce(command: EnforcePolicy, state: Gate, asked: Asked) -> list[PolicyEvent]:
    """Always one decision; ``refusal`` turns a no into the error that the caller gets after it is recorded."""
    return [_decided(command, state, asked, enforced=True)]


def _decided(command: PolicyQuestion, state: Gate, asked: Asked, *, enforced: bool) -> PolicyDecided:
    rules = state.all_rules
    understood = FACTS.keys() | facts_of(rules)
    things = (command.subject, *command.parts)
    if unknown := {fact for thing in things for fact in thing.facts} - understood:
        raise unknown_facts(unknown, understood)
    found = findings(rules, command.action, command.subject, command.parts)
    counts = counted(found)
    told = digest({
        "action": command.action, "subject": command.subject.model_dump(mode="json"),
        "parts": [thing.model_dump(mode="json") for thing in command.parts],
    })
    gate = GateFacts(
        requires_ack=not state.acknowledged_by, notice=NOTICE, acknowledged_by=state.acknowledged_by[:20]
    )
    override = None
    if command.override is not None and counts.warn:
        override = Override(user=_person(asked), reason=command.override.reason)
    return PolicyDecided(
        decision_id=derived_id("decision", asked.project, asked.command_id, told, str(enforced), length=16),
        action=command.action, enforced=enforced, subject=command.subject, parts=command.parts, digest=told,
        source=command.source, findings=tuple(found[:FINDING_LIMIT]), counts=counts, gate=gate,
        allow=not counts.block and not gate.requires_ack, override=override,
        handlings=tuple(sorted(
            id_ for id_, one in state.handlings.items()
            if any(applies(one, command.action, thing.facts) for thing in things)
        )),
    )


def _person(asked: Asked) -> str:
    return asked.actor[:200] or "unknown"


def refusal(events: Sequence[Any]) -> ComfyVNError | None:
    """The ``Locked`` that an enforced decision which does not allow its action is told with."""
    for event in events:
        if isinstance(event, PolicyDecided) and event.enforced and not event.allow:
            return locked(event)
    return None


def told(events: Sequence[PolicyEvent]) -> Mapping[str, Json]:
    """The decision, in the words of its event, without what the caller has said."""
    for event in events:
        if isinstance(event, PolicyDecided):
            said = event.model_dump(mode="json", exclude={"subject", "parts", "source"})
            return {**said, "warnings": [one for one in said["findings"] if one["level"] == "warn"],
                    "blocked": bool(event.counts.block), "requires_ack": event.gate.requires_ack}
    return {}


def acknowledged(events: Sequence[PolicyEvent]) -> Mapping[str, Json]:
    """The acknowledgement as it stands now."""
    for event in events:
        if isinstance(event, PolicyAcknowledged):
            given = Acknowledgement(notice=event.notice, notes=event.notes, acknowledged_at=event.acknowledged_at)
            return {"acknowledgement": {"user": event.user, **given.model_dump(mode="json")}}
    return {}


COMMANDS = (
    Asking(AcknowledgePolicy, acknowledge, id_field="gate", scope="policy:write", route="POST /api/policy/ack",
           told=acknowledged),
    Asking(RevokeAcknowledgement, revoke, id_field="gate", scope="policy:write", route="POST /api/policy/revoke"),
    Asking(SetPolicyRule, set_rule, id_field="gate", scope="policy:write", route="PUT /api/policy/rules/{rule_id}"),
    Asking(RemovePolicyRule, remove_rule, id_field="gate", scope="policy:write",
           route="DELETE /api/policy/rules/{rule_id}"),
    Asking(SetPolicyHandling, set_handling, id_field="gate", scope="policy:write",
           route="PUT /api/policy/handlings/{handling_id}"),
    Asking(RemovePolicyHandling, remove_handling, id_field="gate", scope="policy:write",
           route="DELETE /api/policy/handlings/{handling_id}"),
    Asking(EvaluatePolicy, evaluate, id_field="gate", scope="policy:write", route="POST /api/policy/evaluate",
           told=told),
    Asking(EnforcePolicy, enforce, id_field="gate", scope="policy:write", route="POST /api/policy/enforce",
           told=told, bad_news=refusal),
)
