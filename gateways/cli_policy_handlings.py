"""`comfyvn policy handlings`: what becomes of prompts, and of metadata that leaks."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from commands.trust.policy import RemovePolicyHandling, SetPolicyHandling
from domain.ids import checked
from gateways.cli_asking import ask
from gateways.cli_console import Actor, AsJson, Data, DryRun, Project, emit, err, out, run
from gateways.cli_policy_words import condition, from_file, looked
from projections.trust.policy import ListPolicyHandlings

app = typer.Typer(no_args_is_help=True, help="What becomes of prompts, and of whatever files tell besides their "
                                             "content: kept or stripped. What one strips is stripped, also where "
                                             "another keeps.")

HandlingId = Annotated[str, typer.Argument(metavar="HANDLING", help="Its id.")]


@app.command("list")
def list_(project: Project = "default", data: Data = None, as_json: AsJson = False) -> None:
    """The project's handlings, and what is done where none of them holds.

    comfyvn policy handlings list
    """

    async def work() -> None:
        (found,) = await looked(data, ("ListPolicyHandlings", ListPolicyHandlings(project=checked("project", project))))
        if as_json:
            emit({"project": project, **found})
            return
        table = Table(box=None, header_style="dim", pad_edge=False)
        for name in ("handling", "what", "then", "actions", "when", "why", "by"):
            table.add_column(name, overflow="fold")
        for one in found["items"]:
            table.add_row(one["handling_id"], one["what"], one["then"], ", ".join(one["actions"]),
                          escape("; ".join(_said(condition_) for condition_ in one["when"])), escape(one["reason"]),
                          escape(one["set_by"]))
        if found["items"]:
            out().print(table)
        otherwise = ", ".join(f"{what}: {then}" for what, then in sorted(found["defaults"].items()))
        err().print(f"[dim]Otherwise {otherwise}. Facts that conditions may look at: {', '.join(found['facts'])}.[/]")

    run(work, as_json=as_json)


@app.command("set")
def set_(
    handling: HandlingId,
    what: Annotated[str, typer.Option(help="prompt | metadata", show_default=False)] = "",
    then: Annotated[str, typer.Option(help="keep | strip", show_default=False)] = "",
    action: Annotated[list[str] | None, typer.Option(
        help="generate, download, export or publish, with suffixes; several times.", show_default=False)] = None,
    when: Annotated[list[str] | None, typer.Option(
        metavar="'FACT OP [VALUE…]'", help="A condition on the asset: 'engine is provider_fal', 'remote is yes'.",
        show_default=False)] = None,
    reason: Annotated[str, typer.Option(help="Why; the log keeps it.")] = "",
    file: Annotated[str | None, typer.Option("--file", help="The handling as JSON, as the API takes it; - is standard "
                                                            "input.", show_default=False)] = None,
    project: Project = "default", dry_run: DryRun = False, actor: Actor = "console", data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Say what becomes of prompts or of metadata.

    comfyvn policy handlings set nothing-leaks --what metadata --then strip --action export --action download
    """

    def made() -> SetPolicyHandling:
        told: dict[str, Any] = from_file(file) if file else {
            "what": what, "then": then, "actions": tuple(action or ()), "reason": reason,
            "when": tuple(condition(one) for one in when or ()),
        }
        return SetPolicyHandling.model_validate({**told, "handling_id": handling})

    ask(project, made, f"Handling {handling} is in force.", actor, data, dry_run=dry_run, as_json=as_json)


@app.command()
def remove(
    handling: HandlingId, project: Project = "default", dry_run: DryRun = False, actor: Actor = "console",
    data: Data = None, as_json: AsJson = False,
) -> None:
    """Take a handling away.

    comfyvn policy handlings remove nothing-leaks
    """
    ask(project, lambda: RemovePolicyHandling(handling_id=handling), f"Handling {handling} is taken away.", actor, data,
        dry_run=dry_run, as_json=as_json)


def _said(one: Any) -> str:
    return " ".join([one["fact"], one["op"], *(str(value) for value in one["values"])])
