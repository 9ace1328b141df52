"""Workers and disks without room, cancels that race with success, and calls that come before we know of the work."""

from __future__ import annotations

import asyncio
import errno
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from working import ASKER, QUICK, a_step, working

from commands.studio.job import CancelJob
from domain.errors import Refused
from domain.studio.job import Open
from services.generation.webhooks import Webhooks
from services.orphans import survey

LATER = datetime.now(UTC) + timedelta(days=2)


@contextmanager
def no_room(size: int) -> Iterator[None]:
    """No file may grow beyond that size: every write over it fails, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


LARGE = 1 << 24
"""Larger than the read model's own files, which have to be written meanwhile."""

LARGE_FILE = {"bytes": "a" * 1024, "repeat": LARGE // 1024, "media_type": "text/plain"}


def paid(**script: Any) -> Any:
    return a_step(paid=True, estimate=300, parameters={"seed": 1, "cost": 0.000001, **script})


def files(folder: Path) -> list[Path]:
    return [one for one in folder.rglob("*") if one.is_file()]


def test_a_full_disk_is_told_and_nothing_is_kept_by_halves(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as works:
            engine = works.engine()
            with no_room(LARGE // 2):
                works.start()
                job_id = await works.ask(a_step(parameters={"seed": 1, **LARGE_FILE}))
                job = await works.closed(job_id)
            assert job.fault is not None
            assert (job.outcome, job.fault.code, job.fault.meaning.action) == ("failed", "DISK_FULL", "free_disk_space")
            assert len(engine.submissions()) == QUICK.attempts
            assert "ArtifactStored" not in await works.events(job_id)
            assert files(tmp_path / "studio" / "blobs") == files(tmp_path / "studio" / "scratch") == []

    asyncio.run(scenario())


def test_what_was_paid_for_waits_for_room(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as works:
            engine = works.engine(paid=True)
            await works.grant(1000)
            with no_room(LARGE // 2):
                works.start()
                job_id = await works.ask(paid(**LARGE_FILE, deadline_seconds=1.5), account="purse")
                job = await works.until(job_id, lambda job: job.attempt is not None and "no room" in job.attempt.stage)
                await asyncio.sleep(2.0)  # many tries long, and longer than the engine would be given
                assert isinstance(await works.job(job_id), Open)
            job = await works.closed(job_id)
            assert (job.outcome, job.cost, len(engine.submissions())) == ("completed", 100, 1)
            assert (await works.account()).balance == 900
            found = await survey(works.studio.log, works.studio.blobs, LATER)
            assert (found.blobs, found.bytes, found.orphans) == (1, LARGE, ())

    asyncio.run(scenario())


def test_what_waits_for_room_can_be_given_up(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as works:
            works.engine(paid=True)
            await works.grant(1000)
            with no_room(LARGE // 2):
                works.start()
                job_id = await works.ask(paid(**LARGE_FILE), account="purse")
                await works.until(job_id, lambda job: job.attempt is not None and "no room" in job.attempt.stage)
                await works.studio.ask(CancelJob(job_id=job_id), ASKER, project="demo")
                job = await works.closed(job_id)
            assert (job.outcome, job.cost) == ("cancelled", 100), "the engine has made it, and is paid"
            account = await works.account()
            assert (account.balance, account.reserved) == (900, 0)

    asyncio.run(scenario())


@pytest.mark.parametrize("tries", range(4))
def test_a_cancel_that_races_with_success_leaves_one_truth(tmp_path: Path, tries: int) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as works:
            engine = works.engine(paid=True)
            works.start()
            await works.grant(1000)
            job_id = await works.ask(paid(seconds=0.2), account="purse")
            await works.accepted(job_id)
            await asyncio.sleep(0.16 + 0.03 * tries)
            with suppress(Refused):  # it was over
                await works.studio.ask(CancelJob(job_id=job_id), ASKER, project="demo")
            job = await works.closed(job_id)
            events = await works.events(job_id)
            assert sum(one in ("JobCompleted", "JobCancelled", "JobFailed", "JobLost") for one in events) == 1
            assert events[-1] == {"completed": "JobCompleted", "cancelled": "JobCancelled"}[job.outcome]
            assert ("StepFinished" in events) == (job.cost == 100)
            account = await works.account()
            assert (account.balance, account.reserved) == (1000 - job.cost, 0)
            assert len(engine.submissions()) == 1

    asyncio.run(scenario())


def test_a_call_before_the_engine_has_answered_us_changes_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as works:
            engine = works.engine(paid=True)
            hooks = Webhooks("https://studio.example", b"k" * 32, works.leases.wake)
            works.start()
            await works.grant(1000)
            job_id = await works.ask(paid(gate="answer", seconds=0.3), account="purse")
            job = await works.until(job_id, lambda job: isinstance(job, Open) and job.attempt is not None)
            address = hooks.address("provider_kling", "demo", job_id, job.attempt.id)
            assert address is not None
            token = address.rpartition("/")[2]
            heard = []
            for body in (b"{}", b"{}", b'{"status": "done"}'):  # early, again, and with a claim that nobody believes
                heard.append(await hooks.heard("provider_kling", token, {}, body, 0.0))
            assert heard == ["woken", "repeated", "woken"]
            assert (await works.job(job_id)).attempt.situation == "started"
            (engine.folder / "answer").touch()
            done = await works.closed(job_id)
            assert (done.outcome, done.cost, len(engine.submissions())) == ("completed", 100, 1)
            before = await works.studio.log.head()
            assert await hooks.heard("provider_kling", token, {}, b'{"status": "late"}', 0.0) == "woken"
            await asyncio.sleep(0.2)
            assert await works.studio.log.head() == before, "a call after the end wakes nobody who would write"

    asyncio.run(scenario())


def test_the_limit_that_stands_for_a_full_disk_is_one(tmp_path: Path) -> None:
    with no_room(1000), (tmp_path / "x").open("wb", buffering=0) as file:
        assert file.write(b"x" * 1000) == 1000
        with pytest.raises(OSError, match="File too large") as caught:
            file.write(b"x")
    assert caught.value.errno == errno.EFBIG
