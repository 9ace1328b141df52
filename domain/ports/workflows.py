"""Workflows that users bring: a graph of somebody's own becomes something that can be asked for by name and type.

Which graphs those are is the engine's business; what a preset has to know of one is told here. A document is stored as
bytes and named by its digest, so every worker runs the same one, and the engine keeps nothing that could be lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from domain.ports.engines import Material, Offer, Operation, Reading
from domain.values import Json

ParameterKind = Literal["text", "integer", "number", "boolean", "model"]


@dataclass(frozen=True, slots=True)
class TakenParameter:
    """A value that can be given, with what stands there now."""

    name: str
    kind: ParameterKind
    description: str
    default: Json = None
    required: bool = False
    minimum: float | int | None = None
    maximum: float | int | None = None


@dataclass(frozen=True, slots=True)
class TakenFile:
    """A file that has to be given."""

    name: str
    media: Literal["image", "video", "audio"]
    description: str


@dataclass(frozen=True, slots=True)
class TakenWorkflow:
    """What was found in a graph. ``document`` is what the engine is to be handed with every task; nobody keeps it yet.

    ``main`` names the parameter with the model that matters most; ``loras`` says whether LoRAs can be put in.
    ``likeness``: the graph makes pictures of the person in its input. ``missing`` is not installed at the engine, as
    far as that could be asked.
    """

    id: str
    name: str
    operation: Operation
    makes: Literal["image", "video"]
    parameters: Sequence[TakenParameter]
    files: Sequence[TakenFile]
    document: bytes
    main: str | None = None
    loras: bool = False
    likeness: bool = False
    notes: Sequence[str] = ()
    missing: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Taking:
    """How a graph is to be taken. ``expose``: name of a parameter -> ``NODE.INPUT`` that it stands for."""

    id: str
    name: str = ""
    operation: Operation | None = None
    expose: Mapping[str, str] = field(default_factory=dict)


@runtime_checkable
class TakesWorkflows(Protocol):
    """An engine that runs graphs of its users."""

    async def take_workflow(self, content: bytes, taking: Taking) -> TakenWorkflow:
        """Reads a graph and finds what it must be told. Raises ``EngineError`` with CONTRACT_MISMATCH for what is none,
        and whatever asking the engine raises where that cannot be spared."""
        ...

    async def workflow_offers(self, workflow: Material, reading: Reading) -> Sequence[Offer]:
        """What a stored document can do now, and what is missing for it. Raises ``EngineError``: FILE_NOT_FOUND where
        its bytes are gone, CHECKSUM_MISMATCH where they are others, CONTRACT_MISMATCH where they are no workflow."""
        ...
