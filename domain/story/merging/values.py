"""Three values of one field made one: objects key by key, lists by the identity of their items, moves as moves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from domain.story.merging.conflicts import MISSING, Conflict, Court, Path, Settled, picked, same
from domain.story.merging.identities import keyed, ordered

PLACED: Final = ("node", "item")
"""What an item of an ordered collection holds beside its ``place``."""

NEVER_EMPTY: Final = frozenset({"conditions"})
"""Lists that are left away rather than empty."""


def merged(path: Path, base: Any, ours: Any, theirs: Any, court: Court, *, thing: bool = False) -> Any:
    """The value that both sides' changes of ``base`` add up to. ``thing``: it has an identity of its own."""
    if same(ours, theirs):
        return ours
    decision = court.named(path)
    if decision is not None and not (decision.take == "value" and _both_placed(ours, theirs)):
        conflict = Conflict("both_changed", path, base, ours, theirs, court.newer(path))
        court.settled.append(Settled(conflict, decision, False))
        return _housed(picked(conflict, decision), ours, theirs, base)
    if not court.decisions or not isinstance(ours, Mapping | list) or not isinstance(theirs, Mapping | list):
        # With decisions about single fields, what only one side changed is gone through as well: it may be one.
        if same(theirs, base):
            return ours
        if same(ours, base):
            return theirs
    if ours is MISSING or theirs is MISSING:
        return _housed(court.settle("edited_and_deleted", path, base, ours, theirs), ours, theirs, base)
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        inner = _inner(ours, theirs)
        if inner is not None:
            return _placed(path, inner, base, ours, theirs, court)
        if thing and base is MISSING:
            return court.settle("same_id", path, base, ours, theirs)
        return _objects(path, base if isinstance(base, Mapping) else {}, ours, theirs, court)
    if isinstance(ours, list) and isinstance(theirs, list):
        return _lists(path, base if isinstance(base, list) else [], ours, theirs, court)
    return court.settle("both_changed", path, base, ours, theirs)


def _objects(
    path: Path, base: Mapping[str, Any], ours: Mapping[str, Any], theirs: Mapping[str, Any], court: Court
) -> dict[str, Any]:
    found = {
        key: merged((*path, key), base.get(key, MISSING), ours.get(key, MISSING), theirs.get(key, MISSING), court)
        for key in (*ours, *(key for key in theirs if key not in ours))
    }
    return {key: value for key, value in found.items() if value is not MISSING}


# --- what has a place of its own ----------------------------------------------------------------------------------


def _inner(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str | None:
    return next((name for name in PLACED if _is_placed(ours, name) and _is_placed(theirs, name)), None)


def _is_placed(value: Any, name: str) -> bool:
    return isinstance(value, Mapping) and value.keys() == {name, "place"} and isinstance(value["place"], list)


def _both_placed(ours: Any, theirs: Any) -> bool:
    return isinstance(ours, Mapping) and isinstance(theirs, Mapping) and _inner(ours, theirs) is not None


def _housed(value: Any, *sides: Any) -> Any:
    """What somebody gave by hand for an item, at the place that the item has on a side."""
    if not isinstance(value, Mapping):
        return value
    for side in sides:
        for name in PLACED:
            if _is_placed(side, name):
                return value if _is_placed(value, name) else {name: dict(value), "place": side["place"]}
    return value


def _placed(
    path: Path, inner: str, base: Any, ours: Mapping[str, Any], theirs: Mapping[str, Any], court: Court
) -> Any:
    """What it says and where it stands, each by itself: a move is no change of what is moved."""
    before = base if isinstance(base, Mapping) and inner in base else None
    content = merged(
        path, before[inner] if before else MISSING, ours[inner], theirs[inner], court, thing=True,
    )
    if content is MISSING or _is_placed(content, inner):
        return content
    was, mine, yours = before["place"] if before else MISSING, ours["place"], theirs["place"]
    if same(mine, yours) or same(yours, was):
        place = mine
    elif same(mine, was):
        place = yours
    elif was is MISSING:
        place = min(mine, yours)  # both added it: where it stands further ahead, whoever merges whom
    else:
        place = court.settle("order", (*path, "place"), was, mine, yours)
        if place is MISSING:
            place = None if court.contested else mine  # a contested base stands nowhere: both sides have moved it
    return {inner: content, "place": place}


# --- lists --------------------------------------------------------------------------------------------------------


def _lists(path: Path, base: list[Any], ours: list[Any], theirs: list[Any], court: Court) -> Any:
    was, mine, yours = (keyed(path[-1], one) for one in (base, ours, theirs))
    if was is None or mine is None or yours is None:
        if same(theirs, base):
            return ours
        return theirs if same(ours, base) else court.settle("both_changed", path, base, ours, theirs)
    found = {}
    for key in (*mine, *(key for key in yours if key not in mine)):
        value = merged(
            (*path, key), was.get(key, MISSING), mine.get(key, MISSING), yours.get(key, MISSING), court, thing=True,
        )
        if value is not MISSING:
            found[key] = value
    order = ordered([*was], [*mine], [*yours], found)
    keys = order.keys
    if order.clash:
        place = (*path, "order")
        told = court.settle("order", place, [*was], [*mine], [*yours])
        keys = keys if told is MISSING else _as_told(told, keys)
    if not keys and path[-1] in NEVER_EMPTY:
        return MISSING
    return [found[key] for key in keys]


def _as_told(told: Any, keys: list[str]) -> list[str]:
    """Keys in the order that somebody wants; what that does not name stays behind what it stood behind."""
    found = [key for key in dict.fromkeys(told) if key in keys] if isinstance(told, list) else []
    for index, key in enumerate(keys):
        if key not in found:
            before = next((one for one in reversed(keys[:index]) if one in found), None)
            found.insert(found.index(before) + 1 if before is not None else 0, key)
    return found
