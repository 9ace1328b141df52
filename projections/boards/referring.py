"""The documents that a merge must look at so that no reference is lost unseen, beside those that it changes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, NamedTuple

from domain.context import Context
from domain.references import no_references
from domain.story import character, scene, template, timeline, variables, world
from domain.story.merging.conflicts import Court
from domain.story.merging.documents import Merged
from domain.story.merging.held import NOTHING, SUMMARY, Held
from domain.story.merging.referring import gone, led_somewhere

Address = tuple[str, str]

CONTEXTS: Final[Mapping[str, Context]] = {
    one.CONTEXT.category: one.CONTEXT for one in (character, scene, template, timeline, variables, world)
}
"""What branches, and so what a merge knows the references of. A test holds it against the declarations."""

WITH_ITEMS: Final = frozenset({character.CATEGORY, variables.CATEGORY})
"""Categories of whose documents others name single items."""


class Sides(NamedTuple):
    """How documents are read: the target's (all fields, or some), those in common, and the ids of a category that the
    target has."""

    ours: Callable[..., Mapping[Address, Held]]
    base: Callable[[Collection[Address]], Mapping[Address, Held]]
    ids: Callable[[str], Sequence[str]]


def referring(merged: Sequence[Merged], touched: Collection[Address], sides: Sides, court: Court) -> list[Merged]:
    """The merged documents after every reference was looked at; ``touched`` are those that the target has changed.

    Documents come in that nothing but a lost reference changes. Nothing is read where nothing is gone, except which of
    the touched documents were deleted.
    """
    known = {(one.category, one.id): one for one in merged}
    rest = {one for one in touched if one not in known}
    lost = _deleted(rest, sides) | {one for one in rest if one[0] in WITH_ITEMS}
    known |= _only_ours(lost, sides)
    categories = {path[0] for path in gone(known, CONTEXTS)}
    if not categories:
        return [*merged]
    naming = {one for one in rest - lost if CONTEXTS[one[0]].references is not no_references}
    known |= _only_ours(naming, sides)
    for context in CONTEXTS.values():
        if context.needing & categories:
            ids = {(context.category, id_) for id_ in sides.ids(context.category)} - known.keys()
            known |= {
                address: Merged(*address, one, one, one, one.fields, one.alive, {})
                for address, one in sides.ours(ids).items()
            }
    found = led_somewhere(known, CONTEXTS, court)
    before = {(one.category, one.id) for one in merged}
    return [one for address, one in found.items() if address in before or one.writes]


def _deleted(addresses: Collection[Address], sides: Sides) -> set[Address]:
    now = sides.ours(addresses, (SUMMARY,)) if addresses else {}
    return {one for one in addresses if not now.get(one, NOTHING).alive}


def _only_ours(addresses: Collection[Address], sides: Sides) -> dict[Address, Merged]:
    """Documents that the other side has not touched: theirs are as they were in common."""
    if not addresses:
        return {}
    ours, base = sides.ours(addresses), sides.base(addresses)
    return {
        address: Merged(*address, was, now, was, now.fields, now.alive, {})
        for address in sorted(addresses)
        for was, now in ((base.get(address, NOTHING), ours.get(address, NOTHING)),)
    }
