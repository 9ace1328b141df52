"""Bytes that no event names are found, and go only when nobody can be about to name them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from studios import studio_on
from typer.testing import CliRunner
from working import a_step, working

from adapters.files.blobs import StoredBlobs, key
from commands.studio.asset import RegisterAsset
from domain.studio.asset_values import Source
from gateways import cli_commands
from gateways.cli_console import ExitCode
from services.bootstrap import open_everything
from services.orphans import ENVELOPE, Orphan, remove, survey
from services.settings import Settings
from services.studio import Asker, Studio

ASKER = Asker("author")
NOW = datetime.now(UTC)
LATER = NOW + timedelta(days=3)
LITTLE = timedelta(seconds=9)


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def registered(studio: Studio, data: bytes) -> str:
    stored = await studio.blobs.put(data)
    await studio.ask(RegisterAsset(
        digest=stored.digest, size=stored.size, media_type="text/plain", kind="text", name="a.txt",
        source=Source(how="upload", name="a.txt"),
    ), ASKER, project="demo")
    return stored.digest


def stays(orphans: tuple[Orphan, ...]) -> dict[str, str]:
    return {one.digest: one.stays for one in orphans}


def test_what_an_event_names_is_no_orphan_and_stays(tmp_path: Path) -> None:
    async def scenario() -> None:
        studio = studio_on(tmp_path)
        kept = await registered(studio, b"named")
        lost = (await studio.blobs.put(b"nobody")).digest
        found = await survey(studio.log, studio.blobs, LATER)
        assert (found.blobs, found.bytes, stays(found.orphans)) == (2, 11, {lost: ""})
        assert [one.digest for one in await remove(studio.log, studio.blobs, found)] == [lost]
        assert await studio.blobs.get(kept) == b"named"
        assert await studio.blobs.head(lost) is None
        assert (await survey(studio.log, studio.blobs, LATER)).orphans == ()

    asyncio.run(scenario())


def test_what_was_stored_a_moment_ago_stays(tmp_path: Path) -> None:
    async def scenario() -> None:
        studio = studio_on(tmp_path)
        lost = (await studio.blobs.put(b"nobody yet")).digest
        for hours, why in ((24, "fresh"), (80, "fresh"), (0, "")):
            found = await survey(studio.log, studio.blobs, datetime.now(UTC) + LITTLE, grace_seconds=hours * 3600)
            assert stays(found.orphans) == {lost: why}
        found = await survey(studio.log, studio.blobs, NOW)
        assert await remove(studio.log, studio.blobs, found) == []
        assert await studio.blobs.head(lost) is not None

    asyncio.run(scenario())


def test_what_is_named_or_stored_again_after_the_survey_stays(tmp_path: Path) -> None:
    async def scenario() -> None:
        studio = studio_on(tmp_path)
        for data in (b"named later", b"stored again", b"nobody"):
            await studio.blobs.put(data)
            os.utime(tmp_path / "blobs" / key(digest_of(data)), (1, 1))
        found = await survey(studio.log, studio.blobs, NOW)
        assert len(found.removable) == 3
        await registered(studio, b"named later")
        os.utime(tmp_path / "blobs" / key(digest_of(b"named later")), (1, 1))  # as on a store that keeps other times
        await studio.blobs.put(b"stored again")
        assert [one.digest for one in await remove(studio.log, studio.blobs, found)] == [digest_of(b"nobody")]
        assert await studio.blobs.get(digest_of(b"named later")) == b"named later"
        assert await studio.blobs.get(digest_of(b"stored again")) == b"stored again"

    asyncio.run(scenario())


def test_what_a_running_job_may_be_about_to_name_stays(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with working(tmp_path) as works:
            works.engine()
            early = (await works.studio.blobs.put(b"before the job")).digest
            place = tmp_path / "studio" / "blobs" / key(early)
            os.utime(place, (1, 1))
            works.start()
            job_id = await works.ask(a_step(parameters={"seed": 1, "seconds": 2}))
            await works.accepted(job_id)
            late = (await works.studio.blobs.put(b"since the job")).digest
            found = await survey(works.studio.log, works.studio.blobs, LATER)
            assert stays(found.orphans) == {early: "", late: "job"}
            await works.closed(job_id)
            found = await survey(works.studio.log, works.studio.blobs, LATER)
            assert stays(found.orphans) == {early: "", late: ""}
            assert len(await remove(works.studio.log, works.studio.blobs, found)) == 2
            (uid,) = (await works.job(job_id)).outputs["image"]
            assert found.blobs == 3
            (one,) = [one async for batch in works.studio.blobs.everything() for one in batch]
            assert one.digest.startswith(uid)

    asyncio.run(scenario())


def test_traces_of_playtests_stay_unless_they_are_meant(tmp_path: Path) -> None:
    async def scenario() -> None:
        studio = studio_on(tmp_path)
        trace = (await studio.blobs.put(ENVELOPE + b'v1", "project": "demo","trace":{}}')).digest
        assert stays((await survey(studio.log, studio.blobs, LATER)).orphans) == {trace: "trace"}
        assert stays((await survey(studio.log, studio.blobs, LATER, traces=True)).orphans) == {trace: ""}

    asyncio.run(scenario())


def test_the_envelope_of_traces_is_the_one_that_the_door_writes() -> None:
    from gateways.http.playtest import TRACE_SCHEMA

    assert json.dumps({"schema": TRACE_SCHEMA}).encode().startswith(ENVELOPE)


# --- the console ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("orphans") / "studio"

    async def made() -> None:
        async with open_everything(Settings.load(data=folder), projecting=False) as opened:
            await registered(opened.studio, b"named")

    asyncio.run(made())
    return folder


def console(*arguments: str, data: Path) -> Any:
    given = ["assets", "orphans", *arguments, "--data", str(data)]
    return CliRunner().invoke(cli_commands.app, given, prog_name="comfyvn")


def test_the_console_lists_shows_and_removes(data: Path) -> None:
    assert "Every stored file is named" in console(data=data).stdout
    asyncio.run(StoredBlobs(str(data / "blobs")).put(b"left behind"))
    old = time.time() - 10**6
    place = data / "blobs" / key(digest_of(b"left behind"))
    os.utime(place, (old, old))
    listed = console(data=data)
    assert digest_of(b"left behind")[:16] in listed.stdout
    assert "--remove" in listed.stdout
    told = json.loads(console("--remove", "--dry-run", "--json", data=data).stdout)
    assert (told["removable"], told["removable_bytes"], told["dry_run"], "removed" in told) == (1, 11, True, False)
    assert place.exists()
    assert json.loads(console("--older-than", "9999", "--remove", "--json", data=data).stdout)["removed"] == []
    assert json.loads(console("--remove", "--json", data=data).stdout)["removed"] == [digest_of(b"left behind")]
    assert not place.exists()
    assert (data / "blobs" / key(digest_of(b"named"))).exists()


def test_a_store_that_others_may_use_is_left_alone(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMFYVN_BLOBS_URL", f"file://{tmp_path}")
    done = console("--remove", data=data)
    assert done.exit_code == ExitCode.REFUSED
    assert console("--remove", "--dry-run", data=data).exit_code == 0
    assert console("--older-than", "-1", data=data).exit_code == ExitCode.USAGE
