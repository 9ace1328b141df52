"""`comfyvn disclosure`: what shops ask about generated content, answered from what the studio has recorded."""

from __future__ import annotations

from typing import Any

from rich.markup import escape
from rich.table import Table

from domain.ids import checked
from gateways.cli_console import AsJson, Data, Project, emit, out, run, settings_of
from projections.studio.disclosure import ShowDisclosure
from services.bootstrap import open_everything


def disclosure(project: Project = "default", data: Data = None, as_json: AsJson = False) -> None:
    """Which assets were generated, how and with what, in the words that itch.io and Steam ask for.

    comfyvn disclosure --project demo
    """

    async def work() -> None:
        checked("project", project)
        async with open_everything(settings_of(data), create=False) as opened:
            await opened.counted_everything(["disclosure"])
            view = opened.studio.registry.views["ShowDisclosure"]
            told = await opened.studio.look(view, ShowDisclosure(project=project, limit=500))
            items, cursor = list(told["items"]), told["next"]
            while cursor:
                more = await opened.studio.look(view, ShowDisclosure(project=project, limit=500, cursor=cursor))
                items, cursor = [*items, *more["items"]], more["next"]
        if as_json:
            emit({**told, "items": items, "next": None})
        else:
            _disclosed(project, told, items)

    run(work, as_json=as_json)


def _disclosed(project: str, told: dict[str, Any], items: list[dict[str, Any]]) -> None:
    table = Table(title=f"Generated in {escape(project)}", title_justify="left", box=None, header_style="dim")
    table.add_column("asset", no_wrap=True)
    for column in ("name", "what", "made by", "engine", "model"):
        table.add_column(column, overflow="fold")
    table.add_column("job", no_wrap=True)
    for one in items:
        table.add_row(*map(escape, (one["uid"], one["name"], one["category"], one["made_by"], one["engine"],
                                    one["model"], one["job_id"])))
    console = out()
    console.print(table)
    boxes = (name for name in ("graphics", "sound", "text") if told["itch"][name])
    console.print(f"[bold]itch.io[/]  {', '.join(boxes) or 'nothing generated'}")
    before = told["steam"]["pre_generated"]["statement"] or "nothing."
    console.print(f"[bold]Steam[/]    pre-generated: {escape(before)}", soft_wrap=True)
    console.print(f"         live-generated: {escape(told['steam']['live_generated']['statement'])}", soft_wrap=True)
    console.print(f"[dim]{escape(told['note'])}[/]", soft_wrap=True)
