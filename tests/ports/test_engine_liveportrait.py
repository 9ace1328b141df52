"""LivePortrait passes the suite of engines, with a stand-in for an installation that behaves like the real one."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from engines.fake_liveportrait import OLD, installed
from ports.engine_suite import OVER, EngineSuite, Rig, Stored, picture

from adapters.engines.liveportrait.engine import LivePortrait
from adapters.engines.studio_local.version import ffmpeg_program
from domain.ports.engines import Accepted, Done, Engine, EngineError, Failed, Material, Product, Reading, Task


def film(seconds: float = 0.5) -> bytes:
    """A small MP4."""
    program = ffmpeg_program()
    assert program is not None
    source = f"testsrc=size=96x64:rate=12:duration={seconds}"
    return subprocess.run([program, "-loglevel", "error", "-f", "lavfi", "-i", source, "-pix_fmt", "yuv420p",
                           "-movflags", "frag_keyframe+empty_moov", "-f", "mp4", "pipe:1"],
                          capture_output=True, check=True).stdout


FACE = Stored(picture(64, 64))
DRIVING = Stored(film(), media_type="video/mp4")


class Fed(LivePortrait):
    """The engine with two files at hand, since every task of it needs them."""

    async def submit(self, task: Task, reading: Reading) -> Accepted:
        def chosen(material: Material) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
            for stored in (FACE, DRIVING):
                if material in stored.materials:
                    return stored(material)
            return reading(material)

        return await super().submit(task, chosen)


def asked(attempt: str, parameters: dict[str, Any] | None = None, **inputs: Material) -> Task:
    given = inputs or {"image": FACE.materials[0], "video": DRIVING.materials[0]}
    return Task(attempt, "expression_transfer", "liveportrait", parameters or {},
                {name: [material] for name, material in given.items()}, 100.0)


class LivePortraitRig(Rig):
    """The real adapter, the stand-in behind it."""

    patience = 60.0

    def __init__(self, folder: Path, home: Path) -> None:
        super().__init__(Fed(folder, home))
        self.folder, self.home = folder, home
        self.secrets = (str(folder), str(home))
        self._blockers: list[Accepted] = []

    async def again(self) -> Engine:
        return Fed(self.folder, self.home)

    def task(self, attempt: str) -> Task:
        return asked(attempt)

    def check(self, product: Product, content: bytes) -> None:
        assert product.media_type == "video/mp4"
        assert content[4:8] == b"ftyp"

    def working_on(self, attempt: str, material: Material) -> Task:
        return asked(attempt, image=material, video=DRIVING.materials[0])

    async def received(self, material: Material) -> bytes | None:
        return next(self.folder.glob("*/inputs/00")).read_bytes()

    def unsuitable(self, attempt: str) -> Sequence[Task]:
        template = Material("sha256:" + "0" * 64, 10, "application/octet-stream", "driving.pkl")
        return [
            asked(attempt, {"region": "ears"}), asked(attempt, {"multiplier": 9.0}), asked(attempt, {"volume": 1}),
            asked(attempt, image=FACE.materials[0]), asked(attempt, video=DRIVING.materials[0]),
            asked(attempt, image=FACE.materials[0], video=template), asked(attempt, image=template,
                                                                           video=DRIVING.materials[0]),
            Task(attempt, "lip_sync", "liveportrait", {}),
        ]

    def submissions(self) -> int:
        return len([path for path in self.folder.iterdir() if not path.name.startswith(".")])

    async def hold(self, stage: Literal["waiting", "working"]) -> None:
        (self.home / "hold").touch()
        if stage == "waiting":
            self._blockers.append(await self.engine.submit(asked("blocker"), FACE))

    async def release(self) -> None:
        (self.home / "hold").unlink(missing_ok=True)
        for one in self._blockers:
            await self.engine.cancel(one)

    async def fail_next(self) -> None:
        (self.home / "says").write_text("Traceback (most recent call last):\nIndexError: list index out of range")

    async def vanish(self) -> None:
        shutil.rmtree(self.folder)
        self.folder.write_text("not a folder")

    async def forget(self) -> None:
        for path in self.folder.iterdir():
            shutil.rmtree(path)

    async def lose_products(self) -> None:
        for path in self.folder.glob("*/products"):
            shutil.rmtree(path)


class TestLivePortrait(EngineSuite):
    """Every promise of an engine."""

    @asynccontextmanager
    async def open(self, tmp_path: Path) -> AsyncIterator[LivePortraitRig]:
        (tmp_path / "attempts").mkdir()
        yield LivePortraitRig(tmp_path / "attempts", installed(tmp_path / "home"))

    def test_a_task_that_fails_says_why(self, play: Any) -> None:
        async def scenario(rig: LivePortraitRig) -> None:
            await rig.fail_next()
            failed = await ended(rig.engine, await rig.engine.submit(asked("failing"), FACE))
            assert isinstance(failed, Failed)
            assert failed.fault.message.endswith("IndexError: list index out of range")
            (rig.home / "says").unlink()
            assert isinstance(await ended(rig.engine, await rig.engine.submit(asked("after"), FACE)), Done)

        play(scenario)


async def ended(engine: Engine, accepted: Accepted) -> Any:
    async with asyncio.timeout(60):
        while True:
            outcome = await engine.poll(accepted)
            if isinstance(outcome, OVER):
                return outcome
            await asyncio.sleep(0.02)


def run(tmp_path: Path, scenario: Any, home: Path | None) -> None:
    async def whole() -> None:
        engine = Fed(tmp_path / "attempts", home)
        try:
            await scenario(engine)
        finally:
            await engine.close()

    asyncio.run(whole())


@pytest.mark.parametrize(("words", "code", "told"), [
    ("Exception: No face detected in the source image!", "FILE_REFUSED", "no face"),
    ("torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate", "ENGINE_ERROR", "memory"),
    ("RuntimeError: No CUDA GPUs are available", "ENGINE_ERROR", "force_cpu"),
    ("ModuleNotFoundError: No module named 'onnxruntime'", "DEPENDENCY_MISSING", "onnxruntime"),
    ("FileNotFoundError: [Errno 2] No such file or directory: '/home/me/pretrained_weights/x.pth'",
     "DEPENDENCY_MISSING", "weights"),
    ("ValueError: cannot read /home/me/secret/picture.png now", "ENGINE_ERROR", "cannot read … now"),
])
def test_its_last_words_become_a_sentence(tmp_path: Path, words: str, code: str, told: str) -> None:
    home = installed(tmp_path / "home")
    (home / "says").write_text(words)

    async def scenario(engine: Engine) -> None:
        outcome = await ended(engine, await engine.submit(asked("one"), FACE))
        assert isinstance(outcome, Failed)
        assert outcome.fault.code == code
        assert told in outcome.fault.message
        assert "/home" not in outcome.fault.message

    run(tmp_path, scenario, home)


def test_parameters_become_the_options_of_the_installed_release(tmp_path: Path) -> None:
    new, old = installed(tmp_path / "new"), installed(tmp_path / "old", OLD)

    async def newer(engine: Engine) -> None:
        task = asked("one", {"region": "lip", "multiplier": 1.5, "relative": False, "force_cpu": True})
        outcome = await ended(engine, await engine.submit(task, FACE))
        assert isinstance(outcome, Done)
        assert "non-commercial" in str(outcome.facts["caution"])

    async def older(engine: Engine) -> None:
        outcome = await ended(engine, await engine.submit(asked("two", {"relative": False}), FACE))
        assert isinstance(outcome, Done)
        with pytest.raises(EngineError) as caught:
            await engine.submit(asked("three", {"region": "lip"}), FACE)
        assert "region" in caught.value.fault.message

    run(tmp_path, newer, new)
    run(tmp_path, older, old)
    said = (new / "asked").read_text()
    assert "--animation_region lip --driving_multiplier 1.5 --no-flag_relative_motion --flag_force_cpu" in said
    assert "--no-flag_relative" in (old / "asked").read_text()


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    async def nothing(engine: Engine) -> None:
        health = await engine.health()
        assert health.status == "not_installed"
        assert health.remedy is not None
        assert "COMFYVN_LIVEPORTRAIT_PATH" in health.remedy[0]
        assert (await engine.offers())[0].missing == ("LivePortrait",)
        with pytest.raises(EngineError) as caught:
            await engine.submit(asked("one"), FACE)
        assert caught.value.fault.code == "DEPENDENCY_MISSING"

    run(tmp_path, nothing, None)

    for place, (spoilt, missing) in enumerate((("torch.py", "torch"), ("pretrained_weights", "LivePortrait weights"),
                                               (".venv", "python"))):
        home = installed(tmp_path / f"home{place}")
        shutil.rmtree(home / spoilt) if (home / spoilt).is_dir() else (home / spoilt).unlink()

        async def lacking(engine: Engine, missing: str = missing) -> None:
            assert (await engine.health()).status == "error"
            assert (await engine.offers())[0].missing == (missing,)

        run(tmp_path, lacking, home)


def test_no_video_without_an_error_is_a_failure(tmp_path: Path) -> None:
    home = installed(tmp_path / "home")
    (home / "silent").touch()

    async def scenario(engine: Engine) -> None:
        outcome = await ended(engine, await engine.submit(asked("one"), FACE))
        assert isinstance(outcome, Failed)
        assert "made no video" in outcome.fault.message

    run(tmp_path, scenario, home)


def test_a_hostile_file_never_reaches_it(tmp_path: Path) -> None:
    home = installed(tmp_path / "home")
    lying = Stored(b"(lambda: None)", media_type="image/png")

    async def scenario(engine: Engine) -> None:
        task = asked("one", image=lying.materials[0], video=DRIVING.materials[0])
        outcome = await ended(engine, await engine.submit(task, lying))
        assert isinstance(outcome, Failed)
        assert outcome.fault.code == "FILE_REFUSED"

    run(tmp_path, scenario, home)
    assert not (home / "asked").exists()


def test_cancelling_ends_its_process_and_what_that_started(tmp_path: Path) -> None:
    home = installed(tmp_path / "home")
    (home / "hold").touch()

    def at_work() -> list[str]:
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = path.read_bytes()
            except OSError:
                continue
            if str(tmp_path).encode() in line:
                found.append(line.decode(errors="replace"))
        return found

    async def scenario(engine: Engine) -> None:
        accepted = await engine.submit(asked("one"), FACE)
        async with asyncio.timeout(60):
            while not (home / "asked").exists():
                await engine.poll(accepted)
                await asyncio.sleep(0.02)
        assert at_work()
        await engine.cancel(accepted)
        async with asyncio.timeout(60):
            while True:
                if not at_work():
                    break
                await asyncio.sleep(0.02)

    run(tmp_path, scenario, home)


def test_the_stand_in_makes_what_it_should(tmp_path: Path) -> None:
    home = installed(tmp_path / "home")

    async def scenario(engine: Engine) -> None:
        accepted = await engine.submit(asked("one"), FACE)
        done = await ended(engine, accepted)
        assert done.facts["width"] == 64  # not the comparison beside it

    run(tmp_path, scenario, home)
