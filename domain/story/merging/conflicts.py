"""What two sides cannot both have: conflicts as data, and the decisions that settle them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from domain.bounded_json import same_json
from domain.ids import derived_id

Kind = Literal["both_changed", "edited_and_deleted", "target_gone", "same_id", "order", "name_twice"]
"""Both changed one field; edited here and deleted there; a target is gone; two things of one id were added; order
against order; a name is used twice."""

Side = Literal["ours", "theirs", "base"]
Rule = Literal["ours", "theirs", "newest"]
Take = Literal["ours", "theirs", "newest", "base", "value"]

Path = tuple[str, ...]
"""Where something stands: category, document, field, and names and identities below it."""

MESSAGES: Final[Mapping[Kind, str]] = {
    "both_changed": "Both sides changed {place}.",
    "edited_and_deleted": "One side changed {place}, the other removed it.",
    "target_gone": "{place} was removed by one side, and the other leads to it.",
    "same_id": "Both sides added {place}, each its own.",
    "order": "Both sides put {place} into another order.",
    "name_twice": "{place} and something of the other side have the same name.",
}


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False


MISSING: Final = _Missing()
"""Stands where there is nothing; ``None`` is the JSON value null."""


def same(one: Any, other: Any) -> bool:
    """Whether two values, or the absence of both, are the same."""
    if one is MISSING or other is MISSING:
        return one is other
    return one is other or same_json(one, other)


def address(path: Iterable[str]) -> str:
    """A path as one text, ``scene/intro/nodes/gate/text``; ``~`` and ``/`` inside a name are ``~0`` and ``~1``."""
    return "/".join(part.replace("~", "~0").replace("/", "~1") for part in path)


def conflict_id(path: Iterable[str]) -> str:
    """The id of a conflict: the same for the same place, whoever merges and whenever."""
    return "c" + derived_id("conflict", *path, length=15)


@dataclass(frozen=True, slots=True)
class Conflict:
    """Something that two sides cannot both have. ``base``, ``ours`` and ``theirs`` are ``MISSING`` where there was
    nothing; ``newer`` is the side that changed it last; ``more`` is what else is known (who leads to it, who else is
    called so)."""

    kind: Kind
    path: Path
    base: Any
    ours: Any
    theirs: Any
    newer: Literal["ours", "theirs"]
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return conflict_id(self.path)

    def shown(self) -> dict[str, Any]:
        """As data: absent sides are left out of ``present`` and stand as null."""
        sides = {"base": self.base, "ours": self.ours, "theirs": self.theirs}
        place = "/".join(self.path[2:]) or f"{self.path[0]} {self.path[1]}"
        return {
            "id": self.id, "kind": self.kind, "category": self.path[0], "document": self.path[1],
            "path": list(self.path[2:]), "address": address(self.path),
            "message": MESSAGES[self.kind].format(place=place),
            "present": [name for name, value in sides.items() if value is not MISSING],
            **{name: None if value is MISSING else value for name, value in sides.items()},
            "newest": self.newer, **self.more,
        }


class Decision(NamedTuple):
    """What settles a conflict: a side, the newer one, or a ``value`` by hand (``None`` removes)."""

    take: Take
    value: Any = None


class Settled(NamedTuple):
    """A conflict and the decision that settled it; ``by_rule``: nobody decided it by itself."""

    conflict: Conflict
    decision: Decision
    by_rule: bool


@dataclass(slots=True)
class Court:
    """Where conflicts come to. ``decisions`` are by conflict id or by address; ``rule`` settles all others.

    ``newer(path)`` says which side changed a field last. A ``contested`` court settles every conflict with nothing:
    so a base is made of two that disagree.
    """

    decisions: Mapping[str, Decision] = field(default_factory=dict)
    rule: Rule | None = None
    newer: Callable[[Path], Literal["ours", "theirs"]] = lambda path: "ours"
    contested: bool = False
    open: list[Conflict] = field(default_factory=list)
    settled: list[Settled] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    def named(self, path: Path) -> Decision | None:
        """The decision that somebody made about exactly this place."""
        if not self.decisions:
            return None
        for name in (conflict_id(path), address(path)):
            if name in self.decisions:
                self.used.add(name)
                return self.decisions[name]
        return None

    def settle(
        self, kind: Kind, path: Path, base: Any, ours: Any, theirs: Any, more: Mapping[str, Any] | None = None
    ) -> Any:
        """The value that a conflict is settled with; ours for now where nothing settles it."""
        if self.contested:
            return MISSING
        conflict = Conflict(kind, path, base, ours, theirs, self.newer(path), more or {})
        decision, by_rule = self.named(path), False
        if decision is None and self.rule is not None:
            decision, by_rule = Decision(self.rule), True
        if decision is None:
            self.open.append(conflict)
            return ours
        self.settled.append(Settled(conflict, decision, by_rule))
        return picked(conflict, decision)

    def side(self, conflict: Conflict, decision: Decision) -> Side | None:
        """The side that a decision means; none for a value by hand."""
        return side_of(conflict, decision)

    def unused(self) -> Collection[str]:
        """Decisions about what is no conflict and no field that differs."""
        return sorted(set(self.decisions) - self.used)


def side_of(conflict: Conflict, decision: Decision) -> Side | None:
    """The side that a decision means; none for a value by hand."""
    if decision.take == "value":
        return None
    return conflict.newer if decision.take == "newest" else decision.take


def picked(conflict: Conflict, decision: Decision) -> Any:
    """The value that a decision means."""
    side = side_of(conflict, decision)
    if side is None:
        return MISSING if decision.value is None and conflict.kind in REMOVABLE else decision.value
    return getattr(conflict, side)


REMOVABLE: Final = frozenset({"edited_and_deleted", "same_id", "target_gone"})
"""Kinds of conflicts in which null by hand means that the thing goes away."""
