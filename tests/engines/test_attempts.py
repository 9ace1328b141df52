"""Attempts on this machine: found after any end of their worker, begun again, given up, cleaned, never left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from ports.engine_suite import NOTHING, OVER, Stored, fetched, picture

from adapters.engines.attempts.attempts import BEGINNINGS
from adapters.engines.attempts.folder import AttemptFolder
from adapters.engines.attempts.taking import tidied
from adapters.engines.studio_local.engine import StudioLocal
from domain.ports.engines import (
    Cancelled,
    Cancelling,
    Done,
    EngineError,
    Failed,
    Lost,
    Material,
    Submission,
    Task,
    Working,
)

WORKER = """
import asyncio, sys
from pathlib import Path
sys.path[:0] = [{tests!r}]
from adapters.engines.studio_local.engine import StudioLocal
from domain.ports.engines import Task
from ports.engine_suite import NOTHING

async def main():
    engine = StudioLocal(Path(sys.argv[1]), slots=1)
    size = int(sys.argv[2])
    task = Task("one", "text_to_image", "placeholder", {{"width": size, "height": size}})
    accepted = await engine.submit(task, NOTHING)
    while True:
        print(type(await engine.poll(accepted)).__name__, flush=True)
        await asyncio.sleep(0.02)

asyncio.run(main())
"""


def small(attempt: str = "one", size: int = 96, seconds: float = 100.0) -> Task:
    return Task(attempt, "text_to_image", "placeholder", {"width": size, "height": size}, deadline_seconds=seconds)


def run(folder: Path, scenario: Any) -> None:
    async def whole() -> None:
        engine = StudioLocal(folder, slots=1)
        try:
            await scenario(engine)
        finally:
            await engine.close()

    asyncio.run(whole())


async def ended(engine: StudioLocal, attempt: str = "one") -> Any:
    found = await engine.find(attempt)
    assert found is not None
    async with asyncio.timeout(100):
        while True:
            outcome = await engine.poll(found)
            if isinstance(outcome, OVER):
                return outcome
            await asyncio.sleep(0.02)


def killed_while(folder: Path, state: str, size: int) -> None:
    """A worker that was killed when its task was in this state."""
    code = WORKER.format(tests=str(Path(__file__).parents[1]))
    worker = subprocess.Popen([sys.executable, "-c", code, str(folder), str(size)], stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    for line in worker.stdout:
        if line.strip() == state:
            break
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    worker.stdout.close()


def at_work(folder: Path) -> list[int]:
    """Processes whose command line names the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def environments(folder: Path) -> bytes:
    return b"".join(Path(f"/proc/{process}/environ").read_bytes() for process in at_work(folder))


def nobody_at_work(folder: Path) -> None:
    deadline = time.monotonic() + 60
    while at_work(folder):
        assert time.monotonic() < deadline, "a process outlives its worker"
        time.sleep(0.02)


def test_what_a_killed_worker_had_finished_is_found(tmp_path: Path) -> None:
    killed_while(tmp_path, "Done", 96)

    async def scenario(engine: StudioLocal) -> None:
        done = await ended(engine)
        assert isinstance(done, Done)
        found = await engine.find("one")
        assert found is not None
        assert (await fetched(engine, found, done.products[0])).startswith(b"\x89PNG")

    run(tmp_path, scenario)
    assert AttemptFolder(tmp_path / "one").begun() == 1


def test_what_a_killed_worker_had_begun_ends_with_it_and_is_begun_again(tmp_path: Path) -> None:
    killed_while(tmp_path, "Working", 2500)
    nobody_at_work(tmp_path)
    folder = AttemptFolder(tmp_path / "one")
    assert folder.begun() == 1
    assert folder.outcome() is None

    async def scenario(engine: StudioLocal) -> None:
        assert isinstance(await ended(engine), Done)

    run(tmp_path, scenario)
    assert folder.begun() == 2


def test_a_worker_that_is_killed_again_and_again_is_not_obeyed_for_ever(tmp_path: Path) -> None:
    async def scenario(engine: StudioLocal) -> None:
        await engine.submit(small(), NOTHING)

    run(tmp_path, scenario)  # closed before it began: nothing counts
    folder = AttemptFolder(tmp_path / "one")
    assert folder.begun() == 0
    for _ in range(BEGINNINGS):
        folder.begin()

    async def after(engine: StudioLocal) -> None:
        outcome = await ended(engine)
        assert isinstance(outcome, Failed)
        assert f"{BEGINNINGS} times" in outcome.fault.message

    run(tmp_path, after)


def test_a_process_that_is_killed_from_outside_fails_its_task_alone(tmp_path: Path) -> None:
    async def scenario(engine: StudioLocal) -> None:
        accepted = await engine.submit(small(size=2500), NOTHING)
        async with asyncio.timeout(30):
            while True:
                if isinstance(await engine.poll(accepted), Working):
                    break
                await asyncio.sleep(0.01)
        for process in at_work(tmp_path):
            os.kill(process, signal.SIGKILL)
        outcome = await ended(engine)
        assert isinstance(outcome, Failed)
        assert outcome.fault.retryable
        await engine.submit(small("two"), NOTHING)
        assert isinstance(await ended(engine, "two"), Done)

    run(tmp_path, scenario)


def test_two_workers_do_not_do_it_twice(tmp_path: Path) -> None:
    async def scenario(engine: StudioLocal) -> None:
        other = StudioLocal(tmp_path, slots=1)
        try:
            first, second = await asyncio.gather(engine.submit(small(size=1200), NOTHING),
                                                 other.submit(small(size=1200), NOTHING))
            assert first == second
            outcomes = await asyncio.gather(ended(engine), ended(other))
            assert all(isinstance(one, Done) for one in outcomes)
        finally:
            await other.close()

    run(tmp_path, scenario)
    assert AttemptFolder(tmp_path / "one").begun() == 1


def test_what_another_worker_is_doing_can_be_cancelled(tmp_path: Path) -> None:
    async def scenario(engine: StudioLocal) -> None:
        other = StudioLocal(tmp_path, slots=1)
        try:
            accepted = await engine.submit(small(size=4000), NOTHING)
            async with asyncio.timeout(30):
                while True:
                    if isinstance(await other.poll(accepted), Working):
                        break
                    await asyncio.sleep(0.01)
            assert await other.cancel(accepted) is Cancelling.REQUESTED
            assert isinstance(await ended(other), Cancelled)
            assert isinstance(await ended(engine), Cancelled)
        finally:
            await other.close()

    run(tmp_path, scenario)
    nobody_at_work(tmp_path)


def test_a_task_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    async def scenario(engine: StudioLocal) -> None:
        await engine.submit(small(size=4000, seconds=0.8), NOTHING)
        outcome = await ended(engine)
        assert isinstance(outcome, Failed)
        assert outcome.fault.code == "ENGINE_TIMEOUT"
        nobody_at_work(tmp_path)

    run(tmp_path, scenario)


@pytest.mark.parametrize("written", [
    "", "{", "[]", '{"done": 3}', '{"done": {"products": [["x"]], "facts": 1}}', "[" * 99_999, '{"cancelled": 1}',
    '{"failed": {"code": "NO_SUCH", "message": "x", "detail": {}}}',
])
def test_an_end_that_cannot_be_read_is_an_error_and_no_result(tmp_path: Path, written: str) -> None:
    async def scenario(engine: StudioLocal) -> None:
        accepted = await engine.submit(small(), NOTHING)
        assert isinstance(await ended(engine), Done)
        (tmp_path / "one" / "outcome.json").write_text(written)
        with pytest.raises(EngineError) as caught:
            await engine.poll(accepted)
        assert caught.value.fault.code == "ENGINE_ERROR"

    run(tmp_path, scenario)


def test_an_order_that_cannot_be_read_fails(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "order.json").write_text("{")

    async def scenario(engine: StudioLocal) -> None:
        assert isinstance(await ended(engine), Failed)

    run(tmp_path, scenario)


class Endless:
    """Bytes that do not stop where they should."""

    @asynccontextmanager
    async def __call__(self, material: Material) -> AsyncIterator[AsyncIterator[bytes]]:
        async def pieces() -> AsyncIterator[bytes]:
            while True:
                yield b"\0" * 65_536

        yield pieces()


def test_endless_and_wrong_bytes_are_not_taken(tmp_path: Path) -> None:
    stored = Stored(picture())
    task = Task("one", "upscale_image", "lanczos", {}, {"image": stored.materials})

    async def scenario(engine: StudioLocal) -> None:
        async with asyncio.timeout(60):
            with pytest.raises(EngineError) as caught:
                await engine.submit(task, Endless())
        assert caught.value.submission is Submission.REFUSED
        assert await engine.find("one") is None
        enormous = Material("sha256:" + "0" * 64, 2**40, "image/png")
        with pytest.raises(EngineError) as caught:
            await engine.submit(Task("two", "upscale_image", "lanczos", {}, {"image": [enormous]}), Endless())
        assert caught.value.fault.code == "FILE_REFUSED"

    run(tmp_path, scenario)
    assert list(tmp_path.iterdir()) == []


def test_children_are_told_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMFYVN_FAL_KEY", "the-secret-key")

    async def scenario(engine: StudioLocal) -> None:
        accepted = await engine.submit(small(size=2500), NOTHING)
        seen = b""
        async with asyncio.timeout(30):
            while not seen:
                await engine.poll(accepted)
                seen = environments(tmp_path)
                await asyncio.sleep(0.01)
        assert b"PATH=" in seen
        assert b"the-secret-key" not in seen

    run(tmp_path, scenario)


def test_old_attempts_are_cleaned_and_recent_ones_stay(tmp_path: Path) -> None:
    now = time.time()

    def finished(name: str, hours: float, size: int = 10) -> None:
        (tmp_path / name / "products").mkdir(parents=True)
        (tmp_path / name / "order.json").write_text("{}")
        (tmp_path / name / "products" / "file").write_bytes(b"x" * size)
        (tmp_path / name / "outcome.json").write_text(json.dumps({"cancelled": True}))
        os.utime(tmp_path / name / "outcome.json", (now - hours * 3600,) * 2)

    for name, hours, size in (("recent", 0.5, 5000), ("large", 3, 5000), ("small", 2, 10), ("old", 30, 10)):
        finished(name, hours, size)
    (tmp_path / "waiting").mkdir()
    (tmp_path / ".coming-x-1").mkdir()
    (tmp_path / ".coming-y-2").mkdir()
    os.utime(tmp_path / ".coming-x-1", (now - 7200,) * 2)
    assert sorted(tidied(tmp_path, 24 * 3600, 6000, now)) == [".coming-x-1", "large", "old"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".coming-y-2", "recent", "small", "waiting"]


def test_names_lead_nowhere_else(tmp_path: Path) -> None:
    async def scenario(engine: StudioLocal) -> None:
        from domain.ports.engines import Accepted, Product

        for name in ("../one", "..", ".", "", "a/b", "A", "x" * 65, "one\0"):
            assert await engine.find(name) is None
            assert isinstance(await engine.poll(Accepted(name)), Lost)
            assert await engine.cancel(Accepted(name)) is Cancelling.UNKNOWN_TASK
        accepted = await engine.submit(small(), NOTHING)
        assert isinstance(await ended(engine), Done)
        with pytest.raises(EngineError):
            await fetched(engine, accepted, Product("../order.json", "image/png", {}))

    run(tmp_path / "attempts", scenario)
