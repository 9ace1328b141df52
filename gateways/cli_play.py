"""`comfyvn play`: play a story in the terminal, as a playthrough that is recorded like any other."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated, Any, Final

import typer
from rich.markup import escape

from commands.declaration import Command
from commands.story.playthrough_asks import (
    STEPS_LIMIT,
    AdvancePlaythrough,
    GoBack,
    LoadSlot,
    MakeChoice,
    StartPlaythrough,
)
from commands.story.save import SavePlaythrough
from domain.errors import ComfyVNError, NotFound, Remedy
from domain.ids import MAIN, UNBRANCHED, checked
from domain.ports import Stream
from domain.story.dice import Dice, thrown
from domain.story.play import At, Choice, Station, Story, moment, run, ways
from domain.story.playthrough import CATEGORY, Playing
from domain.story.program import cast
from domain.story.retracing import at_of
from gateways.cli_console import Actor, AsJson, Data, ExitCode, Project, complain, emit, out, settings_of
from gateways.cli_console import run as run_work
from services.bootstrap import open_everything
from services.studio import Asker, Studio

HELP: Final = "a number chooses · b back · s NAME saves · l NAME loads · v variables · q quits"

app = typer.Typer(
    invoke_without_command=True, help="Play a story in the terminal, or have every path of it played.",
)


@app.callback()
def play(
    context: typer.Context,
    project: Project = "default",
    timeline: Annotated[str | None, typer.Option(help="Timeline to play.", show_default=False)] = None,
    scene: Annotated[str | None, typer.Option(help="Play this scene alone.", show_default=False)] = None,
    worldline: Annotated[str, typer.Option("--worldline", "-w", help="Worldline to play.")] = MAIN,
    as_of: Annotated[int, typer.Option("--as-of", min=0, help="As the story was at this position; 0 is now.")] = 0,
    seed: Annotated[int | None, typer.Option(help="Seed of the dice; else the timeline's.", show_default=False)] = None,
    pov: Annotated[str | None, typer.Option(help="Point of view.", show_default=False)] = None,
    slot: Annotated[
        str | None, typer.Option(help="Begin where this save slot stands.", show_default=False)
    ] = None,
    resume: Annotated[
        str | None, typer.Option(metavar="PLAYTHROUGH", help="Go on with a playthrough.", show_default=False)
    ] = None,
    auto: Annotated[bool, typer.Option("--auto", help="Menus are answered by dice of their own, of the same seed.")]
    = False,
    limit: Annotated[int, typer.Option(min=1, help="Most steps in all; a story may have no end.")] = 10_000,
    actor: Actor = "console",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Play a story in the terminal, or have every path of it played.

    comfyvn play --project demo --seed 7
    """
    if context.invoked_subcommand is not None:
        return

    async def work() -> ExitCode | None:
        checked("project", project)
        async with open_everything(settings_of(data), create=False) as opened:
            player = Player(opened.studio, project, Asker(actor), as_json=as_json, auto=auto, limit=limit)
            if resume is not None:
                await player.take_up(checked("playthrough", resume))
            else:
                fields = {
                    "worldline": worldline if slot is None or worldline != MAIN else None, "as_of": as_of or None,
                    "timeline": timeline, "scene": scene, "seed": seed, "pov": pov, "slot": slot,
                }
                await player.begin({name: value for name, value in fields.items() if value is not None})
            await player.play()
            await opened.audited_everything()
        return None

    run_work(work, as_json=as_json)


class Player:
    """A person, or dice, in front of one playthrough."""

    def __init__(
        self, studio: Studio, project: str, asker: Asker, *, as_json: bool, auto: bool, limit: int
    ) -> None:
        self.studio, self.project, self.asker = studio, project, asker
        self.as_json, self.auto, self.limit = as_json, auto, limit
        self.id = ""
        self._story: Story | None = None
        self._own: Dice | None = None
        self._scene = ""

    async def begin(self, fields: dict[str, Any]) -> None:
        """Starts a playthrough."""
        receipt = await self._ask(StartPlaythrough.model_validate(fields))
        await self.take_up(receipt.id)

    async def take_up(self, playthrough_id: str) -> None:
        """Goes on with a playthrough. Raises ``NotFound``."""
        self.id = playthrough_id
        pin = (await self._state()).pin
        self._story = await self.studio.stories.pinned(
            self.project, pin.worldline, pin.position, pin.timeline, pin.scene
        )

    async def play(self) -> None:
        """Until the end, or until nobody answers any more."""
        state = await self._state()
        self._show(self._at(state), None)
        first = state.standing.step
        while (room := self.limit - (state.standing.step - first)) > 0:
            at = self._at(state)
            if at.finished:
                return self._closed(state, "the end")
            if state.standing.next == "ask":
                choice = self._drawn(at, state) if self.auto else await self._asked(at)
                if choice is None:
                    return self._closed(await self._state(), "stopped")
                if isinstance(choice, Choice):
                    await self._ask(MakeChoice(playthrough_id=self.id, choice=choice.id))
                    self._show(self._at(await self._state()), choice)
            else:
                await self._go_on(at, min(room, STEPS_LIMIT))
            state = await self._state()
        self._closed(state, f"{self.limit} steps")
        return None

    async def _go_on(self, at: At, steps: int) -> None:
        before = (await self._state()).standing.step
        await self._ask(AdvancePlaythrough(playthrough_id=self.id, to="question", steps=steps))
        gone = (await self._state()).standing.step - before
        met: list[Station] = []
        after = run(self.story, at, gone, met)
        for (_, choice), there in zip(met, [*(here for here, _ in met[1:]), after], strict=True):
            self._show(there, choice)

    @property
    def story(self) -> Story:
        assert self._story is not None, "a play is begun first"
        return self._story

    async def _state(self) -> Playing:
        stream = Stream(self.project, UNBRANCHED, CATEGORY, self.id)
        state = (await self.studio.dispatcher.aggregates.load(stream)).state
        if not isinstance(state, Playing):
            raise NotFound(
                f"There is no playthrough {self.id} in project {self.project}.", error="unknown_playthrough",
                remediation=[Remedy("Start one: leave --resume away.", "start_playthrough")],
            )
        return state

    def _at(self, state: Playing) -> At:
        return at_of(state.standing, state.variables)

    async def _ask(self, command: Command) -> Any:
        return await self.studio.ask(command, self.asker, project=self.project)

    # --- answering ------------------------------------------------------------------------------------------------

    def _drawn(self, at: At, state: Playing) -> Choice:
        # Dice of their own: those of the story must not feel that nobody sits there.
        choice, self._own = cast(self._own or thrown(state.seed), ways(self.story, at))
        return choice

    async def _asked(self, at: At) -> Choice | bool | None:
        """A choice, or whether something else was done; nothing when nobody answers."""
        choices = ways(self.story, at)
        if not self.as_json:
            for number, one in enumerate(choices, start=1):
                out().print(f"  [bold cyan]{number}[/] {escape(one.label or one.id)}")
            if sys.stdin.isatty():
                out().print(f"[dim]{HELP}[/]")
        while True:
            line = await asyncio.to_thread(sys.stdin.readline)
            if not line:
                return None
            word, _, rest = line.strip().partition(" ")
            if not word:
                continue
            if word in ("q", "quit"):
                return None
            if word.isdecimal() and 1 <= int(word[:9]) <= len(choices):
                return choices[int(word[:9]) - 1]
            found = next((one for one in choices if one.id == line.strip()), None)
            if found is not None:
                return found
            if await self._told(at, word, rest.strip()):
                return True

    async def _told(self, at: At, word: str, rest: str) -> bool:
        """Does what a line says that is no choice; whether the play stands elsewhere now, or must be shown again."""
        try:
            match word:
                case "b" | "back":
                    await self._ask(GoBack(playthrough_id=self.id, steps=int(rest) if rest.isdecimal() else None))
                case "l" | "load":
                    await self._ask(LoadSlot(playthrough_id=self.id, slot=rest or "quick"))
                case "s" | "save":
                    await self._ask(SavePlaythrough(playthrough_id=self.id, slot=rest or "quick"))
                    self._say({"saved": rest or "quick"}, f"[dim]Saved as {escape(rest or 'quick')}.[/]")
                    return False
                case "v" | "variables":
                    self._say({"variables": at.variables}, escape("\n".join(
                        f"  {name} = {value!r}" for name, value in sorted(at.variables.items())) or "  none"))
                    return False
                case _:
                    self._say({"unknown": word}, f"[yellow]{escape(word)}?[/] [dim]{HELP}[/]")
                    return False
        except (ComfyVNError, ValueError) as error:
            said = error if isinstance(error, ComfyVNError) else ComfyVNError(f"{rest!r} cannot be a name here.")
            complain(said, as_json=self.as_json)
            return False
        self._show(self._at(await self._state()), None)
        return True

    # --- showing --------------------------------------------------------------------------------------------------

    def _show(self, at: At, choice: Choice | None) -> None:
        told = moment(self.story, at)
        if self.as_json:
            emit({"playthrough": self.id, "by": choice.id if choice else None, **told, "dice": at.dice.state()})
            return
        if at.scene != self._scene:
            self._scene = at.scene
            title = self.story.scenes[at.scene].document.get("title") or at.scene
            out().print(f"\n[bold]— {escape(title)} —[/]")
        speaker = f"[bold magenta]{escape(told['speaker'])}[/]: " if told["speaker"] else ""
        if told["text"] or speaker:
            out().print(f"{speaker}{escape(told['text'])}")

    def _say(self, told: dict[str, Any], text: str) -> None:
        if self.as_json:
            emit(told)
        else:
            out().print(text)

    def _closed(self, state: Playing, why: str) -> None:
        standing = state.standing
        told = {
            "playthrough": self.id, "stopped": why, "step": standing.step, "scene": standing.scene,
            "node": standing.node, "seed": state.seed, "finished": standing.next == "finished",
        }
        again = f"comfyvn replay {self.id}" + ("" if self.project == "default" else f" --project {self.project}")
        self._say(told, f"\n[dim]{escape(why.capitalize())} after {standing.step} steps, seed {state.seed}. "
                        f"Play it again: {again}[/]")
