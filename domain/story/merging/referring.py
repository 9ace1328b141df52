"""No reference is lost in a merge unseen: what one side removed while the other leads to it is a conflict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from domain.context import Context
from domain.errors import Invalid, Remedy
from domain.references import Reference, Target, released
from domain.story.merging.conflicts import MISSING, Court, Path, same
from domain.story.merging.documents import Merged, newer_side, writes_of
from domain.story.merging.held import Held

LEADING_SHOWN: Final = 50
"""Most references that one conflict names."""

Documents = Mapping[tuple[str, str], Merged]


@dataclass(slots=True)
class _Gone:
    """A document, or an item of one, that a merge would leave gone, and what leads to it from a side that has it."""

    path: Path
    one: Merged
    leading: list[str] = field(default_factory=list)

    def of(self, side: Held) -> Any:
        """What it is on a side."""
        if not side.alive:
            return MISSING
        return side.fields if len(self.path) == 2 else side.fields.get("/".join(self.path[2:]), MISSING)


def gone(documents: Documents, contexts: Mapping[str, Context]) -> dict[Target, _Gone]:
    """What either side still has and the merged documents have not, by everything that it is called."""
    found: dict[Target, _Gone] = {}
    for one in documents.values():
        for path in _gone_of(one):
            told = _Gone(path, one)
            for name in _names(one, contexts):
                found[(one.category, name, *path[2:])] = told
    return found


def _gone_of(one: Merged) -> Iterator[Path]:
    whole = (one.category, one.id)
    if not one.alive:
        if one.ours.alive or one.theirs.alive:
            yield whole
        return
    for side in (one.ours, one.theirs):
        for name in side.fields if side.alive else ():
            collection, slash, key = name.partition("/")
            if slash and name not in one.fields:
                yield (*whole, collection, key)


def _names(one: Merged, contexts: Mapping[str, Context]) -> set[str]:
    """By what a document is known, on any side."""
    names = contexts[one.category].called
    return {name for fields in (one.fields, one.ours.fields, one.theirs.fields) for name in names(one.id, fields)}


def led_somewhere(documents: Documents, contexts: Mapping[str, Context], court: Court) -> dict[tuple[str, str], Merged]:
    """The documents in which every reference leads somewhere that led somewhere before, or a conflict says which.

    A side counts that has both the reference and its target; unless the document is of no use without the target, it
    must also have written the field that refers since the sides parted: who removes what its own documents name has
    said so. Whoever keeps the target keeps what leads to it; whoever lets it go lets go of what makes no sense then.
    """
    found = dict(documents)
    missing = gone(documents, contexts)
    if not missing:
        return found
    leading = _leading(documents, contexts, missing)
    for told in sorted({one.path: one for one in leading}.values(), key=lambda one: one.path):
        kept = _decided(told, court)
        address = (told.path[0], told.path[1])
        if kept is MISSING:
            for holder, one in found.items():
                lost = [each for each in _of(one, one.fields, contexts) if missing_one(each, missing, told)]
                if one.alive and any(each.goes is not None for each in lost):
                    found[holder] = _remade(one, released(one.fields, lost))
        elif kept is not None:
            one = found[address]
            whole = len(told.path) == 2
            fields = dict(kept) if whole else {**one.fields, "/".join(told.path[2:]): kept}
            found[address] = _remade(one, fields)
    return found


def _leading(documents: Documents, contexts: Mapping[str, Context], missing: Mapping[Target, _Gone]) -> list[_Gone]:
    """What is gone and led to."""
    alive = {
        (one.category, name): one for one in documents.values() if one.alive
        for name in contexts[one.category].called(one.id, one.fields)
    }
    found: list[_Gone] = []
    for one in documents.values():
        for each in _of(one, one.fields, contexts) if one.alive else ():
            if any(_there(target, alive) for target in each.to):
                continue
            for told in _targets(each, missing):
                if any(_held_well(one, side, name, each, told, contexts) for name, side in _sides(one)):
                    told.leading.append(f"{one.address}/{each.field}")
                    found.append(told)
    return found


def _sides(one: Merged) -> tuple[tuple[str, Held], ...]:
    return ("ours", one.ours), ("theirs", one.theirs)


def _of(one: Merged, fields: Mapping[str, Any], contexts: Mapping[str, Context]) -> Iterable[Reference]:
    return contexts[one.category].references(fields)


def _there(target: Target, alive: Mapping[tuple[str, str], Merged]) -> bool:
    one = alive.get((target[0], target[1]))
    return one is not None and (len(target) == 2 or "/".join(target[2:]) in one.fields)


def _targets(reference: Reference, missing: Mapping[Target, _Gone]) -> list[_Gone]:
    """What is gone of the targets of a reference; of a document that is gone, the document."""
    found = (missing.get(target[:2]) or missing.get(target) for target in reference.to)
    return [*{one.path: one for one in found if one is not None}.values()]


def missing_one(reference: Reference, missing: Mapping[Target, _Gone], told: _Gone) -> bool:
    """Whether a reference leads to what is gone, and to nothing else."""
    return any(one is told for one in _targets(reference, missing))


def _held_well(
    holder: Merged, side: Held, name: str, reference: Reference, told: _Gone, contexts: Mapping[str, Context]
) -> bool:
    """Whether a side has the reference, where it must have written it, and what it leads to."""
    if not side.alive or told.of(getattr(told.one, name)) is MISSING:
        return False
    field_ = reference.field
    if not reference.needed and holder.base.alive and same(
        side.fields.get(field_, MISSING), holder.base.fields.get(field_, MISSING)
    ):
        return False
    there = {field_: side.fields[field_]} if field_ in side.fields else {}
    return any(each.to == reference.to for each in _of(holder, there, contexts))


def _decided(told: _Gone, court: Court) -> Any:
    """What becomes of it: its value, ``MISSING``, or nothing where somebody has still to decide another conflict."""
    if any(one.path == told.path for one in court.open):
        return None
    if any(one.conflict.path == told.path and court.named(told.path) is None for one in court.settled):
        return MISSING  # a rule has let it go already, as edited here and removed there
    court.settled = [one for one in court.settled if one.conflict.path != told.path]
    base, ours, theirs = (told.of(side) for side in (told.one.base, told.one.ours, told.one.theirs))
    court.newer = newer_side(told.one.category, told.one.id, told.one.ours, told.one.theirs)
    leading = {"led_to_by": sorted(set(told.leading))[:LEADING_SHOWN]}
    kept = court.settle("target_gone", told.path, base, ours, theirs, leading)
    if any(one.path == told.path for one in court.open):
        return None
    if kept is not MISSING and len(told.path) == 2 and not isinstance(kept, Mapping):
        raise Invalid(
            f"A document by hand is an object of its fields, not {str(kept)[:60]!r}.", error="invalid_resolution",
            remediation=[Remedy("Give its fields by their paths, as a conflict shows them.", "fix_resolutions")],
            detail={"address": "/".join(told.path)},
        )
    return kept


def _remade(one: Merged, fields: dict[str, Any]) -> Merged:
    """A document with other fields; it is there."""
    return replace(one, fields=fields, alive=True, writes=writes_of(one.ours, fields, alive=True), verbatim=False)
