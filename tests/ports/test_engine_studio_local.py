"""The built-in engine passes the suite of engines; its workers may be killed, and their folders read by others."""

from __future__ import annotations

import io
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from PIL import Image
from ports.engine_suite import NOTHING, EngineSuite, Rig

from adapters.engines.studio_local.engine import StudioLocal
from domain.ports.engines import Accepted, Engine, Material, Product, Task


class LocalRig(Rig):
    """The real engine on a real folder; what holds it up is real work."""

    patience = 60.0

    def __init__(self, folder: Path) -> None:
        super().__init__(StudioLocal(folder, slots=2))
        self.folder = folder
        self.secrets = (str(folder),)  # where a machine keeps things is nobody's business
        self._long = False
        self._failing = False
        self._blockers: list[Accepted] = []

    async def again(self) -> Engine:
        return StudioLocal(self.folder, slots=2)

    def task(self, attempt: str) -> Task:
        failing, self._failing = self._failing, False
        size = 1500 if self._long else 96
        parameters = {"prompt": "a hill", "width": size, "height": size, "seed": 7}
        return Task(attempt, "text_to_image", "placeholder", parameters,
                    deadline_seconds=0.01 if failing else 100.0)

    def check(self, product: Product, content: bytes) -> None:
        assert product.media_type == "image/png"
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            assert image.size in ((96, 96), (1500, 1500))

    def working_on(self, attempt: str, material: Material) -> Task:
        return Task(attempt, "upscale_image", "lanczos", {"scale": 2}, {"image": [material]}, 100.0)

    async def received(self, material: Material) -> bytes | None:
        return next(self.folder.glob("*/inputs/00")).read_bytes()

    def unsuitable(self, attempt: str) -> Sequence[Task]:
        def asked(parameters: dict[str, Any], model: str = "placeholder", operation: Any = "text_to_image") -> Task:
            return Task(attempt, operation, model, parameters)

        picture = Material("sha256:" + "0" * 64, 10, "video/mp4")
        return [
            asked({}, "dreams"), asked({}, "", "lip_sync"), asked({}, "gfpgan", "restore_face"),
            asked({"width": 10}), asked({"width": 5000}), asked({"width": "96"}), asked({"seed": -1}),
            asked({"seed": None}), asked({"widht": 96}), asked({"width": 96.5}), asked({"mood": "sad"}),
            asked({}, "lanczos", "upscale_image"),
            Task(attempt, "upscale_image", "lanczos", {}, {"image": [picture]}),
            Task(attempt, "upscale_image", "lanczos", {}, {"picture": [picture]}),
            Task("../outside", "text_to_image", "placeholder", {}),
        ]

    def submissions(self) -> int:
        return len([path for path in self.folder.iterdir() if not path.name.startswith(".")])

    async def hold(self, stage: Literal["waiting", "working"]) -> None:
        if stage == "working":
            self._long = True
            return
        for number in range(2):
            task = Task(f"blocker-{number}", "text_to_image", "placeholder", {"width": 4096, "height": 4096},
                        deadline_seconds=300.0)
            self._blockers.append(await self.engine.submit(task, NOTHING))

    async def release(self) -> None:
        self._long = False
        for one in self._blockers:
            await self.engine.cancel(one)

    async def fail_next(self) -> None:
        self._failing = True

    async def vanish(self) -> None:
        shutil.rmtree(self.folder)
        self.folder.write_text("not a folder")

    async def forget(self) -> None:
        for path in self.folder.iterdir():
            shutil.rmtree(path)

    async def lose_products(self) -> None:
        for path in self.folder.glob("*/products"):
            shutil.rmtree(path)


class TestStudioLocal(EngineSuite):
    """Every promise of an engine."""

    @asynccontextmanager
    async def open(self, tmp_path: Path) -> AsyncIterator[LocalRig]:
        (tmp_path / "attempts").mkdir()
        yield LocalRig(tmp_path / "attempts")
