"""A document as it is held somewhere: on one of the sides of a merge, where they parted, or before a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from domain.bounded_json import same_json

SUMMARY: Final = "summary"
"""The field that a document has for as long as it is not deleted; it follows from the others."""


@dataclass(frozen=True, slots=True)
class Held:
    """A document as it is somewhere: its fields without ``summary``, and whether it is there or deleted.

    ``since`` says at which position each field got its value (``summary`` too); ``version`` is the document's.
    """

    fields: Mapping[str, Any]
    alive: bool = True
    since: Mapping[str, int] = field(default_factory=dict)
    version: int = 0


NOTHING: Final = Held({}, alive=False)
"""A document that never was."""


def equal(one: Held, other: Held) -> bool:
    """Whether two documents say the same. Deleted ones still may differ in what they would be restored to."""
    return one.alive == other.alive and one.fields.keys() == other.fields.keys() and all(
        same_field(path, one, other) for path in one.fields
    )


def same_field(path: str, one: Held, other: Held) -> bool:
    """Whether a field says the same. What was written at one position is one value: it need not be compared."""
    since = one.since.get(path)
    if since is not None and since == other.since.get(path):
        return True
    return same_json(one.fields[path], other.fields[path])
