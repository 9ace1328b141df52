"""Rules of a policy as data, and the pure engine that holds the things of an action against them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Final, Literal, assert_never

from pydantic import Field

from domain.ids import Token
from domain.values import Value

ROOTS: Final = ("import", "export", "publish", "generate")
"""What an action is at root; suffixes say more: ``export.renpy``, ``publish.web``."""

FINDING_LIMIT: Final = 200
"""Findings that a decision keeps, the worst first; its counts are of all."""

Action = Annotated[str, Field(
    pattern=r"^(import|export|publish|generate)(\.[a-z0-9_-]+)*$", max_length=100,
    description="import, export, publish or generate, with dotted suffixes: export.renpy, publish.web.",
)]
FactName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
Text = Annotated[str, Field(max_length=500)]
Words = Annotated[tuple[Text, ...], Field(max_length=100)]
Whole = Annotated[int, Field(strict=True, ge=-(2**53), le=2**53)]
Fact = Annotated[bool, Field(strict=True)] | Whole | Text | Words
"""A plain thing that is known: yes or no, a whole number, a text, or several texts."""

Level = Literal["info", "warn", "block"]
LEVELS: Final[tuple[Level, ...]] = ("block", "warn", "info")
"""From the worst on."""


class Thing(Value):
    """Something that an action touches: an asset, a scene, an engine; ``facts`` is what is known of it."""

    kind: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
    id: Annotated[str, Field(max_length=200)] = ""
    facts: Annotated[dict[FactName, Fact], Field(max_length=50)] = {}

    @property
    def name(self) -> str:
        return f"{self.kind} {self.id}" if self.id else self.kind


class Condition(Value):
    """One condition on one fact. Texts are compared whatever their case.

    ``missing`` holds for what is not known or empty, ``present`` for what is; ``is`` and ``is_not`` compare with any
    of ``values``; ``names_action`` holds when the fact (a text or several) names the action or one of its beginnings.
    ``is_not`` holds for what is not known: silence is never consent.
    """

    fact: FactName
    op: Literal["missing", "present", "is", "is_not", "names_action"]
    values: Annotated[tuple[Fact, ...], Field(max_length=100)] = ()


class RuleRemedy(Value):
    """What to do about a finding: a sentence, and an action id for buttons and scripts."""

    text: Annotated[str, Field(min_length=1, max_length=500)]
    action: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]


class Rule(Value):
    """A rule: for these actions, about things of these kinds (none named: all), when every condition holds.

    The first condition is on the thing's own facts; the others may also be answered by the subject of the action, so
    that ``mode`` or ``commercial`` is said once and not for every asset.
    """

    rule_id: Token
    actions: Annotated[tuple[Action, ...], Field(min_length=1, max_length=50)]
    about: Annotated[tuple[Annotated[str, Field(max_length=64)], ...], Field(max_length=50)] = ()
    when: Annotated[tuple[Condition, ...], Field(min_length=1, max_length=20)]
    level: Level
    message: Annotated[str, Field(min_length=1, max_length=500)]
    remedy: RuleRemedy


class Finding(Value):
    """That a rule holds for a thing: ``target`` names it, ``facts`` are those that the rule looked at."""

    rule: Token
    level: Level
    message: str
    target: str
    remedy: RuleRemedy
    facts: dict[str, Fact]


class Counts(Value):
    """How many findings of each level."""

    info: int = 0
    warn: int = 0
    block: int = 0


def findings(rules: Iterable[Rule], action: str, subject: Thing, parts: Sequence[Thing]) -> list[Finding]:
    """Every finding, the worst first, then in the order of the things and of the rules."""
    concerned = [rule for rule in rules if any(covers(named, action) for named in rule.actions)]
    found = [
        _finding(rule, thing, subject)
        for thing in (subject, *parts)
        for rule in concerned
        if (not rule.about or thing.kind in rule.about) and _holds(rule, action, thing, subject)
    ]
    return sorted(found, key=lambda one: LEVELS.index(one.level))


def counted(found: Iterable[Finding]) -> Counts:
    """How many findings of each level."""
    levels = [one.level for one in found]
    return Counts(info=levels.count("info"), warn=levels.count("warn"), block=levels.count("block"))


def covers(named: str, action: str) -> bool:
    """Whether an action is the named one or one of its kind: ``export`` covers ``export.renpy``."""
    return action == named or action.startswith(named + ".")


def beginnings(action: str) -> list[str]:
    """The actions that cover an action, from its root to itself."""
    parts = action.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts) + 1)]


def facts_of(rules: Iterable[Rule]) -> set[str]:
    """The facts that rules look at."""
    return {condition.fact for rule in rules for condition in rule.when}


def _holds(rule: Rule, action: str, thing: Thing, subject: Thing) -> bool:
    first, *others = rule.when
    return condition_holds(first, action, thing.facts.get(first.fact)) and all(
        condition_holds(condition, action, _known(condition.fact, thing, subject)) for condition in others
    )


def _known(fact: str, thing: Thing, subject: Thing) -> Fact | None:
    return thing.facts.get(fact, subject.facts.get(fact))


def condition_holds(condition: Condition, action: str, known: Fact | None) -> bool:
    """Whether a condition holds for what is known of its fact."""
    match condition.op:
        case "missing":
            return _nothing(known)
        case "present":
            return not _nothing(known)
        case "is":
            return _among(known, condition.values)
        case "is_not":
            return not _among(known, condition.values)
        case "names_action":
            return any(isinstance(one, str) and covers(one.casefold(), action) for one in _each(known))
        case _:
            assert_never(condition.op)


def _nothing(known: Fact | None) -> bool:
    return known is None or known == () or (isinstance(known, str) and not known.strip())


def _each(known: Fact | None) -> tuple[Fact, ...]:
    if known is None:
        return ()
    return known if isinstance(known, tuple) else (known,)


def _among(known: Fact | None, values: Sequence[Fact]) -> bool:
    wanted = {_plain(value) for value in values}
    return any(_plain(one) in wanted for one in _each(known))


def _plain(value: Fact) -> tuple[str, object]:
    # With its type, since Python calls True and 1 the same.
    return type(value).__name__, value.strip().casefold() if isinstance(value, str) else value


def _finding(rule: Rule, thing: Thing, subject: Thing) -> Finding:
    looked = {
        one.fact: known for one in rule.when if (known := _known(one.fact, thing, subject)) is not None
    }
    return Finding(
        rule=rule.rule_id, level=rule.level, message=rule.message, target=thing.name, remedy=rule.remedy, facts=looked,
    )
