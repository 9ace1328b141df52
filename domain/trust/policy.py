"""Policy: what a project has acknowledged, its own rules, and every decision about what it takes in and gives out."""

from __future__ import annotations

from typing import Annotated, Final, Literal, assert_never

from pydantic import Field

from domain.context import Context, Fields
from domain.trust.policy_defaults import BUILT_IN, NOTICE
from domain.trust.policy_handling import Handling
from domain.trust.policy_rules import Action, Counts, Finding, Rule, Text, Thing
from domain.values import Event, Value

CATEGORY = "policy"

GATE: Final = "gate"
"""The one aggregate of a project's policy: a decision is made on exactly the rules and acknowledgements that stand."""

RULE_LIMIT: Final = 200
"""Most rules of a project's own."""

ACKNOWLEDGEMENT_LIMIT: Final = 1000
"""Most people whose acknowledgements stand."""

Person = Annotated[str, Field(min_length=1, max_length=200)]
Notes = Annotated[str, Field(max_length=2000)]
Notice = Annotated[str, Field(min_length=1, max_length=50)]


class PolicyAcknowledged(Event):
    """A person has read and accepted a version of the notice."""

    user: Person
    notice: Notice
    notes: Notes
    acknowledged_at: str


class PolicyAcknowledgementRevoked(Event):
    """A person's acknowledgement does not stand any more."""

    user: Person
    reason: Notes


class PolicyRuleSet(Event):
    """A project made a rule, or changed one of its own."""

    rule: Rule


class PolicyRuleRemoved(Event):
    """A project took one of its own rules away."""

    rule_id: str


class PolicyHandlingSet(Event):
    """A project said what becomes of prompts, or of metadata that leaks."""

    handling: Handling


class PolicyHandlingRemoved(Event):
    """It does not say so any more."""

    handling_id: str


class GateFacts(Value):
    """What the gate said: whose acknowledgement of which notice it stands on."""

    requires_ack: bool
    notice: Notice
    acknowledged_by: tuple[Person, ...]


class Override(Value):
    """Who went on in spite of warnings, and why."""

    user: Person
    reason: Annotated[str, Field(min_length=3, max_length=2000)]


class PolicyDecided(Event):
    """An action was held against the rules.

    ``enforced``: the caller was bound by it; else it was only told. ``digest`` is that of action, subject and parts, in
    canonical JSON. ``findings`` holds the worst, ``counts`` counts all. ``allow`` is true when nothing blocks and
    no acknowledgement is missing. ``override`` concerns warnings alone. ``handlings`` are the ids of those that
    hold for one of the things.
    """

    decision_id: str
    action: Action
    enforced: bool
    subject: Thing
    parts: tuple[Thing, ...]
    digest: str
    source: Text
    findings: tuple[Finding, ...]
    counts: Counts
    gate: GateFacts
    allow: bool
    override: Override | None
    handlings: tuple[str, ...] = ()


PolicyEvent = (
    PolicyAcknowledged | PolicyAcknowledgementRevoked | PolicyRuleSet | PolicyRuleRemoved | PolicyHandlingSet
    | PolicyHandlingRemoved | PolicyDecided
)


class Acknowledgement(Value):
    """That a person accepted a version of the notice, and when."""

    notice: Notice
    notes: Notes
    acknowledged_at: str


class Gate(Value):
    """A project's gate. It exists from the beginning; decisions do not change it."""

    kind: Literal["gate"] = "gate"
    acknowledgements: dict[str, Acknowledgement] = {}
    rules: dict[str, Rule] = {}
    handlings: dict[str, Handling] = {}

    @property
    def acknowledged_by(self) -> tuple[str, ...]:
        """Whose acknowledgement of the notice in force stands."""
        return tuple(sorted(user for user, one in self.acknowledgements.items() if one.notice == NOTICE))

    @property
    def all_rules(self) -> tuple[Rule, ...]:
        """The built-in rules, then the project's own by their ids."""
        return BUILT_IN + tuple(self.rules[rule_id] for rule_id in sorted(self.rules))


def evolve(state: Gate, event: PolicyEvent) -> Gate:
    """What an event makes of the gate."""
    match event:
        case PolicyAcknowledged():
            given = Acknowledgement(notice=event.notice, notes=event.notes, acknowledged_at=event.acknowledged_at)
            return state.model_copy(update={"acknowledgements": {**state.acknowledgements, event.user: given}})
        case PolicyAcknowledgementRevoked():
            left = {user: one for user, one in state.acknowledgements.items() if user != event.user}
            return state.model_copy(update={"acknowledgements": left})
        case PolicyRuleSet():
            return state.model_copy(update={"rules": {**state.rules, event.rule.rule_id: event.rule}})
        case PolicyRuleRemoved():
            kept = {rule_id: rule for rule_id, rule in state.rules.items() if rule_id != event.rule_id}
            return state.model_copy(update={"rules": kept})
        case PolicyHandlingSet():
            one = event.handling
            return state.model_copy(update={"handlings": {**state.handlings, one.handling_id: one}})
        case PolicyHandlingRemoved():
            others = {id_: one for id_, one in state.handlings.items() if id_ != event.handling_id}
            return state.model_copy(update={"handlings": others})
        case PolicyDecided():
            return state
        case _:
            assert_never(event)


def fields(event: PolicyEvent) -> Fields:
    """Acknowledgements by person, rules and handlings by id; a decision changes nothing."""
    match event:
        case PolicyAcknowledged():
            said = {"notice": event.notice, "notes": event.notes, "acknowledged_at": event.acknowledged_at}
            return {f"acknowledgements/{event.user}": said}
        case PolicyAcknowledgementRevoked():
            return {f"acknowledgements/{event.user}": None}
        case PolicyRuleSet():
            return {f"rules/{event.rule.rule_id}": event.rule.model_dump(mode="json")}
        case PolicyRuleRemoved():
            return {f"rules/{event.rule_id}": None}
        case PolicyHandlingSet():
            return {f"handlings/{event.handling.handling_id}": event.handling.model_dump(mode="json")}
        case PolicyHandlingRemoved():
            return {f"handlings/{event.handling_id}": None}
        case PolicyDecided():
            return {}
        case _:
            assert_never(event)


CONTEXT = Context(
    category=CATEGORY,
    branches=False,
    events=(
        PolicyAcknowledged, PolicyAcknowledgementRevoked, PolicyRuleSet, PolicyRuleRemoved, PolicyHandlingSet,
        PolicyHandlingRemoved, PolicyDecided,
    ),
    state=Gate,
    initial=Gate(),
    evolve=evolve,
    fields=fields,
)
"""The policy of a project."""
