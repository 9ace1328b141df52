"""Three versions of one document made one, field by field."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from domain.bounded_json import same_json
from domain.errors import Invalid, Remedy
from domain.story.merging.conflicts import MISSING, Conflict, Court, Decision, Path, Settled, side_of
from domain.story.merging.held import NOTHING, SUMMARY, Held, equal, same_field
from domain.story.merging.scenes import nothing_dangles
from domain.story.merging.timelines import nothing_said_twice
from domain.story.merging.values import merged

Mend = Callable[[Path, dict[str, Any], Held, Held, Held, Court], dict[str, Any]]

MENDS: Final[Mapping[str, Mend]] = {"scene": nothing_dangles, "timeline": nothing_said_twice}
"""Category -> what must hold between the fields of a merged document besides what holds for each."""


@dataclass(frozen=True, slots=True)
class Merged:
    """A merged document. ``writes`` are the fields that ours does not have so (``None`` removes; ``summary`` of
    ``None`` deletes, any other brings it back). ``verbatim``: nothing was made anew, it is as theirs is."""

    category: str
    id: str
    base: Held
    ours: Held
    theirs: Held
    fields: Mapping[str, Any]
    alive: bool
    writes: Mapping[str, Any]
    verbatim: bool = False

    @property
    def address(self) -> str:
        return f"{self.category}/{self.id}"

    @property
    def after(self) -> Held:
        return Held(self.fields, self.alive)


def newer_side(category: str, id_: str, ours: Held, theirs: Held) -> Callable[[Path], Any]:
    """Which side changed a field last, by the position at which it got its value."""

    def newer(path: Path) -> str:
        names = ["/".join(path[2:4]), path[2]] if len(path) > 2 else [SUMMARY]
        mine = next((ours.since[name] for name in names if name in ours.since), 0)
        yours = next((theirs.since[name] for name in names if name in theirs.since), 0)
        if len(path) == 2:
            mine = max(ours.since.values(), default=0)
            yours = max(theirs.since.values(), default=0)
        return "theirs" if yours > mine else "ours"

    return newer


def merge(category: str, id_: str, base: Held, ours: Held, theirs: Held, court: Court) -> Merged:
    """The document that both sides' changes add up to. Conflicts go to the court, decisions come from there."""
    court.newer = newer_side(category, id_, ours, theirs)
    path = (category, id_)
    fields, alive, verbatim = _whole(path, base, ours, theirs, court)
    if alive and category in MENDS and not court.contested and not verbatim:
        fields = MENDS[category](path, fields, base, ours, theirs, court)
    writes = writes_of(ours, fields, alive=alive, known=theirs if verbatim else NOTHING)
    return Merged(category, id_, base, ours, theirs, fields, alive, writes, verbatim)


def writes_of(
    ours: Held, fields: Mapping[str, Any], *, alive: bool, known: Held = NOTHING
) -> dict[str, Any]:
    """What ours does not have so. ``known`` is a side of which the fields were taken as they are."""
    writes: dict[str, Any] = {
        name: fields.get(name) for name in (*fields, *(one for one in ours.fields if one not in fields))
        if fields.get(name) is not ours.fields.get(name) and not (
            name in known.fields and name in ours.fields and same_field(name, known, ours)
        ) and not same_json(fields.get(name), ours.fields.get(name))
    }
    if alive != ours.alive:
        writes[SUMMARY] = {} if alive else None
    return writes


def _whole(path: Path, base: Held, ours: Held, theirs: Held, court: Court) -> tuple[dict[str, Any], bool, bool]:
    """The fields, whether the document is there, and whether it is theirs as it stands."""
    decision = court.named(path)
    if decision is not None:
        return *_decided(path, decision, base, ours, theirs, court), False
    apart = ours.alive != theirs.alive
    if equal(ours, theirs) or not (ours.alive or theirs.alive):
        return dict(ours.fields), ours.alive, False
    if apart or not court.decisions:
        # With decisions about single fields, what only one side changed is gone through as well: it may be one.
        if equal(theirs, base):
            return dict(ours.fields), ours.alive, False
        if equal(ours, base):
            return dict(theirs.fields), theirs.alive, True
    if apart:
        told = court.settle("edited_and_deleted", path, _said(base), _said(ours), _said(theirs), {
            "edited_by": "ours" if ours.alive else "theirs",
        })
        chosen = next((one for one in (ours, theirs, base) if one.alive and told is one.fields), None)
        return dict((chosen or ours).fields or theirs.fields), chosen is not None, False
    was = base.fields
    found = {
        name: merged((*path, *_parts(name)), was.get(name, MISSING), ours.fields.get(name, MISSING),
                     theirs.fields.get(name, MISSING), court)
        for name in (*ours.fields, *(one for one in theirs.fields if one not in ours.fields))
    }
    return {name: value for name, value in found.items() if value is not MISSING and value is not None}, True, False


def _decided(
    path: Path, decision: Decision, base: Held, ours: Held, theirs: Held, court: Court
) -> tuple[dict[str, Any], bool]:
    """The document as a whole, as somebody decided: a side of it, all of its fields by hand, or none."""
    conflict = Conflict("edited_and_deleted", path, _said(base), _said(ours), _said(theirs), court.newer(path))
    if not equal(ours, theirs):
        court.settled.append(Settled(conflict, decision, False))
    side = side_of(conflict, decision)
    if side is not None:
        chosen = {"ours": ours, "theirs": theirs, "base": base}[side]
        return dict(chosen.fields or ours.fields or theirs.fields), chosen.alive
    if decision.value is None:
        return dict(ours.fields or theirs.fields), False
    if not isinstance(decision.value, Mapping):
        raise Invalid(
            f"A document by hand is an object of its fields, not {str(decision.value)[:60]!r}.",
            error="invalid_resolution",
            remediation=[Remedy("Give its fields by their paths, as a conflict shows them.", "fix_resolutions")],
            detail={"address": "/".join(path)},
        )
    return dict(decision.value), True


def _parts(name: str) -> tuple[str, ...]:
    """A field's name as part of a path: a collection and the key of an item in it."""
    collection, slash, key = name.partition("/")
    return (collection, key) if slash else (collection,)


def _said(one: Held) -> Any:
    return one.fields if one.alive else MISSING
