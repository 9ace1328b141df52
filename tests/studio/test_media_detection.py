"""What a file is, by its bytes: names and claims play no part."""

from __future__ import annotations

import io
import json
import random
import tarfile
import wave
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from services.media.detection import Detected, detect


def picture(format_: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, format_)
    return file.getvalue()


def sound() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writing:
        writing.setparams((1, 2, 8000, 0, "NONE", ""))
        writing.writeframes(b"\0\1" * 100)
    return file.getvalue()


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as writing:
        writing.writestr("a.txt", "a")
    return file.getvalue()


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as writing:
        writing.addfile(tarfile.TarInfo("a.txt"))
    return file.getvalue()


SVG = b'<?xml version="1.0"?>\n<!-- drawn -->\n<svg xmlns="http://www.w3.org/2000/svg"><rect width="1"/></svg>'

CASES: list[tuple[bytes, str, str]] = [
    (picture("PNG"), "image/png", "image"), (picture("JPEG"), "image/jpeg", "image"),
    (picture("WEBP"), "image/webp", "image"), (picture("GIF"), "image/gif", "image"),
    (picture("BMP"), "image/bmp", "image"), (picture("TIFF"), "image/tiff", "image"),
    (sound(), "audio/wav", "audio"), (b"RIFX\0\0\0\x24WAVEfmt ", "audio/wav", "audio"),
    (b"ID3\x03\0\0\0\0\0\0" + b"\0" * 40, "audio/mpeg", "audio"),
    (b"fLaC\0\0\0\x22" + b"\0" * 40, "audio/flac", "audio"),
    (b"OggS\0\2" + b"\0" * 22 + b"\x01\x1e\x01vorbis" + b"\0" * 30, "audio/ogg", "audio"),
    (b"OggS\0\2" + b"\0" * 22 + b"\x01\x2a\x80theora" + b"\0" * 30, "video/ogg", "video"),
    (b"\0\1\0\0\0\x10" + b"\0" * 40, "font/ttf", "font"), (b"OTTO\0\x10" + b"\0" * 40, "font/otf", "font"),
    (b"wOF2\0\1\0\0" + b"\0" * 40, "font/woff2", "font"),
    (zipped(), "application/zip", "archive"), (tarred(), "application/x-tar", "archive"),
    (b'{"a": [1, 2]}', "application/json", "json"), (b"\xef\xbb\xbf[]", "application/json", "json"),
    (b"{not json}", "text/plain", "text"), (b"label start:\n    \"Hello.\"\n", "text/plain", "text"),
    ("Übung – 日本語".encode(), "text/plain", "text"), ("Übung".encode("utf-16"), "text/plain", "text"),
    (b"BM is how this sentence begins.", "text/plain", "text"), (b"MZ too", "text/plain", "text"),
    (b"<!DOCTYPE html><p>hi", "text/html", "text"), (b"  <HTML><script>1</script>", "text/html", "text"),
    (b'<?xml version="1.0"?><rss/>', "application/xml", "text"), (SVG, "image/svg+xml", "image"),
    (b"<svg:svg xmlns:svg='x'/>", "image/svg+xml", "image"),
    (b"%PDF-1.7\n1 0 obj", "application/pdf", "other"),
    (b"\x00\x01\x02\x03garbage\xff", "application/octet-stream", "other"),
]


@pytest.mark.parametrize(
    ("data", "media_type", "kind"), CASES, ids=[f"{number} {case[1]}" for number, case in enumerate(CASES)]
)
def test_the_bytes_decide(tmp_path: Path, data: bytes, media_type: str, kind: str) -> None:
    file = tmp_path / "lies.exe"
    file.write_bytes(data)
    found = detect(file)
    assert (found.media_type, found.kind) == (media_type, kind)


@pytest.mark.parametrize(
    ("inside", "cautions"),
    [
        ("<script>alert(1)</script>", {"active_content"}), ('<rect onload="x()"/>', {"active_content"}),
        ('<a href="javascript:x()"/>', {"active_content"}), ("<foreignObject/>", {"active_content"}),
        ('<image href="https://example.org/p.png"/>', {"outside_links"}),
        ("<style>@import 'x'</style>", {"outside_links"}),
        ("<rect fill='url(#local)'/>", set()),
    ],
)
def test_a_drawing_that_can_act_or_reach_out_says_so(tmp_path: Path, inside: str, cautions: set[str]) -> None:
    file = tmp_path / "drawing"
    file.write_text(f"<svg xmlns='http://www.w3.org/2000/svg'>{inside}</svg>")
    assert set(detect(file).cautions) == cautions


def test_entities_in_a_drawing_are_named(tmp_path: Path) -> None:
    file = tmp_path / "drawing"
    file.write_text('<!DOCTYPE svg [<!ENTITY a "b">]><svg>&a;</svg>')
    assert detect(file) == Detected("image/svg+xml", "image", "svg", ("entities",))


def test_a_script_far_inside_a_large_drawing_is_found(tmp_path: Path) -> None:
    file = tmp_path / "drawing"
    file.write_text("<svg>" + " " * (2**20 - 9) + "<script>1</script></svg>")
    assert detect(file).cautions == ("active_content",)


def test_a_text_made_to_confuse_takes_no_longer_than_another(tmp_path: Path) -> None:
    file = tmp_path / "comments"
    file.write_text("<!-- -->" * 8_000 + "no element")
    assert detect(file).media_type == "text/plain"


def test_a_character_cut_at_the_end_of_the_head_is_still_text(tmp_path: Path) -> None:
    file = tmp_path / "long"
    file.write_bytes(b"a" + "é".encode() * 100_000)
    assert detect(file).media_type == "text/plain"


def test_deep_json_is_text_and_no_crash(tmp_path: Path) -> None:
    file = tmp_path / "deep"
    file.write_bytes(b"[" * 200_000 + b"]" * 200_000)
    assert detect(file).kind in ("text", "json")


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=400) | st.text(min_size=1).map(str.encode) | st.dictionaries(
    st.text(), st.integers()).map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_something(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / f"any-{random.getrandbits(40)}"
    file.write_bytes(data)
    found = detect(file)
    file.unlink()
    assert "/" in found.media_type
