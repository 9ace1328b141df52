"""`comfyvn policy`: what a project allows, what it has acknowledged, its own rules, and what was decided."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from commands.trust.policy import (
    AcknowledgePolicy,
    EnforcePolicy,
    EvaluatePolicy,
    RemovePolicyRule,
    RevokeAcknowledgement,
    SetPolicyRule,
)
from domain.ids import checked
from gateways import cli_policy_handlings
from gateways.cli_asking import ask
from gateways.cli_console import (
    Actor,
    AsJson,
    Cursor,
    Data,
    DryRun,
    ExitCode,
    Project,
    emit,
    out,
    run,
    settings_of,
    tell_more,
)
from gateways.cli_policy_words import condition, fact, from_file, looked, thing
from projections.trust.policy import AuditPolicy, ListPolicyHandlings, ListPolicyRules, ShowPolicyStatus
from services.bootstrap import open_everything
from services.studio import Asker

app = typer.Typer(no_args_is_help=True, help="Whether something may be imported, generated, exported or published: the "
                                             "notice, the rules, what becomes of prompts and metadata, every decision.")
app.add_typer(cli_policy_handlings.app, name="handlings")

COLOURS = {"block": "red", "warn": "yellow", "info": "dim"}

ActionOf = Annotated[str, typer.Argument(metavar="ACTION", help="import, export, publish or generate; suffixes say "
                                                                "more: export.renpy.")]
Facts = Annotated[list[str] | None, typer.Option(
    "--fact", metavar="NAME=VALUE", help="What is known of the subject: rating=T, commercial=yes; several times.",
    show_default=False,
)]
Parts = Annotated[list[str] | None, typer.Option(
    "--part", metavar="'KIND[:ID] NAME=VALUE…'", help="A thing that the action touches: 'asset:a94a licence=MIT'; "
    "several times.", show_default=False,
)]
Kind = Annotated[str, typer.Option("--kind", metavar="KIND[:ID]", help="What the action is about.")]
Override = Annotated[str | None, typer.Option(help="Why one goes on in spite of warnings.", show_default=False)]


@app.command()
def show(project: Project = "default", data: Data = None, as_json: AsJson = False) -> None:
    """How the policy of a project stands: the notice, who acknowledged it, rules and handlings of its own, decisions.

    comfyvn policy show
    """

    async def work() -> None:
        checked("project", project)
        status, rules, handlings = await looked(
            data, ("ShowPolicyStatus", ShowPolicyStatus(project=project)),
            ("ListPolicyRules", ListPolicyRules(project=project)),
            ("ListPolicyHandlings", ListPolicyHandlings(project=project)),
        )
        own = [one for one in rules["items"] if not one["built_in"]]
        if as_json:
            emit({"project": project, **status, "own_rules": own, "handlings": handlings["items"],
                  "defaults": handlings["defaults"]})
            return
        told = status["decisions"]
        table = Table(box=None, show_header=False, pad_edge=False)
        by = ", ".join(status["acknowledged_by"][:5])
        standing = "[yellow]not acknowledged: `comfyvn policy ack`[/]" if status["requires_ack"] else (
            f"acknowledged by {escape(by)}")
        table.add_row(f"[dim]notice {status['notice']['version']}[/]", standing)
        table.add_row("[dim]rules[/]", f"{status['rules']['built_in']} built in, {status['rules']['own']} of its own")
        table.add_row("[dim]handlings[/]", f"{len(handlings['items'])}; otherwise " + ", ".join(
            f"{what}: {then}" for what, then in sorted(handlings["defaults"].items())))
        table.add_row("[dim]decisions[/]", f"{told['decisions']}, of which {told['refused']} said no")
        out().print(table)
        out().print(f"[dim]{escape(status['notice']['text'])}[/]")
        if own:
            _print_rules(own)

    run(work, as_json=as_json)


@app.command()
def rules(
    action: Annotated[str | None, typer.Option(help="Only rules that this action is held against.",
                                               show_default=False)] = None,
    own: Annotated[bool, typer.Option("--own", help="Only the project's own.")] = False,
    project: Project = "default", data: Data = None, as_json: AsJson = False,
) -> None:
    """The rules in force, the built-in ones first.

    comfyvn policy rules --action export.renpy
    """

    async def work() -> None:
        query = ListPolicyRules.model_validate({"project": checked("project", project), "action": action})
        (found,) = await looked(data, ("ListPolicyRules", query))
        items = [one for one in found["items"] if not (own and one["built_in"])]
        if as_json:
            emit({"project": project, "items": items, "next": None})
            return
        _print_rules(items)

    run(work, as_json=as_json)


@app.command("set")
def set_(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="Its id; one of this id is changed.")],
    action: Annotated[list[str] | None, typer.Option(help="An action that it is about; several times.",
                                                     show_default=False)] = None,
    when: Annotated[list[str] | None, typer.Option(
        metavar="'FACT OP [VALUE…]'", help="A condition: 'licence is_not MIT CC0-1.0', 'origin missing'; all that are "
        "given must hold. OP: missing, present, is, is_not, names_action.", show_default=False)] = None,
    level: Annotated[str, typer.Option(help="info | warn | block")] = "warn",
    message: Annotated[str, typer.Option(help="What it says.", show_default=False)] = "",
    remedy: Annotated[str, typer.Option(help="What helps; else its message.", show_default=False)] = "",
    remedy_action: Annotated[str, typer.Option(help="The same for buttons and scripts.")] = "mend",
    about: Annotated[list[str] | None, typer.Option(help="Only things of this kind: asset, engine, project; several "
                                                         "times.", show_default=False)] = None,
    file: Annotated[str | None, typer.Option("--file", help="The rule as JSON, as the API takes it; - is standard "
                                                            "input.", show_default=False)] = None,
    project: Project = "default", dry_run: DryRun = False, actor: Actor = "console", data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Give a project a rule of its own, or change one.

    comfyvn policy set only-ours --action export --about asset --when 'origin is_not "drawn by us"' --level block
    --message "Only what we drew ourselves is shipped."
    """

    def made() -> SetPolicyRule:
        told: dict[str, Any] = from_file(file) if file else {
            "actions": tuple(action or ()), "about": tuple(about or ()),
            "when": tuple(condition(one) for one in when or ()), "level": level, "message": message,
            "remedy": {"text": remedy or message, "action": remedy_action},
        }
        return SetPolicyRule.model_validate({**told, "rule_id": rule})

    ask(project, made, f"Rule {rule} is in force.", actor, data, dry_run=dry_run, as_json=as_json)


@app.command()
def remove(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="The id of one of the project's own.")],
    project: Project = "default", dry_run: DryRun = False, actor: Actor = "console", data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Take one of the project's own rules away.

    comfyvn policy remove only-ours
    """
    ask(project, lambda: RemovePolicyRule(rule_id=rule), f"Rule {rule} is taken away.", actor, data, dry_run=dry_run,
        as_json=as_json)


@app.command()
def ack(
    user: Annotated[str | None, typer.Option(help="In whose name; else whoever asks.", show_default=False)] = None,
    notes: Annotated[str, typer.Option(help="What the log keeps with it.")] = "",
    project: Project = "default", dry_run: DryRun = False, actor: Actor = "console", data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Acknowledge the notice in force, which `comfyvn policy show` prints.

    comfyvn policy ack --user ada
    """
    ask(project, lambda: AcknowledgePolicy(user=user, notes=notes), "The notice is acknowledged.", actor, data,
        dry_run=dry_run, as_json=as_json)


@app.command()
def revoke(
    user: Annotated[str | None, typer.Option(help="Whose; else of whoever asks.", show_default=False)] = None,
    reason: Annotated[str, typer.Option(help="Why; the log keeps it.")] = "",
    project: Project = "default", dry_run: DryRun = False, actor: Actor = "console", data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Take an acknowledgement back.

    comfyvn policy revoke --user ada
    """
    ask(project, lambda: RevokeAcknowledgement(user=user, reason=reason), "The acknowledgement is taken back.", actor,
        data, dry_run=dry_run, as_json=as_json)


@app.command()
def check(
    action: ActionOf, kind: Kind = "project", facts: Facts = None, parts: Parts = None, override: Override = None,
    project: Project = "default", actor: Actor = "console", data: Data = None, as_json: AsJson = False,
) -> None:
    """Whether something would be allowed, and what the rules find. Nothing is recorded; exit code 1 for a no.

    comfyvn policy check publish.itch --fact commercial=yes --part 'asset:a94a licence=CC-BY-NC-4.0'
    """
    _decide(action, kind, facts, parts, override, project, actor, data, as_json=as_json, dry_run=True)


@app.command()
def decide(
    action: ActionOf, kind: Kind = "project", facts: Facts = None, parts: Parts = None, override: Override = None,
    project: Project = "default", dry_run: DryRun = False, actor: Actor = "console", data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Decide whether something is allowed, bindingly, and record it with everything that was found; exit code 1 for a
    no. For scripts that ship what the studio does not.

    comfyvn policy decide publish.itch --fact rating=T && butler push build ada/game:web
    """
    _decide(action, kind, facts, parts, override, project, actor, data, as_json=as_json, dry_run=dry_run, binding=True)


@app.command()
def audit(
    action: Annotated[str | None, typer.Option(help="Only this action and its suffixes.", show_default=False)] = None,
    allowed: Annotated[bool | None, typer.Option("--allowed/--refused", help="Only a yes, or only a no.",
                                                 show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="Most decisions.")] = 30, cursor: Cursor = "",
    project: Project = "default", data: Data = None, as_json: AsJson = False,
) -> None:
    """Every decision, newest first.

    comfyvn policy audit --refused
    """

    async def work() -> None:
        query = AuditPolicy.model_validate({
            "project": checked("project", project), "action": action, "allow": allowed, "limit": limit,
            "cursor": cursor,
        })
        (found,) = await looked(data, ("AuditPolicy", query))
        if as_json:
            emit({"project": project, **found})
            return
        table = Table(box=None, header_style="dim", pad_edge=False)
        for name in ("time", "action", "answer", "blocks", "warns", "by", "decision"):
            table.add_column(name, justify="right" if name in ("blocks", "warns") else "left", overflow="fold",
                             no_wrap=name in ("time", "decision"))
        for one in found["items"]:
            answer = "[green]yes[/]" if one["allow"] else "[red]no[/]"
            table.add_row(one["time"][:19], one["action"], answer, str(one["counts"]["block"]),
                          str(one["counts"]["warn"]), escape(one["actor"]), one["decision_id"])
        out().print(table)
        tell_more(found["next"])

    run(work, as_json=as_json)


def _decide(
    action: str, kind: str, facts: list[str] | None, parts: list[str] | None, override: str | None, project: str,
    actor: str, data: Any, *, as_json: bool, dry_run: bool, binding: bool = False,
) -> None:
    async def work() -> ExitCode:
        checked("project", project)
        subject = thing(kind)
        told = {"action": action, "subject": {**subject, "facts": {**subject["facts"], **dict(map(fact, facts or ()))}},
                "parts": tuple(thing(one) for one in parts or ()), "source": "console",
                "override": None if override is None else {"reason": override}}
        command = (EnforcePolicy if binding else EvaluatePolicy).model_validate(told)
        async with open_everything(settings_of(data), projecting=False, create=not dry_run) as opened:
            receipt = await opened.studio.ask(command, Asker(actor), project=project, dry_run=dry_run)
            await opened.audited_everything()
        found = receipt.told
        if as_json:
            emit({"ok": found["allow"], "dry_run": dry_run, "project": project, **found})
        else:
            _print_decision(found, dry_run)
        return ExitCode.OK if found["allow"] else ExitCode.NO

    run(work, as_json=as_json)


def _print_decision(found: Any, dry_run: bool) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    for one in found["findings"]:
        table.add_row(f"[{COLOURS[one['level']]}]{one['level']}[/]", escape(one["target"]), escape(one["message"]),
                      f"[dim]→[/] {escape(one['remedy']['text'])}")
    if found["findings"]:
        out().print(table)
    if found["requires_ack"]:
        out().print("[red]block[/]  The notice was not acknowledged. [dim]→[/] `comfyvn policy show` prints it, "
                    "`comfyvn policy ack` accepts it.")
    verb = ("would be" if found["allow"] else "would not be") if dry_run else "is" if found["allow"] else "is not"
    out().print(f"{found['action']} [{'green' if found['allow'] else 'bold red'}]{verb} allowed[/]."
                + ("" if dry_run else f" [dim]Decision {found['decision_id']}.[/]"))


def _print_rules(items: list[Any]) -> None:
    table = Table(box=None, header_style="dim", pad_edge=False)
    for name in ("rule", "level", "actions", "about", "says"):
        table.add_column(name, overflow="fold", no_wrap=name in ("rule", "level"))
    for one in items:
        style = COLOURS[one["level"]]
        table.add_row(one["rule_id"] + ("" if one["built_in"] else " [cyan]own[/]"), f"[{style}]{one['level']}[/]",
                      ", ".join(one["actions"]), ", ".join(one["about"]) or "all", escape(one["message"]))
    out().print(table)
