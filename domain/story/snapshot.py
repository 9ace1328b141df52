"""Snapshots: a moment of a story on a worldline that somebody has kept, known by a key of everything it depends on."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final, Literal, assert_never

from pydantic import ConfigDict, JsonValue

from domain.canonical import EXACT, canonical
from domain.context import Context
from domain.ids import derived_id
from domain.values import Event, Json, Value

CATEGORY = "snapshot"

TOOL: Final = "comfyvn.snapshot"
SCHEMA: Final = "1"

SHOWN: Final = 250
"""Newest snapshots of a worldline that are shown; older ones stay in the log."""


class Moment(Value):
    """What a snapshot shows: where, seen by whom, with which dice and look. Blank parts make no difference."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    scene: str
    node: str
    worldline: str
    pov: str
    seed: str
    theme: str
    weather: str
    vars_digest: str


class SnapshotTaken(Event):
    """A moment was kept. ``lane`` is that of its worldline then; ``at`` the position of the content it shows."""

    snapshot_id: str
    cache_key: str
    moment: Moment
    lane: str
    at: int
    workflow_hash: str
    thumbnail: str | None
    thumbnail_hash: str | None
    metadata: dict[str, JsonValue]


class SnapshotDropped(Event):
    """A snapshot is shown no more."""

    snapshot_id: str


SnapshotEvent = SnapshotTaken | SnapshotDropped


class Untaken(Value):
    """No such snapshot, or none any more."""

    kind: Literal["untaken"] = "untaken"


class Taken(Value):
    """A snapshot as it was taken last."""

    kind: Literal["taken"] = "taken"
    taken: SnapshotTaken


State = Untaken | Taken


def evolve(state: State, event: SnapshotEvent) -> State:
    """What an event makes of a snapshot."""
    match event:
        case SnapshotTaken():
            return Taken(taken=event)
        case SnapshotDropped():
            return Untaken()
        case _:
            assert_never(event)


def cache_key(moment: Moment) -> str:
    """``scene:node:worldline:pov:seed:theme:weather:variables``; a blank part is ``_``, a colon in one is ``%3A``."""
    parts = (
        moment.scene, moment.node, moment.worldline, moment.pov, moment.seed, moment.theme, moment.weather,
        moment.vars_digest,
    )
    return ":".join(part.strip().replace("%", "%25").replace(":", "%3A") or "_" for part in parts)


def vars_digest(variables: dict[str, Any] | None) -> str:
    """SHA-256 of the variables as canonical JSON, in hex; nothing for none. Whole numbers that not every reader of JSON
    can hold count as text."""
    return "" if variables is None else sha256(canonical(_exact(variables))).hexdigest()


def _exact(value: Any) -> Json:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > EXACT:
        return str(value)
    if isinstance(value, dict):
        return {name: _exact(one) for name, one in value.items()}
    return [_exact(one) for one in value] if isinstance(value, list) else value


def snapshot_id(key: str) -> str:
    """The id of the snapshot of a cache key: one key, one snapshot."""
    return derived_id(CATEGORY, key)


def workflow_hash(key: str) -> str:
    """The workflow's hash where nobody names one."""
    return sha256(key.encode()).hexdigest()


CONTEXT = Context(
    category=CATEGORY,
    branches=False,
    events=(SnapshotTaken, SnapshotDropped),
    state=State,
    initial=Untaken(),
    evolve=evolve,
)
