"""From a wish to a plan: what exactly would be done, by whom, and the most that it may cost; or why not, in a sentence.

Planning asks engines how they stand and records nothing. Accepting a plan is ``services.generation.accepting``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from secrets import randbelow
from typing import Any

from domain.errors import ComfyVNError, NotFound, Remedy
from domain.ids import UNBRANCHED, token
from domain.ports import Stream
from domain.studio.asset import Registered
from domain.studio.fault import fault
from domain.studio.job import CATEGORY as JOB
from domain.studio.job import Closed, Open
from domain.studio.job_values import Consent, Request, Step
from domain.studio.preset_model import Preset, input_problems
from domain.studio.preset_plan import SEEDS, Given, LeftOut, Outline, outline
from services.generation.abilities import Seen
from services.generation.documents import documents
from services.generation.estimating import estimated
from services.generation.faults import raised
from services.generation.library import Found, earlier_preset, find_preset
from services.generation.likeness import faces
from services.generation.materials import assets_behind, assets_of, character_of, newest, unkept
from services.generation.wishes import ACCOUNT, STATEMENT, Wish
from services.models.supplying import supplier
from services.studio import Studio

AS_IT_WAS = "It runs the workflow that the job was planned with; the preset has another by now."

MAKE_DRAFT = Remedy("Make a draft for now: set the input draft.", "make_draft")

SPECIFIC = frozenset({"add_key", "install_model"})
"""Actions that are told for the engine in hand although the fault says as much in general."""

LOOK_SECONDS = 10.0
"""How old a look at an engine may be for a plan to stand on it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be asked for. ``held`` is the most that it may cost, in microcredits; ``imitates`` names the inputs
    that show a person, ``faces`` the assets in which one is."""

    request: Request
    steps: tuple[Step, ...]
    held: int
    preset: Preset
    left_out: tuple[LeftOut, ...]
    assets: Mapping[str, Registered]
    remote: tuple[str, ...]
    imitates: tuple[str, ...]
    faces: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Line:
    """Where a job comes from: the job that it repeats, with the consent that was given there."""

    retry_of: str | None = None
    root: str | None = None
    consent: Consent | None = None
    seed: int | None = None


async def planned(studio: Studio, project: str, wish: Wish, owner: str, job_id: str) -> Plan:
    """The plan of a wish. Raises what ``raised`` makes of the first fault, and ``NotFound`` for an unknown preset."""
    found = await find_preset(studio.dispatcher, project, wish.preset_id)
    line, notes = _Line(), []
    asked = wish
    if found.preset.reruns is not None:
        _check(found.preset, wish)
        wish, line, found, earlier = await _repaired(studio, project, found.preset, wish)
        notes = [f"It runs {wish.preset_id} again, more safely.", *earlier]
    plan = await _planned(studio, project, found, wish, owner, job_id, line, notes)
    if asked is wish:
        return plan
    said = {"preset": asked.preset_id, "inputs": asked.given}
    return _with_request(plan, plan.request.model_copy(update=said))


async def repeated(
    studio: Studio, project: str, job_id: str, owner: str, new_id: str, *, quality: str | None = None,
    engine: str | None = None, without: tuple[str, ...] = (), spend_limit: float | None = None,
) -> Plan:
    """The plan of doing a job again: the same wish and seed, on the engines as they are now, with its lineage.

    What the job was planned to run of users' workflows is run again, also when its preset has others by now.
    """
    job = await job_state(studio, project, job_id)
    was = _request_of(job)
    wish = _wish_of(was, quality=quality, engine=engine, without=without, spend_limit=spend_limit)
    line = _Line(job_id, was.root, was.consent, was.seed)
    found, notes = await _as_it_was(studio, project, job)
    if found.preset.reruns is not None:
        inner, deeper, inner_found, notes = await _repaired(studio, project, found.preset, wish)
        kept = _Line(job_id, was.root, was.consent or deeper.consent, was.seed)
        plan = await _planned(studio, project, inner_found, inner, owner, new_id, kept, notes)
        return _with_request(plan, plan.request.model_copy(update={"preset": was.preset, "inputs": was.inputs}))
    return await _planned(studio, project, found, wish, owner, new_id, line, notes)


async def job_state(studio: Studio, project: str, job_id: str) -> Any:
    """A job as the log has it, in its situation."""
    try:
        stream = Stream(project, UNBRANCHED, JOB, token(job_id))
    except ValueError:
        raise _no_job(f"There is no job {job_id[:100]}.") from None
    return await newest(studio.dispatcher, stream)


async def _planned(
    studio: Studio, project: str, found: Found, wish: Wish, owner: str, job_id: str, line: _Line, notes: list[str]
) -> Plan:
    preset, level = found.preset, wish.quality or found.preset.level
    given = wish.given
    _check(preset, wish)
    shown = [name for name, one in preset.inputs.items() if one.shows_person and given.get(name)]
    consent = line.consent or _consent(wish, owner, studio.clock())
    if (shown or preset.requires_consent) and consent is None:
        raise _no_consent(preset, shown, "")
    assets, wrong = await assets_of(studio.dispatcher, project, preset, given)
    character, more = await character_of(studio.dispatcher, project, wish.worldline, preset, given)
    if wrong or more:
        raise raised([*wrong, *more][0])
    if lost := await unkept(studio.blobs, assets):
        raise raised(lost[0])
    seed = given.get("seed")
    seed = seed if isinstance(seed, int) else line.seed if line.seed is not None else randbelow(SEEDS)
    drawn = Given(given, level, seed, character, frozenset(wish.without), wish.engine)
    able = await _able(studio, preset, project)
    sketch = outline(preset, drawn, able)
    _can(sketch, able, preset, drawn)
    shown_of, wrong = await assets_behind(studio.dispatcher, project, character, sketch.steps, assets)
    if wrong := [*wrong, *await unkept(studio.blobs, shown_of)]:
        raise raised(wrong[0])
    assets |= shown_of
    faced = await faces(studio, project, preset, given, sketch.steps, agreed=consent is not None)
    if faced and consent is None:
        raise _no_consent(preset, _naming(preset, given, faced), next(iter(faced.values())))
    steps, held = await estimated(studio.engines, sketch.steps, assets, wish.spend_limit)
    request = Request(
        preset=preset.id, preset_digest=found.digest, name=wish.name or preset.name, inputs=given, quality=level,
        seed=seed, owner=owner, account=(wish.account or ACCOUNT) if held else None, priority=wish.priority,
        deadline=_deadline(studio.clock(), wish.deadline_seconds),
        consent=consent.model_copy(update={"assets": tuple(sorted(faced))}) if consent and (shown or faced) else None,
        retry_of=line.retry_of, root=line.root or job_id,
    )
    if character and character.get("loras") is None and line.retry_of is None:
        notes = [*notes, f"{character['name']} has no LoRA that engines know by name; words alone describe them."]
    remote = tuple(sorted({one.engine for one in sketch.steps if one.remote}))
    imitates = tuple(dict.fromkeys([*shown, *_naming(preset, given, faced)]))
    return Plan(request, steps, held, preset, sketch.left_out, assets, remote, imitates, tuple(sorted(faced)),
                tuple(notes))


def _no_consent(preset: Preset, fields: Sequence[str], why: str) -> ComfyVNError:
    said = f"{preset.name} uses a person's likeness, and nobody has said that the person agreed"
    return raised(fault("CONSENT_MISSING", f"{said}{': ' + why if why else ''}.", fields=list(fields)))


def _naming(preset: Preset, given: Mapping[str, Any], faced: Mapping[str, str]) -> list[str]:
    """The inputs that name one of these assets."""
    return [name for name in preset.inputs if (value := given.get(name)) is not None
            and not faced.keys().isdisjoint(value if isinstance(value, list) else [str(value)])]


def _check(preset: Preset, wish: Wish) -> None:
    level = wish.quality or preset.level
    wrong = [*input_problems(preset, wish.given)]
    if level not in preset.quality_levels:
        known = ", ".join(preset.quality_levels)
        wrong.append(("quality", "INVALID_FIELD_VALUE", f"{preset.name} has the qualities {known}."))
    if wrong:
        code = wrong[0][1] if len({one[1] for one in wrong}) == 1 else "CONTRACT_MISMATCH"
        fields = [{"path": f"inputs/{name}" if name != "quality" else name, "code": found, "message": said}
                  for name, found, said in wrong[:50]]
        more = Remedy(f"GET /api/presets/{preset.id} says what it takes.", "show_preset")
        raise raised(fault(code, " ".join(one[2] for one in wrong[:5]), fields=fields), more=more)


async def _able(studio: Studio, preset: Preset, project: str | None = None) -> Seen:
    wanted = {way.engine for step in preset.steps for way in step.ways}
    looks = await studio.engines.around(wanted, within_seconds=LOOK_SECONDS)
    if project is None:
        return Seen(studio.engines, looks)
    return Seen(studio.engines, looks, await supplier(studio, project), await documents(studio, [preset], looks))


def _can(sketch: Outline, able: Seen, preset: Preset, given: Given) -> None:
    faults = [*sketch.faults, *(one for step in sketch.steps if (one := able.misfit(step)) is not None)]
    if not faults:
        return
    draft = preset.inputs.get("draft")
    more = [one for one in able.helping(faults[0]) if one.action != faults[0].meaning.action or one.action in SPECIFIC]
    if draft is not None and draft.type == "boolean" and not given.inputs.get("draft"):
        drafted = outline(preset, Given({**given.inputs, "draft": True}, given.level, given.seed), able)
        more += [] if drafted.faults else [MAKE_DRAFT]
    raise raised(faults[0], more=more)


def _consent(wish: Wish, owner: str, now: str) -> Consent | None:
    if not wish.consent_given:
        return None
    return Consent(by=owner, given_at=now, statement=wish.consent_statement or STATEMENT)


def _deadline(now: str, seconds: int | None) -> str | None:
    if seconds is None:
        return None
    then = datetime.fromisoformat(now) + timedelta(seconds=seconds)
    return then.isoformat(timespec="microseconds").replace("+00:00", "Z")


# --- jobs that are done again ---------------------------------------------------------------------------------------


async def _as_it_was(studio: Studio, project: str, job: Any) -> tuple[Found, list[str]]:
    """The preset of a job as it stands now; where the job runs workflows that are not in it any more, as it stood when
    the job was planned, with a word on that."""
    was = _request_of(job)
    now = await find_preset(studio.dispatcher, project, was.preset)
    steps = (job if isinstance(job, Open) else job.was).steps
    ran = {one.workflow.digest for one in steps if one.workflow is not None}
    if ran <= now.preset.workflows.keys() or now.preset.reruns is not None:
        return now, []
    then = await earlier_preset(studio.dispatcher, project, was.preset, was.preset_digest, ran)
    return (now, []) if then is None else (then, [AS_IT_WAS])


async def _repaired(
    studio: Studio, project: str, preset: Preset, wish: Wish
) -> tuple[Wish, _Line, Found, list[str]]:
    """The wish of a failed job with safer settings (the quality asked for, and not on the engine that failed), its
    preset, and what is to be said of that."""
    failed_id = wish.given.get(preset.reruns or "")
    level = wish.quality or preset.level
    job = await job_state(studio, project, str(failed_id))
    was = _request_of(job)
    if not isinstance(job, Closed) or job.outcome == "completed":
        raise raised(fault("VALIDATION_ERROR", f"Job {failed_id} has not failed: there is nothing to repair.",
                           field=preset.reruns))
    quality = wish.given.get("quality_override") or preset.quality_levels[level].get("override")
    inner, notes = await _as_it_was(studio, project, job)
    if inner.preset.reruns is not None:  # a repair that failed: what it repaired is repaired again
        return await _repaired(studio, project, inner.preset, wish.model_copy(update={
            "preset_id": was.preset, "inputs": {**was.inputs, **({"quality_override": quality} if quality else {})},
        }))
    if quality is not None and quality not in inner.preset.quality_levels:
        quality = None
    failed = job.was.step()
    without = (failed.engine,) if failed is not None and await _others(studio, inner.preset, failed) else ()
    again = _wish_of(was, quality=str(quality) if quality else None, engine=wish.engine,
                     without=(*wish.without, *without), spend_limit=wish.spend_limit)
    again = again.model_copy(update={"account": wish.account or again.account, "priority": wish.priority,
                                     "deadline_seconds": wish.deadline_seconds, "name": wish.name or was.name})
    return again, _Line(str(failed_id), was.root, was.consent, was.seed), inner, notes


async def _others(studio: Studio, preset: Preset, failed: Step) -> bool:
    """Whether another engine could do what failed."""
    able = await _able(studio, preset)
    ways = [way for step in preset.steps if failed.id in (step.id, f"{step.id}_{failed.id.rpartition('_')[2]}")
            for way in step.ways if way.engine != failed.engine and way.engine in studio.engines]
    looked = await studio.engines.around({way.engine for way in ways})
    return able is not None and any(one.ready for one in looked.values())


def _request_of(job: Any) -> Request:
    match job:
        case Open():
            return job.request
        case Closed():
            return job.was.request
        case _:
            raise _no_job("There is no such job.")


def _no_job(message: str) -> NotFound:
    return NotFound(message, error="FILE_NOT_FOUND", remediation=[Remedy("List the jobs of the project.", "list_jobs")])


def _wish_of(
    was: Request, *, quality: str | None, engine: str | None, without: tuple[str, ...], spend_limit: float | None
) -> Wish:
    return Wish(
        preset_id=was.preset, inputs=was.inputs, quality=quality or was.quality, engine=engine, without=without,
        account=was.account, spend_limit=spend_limit, priority=was.priority, name=was.name[:200],
    )


def _with_request(plan: Plan, request: Request) -> Plan:
    return replace(plan, request=request)
