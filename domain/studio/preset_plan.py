"""From a preset and what it was given to the steps that engines do: conditions decided, references filled, ways chosen.

Pure: what engines can do is asked of ``Abilities``, what was given has been judged before. The same inputs, seed and
abilities make the same steps for ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from domain.studio.expressions import condition, filled, looked_up, whole_reference
from domain.studio.fault import Fault, fault
from domain.studio.job_values import STEPS_LIMIT, WorkflowDocument
from domain.studio.preset_model import FILES, Preset, PresetStep, Way

SEEDS: Final = 2**32
"""Seeds are from 0 to one below this."""

REPEATS_LIMIT: Final = 20
"""Most repetitions of one step."""


class Asked(NamedTuple):
    """What a way would ask of its engine: enough to say whether it can. ``workflow`` is the digest of a stored one."""

    engine: str
    operation: str
    model: str
    inputs: frozenset[str]
    workflow: str = ""


@dataclass(frozen=True, slots=True)
class Ability:
    """What an engine can do about it: with which model, and at whose cost; or why not."""

    model: str = ""
    paid: bool = False
    finds_attempts: bool = True
    remote: bool = False
    fault: Fault | None = None


class Abilities(Protocol):
    """Says what engines can do."""

    def __call__(self, asked: Asked) -> Ability: ...


@dataclass(frozen=True, slots=True)
class Given:
    """What a preset is given: inputs by name (files as ids of assets), level, seed, and what is known of a character.

    ``without`` names engines that are not to be used; ``prefer`` one that goes before the others wherever it suits.
    """

    inputs: Mapping[str, Any]
    level: str
    seed: int
    character: Mapping[str, Any] = field(default_factory=dict)
    without: frozenset[str] = frozenset()
    prefer: str | None = None


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step with everything decided but its cost. ``inputs`` name assets and outputs of earlier steps."""

    id: str
    operation: str
    engine: str
    model: str
    parameters: Mapping[str, Any]
    inputs: Mapping[str, tuple[str, ...]]
    output: str
    paid: bool
    finds_attempts: bool
    remote: bool
    workflow: WorkflowDocument | None = None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A step that will not be done, and why: its condition does not hold, or nobody can do it and it is optional."""

    id: str
    why: str
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Outline:
    """The steps of a preset. With ``faults`` it cannot be done: the first of them says why."""

    steps: tuple[PlannedStep, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    faults: tuple[Fault, ...] = ()


def outline(preset: Preset, given: Given, able: Abilities) -> Outline:
    """The steps, for inputs that ``input_problems`` has nothing against."""
    known = _known(preset, given)
    steps: list[PlannedStep] = []
    left: list[LeftOut] = []
    faults: list[Fault] = []
    repeated: set[str] = set()
    for step in preset.steps:
        if step.when is not None and not condition(step.when).holds(known):
            left.append(LeftOut(step.id, "it was not asked for"))
            known[step.id] = {step.output: _instead(step, known), "engine": ""}
            continue
        chosen = _chosen(step, given, known, able)
        if isinstance(chosen, Fault):
            left.append(LeftOut(step.id, "nobody can do it", chosen))
            handed = _instead(step, known)
            if not step.optional:
                faults.append(chosen)
                # What follows is judged as if it had been made: only what is missing itself is told as missing.
                handed = (f"step:{step.id}.{step.output}",)
            known[step.id] = {step.output: handed, "engine": ""}
            continue
        made = [*_repeated(preset, step, given, known, chosen, repeated)]
        if step.repeat is not None:
            repeated.add(step.id)
        steps += made
        known[step.id] = {step.output: tuple(f"step:{one.id}.{step.output}" for one in made),
                          "engine": chosen.way.engine}
    if len(steps) > STEPS_LIMIT:
        faults.append(fault("VALIDATION_ERROR", f"It would be {len(steps)} steps; {STEPS_LIMIT} is the most."))
    if not steps and not faults:
        faults.append(fault("VALIDATION_ERROR", "Nothing would be done: no step of the preset applies."))
    return Outline(tuple(steps), tuple(left), tuple(faults))


class _Way(NamedTuple):
    way: Way
    ability: Ability


def _known(preset: Preset, given: Given) -> dict[str, Any]:
    quality = {"level": given.level, **preset.quality_levels[given.level]}
    inputs = {}
    for name, one in preset.inputs.items():
        value = given.inputs.get(name)
        value = filled(one.default, {"quality": quality}) if value is None else value
        if one.type in FILES and value is not None:
            value = tuple(f"asset:{id_}" for id_ in (value if isinstance(value, list | tuple) else [value]))
        inputs[name] = value
    shown = {
        name: (f"asset:{value}",) if name in ("portrait", "look") and value else value
        for name, value in given.character.items()
    }
    return {"inputs": inputs, "quality": quality, "seed": given.seed, "character": shown}


def _chosen(step: PresetStep, given: Given, known: Mapping[str, Any], able: Abilities) -> _Way | Fault:
    """The first way that suits and that its engine can go; else why the one that is wanted most cannot be gone."""
    faults: list[Fault] = []
    for way in sorted(step.ways, key=lambda one: one.engine != given.prefer):
        if way.engine in given.without or (way.when is not None and not condition(way.when).holds(known)):
            continue
        asked = Asked(way.engine, way.operation or step.operation, str(filled(way.model, known) or ""),
                      frozenset(_files(step, way, known)), way.workflow.digest if way.workflow is not None else "")
        ability = able(asked)
        if ability.fault is None:
            return _Way(way, ability)
        faults.append(ability.fault)
    if not faults:
        return fault("ENGINE_OFFLINE", f"No engine that may be used can do the step {step.id} with these inputs.",
                     step=step.id, operation=step.operation, engines=[way.engine for way in step.ways])
    first = faults[0]
    told = {"step": step.id, "ways": [{"code": one.code, "message": one.message, **one.detail} for one in faults]}
    return first.model_copy(update={"detail": {**first.detail, **told}})


def _repeated(
    preset: Preset, step: PresetStep, given: Given, known: Mapping[str, Any], chosen: _Way, repeated: Set[str]
) -> Iterator[PlannedStep]:
    if step.repeat is None:
        yield _made(step, step.id, known, chosen)
        return
    wanted = step.repeat if isinstance(step.repeat, int) else filled(step.repeat, known)
    times = wanted if isinstance(wanted, int) and not isinstance(wanted, bool) else 1
    for index in range(1, max(1, min(times, REPEATS_LIMIT)) + 1):
        here = {**known, "index": index, "seed": (given.seed + index - 1) % SEEDS,
                "inputs": _numbered(preset, known["inputs"], index),
                # A repeated step that works on what a repeated step has made works on the one of its own number.
                **{id_: _of_number(known[id_], index) for id_ in repeated}}
        yield _made(step, f"{step.id}_{index}", here, chosen)


def _of_number(made: Mapping[str, Any], index: int) -> dict[str, Any]:
    return {name: told if name == "engine" else tuple(told[index - 1 : index] or told[-1:])
            for name, told in made.items()}


def _numbered(preset: Preset, inputs: Mapping[str, Any], index: int) -> dict[str, Any]:
    return {
        name: value.replace(preset.inputs[name].numbered, str(index))
        if preset.inputs[name].numbered and isinstance(value, str) else value
        for name, value in inputs.items()
    }


def _made(step: PresetStep, id_: str, known: Mapping[str, Any], chosen: _Way) -> PlannedStep:
    way, ability = chosen
    parameters = filled({**step.parameters, **way.parameters}, known)
    return PlannedStep(
        id=id_, operation=way.operation or step.operation, engine=way.engine, model=ability.model,
        # What nobody has given is left to the defaults of the operation, which the adapter fills.
        parameters={name: value for name, value in parameters.items() if value is not None},
        inputs=_files(step, way, known), output=step.output, paid=ability.paid,
        finds_attempts=ability.finds_attempts, remote=ability.remote,
        # As an event keeps it: a plan and what is read of it again are the same.
        workflow=None if way.workflow is None else WorkflowDocument(digest=way.workflow.digest, size=way.workflow.size),
    )


def _files(step: PresetStep, way: Way | None, known: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    wanted = way.inputs if way is not None and way.inputs else step.inputs
    found = {name: _resolved(one, known) for name, one in wanted.items()}
    return {name: refs for name, refs in found.items() if refs}


def _resolved(given: str | Sequence[str], known: Mapping[str, Any]) -> tuple[str, ...]:
    refs: list[str] = []
    for text in (given,) if isinstance(given, str) else given:
        name = whole_reference(text)
        found = looked_up(known, name) if name is not None else None
        refs += [found] if isinstance(found, str) else found or ()
    return tuple(refs)


def _instead(step: PresetStep, known: Mapping[str, Any]) -> tuple[str, ...]:
    """What stands for the output of a step that is left out: its own first input."""
    first = next(iter(step.inputs.values()), None)
    return () if first is None else _resolved(first, known)
