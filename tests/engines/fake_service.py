"""What the fake remote services share: tasks that wait, work and end as told, files, and levers to misbehave."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

from engines.wire import Answer, Asked, Dropped, Server
from ports.engine_suite import Rig, picture

from domain.ports.engines import Engine, Material, Product, Task
from domain.ports.secrets import Secrets

CLIP = b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41" + b"\x00" * 64
"""The beginning of an MP4 file, enough for who only looks at bytes."""


@dataclass
class Work:
    """One task that a service has taken."""

    id: str
    asked: Asked
    body: dict[str, Any]
    stage: Literal["waiting", "working", "done", "failed", "cancelled"] = "waiting"
    fails: Any = None
    details: dict[str, Any] = field(default_factory=dict)


class FakeService:
    """A service on a real socket. Subclasses answer requests by ``served``; files lie under ``/files/``."""

    key: ClassVar[str] = "sk-a-secret-that-nobody-must-see-0123456789"
    media: ClassVar[Literal["png", "mp4"]] = "png"

    def __init__(self) -> None:
        self.server = Server(self._answer)
        self.works: dict[str, Work] = {}
        self.taken = 0
        self.seen: list[Asked] = []
        self.files: dict[str, bytes] = {}
        self.held: Literal["waiting", "working"] | None = None
        self.fail_next: Any = None
        self.drop_next = self.silent = self.flood = self.endless = False
        self.babble: bytes | None = None
        self.answers: list[Answer] = []
        """Answers to give instead of the next ones."""

    async def __aenter__(self) -> Self:
        await self.server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.kill()

    @property
    def url(self) -> str:
        return self.server.url

    async def served(self, asked: Asked) -> Answer:
        """The answer of the service itself."""
        raise NotImplementedError

    async def _answer(self, asked: Asked) -> Answer:
        self.seen.append(asked)
        if self.silent:
            await asyncio.sleep(60)
        if asked.path.startswith("/files/"):
            assert not {"authorization", "x-api-key", "cookie"} & asked.headers.keys(), "a key went along"
            return self._file(asked.path.removeprefix("/files/"))
        if self.flood:
            return Answer(200, b"[", endless=b" " * 65536)
        if self.babble is not None:
            return Answer(200, self.babble)
        if self.answers:
            return self.answers.pop(0)
        before = self.taken
        answer = await self.served(asked)
        if self.drop_next and self.taken > before:
            self.drop_next = False
            raise Dropped
        return answer

    def _file(self, name: str) -> Answer:
        media = "video/mp4" if name.endswith("mp4") else "image/png"
        if name not in self.files:
            return Answer(404, b"gone", "text/plain")
        if self.endless:
            return Answer(200, self.files[name], media, endless=b"\x00" * 65536)
        return Answer(200, self.files[name], media)

    def take(self, id_: str, asked: Asked, body: dict[str, Any]) -> Work:
        """A new task."""
        self.taken += 1
        self.works[id_] = Work(id_, asked, body, fails=self.fail_next)
        self.fail_next = None
        return self.works[id_]

    def move(self, work: Work) -> None:
        """What each poll sees: a step further, unless it is held."""
        if work.stage == "waiting" and self.held != "waiting":
            work.stage = "working"
        elif work.stage == "working" and self.held != "working":
            work.stage = "done" if work.fails is None else "failed"

    def file_of(self, work: Work) -> str:
        """The address of what a task has made."""
        mark = hashlib.sha256(work.id.encode()).digest()
        name = f"{hashlib.sha256(work.id.encode()).hexdigest()[:16]}.{self.media}"
        if work.details.setdefault("made", False) is False:
            work.details["made"] = True
            self.files[name] = picture(40, 24, (mark[0], mark[1], mark[2])) if self.media == "png" else CLIP + mark
        return f"{self.url}/files/{name}"

    def submits(self) -> list[Asked]:
        """The requests of the tasks that were taken, in order."""
        return [work.asked for work in self.works.values()]


class ServiceRig(Rig):
    """The levers of a fake service, for the suite of all engines."""

    pause = 0.005
    patience_seconds = 10.0
    """How long the adapter waits for an answer: longer than a machine with much to do takes for one."""
    failure: Any = {}
    service: FakeService

    def __init__(self, service: FakeService) -> None:
        self.service = service
        super().__init__(self.made())
        self.secrets = tuple(self.credentials().values())

    def credentials(self) -> dict[str, str]:
        return {"api_key": self.service.key}

    def known(self) -> Secrets:
        """The credentials as an adapter asks for them."""
        async def asked(_: str) -> dict[str, str]:
            return self.credentials()

        return asked

    def made(self) -> Engine:
        """A new adapter."""
        raise NotImplementedError

    async def again(self) -> Engine:
        return self.made()

    def check(self, product: Product, content: bytes) -> None:
        name = str(product.memo["url"]).rpartition("/")[2]
        assert content == self.service.files[name]

    def unsuitable(self, attempt: str) -> Sequence[Task]:
        task = self.task(attempt)
        return [
            Task(attempt, task.operation, "no-such-model", task.parameters),
            Task(attempt, "compose_video", "", {}),
            Task(attempt, task.operation, task.model, {**task.parameters, "frobnicate": 1}),
            Task(attempt, task.operation, task.model, {**task.parameters, "prompt": 5}),
            Task(attempt, task.operation, task.model, {**task.parameters, "prompt": "x" * 50_000}),
            Task(attempt, task.operation, task.model, {**task.parameters, "prompt": " "}),
            Task(attempt, task.operation, task.model, {k: v for k, v in task.parameters.items() if k != "prompt"}),
            Task(attempt, task.operation, task.model, task.parameters, {"nothing": [
                Material("sha256:" + "0" * 64, 3, "image/png")]}),
        ]

    def submissions(self) -> int:
        return self.service.taken

    async def hold(self, stage: Literal["waiting", "working"]) -> None:
        self.service.held = stage

    async def release(self) -> None:
        self.service.held = None

    async def fail_next(self) -> None:
        self.service.fail_next = self.failure

    async def drop_next(self) -> None:
        self.service.drop_next = True

    async def silence(self) -> None:
        self.service.silent, self.patience_seconds = True, 0.5
        await self.engine.close()
        self.engine = self.made()

    async def vanish(self) -> None:
        await self.service.server.kill()

    async def forget(self) -> None:
        self.service.works.clear()

    async def babble(self, content: bytes) -> None:
        self.service.babble = content

    async def flood(self) -> None:
        self.service.flood = True

    async def lose_products(self) -> None:
        self.service.files.clear()

    async def endless_products(self) -> None:
        self.service.endless = True
