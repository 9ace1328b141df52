"""A fake Kling: tokens checked as it does, numbers in bodies, tasks by its id or by ours, packs once a second."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Any
from urllib.parse import unquote

import jwt
from engines.fake_service import FakeService, Work
from engines.wire import Answer, Asked, as_json

PATHS = ("/v1/videos/text2video", "/v1/videos/image2video", "/v1/images/generations")


def said(code: int, message: str, data: Any = None, status: int = 200) -> Answer:
    body = {"code": code, "message": message, "request_id": "r-1", **({} if data is None else {"data": data})}
    return as_json(body, status)


class FakeKling(FakeService):
    """``ahead`` is how many seconds its clock is ahead of this machine's. ``packs`` are the account's."""

    access_key = "ak-the-access-key-0123456789"
    key = "sk-the-secret-key-that-nobody-must-see-0123456789"
    media = "mp4"

    def __init__(self) -> None:
        super().__init__()
        self.ahead = 0.0
        self.tokens: list[dict[str, Any]] = []
        self.asked_costs: list[float] = []
        self.packs: list[dict[str, Any]] = [
            {"resource_pack_name": "trial", "total_quantity": 100, "remaining_quantity": 41.5, "status": "online"},
            {"resource_pack_name": "old", "total_quantity": 100, "remaining_quantity": 60, "status": "expired"},
        ]
        self.deduction: str | None = None
        self.reason = ""

    async def served(self, asked: Asked) -> Answer:
        wrong = self._checked(asked.headers.get("authorization", ""))
        if wrong is not None:
            wrong.headers["Date"] = formatdate(time.time() + self.ahead, usegmt=True)
            return wrong
        if asked.path == "/account/costs":
            return self._costs(asked)
        path = next((one for one in PATHS if asked.path == one or asked.path.startswith(one + "/")), None)
        if path is None:
            return said(1202, "The requested method is not there", status=404)
        if asked.method == "POST":
            return self._submitted(asked, path)
        work = self._known(path, unquote(asked.path[len(path) + 1:]))
        if work is None:
            return said(1203, "The requested resource does not exist", status=404)
        return said(0, "SUCCEED", self._told(work))

    def _checked(self, header: str) -> Answer | None:
        now = time.time() + self.ahead
        try:
            claims = jwt.decode(header.removeprefix("Bearer "), self.key, algorithms=["HS256"],
                                options={"verify_exp": False, "verify_nbf": False})
        except jwt.PyJWTError:
            return said(1002, f"authorization {header} is invalid", status=401)
        self.tokens.append(claims)
        if claims["iss"] != self.access_key:
            return said(1002, "access key not found", status=401)
        if claims["nbf"] > now:
            return said(1003, "authorization is not yet valid", status=401)
        if claims["exp"] < now or claims["exp"] > now + 1800 + 60:
            return said(1004, "authorization has expired", status=401)
        return None

    def _costs(self, asked: Asked) -> Answer:
        self.asked_costs.append(time.monotonic())
        assert int(asked.query["start_time"]) < int(asked.query["end_time"]) < (time.time() + 60) * 1000
        if len(self.asked_costs) > 1 and self.asked_costs[-1] - self.asked_costs[-2] < 0.03:
            return said(1302, "API request too fast", status=429)
        return said(0, "SUCCEED", {"code": 0, "msg": "", "resource_pack_subscribe_infos": self.packs})

    def _submitted(self, asked: Asked, path: str) -> Answer:
        body = asked.json
        if self._known(path, body["external_task_id"]) is not None:
            return said(1201, "external_task_id already exists", status=400)
        work = self.take(f"8{len(self.works):011d}", asked, body)
        work.details["path"] = path
        return said(0, "SUCCEED", self._told(work, moving=False))

    def _known(self, path: str, name: str) -> Work | None:
        return next((work for work in self.works.values() if work.details["path"] == path
                     and name in (work.id, work.body["external_task_id"])), None)

    def _told(self, work: Work, moving: bool = True) -> dict[str, Any]:
        if moving:
            self.move(work)
        statuses = {"waiting": "submitted", "working": "processing", "done": "succeed", "failed": "failed"}
        data: dict[str, Any] = {
            "task_id": work.id, "task_status": statuses[work.stage], "created_at": 1, "updated_at": 2,
            "task_info": {"external_task_id": work.body["external_task_id"]}, "task_status_msg": "",
        }
        if work.stage == "failed":
            data["task_status_msg"] = str(work.fails)
        if work.stage == "done":
            kind = "images" if "images" in work.details["path"] else "videos"
            data["task_result"] = {kind: [{"id": "v", "url": self.file_of(work), "duration": "5.1"}]}
            if self.deduction is not None:
                data["final_unit_deduction"] = self.deduction
        return data
