"""A fake fal: the queue, its storage and its price list, as their documentation tells."""

from __future__ import annotations

import base64
import re
from typing import Any
from uuid import uuid4

from engines.fake_service import FakeService, Work
from engines.wire import Answer, Asked, as_json

_REQUEST = re.compile(r"/([^/]+)/([^/]+)/requests/([^/]+)(/status|/cancel)?")


class FakeFal(FakeService):
    """``billing`` answers only the admin key. ``prices`` is what the price list says of a model."""

    admin_key = "sk-the-admin-key-that-nobody-must-see-either"

    def __init__(self) -> None:
        super().__init__()
        self.uploads: dict[str, bytes] = {}
        self.prices: dict[str, tuple[float, str]] = {}
        self.credit = 12.5
        self.result: dict[str, Any] = {}
        """What a result says besides its picture."""

    async def served(self, asked: Asked) -> Answer:
        if asked.path.startswith("/put/"):
            assert "authorization" not in asked.headers, "a key went along with an upload"
            self.uploads[asked.path.removeprefix("/put/")] = asked.body
            return Answer(200)
        if asked.path == "/v1/account/billing":
            if asked.headers.get("authorization") != f"Key {self.admin_key}":
                return as_json({"error": {"type": "authorization_error"}}, 403)
            return as_json({"username": "someone", "credits": {"current_balance": self.credit, "currency": "USD"}})
        if asked.headers.get("authorization") != f"Key {self.key}":
            return as_json({"detail": "Cannot access application. Authentication is required."}, 401)
        if asked.path == "/v1/models/pricing":
            known = self.prices.get(asked.query.get("endpoint_id", ""))
            return as_json({"prices": [] if known is None else [{
                "endpoint_id": asked.query["endpoint_id"], "unit_price": known[0], "unit": known[1], "currency": "USD",
            }]})
        if asked.path == "/storage/upload/initiate":
            name = asked.json["file_name"]
            return as_json({"upload_url": f"{self.url}/put/{name}", "file_url": f"https://v3.fal.media/files/{name}"})
        found = _REQUEST.fullmatch(asked.path)
        return self._submitted(asked) if found is None else self._request(asked, found)

    def _submitted(self, asked: Asked) -> Answer:
        work = self.take(str(uuid4()), asked, asked.json)
        owner, app = asked.path.split("/")[1:3]
        here = f"{self.url}/{owner}/{app}/requests/{work.id}"
        return as_json({
            "status": "IN_QUEUE", "request_id": work.id, "response_url": here, "status_url": f"{here}/status",
            "cancel_url": f"{here}/cancel", "queue_position": 0,
        })

    def _request(self, asked: Asked, found: re.Match[str]) -> Answer:
        work = self.works.get(found[3])
        if work is None:
            return as_json({"status": "NOT_FOUND"} if found[4] == "/cancel" else {"detail": "Request not found"}, 404)
        if found[4] == "/cancel":
            if work.stage in ("done", "failed", "cancelled"):
                return as_json({"status": "ALREADY_COMPLETED"}, 400)
            work.details["cancelled"] = True
            return as_json({"status": "CANCELLATION_REQUESTED"}, 202)
        return self._status(work) if found[4] == "/status" else self._result(work)

    def _status(self, work: Work) -> Answer:
        if work.details.get("cancelled") and self.held is None:
            work.stage = "cancelled"
        self.move(work)
        if work.stage == "waiting":
            return as_json({"status": "IN_QUEUE", "queue_position": 3}, 202)
        if work.stage == "working":
            return as_json({"status": "IN_PROGRESS", "logs": None}, 202)
        said: dict[str, Any] = {"status": "COMPLETED", "request_id": work.id, "metrics": {"inference_time": 1.5}}
        if work.stage == "cancelled":
            said |= {"error": "Request was cancelled by the client", "error_type": "client_cancelled"}
        elif work.stage == "failed" and isinstance(work.fails, dict):
            said |= work.fails
        return as_json(said)

    def _result(self, work: Work) -> Answer:
        if work.stage == "failed" and isinstance(work.fails, Answer):
            return work.fails
        if work.stage != "done":
            return as_json({"detail": "Request is still in progress"}, 400)
        return as_json({
            "images": [{"url": self.file_of(work), "width": 40, "height": 24, "content_type": "image/png"}],
            "timings": {"inference": 1.5}, "seed": work.body.get("seed", 7), "has_nsfw_concepts": [False],
            "prompt": work.body.get("prompt"), **self.result,
        })

    def given(self, digest: str) -> bytes | None:
        """The bytes that came for a material: inside a request, or put into the storage."""
        for work in self.works.values():
            for value in work.body.values():
                if isinstance(value, str) and value.startswith("data:"):
                    return base64.b64decode(value.partition(",")[2])
        return next((body for name, body in self.uploads.items() if name.startswith(digest[7:20])), None)
