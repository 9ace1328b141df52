"""The policy: acknowledged, decided, locked, audited; blocks are never overridden and every no says what to do."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from behaviour import ASKED, Given, given
from hypothesis import given as drawn
from hypothesis import strategies as st
from projected import Projected
from pydantic import ValidationError

from adapters.memory.log import MemoryLog
from commands.envelope import Asked
from commands.trust.policy import (
    AcknowledgePolicy,
    EnforcePolicy,
    EvaluatePolicy,
    RemovePolicyRule,
    RevokeAcknowledgement,
    SetPolicyRule,
    refusal,
    told,
)
from domain.errors import Invalid, Locked, NotFound, Refused
from domain.trust.policy import (
    CONTEXT,
    Gate,
    Override,
    PolicyAcknowledged,
    PolicyAcknowledgementRevoked,
    PolicyDecided,
    PolicyRuleRemoved,
    PolicyRuleSet,
)
from domain.trust.policy_defaults import BUILT_IN, FACTS, NOTICE
from domain.trust.policy_rules import (
    FINDING_LIMIT,
    Condition,
    Rule,
    RuleRemedy,
    Thing,
    condition_holds,
    covers,
    facts_of,
    findings,
)
from services.dispatcher import Dispatcher
from services.registry import REGISTRY

ACKNOWLEDGED = PolicyAcknowledged(user="ada", notice=NOTICE, notes="", acknowledged_at=ASKED.time)
SAFE = {"licence": "CC0-1.0", "origin": "drawn by ada"}


def asset(id_: str = "a1", **facts: Any) -> Thing:
    return Thing(kind="asset", id=id_, facts={**SAFE, **facts})


def decided(history: Given, command: EvaluatePolicy | EnforcePolicy) -> PolicyDecided:
    (event,) = history.when(command)._decide()
    assert isinstance(event, PolicyDecided)
    return event


def rules_found(command: EvaluatePolicy | EnforcePolicy) -> list[tuple[str, str]]:
    return [(one.rule, one.level) for one in decided(given(ACKNOWLEDGED), command).findings]


def test_an_acknowledgement_is_given_once_and_revoked_once() -> None:
    given().when(AcknowledgePolicy(user="ada")).then(ACKNOWLEDGED).and_again_nothing()
    given().when(AcknowledgePolicy()).then(ACKNOWLEDGED.model_copy(update={"user": ASKED.actor}))
    given(ACKNOWLEDGED).when(RevokeAcknowledgement(user="ada")).then(
        PolicyAcknowledgementRevoked(user="ada", reason="")
    )
    given().when(RevokeAcknowledgement(user="ada")).then_refused("unknown_acknowledgement", NotFound)


def test_only_the_notice_in_force_can_be_acknowledged() -> None:
    given().when(AcknowledgePolicy(user="ada", notice="v0")).then_refused("unknown_notice", Invalid)


def test_an_acknowledgement_of_an_older_notice_does_not_count() -> None:
    old = ACKNOWLEDGED.model_copy(update={"notice": "v0"})
    event = decided(given(old), EnforcePolicy(action="export.renpy"))
    assert event.gate.requires_ack
    assert not event.allow


def test_without_an_acknowledgement_every_action_is_locked_and_the_error_says_which_call_helps() -> None:
    for action in ("import.chat", "export.renpy", "publish.web", "generate.image"):
        event = decided(given(), EnforcePolicy(action=action, subject=Thing(kind="project", facts={"rating": "E"})))
        error = refusal([event])
        assert isinstance(error, Locked)
        assert error.code == "acknowledgement_missing"
        (remedy,) = error.remediation
        assert remedy.action == "acknowledge_policy"
        assert "POST /api/policy/ack" in remedy.text
    revoked = PolicyAcknowledgementRevoked(user="ada", reason="left")
    assert not decided(given(ACKNOWLEDGED, revoked), EnforcePolicy(action="export")).allow
    assert decided(given(ACKNOWLEDGED), EnforcePolicy(action="export")).allow


def test_evaluating_tells_the_same_decision_and_stops_nobody() -> None:
    question = {"action": "publish.web", "parts": [{"kind": "asset", "id": "a1"}]}
    evaluated = decided(given(), EvaluatePolicy.model_validate(question))
    enforced = decided(given(), EnforcePolicy.model_validate(question))
    assert not evaluated.allow
    assert refusal([evaluated]) is None
    assert refusal([enforced]) is not None
    alike = {"enforced", "decision_id"}
    assert evaluated.model_dump(exclude=alike) == enforced.model_dump(exclude=alike)
    answer = told([evaluated])
    assert answer["allow"] is False
    assert answer["blocked"] is True
    assert answer["requires_ack"] is True
    assert answer["counts"] == {"info": 0, "warn": 2, "block": 1}
    assert [one["rule"] for one in answer["warnings"]] == ["rating_missing", "origin_missing"]


@pytest.mark.parametrize(("action", "thing", "rule", "level"), [
    ("publish.web", asset(licence=""), "licence_missing", "block"),
    ("publish.web", asset(licence="Unknown"), "licence_unknown", "block"),
    ("export.bundle", asset(licence=" "), "licence_unstated", "warn"),
    ("export.web", asset(licence_forbids=["publish", "export.web"]), "licence_forbids", "block"),
    ("export.web", asset(licence_forbids="export"), "licence_forbids", "block"),
    ("publish.itch", asset(licence="cc-by-nc-4.0", commercial=True), "licence_non_commercial", "block"),
    ("import.manga", asset(nsfw=True), "nsfw_unacknowledged", "block"),
    ("generate.image", Thing(kind="prompt", facts={"nsfw": True}), "nsfw_unacknowledged", "block"),
    ("export.renpy", Thing(kind="scene", id="s", facts={"rating": "adult"}), "rating_above_mode", "block"),
    ("export.renpy", Thing(kind="scene", id="s", facts={"rating": "M", "mode": "warn"}), "rating_risky", "warn"),
    ("import.assets", asset(origin=""), "origin_missing", "warn"),
    ("import.assets", asset(origin="unknown"), "origin_unknown", "warn"),
    ("generate.video", Thing(kind="engine", id="kling", facts={"remote": True}), "remote_without_consent", "block"),
    ("generate.video", asset(face_reference=True), "imitation_without_consent", "block"),
    ("import.chat", Thing(kind="source", id="x", facts={"remote": True}), "source_terms_unacknowledged", "block"),
    ("publish.web", asset(generated=True), "generated_undisclosed", "warn"),
])
def test_a_built_in_rule_finds_what_it_is_for(action: str, thing: Thing, rule: str, level: str) -> None:
    subject = Thing(kind="project", facts={"rating": "E"})
    assert rules_found(EvaluatePolicy(action=action, subject=subject, parts=(thing,))) == [(rule, level)]


@pytest.mark.parametrize(("action", "thing"), [
    ("publish.web", asset()),
    ("export.web", asset(licence_forbids=["export.renpy", "publish"])),
    ("publish.itch", asset(licence="CC-BY-NC-4.0")),
    ("import.manga", asset(nsfw=True, nsfw_acknowledged=True)),
    ("export.renpy", Thing(kind="scene", facts={"rating": "Adult", "mode": "unrestricted"})),
    ("import.assets", asset(licence="")),
    ("generate.video", Thing(kind="engine", facts={"remote": True, "consent": True})),
    ("generate.video", Thing(kind="engine", facts={"remote": False})),
    ("publish.web", asset(generated=True, disclosed=True)),
])
def test_a_built_in_rule_leaves_the_rest_alone(action: str, thing: Thing) -> None:
    subject = Thing(kind="project", facts={"rating": "E"})
    assert rules_found(EvaluatePolicy(action=action, subject=subject, parts=(thing,))) == []


def test_every_built_in_rule_looks_at_facts_that_are_explained() -> None:
    assert facts_of(BUILT_IN) <= FACTS.keys()
    assert len({rule.rule_id for rule in BUILT_IN}) == len(BUILT_IN)


def test_what_is_said_of_the_subject_holds_for_its_parts_but_is_found_once() -> None:
    command = EvaluatePolicy(
        action="publish.itch", subject=Thing(kind="project", facts={"rating": "E", "commercial": True, "nsfw": True}),
        parts=(asset("free"), asset("bound", licence="CC-BY-NC")),
    )
    found = decided(given(ACKNOWLEDGED), command).findings
    assert [(one.rule, one.target) for one in found] == [
        ("nsfw_unacknowledged", "project"), ("licence_non_commercial", "asset bound"),
    ]
    assert found[1].facts == {"licence": "CC-BY-NC", "commercial": True}


def test_warnings_are_overridden_with_who_and_why_and_blocks_are_not() -> None:
    warned = EnforcePolicy.model_validate({
        "action": "export.bundle", "parts": [{"kind": "asset", "id": "a"}], "override": {"reason": "a draft"},
    })
    event = decided(given(ACKNOWLEDGED), warned)
    assert event.allow
    assert event.override == Override(user=ASKED.actor, reason="a draft")
    blocked = warned.model_copy(update={"action": "publish.web"})
    event = decided(given(ACKNOWLEDGED), blocked)
    assert not event.allow
    assert isinstance(refusal([event]), Locked)
    clean = EnforcePolicy.model_validate({"action": "export", "override": {"reason": "nothing to override"}})
    assert decided(given(ACKNOWLEDGED), clean).override is None


RULE = SetPolicyRule(
    rule_id="no_red", actions=("export",), about=("scene",), when=(Condition(fact="colour", op="is", values=("red",)),),
    level="block", message="Red is not for this project.", remedy=RuleRemedy(text="Paint it blue.", action="repaint"),
)
OWN = Rule.model_validate(RULE.model_dump(exclude={"gate"}))


def test_a_project_adds_changes_and_removes_its_own_rules() -> None:
    given().when(RULE).then(PolicyRuleSet(rule=OWN)).and_again_nothing()
    softer = RULE.model_copy(update={"level": "warn"})
    given(PolicyRuleSet(rule=OWN)).when(softer).then(PolicyRuleSet(rule=OWN.model_copy(update={"level": "warn"})))
    given(PolicyRuleSet(rule=OWN)).when(RemovePolicyRule(rule_id="no_red")).then(PolicyRuleRemoved(rule_id="no_red"))
    given().when(RemovePolicyRule(rule_id="no_red")).then_refused("unknown_rule", NotFound)
    red = EnforcePolicy(action="export.renpy", parts=(Thing(kind="scene", id="s", facts={"colour": "Red"}),))
    event = decided(given(ACKNOWLEDGED, PolicyRuleSet(rule=OWN)), red)
    assert [(one.rule, one.target, one.facts) for one in event.findings] == [("no_red", "scene s", {"colour": "Red"})]
    assert not event.allow


def test_a_built_in_rule_is_neither_softened_nor_removed() -> None:
    softer = RULE.model_copy(update={"rule_id": "licence_missing"})
    given().when(softer).then_refused("built_in_rule", Refused)
    given().when(RemovePolicyRule(rule_id="licence_missing")).then_refused("built_in_rule", Refused)


def test_a_fact_that_no_rule_understands_is_refused_by_name() -> None:
    command = EvaluatePolicy(action="export", parts=(Thing(kind="asset", facts={"license": "MIT", "colour": "red"}),))
    error = given(ACKNOWLEDGED).when(command).then_refused("unknown_fact", Invalid)
    assert error.detail["facts"] == ["colour", "license"]
    assert any("licence instead of license" in remedy.text for remedy in error.remediation)


@pytest.mark.parametrize("question", [
    {"action": "delete"}, {"action": "export."}, {"action": "exports"}, {"action": "Export"}, {"action": "export\n"},
    {"action": "export", "subjekt": {}}, {"action": "export", "parts": [{"kind": "asset", "facts": {"nsfw": 1.5}}]},
    {"action": "export", "override": True}, {"action": "export", "override": {"reason": "x"}}, {},
    {"action": "export", "gate": "another"},
    {"action": "export", "parts": [{"kind": "asset", "facts": {"origin": "x" * 501}}]},
    {"action": "export", "parts": [{"kind": "asset", "facts": {f"f{n}": "x" * 400 for n in range(50)}}] * 10},
])
def test_a_malformed_question_is_refused(question: dict[str, Any]) -> None:
    for command in (EvaluatePolicy, EnforcePolicy):
        with pytest.raises(ValidationError):
            command.model_validate_json(json.dumps(question))


def test_a_decision_keeps_the_worst_findings_and_counts_all() -> None:
    parts = tuple(Thing(kind="asset", id=str(number)) for number in range(400))
    event = decided(given(ACKNOWLEDGED), EnforcePolicy(action="publish", parts=parts))
    assert (event.counts.block, event.counts.warn) == (400, 401)
    assert len(event.findings) == FINDING_LIMIT
    assert {one.level for one in event.findings} == {"block"}
    assert len(REGISTRY.encode(event)) < 512 * 1024
    error = refusal([event])
    assert error is not None
    assert len(json.dumps(error.detail)) < 32 * 1024


def test_an_action_covers_its_suffixes_and_no_other_words() -> None:
    assert covers("export", "export")
    assert covers("export", "export.renpy.web")
    assert covers("export.renpy", "export.renpy.web")
    assert not covers("export.renpy", "export")
    assert not covers("export", "exports")


FACT_VALUES = st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=4) | st.lists(
    st.text(max_size=3), max_size=3
).map(tuple)


@drawn(FACT_VALUES, st.lists(FACT_VALUES.filter(lambda value: value is not None), max_size=3).map(tuple))
def test_conditions_are_two_sides_of_one_coin(known: Any, values: tuple[Any, ...]) -> None:
    def holds(op: Any) -> bool:
        return condition_holds(Condition(fact="x", op=op, values=values), "export", known)

    assert holds("is") != holds("is_not")
    assert holds("missing") != holds("present")


@drawn(st.permutations([asset(str(n), licence="", origin="") for n in range(4)]))
def test_findings_come_worst_first_and_a_thing_keeps_its_place(parts: list[Thing]) -> None:
    found = findings(BUILT_IN, "publish", Thing(kind="project", facts={"rating": "E"}), parts)
    assert [one.level for one in found] == ["block"] * 4 + ["warn"] * 4
    assert [one.target for one in found if one.level == "block"] == [thing.name for thing in parts]


def test_yes_is_not_the_number_one() -> None:
    condition = Condition(fact="nsfw", op="is", values=(True,))
    assert condition_holds(condition, "export", True)
    assert not condition_holds(condition, "export", 1)


def test_the_gate_crosses_a_snapshot_and_decisions_leave_it_as_it_was() -> None:
    state = Gate()
    for event in (ACKNOWLEDGED, PolicyRuleSet(rule=OWN)):
        state = CONTEXT.evolve(state, event)
    after = CONTEXT.evolve(state, decided(given(ACKNOWLEDGED), EnforcePolicy(action="export")))
    assert after == state
    adapter = REGISTRY.states["policy"]
    assert adapter.validate_json(adapter.dump_json(state)) == state


# --- through the dispatcher, into the read side ------------------------------------------------------------------


def asked(command_id: str, actor: str = "ada") -> Asked:
    return Asked(command_id, actor, "2026-01-02T03:04:05Z", "demo", request=command_id)


def test_a_no_is_recorded_before_it_is_told_and_is_told_again_to_a_retry() -> None:
    async def scenario() -> None:
        log = MemoryLog()
        dispatcher = Dispatcher(log, REGISTRY)
        command = EnforcePolicy(action="export.renpy")
        first = await dispatcher.ask(command, asked("c1"))
        assert isinstance(first.problem, Locked)
        assert [one.type for one in log.events] == ["PolicyDecided"]
        again = await dispatcher.ask(command, asked("c1"))
        assert again.repeated
        assert isinstance(again.problem, Locked)
        assert again.told == first.told
        assert len(log.events) == 1
        tried = await dispatcher.ask(command, asked("c2"), dry_run=True)
        assert isinstance(tried.problem, Locked)
        assert len(log.events) == 1
        await dispatcher.ask(AcknowledgePolicy(user="ada"), asked("c3"))
        allowed = await dispatcher.ask(command, asked("c4"))
        assert allowed.problem is None
        assert allowed.told["allow"] is True

    asyncio.run(scenario())


def test_a_decision_raced_by_a_revocation_is_made_on_what_stands() -> None:
    async def scenario() -> None:
        log = MemoryLog()
        here, there = Dispatcher(log, REGISTRY), Dispatcher(log, REGISTRY)
        await here.ask(AcknowledgePolicy(user="ada"), asked("c1"))
        await there.ask(RevokeAcknowledgement(user="ada"), asked("c2"))
        late = await here.ask(EnforcePolicy(action="export"), asked("c3"))
        assert isinstance(late.problem, Locked)

    asyncio.run(scenario())


def test_the_audit_tells_every_decision_and_its_sums(tmp_path: Path) -> None:
    log = MemoryLog()

    async def scenario() -> None:
        dispatcher = Dispatcher(log, REGISTRY)
        for number, command in enumerate([
            EnforcePolicy(action="export.renpy"),
            AcknowledgePolicy(user="ada", notes="read it"),
            RULE,
            EnforcePolicy(action="export.renpy"),
            EvaluatePolicy(action="export.bundle", parts=(Thing(kind="asset", id="a"),)),
            EnforcePolicy(action="publish.web", parts=(Thing(kind="asset", id="a"),)),
            EnforcePolicy.model_validate({"action": "export.bundle", "parts": [{"kind": "asset"}],
                                          "override": {"reason": "only a draft"}}),
        ]):
            await dispatcher.ask(command, asked(f"c{number}"))

    asyncio.run(scenario())
    seen = Projected(tmp_path, ["policy"])
    seen.count(log.events, batch=2)
    status = seen.see("ShowPolicyStatus")
    assert status["acknowledged"] is True
    assert status["requires_ack"] is False
    assert status["acknowledgements"] == [
        {"user": "ada", "notice": NOTICE, "notes": "read it", "acknowledged_at": "2026-01-02T03:04:05Z"}
    ]
    assert status["rules"] == {"built_in": len(BUILT_IN), "own": 1}
    assert status["decisions"]["decisions"] == 5
    decisions = seen.pages("AuditPolicy", limit=2)
    assert [(one["action"], one["allow"]) for one in decisions] == [
        ("export.bundle", True), ("publish.web", False), ("export.bundle", True), ("export.renpy", True),
        ("export.renpy", False),
    ]
    assert decisions[0]["override"] == {"user": "ada", "reason": "only a draft"}
    assert [one["action"] for one in seen.pages("AuditPolicy", allow=False)] == ["publish.web", "export.renpy"]
    assert len(seen.pages("AuditPolicy", action="export", limit=3)) == 4
    assert len(seen.pages("AuditPolicy", action="export.renpy")) == 2
    assert len(seen.pages("AuditPolicy", enforced=False)) == 1
    summary = seen.see("AuditPolicy", action="export")["summary"]
    assert (summary["totals"]["decisions"], summary["totals"]["refused"], summary["totals"]["overridden"]) == (4, 1, 1)
    assert {action: one["decisions"] for action, one in summary["per_action"].items()} == {
        "export.bundle": 2, "export.renpy": 2,
    }
    assert seen.see("AuditPolicy")["summary"]["totals"]["warn"] == 4
    one = seen.see("ShowPolicyDecision", decision_id=decisions[1]["decision_id"])
    assert one["parts"] == [{"kind": "asset", "id": "a", "facts": {}}]
    assert one["findings"][0]["rule"] == "licence_missing"
    rules = seen.see("ListPolicyRules", action="export.web")["items"]
    assert [rule["rule_id"] for rule in rules if not rule["built_in"]] == ["no_red"]
    assert all(rule["rule_id"] != "licence_missing" for rule in rules)
    with pytest.raises(NotFound):
        seen.see("ShowPolicyDecision", decision_id="none")
    empty = Projected(tmp_path, ["policy"])
    assert empty.see("AuditPolicy", project="other")["summary"]["totals"]["decisions"] == 0
    assert empty.see("ShowPolicyStatus", project="other")["requires_ack"] is True
