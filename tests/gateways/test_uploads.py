"""Files in and out over HTTP: bounded, believed by their bytes alone, and given back in whole or in part."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from studios import project, studio_on, until

from adapters.memory.inbox import MemoryInboxes
from adapters.memory.log import MemoryLog
from gateways.http.app import create_app
from gateways.http.downloads import _part, safe_name
from gateways.http.gate import OpenAccess
from services.processes.declared import PROCESSES
from services.processes.runner import Runner
from services.studio import Studio

Scenario = Callable[[httpx.AsyncClient, Studio], Awaitable[None]]


def run(folder: Path, scenario: Scenario, **given_settings: Any) -> None:
    async def whole() -> None:
        studio = studio_on(folder / "data", **given_settings)
        app = create_app(studio, access=OpenAccess())
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost") as client:
            await scenario(client, studio)

    asyncio.run(whole())


def png(colour: str = "red", size: tuple[int, int] = (600, 300)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def uid_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def leftovers(studio: Studio) -> list[Path]:
    found = list((studio.settings.data / "scratch").glob("*/*"))
    return found + list((studio.settings.data / "blobs" / "incoming").glob("*"))


def blobs(studio: Studio) -> list[Path]:
    return [one for one in (studio.settings.data / "blobs" / "sha256").rglob("*") if one.is_file()]


# --- in ----------------------------------------------------------------------------------------------------------


def test_an_upload_becomes_an_asset_and_its_bytes_come_back(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, studio: Studio) -> None:
        data = png()
        answer = await client.post(
            "/api/assets/upload?project=demo", files={"file": ("C:\\art\\room.exe", data, "text/html")},
            data={"tags": "dusk, rain", "license": "CC0-1.0", "origin": "drawn", "metadata": '{"artist": "Mo"}',
                  "asset_type": "background"},
        )
        assert answer.status_code == 201, answer.text
        told = answer.json()
        assert told["id"] == uid_of(data)
        assert told["asset"] | {"hash": ""} == {
            "uid": uid_of(data), "hash": "", "bytes": len(data), "media_type": "image/png", "type": "image",
            "cautions": [], "name": "room.exe",
        }
        assert answer.headers["location"] == f"/api/assets/{uid_of(data)}?project=demo"
        await project(studio)
        shown = (await client.get(answer.headers["location"])).json()
        assert (shown["tags"], shown["licence"], shown["origin"]) == (["dusk", "rain"], "CC0-1.0", "drawn")
        assert (shown["metadata"], shown["asset_type"]) == ({"artist": "Mo"}, "background")
        got = await client.get(f"/api/assets/{uid_of(data)}/download?project=demo")
        assert (got.status_code, got.content) == (200, data)
        assert leftovers(studio) == []

    run(tmp_path, scenario)


def test_bytes_can_be_fetched_before_any_view_has_counted_them(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, studio: Studio) -> None:
        await client.post("/api/assets/upload", files={"file": ("a.png", png())})
        assert (await client.get(f"/api/assets/{uid_of(png())}/download")).content == png()

    run(tmp_path, scenario)


def test_the_same_file_again_is_no_news_and_new_tags_are_one_event(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, studio: Studio) -> None:
        first = await client.post("/api/assets/upload", files={"file": ("a.png", png())})
        again = await client.post("/api/assets/upload", files={"file": ("b.png", png())})
        assert (first.status_code, again.status_code) == (201, 200)
        assert again.json()["events"] == []
        more = await client.post("/api/assets/upload", files={"file": ("b.png", png())}, data={"tags": "new"})
        assert [one["type"] for one in more.json()["events"]] == ["AssetDescribed"]
        assert len(blobs(studio)) == 1

    run(tmp_path, scenario)


def test_several_files_are_registered_as_one(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, studio: Studio) -> None:
        colours = ("red", "green", "blue", "red")
        files = [("files", (f"{colour}.png", png(colour))) for colour in colours]
        answer = await client.post("/api/assets/upload", files=files, data={"tags": "set"})
        assert answer.status_code == 201
        assert [one["id"] for one in answer.json()["items"]] == [uid_of(png(colour)) for colour in colours]
        assert len(blobs(studio)) == 3
        bad = [("files", ("a.png", png("pink"))), ("files", ("b.png", b""))]
        assert (await client.post("/api/assets/upload", files=bad)).json()["error"] == "empty_file"
        assert len(blobs(studio)) == 3

    run(tmp_path, scenario)


def test_a_repeated_key_gets_the_first_answer_and_another_body_under_it_422(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, studio: Studio) -> None:
        async def upload(data: bytes) -> httpx.Response:
            return await client.post(
                "/api/assets/upload", files={"file": ("a.png", data)}, headers={"Idempotency-Key": "key-1"}
            )

        first, again = await upload(png()), await upload(png())
        await project(studio)
        other = await upload(png("blue"))
        assert (first.status_code, again.status_code, other.status_code) == (201, 201, 422)
        assert again.json()["position"] == first.json()["position"]
        assert again.headers["idempotency-replayed"] == "true"
        assert len(blobs(studio)) == 1

    run(tmp_path, scenario)


def test_a_dry_run_decides_and_stores_nothing(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, studio: Studio) -> None:
        answer = await client.post("/api/assets/upload?dry_run=true", files={"file": ("a.png", png())})
        assert (answer.status_code, [one["type"] for one in answer.json()["would"]]) == (200, ["AssetRegistered"])
        assert blobs(studio) == []
        assert await studio.log.head() == 0
        await client.post("/api/assets/upload", files={"file": ("a.png", png())})
        answer = await client.post("/api/assets/upload?dry_run=true", files={"file": ("a.png", png())})
        assert answer.json()["would"] == []

    run(tmp_path, scenario)


def test_an_upload_over_the_limit_is_413_however_it_is_sent(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, studio: Studio) -> None:
        answer = await client.post("/api/assets/upload", files={"file": ("a.bin", b"x" * 3_000_000)})
        assert (answer.status_code, answer.json()["error"]) == (413, "upload_too_large")

        async def pieces() -> Any:
            yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
            for _ in range(100):
                yield b"x" * 65536

        answer = await client.post(
            "/api/assets/upload", content=pieces(), headers={"content-type": "multipart/form-data; boundary=b"}
        )
        assert (answer.status_code, answer.json()["error"]) == (413, "upload_too_large")
        assert leftovers(studio) == []
        assert await studio.log.head() == 0

    run(tmp_path, scenario, upload_limit=1_000_000)


PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nhello\r\n'


@pytest.mark.parametrize(
    ("content_type", "body", "status", "error"),
    [
        ("application/json", b"{}", 415, "unsupported_media_type"), ("", b"", 415, "unsupported_media_type"),
        ("multipart/form-data", PART, 400, "malformed_form"),
        ("multipart/form-data; boundary=b", PART, 400, "malformed_form"),
        ("multipart/form-data; boundary=b", b"", 400, "malformed_form"),
        ("multipart/form-data; boundary=b", b"rubbish", 400, "malformed_form"),
        ("multipart/form-data; boundary=b", b"--b\r\nX: y\r\n\r\nhello\r\n--b--", 400, "malformed_form"),
        ("multipart/form-data; boundary=b", b"--b--\r\n", None, None),
        ("multipart/form-data; boundary=b",
         b'--b\r\nContent-Disposition: form-data; name="tags"\r\n\r\n\xff\r\n--b--', 400, "malformed_form"),
        ("multipart/form-data; boundary=b", PART.replace(b'"file"', b'"thing"') + b"--b--", 422, "invalid_fields"),
    ],
)
def test_a_form_that_cannot_be_read_says_why(
    tmp_path: Path, content_type: str, body: bytes, status: int | None, error: str | None
) -> None:
    async def scenario(client: httpx.AsyncClient, studio: Studio) -> None:
        headers = {"content-type": content_type} if content_type else {}
        answer = await client.post("/api/assets/upload", content=body, headers=headers)
        assert 400 <= answer.status_code < 500
        if status is not None:
            assert (answer.status_code, answer.json()["error"]) == (status, error)
        assert answer.json()["remediation"]
        assert leftovers(studio) == []

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"colour": "red"}, "colour"), ({"metadata": "{"}, "metadata"), ({"metadata": "[]"}, "metadata"),
        ({"nsfw": "perhaps"}, "nsfw"), ({"tags": "x" * 65}, "tags"), ({"source": '{"how": "magic"}'}, "source"),
        ({"name": "a\nb"}, "name"), ({"metadata": '{"a": 1e999}'}, "metadata"),
    ],
)
def test_a_field_that_does_not_fit_is_named(tmp_path: Path, fields: dict[str, str], named: str) -> None:
    async def scenario(client: httpx.AsyncClient, studio: Studio) -> None:
        answer = await client.post("/api/assets/upload", files={"file": ("a.png", png())}, data=fields)
        assert (answer.status_code, answer.json()["error"]) == (422, "invalid_fields"), answer.text
        assert answer.json()["detail"]["fields"][0]["path"].startswith(named)
        assert blobs(studio) == []

    run(tmp_path, scenario)


def test_licence_may_be_spelled_both_ways_but_not_differ(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, studio: Studio) -> None:
        answer = await client.post("/api/assets/upload", files={"file": ("a.png", png())},
                                   data={"licence": "MIT", "license": "CC0-1.0"})
        assert (answer.status_code, answer.json()["error"]) == (400, "contradicting_licences")

    run(tmp_path, scenario)


# --- the inbox folder --------------------------------------------------------------------------------------------


def test_a_file_in_the_inbox_is_registered_and_stays_there(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, studio: Studio) -> None:
        file = studio.settings.data / "inbox" / "art" / "Räume" / "room.png"
        file.parent.mkdir(parents=True)
        file.write_bytes(png())
        body = {"path": "art/Räume/room.png", "tags": ["dusk"], "license": "MIT"}
        assert (await client.post("/api/assets/register?dry_run=1", json=body)).json()["would"]
        answer = await client.post("/api/assets/register", json=body)
        assert (answer.status_code, answer.json()["asset"]["name"]) == (201, "room.png")
        assert file.read_bytes() == png()
        assert leftovers(studio) == []

    run(tmp_path, scenario)


def test_no_path_and_no_link_leads_out_of_the_inbox(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, studio: Studio) -> None:
        inbox = studio.settings.data / "inbox"
        inbox.mkdir()
        secret = studio.settings.data / "secret"
        secret.write_text("secret")
        (inbox / "link").symlink_to(secret)
        (inbox / "folder").symlink_to(studio.settings.data)
        (inbox / "real").mkdir()
        os.mkfifo(inbox / "pipe")
        wanted = {
            "": 400, "..": 400, "../secret": 400, "a/../../secret": 400, str(secret): 400, "/etc/passwd": 400,
            "a\\..\\b": 400, "C:/x": 400, "a\x00b": 400, "link": 400, "folder/secret": 400, "real": 400, "pipe": 400,
            "x" * 5000: 400, "missing": 404, "real/missing": 404, ".": 400,
        }
        for path, status in wanted.items():
            answer = await client.post("/api/assets/register", json={"path": path})
            assert answer.status_code == status, (path, answer.text)
            assert answer.json()["remediation"]
            assert "secret" not in json.dumps(answer.json()["message"])
        for body in ({}, {"path": 1}, {"path": "a", "colour": 1}):
            assert (await client.post("/api/assets/register", json=body)).status_code == 422
        assert await studio.log.head() == 0

    run(tmp_path, scenario)


# --- out ---------------------------------------------------------------------------------------------------------


def test_ranges_tags_and_conditions(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, studio: Studio) -> None:
        data = bytes(range(256)) * 20
        uid = (await client.post("/api/assets/upload", files={"file": ("a.bin", data)})).json()["id"]
        await project(studio)
        path = f"/api/assets/{uid}/download"
        whole = await client.get(path)
        tag = whole.headers["etag"]
        assert tag == f'"{hashlib.sha256(data).hexdigest()}"'
        assert whole.headers["accept-ranges"] == "bytes"
        cases: list[tuple[dict[str, str], int, bytes]] = [
            ({"Range": "bytes=0-9"}, 206, data[:10]), ({"Range": "bytes=5000-"}, 206, data[5000:]),
            ({"Range": "bytes=-7"}, 206, data[-7:]), ({"Range": "bytes=-99999"}, 206, data),
            ({"Range": "bytes=0-99999"}, 206, data), ({"Range": "bytes=9-3"}, 200, data),
            ({"Range": "bytes=0-1,5-6"}, 200, data), ({"Range": "lines=1-2"}, 200, data),
            ({"Range": "bytes=0-9", "If-Range": tag}, 206, data[:10]),
            ({"Range": "bytes=0-9", "If-Range": '"other"'}, 200, data), ({"If-None-Match": tag}, 304, b""),
            ({"If-None-Match": '"other"'}, 200, data),
        ]
        for headers, status, body in cases:
            answer = await client.get(path, headers=headers)
            assert (answer.status_code, answer.content) == (status, body), headers
        part = await client.get(path, headers={"Range": "bytes=10-19"})
        assert part.headers["content-range"] == f"bytes 10-19/{len(data)}"
        assert part.headers["content-length"] == "10"
        for asked in ("bytes=5120-", "bytes=-0"):
            refused = await client.get(path, headers={"Range": asked})
            assert (refused.status_code, refused.json()["error"]) == (416, "range_not_satisfiable")
            assert refused.headers["content-range"] == f"bytes */{len(data)}"
        head = await client.head(path)
        assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(data)))

    run(tmp_path, scenario)


@given(st.integers(1, 60), st.integers(0, 70), st.integers(0, 70))
def test_any_range_gives_just_those_bytes(size: int, first: int, last: int) -> None:
    data = bytes(range(size))
    part = _part(f"bytes={first}-{last}", None, "", size)
    if last < first:
        assert part == (0, size, 200)
    elif first >= size:
        assert part is None
    else:
        assert part is not None
        assert data[part[0] : part[1]] == data[first : last + 1]


HTML = b"<!DOCTYPE html><script>alert(1)</script>"
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"


@pytest.mark.parametrize(
    ("name", "data", "media_type", "disposition", "saved_as"),
    [
        ("evil.png", HTML, "text/html; charset=utf-8", "attachment", "evil.png"),
        ("evil.svg", SVG, "image/svg+xml", "inline", "evil.svg"),
        ("setup.exe", b"just words", "text/plain; charset=utf-8", "inline", "setup.exe.txt"),
        ("script.rpy", b"label start:\n", "text/plain; charset=utf-8", "inline", "script.rpy"),
        ("photo", png(), "image/png", "inline", "photo.png"), ("photo.jpg", png(), "image/png", "inline", "photo.jpg"),
        ("photo.png.exe", png(), "image/png", "inline", "photo.png.exe.png"),
        ('a"b\\c;d\u202e.png', png(), "image/png", "inline", None),
    ],
)
def test_what_is_given_out_cannot_act(
    tmp_path: Path, name: str, data: bytes, media_type: str, disposition: str, saved_as: str | None
) -> None:
    async def scenario(client: httpx.AsyncClient, studio: Studio) -> None:
        uid = (await client.post("/api/assets/upload", files={"file": (name, data)})).json()["id"]
        await project(studio)  # nobody counts here, and a look waits a moment for whoever does
        got = await client.get(f"/api/assets/{uid}/download")
        assert got.content == data
        assert got.headers["content-type"] == media_type
        assert got.headers["x-content-type-options"] == "nosniff"
        assert got.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
        shown = got.headers["content-disposition"]
        assert shown.startswith(disposition + ";")
        assert saved_as is None or f'filename="{saved_as}"' in shown
        saved = await client.get(f"/api/assets/{uid}/download?download=true")
        assert saved.headers["content-disposition"].startswith("attachment;")

    run(tmp_path, scenario)


@settings(max_examples=200)
@given(st.text(max_size=60), st.sampled_from(["image/png", "text/plain", "audio/wav", "application/octet-stream"]))
def test_any_name_is_a_safe_file_name(name: str, media_type: str) -> None:
    safe = safe_name(name, media_type)
    assert safe
    assert not set(safe) & set('/\\"\r\n\x00:<>|?*\u202e')
    assert safe not in (".", "..")
    assert not safe.lower().endswith((".exe", ".html", ".js", ".svg", ".bat"))


def test_unknown_and_removed_assets_have_no_bytes(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, studio: Studio) -> None:
        for uid in ("0" * 16, "nonsense", "%2e%2e"):
            for path in ("download", "thumbnail", "waveform"):
                assert (await client.get(f"/api/assets/{uid}/{path}")).status_code == 404
        uid = (await client.post("/api/assets/upload", files={"file": ("a.png", png())})).json()["id"]
        removed = await client.request("DELETE", f"/api/assets/{uid}")
        assert removed.status_code == 200, removed.text
        for counted in (False, True):
            if counted:
                await project(studio)
            got = await client.get(f"/api/assets/{uid}/download")
            assert (got.status_code, got.json()["error"]) == (404, "asset_removed")
        for query in ("?size=100", "?min_position=x", "?min_position=99", "?colour=1"):
            assert (await client.get(f"/api/assets/{uid}/thumbnail{query}")).status_code in (400, 422)

    run(tmp_path, scenario)


def test_a_thumbnail_is_there_when_the_worker_has_made_it(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, studio: Studio) -> None:
        uid = (await client.post("/api/assets/upload", files={"file": ("a.png", png())})).json()["id"]
        text = (await client.post("/api/assets/upload", files={"file": ("a.txt", b"words")})).json()["id"]
        bad = (await client.post("/api/assets/upload", files={"file": ("b.png", png()[:150])})).json()["id"]
        await project(studio)
        path = f"/api/assets/{uid}/thumbnail"
        assert (await client.get(path)).json()["error"] == "preview_awaited"
        assert isinstance(studio.log, MemoryLog)
        runner = Runner(studio, MemoryInboxes(studio.log), PROCESSES)
        task = asyncio.create_task(runner.run())
        await until(lambda: runner.status()["previews"].done == 5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await project(studio)
        for size, wanted in ((256, (256, 128)), (512, (512, 256))):
            got = await client.get(f"{path}?size={size}")
            assert Image.open(io.BytesIO(got.content)).size == wanted
            assert (await client.get(f"{path}?size={size}", headers={"If-None-Match": got.headers["etag"]})
                    ).status_code == 304
        assert (await client.get(f"/api/assets/{text}/thumbnail")).json()["error"] == "no_preview"
        failed = (await client.get(f"/api/assets/{bad}/thumbnail")).json()
        assert (failed["error"], failed["detail"]["reason"] in ("truncated", "damaged")) == ("preview_failed", True)
        assert (await client.get(f"/api/assets/{uid}/waveform")).json()["error"] == "no_preview"

    run(tmp_path, scenario)


def test_the_doors_for_files_are_described(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, studio: Studio) -> None:
        paths = (await client.get("/openapi.json")).json()["paths"]
        upload = paths["/api/assets/upload"]["post"]
        assert "multipart/form-data" in upload["requestBody"]["content"]
        assert {"200", "201", "413", "415"} <= set(upload["responses"])
        download = paths["/api/assets/{uid}/download"]["get"]
        assert {"200", "206", "304", "416"} <= set(download["responses"])
        assert [one["name"] for one in download["parameters"]].count("uid") == 1

    run(tmp_path, scenario)
