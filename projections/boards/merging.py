"""What two worldlines have in common, what either has changed since, and what merging one into the other would make.

Only what was touched since the common version is read: two worldlines of thousands of scenes that differ in twenty are
compared by reading twenty.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from domain.errors import NotFound, Remedy
from domain.story.merging.conflicts import Conflict, Court, Decision, Rule, Settled
from domain.story.merging.documents import Merged, merge
from domain.story.merging.held import NOTHING, SUMMARY, Held, equal
from domain.story.merging.history import Counts, History, Line, Past, Version, bases, known, whole
from domain.story.merging.names import NAMED_BY, names_apart
from domain.tables import Reader, Where
from projections.boards.documents import FIELDS, Reach
from projections.boards.referring import Sides, referring
from projections.boards.story import present

READS: Final = ("documents", "worldlines", "timeline")
"""The projections that comparing and merging read."""

PAGE: Final = 20_000

NAMED: Final = 400
"""Documents asked for by name in one question; databases bound what one may hold."""

ROW: Final = ("id", "field", "value", "version", "valid_from")

DEPTH: Final = 6
"""How many crosswise merges on top of each other are undone to find a base; deeper ones use the newest version."""

COMPARED: Final = 5_000
"""Most documents of the target that are looked at to see whether it has diverged at all."""

Address = tuple[str, str]
"""Category and id of a document."""

Documents = Mapping[Address, Held]


# --- worldlines ---------------------------------------------------------------------------------------------------


def history_of(reader: Reader, project: str) -> History:
    """The worldlines of a project as a graph, read as far as somebody asks."""

    def line(name: str) -> Line:
        row = reader.row("worldlines", project=project, worldline_id=name)
        if row is None:
            raise NotFound(
                f"Project {project} has no worldline {name}.", error="unknown_worldline",
                remediation=[Remedy("List the worldlines of the project.", "list_worldlines")],
                detail={"project": project, "worldline": name},
            )
        return Line(row["parent"], row["forked_at"])

    def merges(name: str) -> list[Past]:
        found: list[Past] = []
        after: list[Any] = []
        while True:
            rows = reader.rows(
                "worldline_merges", Where("project", "=", project), Where("worldline_id", "=", name),
                order=("position",), limit=PAGE, after=after,
            )
            found += [
                Past(row["position"], Version(row["source"], row["source_position"]), frozenset(row["only"]))
                for row in rows
            ]
            if len(rows) < PAGE:
                return found
            after = [rows[-1]["position"]]

    return History(line, merges)


def reaches(history: History, version: Version) -> list[Reach]:
    """Along which worldlines, and up to where, the documents of a version are read."""
    return [Reach(*one) for one in history.chain(version)]


def touched(
    reader: Reader, project: str, history: History, version: Version, common: Sequence[Version],
    categories: Collection[str], counts: Counts = whole,
) -> set[Address]:
    """Documents of a version that may differ from all that is common: those that something happened to since."""
    included = [known(history, one, counts) for one in common]
    found: set[Address] = set()
    for reach in history.chain(version):
        after = min((one.get(reach.worldline, 0) for one in included), default=0)
        while after < reach.position:
            rows = reader.rows(
                "timeline", Where("project", "=", project), Where("worldline", "=", reach.worldline),
                Where("position", ">", after), Where("position", "<=", reach.position), order=("position",), limit=PAGE,
            )
            found |= {(row["category"], row["id"]) for row in rows if row["category"] in categories}
            if len(rows) < PAGE:
                break
            after = rows[-1]["position"]
    return found


def documents_at(
    reader: Reader, project: str, history: History, version: Version, wanted: Iterable[Address],
    fields: Sequence[str] | None = None,
) -> dict[Address, Held]:
    """The named documents as they were; those that never were are left out. ``fields`` narrows what is read."""
    chain = reaches(history, version)
    by_category: dict[str, list[str]] = {}
    for category, id_ in wanted:
        by_category.setdefault(category, []).append(id_)
    found: dict[Address, dict[str, Any]] = {}
    since: dict[Address, dict[str, int]] = {}
    newest: dict[Address, int] = {}
    for category, ids in by_category.items():
        for id_, path, value, number, position in _rows(reader, chain, project, category, ids, fields):
            address = (category, id_)
            found.setdefault(address, {})[path] = value
            since.setdefault(address, {})[path] = position
            newest[address] = max(newest.get(address, 0), number)
    return {
        address: Held(
            {path: value for path, value in values.items() if value is not None and path != SUMMARY},
            values.get(SUMMARY) is not None, since[address], newest[address],
        )
        for address, values in found.items()
    }


def _rows(
    reader: Reader, chain: Sequence[Reach], project: str, category: str, ids: Sequence[str],
    fields: Sequence[str] | None,
) -> Iterator[tuple[Any, ...]]:
    """The rows that held, farthest worldline first, so that what comes later overrides."""
    named = [Where("field", "in", list(fields))] if fields is not None else []
    names = sorted(ids)
    for reach in reversed(chain):
        for start in range(0, len(names), NAMED):
            where = [
                Where("project", "=", project), Where("worldline", "=", reach.worldline),
                Where("category", "=", category), Where("id", "in", names[start : start + NAMED]), *named,
                Where("valid_from", "<=", reach.upto), Where("valid_to", ">", reach.upto),
            ]
            after: list[Any] = []
            while True:
                found = [*zip(
                    *reader.columns(FIELDS.name, ROW, *where, order=("id", "field"), limit=PAGE, after=after),
                    strict=True,
                )]
                yield from found
                if len(found) < PAGE:
                    break
                after = list(found[-1][:2])


# --- what is common -----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Common:
    """What two versions have in common, also where some documents were merged by themselves."""

    reader: Reader
    project: str
    history: History
    one: Version
    other: Version
    versions: list[Version]
    _by_partial: dict[frozenset[Past], list[Version]] = field(default_factory=dict)

    def of(self, address: Address) -> list[Version]:
        """The common versions of a document."""
        about = frozenset(
            past for merges in self._partial() for past in merges if past.only and past.about(*address)
        )
        if not about:
            return self.versions
        if about not in self._by_partial:
            self._by_partial[about] = bases(
                self.history, self.one, self.other, lambda past: not past.only or past in about,
            )
        return self._by_partial[about]

    def _partial(self) -> list[Sequence[Past]]:
        return [one for one in self.history._merges.values() if any(past.only for past in one)]

    def documents(self, wanted: Collection[Address]) -> dict[Address, Held]:
        """The named documents as they were in common."""
        grouped: dict[tuple[Version, ...], list[Address]] = {}
        for address in wanted:
            grouped.setdefault(tuple(self.of(address)), []).append(address)
        found: dict[Address, Held] = {}
        for versions, addresses in grouped.items():
            found |= _shared(self.reader, self.project, self.history, versions, addresses, DEPTH)
        return found


def common_of(reader: Reader, project: str, history: History, one: Version, other: Version) -> Common:
    """What two versions have in common."""
    return Common(reader, project, history, one, other, bases(history, one, other))


def _shared(
    reader: Reader, project: str, history: History, versions: Sequence[Version], wanted: Collection[Address],
    depth: int,
) -> dict[Address, Held]:
    """Documents as they were in common. Of several common versions one is made; where they disagree it has nothing."""
    if not versions:
        return {}
    found = documents_at(reader, project, history, versions[0], wanted)
    for number, version in enumerate(versions[1:], start=1):
        if depth == 0:
            break
        theirs = documents_at(reader, project, history, version, wanted)
        earlier = bases(history, versions[number - 1], version)
        base = _shared(reader, project, history, earlier, wanted, depth - 1)
        for address in {*found, *theirs}:
            made = merge(
                *address, base.get(address, NOTHING), found.get(address, NOTHING), theirs.get(address, NOTHING),
                Court(contested=True),
            )
            found[address] = Held(made.fields, made.alive)
    return found


# --- comparing ----------------------------------------------------------------------------------------------------


class Compared(NamedTuple):
    """Two versions and the documents that differ: address -> (in the one, in the other)."""

    one: Version
    other: Version
    common: list[Version]
    differing: dict[Address, tuple[Held, Held]]


def compare(
    reader: Reader, project: str, one: Version, other: Version, categories: Collection[str],
    only: Callable[[Address], bool] = lambda address: True,
) -> Compared:
    """What differs between two versions, of one worldline or of two."""
    history = history_of(reader, project)
    shared = common_of(reader, project, history, one, other)
    wanted: set[Address] = set()
    for version in (one, other):
        wanted |= touched(reader, project, history, version, shared.versions, categories)
    wanted = {address for address in wanted if only(address)}
    before = documents_at(reader, project, history, one, wanted)
    after = documents_at(reader, project, history, other, wanted)
    differing = {
        address: (before.get(address, NOTHING), after.get(address, NOTHING)) for address in sorted(wanted)
        if not _alike(before.get(address, NOTHING), after.get(address, NOTHING))
    }
    return Compared(one, other, shared.versions, differing)


def _alike(one: Held, other: Held) -> bool:
    return (not one.alive and not other.alive) or equal(one, other)


# --- merging ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Plan:
    """What merging would make. ``changed`` are the documents of the target that change; ``considered`` counts those
    that the source has changed since the common versions; ``converged``: all of them say the same on both sides."""

    source: Version
    target: Version
    common: list[Version]
    changed: list[Merged]
    open: list[Conflict]
    settled: list[Settled]
    unused: list[str]
    fast_forward: bool
    considered: int
    converged: bool


class Wanted(NamedTuple):
    """How to merge: decisions by conflict id or address, a rule for all other conflicts, and which documents."""

    decisions: Mapping[str, Decision] = {}
    rule: Rule | None = None
    only: frozenset[str] = frozenset()


def plan(
    reader: Reader, project: str, source: Version, target: Version, categories: Collection[str], wanted: Wanted,
) -> Plan:
    """What merging a version into another would make, with every conflict that is left. Changes nothing."""
    history = history_of(reader, project)
    shared = common_of(reader, project, history, source, target)

    def meant(address: Address) -> bool:
        return not wanted.only or address[0] in wanted.only or "/".join(address) in wanted.only

    theirs_touched = {
        one for one in touched(reader, project, history, source, shared.versions, categories) if meant(one)
    }
    ours_touched = {
        one for one in touched(reader, project, history, target, shared.versions, categories) if meant(one)
    }
    theirs = documents_at(reader, project, history, source, theirs_touched)
    base = shared.documents(theirs_touched)
    considered = sorted(
        one for one in theirs_touched if not equal(theirs.get(one, NOTHING), base.get(one, NOTHING))
    )
    ours = documents_at(reader, project, history, target, considered)
    court = Court(wanted.decisions, wanted.rule)
    ahead = _ahead_of(reader, project, history, target, shared, ours_touched)
    merged = [
        merge(*one, base.get(one, NOTHING), ours.get(one, NOTHING), theirs.get(one, NOTHING), court)
        for one in considered
    ]
    if considered and not ahead:
        sides = Sides(
            lambda some, fields=None: documents_at(reader, project, history, target, some, fields),
            lambda some: shared.documents(some),
            lambda category: sorted(present(reader, reaches(history, target), project, category)),
        )
        merged = referring(merged, ours_touched, sides, court)
    meanwhile = ours_touched - {(one.category, one.id) for one in merged}
    merged += _named_meanwhile(reader, project, history, target, shared, meanwhile, merged)
    merged = names_apart(merged, source.worldline, court)
    return Plan(
        source, target, shared.versions, [one for one in merged if one.writes], court.open, court.settled,
        [*court.unused()], ahead,
        len(considered), all(equal(ours.get(one, NOTHING), theirs.get(one, NOTHING)) for one in considered),
    )


def _named_meanwhile(
    reader: Reader, project: str, history: History, target: Version, shared: Common, wanted: set[Address],
    merged: Sequence[Merged],
) -> list[Merged]:
    """Documents that only the target has named anew, as far as names are concerned."""
    categories = {
        one.category for one in merged if one.theirs.alive
        and any(one.theirs.fields.get(name) != one.base.fields.get(name) for name in NAMED_BY)
    }
    wanted = {one for one in wanted if one[0] in categories}
    if not wanted:
        return []
    fields = (SUMMARY, *NAMED_BY)
    now = documents_at(reader, project, history, target, wanted, fields)
    was: dict[Address, Held] = {}
    for version in shared.versions[:1]:
        was = documents_at(reader, project, history, version, wanted, fields)
    return [
        Merged(*address, was.get(address, NOTHING), ours, was.get(address, NOTHING), ours.fields, ours.alive, {})
        for address, ours in sorted(now.items())
    ]


def _ahead_of(
    reader: Reader, project: str, history: History, target: Version, shared: Common, wanted: set[Address]
) -> bool:
    """Whether the target is what was common: nothing diverged."""
    if len(shared.versions) != 1 or len(wanted) > COMPARED:
        return not wanted
    ordered = sorted(wanted)
    for start in range(0, len(ordered), 200):
        some = ordered[start : start + 200]
        ours, base = documents_at(reader, project, history, target, some), shared.documents(some)
        if any(not equal(ours.get(one, NOTHING), base.get(one, NOTHING)) for one in some):
            return False
    return True
