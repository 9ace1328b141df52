"""An engine that does what a task's parameters tell it, and remembers in a folder what it was ever given.

It outlives workers, as real engines do: what was submitted stands in files, so that a test can count submissions over
any number of killed processes. It is an engine for tests, with real files behind it; nothing of ours is replaced.

Parameters of a task: ``bytes`` (text of the product; by default a small PNG made from the seed), ``repeat`` (so many
times that), ``products`` (how many), ``seconds`` (how long it works), ``refuse`` (a fault code, for so many ``times``),
``vanish`` (``before`` or ``after`` it has the task, the connection is gone), ``fail`` (a fault code at the end;
``charged``), ``lose`` (it forgets the task), ``cost`` (dollars), ``stubborn`` (cannot be cancelled), ``slow_submit``
(seconds), ``gate`` (a file in its folder: until that is there it does not answer).
"""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any

from PIL import Image

from domain.ports.engines import (
    Accepted,
    Balance,
    Cancelled,
    Cancelling,
    Done,
    EngineError,
    Failed,
    Health,
    Lost,
    Offer,
    Outcome,
    Product,
    Reading,
    Submission,
    Task,
    Traits,
    Working,
)
from domain.studio.fault import fault


def picture(seed: int, size: int = 8) -> bytes:
    """A small PNG, the same for the same seed."""
    encoded = io.BytesIO()
    colour = (seed % 256, seed // 256 % 256, seed // 65536 % 256)
    Image.new("RGB", (size, size), colour).save(encoded, "PNG")
    return encoded.getvalue()


class ScriptedEngine:
    """The engine. ``folder`` is where it lives; objects in other processes on the same folder are the same engine."""

    def __init__(
        self, folder: Path, id_: str = "scripted", *, paid: bool = False, finds_attempts: bool = False, slots: int = 2,
        repeats_safely: bool = False,
        poll_seconds: float = 0.02,
    ) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self._traits = Traits(
            id_, id_.title(), "remote" if paid else "local", paid=paid, finds_attempts=finds_attempts, slots=slots,
            repeats_safely=repeats_safely,
            poll_seconds=poll_seconds,
        )

    @property
    def traits(self) -> Traits:
        return self._traits

    # --- what the test asks -----------------------------------------------------------------------------------

    def submissions(self) -> list[dict[str, Any]]:
        """Everything that was ever submitted and taken, in order."""
        place = self.folder / "submissions.jsonl"
        return [json.loads(line) for line in place.read_text().splitlines()] if place.exists() else []

    def cancels(self) -> list[str]:
        """Tasks that somebody asked to cancel."""
        place = self.folder / "cancels.txt"
        return place.read_text().split() if place.exists() else []

    def most_at_once(self) -> int:
        """The most tasks that were at work at the same time."""
        times: list[tuple[float, int]] = []
        for one in self.submissions():
            ended = self.folder / f"{one['id']}.ended"
            end = float(ended.read_text()) if ended.exists() else float("inf")
            times += [(one["began"], 1), (min(end, one["began"] + one["seconds"]), -1)]
        most = now = 0
        for _, change in sorted(times):
            now += change
            most = max(most, now)
        return most

    # --- the protocol -----------------------------------------------------------------------------------------

    async def verify(self) -> None:
        return None

    async def balance(self) -> Balance | None:
        return None

    async def health(self) -> Health:
        return Health("running")

    async def offers(self) -> Sequence[Offer]:
        return (Offer("text_to_image", "scripted"),)

    async def estimate(self, task: Task) -> tuple[float, str] | None:
        return None

    async def submit(self, task: Task, reading: Reading) -> Accepted:
        told = task.parameters
        for materials in task.inputs.values():
            for material in materials:
                async with reading(material) as pieces:
                    assert sum([len(piece) async for piece in pieces]) == material.size
        if told.get("slow_submit"):
            await asyncio.sleep(float(told["slow_submit"]))  # type: ignore[arg-type]
        while told.get("gate") and not (self.folder / str(told["gate"])).exists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        if told.get("refuse") and self._times("refused", task) < int(told.get("times", 10**9)):  # type: ignore[arg-type]
            raise EngineError(fault(str(told["refuse"]), "It was told to refuse."))
        if told.get("vanish") == "before" and self._times("vanished", task) < int(told.get("times", 1)):  # type: ignore[arg-type]
            raise EngineError(fault("CONNECTION_TIMEOUT", "Gone before it heard."), Submission.UNKNOWN)
        asked_by_name = self.traits.finds_attempts or self.traits.repeats_safely
        known = await self.find(task.attempt) if asked_by_name else None
        external = known.external_id if known else token_hex(6)
        if known is None:
            self._remember(external, task)
        if told.get("vanish") == "after" and self._times("vanished", task) < int(told.get("times", 1)):  # type: ignore[arg-type]
            raise EngineError(fault("CONNECTION_TIMEOUT", "Gone after it heard."), Submission.UNKNOWN)
        return Accepted(external, {"attempt": task.attempt})

    async def find(self, attempt: str) -> Accepted | None:
        place = self.folder / f"attempt-{attempt}"
        return Accepted(place.read_text(), {"attempt": attempt}) if place.exists() else None

    async def poll(self, accepted: Accepted) -> Outcome:
        told = self._told(accepted)
        if told is None or told["parameters"].get("lose"):
            return Lost()
        if (self.folder / f"{accepted.external_id}.cancelled").exists():
            return Cancelled()
        gone = time.time() - told["began"]
        if gone < told["seconds"]:
            return Working(gone / told["seconds"], "working")
        ended = self.folder / f"{accepted.external_id}.ended"
        if not ended.exists():
            ended.write_text(str(time.time()))
        script: Mapping[str, Any] = told["parameters"]
        if script.get("fail"):
            return Failed(fault(script["fail"], "It was told to fail."), charged=bool(script.get("charged")))
        count = int(script.get("products", 1))
        products = tuple(Product(f"out-{n}", script.get("media_type", "image/png"), {"n": n}) for n in range(count))
        return Done(products, script.get("cost"), "usd" if "cost" in script else "", {"model": "scripted-1"})

    async def cancel(self, accepted: Accepted) -> Cancelling:
        with (self.folder / "cancels.txt").open("a") as file:
            file.write(accepted.external_id + "\n")
        told = self._told(accepted)
        if told is None:
            return Cancelling.UNKNOWN_TASK
        if told["parameters"].get("stubborn"):
            return Cancelling.UNSUPPORTED
        if time.time() - told["began"] >= told["seconds"]:
            return Cancelling.TOO_LATE
        (self.folder / f"{accepted.external_id}.cancelled").write_text("")
        (self.folder / f"{accepted.external_id}.ended").write_text(str(time.time()))
        return Cancelling.CANCELLED

    @asynccontextmanager
    async def fetch(self, accepted: Accepted, product: Product) -> AsyncIterator[AsyncIterator[bytes]]:
        told = self._told(accepted)
        assert told is not None
        script = told["parameters"]
        number = int(product.memo["n"])  # type: ignore[arg-type]
        data = script["bytes"].encode("latin-1") if "bytes" in script else picture(int(script.get("seed", 0)) + number)
        data *= int(script.get("repeat", 1))

        async def pieces() -> AsyncIterator[bytes]:
            for place in range(0, len(data), 1000):
                yield data[place : place + 1000]

        yield pieces()

    async def close(self) -> None:
        return None

    # --- memory -----------------------------------------------------------------------------------------------

    def _remember(self, external: str, task: Task) -> None:
        told = {
            "id": external, "attempt": task.attempt, "parameters": dict(task.parameters), "began": time.time(),
            "seconds": float(task.parameters.get("seconds", 0)),  # type: ignore[arg-type]
        }
        self._write(f"{external}.json", json.dumps(told))
        self._write(f"attempt-{task.attempt}", external)
        with (self.folder / "submissions.jsonl").open("a") as file:
            file.write(json.dumps(told) + "\n")

    def _write(self, name: str, text: str) -> None:
        """Whole or not at all: whoever asks may be killed at any moment, and a service is not."""
        beside = self.folder / f"{name}.{token_hex(4)}"
        beside.write_text(text)
        beside.replace(self.folder / name)

    def _told(self, accepted: Accepted) -> dict[str, Any] | None:
        place = self.folder / f"{accepted.external_id}.json"
        return json.loads(place.read_text()) if place.exists() else None

    def _times(self, what: str, task: Task) -> int:
        """How often that has happened for such a task before; counts this time."""
        place = self.folder / f"{what}-{task.parameters.get('seed', 0)}"
        count = int(place.read_text()) if place.exists() else 0
        place.write_text(str(count + 1))
        return count
