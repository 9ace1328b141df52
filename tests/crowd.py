"""A crowd that keeps asking while things are killed, remembers every answer, and asks again when none came.

Every ask carries a key of its own. An answer of 2xx is a promise; a broken connection or a 503 is a question that is
asked again later with the same key. ``settle`` ends when every ask has a final answer.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.6


@dataclass
class Ask:
    """One thing asked for: how many events it makes when it is accepted, and what was answered in the end."""

    key: str
    path: str
    body: dict[str, Any]
    events: int
    status: int | None = None
    answer: dict[str, Any] = field(default_factory=dict)
    tries: int = 0
    doubts: int = 0

    @property
    def settled(self) -> bool:
        return self.status is not None and self.status < 500


class Crowd:
    """``clients`` askers with a seeded mix of single events, atomic batches and contended reservations."""

    def __init__(self, seed: int, *, clients: int = 12, project: str = "crash") -> None:
        self.random = random.Random(seed)
        self.clients = clients
        self.project = project
        self.asks: list[Ask] = []
        self.running = False
        self._number = 0

    def _next(self, client: int) -> Ask:
        self._number += 1
        number, key = self._number, f"k{self._number}"
        query = f"?project={self.project}"
        match self.random.randrange(5):
            case 0:
                body: dict[str, Any] = {"account": f"own{client}", "amount": 5, "grant_id": key}
                return Ask(key, f"/api/commands/GrantCredits{query}", body, 1)
            case 1:
                body = {"account": "shared", "attempt_id": key, "amount": 3, "purpose": "render"}
                return Ask(key, f"/api/commands/ReserveCredits{query}", body, 2)  # the budget counts it too
            case 2:
                commands = [{"command": "ForkWorldline", "worldline_id": f"w{number}{side}"} for side in "ab"]
                return Ask(key, f"/api/commands{query}", {"commands": commands}, 2)
            case 3:
                document = {"id": f"s{number}", "title": f"Scene {number}", "start": "a",
                            "nodes": [{"id": "a", "text": "…", "end": True}]}
                return Ask(key, f"/api/scenes{query}", document, 1)
            case _:
                body = {"scene_id": "together", "node_id": f"n{client}", "text": f"line {number}"}
                return Ask(key, f"/api/commands/EditNode{query}", body, 1)

    async def prepare(self, url: str) -> None:
        """What the crowd shares: an account with funds and a scene with a node for each client."""
        nodes = [{"id": f"n{client}", "text": "", "choices": [{"target": f"n{(client + 1) % self.clients}"}]}
                 for client in range(self.clients)]
        scene = {"id": "together", "title": "Together", "start": "n0", "nodes": nodes}
        account = {"account": "shared", "amount": 2_000, "grant_id": "start"}
        self.asks += [
            Ask("start-account", f"/api/commands/GrantCredits?project={self.project}", account, 1),
            Ask("start-scene", f"/api/scenes?project={self.project}", scene, 1),
        ]
        await self.settle(url)

    async def press(self, url: Callable[[], str]) -> None:
        """Asks until ``running`` is taken back; every client waits for its own answer before it asks again.

        ``url`` is asked for every time: a server that was started again may be at another port.
        """
        self.running = True
        async with httpx.AsyncClient(timeout=20) as http:
            await asyncio.gather(*(self._client(http, client, url) for client in range(self.clients)))

    async def accepted(self, asking: asyncio.Task[None], *, seconds: float = 60) -> None:
        """Waits until something that is asked from now on is accepted; raises what has ended the asking."""
        first = len(self.asks)
        async with asyncio.timeout(seconds):
            while not promised(self.asks[first:]):
                if asking.done():
                    await asking
                await asyncio.sleep(0.02)

    async def settle(self, url: str, *, seconds: float = 180) -> None:
        """Asks everything that has no final answer again, with its key, until it has one."""
        async with asyncio.timeout(seconds), httpx.AsyncClient(base_url=url, timeout=20) as http:
            while open_asks := [ask for ask in self.asks if not ask.settled]:
                await asyncio.gather(*(self._ask(http, ask) for ask in open_asks[:32]))
                if any(not ask.settled for ask in open_asks):
                    await asyncio.sleep(0.2)

    async def _client(self, http: httpx.AsyncClient, client: int, url: Callable[[], str]) -> None:
        pause = PAUSE_SECONDS
        while self.running:
            ask = self._next(client)
            self.asks.append(ask)
            await self._ask(http, ask, url())
            if ask.settled:
                pause = PAUSE_SECONDS
            else:  # whoever starts again needs the processor more than a crowd that is refused
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _ask(self, http: httpx.AsyncClient, ask: Ask, url: str = "") -> None:
        ask.tries += 1
        try:
            response = await http.post(url + ask.path, json=ask.body, headers={"Idempotency-Key": ask.key})
        except httpx.HTTPError:
            ask.doubts += 1
            return
        ask.status, ask.answer = response.status_code, response.json()
        if response.status_code >= 500:
            assert response.status_code == 503, f"{response.status_code}: {response.text}"
            ask.doubts += 1


def promised(asks: list[Ask]) -> dict[str, tuple[list[int], int]]:
    """Key -> (positions that were promised, events it should have made), for every accepted ask."""
    told = {}
    for ask in asks:
        if ask.status in (200, 201):
            results = ask.answer.get("results", [ask.answer])
            positions = [event["position"] for result in results for event in result["events"]]
            told[ask.key] = (positions, ask.events)
    return told


async def whole_log(url: str, project: str) -> list[dict[str, Any]]:
    """Every event of a project, through the door."""
    events: list[dict[str, Any]] = []
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        after = 0
        while True:
            query = {"project": project, "limit": "500", "after": str(after)}
            page = (await http.get("/api/log", params=query)).raise_for_status().json()
            events += page["items"]
            after = page["next"]
            if not after:
                return events


def check_promises(asks: list[Ask], events: list[dict[str, Any]]) -> None:
    """Every promise stands in the log once; nothing is there twice, by halves, or unasked for."""
    by_position = {event["position"]: event for event in events}
    assert len(by_position) == len(events), "a position was listed twice"
    by_command: dict[str, list[int]] = {}
    for event in events:
        by_command.setdefault(event["command_id"], []).append(event["position"])
    kept = set()
    for key, (positions, expected) in promised(asks).items():
        assert len(positions) == expected, f"{key} was promised {positions}, not {expected} events"
        for position in positions:
            assert position in by_position, f"{key}: position {position} was acknowledged and is not in the log"
        command = by_position[positions[0]]["command_id"]
        assert sorted(by_command[command]) == sorted(positions), f"{key}: {by_command[command]} for {positions}"
        assert command not in kept, f"{key} shares its events with another ask"
        kept.add(command)
    unasked = set(by_command) - kept
    assert not unasked, f"events that nobody was told of: {[by_command[command] for command in unasked]}"
