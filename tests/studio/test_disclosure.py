"""What was generated is disclosed as shops ask for it, from what assets say of themselves."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from projected import Projected

from adapters.memory.log import MemoryLog
from commands.declaration import Command
from commands.envelope import Asked
from commands.studio.asset import DescribeAsset, RegisterAsset, RemoveAsset, RestoreAsset
from domain.ports import Recorded
from domain.studio.asset_values import Source
from services.dispatcher import Dispatcher
from services.registry import REGISTRY

FLUX = Source(how="generate", engine="local_comfy", model="flux", job_id="j1", seed="7")


def asset(letter: str, kind: str = "image", source: Source | None = FLUX, **said: Any) -> RegisterAsset:
    media = {"image": "image/png", "audio": "audio/wav", "text": "text/plain", "video": "video/mp4"}[kind]
    return RegisterAsset.model_validate({
        "digest": letter * 64, "size": 10, "media_type": media, "kind": kind, "name": f"{letter}.bin",
        "source": source, **said,
    })


async def _said(commands: tuple[Command, ...]) -> list[Recorded]:
    log = MemoryLog()
    dispatcher = Dispatcher(log, REGISTRY)
    for number, command in enumerate(commands):
        asked = Asked(command_id=f"c{number}", actor="m", time="2026-01-02T03:04:05Z", project="demo", request="")
        await dispatcher.ask_all([command], asked)
    await dispatcher.close()
    found: list[Recorded] = []
    async for batch in log.read():
        found += batch
    return found


def disclosed(folder: Path, *commands: Command, **asked: Any) -> dict[str, Any]:
    events = asyncio.run(_said(commands))
    projected = Projected(folder, ["disclosure"])
    projected.count(events, batch=1)
    shown: dict[str, Any] = projected.see("ShowDisclosure", **asked)
    projected.models.close()
    return shown


def test_only_what_an_engine_made_is_disclosed(tmp_path: Path) -> None:
    told = disclosed(tmp_path, asset("a"), asset("b", source=None), asset("c", source=Source(how="upload", name="x")))
    assert [one["uid"] for one in told["items"]] == ["a" * 16]
    assert (told["items"][0]["engine"], told["items"][0]["model"], told["items"][0]["job_id"]) == (
        "local_comfy", "flux", "j1")
    assert told["itch"] == {"generative_ai": True, "graphics": True, "sound": False, "text": False, "code": None}
    assert told["steam"]["pre_generated"]["statement"] == "1 graphics file was made with flux (local_comfy)."
    assert told["steam"]["live_generated"]["used"] is False


def test_nothing_generated_says_so(tmp_path: Path) -> None:
    told = disclosed(tmp_path, asset("a", source=None))
    assert told["itch"]["generative_ai"] is False
    assert told["steam"]["pre_generated"] == {"used": False, "statement": ""}


def test_every_kind_has_its_box(tmp_path: Path) -> None:
    told = disclosed(tmp_path, asset("a"), asset("b", "video"), asset("c", "audio"), asset("d", "text"))
    assert told["counts"]["generated"] == {"graphics": 2, "sound": 1, "text": 1}
    assert [one["category"] for one in told["means"]] == ["graphics", "sound", "text"]


def test_what_is_computed_without_a_model_is_listed_but_no_generated_content(tmp_path: Path) -> None:
    told = disclosed(tmp_path, asset("a", source=Source(how="generate", engine="studio_local", model="grain")))
    assert (told["counts"]["computed"], told["itch"]["generative_ai"]) == (1, False)
    assert told["items"][0]["made_by"] == "studio"


def test_it_follows_what_is_said_later(tmp_path: Path) -> None:
    uid = "a" * 16
    removed = RemoveAsset(uid=uid)
    for number, (more, count) in enumerate((
        ((removed,), 0), ((removed, RestoreAsset(uid=uid)), 1), ((DescribeAsset(uid=uid, name="lamp"),), 1),
        ((asset("a", source=Source(how="upload", name="again.png", author="Mara")),), 1),
    )):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert disclosed(folder, asset("a"), *more)["counts"]["generated"]["graphics"] == count


def test_it_is_narrowed_and_read_page_by_page(tmp_path: Path) -> None:
    three = (asset("a"), asset("b", "audio"), asset("c"))
    told = disclosed(tmp_path, *three, category="graphics", limit=1)
    assert ([one["uid"] for one in told["items"]], told["next"] is None) == (["c" * 16], False)
    assert told["counts"]["generated"] == {"graphics": 2, "sound": 1, "text": 0}
