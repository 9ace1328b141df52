"""Jobs: what may be asked of them in which situation, and that nothing said late undoes what has happened."""

from __future__ import annotations

import random
from typing import Any

import pytest
from behaviour import ASKED, given
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from working import a_request, a_step

from commands.declaration import Command
from commands.studio.job import CancelJob, PrioritiseJob, ReleaseJob, RequestJob, ResolveAttempt
from commands.studio.job_work import (
    AcceptAttempt,
    ClearJob,
    CompleteJob,
    DoubtAttempt,
    FailAttempt,
    FailJob,
    FinishStep,
    LeaveJob,
    LoseAttempt,
    ReportProgress,
    StartAttempt,
    StopJob,
    StoreArtifact,
    TakeJob,
)
from domain.errors import ComfyVNError, NotFound, Refused
from domain.studio.fault import fault
from domain.studio.job import (
    CONTEXT,
    TAKINGS_LIMIT,
    ArtifactStored,
    AttemptAccepted,
    AttemptDoubted,
    AttemptFailed,
    AttemptLost,
    AttemptProgressed,
    AttemptResolved,
    AttemptStarted,
    Closed,
    JobCancelled,
    JobCancelRequested,
    JobCleared,
    JobCompleted,
    JobFailed,
    JobLeft,
    JobLost,
    JobPlanned,
    JobPrioritised,
    JobQuarantined,
    JobReleased,
    JobRequested,
    JobTaken,
    Open,
    StepFinished,
)
from domain.studio.job_values import PROGRESS_LIMIT, Artifact
from services.registry import REGISTRY

OFFLINE = fault("ENGINE_OFFLINE", "Away.")
LATER = "2026-01-02T03:05:00Z"
"""After the time of ``ASKED``."""

FILE = Artifact(name="out", uid="a" * 16, digest="a" * 64, size=3, media_type="image/png")
ASKING = RequestJob(job_id="j", request=a_request(root="j"), steps=(a_step("one"), a_step("two")), held=50)
REQUESTED = [
    JobRequested(job_id="j", request=ASKING.request), JobPlanned(job_id="j", steps=ASKING.steps, held=50),
]


def taken(number: int = 1) -> JobTaken:
    return JobTaken(job_id="j", worker="w", taking=number, owner="author")


def started(attempt: str = "a1", step: str = "one", number: int = 1) -> AttemptStarted:
    return AttemptStarted(job_id="j", attempt=attempt, step=step, number=number, engine="scripted", task={})


ACCEPTED = AttemptAccepted(job_id="j", attempt="a1", external_id="x", memo={})
STORED = ArtifactStored(job_id="j", attempt="a1", artifact=FILE)
FINISHED = StepFinished(job_id="j", attempt="a1", step="one", outputs={"image": (FILE.uid,)}, cost=5, facts={"k": 1})
SECOND = StepFinished(job_id="j", attempt="a2", step="two", outputs={"image": (FILE.uid,)}, cost=2, facts={})
DOUBTED = AttemptDoubted(job_id="j", attempt="a1", fault=OFFLINE)
STOPPING = JobCancelRequested(job_id="j", reason="")
TAKEN = [*REQUESTED, taken()]
STARTED = [*TAKEN, started()]
RUNNING = [*STARTED, ACCEPTED]
HALF = [*RUNNING, STORED, FINISHED]
WHOLE = [*HALF, started("a2", "two"), ACCEPTED.model_copy(update={"attempt": "a2"}), SECOND]
DONE = [*WHOLE, JobCompleted(job_id="j", outputs=SECOND.outputs, cost=7)]
OVER = [
    DONE,
    [*REQUESTED, JobFailed(job_id="j", fault=OFFLINE, cost=0)],
    [*REQUESTED, STOPPING, JobCancelled(job_id="j", cost=0)],
    [*REQUESTED, JobLost(job_id="j", fault=OFFLINE, cost=0)],
]

START = StartAttempt(job_id="j", attempt="a1", step="one", engine="scripted", task={})
ACCEPT = AcceptAttempt(job_id="j", attempt="a1", external_id="x")
FINISH = FinishStep(job_id="j", attempt="a1", outputs={"image": (FILE.uid,)}, cost=5, facts={"k": 1})
FAIL = FailAttempt(job_id="j", attempt="a1", fault=OFFLINE, charged=3, retry_at=LATER)


def test_a_job_is_requested_once() -> None:
    given().when(ASKING).then(*REQUESTED).and_again_nothing()
    given(*DONE).when(ASKING).then_nothing()
    other = ASKING.model_copy(update={"request": a_request(root="j", seed=8)})
    given(*REQUESTED).when(other).then_refused("job_exists", Refused)
    moved = [*REQUESTED, JobPrioritised(job_id="j", priority=9)]
    given(*moved).when(ASKING).then_nothing()


def test_one_of_two_workers_gets_it() -> None:
    take = TakeJob(job_id="j", worker="w", taking=1)
    given(*REQUESTED).when(take).then(taken())
    given(*TAKEN).when(take).then_refused("job_taken", Refused)
    given(*TAKEN).when(TakeJob(job_id="j", worker="v", taking=2)).then(
        JobTaken(job_id="j", worker="v", taking=2, owner="author"))


def test_what_moves_is_not_held_against_it() -> None:
    take = TakeJob(job_id="j", worker="w", taking=2)
    given(*REQUESTED, taken(1), taken(2), taken(3), started()).when(take).then(taken(2))


def test_a_job_that_ends_workers_is_set_aside_and_released() -> None:
    ends = [*REQUESTED, *(taken(n) for n in range(1, TAKINGS_LIMIT + 1))]
    take = TakeJob(job_id="j", worker="w", taking=TAKINGS_LIMIT + 1)
    (event,) = given(*ends).when(take)._decide()
    assert isinstance(event, JobQuarantined)
    aside = [*ends, event]
    given(*aside).when(take).then_refused("job_quarantined", Refused)
    given(*aside).when(ReleaseJob(job_id="j")).then(JobReleased(job_id="j")).and_again_nothing()
    given(*aside, JobReleased(job_id="j")).when(TakeJob(job_id="j", worker="w", taking=1)).then(taken())


def test_giving_back_in_order_is_not_held_against_it() -> None:
    leave = LeaveJob(job_id="j", worker="w", taking=2)
    given(*TAKEN, taken(2)).when(leave).then(JobLeft(job_id="j", worker="w")).and_again_nothing()
    given(*TAKEN).when(leave).then_nothing()
    given(*TAKEN, taken(2), JobLeft(job_id="j", worker="w")).when(
        TakeJob(job_id="j", worker="w", taking=2)).then(taken(2))


def test_a_job_that_does_no_harm_is_cleared() -> None:
    clear = ClearJob(job_id="j", worker="w", taking=3)
    given(*TAKEN, taken(2), taken(3)).when(clear).then(JobCleared(job_id="j", worker="w")).and_again_nothing()
    given(*TAKEN).when(ClearJob(job_id="j", worker="w", taking=1)).then_nothing()


def test_an_attempt_is_started_in_its_turn() -> None:
    given(*TAKEN).when(START).then(started()).and_again_nothing()
    given(*REQUESTED).when(START).then_refused("step_not_ready", Refused)
    given(*TAKEN).when(START.model_copy(update={"step": "two"})).then_refused("step_not_ready", Refused)
    given(*TAKEN, STOPPING).when(START).then_refused("step_not_ready", Refused)
    given(*STARTED).when(START.model_copy(update={"attempt": "b"})).then_refused("attempt_over", Refused)
    given(*HALF).when(START.model_copy(update={"attempt": "a2", "step": "two"})).then(started("a2", "two"))


def test_a_pause_is_kept() -> None:
    failed = AttemptFailed(job_id="j", attempt="a1", fault=OFFLINE, charged=3, retry_at=LATER)
    again = START.model_copy(update={"attempt": "b"})
    given(*RUNNING).when(FAIL).then(failed)
    given(*RUNNING, failed).when(again).then_refused("retry_later", Refused)
    given(*RUNNING, failed).when(again, ASKED._replace(time=LATER)).then(started("b", number=2))
    given(*RUNNING, failed).when(ACCEPT).then_refused("attempt_over", Refused)


def test_the_engine_has_it_under_one_id() -> None:
    given(*STARTED).when(ACCEPT).then(ACCEPTED).and_again_nothing()
    given(*STARTED, DOUBTED).when(ACCEPT).then(ACCEPTED)
    given(*RUNNING).when(ACCEPT.model_copy(update={"external_id": "y"})).then_refused("attempt_over", Refused)
    given(*TAKEN).when(ACCEPT).then_refused("attempt_over", Refused)


def test_progress_goes_forward_and_not_for_ever() -> None:
    half = ReportProgress(job_id="j", attempt="a1", fraction=0.5, stage="drawing")
    told = AttemptProgressed(job_id="j", attempt="a1", fraction=0.5, stage="drawing")
    given(*RUNNING).when(half).then(told).and_again_nothing()
    given(*RUNNING, told).when(half.model_copy(update={"fraction": 0.4})).then_nothing()
    many = [told.model_copy(update={"fraction": n / 100}) for n in range(PROGRESS_LIMIT)]
    given(*RUNNING, *many).when(half.model_copy(update={"fraction": 0.9})).then_nothing()


def test_files_are_stored_before_a_step_counts() -> None:
    store = StoreArtifact(job_id="j", attempt="a1", artifact=FILE)
    given(*RUNNING).when(store).then(STORED).and_again_nothing()
    given(*RUNNING).when(FINISH).then_refused("job_unfinished", Refused)
    given(*RUNNING, STORED).when(FINISH).then(FINISHED)
    given(*HALF).when(FINISH).then_refused("attempt_over", Refused)


def test_doubt_ends_with_what_somebody_found() -> None:
    doubt = DoubtAttempt(job_id="j", attempt="a1", fault=OFFLINE)
    given(*STARTED).when(doubt).then(DOUBTED).and_again_nothing()
    given(*RUNNING).when(doubt).then_refused("attempt_over", Refused)
    unsure = [*STARTED, DOUBTED]
    given(*unsure).when(TakeJob(job_id="j", worker="w", taking=2)).then_refused("attempt_doubted", Refused)
    given(*unsure).when(FailJob(job_id="j", fault=OFFLINE)).then_refused("job_unfinished", Refused)
    never = ResolveAttempt(job_id="j", attempt="a1", verdict="never_accepted")
    given(*unsure).when(never).then(AttemptResolved(
        job_id="j", attempt="a1", verdict="never_accepted", external_id=None, notes=""))
    has = ResolveAttempt(job_id="j", attempt="a1", verdict="accepted", external_id="x")
    found = AttemptResolved(job_id="j", attempt="a1", verdict="accepted", external_id="x", notes="")
    given(*unsure).when(has).then(found)
    given(*unsure).when(has.model_copy(update={"external_id": None})).then_refused("not_doubted", Refused)
    given(*RUNNING).when(has).then_refused("not_doubted", Refused)
    given(*unsure, found, STORED).when(FINISH).then(FINISHED)


def test_lost_work_may_be_tried_again() -> None:
    lose = LoseAttempt(job_id="j", attempt="a1", fault=OFFLINE, retry_at=LATER)
    given(*RUNNING).when(lose).then(AttemptLost(
        job_id="j", attempt="a1", fault=OFFLINE, charged=0, retry_at=LATER))


def test_a_job_is_done_when_all_steps_are() -> None:
    complete = CompleteJob(job_id="j")
    given(*HALF).when(complete).then_refused("job_unfinished", Refused)
    given(*WHOLE).when(complete).then(DONE[-1]).and_again_nothing()
    given(*WHOLE, STOPPING).when(complete).then(DONE[-1])  # success has won the race


def test_a_job_is_closed_only_at_rest() -> None:
    close = FailJob(job_id="j", fault=OFFLINE)
    given(*RUNNING).when(close).then_refused("job_unfinished", Refused)
    given(*HALF).when(close).then(JobFailed(job_id="j", fault=OFFLINE, cost=5)).and_again_nothing()
    given(*HALF).when(close.model_copy(update={"lost": True})).then(JobLost(job_id="j", fault=OFFLINE, cost=5))


def test_a_job_is_stopped_when_somebody_asked() -> None:
    stop = StopJob(job_id="j")
    given(*TAKEN).when(CancelJob(job_id="j")).then(STOPPING).and_again_nothing()
    given(*TAKEN).when(stop).then_refused("job_unfinished", Refused)
    given(*RUNNING, STOPPING).when(stop).then_refused("job_unfinished", Refused)
    given(*HALF, STOPPING).when(stop).then(JobCancelled(job_id="j", cost=5)).and_again_nothing()
    given(*OVER[2]).when(CancelJob(job_id="j")).then_nothing()


def test_a_job_moves_in_the_queue() -> None:
    given(*REQUESTED).when(PrioritiseJob(job_id="j", priority=9)).then(
        JobPrioritised(job_id="j", priority=9)).and_again_nothing()


LATE: list[Command] = [
    TakeJob(job_id="j", worker="w", taking=1), LeaveJob(job_id="j", worker="w", taking=1),
    ClearJob(job_id="j", worker="w", taking=2), START, ACCEPT, ReportProgress(job_id="j", attempt="a1"),
    StoreArtifact(job_id="j", attempt="a1", artifact=FILE), FINISH, FAIL,
    LoseAttempt(job_id="j", attempt="a1", fault=OFFLINE), DoubtAttempt(job_id="j", attempt="a1", fault=OFFLINE),
    ResolveAttempt(job_id="j", attempt="a1", verdict="never_accepted"), PrioritiseJob(job_id="j", priority=1),
    ReleaseJob(job_id="j"),
]


@pytest.mark.parametrize("history", OVER, ids=["completed", "failed", "cancelled", "lost"])
@pytest.mark.parametrize("command", LATE, ids=lambda command: type(command).__name__)
def test_what_is_over_stays_over(history: list[Any], command: Command) -> None:
    given(*history).when(command).then_refused("job_over", Refused)


@pytest.mark.parametrize("command", [*LATE, CancelJob(job_id="j"), CompleteJob(job_id="j"), StopJob(job_id="j"),
                                     FailJob(job_id="j", fault=OFFLINE)], ids=lambda command: type(command).__name__)
def test_what_was_never_asked_for_is_not_there(command: Command) -> None:
    given().when(command).then_refused("unknown_job", NotFound)


@settings(max_examples=300, deadline=None)
@drawn(st.integers(0, 2**32), st.integers(5, 60))
def test_whatever_is_asked_in_whatever_order_the_promises_hold(seed: int, count: int) -> None:
    """Any order of anything that anybody may say: money only grows with what is recorded, an attempt is submitted once
    at a time, what is over stays over, and saying a thing again changes nothing that it should not."""
    dice = random.Random(seed)
    state: Any = CONTEXT.initial
    history: list[Any] = []
    spent = 0
    for number in range(count):
        command = dice.choice([ASKING, *LATE, CancelJob(job_id="j"), CompleteJob(job_id="j"), StopJob(job_id="j"),
                               FailJob(job_id="j", fault=OFFLINE)])
        attempt = getattr(state, "attempt", None)
        changes: dict[str, Any] = {}
        if isinstance(command, TakeJob | LeaveJob | ClearJob):
            changes["taking"] = max(1, getattr(state, "taking", 0) + dice.choice([0, 1, 1]))
        elif isinstance(command, StartAttempt):
            changes = {"attempt": f"n{number}", "step": dice.choice(["one", "two"])}
        elif hasattr(command, "attempt") and attempt is not None and dice.random() < 0.8:
            changes["attempt"] = attempt.id
        command = command.model_copy(update=changes)
        before = state
        try:
            name = type(command).__name__
            events = (REGISTRY.askings.get(name) or REGISTRY.inner[name]).decide(
                command, state, ASKED._replace(time="2026-01-02T04:00:00Z"))
        except ComfyVNError:
            continue
        for event in events:
            assert not isinstance(state, Closed), "nothing follows the end"
            if isinstance(event, AttemptStarted):
                assert state.attempt is None or state.attempt.situation == "waiting"
                assert event.attempt not in {one.attempt for one in history if isinstance(one, AttemptStarted)}
            state = CONTEXT.evolve(state, event)
            history.append(event)
            spent += getattr(event, "charged", 0) + (event.cost if isinstance(event, StepFinished) else 0)
        if isinstance(before, Open) and isinstance(state, Closed):
            assert state.cost == spent
            assert before.attempt is None or before.attempt.situation == "waiting"
        elif isinstance(state, Open):
            assert state.spent == spent
            assert state.taking <= TAKINGS_LIMIT
