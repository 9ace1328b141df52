"""The doctor: what it finds in a studio that is well, and in each that is not."""

from __future__ import annotations

import asyncio
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fixtures_studio import StudioFactory

from adapters.c2pa.keys import KeyFolder
from commands.story.worldline import ForkWorldline
from domain.errors import Invalid
from domain.ports import Commit, Proposed, Stream
from services import doctor
from services.doctor import Finding, examine, in_force, worst
from services.settings import Settings
from services.studio import Asker


async def fork(opened: Any, name: str = "what-if") -> None:
    await opened.studio.ask(ForkWorldline(worldline_id=name), Asker("tester"), project="demo")


async def record(opened: Any, type_: str, data: bytes, time: str = "2026-01-02T03:04:05Z", id_: str = "one") -> None:
    stream = Stream("demo", "-", "worldline", id_)
    event = Proposed(type_, 1, data, f"event-{id_}", 1, time, "tester", f"command-{id_}", "r", "c", "")
    await opened.studio.log.append([Commit(stream, 0, (event,))])


def looked_at(data: Path, **given: Any) -> dict[str, Finding]:
    found = asyncio.run(examine(Settings.load(data=data), **given))
    return {one.check: one for one in found}


def test_a_studio_that_is_well_gets_no_remarks(studio_factory: StudioFactory, tmp_path: Path) -> None:
    async def story() -> list[Finding]:
        async with studio_factory(role="server") as opened:
            await fork(opened)
            await opened.counted_everything()
            await opened.audited_everything()
            return await examine(Settings.load(data=tmp_path / "studio"))

    found = asyncio.run(story())
    assert worst(found) == "well", found
    checks = {one.check: one for one in found}
    assert {"data folder", "disk space", "lock", "log", "durability", "clock", "read side", "events", "audit",
            "blobs", "process previews"} <= checks.keys()
    assert "a running server" in checks["lock"].text
    assert not any(one.remedy for one in found)


def test_without_a_server_it_looks_all_the_same(studio_factory: StudioFactory, tmp_path: Path) -> None:
    async def story() -> None:
        async with studio_factory() as opened:
            await fork(opened)

    asyncio.run(story())
    assert looked_at(tmp_path / "studio")["log"].detail["last_position"] == 1


def test_a_stopped_projection_is_named_with_its_event(studio_factory: StudioFactory, tmp_path: Path) -> None:
    async def story() -> None:
        async with studio_factory() as opened:
            await record(opened, "WorldlineForked", b'{"worldline_id": 7}')
            async with asyncio.timeout(60):
                while not any(one.status == "stopped" for one in opened.studio.models.checkpoints().values()):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)

    asyncio.run(story())
    found = looked_at(tmp_path / "studio")
    stopped = found["projection worldlines"]
    assert stopped.verdict == "broken"
    assert "position 1" in stopped.text
    assert "comfyvn projections resume worldlines" in stopped.remedy
    assert found["log"].verdict == "well", "everything else is still looked at"


def test_events_that_this_release_does_not_know_are_counted(studio_factory: StudioFactory, tmp_path: Path) -> None:
    async def story() -> None:
        async with studio_factory() as opened:
            await record(opened, "DragonHatched", b"{}")
            await opened.counted_everything()

    asyncio.run(story())
    found = looked_at(tmp_path / "studio")["events"]
    assert found.verdict == "warning"
    assert found.detail["types"] == {"DragonHatched": 1}


def test_a_clock_that_went_back_is_noticed(studio_factory: StudioFactory, tmp_path: Path) -> None:
    async def story() -> None:
        async with studio_factory() as opened:
            await fork(opened)

    asyncio.run(story())
    found = looked_at(tmp_path / "studio", now=lambda: datetime(2020, 1, 1, tzinfo=UTC))["clock"]
    assert found.verdict == "warning"
    assert found.detail["ahead_seconds"] > 0


def test_a_read_side_of_another_log_is_noticed(studio_factory: StudioFactory, tmp_path: Path) -> None:
    async def story() -> None:
        async with studio_factory() as opened:
            await fork(opened, "one")
            await fork(opened, "two")
            await opened.counted_everything()
        async with studio_factory(data=tmp_path / "restored", projecting=False) as restored:
            await fork(restored, "one")
        (tmp_path / "studio" / "read.db").rename(tmp_path / "restored" / "read.db")

    asyncio.run(story())
    found = looked_at(tmp_path / "restored")["projection timeline"]
    assert found.verdict == "broken"
    assert "another log" in found.text


def test_a_log_shorter_than_its_audit_is_noticed(studio_factory: StudioFactory, tmp_path: Path) -> None:
    async def story() -> None:
        async with studio_factory() as opened:
            await fork(opened)
            await opened.audited_everything()
        async with studio_factory(data=tmp_path / "emptied"):
            pass
        (tmp_path / "studio" / "audit").rename(tmp_path / "emptied" / "audit")

    asyncio.run(story())
    assert looked_at(tmp_path / "emptied")["audit"].verdict == "broken"


def test_a_damaged_key_of_the_audit_is_noticed_and_does_not_undo_what_is_recorded(
    studio_factory: StudioFactory, tmp_path: Path
) -> None:
    async def story() -> None:
        async with studio_factory() as opened:
            await fork(opened)
            await opened.audited_everything()
        (tmp_path / "studio" / "audit" / "key.pem").write_bytes(b"\xff" * 300)
        async with studio_factory() as opened:
            await fork(opened, "another")
            with pytest.raises(Invalid, match="What was asked is recorded; the audit cannot follow"):
                await opened.audited_everything()
            assert await opened.studio.log.head() == 2

    asyncio.run(story())
    found = looked_at(tmp_path / "studio")["audit"]
    assert found.verdict == "broken"
    assert "key.pem" in found.remedy


def test_a_damaged_read_database_does_not_keep_the_rest_from_being_looked_at(
    studio_factory: StudioFactory, tmp_path: Path
) -> None:
    async def story() -> None:
        async with studio_factory() as opened:
            await fork(opened)
            await opened.counted_everything()

    asyncio.run(story())
    for name in ("read.db-wal", "read.db-shm"):
        (tmp_path / "studio" / name).unlink(missing_ok=True)
    (tmp_path / "studio" / "read.db").write_bytes(b"this is not a database" * 500)
    found = looked_at(tmp_path / "studio")
    assert found["read side"].verdict == "broken"
    assert "rebuild" in found["read side"].remedy
    assert found["log"].verdict == "well"
    assert found["blobs"].verdict == "well"


def test_an_outside_log_that_does_not_answer_is_broken_and_its_token_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMFYVN_NATS_URL", "nats://s3cr3t@127.0.0.1:9")
    settings = Settings.load(data=tmp_path)
    found = asyncio.run(examine(settings))
    assert {one.check: one.verdict for one in found}["log"] == "broken"
    assert "s3cr3t" not in str(found) + str(in_force(settings))


def test_an_outside_single_server_is_warned_about(studio_factory: StudioFactory, tmp_path: Path) -> None:
    async def story() -> list[Finding]:
        async with studio_factory() as opened:
            assert opened.reached.server is not None
            return await examine(Settings.load(data=tmp_path / "other", nats_url=opened.reached.server.url))

    found = {one.check: one for one in asyncio.run(story())}
    assert found["durability"].verdict == "warning"
    assert "sync_interval" in found["durability"].remedy


@pytest.mark.parametrize(("free", "verdict"), [(1, "broken"), (2**30, "warning"), (2**40, "well")])
def test_room_on_the_disk_is_judged(free: int, verdict: str) -> None:
    assert doctor.disk_space(free, 2**41).verdict == verdict


def test_room_on_the_disk_of_the_folder_is_looked_at(tmp_path: Path) -> None:
    assert looked_at(tmp_path)["disk space"].detail["total_bytes"] == shutil.disk_usage(tmp_path).total


def test_a_folder_that_others_may_read_is_warned_about(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    found = looked_at(tmp_path)["data folder"]
    assert found.verdict == "warning"
    assert "chmod" in found.remedy


def test_signing_keys_that_others_may_read_or_copy_are_told(tmp_path: Path) -> None:
    def told(place: Path) -> Finding:
        return doctor.signing_keys(Settings.load(data=tmp_path / "data", signing_keys=place))

    keys = tmp_path / "beside"
    assert told(keys).verdict == "well"
    KeyFolder(keys).chain()
    assert told(keys).text == f"{keys}, for its owner alone."
    (keys / "leaf.pem").chmod(0o644)
    assert told(keys).verdict == "broken"
    assert "-rw-r--r--" in told(keys).text
    inside = told(tmp_path / "data" / "keys")
    assert (inside.verdict, "COMFYVN_SIGNING_KEYS" in inside.remedy) == ("warning", True)


def test_every_setting_is_listed_with_where_it_comes_from(tmp_path: Path) -> None:
    (tmp_path / "comfyvn.toml").write_text('database_url = "postgresql://ada:s3cr3t@db/comfyvn"')
    listed = {one["name"]: one for one in in_force(Settings.load(data=tmp_path, port=5))}
    assert listed.keys() == Settings.model_fields.keys()
    assert (listed["port"]["value"], listed["port"]["from"]) == (5, "option")
    assert listed["database_url"] == {
        "name": "database_url", "value": "postgresql+psycopg://***@db/comfyvn", "from": "comfyvn.toml",
        "about": Settings.model_fields["database_url"].description,
    }


def test_engines_and_the_vault_are_looked_at(tmp_path: Path) -> None:
    found = {one.check: one for one in asyncio.run(examine(Settings.load(data=tmp_path / "studio")))}
    assert found["engine studio_local"].verdict == "well"
    assert "`comfyvn providers connect provider_fal`" in found["engine provider_fal"].text
    assert (found["engine provider_fal"].verdict, found["engine provider_fal"].remedy) == ("well", "")
    assert {"gpu", "ffmpeg", "c2pa"} <= found.keys()
    assert found["vault"].verdict == "well"
    (tmp_path / "studio" / "vault.json").write_text("{}")
    found = {one.check: one for one in asyncio.run(examine(Settings.load(data=tmp_path / "studio")))}
    assert found["vault"].verdict == "broken"
    assert found["vault"].remedy
