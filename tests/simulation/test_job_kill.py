"""Worker, API and nats-server are killed between every pair of neighbouring events of jobs: every job ends well.

Afterwards, each time: every job is finished, or in doubt with its reason until somebody has looked; nothing paid was
submitted twice; the account holds what jobs cost and nothing else; every stored file is one that an event names.

A few points, chosen by the seed that is printed (``COMFYVN_CRASH_SEED`` repeats it), are always tried. All of them, for
every kind of engine, are `make test-job-kills`.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from engines.battered import ENGINES, Battered, battered, steps
from engines.deadly import seen
from fixtures_studio import RunningServer

from domain.studio.job import Open
from services.orphans import remove, survey

SEED = int(os.environ.get("COMFYVN_CRASH_SEED", str(random.SystemRandom().randrange(2**32))))
ALL = pytest.mark.skipif(
    not os.environ.get("COMFYVN_TEST_JOB_KILLS"), reason="every point and every engine: `make test-job-kills`"
)

MOVES = ("JobTaken", "AttemptStarted", "AttemptAccepted", "ArtifactStored", "StepFinished", "JobCompleted")
"""What a worker records of a job that goes well."""

Servers = Callable[..., RunningServer]


class Point(NamedTuple):
    """Between two neighbouring events: before or after the nth append with an event of that type."""

    type: str
    nth: int
    when: str

    @property
    def asking(self) -> bool:
        """Whether it is in the hands of who asks, before any worker knows of the job."""
        return self.type == "JobRequested"


def points(life: Sequence[Sequence[str]]) -> list[Point]:
    """Every point of a job's life. Before an event is after the one before it, and after what was done outside in
    between; both are tried."""
    counted: Counter[str] = Counter()
    found = []
    for types in life:
        counted.update(set(types))
        found += [Point(types[0], counted[types[0]], when) for when in ("before", "after")]
    return found


async def undisturbed(one: Battered) -> list[Point]:
    """The points of a job's life, seen once: two steps, the first with two files."""
    await one.mended()
    await one.closed(await one.ask(steps("free", 2, seed=1)))
    life = seen(one.folder)
    types = {type_ for together in life for type_ in together}
    assert types >= {*MOVES, "JobRequested"}
    assert sum("AttemptStarted" in together for together in life) == 2
    return points(life)


async def struck(one: Battered, point: Point, victim: str, engine: str) -> None:
    """One job, during which somebody dies at a point."""
    one.order(*point, "worker" if victim == "self" and point.asking else victim)
    job_id = await one.ask(steps(engine, 2, seed=len(one.jobs) + 2))
    await one.closed(job_id)
    assert await one.carried_out(), f"{point}: {', '.join(await one.story(job_id))}"


def run(server: RunningServer, folder: Path, work: Callable[[Battered], object]) -> None:
    async def whole() -> None:
        async with battered(server, folder) as one:
            await work(one)  # type: ignore[misc]
            await one.check()

    asyncio.run(whole())


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server without a worker for the tests that are always run; each has a project of its own."""
    server = RunningServer(tmp_path_factory.mktemp("kills") / "studio", "--no-worker").start()
    yield server
    server.stop()


def test_somebody_dies_between_events_of_jobs(shared: RunningServer, tmp_path: Path) -> None:
    print(f"COMFYVN_CRASH_SEED={SEED}")
    dice = random.Random(SEED)

    async def work(one: Battered) -> None:
        known = await undisturbed(one)
        for victim, count in (("self", 2), ("log", 3), ("api", 1)):
            for point in dice.sample(known, count):
                await struck(one, point, victim, dice.choice(ENGINES))

    run(shared, tmp_path / "engines", work)


@ALL
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("victim", ["self", "log", "api"])
def test_it_dies_between_all_neighbouring_events(
    server_factory: Servers, tmp_path: Path, victim: str, engine: str
) -> None:
    async def work(one: Battered) -> None:
        for point in await undisturbed(one):
            await struck(one, point, victim, engine)

    run(server_factory("--no-worker"), tmp_path / "engines", work)


@ALL
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("victim", ["self", "log", "api"])
def test_it_dies_around_a_report_of_progress(
    server_factory: Servers, tmp_path: Path, victim: str, when: str
) -> None:
    async def work(one: Battered) -> None:
        await one.mended()
        for engine in ENGINES:
            one.order("AttemptProgressed", 2, when, victim)
            await one.closed(await one.ask(steps(engine, seconds=0.5)))
            assert await one.carried_out()

    run(server_factory("--no-worker"), tmp_path / "engines", work)


@ALL
@pytest.mark.timeout(1800)
def test_many_jobs_while_everything_dies(server_factory: Servers, tmp_path: Path) -> None:
    """Twenty at once, and somebody dies at a random event of any of them, again and again."""
    print(f"COMFYVN_CRASH_SEED={SEED}")
    dice = random.Random(SEED)
    async def work(one: Battered) -> None:
        await one.mended()
        plans = [steps(dice.choice(ENGINES), dice.randint(1, 3), seed=number, seconds=dice.choice([0, 0.1, 0.5]))
                 for number in range(20)]
        ids = [await one.ask(plan) for plan in plans]
        for victim in itertools.islice(itertools.cycle(["self", "log", "self", "api"]), 8):
            one.order(dice.choice(MOVES), dice.randint(1, 3), dice.choice(["before", "after"]), victim)
            await asyncio.sleep(dice.uniform(0.5, 2.0))
            await one.mended()
        one.order("nothing", 1, "after", "self")
        for job_id in ids:
            await one.closed(job_id)

    run(server_factory("--no-worker"), tmp_path / "engines", work)


def test_what_a_death_leaves_behind_is_told_and_taken_away(shared: RunningServer, tmp_path: Path) -> None:
    """Bytes are stored, the worker dies before it can say so, and the engine forgets: nobody will ever name them."""

    async def work(one: Battered) -> None:
        await one.mended()
        one.keep_working = False
        one.order("ArtifactStored", 1, "before", "self")
        lost = await one.ask(steps("found", seed=7_000))
        assert one.process is not None
        await asyncio.to_thread(one.process.wait, 60)
        assert one.process.returncode == -signal.SIGKILL
        (submitted,) = one.engines[1].submissions()
        in_two_days = datetime.now(UTC) + timedelta(days=2)
        (left,) = (await survey(one.studio.log, one.studio.blobs, in_two_days)).orphans
        assert left.stays == "job", "whoever takes the job up may name it"
        (one.folder / "found" / f"{submitted['id']}.json").unlink()
        one.keep_working = True
        job = await one.closed(lost)
        assert (job.outcome, job.fault and job.fault.code, job.cost) == ("lost", "JOB_LOST", 0)
        one.jobs.clear()
        found = await survey(one.studio.log, one.studio.blobs, in_two_days)
        assert [(orphan.digest, orphan.stays) for orphan in found.orphans] == [(left.digest, "")]
        good = await one.ask(steps("free", seed=9_000), key="good")
        assert (await one.closed(good)).outcome == "completed"
        assert len(await remove(one.studio.log, one.studio.blobs, found)) == 1
        # Out of the way, so that what is checked of the others is about them.
        (one.folder / "found" / "submissions.jsonl").unlink()

    run(shared, tmp_path / "engines", work)


def test_a_worker_that_slept_over_its_lease_does_nothing_twice(shared: RunningServer, tmp_path: Path) -> None:
    """SIGSTOP for longer than the lease: another worker goes on; the sleeper wakes and leaves the job alone."""

    async def work(one: Battered) -> None:
        await one.mended()
        sleeper = one.process
        assert sleeper is not None
        ids = [await one.ask(steps(engine, 2, seed=number, seconds=0.7)) for number, engine in enumerate(ENGINES)]
        for job_id in ids:
            await one.until(job_id, lambda job: isinstance(job, Open) and job.attempt is not None
                            and job.attempt.situation == "accepted")
        sleeper.send_signal(signal.SIGSTOP)
        try:
            one.process = None  # another one takes its place
            for job_id in ids:
                await one.closed(job_id)
            told = {job_id: await one.story(job_id) for job_id in ids}
            one.keep_working = False
            one.end_worker(signal.SIGTERM)
            sleeper.send_signal(signal.SIGCONT)
            # It works again, and on nothing that is over.
            one.process, one.jobs = sleeper, list(ids)
            await one.closed(await one.ask(steps("free", seed=50)))
            for job_id in ids:
                assert await one.story(job_id) == told[job_id]
        finally:
            sleeper.send_signal(signal.SIGCONT)

    run(shared, tmp_path / "engines", work)
