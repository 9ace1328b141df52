"""What a job is asked to do, how it means to do it, and how far it has come: the values that its events carry."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field, JsonValue

from domain.ids import Token
from domain.values import Value

STEPS_LIMIT: Final = 64
"""Most steps of one job (a storyboard of ten shots has about thirty)."""

PRIORITY: Final = 5
"""The priority of a job that names none; 0 is the last to be taken, 9 the first."""

PROGRESS_LIMIT: Final = 40
"""Most reports of progress that one attempt records: events last for ever."""

WORKFLOW_BYTES: Final = 512 * 1024
"""Largest document of a workflow."""

JsonObject = dict[str, JsonValue]
Outputs = dict[str, tuple[str, ...]]
"""Name of an output -> ids of the assets that it is."""

AttemptId = Annotated[str, Field(min_length=1, max_length=64)]
Text = Annotated[str, Field(max_length=2000)]
Microcredits = Annotated[int, Field(ge=0)]


class Kept(Value):
    """A value inside an event: fields of a newer release are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Consent(Kept):
    """Whoever asked has confirmed that the people shown have agreed. ``assets`` are those in which they are shown."""

    by: str
    given_at: str
    statement: Text
    assets: tuple[Token, ...] = ()


class Request(Kept):
    """What somebody asked for. ``inputs`` are as they were given: texts, numbers, ids of assets; never a secret.

    ``seed`` is always filled. ``deadline`` is RFC 3339 in UTC. ``retry_of`` is the job that this one repeats, ``root``
    the first of that line (its own id for a job that repeats none). ``account`` pays; nobody does where all is free.
    """

    preset: Token
    preset_digest: str
    name: str
    inputs: JsonObject
    quality: str
    seed: int = Field(ge=0, lt=2**32)
    owner: str
    account: Token | None
    priority: int = Field(ge=0, le=9)
    deadline: str | None
    consent: Consent | None
    retry_of: str | None
    root: str


class WorkflowDocument(Kept):
    """A workflow that an engine is handed whole: stored bytes, by their SHA-256 in hex and their number."""

    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}\z")]
    size: Annotated[int, Field(ge=1, le=WORKFLOW_BYTES)]


class Step(Kept):
    """One step of the plan: an operation by one engine, with complete parameters.

    ``inputs`` name assets (``asset:<uid>``) and outputs of earlier steps (``step:<id>.<output>``), ``parameters`` may
    hold ``{"$step": "<id>.<name>"}`` for a value that an earlier step tells. ``paid`` and ``finds_attempts`` are the
    engine's traits when it was planned; ``estimate`` is the most that the step may cost. ``workflow`` is what the
    engine is to run, where engines run workflows of users: whatever becomes of the preset, this step runs that one.
    """

    id: Token
    operation: str
    engine: str
    model: str
    parameters: JsonObject
    inputs: dict[str, tuple[str, ...]]
    output: Token
    paid: bool
    finds_attempts: bool
    estimate: Microcredits
    workflow: WorkflowDocument | None = None


class Artifact(Kept):
    """A file that an attempt has made, stored and registered."""

    name: str
    uid: Token
    digest: str
    size: int
    media_type: str


class Attempt(Kept):
    """One try at a step, from before the engine is asked until it is over.

    ``started``: the engine is being asked; whether it has the task is not known. ``accepted``: it has, under
    ``external_id``. ``doubted``: nobody can say, and it may cost money. ``waiting``: it failed and will be repeated as
    a new attempt after ``retry_at``.
    """

    id: str
    step: Token
    number: int
    situation: Literal["started", "accepted", "doubted", "waiting"]
    external_id: str | None = None
    memo: JsonObject = {}
    reports: int = 0
    fraction: float | None = None
    stage: str = ""
    artifacts: tuple[Artifact, ...] = ()
    retry_at: str | None = None
