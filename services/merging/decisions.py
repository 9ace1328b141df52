"""Decisions about conflicts as people and scripts give them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from domain.errors import Invalid, Remedy
from domain.story.merging.conflicts import Decision, Take

DECISIONS_LIMIT: Final = 1_000
"""Most decisions about single conflicts that one merge takes."""

TAKES: Final[Mapping[str, Take]] = {
    "ours": "ours", "theirs": "theirs", "base": "base", "newest": "newest", "target": "ours", "source": "theirs",
}


def decisions_of(given: Any) -> dict[str, Decision]:
    """Decisions from JSON: ``{conflict id or address: "ours" | {"take": …} | {"value": …}}``, or a list of objects that
    name it in ``conflict``. Raises ``Invalid``."""
    if isinstance(given, Mapping):
        pairs = list(given.items())
    elif isinstance(given, list):
        pairs = [(_named(one, index), one) for index, one in enumerate(given)]
    else:
        raise _unfit("resolutions", "an object by conflict id, or a list, is needed")
    if len(pairs) > DECISIONS_LIMIT:
        raise _unfit("resolutions", f"at most {DECISIONS_LIMIT}; settle the others by a rule")
    found = {name: _decision(name, one) for name, one in pairs}
    if len(found) < len(pairs):
        raise _unfit("resolutions", "one conflict is decided twice")
    return found


def _named(one: Any, index: int) -> str:
    name = next((one[key] for key in ("conflict", "id", "address") if key in one), None) if isinstance(
        one, Mapping) else None
    if not isinstance(name, str):
        raise _unfit(f"resolutions/{index}", "its `conflict` is the id or the address of a conflict")
    return name


def _decision(name: str, told: Any) -> Decision:
    take = told
    if isinstance(told, Mapping):
        if "value" in told and "take" not in told:
            return Decision("value", told["value"])
        take = told.get("take")
        if take == "value" and "value" in told:
            return Decision("value", told["value"])
    if not isinstance(take, str) or take not in TAKES:
        raise _unfit(f"resolutions/{name[:100]}", "ours, theirs, base, newest, or an object with a `value`")
    return Decision(TAKES[take])


def _unfit(path: str, message: str) -> Invalid:
    return Invalid(
        f"The resolutions do not fit. {path}: {message}.", error="invalid_fields",
        remediation=[Remedy("Mend what `detail.fields` names; docs/merging.md has the shape.", "fix_fields")],
        detail={"fields": [{"path": path, "message": message}]},
    )
