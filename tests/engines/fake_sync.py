"""A fake Sync: forms with files, a key that is taken once, limits told in bodies."""

from __future__ import annotations

import hashlib
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any
from uuid import uuid4

from engines.fake_service import FakeService, Work
from engines.wire import Answer, Asked, as_json


def parts_of(asked: Asked) -> dict[str, bytes]:
    """The parts of a form, by name."""
    head = f"Content-Type: {asked.headers['content-type']}\r\n\r\n".encode()
    message = BytesParser(policy=HTTP).parsebytes(head + asked.body)
    found: dict[str, bytes] = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        payload = part.get_payload(decode=True)
        assert isinstance(name, str)
        assert isinstance(payload, bytes)
        found[name] = payload
    return found


class FakeSync(FakeService):
    """``keys`` remembers what was sent under which key. ``concurrency`` is the plan's."""

    media = "mp4"

    def __init__(self) -> None:
        super().__init__()
        self.keys: dict[str, tuple[str, str]] = {}
        self.concurrency = 100
        self.names_first = True
        self.ending: dict[str, Any] = {}

    async def served(self, asked: Asked) -> Answer:
        if asked.headers.get("x-api-key") != self.key:
            return _error(401, "unauthorized", f"The key {asked.headers.get('x-api-key')} is invalid")
        if asked.path == "/v2/generations":
            return as_json([self._told(work, False) for work in list(self.works.values())[-1:]])
        if asked.path == "/v2/generate" and asked.method == "POST":
            return self._submitted(asked)
        work = self.works.get(asked.path.removeprefix("/v2/generate/"))
        return _error(404, "not_found", "Generation not found") if work is None else as_json(self._told(work))

    def _submitted(self, asked: Asked) -> Answer:
        key, digest = asked.headers["idempotency-key"], hashlib.sha256(asked.body).hexdigest()
        known = self.keys.get(key)
        if known is not None and known[1] != digest:
            return _error(409, "IDEMPOTENCY_KEY_REUSED", "This key was used with another request")
        if known is not None and known[0] in self.works:
            return as_json(self._told(self.works[known[0]], False), 201)
        running = [one for one in self.works.values() if one.stage in ("waiting", "working")]
        if len(running) >= self.concurrency:
            return _error(429, "concurrency_limit_reached", "Your plan allows no more")
        fields = parts_of(asked)
        assert {"model", "options", "video", "audio"} <= fields.keys()
        work = self.take(str(uuid4()), asked, {**fields})
        self.keys[key] = (work.id, digest)
        return as_json(self._told(work, False), 201)

    def _told(self, work: Work, moving: bool = True) -> dict[str, Any]:
        if moving:
            self.move(work)
        statuses = {"waiting": "PENDING", "working": "PROCESSING", "done": "COMPLETED", "failed": "FAILED"}
        body: dict[str, Any] = {
            "id": work.id, "createdAt": "2026-11-21T12:00:00Z", "status": statuses[work.stage], "input": [],
            "model": work.body["model"].decode(), "outputUrl": None, "outputDuration": None, "webhookUrl": None,
        }
        if work.stage == "done":
            body |= {"outputUrl": self.file_of(work), "outputDuration": 4.2, "outputMediaUrl": self.file_of(work)}
        if work.stage == "failed":
            body |= work.fails or {}
        return body


def _error(status: int, code: str, message: str, **more: Any) -> Answer:
    return as_json({"statusCode": status, "errorCode": code, "message": message, "error": "Something", **more}, status)
