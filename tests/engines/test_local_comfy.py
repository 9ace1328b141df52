"""ComfyUI passes the suite of all engines: the fake one always, a real one where COMFYVN_TEST_COMFY_URL names it."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Literal

import httpx
import pytest
from engines.fake_comfy import FakeComfy
from PIL import Image
from ports.engine_suite import EngineSuite, Rig, Unable

from adapters.engines.local_comfy.engine import LocalComfy
from domain.errors import Invalid
from domain.ports.engines import Engine, Material, Product, Task
from services.bootstrap import reach_engines
from services.settings import Settings

REAL = os.environ.get("COMFYVN_TEST_COMFY_URL", "")


class ComfyRig(Rig):
    """Tasks that need no model: a card of one colour, the negative of a picture."""

    def task(self, attempt: str) -> Task:
        color = int(hashlib.sha256(attempt.encode()).hexdigest()[:6], 16)
        return Task(attempt, "compose_images", "plain_card", {"width": 40, "height": 24, "color": color})

    def check(self, product: Product, content: bytes) -> None:
        assert product.media_type == "image/png"
        image = Image.open(BytesIO(content))
        assert image.size == (40, 24)
        attempt = product.name.rpartition("_")[0].rpartition("_")[0]
        assert "".join(f"{part:02x}" for part in image.convert("RGB").getpixel((5, 5))) == hashlib.sha256(
            attempt.encode()).hexdigest()[:6]

    def working_on(self, attempt: str, material: Material) -> Task:
        return Task(attempt, "edit_image", "negative", {}, {"image": [material]})

    def unsuitable(self, attempt: str) -> Sequence[Task]:
        return [
            Task(attempt, "compose_images", "no-such-workflow", {}),
            Task(attempt, "lip_sync", "", {}),
            Task(attempt, "compose_images", "plain_card", {"width": 0}),
            Task(attempt, "compose_images", "plain_card", {"width": "wide"}),
            Task(attempt, "compose_images", "plain_card", {"width": True}),
            Task(attempt, "compose_images", "plain_card", {"frobnicate": 1}),
            Task(attempt, "edit_image", "negative", {}),
            Task(attempt, "restore_face", "", {}),
            Task(attempt, "text_to_image", "absent.safetensors", {"prompt": "a harbour", "seed": 1}),
        ]


class FakeRig(ComfyRig):
    """The levers of the fake server. What it says of its folders, and of prompts, is nobody's business."""

    secrets = ("/home/someone", "the secret of the harbour")

    def __init__(self, server: FakeComfy) -> None:
        super().__init__(LocalComfy(server.url))
        self.server = server

    async def again(self) -> Engine:
        return LocalComfy(self.server.url)

    async def received(self, material: Material) -> bytes | None:
        found = [content for (kind, _, _), content in self.server.files.items() if kind == "input"]
        assert len(found) == 1
        return found[0]

    def submissions(self) -> int:
        return len(self.server.prompts)

    async def hold(self, stage: Literal["waiting", "working"]) -> None:
        if stage == "waiting":
            self.server.occupy()
            await asyncio.wait_for(self.server.at_gate.wait(), self.patience)
        else:
            self.server.gate.clear()

    async def release(self) -> None:
        self.server.gate.set()

    async def fail_next(self) -> None:
        self.server.error_next = {
            "exception_type": "RuntimeError",
            "exception_message": "cannot read /home/someone/ComfyUI/models/x.safetensors",
            "traceback": ['  File "/home/someone/ComfyUI/execution.py", line 1\n'],
            "current_inputs": {"text": ["the secret of the harbour"]}, "current_outputs": [],
        }

    async def drop_next(self) -> None:
        self.server.drop_next = True

    async def silence(self) -> None:
        self.server.silent = True
        await self.engine.close()
        self.engine = LocalComfy(self.server.url, patience_seconds=0.5)  # nothing comes, however busy this machine is

    async def vanish(self) -> None:
        await self.server.server.kill()

    async def forget(self) -> None:
        await self.server.restart()

    async def babble(self, content: bytes) -> None:
        self.server.babble = content

    async def flood(self) -> None:
        self.server.flood = True

    async def lose_products(self) -> None:
        self.server.files.clear()

    async def endless_products(self) -> None:
        self.server.endless = True


class TestLocalComfy(EngineSuite):
    """Against the fake server."""

    @asynccontextmanager
    async def open(self, tmp_path: Path) -> AsyncIterator[Rig]:
        async with FakeComfy() as server:
            yield FakeRig(server)


class TestNewerComfy(EngineSuite):
    """Against the fake server as newer ones are."""

    @asynccontextmanager
    async def open(self, tmp_path: Path) -> AsyncIterator[Rig]:
        async with FakeComfy(newer=True) as server:
            yield FakeRig(server)


class RealRig(ComfyRig):
    """What can be brought about at a real server without harming it: others' runs, its history."""

    patience = 120.0

    def __init__(self, url: str) -> None:
        super().__init__(LocalComfy(url))
        self.url = url

    async def again(self) -> Engine:
        return LocalComfy(self.url)

    async def hold(self, stage: Literal["waiting", "working"]) -> None:
        if stage == "working":
            raise Unable("a real server cannot be stopped in the middle of a small run")
        slow: dict[str, object] = {"0": {"class_type": "EmptyImage", "inputs": {
            "width": 1536, "height": 1536, "batch_size": 2, "color": int.from_bytes(os.urandom(3))}}}
        for number in range(1, 5):
            slow[str(number)] = {"class_type": "ImageBlur", "inputs": {
                "image": [str(number - 1), 0], "blur_radius": 15, "sigma": 3.0}}
        slow["5"] = {"class_type": "PreviewImage", "inputs": {"images": ["4", 0]}}
        async with httpx.AsyncClient(base_url=self.url) as http:
            self.slow = (await http.post("/prompt", json={"prompt": slow})).json()["prompt_id"]

    async def release(self) -> None:
        async with httpx.AsyncClient(base_url=self.url) as http:
            await http.post("/interrupt", json={"prompt_id": self.slow})

    async def forget(self) -> None:
        async with httpx.AsyncClient(base_url=self.url) as http:
            await http.post("/history", json={"clear": True})


class TestAsReal(EngineSuite):
    """What a real server is put through, against the fake one: so that the stand for real ones is known to hold."""

    @asynccontextmanager
    async def open(self, tmp_path: Path) -> AsyncIterator[Rig]:
        async with FakeComfy(newer=True) as server:
            yield RealRig(server.url)


for name in vars(EngineSuite):  # of the others TestNewerComfy is enough, or nobody can bring them about at a real one
    if name.startswith("test_") and name not in (
            "test_a_task_is_done_and_its_files_are_fetched", "test_what_has_not_begun_waits",
            "test_unsuitable_tasks_are_refused_and_nothing_is_submitted",
            "test_an_attempt_that_waits_or_works_is_found",
            "test_a_waiting_task_is_cancelled", "test_cancelling_one_leaves_the_others_alone",
            "test_what_the_engine_has_forgotten_is_lost_and_not_done"):
        setattr(TestAsReal, name, None)


def test_the_studio_reaches_it_where_the_settings_say(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with FakeComfy() as server:
            engines = reach_engines(Settings.load(data=tmp_path, comfy_url=server.url + "/"))
            try:
                look = await engines.look("local_comfy")
                assert look.ready
                assert look.fault is None
                assert ("compose_images", "plain_card") in {(one.operation, one.model) for one in look.offers}
            finally:
                await engines.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("url", ["127.0.0.1:8188", "ftp://127.0.0.1", "http://ada:secret@127.0.0.1", "http://h/?x=1"])
def test_an_address_that_is_none_is_refused_by_the_settings(url: str) -> None:
    with pytest.raises(Invalid) as caught:
        Settings.load(comfy_url=url)
    assert "secret" not in str(caught.value)


if REAL:

    class TestRealComfy(EngineSuite):
        """Against a real server: only where somebody has named it, for its history is emptied."""

        @asynccontextmanager
        async def open(self, tmp_path: Path) -> AsyncIterator[Rig]:
            yield RealRig(REAL)

else:

    def test_a_real_server_passes_the_suite() -> None:
        pytest.skip("COMFYVN_TEST_COMFY_URL names no real ComfyUI")
