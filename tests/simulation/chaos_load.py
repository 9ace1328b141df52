"""Authors who go on working while everything dies: each asks until there is an answer, and remembers what it was."""

from __future__ import annotations

import asyncio
import io
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from PIL import Image

ACTOR = "chaos"
GRANTED = 10_000


@dataclass
class Ask:
    """One request with its key, and the answer that was given in the end."""

    key: str
    path: str
    body: dict[str, Any] | None
    file: bytes | None = None
    status: int = 0
    answer: dict[str, Any] = field(default_factory=dict)
    doubts: int = 0

    @property
    def accepted(self) -> bool:
        return 200 <= self.status < 300

    @property
    def positions(self) -> list[int] | None:
        """The positions that were promised, where the answer names any."""
        results = self.answer.get("results") or self.answer.get("items") or [self.answer]
        lists = [one.get("events") for one in results if isinstance(one, dict)]
        if not all(isinstance(one, list) for one in lists):
            return None
        return sorted({event["position"] for one in lists for event in one})  # type: ignore[union-attr]


class Authors:
    """``number`` of them, with a seeded mix of everything that a studio is asked. ``url`` is asked every time."""

    def __init__(self, seed: int, url: Callable[[], str], *, project: str = "chaos", number: int = 6) -> None:
        self.seed, self.url, self.project, self.number = seed, url, project, number
        self.asks: list[Ask] = []
        self.strange: list[str] = []
        """Answers that nothing explains: a defect, or words that are no JSON."""
        self.running = False
        self._count = 0

    async def prepare(self) -> None:
        """What they share: an account, a scene and the policy's notice."""
        async with self._client() as http:
            nodes: list[dict[str, Any]] = [{"id": f"n{one}", "text": "…", "choices": [{"target": f"n{one + 1}"}]}
                                           for one in range(12)]
            nodes.append({"id": "n12", "end": True})
            await self.ask(http, "/api/scenes", {"id": "together", "title": "Together", "start": "n0", "nodes": nodes})
            await self.ask(http, "/api/policy/ack", {"user": ACTOR})
            for account in ("shared", "purse"):
                await self.ask(http, f"/api/credits/{account}/grant", {"amount": GRANTED * 100})

    async def press(self) -> None:
        """Works until ``running`` is taken back; whoever has begun something ends it."""
        self.running = True
        await asyncio.gather(*(self._author(one) for one in range(self.number)))

    async def repeat(self, count: int) -> list[str]:
        """Asks some again with their keys: the first answer has to come. What came otherwise."""
        dice, wrong = random.Random(self.seed), []
        # What recorded nothing is decided again, on what has happened since.
        kept = [ask for ask in self.asks if ask.accepted and ask.positions != []]
        async with self._client() as http:
            for ask in dice.sample(kept, min(count, len(kept))):
                again = await self._until_answered(http, Ask(ask.key, ask.path, ask.body, ask.file))
                if again.status != ask.status or again.positions not in (None, ask.positions):
                    wrong.append(f"{ask.path} {ask.key}: {ask.status} {ask.answer}, "
                                 f"repeated {again.status} {again.answer}")
        return wrong

    async def ask(self, http: httpx.AsyncClient, path: str, body: dict[str, Any] | None = None, *,
                  file: bytes | None = None) -> Ask:
        """Asks until there is an answer."""
        self._count += 1
        sign = "&" if "?" in path else "?"
        ask = Ask(f"k{self._count}", f"{path}{sign}project={self.project}", body, file)
        self.asks.append(ask)
        return await self._until_answered(http, ask)

    async def _until_answered(self, http: httpx.AsyncClient, ask: Ask) -> Ask:
        pause = 0.05
        while True:
            given: dict[str, Any] = {"json": ask.body or {}}
            if ask.file is not None:
                given = {"files": {"file": (f"{ask.key}.png", ask.file)}, "data": ask.body or {}}
            try:
                answer = await http.post(self.url() + ask.path, headers={"Idempotency-Key": ask.key}, **given)
                if answer.status_code < 500:
                    ask.status, ask.answer = answer.status_code, answer.json()
                    return ask
                if answer.status_code != 503 or "retry-after" not in answer.headers:
                    self.strange.append(f"{ask.path}: {answer.status_code} {answer.text[:500]}")
            except httpx.HTTPError:
                pass
            ask.doubts += 1
            await asyncio.sleep(pause)
            pause = min(pause * 2, 1.0)

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(timeout=30, headers={"X-Comfyvn-Actor": ACTOR})

    async def _author(self, number: int) -> None:
        dice = random.Random(self.seed * 1000 + number)
        works = (self._write, self._write, self._fork, self._play, self._upload, self._spend, self._draft, self._export)
        done = 0
        async with self._client() as http:
            while self.running:
                done += 1
                work: Callable[..., Awaitable[None]] = dice.choice(works)
                await work(http, dice, f"{number}-{self._count}-{done}")

    # --- what they do -------------------------------------------------------------------------------------------

    async def _write(self, http: httpx.AsyncClient, dice: random.Random, name: str) -> None:
        if dice.random() < 0.4:
            nodes = [{"id": "a", "text": "…", "choices": [{"id": "x", "target": "b"}, {"id": "y", "target": "c"}]},
                     {"id": "b", "text": "B", "end": True}, {"id": "c", "text": "C", "end": True}]
            await self.ask(http, "/api/scenes", {"id": f"s{name}", "title": name, "start": "a", "nodes": nodes})
        for _ in range(dice.randint(1, 3)):
            node = f"n{dice.randrange(12)}"
            await self.ask(http, "/api/commands/EditNode", {"scene_id": "together", "node_id": node, "text": name})
        if dice.random() < 0.3:
            both = [{"command": "EditNode", "scene_id": "together", "node_id": f"n{n}", "text": f"{name} {n}"}
                    for n in range(dice.randint(2, 6))]
            await self.ask(http, "/api/commands", {"commands": both})

    async def _fork(self, http: httpx.AsyncClient, dice: random.Random, name: str) -> None:
        line = f"w{name}"
        await self.ask(http, "/api/pov/worlds", {"worldline_id": line})
        for _ in range(dice.randint(1, 3)):
            await self.ask(http, f"/api/commands/EditNode?worldline={line}",
                           {"scene_id": "together", "node_id": f"n{dice.randrange(12)}", "text": f"on {line}"})
        if dice.random() < 0.7:
            await self.ask(http, "/api/pov/merge", {"source": line, "rule": dice.choice(["ours", "theirs", "newest"])})

    async def _play(self, http: httpx.AsyncClient, dice: random.Random, name: str) -> None:
        play = f"p{name}"
        begun = await self.ask(http, "/api/playthroughs", {"playthrough_id": play, "scene": "together", "seed": 7})
        if begun.accepted:
            for _ in range(dice.randint(1, 8)):
                await self.ask(http, f"/api/playthroughs/{play}/advance", {"steps": 1})
            await self.ask(http, f"/api/playthroughs/{play}/back", {"steps": 1})

    async def _upload(self, http: httpx.AsyncClient, dice: random.Random, name: str) -> None:
        size = dice.choice([8, 64, 600])
        picture = Image.frombytes("RGB", (size, size), dice.randbytes(size * size * 3))
        encoded = io.BytesIO()
        picture.save(encoded, "PNG")
        await self.ask(http, "/api/assets/upload", {"name": name, "tags": "chaos"}, file=encoded.getvalue())

    async def _spend(self, http: httpx.AsyncClient, dice: random.Random, name: str) -> None:
        amount = dice.randint(1, 50)
        held = await self.ask(http, "/api/credits/shared/reserve",
                              {"attempt_id": name, "amount": amount, "purpose": "chaos"})
        if held.accepted:
            end = dice.choice([("settle", {"actual": dice.randint(0, amount)}), ("release", {})])
            await self.ask(http, f"/api/credits/shared/{end[0]}", {"attempt_id": name, **end[1]})

    async def _draft(self, http: httpx.AsyncClient, dice: random.Random, name: str) -> None:
        if dice.random() < 0.6:
            return
        preset = dice.choice(["photoreal_portrait_v1", "cinematic_portrait_v1"])
        inputs = {"prompt": f"Mara {name}", "draft": True, "seed": dice.randrange(2**32)}
        asked = await self.ask(http, f"/api/presets/{preset}/run", {"inputs": inputs, "name": name})
        if asked.accepted and dice.random() < 0.15:
            await self.ask(http, f"/api/jobs/{asked.answer.get('job_id') or asked.answer['id']}/cancel")

    async def _export(self, http: httpx.AsyncClient, dice: random.Random, name: str) -> None:
        if dice.random() < 0.3:
            folder = f"game{dice.randrange(3)}"
            await self.ask(http, "/api/export/renpy", {"scene": "together", "folder": folder, "force": True})
