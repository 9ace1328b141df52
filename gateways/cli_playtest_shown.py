"""What a playtest has found, drawn on the terminal."""

from __future__ import annotations

import json
from typing import Any, Final

from rich.console import Group
from rich.markup import escape
from rich.table import Table

from gateways.cli_console import out

SHOWN: Final = 25
"""Most findings, and endings, that the terminal shows; the page and the JSON have them all."""

COLORS: Final = {"error": "bold red", "warning": "yellow", "note": "dim"}


def shown(report: dict[str, Any]) -> Group:
    """The report for a terminal: what was met, the endings, the findings."""
    about, timing = report["story"], report["timing"]
    where = " ".join(part for part in (
        f"[bold]{escape(str(about['timeline'] or about['id']))}[/]", f"on {escape(str(about['worldline']))}",
        f"as of {about['position']}",
    ) if part)
    how = "every path played" if report["complete"] else "random plays" if report["mode"] == "random" \
        else "[yellow]bounded: not every path was played[/]"
    parts: list[Any] = [
        f"{where}: {how}. {about['scenes']:,} scenes, {about['nodes']:,} nodes, {about['choices']:,} choices, "
        f"{about['words']:,} words; {timing['per_second'] or 0:,} {timing['of']}/s.", "", _views(report),
    ]
    if report["coverage"]["nodes"]["total"]:
        met = report["coverage"]
        parts.append("[dim]Together: " + ", ".join(
            f"{met[kind]['met']:,} of {met[kind]['total']:,} {name}" for kind, name in
            (("nodes", "nodes"), ("choices", "choices"), ("sides", "sides of conditions"))) + ".[/]")
    parts += [part for view in report["views"] for part in _endings(view)]
    parts += _findings(report["findings"])
    if "comparison" in report:
        parts += _compared(report["comparison"])
    return Group(*parts)


def _views(report: dict[str, Any]) -> Table:
    table = Table(box=None, header_style="dim")
    columns = ("point of view", "nodes", "choices", "conditions", "endings", "minutes",
               "states" if report["mode"] == "exhaustive" else "plays", "")
    for column in columns:
        table.add_column(column, justify="left" if column in ("point of view", "") else "right", overflow="fold")
    for view in report["views"]:
        met, lengths = view["coverage"], view["lengths"]
        minutes = "–"
        if lengths["shortest"]:
            minutes = f"{lengths['shortest']['minutes']:g}–{lengths['longest']['minutes']:g}"
            minutes += " and on" if lengths["loops"] else ""
        bound = f"[yellow]{', '.join(view['bounds_reached'])} reached[/]" if view["bounds_reached"] else ""
        bound += f"[yellow], {view['frontier']:,} states not followed[/]" if view.get("frontier") else ""
        table.add_row(escape(view["pov"]), *(_share(met[kind]) for kind in ("nodes", "choices", "sides")),
                      str(len(view["endings"])), minutes, f"{view.get('states', view.get('plays', 0)):,}", bound)
    return table


def _share(met: dict[str, int]) -> str:
    if not met["total"]:
        return "–"
    share = 100 * met["met"] // met["total"]
    color = "green" if share == 100 else "yellow" if share >= 80 else "red"
    return f"{met['met']:,}/{met['total']:,} [{color}]{share} %[/]"


def _endings(view: dict[str, Any]) -> list[Any]:
    if not view["endings"]:
        return []
    parts = ["", f"[bold]Endings of {escape(view['pov'])}[/]"]
    for one in view["endings"][:SHOWN]:
        path = one["path"] or {}
        color = "green" if one["kind"] == "end" else "bold red" if one["kind"] in ("stuck", "hidden") else "yellow"
        told = [f"{path['minutes']:g} min"] if path else []
        if path and path["steps"] is not None:
            told.insert(0, f"{path['steps']:,} steps")
        if path and path["draws"]:
            told.append("no seed found" if path["seed"] is None else f"seed {path['seed']}")
        place = escape(f"{one['scene']}/{one['node']}")
        parts.append(f"  {place} [{color}]{one['kind']}[/] [dim]{', '.join(told)}[/]")
        if path and path["choices"] is not None:
            taken = " › ".join(choice["choice"] for choice in path["choices"][:60])
            parts.append(f"    [dim]{escape(taken) or '–'}[/]")
    more = len(view["endings"]) - SHOWN
    return [*parts, *([f"  [dim]… and {more:,} more[/]"] if more > 0 else [])]


def _findings(findings: list[dict[str, Any]]) -> list[Any]:
    if not findings:
        return ["", "[green]No findings.[/]"]
    parts: list[Any] = [""]
    for one in findings[:SHOWN]:
        who = f" [dim]({escape(one['pov'])})[/]" if one.get("pov") else ""
        parts.append(f"[{COLORS[one['severity']]}]{one['severity']:<8}[/] {escape(one['message'])}{who}")
        path = one.get("path")
        if path and path.get("picks") is not None and one["severity"] != "note":
            seed = f"seed {path['seed']}, " if path["seed"] is not None and path["draws"] else ""
            parts.append(f"         [dim]{seed}choices: {escape(' › '.join(path['picks'][:40])) or 'none'}[/]")
    if len(findings) > SHOWN:
        parts.append(f"[dim]… and {len(findings) - SHOWN:,} more: --json and --html tell them all[/]")
    return parts


def _compared(compared: dict[str, Any]) -> list[Any]:
    before = compared["before"]
    parts: list[Any] = ["", f"Beside [bold]{escape(str(before['worldline']))}[/] as of {before['position']}:"]
    if compared["same"]:
        return [*parts, "  [green]the same endings by the same ways[/]"]
    for view in compared["views"]:
        for kind, color in (("appeared", "green"), ("vanished", "bold red"), ("moved", "yellow")):
            for one in view["endings"][kind][:SHOWN]:
                parts.append(f"  [{color}]{kind}[/] {escape(one['scene'])}/{escape(one['node'])} "
                             f"[dim]({escape(view['pov'])})[/] {escape(one['why'])}")
    nodes = compared["nodes"]
    parts.append("  [dim]nodes: " + ", ".join(f"{len(nodes[kind])} {kind}" for kind in nodes) + "[/]")
    return parts


def tell_golden(results: list[dict[str, Any]], fresh: list[dict[str, Any]], written: list[str], removed: list[str],
                 update: bool) -> None:
    """Golden plays beside what is played today, and what was recorded."""
    console = out()
    for one in results:
        color = {"same": "green", "changed": "yellow", "broken": "bold red"}[one["status"]]
        console.print(f"[{color}]{one['status']:<8}[/] {escape(one['name'])}")
        if one.get("why"):
            console.print(f"         {escape(one['why'])}")
        if one.get("difference"):
            _tell_difference(console, one["difference"])
    if update:
        console.print(f"{len(written)} recorded, {len(removed)} removed.")
    elif not results:
        console.print("No golden plays are recorded there yet: --update records them.")
    elif fresh:
        console.print(f"[dim]{len(fresh)} plays of today are not recorded; --update records them.[/]")


def _tell_difference(console: Any, told: dict[str, Any]) -> None:
    for step in told["context"]:
        console.print(f"           [dim]{escape(str(step))}[/]")
    console.print(f"         step {told['step']}: {escape(str(told['at']))} → {escape(str(told['now_at']))}")
    for field in told["fields"]:
        for sign, color, name in (("-", "red", "before"), ("+", "green", "after")):
            text = json.dumps(field[name], ensure_ascii=False)
            console.print(f"         [{color}]{sign} {field['field']}: {escape(text[:300])}[/]")
    if told["added"] is not None:
        console.print(f"         [dim]{told['added']} steps added, {told['removed']} removed, "
                      f"{told['changed']} changed[/]")
