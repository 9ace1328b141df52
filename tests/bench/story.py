"""A log to rebuild from: events of real types in a plausible mix, made quickly and the same every time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from commands.envelope import Asked
from domain.ports import Log, Recorded, Stream
from domain.values import Event
from services.registry import REGISTRY

PROJECT = "bench"
NODES = 20


class Writer:
    """Runs real decisions in memory and hands out what they record."""

    def __init__(self) -> None:
        self.position = 0
        self._states: dict[Stream, tuple[Any, int]] = {}

    def ask(self, name: str, worldline: str = "main", **fields: Any) -> list[Recorded]:
        """The events of one accepted command, numbered on from the last."""
        asking = REGISTRY.askings.get(name) or REGISTRY.inner[name]
        context = REGISTRY.homes[name]
        command = asking.command.model_validate(fields)
        id_ = getattr(command, asking.id_field)
        stream = Stream(PROJECT, worldline if context.branches else "-", context.category, id_)
        state, version = self._states.get(stream, (context.initial, 0))
        asked = Asked(f"c{self.position:x}", f"author{self.position % 7}", _time(self.position), PROJECT, worldline,
                      self.position)
        recorded = []
        events: list[Event] = list(asking.decide(command, state, asked))
        for event in events:
            state = context.evolve(state, event)
            version += 1
            self.position += 1
            id_ = f"e{self.position:x}"
            recorded.append(Recorded(
                self.position, stream, type(event).__name__, event.SCHEMA, REGISTRY.encode(event), id_, version,
                asked.time, asked.actor, asked.command_id, "r", asked.command_id, "",
            ))
        self._states[stream] = (state, version)
        return recorded


def scene(id_: str, nodes: int = NODES) -> dict[str, Any]:
    """A chain of nodes with a choice each, and an end."""
    chain = [{"id": f"n{number}", "speaker": "Mara", "text": f"Line {number} of {id_}, as it was first written.",
              "choices": [{"target": f"n{number + 1}"}]} for number in range(nodes - 1)]
    return {"id": id_, "title": f"Scene {id_}", "start": "n0",
            "nodes": [*chain, {"id": f"n{nodes - 1}", "text": "The end.", "end": True}]}


def history(events: int, *, scenes: int = 200) -> Iterator[list[Recorded]]:
    """Batches of a log of at least that many events: scenes are made, then mostly edited; credits are spent."""
    writer = Writer()
    batch: list[Recorded] = []
    batch += writer.ask("GrantCredits", account="studio", amount=2**50)
    for number in range(scenes):
        batch += writer.ask("CreateScene", **scene(f"s{number}"))
    turn = 0
    while writer.position < events:
        turn += 1
        match turn % 10:
            case 0:
                batch += writer.ask("DeductCredits", account="studio",
                                    attempt_id=f"t{turn}", amount=3, purpose="render")
            case _:
                batch += writer.ask("EditNode", scene_id=f"s{turn * 7 % scenes}", node_id=f"n{turn % NODES}",
                                    text=f"Line as rewritten in turn {turn}; it rains, and the lamps come on.")
        if len(batch) >= 1000:
            yield batch
            batch = []
    if batch:
        yield batch


async def fill(log: Log, events: int) -> int:
    """Loads a history into an empty log; the number of events."""
    total = 0
    for batch in history(events):
        await log.load(batch)
        total += len(batch)
    return total


def _time(number: int) -> str:
    minutes, seconds = divmod(number // 50, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"2026-01-{days % 28 + 1:02}T{hours:02}:{minutes:02}:{seconds:02}.000000Z"
