"""`comfyvn generate` and `comfyvn presets`: pictures and videos made from presets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from domain.errors import Invalid, Remedy
from domain.ids import checked
from domain.studio.preset_model import Input, Preset
from gateways.cli_console import Actor, AsJson, Data, ExitCode, Project, emit, err, out, run, settings_of, usage
from gateways.cli_job_watching import followed
from services.bootstrap import open_everything
from services.generation.accepting import accepted, foreseen, recorded
from services.generation.library import find_preset
from services.generation.showing import engines_shown, preset_shown, presets_shown
from services.generation.wishes import Wish
from services.studio import Asker

Given = Annotated[list[str] | None, typer.Option(
    "--input", "-i", metavar="NAME=VALUE", help="An input of the preset; several times for several, or for a list.",
)]


def generate(
    preset: Annotated[str, typer.Argument(metavar="PRESET", help="Id of a preset; `comfyvn presets` lists them.")],
    inputs: Given = None,
    quality: Annotated[str | None, typer.Option(help="low | standard | pro, or another of the preset's.",
                                                show_default=False)] = None,
    consent: Annotated[bool, typer.Option("--consent", help="The people shown have agreed: recorded as said by you.",
                                          )] = False,
    engine: Annotated[str | None, typer.Option(help="This engine first, where it suits.", show_default=False)] = None,
    without: Annotated[list[str] | None, typer.Option(help="Not on this engine; several times for several.")] = None,
    account: Annotated[str | None, typer.Option(help="The account that pays.", show_default=False)] = None,
    spend_limit: Annotated[float | None, typer.Option(help="Most that it may cost, in credits (cents).", min=0,
                                                      show_default=False)] = None,
    key: Annotated[str | None, typer.Option(help="The same key and request again: the same job.",
                                            show_default=False)] = None,
    project: Project = "default",
    actor: Actor = "console",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the plan and what it may cost.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Watch the job until it is over.")] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make something from a preset, as a job that a running studio works on.

    comfyvn generate photoreal_portrait_v1 -i prompt="a sailor at dusk" -i draft=true --dry-run

    comfyvn generate upscale_denoise_image_v1 -i image=ASSET --quality pro --follow
    """

    async def work() -> ExitCode | None:
        checked("project", project)
        async with open_everything(settings_of(data), create=False) as opened:
            studio = opened.studio
            found = await find_preset(studio.dispatcher, project, preset)
            wish = Wish.model_validate({name: value for name, value in {
                "preset_id": preset, "inputs": read_inputs(found.preset, inputs or []), "quality": quality,
                "consent_given": consent, "engine": engine, "without": tuple(without or ()), "account": account,
                "spend_limit": spend_limit,
            }.items() if value is not None})
            who = Asker(actor, key)
            if dry_run:
                _foretell(await foreseen(studio, project, wish, who), as_json)
                return None
            job = await accepted(studio, project, wish, who)
            await opened.audited_everything()
            told = {"ok": True, "job_id": job.job_id, "project": project, "repeated": job.receipt.repeated,
                    "plan": recorded(job.job)}
            if not follow:
                _tell(told, as_json)
                return None
            if not as_json:
                err().print(f"[dim]Job {escape(job.job_id)}[/]")
            await opened.counted_everything(["jobs"])
            return await followed(opened, project, job.job_id, as_json=as_json)

    run(work, as_json=as_json)


def presets(
    preset: Annotated[str | None, typer.Argument(metavar="[PRESET]", help="One preset with its inputs.",
                                                 show_default=False)] = None,
    project: Project = "default",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """The presets of a project, and whether they can run on the engines at hand.

    comfyvn presets image_to_video_v1
    """

    async def work() -> None:
        checked("project", project)
        async with open_everything(settings_of(data), create=False) as opened:
            await opened.counted_everything(["presets"])
            if preset is not None:
                one = await preset_shown(opened.studio, project, preset)
                if as_json:
                    emit(one)
                else:
                    _show(one)
                return
            found = await presets_shown(opened.studio, project)
        if as_json:
            emit(found)
            return
        table = Table(box=None, pad_edge=False)
        table.add_column("preset", no_wrap=True)
        for name in ("makes", "runs now", "on, or what is missing"):
            table.add_column(name, overflow="fold")
        for one in found["items"]:
            table.add_row(one["id"], one["makes"], *_standing(one["can_run"], one["default_quality"]))
        out().print(table)
        # The same few things help most presets: each is told once.
        for text in dict.fromkeys(press["text"] for one in found["items"] for press in one["can_run"]["press"]):
            err().print(f"  [dim]→[/] {escape(text)}")

    run(work, as_json=as_json)


def engines(data: Data = None, as_json: AsJson = False) -> None:
    """The engines: how each stands, and the one thing that would help.

    comfyvn engines
    """

    async def work() -> None:
        async with open_everything(settings_of(data), create=False) as opened:
            found = await engines_shown(opened.studio)
        if as_json:
            emit(found)
            return
        table = Table(box=None, pad_edge=False)
        for name in ("engine", "", "status", "balance", "what helps"):
            table.add_column(name, overflow="fold")
        for one in found["items"]:
            colour = "green" if one["ready"] else "yellow"
            balance = one["balance"]
            table.add_row(
                one["id"], one["kind"], f"[{colour}]{one['status'].replace('_', ' ')}[/]",
                f"{balance['amount']:g} {balance['unit']}" if balance else "–",
                escape(one["remedy"]["text"]) if one["remedy"] else "",
            )
        out().print(table)

    run(work, as_json=as_json)


def read_inputs(preset: Preset, given: Sequence[str]) -> dict[str, Any]:
    """``name=value`` as the inputs of a preset, read as their types. Raises ``Invalid``."""
    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or name not in preset.inputs:
            known = ", ".join(preset.inputs)
            usage(f"{text[:100]!r} is no input of {preset.id}.", f"Write NAME=VALUE; its inputs are {known}.")
        one = preset.inputs[name]
        read = _value(name, one, value)
        if one.many:
            found.setdefault(name, []).append(read)
        elif name in found:
            usage(f"{name} was given twice.", "It takes one value.")
        else:
            found[name] = read
    return found


def _value(name: str, one: Input, text: str) -> Any:
    plain = text.strip().lower()
    try:
        match one.type:
            case "integer":
                return int(text)
            case "number":
                value = float(text)
                return int(value) if value.is_integer() and "." not in text else value
            case "boolean" if plain in ("true", "yes", "1"):
                return True
            case "boolean" if plain in ("false", "no", "0"):
                return False
            case "boolean":
                raise ValueError
            case _:
                return text
    except (ValueError, OverflowError):
        raise Invalid(
            f"{name} cannot be {text[:100]!r}: it is of the type {one.type}.", error="INVALID_FIELD_TYPE",
            remediation=[Remedy(f"`comfyvn presets` with the preset's id says what {name} takes.", "correct_input")],
        ) from None


def _standing(can: Mapping[str, Any], level: str) -> tuple[str, str]:
    usual = can["levels"].get(level, {})
    if usual.get("ok"):
        return "[green]yes[/]", ", ".join(usual.get("engines", [])) or escape(can.get("note", ""))
    options = [name for name, one in can["with_inputs"].items() if one["ok"]]
    # What else would help is told by itself: the first sentence says why.
    said = escape(can["missing"][0]["message"].partition(". ")[0].rstrip(".") + ".") if can["missing"] else ""
    return ("[yellow]with " + ", ".join(options) + "[/]" if options else "[red]no[/]"), said


def _show(one: Mapping[str, Any]) -> None:
    out().print(f"[bold]{escape(one['name'])}[/] ({one['id']})\n{escape(one['description'])}\n")
    table = Table(box=None, pad_edge=False)
    for name in ("input", "type", "", "what it is"):
        table.add_column(name, overflow="fold")
    for name, told in one["inputs"].items():
        kind = " | ".join(told["choices"]) if told["choices"] else told["type"] + (" …" if told["many"] else "")
        table.add_row(name, escape(kind), "needed" if told["required"] else "", escape(told["description"]))
    out().print(table)
    runs, why = _standing(one["can_run"], one["default_quality"])
    out().print(f"\nQualities: {', '.join(one['quality_levels'])}. Runs now: {runs} {why}")
    for press in one["can_run"]["press"]:
        out().print(f"  [dim]→[/] {escape(press['text'])}")
    for note in one["safety_notes"]:
        out().print(f"[dim]· {escape(note)}[/]")


def _steps(plan: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("step", "does", "by", "model", "at most"):
        table.add_column(name, overflow="fold")
    for one in plan["steps"]:
        cost = f"{one['estimate'] / 1_000_000:g} credits" if one["paid"] else "free"
        table.add_row(one["id"], one["operation"].replace("_", " "), one["engine"], escape(one["model"]), cost)
    return table


def _foretell(told: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        emit(told)
        return
    plan = told["plan"]
    out().print(_steps(plan))
    out().print(f"Seed {plan['seed']}, at most {plan['credits']:g} credits. Nothing was asked for.")
    for one in plan["left_out"]:
        if one["message"]:
            err().print(f"[yellow]Without {one['id']}: {escape(one['message'])}[/]")
    for problem in (told["policy"]["error"], told["funds"]["problem"]):
        if problem:
            err().print(f"[yellow]It would be refused: {escape(problem['message'])}[/]")


def _tell(told: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        emit(told)
        return
    out().print(_steps(told["plan"]))
    job = escape(told["job_id"])
    out().print(f"[bold]{job}[/] waits for a worker; `comfyvn jobs follow {job}` watches it.")
