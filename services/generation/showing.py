"""Presets as people choose among them: what each takes, and whether it can run on the engines at hand, now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from domain.studio.fault import Fault
from domain.studio.preset_model import FILES, Input, Preset
from domain.studio.preset_plan import Given, Outline, outline
from projections.reading import PageQuery
from projections.studio.preset import ListOwnPresets
from services.generation.abilities import Seen
from services.generation.documents import documents
from services.generation.engines import KNOWN, Look, name_of, told
from services.generation.library import Found, built_in, digest_of, find_preset, read_preset
from services.generation.planning import MAKE_DRAFT
from services.models.supplying import supplier
from services.studio import Studio

MOST: Final = 500
"""Most presets of a project's own that are listed with what they can do; `GET /api/presets/own` lists the rest."""

RERUNS: Final = "It runs what the failed job ran, where that can run."

_SAMPLES: Final[dict[str, Any]] = {
    "text": "x", "integer": 1, "number": 1.0, "boolean": False, "image": "sample", "video": "sample",
    "audio": "sample", "job": "sample", "character": "sample",
}


async def presets_shown(studio: Studio, project: str, *, min_position: int = 0) -> dict[str, Any]:
    """Every preset of a project, the studio's own first."""
    query = ListOwnPresets(project=project, min_position=min_position, limit=min(MOST, _page_limit()))
    own = await studio.look(studio.registry.views["ListOwnPresets"], query)
    found = [*built_in().values()]
    unreadable = []
    for row in own["items"]:
        try:
            preset = read_preset(row["preset"])
            found.append(Found(preset, digest_of(preset), False))
        except Exception as error:  # one that a newer release wrote does not hide the others
            unreadable.append({"id": row["id"], "message": str(error)})
    able = await _able(studio, project, [one.preset for one in found])
    return {"items": [shown(one, able) for one in found], "next": None, "unreadable": unreadable,
            "more": own["next"] is not None}


async def preset_shown(studio: Studio, project: str, preset_id: str) -> dict[str, Any]:
    """One preset; raises ``NotFound``."""
    found = await find_preset(studio.dispatcher, project, preset_id)
    return shown(found, await _able(studio, project, [found.preset]))


async def engines_shown(studio: Studio) -> dict[str, Any]:
    """Every engine that this release can speak to, and whatever else is at hand."""
    looks = await studio.engines.around()
    names = [*KNOWN, *(id_ for id_ in studio.engines if id_ not in KNOWN)]
    return {"items": [_engine(studio, id_, looks.get(id_)) for id_ in names], "next": None}


async def engine_shown(studio: Studio, engine_id: str) -> dict[str, Any] | None:
    """One engine, or nothing where nobody knows it."""
    if engine_id not in KNOWN and engine_id not in studio.engines:
        return None
    looks = await studio.engines.around([engine_id])
    return _engine(studio, engine_id, looks.get(engine_id))


def _engine(studio: Studio, id_: str, look: Look | None) -> dict[str, Any]:
    return told(id_, studio.engines.get(id_), look, studio.engines.slots_of(id_))


async def _able(studio: Studio, project: str, presets: list[Preset]) -> Seen:
    wanted = {way.engine for preset in presets for step in preset.steps for way in step.ways}
    looks = await studio.engines.around(wanted)
    return Seen(studio.engines, looks, await supplier(studio, project), await documents(studio, presets, looks))


def _page_limit() -> int:
    limits = [one.le for one in PageQuery.model_fields["limit"].metadata if hasattr(one, "le")]
    return int(limits[0]) if limits else MOST


def shown(found: Found, able: Seen) -> dict[str, Any]:
    """A preset in the words of its document, with what makes choosing easy and whether it can run."""
    preset = found.preset
    ways = [way for step in preset.steps for way in step.ways]
    return {
        **preset.model_dump(mode="json"), "built_in": found.built_in, "digest": found.digest,
        "required_inputs": {name: one.type for name, one in preset.inputs.items() if one.required},
        "optional_inputs": {name: one.type for name, one in preset.inputs.items() if not one.required},
        "engine_preference_order": list(dict.fromkeys(way.engine for way in ways)),
        "makes": makes(preset), "default_quality": preset.level, "can_run": can_run(preset, able),
    }


def makes(preset: Preset) -> str:
    """What comes out at the end: ``image``, ``video``, or ``any`` for what runs other presets."""
    return preset.steps[-1].output if preset.steps else "any"


def can_run(preset: Preset, able: Seen) -> dict[str, Any]:
    """Whether the preset can run now with what it needs and no more, at each quality; else what is missing.

    ``with_inputs`` tells the same for each optional input that makes a difference: a draft, a reference picture.
    """
    if preset.reruns is not None:
        free = {"ok": True, "engines": [], "paid": False, "left_out": [], "missing": []}
        return {"ok": True, "levels": dict.fromkeys(preset.quality_levels, free), "missing": [],
                "with_inputs": {}, "note": RERUNS, "summary": RERUNS, "press": []}
    plain = {name: _sample(one) for name, one in preset.inputs.items() if one.required}
    outlined = {level: _outlined(preset, plain, level, able) for level in preset.quality_levels}
    levels = {level: _told(one) for level, one in outlined.items()}
    usual = levels[preset.level]
    differing = {}
    for name, one in preset.inputs.items():
        if one.required or (one.type not in FILES and one.type != "boolean"):
            continue
        sample = True if one.type == "boolean" else _sample(one)
        able_to = _told(_outlined(preset, {**plain, name: sample}, preset.level, able))
        if able_to["ok"] != usual["ok"] or able_to["engines"] != usual["engines"]:
            differing[name] = able_to
    drafts = "draft" in differing and differing["draft"]["ok"]
    press = [] if usual["ok"] else [one for fault in outlined[preset.level].faults for one in able.helping(fault)]
    press += [MAKE_DRAFT] if drafts and not usual["ok"] else []
    return {"ok": any(one["ok"] for one in levels.values()), "levels": levels, "missing": usual["missing"],
            "with_inputs": differing, "summary": _summary(preset, levels, differing),
            "press": [one._asdict() for one in dict.fromkeys(press)]}


def _summary(preset: Preset, levels: Mapping[str, Any], differing: Mapping[str, Any]) -> str:
    """In one sentence: on what it runs now; else what is missing, and how it runs all the same."""
    usual = levels[preset.level]
    if usual["ok"]:
        names = " and ".join(name_of(id_) for id_ in usual["engines"])
        return f"It runs now on {names}{', which costs credits' if usual['paid'] else ''}."
    why = usual["missing"][0]["message"] if usual["missing"] else "Nothing can do it."
    others = [level for level, one in levels.items() if one["ok"]]
    if others:
        return f"It runs now at the quality {' or '.join(others)}. At {preset.level}: {why}"
    options = [name for name, one in differing.items() if one["ok"]]
    if options:
        return f"It runs now with {' or '.join(options)}. Without: {why}"
    return f"It cannot run now. {why}"


def _outlined(preset: Preset, inputs: Mapping[str, Any], level: str, able: Seen) -> Outline:
    found = outline(preset, Given(inputs, level, 0), able)
    misfits = tuple(one for step in found.steps if (one := able.misfit(step)) is not None)
    return Outline(found.steps, found.left_out, (*found.faults, *misfits))


def _sample(one: Input) -> Any:
    if one.type == "choice":
        return one.choices[0]
    value = _SAMPLES[one.type]
    if one.type in ("integer", "number") and one.minimum is not None:
        value = max(value, one.minimum)
    return [value] if one.many else value


def _told(found: Outline) -> dict[str, Any]:
    return {
        "ok": not found.faults,
        "engines": [] if found.faults else list(dict.fromkeys(one.engine for one in found.steps)),
        "paid": not found.faults and any(one.paid for one in found.steps),
        "left_out": [one.id for one in found.left_out if one.fault is not None],
        "missing": [_missing(one) for one in found.faults],
    }


def _missing(fault: Fault) -> dict[str, Any]:
    return {"error": fault.code, "message": fault.message, "remediation": fault.remediation(), "detail": fault.detail}
