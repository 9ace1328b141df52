"""What differs between two versions of a document, field by field: added, removed, changed, moved, reordered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from domain.story.merging.conflicts import MISSING, same
from domain.story.merging.held import Held
from domain.story.merging.identities import keyed
from domain.story.merging.values import PLACED

How = Literal["added", "removed", "changed", "moved", "reordered"]


class Difference(NamedTuple):
    """One difference: where in the document, how, and the values on both sides (``MISSING`` where there is none)."""

    path: tuple[str, ...]
    how: How
    before: Any
    after: Any

    def shown(self) -> dict[str, Any]:
        told: dict[str, Any] = {"path": list(self.path), "how": self.how}
        if self.before is not MISSING:
            told["before"] = self.before
        if self.after is not MISSING:
            told["after"] = self.after
        return told


def differences(before: Held, after: Held) -> list[Difference]:
    """Everything that differs between the fields of two versions, by path."""
    found: list[Difference] = []
    for name in sorted({*before.fields, *after.fields}):
        collection, slash, key = name.partition("/")
        path = (collection, key) if slash else (collection,)
        found += _differing(path, before.fields.get(name, MISSING), after.fields.get(name, MISSING))
    return found


def _differing(path: tuple[str, ...], before: Any, after: Any) -> Iterator[Difference]:
    if same(before, after):
        return
    if before is MISSING or after is MISSING:
        yield Difference(path, "added" if before is MISSING else "removed", _bare(before), _bare(after))
    elif isinstance(before, Mapping) and isinstance(after, Mapping):
        inner = next((name for name in PLACED if before.keys() == after.keys() == {name, "place"}), None)
        if inner is not None:
            yield from _differing(path, before[inner], after[inner])
            if not same(before["place"], after["place"]):
                yield Difference(path, "moved", before["place"], after["place"])
            return
        for key in sorted({*before, *after}):
            yield from _differing((*path, key), before.get(key, MISSING), after.get(key, MISSING))
    elif isinstance(before, list) and isinstance(after, list):
        yield from _lists(path, before, after)
    else:
        yield Difference(path, "changed", before, after)


def _lists(path: tuple[str, ...], before: list[Any], after: list[Any]) -> Iterator[Difference]:
    was, now = keyed(path[-1], before), keyed(path[-1], after)
    if was is None or now is None:
        yield Difference(path, "changed", before, after)
        return
    for key in (*was, *(key for key in now if key not in was)):
        yield from _differing((*path, key), was.get(key, MISSING), now.get(key, MISSING))
    shared = [key for key in was if key in now]
    if shared != [key for key in now if key in was]:
        yield Difference(path, "reordered", [*was], [*now])


def _bare(value: Any) -> Any:
    """What an item says, without its place."""
    if isinstance(value, Mapping):
        for name in PLACED:
            if value.keys() == {name, "place"}:
                return value[name]
    return value
