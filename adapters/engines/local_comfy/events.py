"""ComfyUI's socket: how far a run has come. A hint for people; what has become of it is always asked of the history.

What is said here is lost whenever the connection is (trap 9), goes to everybody in part (trap 8), and names no run
right after reconnecting. So nothing is decided by it: without the socket everything works, only without fractions.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

WATCHED: Final = 256
"""Most runs whose progress is remembered; the oldest are forgotten first."""

MESSAGE_BYTES: Final = 16 * 2**20
"""Largest message; previews are the large ones."""

RETRY_SECONDS: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Waits between attempts to connect again; the last one is repeated."""


@dataclass(slots=True)
class Progress:
    """Of one run: its nodes (id -> what the node is called) and how much of each is done, from 0 to 1."""

    titles: Mapping[str, str]
    done: dict[str, float] = field(default_factory=dict)
    now: str | None = None

    @property
    def fraction(self) -> float | None:
        """Part of the graph that is done. ``None`` while nothing was heard."""
        if not self.done or not self.titles:
            return None
        told = sum(min(max(self.done.get(node, 0.0), 0.0), 1.0) for node in self.titles)
        return min(told / len(self.titles), 1.0)

    @property
    def stage(self) -> str:
        return self.titles.get(self.now or "", "")


class Listener:
    """One socket under one client id. ``watch`` says which runs are ours; of others nothing is kept."""

    def __init__(self, address: str, client_id: str, login: Mapping[str, str] | None = None) -> None:
        self._login = dict(login or {})
        self._url = f"ws{address.removeprefix('http')}/ws?clientId={client_id}"
        self._runs: OrderedDict[str, Progress] = OrderedDict()
        self._task: asyncio.Task[None] | None = None
        self.connected = asyncio.Event()

    def watch(self, run: str, titles: Mapping[str, str]) -> None:
        """Remembers a run of ours, and listens from now on."""
        if run not in self._runs:
            self._runs[run] = Progress(dict(titles))
            while len(self._runs) > WATCHED:
                self._runs.popitem(last=False)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._listen(), name="comfyui socket")

    def progress(self, run: str) -> Progress | None:
        return self._runs.get(run)

    def forget(self, run: str) -> None:
        self._runs.pop(run, None)

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _listen(self) -> None:
        failures = 0
        while True:
            try:
                async with connect(self._url, additional_headers=self._login, max_size=MESSAGE_BYTES, proxy=None,
                                   compression=None, open_timeout=5, close_timeout=1, ping_interval=20,
                                   ping_timeout=60) as socket:
                    failures = 0
                    self.connected.set()
                    async for message in socket:
                        if isinstance(message, str):  # binary messages are previews
                            self.hear(message)
            except (OSError, TimeoutError, WebSocketException, ValueError):
                pass  # the history is asked anyway; here we only try again
            self.connected.clear()
            await asyncio.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
            failures += 1

    def hear(self, message: str) -> None:
        """Takes one message in. What is not understood is not ours to judge."""
        try:
            said = orjson.loads(message)
        except orjson.JSONDecodeError:
            return
        data = said.get("data") if isinstance(said, dict) else None
        run = self._runs.get(data["prompt_id"]) if isinstance(data, dict) and _named(data) else None
        if run is None or not isinstance(data, dict):
            return
        match said.get("type"):
            case "execution_cached":
                for node in data["nodes"] if isinstance(data.get("nodes"), list) else []:
                    run.done[str(node)] = 1.0
            case "progress_state":
                nodes = data.get("nodes")
                for node, state in nodes.items() if isinstance(nodes, dict) else []:
                    run.done[node] = _part(state)
                    if isinstance(state, dict) and state.get("state") == "running":
                        run.now = node
            case "progress":
                if isinstance(data.get("node"), str):
                    run.done[data["node"]] = _part({"state": "running", **data})
            case "executing":
                if isinstance(data.get("node"), str):
                    run.now = data["node"]
                    run.done.setdefault(data["node"], 0.0)
            case "executed":
                if isinstance(data.get("node"), str):
                    run.done[data["node"]] = 1.0


def _named(data: Mapping[str, Any]) -> bool:
    """Whether it says which run it speaks of: right after reconnecting one message does not."""
    return isinstance(data.get("prompt_id"), str)


def _part(state: Any) -> float:
    if not isinstance(state, dict):
        return 0.0
    if state.get("state") == "finished":
        return 1.0
    value, most = state.get("value"), state.get("max")
    if isinstance(value, int | float) and isinstance(most, int | float) and most > 0:
        return min(max(float(value) / float(most), 0.0), 1.0)
    return 0.0
