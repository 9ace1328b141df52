"""What must hold in a merged timeline: a branch group leads somewhere, and says of a scene one thing about its end."""

from __future__ import annotations

from typing import Any, Final

from domain.story.merging.conflicts import MISSING, Court, Path
from domain.story.merging.held import Held
from domain.story.timeline import final_and_not

ENTRIES: Final = "entries/"


def nothing_said_twice(
    path: Path, fields: dict[str, Any], base: Held, ours: Held, theirs: Held, court: Court
) -> dict[str, Any]:
    """The fields of a merged timeline. Where both sides' alternatives contradict each other only together, or each side
    took away what the other kept, the whole group is in dispute: either side by itself makes sense."""
    found = dict(fields)
    for name, value in fields.items():
        if not name.startswith(ENTRIES):
            continue
        item = value["item"]
        if item.get("alternatives") != [] and not final_and_not(item):
            continue
        was, mine, yours = (one.fields.get(name, MISSING) for one in (base, ours, theirs))
        told = court.settle("both_changed", (*path, *name.split("/", 1)), was, mine, yours)
        if told is MISSING or told is None:
            found.pop(name)
        else:
            found[name] = told
    return found
