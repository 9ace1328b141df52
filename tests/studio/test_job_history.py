"""Jobs as people see them, told through real commands on a log in memory and read models in SQLite."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from job_stories import (
    UID,
    accepted,
    cancelled,
    completed,
    doubted,
    failed,
    failed_attempt,
    finished,
    reported,
    requested,
    resolved,
    started,
    step,
    stopped,
    stored,
    taken,
    whole,
)
from projected import Projected

from adapters.memory.log import MemoryLog
from commands.declaration import Command
from commands.envelope import Asked
from commands.studio.job import PrioritiseJob, ReleaseJob
from commands.studio.job_work import LeaveJob
from domain.errors import ComfyVNError, Invalid, NotFound
from domain.ports import Recorded
from domain.studio.fault import CODES
from services.dispatcher import Dispatcher
from services.registry import REGISTRY

AWAY = "2026-01-02T04:00:00Z"


async def _said(commands: Sequence[Command]) -> list[Recorded]:
    log = MemoryLog()
    dispatcher = Dispatcher(log, REGISTRY)
    for number, command in enumerate(commands):
        time = f"2026-01-02T03:{number // 60:02}:{number % 60:02}.000000Z"
        asked = Asked(command_id=f"c{number}", actor="mara", time=time, project="demo", request="")
        await dispatcher.ask_all([command], asked)
    await dispatcher.close()
    found: list[Recorded] = []
    async for batch in log.read():
        found += batch
    return found


def after(folder: Path, *commands: Command) -> Projected:
    """Everything that these commands show."""
    projected = Projected(folder, ["jobs"])
    projected.count(asyncio.run(_said(commands)))
    return projected


def job(folder: Path, *commands: Command, job_id: str = "j1") -> dict[str, Any]:
    projected = after(folder, *commands)
    shown: dict[str, Any] = projected.see("ShowJob", job_id=job_id)
    projected.models.close()
    return shown


RUNNING = (requested(), taken(), started())
STATUSES: dict[str, tuple[Command, ...]] = {
    "queued": (requested(),),
    "running": RUNNING,
    "waiting": (*RUNNING, failed_attempt(retry_at=AWAY)),
    "cancelling": (*RUNNING, cancelled()),
    "uncertain": (*RUNNING, doubted()),
    "quarantined": (requested(), taken(), taken(taking=2), taken(taking=3), taken(taking=4)),
    "completed": tuple(whole()),
    "failed": (*RUNNING, failed_attempt(), failed()),
    "cancelled": (requested(), cancelled(), stopped()),
    "lost": (*RUNNING, failed_attempt(), failed(lost=True)),
}


@pytest.mark.parametrize("status", STATUSES)
def test_a_job_stands_as_its_events_say(tmp_path: Path, status: str) -> None:
    projected = after(tmp_path, *STATUSES[status])
    assert projected.see("ShowJob", job_id="j1")["status"] == status
    for other in STATUSES:
        listed = [one["job_id"] for one in projected.pages("ListJobs", status=other)]
        assert listed == (["j1"] if other == status else []), other


@pytest.mark.parametrize("status", ["waiting", "uncertain", "quarantined", "failed", "lost"])
def test_whoever_sees_a_fault_is_told_what_helps(tmp_path: Path, status: str) -> None:
    shown = job(tmp_path, *STATUSES[status])
    assert shown["error"] == shown["fault"]["message"]
    assert shown["remediation"] == [
        {"text": CODES[shown["error_code"]].text, "action": CODES[shown["error_code"]].action}
    ]
    assert any(f"{shown['error_code']}: " in text for text in shown["logs"])


def test_a_finished_job_shows_what_it_made_and_cost_and_when(tmp_path: Path) -> None:
    shown = job(tmp_path, *whole(held=9000, account="studio"))
    assert (shown["status"], shown["credit_cost"], shown["credit_held"]) == ("completed", 1500, 9000)
    assert shown["outputs"] == {"image": [
        {"asset": UID, "url": f"/api/assets/{UID}/download?project=demo"}
    ]}
    assert shown["progress"] == {"fraction": 1.0, "steps_done": 1, "steps_total": 1, "step": "make", "doing": ""}
    times = (shown["created_at"], shown["started_at"], shown["finished_at"])
    assert times == tuple(f"2026-01-02T03:00:0{second}.000000Z" for second in (0, 1, 7))
    assert [one["uid"] for one in shown["artifacts"]] == [UID]
    assert [(one["id"], one["status"], one["cost"]) for one in shown["steps"]] == [("make", "finished", 1500)]
    assert shown["inputs"] == {"prompt": "a lamp in the fog"}
    assert {"job_id", "preset_id", "user_id", "engine_used", "quality_level", "error", "error_code", "remediation",
            "logs"} <= shown.keys()
    assert (shown["error"], shown["error_code"], shown["remediation"]) == (None, None, None)


def test_progress_counts_steps_and_how_far_the_one_at_hand_is(tmp_path: Path) -> None:
    two = [requested("j1", step(), step("up")), taken(), started(), accepted(), stored(), finished(),
           started(attempt="a2", step_id="up"), reported(attempt="a2", fraction=0.5, stage="sharpening")]
    told = job(tmp_path, *two)["progress"]
    assert told == {"fraction": 0.75, "steps_done": 1, "steps_total": 2, "step": "up", "doing": "sharpening"}


def test_a_new_attempt_forgets_the_fault_and_keeps_what_was_charged(tmp_path: Path) -> None:
    again = [*RUNNING, failed_attempt(retry_at="2026-01-02T03:00:01Z", charged=70), started(attempt="a2")]
    shown = job(tmp_path, *again)
    assert (shown["status"], shown["fault"], shown["retry_at"], shown["credit_cost"]) == ("running", None, None, 70)
    assert [(one["attempt"], one["status"], one["cost"]) for one in shown["attempts"]] == [
        ("a1", "failed", 70), ("a2", "started", 0),
    ]


@pytest.mark.parametrize(("verdict", "status"), [("accepted", "running"), ("never_accepted", "queued")])
def test_a_doubt_that_was_looked_into_is_over(tmp_path: Path, verdict: str, status: str) -> None:
    shown = job(tmp_path, *RUNNING, doubted(), resolved(verdict=verdict))
    assert (shown["status"], shown["fault"]) == (status, None)
    assert shown["attempts"][0]["status"] == verdict


def test_whoever_waits_for_a_person_waits_for_one_also_while_it_is_to_stop(tmp_path: Path) -> None:
    assert job(tmp_path, *RUNNING, doubted(), cancelled())["status"] == "uncertain"


def test_a_job_that_was_given_back_or_released_is_in_the_queue_again(tmp_path: Path) -> None:
    left = LeaveJob(job_id="j2", worker="w1", taking=1)
    projected = after(tmp_path, *STATUSES["quarantined"], ReleaseJob(job_id="j1"), requested("j2"), taken("j2"), left)
    assert [(one["job_id"], one["fault"]) for one in projected.pages("ListJobs", status="queued")] == [
        ("j2", None), ("j1", None),
    ]


def test_places_in_the_queue_follow_priority_and_age(tmp_path: Path) -> None:
    projected = after(tmp_path, requested("a"), requested("b"), requested("c", priority=9), requested("d"),
                      taken("d"), PrioritiseJob(job_id="b", priority=6))
    places = {id_: projected.see("ShowJob", job_id=id_)["queue_position"] for id_ in "abcd"}
    assert places == {"c": 1, "b": 2, "a": 3, "d": None}


def test_a_line_of_retries_is_found_from_both_ends(tmp_path: Path) -> None:
    projected = after(tmp_path, *whole("a"), requested("b", retry_of="a", root="a"),
                      requested("c", retry_of="b", root="a"), requested("x"))
    assert projected.see("ShowJob", job_id="a")["lineage"] == {
        "root": "a", "retry_of": None, "retries": [{"job_id": "b", "status": "queued"}],
    }
    assert projected.see("ShowJob", job_id="c")["lineage"] == {"root": "a", "retry_of": "b", "retries": []}
    assert [one["job_id"] for one in projected.pages("ListJobs", root="a")] == ["c", "b", "a"]
    assert [one["job_id"] for one in projected.pages("ListJobs", retry_of="a")] == ["b"]


@pytest.mark.parametrize(("asked", "found"), [
    ({"preset": "cinematic"}, ["b"]), ({"owner": "ivo"}, ["c"]), ({"engine": "provider_fal"}, ["c"]),
    ({"q": "LIGHTHOUSE"}, ["b"]), ({"q": "100%"}, []), ({"since": "2026-01-02T03:00:01"}, ["c", "b"]),
    ({"since": "2026-01-02T03:00:01Z"}, ["c", "b"]), ({"until": "2026-01-02T03:00:00"}, ["a"]),
    ({"until": "2026-01-02"}, ["c", "b", "a"]), ({"since": "2026-01-03"}, []), ({"until": "2026-01-01"}, []),
    ({"since": "2026-01-02T03:00:01Z", "until": "2026-01-02T03:00:01Z"}, ["b"]),
    ({"status": "queued"}, ["c", "b", "a"]),
])
def test_filters_narrow(tmp_path: Path, asked: dict[str, Any], found: list[str]) -> None:
    projected = after(
        tmp_path, requested("a"), requested("b", preset="cinematic", inputs={"prompt": "A lighthouse"}),
        requested("c", step(engine="provider_fal", paid=True), owner="ivo"),
    )
    assert [one["job_id"] for one in projected.see("ListJobs", **asked)["items"]] == found


def test_a_history_is_read_page_by_page(tmp_path: Path) -> None:
    ids = [f"j{number:03}" for number in range(23)]
    projected = after(tmp_path, *(requested(id_) for id_ in ids))
    assert [one["job_id"] for one in projected.pages("ListJobs", limit=5)] == ids[::-1]
    with pytest.raises(Invalid) as caught:
        projected.see("ListJobs", cursor="nonsense")
    assert caught.value.code == "invalid_cursor"


def test_a_job_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    projected = after(tmp_path, requested())
    for view in ("ShowJob", "ListJobLines"):
        with pytest.raises(NotFound) as caught:
            projected.see(view, job_id="nobody")
        assert caught.value.code == "unknown_job"
        assert caught.value.remediation


def test_the_story_has_pages_and_tells_nothing_that_was_put_in(tmp_path: Path) -> None:
    projected = after(tmp_path, *whole(inputs={"prompt": "a secret lamp"}))
    lines = projected.pages("ListJobLines", job_id="j1", limit=3)
    assert [one["event"] for one in lines] == [
        "JobRequested", "JobPlanned", "JobTaken", "AttemptStarted", "AttemptAccepted", "ArtifactStored",
        "StepFinished", "JobCompleted",
    ]
    assert not any("secret" in one["text"] or "http" in one["text"] for one in lines)
    assert projected.see("ListJobLines", job_id="j1", level="error")["items"] == []


def test_only_the_newest_lines_stand_in_the_job_itself(tmp_path: Path) -> None:
    many = [PrioritiseJob(job_id="j1", priority=number % 2) for number in range(300)]
    shown = job(tmp_path, requested(), *many)
    assert len(shown["logs"]) == 200
    assert shown["logs"][-1].endswith("priority 1.")


ATTEMPTS = st.sampled_from(["a1", "a2"])
ANY = st.one_of(
    st.builds(taken, taking=st.integers(1, 4)), st.builds(started, attempt=ATTEMPTS),
    st.builds(accepted, attempt=ATTEMPTS), st.builds(reported, attempt=ATTEMPTS, fraction=st.floats(0, 1)),
    st.builds(stored, attempt=ATTEMPTS), st.builds(finished, attempt=ATTEMPTS, cost=st.integers(0, 9)),
    st.builds(failed_attempt, attempt=ATTEMPTS, charged=st.integers(0, 9),
              retry_at=st.sampled_from([None, "2026-01-01T00:00:00Z"])),
    st.builds(doubted, attempt=ATTEMPTS),
    st.builds(resolved, attempt=ATTEMPTS, verdict=st.sampled_from(["accepted", "never_accepted"])),
    st.just(cancelled()), st.just(stopped()), st.just(failed()), st.just(failed(lost=True)), st.just(completed()),
    st.just(ReleaseJob(job_id="j1")),
)


async def _whatever(commands: Sequence[Command]) -> tuple[Any, list[Recorded]]:
    log = MemoryLog()
    dispatcher = Dispatcher(log, REGISTRY)
    for number, command in enumerate([requested(), *commands]):
        asked = Asked(command_id=f"c{number}", actor="m", time="2026-01-02T03:04:05Z", project="demo", request="")
        try:
            await dispatcher.ask_all([command], asked)
        except ComfyVNError:
            continue  # most of what anybody may say at any time is refused
    found: list[Recorded] = []
    async for batch in log.read():
        found += batch
    state = (await dispatcher.aggregates.load(found[0].stream)).state
    await dispatcher.close()
    return state, found


@settings(max_examples=60, deadline=None)
@given(st.lists(ANY, max_size=25))
def test_what_is_shown_agrees_with_the_job_itself(
    tmp_path_factory: pytest.TempPathFactory, told: list[Command]
) -> None:
    state, events = asyncio.run(_whatever(told))
    once = Projected(tmp_path_factory.mktemp("once"), ["jobs"])
    once.count(events)
    bit_by_bit = Projected(tmp_path_factory.mktemp("bits"), ["jobs"])
    bit_by_bit.count(events, batch=1)
    shown = once.see("ShowJob", job_id="j1")
    assert shown == bit_by_bit.see("ShowJob", job_id="j1")
    assert once.models.digests("jobs") == bit_by_bit.models.digests("jobs")
    was = state.was if state.kind == "closed" else state
    assert shown["credit_cost"] == was.spent
    assert shown["progress"]["steps_done"] == len(was.finished)
    assert shown["attempts_made"] == sum(was.attempts.values())
    if state.kind == "closed":
        assert shown["status"] == state.outcome
        assert shown["finished_at"] is not None
    else:
        doubtful = was.attempt is not None and was.attempt.situation == "doubted"
        assert (shown["status"] == "uncertain") is (doubtful and was.quarantined is None)
        assert (shown["status"] == "quarantined") is (was.quarantined is not None)
        assert shown["finished_at"] is None
    once.models.close()
    bit_by_bit.models.close()
