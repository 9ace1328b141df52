"""Asking to keep a moment of a worldline, and to let one go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from commands.declaration import Asking, Command
from commands.envelope import Asked
from commands.story.worldline import in_use
from domain.bounded_json import BoundedObject
from domain.errors import NotFound, Remedy
from domain.ids import MAIN, UNBRANCHED, Token
from domain.ports import Stream
from domain.story import worldline
from domain.story.scene_model import NARRATOR, NodeId
from domain.story.snapshot import (
    Moment,
    SnapshotDropped,
    SnapshotEvent,
    SnapshotTaken,
    State,
    Taken,
    Untaken,
    cache_key,
    snapshot_id,
    vars_digest,
    workflow_hash,
)
from domain.texts import tidy_line
from domain.values import Json

Part = Annotated[str, Field(max_length=200), AfterValidator(tidy_line)]
Hash = Annotated[str, Field(max_length=200, pattern=r"^[A-Za-z0-9:_-]*$")]


class TakeSnapshot(Command):
    """Keep a moment: where it is, seen by whom, with which variables, seed, theme and weather.

    The same moment again keeps no second one; it takes the first one's place where its picture or words differ.
    """

    scene: Token
    node: NodeId
    worldline: Token = MAIN
    pov: Part = NARRATOR
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    theme: Part = ""
    weather: Part = ""
    variables: BoundedObject | None = None
    workflow_hash: Hash = ""
    thumbnail: Token | None = Field(default=None, description="Id of the asset that shows the moment.")
    thumbnail_hash: Hash = ""
    metadata: BoundedObject = {}

    @property
    def moment(self) -> Moment:
        """What the snapshot depends on."""
        return Moment(
            scene=self.scene, node=self.node, worldline=self.worldline, pov=self.pov,
            seed="" if self.seed is None else str(self.seed), theme=self.theme, weather=self.weather,
            vars_digest=vars_digest(self.variables),
        )

    @property
    def snapshot_id(self) -> str:
        """The id that follows from the moment."""
        return snapshot_id(cache_key(self.moment))


class DropSnapshot(Command):
    """Let a snapshot go; the log keeps it."""

    snapshot_id: Token


def take(command: TakeSnapshot, state: State, asked: Asked, others: Sequence[worldline.State] = ()) -> (
    list[SnapshotEvent]
):
    """Nothing when that moment is kept already, with that picture and those words."""
    lane = "official"
    for one in others:
        lane = in_use(command.worldline, one).lane
    key = cache_key(command.moment)
    event = SnapshotTaken(
        snapshot_id=command.snapshot_id, cache_key=key, moment=command.moment, lane=lane, at=asked.head,
        workflow_hash=command.workflow_hash or workflow_hash(key), thumbnail=command.thumbnail,
        thumbnail_hash=command.thumbnail_hash or None, metadata=command.metadata,
    )
    if isinstance(state, Taken) and event.model_copy(update={"at": state.taken.at}) == state.taken:
        return []
    return [event]


def drop(command: DropSnapshot, state: State, asked: Asked) -> list[SnapshotEvent]:
    """Raises ``NotFound`` where there is none."""
    if isinstance(state, Untaken):
        raise NotFound(
            f"There is no snapshot {command.snapshot_id}.",
            error="unknown_snapshot",
            remediation=[Remedy("List the snapshots of the worldline.", "list_snapshots")],
        )
    return [SnapshotDropped(snapshot_id=command.snapshot_id)]


def lines(command: TakeSnapshot, asked: Asked) -> list[Stream]:
    """The worldline's own stream; ``main`` has none."""
    if command.worldline == MAIN:
        return []
    return [Stream(asked.project, UNBRANCHED, worldline.CATEGORY, command.worldline)]


def _kept(events: Sequence[Any]) -> Mapping[str, Json]:
    taken = [one for one in events if isinstance(one, SnapshotTaken)]
    return {"cache_key": taken[-1].cache_key} if taken else {}


COMMANDS = (
    Asking(TakeSnapshot, take, id_field="snapshot_id", scope="snapshot:write", route="POST /api/snapshots",
           creates=True, needs_head=True, others=lines, told=_kept),
    Asking(DropSnapshot, drop, id_field="snapshot_id", scope="snapshot:write",
           route="DELETE /api/snapshots/{snapshot_id}"),
)
