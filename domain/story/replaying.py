"""Playing a recorded playthrough once more, event by event, and comparing every step with what was recorded.

Path, variables and dice must come out as they were told. The first step that does not is where the replay ends: what
follows from something else proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from domain.bounded_json import same_json
from domain.errors import ComfyVNError
from domain.story.play import At, Station, Story, chosen, content_digest, named_way, run, settled
from domain.story.playthrough import (
    ChoiceMade,
    EndReached,
    PlayPovSwitched,
    PlayRolledBack,
    PlaythroughEvent,
    PlaythroughStarted,
    PlayVariablesChanged,
    SlotLoaded,
    StoryAdvanced,
)
from domain.story.playthrough_values import Standing, Step, applied, differences
from domain.story.retracing import moment_of, origin_of, retraced, standing_of, step_of, way_of


class Mark(NamedTuple):
    """One thing that happened, played again. ``differs`` is empty where it came out as it was recorded, else
    ``[{"what", "recorded", "replayed"}]``."""

    number: int
    event: str
    how: str
    choice: str | None
    standing: Standing
    moment: Mapping[str, Any]
    differs: tuple[Mapping[str, Any], ...] = ()

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        standing = self.standing
        return {
            "number": self.number, "event": self.event, "how": self.how, "choice": self.choice, "step": standing.step,
            "pov": standing.pov, "dice": standing.dice.model_dump(mode="json"), "moment": dict(self.moment),
            "agrees": not self.differs, "differs": [dict(one) for one in self.differs],
        }


class Replay:
    """A playthrough that is played again. ``at`` is where it stands; ``stations`` are the moments of its path that were
    left, without those that were undone."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.at: At | None = None
        self.stations: list[Station] = []
        self._first = 0
        self._number = 0

    @property
    def path(self) -> list[Station]:
        """Every moment of the path, the one where it stands last."""
        return [*self.stations, *([(self.at, None)] if self.at else [])]

    def marks(self, events: Iterable[PlaythroughEvent]) -> Iterator[Mark]:
        """What happened, played again, up to the first difference."""
        for event in events:
            for mark in self.played(event):
                yield mark
                if mark.differs:
                    return

    def played(self, event: PlaythroughEvent) -> Iterator[Mark]:
        """One more thing that happened, played again. After a mark that differs, what follows proves nothing."""
        try:
            if isinstance(event, PlaythroughStarted | SlotLoaded):
                yield self._begun(event)
            elif isinstance(event, StoryAdvanced):
                yield from self._advanced(event)
            elif isinstance(event, EndReached):
                yield self._ended(event)
            else:
                yield self._other(event)
        except ComfyVNError as error:
            # What was possible then is refused now: the story is another one.
            told = {"what": "possible", "recorded": type(event).__name__, "replayed": error.message}
            yield self._mark(event, "refused", None, self._stands(event), (told,))

    def _begun(self, event: PlaythroughStarted | SlotLoaded) -> Mark:
        differs: list[Mapping[str, Any]] = []
        if isinstance(event, PlaythroughStarted) and event.pin.content != (found := content_digest(self.story)):
            differs.append({"what": "content", "recorded": event.pin.content, "replayed": found})
        self.stations = []
        start = origin_of(self.story, event.origin, seed=event.seed, pov=event.pov, given=event.given)
        self.at = retraced(self.story, start, event.course, self.stations)
        self._first = event.standing.step - len(self.stations)
        how = "began" if isinstance(event, PlaythroughStarted) else "loaded"
        return self._compared(event, how, None, event.standing, {"variables": (event.variables, self.at.variables)},
                              differs)

    def _other(self, event: PlaythroughEvent) -> Mark:
        at = self._at()
        match event:
            case ChoiceMade():
                choice = event.step.choice or ""
                self.stations.append((at, named_way(self.story, at, choice)))
                self.at = chosen(self.story, at, choice)
                step = step_of("chosen", choice, at, self.at)
                return self._compared(event, "chosen", choice, event.standing, _changes(event.step, step))
            case PlayVariablesChanged():
                after = applied(at.variables, event.changed, event.removed)
                self.at = settled(self.story, at._replace(variables=after))
                return self._compared(event, "variables", None, event.standing, {})
            case PlayPovSwitched():
                self.at = settled(self.story, at._replace(pov=event.pov))
                return self._compared(event, "pov", None, event.standing, {})
            case PlayRolledBack():
                kept = event.standing.step - self._first
                if kept < len(self.stations):
                    self.at = self.stations[kept][0]
                    del self.stations[kept:]
                changed, removed = differences(at.variables, self._at().variables)
                return self._compared(event, "back", None, event.standing, {
                    "changed": (event.changed, changed), "removed": (sorted(event.removed), sorted(removed)),
                })
        raise AssertionError(f"{type(event).__name__} is replayed elsewhere")

    def _advanced(self, event: StoryAdvanced) -> Iterator[Mark]:
        first = event.standing.step - len(event.steps)
        for index, told in enumerate(event.steps, start=1):
            at = self._at()
            met: list[Station] = []
            self.at = run(self.story, at, 1, met)
            choice = met[0][1] if met else None
            self.stations += met
            step = step_of(way_of(self.story, at, choice), choice.id if choice else None, at, self.at)
            recorded = event.standing if index == len(event.steps) else None
            compared = {"moved": (True, bool(met)), **_changes(told, step)}
            yield self._compared(event, told.how, told.choice, recorded, compared, step=first + index)

    def _ended(self, event: EndReached) -> Mark:
        at = self._at()
        standing = standing_of(self.story, at, self._first + len(self.stations))
        found = {"finished": at.finished, "scene": at.scene, "node": at.node, "step": standing.step}
        told = {"finished": True, "scene": event.scene, "node": event.node, "step": event.step}
        return self._compared(event, "end", None, None, {"end": (told, found)}, step=event.step)

    def _at(self) -> At:
        assert self.at is not None, "a play begins before it goes on"
        return self.at

    def _stands(self, event: Any) -> Standing:
        if self.at is None:
            standing: Standing = event.standing
            return standing
        return standing_of(self.story, self.at, self._first + len(self.stations))

    def _compared(
        self, event: PlaythroughEvent, how: str, choice: str | None, recorded: Standing | None,
        pairs: Mapping[str, tuple[Any, Any]], before: Iterable[Mapping[str, Any]] = (), step: int | None = None,
    ) -> Mark:
        found = standing_of(self.story, self._at(), self._first + len(self.stations) if step is None else step)
        differs = list(before)
        if recorded is not None and recorded != found:
            pairs = {**pairs, "standing": (recorded.model_dump(mode="json"), found.model_dump(mode="json"))}
        for what, (told, replayed) in pairs.items():
            if not same_json(_plain(told), _plain(replayed)):
                differs.append({"what": what, "recorded": told, "replayed": replayed})
        return self._mark(event, how, choice, found, tuple(differs))

    def _mark(
        self, event: PlaythroughEvent, how: str, choice: str | None, standing: Standing,
        differs: tuple[Mapping[str, Any], ...],
    ) -> Mark:
        scene = self.story.scenes.get(standing.scene)
        node = scene.nodes.get(standing.node) if scene else None
        number, self._number = self._number, self._number + 1
        return Mark(
            number, type(event).__name__, how, choice, standing, moment_of(node.document if node else {}, standing),
            differs,
        )


def _changes(told: Step, replayed: Step) -> dict[str, tuple[Any, Any]]:
    one, other = told.model_dump(mode="json"), replayed.model_dump(mode="json")
    return {name: (one[name], other[name]) for name in one}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
