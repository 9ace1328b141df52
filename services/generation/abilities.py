"""What engines can do right now, from what was last seen of them: asked by the planner, for each way of each step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from domain.errors import Remedy
from domain.ports.engines import Engine, Offer
from domain.studio.fault import Fault, fault
from domain.studio.model_library import supplying
from domain.studio.preset_plan import Ability, Asked, PlannedStep
from services.generation.documents import Documents, runs_none
from services.generation.engines import Look, away, name_of, not_there, remedy

Supplier = Callable[[str, str], str | None]
"""Folder and name of a missing file → the entry of the model catalogue that it would come from."""


class Seen:
    """Engines and how they stand; usable as ``domain.studio.preset_plan.Abilities``."""

    def __init__(
        self, engines: Mapping[str, Engine], looks: Mapping[str, Look], supplies: Supplier = supplying,
        documents: Documents = MappingProxyType({}),
    ) -> None:
        self._engines = engines
        self._looks = looks
        self._supplies = supplies
        self._documents = documents

    def __call__(self, asked: Asked) -> Ability:
        engine, look = self._engines.get(asked.engine), self._looks.get(asked.engine)
        if engine is None or look is None:
            return Ability(fault=not_there(asked.engine))
        if not look.ready:
            return Ability(fault=away(asked.engine, look))
        found = self._offer(asked, look, engine.traits.name)
        if isinstance(found, Fault):
            return Ability(fault=found)
        traits = engine.traits
        return Ability(
            model=asked.model.removesuffix(":") or found.model, paid=traits.paid,
            finds_attempts=traits.finds_attempts, remote=traits.kind == "remote",
        )

    def _offer(self, asked: Asked, look: Look, name: str) -> Offer | Fault:
        """The offer that does what is asked; of the workflow alone where one is named."""
        if not asked.workflow:
            return _offer(asked, look.offers, name)
        found = self._documents.get((asked.engine, asked.workflow))
        if found is None:
            return runs_none(asked.engine)
        return found if isinstance(found, Fault) else _offer(asked, found, name)

    def helping(self, found: Fault) -> list[Remedy]:
        """What would help with a fault of planning: one thing for each engine that could do the step."""
        ways: Any = found.detail.get("ways") or [{"engine": found.detail.get("engine"), **found.detail}]
        helps: list[Remedy] = []
        for way in ways:
            id_ = str(way.get("engine"))
            known = remedy(id_, self._looks.get(id_))
            if known is None and way.get("missing"):
                lacks = ", ".join(map(str, way["missing"][:3]))
                known = (f"Install for {name_of(id_)}: {lacks}.{self._supply(way['missing'])}", "install_model")
            if known is not None:
                helps.append(Remedy(*known))
        return list(dict.fromkeys(helps))

    def _supply(self, missing: Sequence[Any]) -> str:
        """Which entries of the model catalogue bring what is missing, where there are some."""
        places = [str(one).partition("/") for one in missing]
        found = [self._supplies(folder, name) for folder, slash, name in places if slash]
        ids = list(dict.fromkeys(one for one in found if one is not None))
        return f" The model catalogue has it: download {' and '.join(ids[:5])}." if ids else ""

    def misfit(self, step: PlannedStep) -> Fault | None:
        """A parameter that the step's engine does not know, or lacks: told before anything is asked for or paid."""
        engine, look = self._engines[step.engine], self._looks[step.engine]
        asked = Asked(step.engine, step.operation, step.model, frozenset(step.inputs),
                      step.workflow.digest if step.workflow is not None else "")
        found = self._offer(asked, look, engine.traits.name)
        if isinstance(found, Fault):
            return found
        takes, needs = _parameters(found)
        if takes is None:
            return None
        if unknown := sorted(step.parameters.keys() - takes - {"seed"}):
            return fault("CONTRACT_MISMATCH", f"{found.model} of {engine.traits.name} takes no {unknown[0]}.",
                         step=step.id, fields=unknown[:20], takes=sorted(takes)[:50])
        if missing := sorted(needs - step.parameters.keys()):
            return fault("MISSING_REQUIRED_FIELD", f"{found.model} of {engine.traits.name} needs {missing[0]}.",
                         step=step.id, fields=missing[:20])
        return None


def _offer(asked: Asked, offers: Sequence[Offer], name: str) -> Offer | Fault:
    """The offer that does what is asked, or why there is none."""
    suited = [one for one in offers if one.operation == asked.operation]
    if not suited:
        return fault("DEPENDENCY_MISSING", f"{name} cannot do {asked.operation.replace('_', ' ')} here.",
                     engine=asked.engine, missing=[asked.operation])
    # ComfyUI's models may be written <workflow>:<file>; the file is then one that is installed.
    flow, colon, file = asked.model.partition(":")
    flows = [one for one in suited if one.model == flow] if colon else []
    named = [one for one in suited if one.model == asked.model] if asked.model else suited
    if flows and file and all(one.model != file for one in suited):
        return _lacks(asked, name, file)
    named = named or flows
    if not named:
        return _lacks(asked, name, asked.model)
    fitting = [one for one in named if _takes(one, asked.inputs)]
    if not fitting:
        given = ", ".join(sorted(asked.inputs)) or "no files"
        return fault("DEPENDENCY_MISSING", f"{name} has nothing for {asked.operation.replace('_', ' ')} with {given}.",
                     engine=asked.engine, missing=[f"{asked.operation} with {given}"])
    ready = [one for one in fitting if not one.missing]
    if not ready:
        missing = [str(one) for one in fitting[0].missing]
        return fault("DEPENDENCY_MISSING", f"{name} lacks {', '.join(missing[:5])}."[:2000], engine=asked.engine,
                     missing=missing[:50])
    return ready[0]


def _lacks(asked: Asked, name: str, model: str) -> Fault:
    return fault("DEPENDENCY_MISSING", f"{name} has no model {model[:200]} for {asked.operation.replace('_', ' ')}.",
                 engine=asked.engine, missing=[model[:200]])


def _takes(offer: Offer, inputs: frozenset[str]) -> bool:
    known = offer.parameters.get("inputs", offer.parameters.get("x-inputs"))
    if not isinstance(known, Mapping):
        return True
    needed = {name for name, one in known.items() if _needed(one)}
    return needed <= inputs <= known.keys()


def _needed(one: Any) -> bool:
    if not isinstance(one, Mapping):
        return True
    return bool(one.get("required", one.get("least", 1)))


def _parameters(offer: Offer) -> tuple[set[str] | None, set[str]]:
    """Names that an offer takes, and those that it needs; nothing where it does not tell."""
    told = offer.parameters
    schema = told.get("schema", told)
    if isinstance(schema, Mapping) and isinstance(schema.get("properties"), Mapping):
        return set(schema["properties"]), set(schema.get("required", ()))
    listed = told.get("parameters")
    if isinstance(listed, Mapping):
        needs = {name for name, one in listed.items() if isinstance(one, Mapping) and one.get("required")}
        return set(listed), needs
    return None, set()
