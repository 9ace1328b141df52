"""A fake Runware: lists of tasks at one address, an error for one of them in an otherwise good answer, costs."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from engines.fake_service import FakeService, Work
from engines.wire import Answer, Asked, as_json


class FakeRunware(FakeService):
    """``forgets_results``: running tasks are known, finished ones only by their record (``getTaskDetails``)."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 21.75
        self.forgets_results = False
        self.refusal: dict[str, Any] | None = None
        self.flagged = False
        self.cost: float | None = 0.0013

    async def served(self, asked: Asked) -> Answer:
        assert asked.method == "POST"
        if asked.headers.get("authorization") != f"Bearer {self.key}":
            return as_json({"errors": [{"code": "invalidApiKey", "message": "Invalid API key.",
                                        "parameter": "apiKey", "taskType": "authentication"}]}, 401)
        data: list[Any] = []
        errors: list[Any] = []
        for task in asked.json:
            assert UUID(task["taskUUID"]).version == 4
            found = self._task(asked, task)
            (errors if "code" in found[0] else data).extend(found)
        said = {**({"data": data} if data else {}), **({"errors": errors} if errors else {})}
        return as_json(said, 200 if data else 400)

    def _task(self, asked: Asked, task: dict[str, Any]) -> list[dict[str, Any]]:
        kind, uuid = task["taskType"], task["taskUUID"]
        if kind == "accountManagement":
            return [{"taskType": kind, "taskUUID": uuid, "organizationName": "someone", "balance": self.left}]
        if kind == "getResponse":
            return self._response(uuid)
        if kind == "getTaskDetails":
            work = self.works.get(uuid)
            if work is None:
                return [_absent(kind, uuid)]
            response = {"data": [self._result(work)]} if work.stage == "done" else {"errors": [self._failure(work)]}
            return [{"taskType": kind, "taskUUID": uuid, "request": [work.body], "response": response}]
        if self.refusal is not None:
            refusal, self.refusal = self.refusal, None
            return [{**refusal, "taskUUID": uuid, "taskType": kind}]
        if uuid in self.works:
            self.taken += 1  # nothing is known of ids that come twice: the worst is that both run
            return [{"taskType": kind, "taskUUID": uuid}]
        self.take(uuid, asked, task)
        return [{"taskType": kind, "taskUUID": uuid}]

    def _response(self, uuid: str) -> list[dict[str, Any]]:
        work = self.works.get(uuid)
        if work is None:
            return [_absent("getResponse", uuid)]
        self.move(work)
        if work.stage in ("waiting", "working"):
            return [{"taskType": work.body["taskType"], "taskUUID": uuid, "status": "processing"}]
        if self.forgets_results:
            return [_absent("getResponse", uuid)]
        return [self._failure(work) if work.stage == "failed" else self._result(work)]

    def _failure(self, work: Work) -> dict[str, Any]:
        return {"code": "unknownError", "message": "failed", **(work.fails or {}), "status": "error",
                "taskUUID": work.id, "taskType": work.body["taskType"]}

    def _result(self, work: Work) -> dict[str, Any]:
        field = "videoURL" if work.body["taskType"] == "videoInference" else "imageURL"
        return {"taskType": work.body["taskType"], "taskUUID": work.id, "status": "success",
                field: self.file_of(work), "seed": work.body.get("seed", 3), "NSFWContent": self.flagged,
                **({} if self.cost is None else {"cost": self.cost})}


def _absent(kind: str, uuid: str) -> dict[str, Any]:
    return {"code": "taskNotFound", "message": "No task of that id.", "taskUUID": uuid, "taskType": kind}
