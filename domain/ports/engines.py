"""Engines: what makes pictures, videos and voices, local or remote, behind one protocol.

An engine knows nothing of jobs, credits or assets. It is given one task at a time under an id that we choose (the
attempt), so that it can be asked later whether it ever accepted that attempt. What it cannot say is part of its answer:
``Submission.UNKNOWN`` exists because a timeout is not a refusal.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol

from domain.studio.fault import Fault
from domain.values import Json

Operation = Literal[
    "text_to_image", "image_to_image", "text_to_video", "image_to_video", "lip_sync", "expression_transfer",
    "upscale_image", "upscale_video", "restore_face", "edit_image", "edit_video", "compose_images", "compose_video",
]
"""What can be asked of an engine. ``edit_*`` are filters of what is given; ``compose_*`` join several inputs."""

Kind = Literal["local", "remote"]


@dataclass(frozen=True, slots=True)
class Material:
    """A stored file that a task works on: its digest (``sha256:…`` as blobs know it), size in bytes, media type."""

    digest: str
    size: int
    media_type: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """One piece of work. ``parameters`` are complete: seed filled, defaults filled, nothing left to the engine's mood.

    ``attempt`` is ours, unique for ever, at most 64 characters of ``[a-z0-9-]``. ``workflow`` is what to run, for
    engines that take workflows (``domain.ports.workflows``): that document and no other; nobody else is given one.
    """

    attempt: str
    operation: Operation
    model: str
    parameters: Mapping[str, Json]
    inputs: Mapping[str, Sequence[Material]] = field(default_factory=dict)
    deadline_seconds: float = 900.0
    callback_url: str | None = None
    workflow: Material | None = None


class Reading(Protocol):
    """Where an engine gets the bytes of a material from. Raises ``EngineError``, also in the middle: the bytes are gone
    (FILE_NOT_FOUND), others (FILE_REFUSED), or not to be had just now. An engine lets that error through as it is,
    and has submitted nothing."""

    def __call__(self, material: Material) -> AbstractAsyncContextManager[AsyncIterator[bytes]]: ...


@dataclass(frozen=True, slots=True)
class Accepted:
    """The engine has the task. ``external_id`` is its own name for it; ``memo`` whatever is needed to ask again
    (addresses, never a secret)."""

    external_id: str
    memo: Mapping[str, Json] = field(default_factory=dict)


class Submission(StrEnum):
    """What is known after a submission failed: whether the engine may be working on it (and charging for it)."""

    REFUSED = "refused"
    UNKNOWN = "unknown"


class EngineError(Exception):
    """An engine said no, or nothing. ``submission`` says what that means for a task that was being submitted."""

    def __init__(self, fault: Fault, submission: Submission = Submission.REFUSED) -> None:
        super().__init__(fault.message)
        self.fault = fault
        self.submission = submission


@dataclass(frozen=True, slots=True)
class Product:
    """A file that the engine has made. ``memo`` is what ``fetch`` needs; it may expire."""

    name: str
    media_type: str
    memo: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Accepted and not begun; ``ahead`` tasks before it where the engine tells."""

    ahead: int | None = None


@dataclass(frozen=True, slots=True)
class Working:
    """Begun. ``fraction`` from 0 to 1 where the engine tells; ``stage`` is a word or two for people."""

    fraction: float | None = None
    stage: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """Finished with these files. ``cost`` in the engine's own unit where it tells (``units``: ``usd``, ``credits``…).
    ``facts`` are what provenance wants: model, seed, version."""

    products: Sequence[Product]
    cost: float | None = None
    unit: str = ""
    facts: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failed:
    """It will not be finished. ``charged``: whether the engine takes money for it all the same."""

    fault: Fault
    charged: bool = False


@dataclass(frozen=True, slots=True)
class Cancelled:
    """It was cancelled, by us or by somebody at the engine."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The engine does not know this task any more (a restart, or the time that it keeps results is over)."""


Outcome = Waiting | Working | Done | Failed | Cancelled | Lost


class Cancelling(StrEnum):
    """What became of a request to cancel: success may still win the race."""

    CANCELLED = "cancelled"
    REQUESTED = "requested"
    TOO_LATE = "too_late"
    UNSUPPORTED = "unsupported"
    UNKNOWN_TASK = "unknown_task"


@dataclass(frozen=True, slots=True)
class Health:
    """``status`` as people read it; ``remedy`` the one action that would help (text and action id)."""

    status: Literal["running", "connected", "not_connected", "not_installed", "offline", "error"]
    message: str = ""
    remedy: tuple[str, str] | None = None
    facts: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Balance:
    """What is left at the engine, in its own unit; ``as_of`` says how old that is where the engine tells late."""

    amount: float
    unit: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Offer:
    """One thing that an engine can do: an operation with a model; ``missing`` names what is not installed for it."""

    operation: Operation
    model: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    missing: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Traits:
    """What never changes about an engine.

    ``finds_attempts``: after a crash it can say whether it accepted an attempt, so submitting is idempotent. ``paid``:
    a task may cost money. ``slots``: tasks at a time unless configured otherwise. ``repeats_safely``: it cannot be
    asked for an attempt, but submitting the very same task again under that attempt is answered with the first one.
    """

    id: str
    name: str
    kind: Kind
    paid: bool
    finds_attempts: bool
    slots: int
    poll_seconds: float = 2.0
    repeats_safely: bool = False


class Engine(Protocol):
    """One engine. Every method raises ``EngineError`` and nothing else for what goes wrong outside."""

    @property
    def traits(self) -> Traits: ...

    async def verify(self) -> None:
        """Returns when the credentials are good."""
        ...

    async def balance(self) -> Balance | None:
        """What is left, or ``None`` where the engine does not tell."""
        ...

    async def health(self) -> Health:
        """How it stands; never raises."""
        ...

    async def offers(self) -> Sequence[Offer]:
        """What it can do now, and what is missing for what it could do."""
        ...

    async def estimate(self, task: Task) -> tuple[float, str] | None:
        """An upper estimate in the engine's own unit, or ``None``: then the cost table decides."""
        ...

    async def submit(self, task: Task, reading: Reading) -> Accepted:
        """Hands the task over. Never retries by itself what may have been accepted."""
        ...

    async def find(self, attempt: str) -> Accepted | None:
        """The task of an attempt if the engine has it; ``None``: it certainly has not. Only with ``finds_attempts``."""
        ...

    async def poll(self, accepted: Accepted) -> Outcome:
        """How the task stands."""
        ...

    async def cancel(self, accepted: Accepted) -> Cancelling:
        """Asks for the task to be cancelled."""
        ...

    def fetch(self, accepted: Accepted, product: Product) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The bytes of a product; the caller bounds and hashes them."""
        ...

    async def close(self) -> None:
        """Lets go of connections."""
        ...
