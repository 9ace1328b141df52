"""Child processes that are kept running: started again with growing pauses when they die, ended together in order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Final, Literal

import structlog

FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 10.0
STEADY_SECONDS: Final = 30.0
"""A child that has lived this long is well: its next death starts with the shortest pause again."""

GRACE_SECONDS: Final = 10.0
"""How long a child may take to end by itself before it is killed: longer than a worker gives an engine that is just
answering, and the log to hear that its jobs are free again."""

log = structlog.get_logger("supervisor")


@dataclass(slots=True)
class ChildStatus:
    """What is known of one child. ``since`` is RFC 3339 in UTC; ``last_exit`` negative for a signal."""

    name: str
    state: Literal["starting", "running", "waiting", "ended"] = "starting"
    pid: int | None = None
    since: str = ""
    restarts: int = 0
    last_exit: int | None = None


class Child:
    """One program of ours, restarted whenever it ends before it is told to.

    The child's standard input is a pipe from this process: when this process dies, however it dies, the child reads
    the end of it and goes too. It has a session of its own, so that Ctrl-C on a terminal reaches this process alone,
    which then ends everything in order.
    """

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], *,
        rest: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """``rest`` waits between two lives, in seconds."""
        self.status = ChildStatus(name)
        self._command = tuple(command)
        self._environment = dict(environment)
        self._rest = rest
        self._process: asyncio.subprocess.Process | None = None
        self._ending = False

    def told(self) -> dict[str, Any]:
        """The child as ``/status`` shows it."""
        return asdict(self.status)

    async def run(self) -> None:
        """Keeps the child running until cancelled, then ends it."""
        pause = FIRST_PAUSE_SECONDS
        try:
            while True:
                began = monotonic()
                await self._one_life()
                pause = FIRST_PAUSE_SECONDS if monotonic() - began > STEADY_SECONDS else pause
                log.warning("child_died", child=self.status.name, exit=self.status.last_exit, again_in_seconds=pause)
                self.status.state = "waiting"
                await self._rest(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                self.status.restarts += 1
        finally:
            await asyncio.shield(self._end())

    async def _one_life(self) -> None:
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=asyncio.subprocess.PIPE, env=self._environment, start_new_session=True,
            )
        except OSError as error:
            log.error("child_not_started", child=self.status.name, reason=str(error))
            return
        self.status.pid = self._process.pid
        self.status.state = "running"
        self.status.since = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        self.status.last_exit = await self._process.wait()
        self.status.pid = None

    async def _end(self) -> None:
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(GRACE_SECONDS):
                    await process.wait()
            except TimeoutError:
                log.warning("child_killed", child=self.status.name, pid=process.pid)
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        self.status.state, self.status.pid = "ended", None


async def run_until_told(work: Coroutine[Any, Any, None], *, with_parent: bool = False) -> None:
    """Runs work that has no end of its own until somebody tells this process to end; then cancels it and waits.

    ``with_parent``: the end of standard input tells so too. Raises what the work raises.
    """
    ending = asyncio.create_task(_told_to_end(with_parent=with_parent))
    working = asyncio.create_task(work)
    try:
        await asyncio.wait([ending, working], return_when=asyncio.FIRST_COMPLETED)
        if ending.done():
            log.info("ending", why=ending.result())
    finally:
        ending.cancel()
        if not working.done():
            working.cancel()
        await asyncio.wait([working])
    if not working.cancelled():
        working.result()


async def _told_to_end(*, with_parent: bool) -> str:
    """Waits for SIGINT or SIGTERM, or for the end of standard input; which it was. A second signal ends at once."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[str] = loop.create_future()

    def tell(why: str) -> None:
        if not told.done():
            told.set_result(why)

    def on_signal(number: signal.Signals) -> None:
        tell(number.name)
        # The first one asks; from now on the default action, which ends the process, is in force again.
        for one in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(one)
            signal.signal(one, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal, number)
    if with_parent:
        reader = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

        async def watch() -> None:
            while await reader.read(1024):
                pass
            tell("parent_gone")

        watching = asyncio.create_task(watch())
        told.add_done_callback(lambda _: watching.cancel())
    return await told
