"""Jobs: work on engines that outlives whoever does it. What an engine was asked is recorded before it is asked.

A job is asked for and planned in one decision with the credits that it may cost. A worker takes it, and each step is
one or more attempts. An attempt is recorded before the engine is asked, and what the engine calls it before anybody
waits: so after a crash, at any point, the log says exactly what may be going on outside.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, assert_never

from pydantic import Field

from domain.context import Context
from domain.ids import Token
from domain.studio.fault import Fault
from domain.studio.job_values import Artifact, Attempt, JsonObject, Microcredits, Outputs, Request, Step, Text
from domain.values import Event, Value

CATEGORY = "job"

TAKINGS_LIMIT: Final = 3
"""Workers that a job may end, one after the other and without any progress, before nobody takes it any more."""


class JobRequested(Event):
    """Somebody asked for work."""

    job_id: Token
    request: Request


class JobPlanned(Event):
    """How it will be done. ``held`` is reserved for it on the request's account, under the job's id."""

    job_id: Token
    steps: tuple[Step, ...]
    held: Microcredits


class JobTaken(Event):
    """A worker began, or went on after another had stopped. ``taking`` counts since the job last moved; ``owner`` is
    whoever asked for the job: who was served lately waits longer than who was not."""

    job_id: Token
    worker: str
    taking: int
    owner: str = ""


class JobLeft(Event):
    """A worker gave it back in order (it was told to end): that is not held against the job."""

    job_id: Token
    worker: str


class JobCleared(Event):
    """A worker has had it in hand for a while and lives: that others ended before was not this job's doing."""

    job_id: Token
    worker: str


class AttemptStarted(Event):
    """The engine is about to be asked, under this id. ``task`` is what exactly it will be asked for."""

    job_id: Token
    attempt: str
    step: Token
    number: int
    engine: str
    task: JsonObject


class AttemptAccepted(Event):
    """The engine has it. ``memo`` is what is needed to ask for it again."""

    job_id: Token
    attempt: str
    external_id: str
    memo: JsonObject


class AttemptProgressed(Event):
    """How far it is, where the engine tells; recorded now and then."""

    job_id: Token
    attempt: str
    fraction: float | None
    stage: str


class AttemptFailed(Event):
    """It failed. ``charged`` is what it cost all the same; ``retry_at`` when a new attempt may begin, if one may."""

    job_id: Token
    attempt: str
    fault: Fault
    charged: Microcredits
    retry_at: str | None


class AttemptLost(Event):
    """The engine has forgotten it. ``retry_at`` says when a new attempt may begin, if one may."""

    job_id: Token
    attempt: str
    fault: Fault
    charged: Microcredits
    retry_at: str | None


class AttemptDoubted(Event):
    """Nobody can say whether the engine took this paid work. It is not asked again until somebody has looked."""

    job_id: Token
    attempt: str
    fault: Fault


class AttemptResolved(Event):
    """Somebody has looked: the engine has it (under ``external_id``), or it never had."""

    job_id: Token
    attempt: str
    verdict: Literal["accepted", "never_accepted"]
    external_id: str | None
    notes: Text


class ArtifactStored(Event):
    """A file of an attempt is stored, and an asset of the project."""

    job_id: Token
    attempt: str
    artifact: Artifact


class StepFinished(Event):
    """A step is done. ``facts`` are what the engine told of it; ``cost`` is what it really cost."""

    job_id: Token
    attempt: str
    step: Token
    outputs: Outputs
    cost: Microcredits
    facts: JsonObject


class JobPrioritised(Event):
    """The job stands elsewhere in the queue."""

    job_id: Token
    priority: int


class JobCancelRequested(Event):
    """Somebody wants it to stop. The engine is told; success may still win the race."""

    job_id: Token
    reason: Text


class JobQuarantined(Event):
    """It has ended its workers several times without moving: nobody takes it until it is released."""

    job_id: Token
    fault: Fault


class JobReleased(Event):
    """A quarantined job may be taken again."""

    job_id: Token


class JobCompleted(Event):
    """It is done, and paid."""

    job_id: Token
    outputs: Outputs
    cost: Microcredits


class JobFailed(Event):
    """It will not be done. What was delivered is paid for, the rest is given back."""

    job_id: Token
    fault: Fault
    cost: Microcredits


class JobCancelled(Event):
    """It was stopped before it was done."""

    job_id: Token
    cost: Microcredits


class JobLost(Event):
    """An engine has forgotten paid work, so that nobody can finish it."""

    job_id: Token
    fault: Fault
    cost: Microcredits


JobEvent = (
    JobRequested | JobPlanned | JobTaken | JobLeft | JobCleared | AttemptStarted | AttemptAccepted
    | AttemptProgressed | AttemptFailed | AttemptLost | AttemptDoubted | AttemptResolved | ArtifactStored
    | StepFinished | JobPrioritised | JobCancelRequested | JobQuarantined | JobReleased | JobCompleted | JobFailed
    | JobCancelled | JobLost
)


class Unrequested(Value):
    """No such job yet."""

    kind: Literal["unrequested"] = "unrequested"


class Open(Value):
    """A job that is not over.

    ``taking`` counts workers since it last moved (0: nobody has begun); ``finished`` holds the outputs of the steps
    that are done, ``facts`` what was told of them; ``attempts`` counts the tries of every step, ``spent`` what the job
    has cost so far.
    """

    kind: Literal["open"] = "open"
    request: Request
    steps: tuple[Step, ...] = ()
    held: int = 0
    taken: bool = False
    taking: int = 0
    finished: dict[str, Outputs] = {}
    facts: dict[str, JsonObject] = {}
    attempts: dict[str, int] = {}
    attempt: Attempt | None = None
    spent: int = 0
    cancelling: bool = False
    quarantined: Fault | None = None

    def step(self) -> Step | None:
        """The step to work on, or nothing when all are done."""
        return next((step for step in self.steps if step.id not in self.finished), None)


class Closed(Value):
    """A job that is over."""

    kind: Literal["closed"] = "closed"
    outcome: Literal["completed", "failed", "cancelled", "lost"]
    outputs: Outputs
    fault: Fault | None
    cost: int
    was: Open


JobState = Annotated[Unrequested | Open | Closed, Field(discriminator="kind")]


def evolve(state: Unrequested | Open | Closed, event: JobEvent) -> Unrequested | Open | Closed:
    """What an event makes of a job."""
    if isinstance(event, JobRequested):
        return Open(request=event.request)
    assert isinstance(state, Open), "a job is open until it is over"
    match event:
        case JobCompleted():
            return Closed(outcome="completed", outputs=event.outputs, fault=None, cost=event.cost, was=state)
        case JobFailed():
            return Closed(outcome="failed", outputs={}, fault=event.fault, cost=event.cost, was=state)
        case JobCancelled():
            return Closed(outcome="cancelled", outputs={}, fault=None, cost=event.cost, was=state)
        case JobLost():
            return Closed(outcome="lost", outputs={}, fault=event.fault, cost=event.cost, was=state)
        case JobPlanned():
            return state.model_copy(update={"steps": event.steps, "held": event.held})
        case JobTaken():
            return state.model_copy(update={"taken": True, "taking": event.taking})
        case JobLeft():
            return state.model_copy(update={"taking": max(0, state.taking - 1)})
        case JobCleared():
            return state.model_copy(update={"taking": min(state.taking, 1)})
        case JobPrioritised():
            request = state.request.model_copy(update={"priority": event.priority})
            return state.model_copy(update={"request": request})
        case JobCancelRequested():
            return state.model_copy(update={"cancelling": True})
        case JobQuarantined():
            return state.model_copy(update={"quarantined": event.fault})
        case JobReleased():
            return state.model_copy(update={"quarantined": None, "taking": 0})
        case _:
            return _attempted(state, event)


def _attempted(
    state: Open,
    event: AttemptStarted | AttemptAccepted | AttemptProgressed | AttemptFailed | AttemptLost | AttemptDoubted
    | AttemptResolved | ArtifactStored | StepFinished,
) -> Open:
    if isinstance(event, AttemptStarted):
        attempt = Attempt(id=event.attempt, step=event.step, number=event.number, situation="started")
        return _moved(state, attempt, attempts={**state.attempts, event.step: event.number})
    assert state.attempt is not None, "an attempt is started before anything becomes of it"
    attempt = state.attempt
    match event:
        case AttemptAccepted():
            return _moved(state, attempt.model_copy(update={
                "situation": "accepted", "external_id": event.external_id, "memo": event.memo,
            }))
        case AttemptProgressed():
            return _moved(state, attempt.model_copy(update={
                "reports": attempt.reports + 1, "fraction": event.fraction, "stage": event.stage,
            }))
        case ArtifactStored():
            return _moved(state, attempt.model_copy(update={"artifacts": (*attempt.artifacts, event.artifact)}))
        case AttemptDoubted():
            return _moved(state, attempt.model_copy(update={"situation": "doubted"}))
        case AttemptResolved():
            found = {"situation": "accepted", "external_id": event.external_id}
            return _moved(state, attempt.model_copy(update=found) if event.verdict == "accepted" else None)
        case AttemptFailed() | AttemptLost():
            waits = attempt.model_copy(update={"situation": "waiting", "retry_at": event.retry_at})
            return _moved(state, waits if event.retry_at else None, spent=state.spent + event.charged)
        case StepFinished():
            return _moved(
                state, None, spent=state.spent + event.cost, finished={**state.finished, event.step: event.outputs},
                facts={**state.facts, event.step: event.facts},
            )
        case _:
            assert_never(event)


def _moved(state: Open, attempt: Attempt | None, **changes: Any) -> Open:
    # Whatever becomes of an attempt is progress: only workers that end without any are held against the job.
    return state.model_copy(update={"attempt": attempt, "taking": min(state.taking, 1), **changes})




CONTEXT = Context(
    category=CATEGORY,
    branches=False,
    events=(
        JobRequested, JobPlanned, JobTaken, JobLeft, JobCleared, AttemptStarted, AttemptAccepted, AttemptProgressed,
        AttemptFailed, AttemptLost, AttemptDoubted, AttemptResolved, ArtifactStored, StepFinished, JobPrioritised,
        JobCancelRequested, JobQuarantined, JobReleased, JobCompleted, JobFailed, JobCancelled, JobLost,
    ),
    state=JobState,
    initial=Unrequested(),
    evolve=evolve,
)
