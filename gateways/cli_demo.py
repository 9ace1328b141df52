"""`comfyvn demo`: the whole loop on a real project, with nothing hidden."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from time import monotonic
from typing import Annotated, Any, Final

import typer
import uvloop
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table

from domain.errors import Refused
from gateways import serving
from gateways.cli_console import AsJson, Data, ExitCode, emit, err, out, progress, run
from gateways.cli_log import line_of, newest
from gateways.cli_projections import digests, verified
from gateways.cli_serve import loud_settings
from services.bootstrap import Opened, reach_runner
from services.demo import DemoAccount, load_demo
from services.rebuild import Rebuilt, Verified, rebuild
from services.studio import Studio

CREDIT: Final = 1_000_000
PREVIEW_SECONDS: Final = 60.0
"""Longest wait for the previews of the sample's pictures and sounds; the tour goes on without them."""


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Take the tour, end everything, exit 0 if all is equal.")
    ] = False,
    data: Data = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port, else 8001 or a free one.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Start the studio, load a sample project, show the log, rebuild every projection, and leave it running.

    comfyvn demo

    comfyvn demo --once && echo "every digest was equal"

    Without --data it uses ./data/demo, with --once a folder that is gone afterwards. Running it again records nothing
    twice. Exit code 1 when a rebuilt table differs from the live one.
    """
    tour = _Tour(once, as_json)

    async def serving_on(folder: Path, chosen: int | None) -> None:
        settings = loud_settings(folder, port=chosen, log_level="warning" if once or not as_json else None)
        await serving.serve(settings, worker=True, told=tour.take)

    async def work() -> ExitCode:
        with _folder(data, once) as folder:
            try:
                await serving_on(folder, 0 if once and port is None else port)
            except Refused as error:
                if error.code != "address_in_use" or port is not None:
                    raise
                await serving_on(folder, 0)
        return ExitCode.OK if tour.equal else ExitCode.NO

    run(work, as_json=as_json, loop=uvloop.new_event_loop)


@contextmanager
def _folder(data: Path | None, once: bool) -> Iterator[Path]:
    chosen = data or (Path(os.environ["COMFYVN_DATA"]) if os.environ.get("COMFYVN_DATA") else None)
    if chosen is None and once:
        with tempfile.TemporaryDirectory(prefix="comfyvn-demo-") as scratch:
            yield Path(scratch) / "studio"
    else:
        yield chosen or Path("data") / "demo"


class _Tour:
    """What is done and shown once the door is open; ``equal`` when every digest was."""

    def __init__(self, once: bool, as_json: bool) -> None:
        self.once = once
        self.as_json = as_json
        self.equal = False
        # Nothing for people when scripts read.
        self.console = Console(quiet=True) if as_json else out()

    async def take(self, ready: serving.Ready, opened: Opened) -> bool:
        """Takes the tour; whether to go on serving."""
        studio = opened.studio
        self._title("A studio")
        self.console.print(f"runs at [bold cyan]{ready.url}[/] on {escape(ready.data)}: log {ready.log} "
                           f"(nats-server), read side {ready.read_side}.")
        with progress("Loading the sample project") as report:
            account = await load_demo(studio, report)
        head = await opened.counted_everything()
        await _previewed(opened)
        await self._made(studio, account, head)
        await self._difference(studio, account)
        await self._credits(studio, account)
        self._policy(account)
        await self._log(studio)
        built, compared = await self._digests(studio)
        self.equal = all(one.equal for one in compared) and all(one.failure is None for one in built)
        if self.as_json:
            emit(_told(ready, account, await studio.log.head(), built, compared, self.equal))
        elif not self.once:
            self._farewell(ready, account)
        return not self.once

    def _title(self, text: str) -> None:
        self.console.print()
        self.console.print(Rule(f"[bold]{text}[/]", align="left", style="dim"))

    async def _made(self, studio: Studio, account: DemoAccount, head: int) -> None:
        self._title("What was made")
        assets = await _seen(studio, "ListAssets", account, limit=100)
        table = _table("scene", "title", "nodes", "endings")
        for id_, scene in account.scenes.items():
            endings = scene["endings"]
            table.add_row(id_, scene["title"], str(scene["nodes"]),
                          str(endings if isinstance(endings, int) else len(endings)))
        self.console.print(table)
        self.console.print(
            f"{len(account.characters)} characters ({', '.join(account.characters.values())}), "
            f"{len(assets['items'])} pictures and sounds, worldlines {' and '.join(account.worldlines)}; "
            f"{len(account.steps)} steps, {account.recorded:,} events recorded now, the log ends at position {head:,}."
        )

    async def _difference(self, studio: Studio, account: DemoAccount) -> None:
        main, branch = account.worldlines[0], account.worldlines[-1]
        self._title(f"One scene on two worldlines: {main} and {branch}")
        scene = account.differences[branch]["scene"]
        here = await _seen(studio, "ShowScene", account, scene_id=scene, worldline=main)
        there = await _seen(studio, "ShowScene", account, scene_id=scene, worldline=branch)
        table = _table("", f"on {main}", f"on {branch}")
        if here["title"] != there["title"]:
            table.add_row("[dim]title[/]", escape(here["title"]), escape(there["title"]))
        texts = [{node["id"]: node.get("text") or "" for node in one["nodes"]} for one in (here, there)]
        differing = [name for name in {**texts[0], **texts[1]} if texts[0].get(name) != texts[1].get(name)]
        for name in differing:
            table.add_row(f"[dim]{escape(name)}[/]", *(escape(one.get(name, "—")) for one in texts))
        self.console.print(table)
        same = len(texts[1]) - len(differing)
        self.console.print(f"[dim]The other {same} nodes are read from {main}; forking was one event and copied "
                           "nothing.[/]")

    async def _credits(self, studio: Studio, account: DemoAccount) -> None:
        self._title(f"Credits of {account.credits['account']}")
        standing = await _seen(studio, "ShowAccount", account, account=account.credits["account"])
        entries = await _seen(studio, "ListEntries", account, account=account.credits["account"], limit=20)
        table = _table("position", "what", "credits", "balance", "held")
        for one in reversed(entries["items"]):
            amounts = (one["amount"], one["balance"], one["reserved"])
            table.add_row(str(one["position"]), one["kind"], *(f"{amount / CREDIT:,.2f}" for amount in amounts))
        self.console.print(table)
        explained = "explained by its entries" if standing["explained"] else "[bold red]not explained[/]"
        self.console.print(f"Balance {standing['balance'] / CREDIT:,.2f}, {explained}. "
                           f"[yellow]Refused:[/] {escape(account.credits['refused']['message'])}")

    def _policy(self, account: DemoAccount) -> None:
        self._title("Policy")
        for one in account.policy["refused"]:
            self.console.print(Panel(escape(one["message"]), title=f"{one['action']} is refused: {one['error']}",
                                     title_align="left", border_style="yellow"))
        self.console.print(f"[green]Allowed[/] once {account.policy['acknowledged_by']} had acknowledged the notice: "
                           f"{', '.join(account.policy['allowed'])}.")

    async def _log(self, studio: Studio) -> None:
        self._title("The log's newest events")
        for recorded in await newest(studio.log, await studio.log.head(), "vn.>", None, 10):
            self.console.print(line_of(recorded), overflow="ellipsis", no_wrap=True)

    async def _digests(self, studio: Studio) -> tuple[list[Rebuilt], list[Verified]]:
        self._title("Every read model, thrown away and built again from the log")
        # Compared before the swap: what was counted event by event, beside what one read of the whole log makes.
        compared = await verified(studio)
        self.console.print(digests(compared))
        began = monotonic()
        with progress("Rebuilding") as report:
            built = await rebuild(studio.log, studio.models, studio.registry, (), report)
        took = monotonic() - began
        compared += await verified(studio)
        count = sum(one.equal for one in compared)
        color = "green" if count == len(compared) else "bold red"
        self.console.print(f"{len(built)} projections rebuilt in {took:.1f} s and swapped in; before and after, "
                           f"[{color}]{count} of {len(compared)} digests are equal[/].")
        return built, compared

    def _farewell(self, ready: serving.Ready, account: DemoAccount) -> None:
        self._title("It goes on running")
        scene = next(iter(account.scenes))
        self.console.print(f"""\
[bold cyan]{ready.url}/[/]  every door, [dim]/openapi.json and /asyncapi.json describe them[/]

  curl '{ready.url}/api/scenes?project={account.project}'
  curl '{ready.url}/api/scenes/{scene}?project={account.project}&worldline={account.worldlines[-1]}'
  curl -N '{ready.url}/events/sse?project={account.project}'
  comfyvn log tail -f --data {escape(ready.data)}
  comfyvn doctor --data {escape(ready.data)}

[dim]Ctrl-C ends it; `comfyvn demo` or `comfyvn serve` on the same folder starts it again.[/]""", soft_wrap=True)


async def _previewed(opened: Opened) -> None:
    """Waits until the processes have nothing left to do, so that what is shown stands still."""
    async with AsyncExitStack() as stack:
        runner = await reach_runner(opened.studio, opened.reached, stack)
        deadline = monotonic() + PREVIEW_SECONDS
        with progress("Making previews") as report:
            first = 0
            while monotonic() < deadline:
                left = sum(one.waiting + one.in_flight for one in await runner.survey())
                first = max(first, left)
                report(first - left, first)
                if not left:
                    return
                await asyncio.sleep(0.1)
    err().print("[yellow]The previews take longer; they are made while the studio runs.[/]")


async def _seen(studio: Studio, view: str, loaded: DemoAccount, /, **asked: Any) -> Any:
    declared = studio.registry.views[view]
    query = declared.query.model_validate({"project": loaded.project, "min_position": loaded.position, **asked})
    return await studio.look(declared, query)


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in columns:
        numeric = column in ("nodes", "endings", "position", "credits", "balance", "held")
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    return table


def _told(
    ready: serving.Ready, account: DemoAccount, head: int, built: list[Rebuilt], compared: list[Verified], equal: bool
) -> dict[str, Any]:
    return {
        "url": ready.url, "data": ready.data, "project": account.project, "recorded": account.recorded, "head": head,
        "scenes": account.scenes, "characters": account.characters, "assets": len(account.assets),
        "worldlines": account.worldlines, "differences": account.differences, "credits": account.credits,
        "policy": account.policy, "rebuilt": [one.projection for one in built],
        "tables": [{**one._asdict(), "equal": one.equal} for one in compared], "equal": equal,
    }
