"""Files that lie, burst or never end: each is refused in a sentence, and the next task is done as ever."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from engines.studio_work import colorful_frames, edge, film, made, pixels, png, refused, tone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

SCRIPT = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
PLAYLIST = b"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:10.0,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
CONCAT = b"ffconcat version 1.0\nfile /etc/passwd\n"


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few kilobytes that unpacks to width × height pixels."""
    packed = zlib.compressobj(9)
    row = b"\0" * (width * 3 + 1)
    body = b"".join(packed.compress(row) for _ in range(min(height, 400))) + packed.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def said(fault: object) -> str:
    """The sentence of a refusal, checked to be one."""
    code, message = fault.code, fault.message  # type: ignore[attr-defined]
    assert code == "FILE_REFUSED", (code, message)
    assert message.endswith((".", "."))
    assert "/" not in message.replace("SVG or XML", "")
    return str(message)


@pytest.mark.parametrize(("content", "word"), [
    (SCRIPT, "SVG"), (b"\xef\xbb\xbf  " + SCRIPT, "SVG"), (b"<?xml version='1.0'?>" + SCRIPT, "SVG"),
    (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "another kind"), (b"%PDF-1.7\n", "PDF"),
    (b"PK\3\4" + b"\0" * 60, "archive"), (b"\x7fELF" + b"\0" * 60, "program"), (b"<html><body></body></html>", "text"),
    (b"\x89PNG\r\n\x1a\n" + b"\0" * 64, "damaged"), (b"\xff\xd8\xff\xe0" + b"\0" * 64, "damaged"),
    (bomb(40_000, 40_000), "pixels"), (bomb(40_000, 2), "pixels"), (bomb(8_000, 8_000), "pixels"),
    (b"#define x_width 9999\n#define x_height 9999\nstatic char x_bits[] = {0};", "another kind"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_pictures_that_are_none(tmp_path: Path, content: bytes, word: str) -> None:
    assert word in said(refused(tmp_path, "edit_image", "denoise", image=content))


def test_pictures_that_are_cut_off(tmp_path: Path) -> None:
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (200, 200, 3), dtype=np.uint8)).save(whole, "JPEG")
    for content in (whole.getvalue()[:9000], png(edge(noise=20))[:20_000]):
        said(refused(tmp_path, "upscale_image", "lanczos", image=content))
    assert pixels(made(tmp_path, "upscale_image", "lanczos", image=png(edge()))).shape == (320, 400, 3)


def test_a_small_picture_with_enormous_notes(tmp_path: Path) -> None:
    note = chunk(b"zTXt", b"a\0\0" + zlib.compress(b"\0" * 100_000_000))
    content = png(edge())
    said(refused(tmp_path, "edit_image", "denoise", image=content[:33] + note + content[33:]))


def test_one_bad_picture_of_many_is_refused_too(tmp_path: Path) -> None:
    said(refused(tmp_path, "compose_images", "storyboard", images=[png(edge()), SCRIPT, png(edge(40, 40))]))


def test_a_result_that_would_be_too_large_is_told(tmp_path: Path) -> None:
    fault = refused(tmp_path, "upscale_image", "lanczos", {"scale": 4}, image=png(edge(3000, 1200)))
    assert fault.code == "INVALID_FIELD_VALUE"
    assert "12000 × 4800" in fault.message


@pytest.mark.parametrize(("content", "word"), [
    (PLAYLIST, "text"), (CONCAT, "another kind"), (SCRIPT, "SVG"), (b"", "nothing"),
    (b"\0\0\0\x20ftypisom" + b"\0" * 50, "damaged"),
    (b"\x1aE\xdf\xa3" + os.urandom(2000), "damaged"), (b"RIFF\xff\xff\xff\x7fAVI LIST" + b"\0" * 200, "damaged"),
    (tone(0.2), "sound"), (png(edge()), "PNG picture"),
], ids=["playlist", "concat", "svg", "empty", "mp4", "mkv", "avi", "wav", "png"])
def test_videos_that_are_none(tmp_path: Path, content: bytes, word: str) -> None:
    assert word in said(refused(tmp_path, "edit_video", "denoise", video=content))


def test_a_video_that_ends_too_early_is_refused(tmp_path: Path) -> None:
    random = np.random.default_rng(1).integers(0, 255, (48, 64, 96, 3), dtype=np.uint8)
    whole = film(tmp_path, random, codec=("-c:v", "libx264", "-crf", "10", "-movflags", "+faststart"))
    assert "too early" in said(refused(tmp_path, "edit_video", "denoise", video=whole[: len(whole) // 2]))
    without_index = film(tmp_path, random)
    said(refused(tmp_path, "edit_video", "denoise", video=without_index[: len(without_index) // 2]))


def test_a_video_of_too_many_pixels_or_seconds_is_refused(tmp_path: Path) -> None:
    wide = film(tmp_path, np.full((1, 2500, 4100, 3), 9), codec=("-c:v", "mjpeg", "-strict", "-1"), suffix="avi")
    assert "pixels" in said(refused(tmp_path, "edit_video", "denoise", video=wide, types={"video": "video/vnd.avi"}))
    long = film(tmp_path, np.full((700, 32, 32, 3), 9), fps=1, codec=("-c:v", "libx264", "-preset", "ultrafast"))
    assert "700 seconds" in said(refused(tmp_path, "edit_video", "denoise", video=long))


def test_a_video_that_refers_to_other_files_reads_none(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret words")
    session = "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\na=x:"
    for content in (f"#EXTM3U\n#EXTINF:1,\n{secret}\n".encode(),
                    f"ffconcat version 1.0\nfile {secret}\n".encode(),
                    f"{session}{secret}\n".encode()):
        assert "secret words" not in said(refused(tmp_path, "edit_video", "denoise", video=content))


def test_a_sound_that_is_none(tmp_path: Path) -> None:
    video = film(tmp_path, colorful_frames(4))
    said(refused(tmp_path, "compose_video", "join_audio", video=video, audio=b"ID3" + b"\0" * 500,
                 types={"audio": "audio/mpeg"}))
    said(refused(tmp_path, "compose_video", "join_audio", video=video, audio=tone(1)[:30]))


def test_a_video_with_no_sound_is_no_sound(tmp_path: Path) -> None:
    video = film(tmp_path, colorful_frames(4))
    fault = refused(tmp_path, "compose_video", "join_audio", video=video, audio=video,
                    types={"audio": "application/octet-stream"})
    assert "no sound" in said(fault)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1), spoilt=st.binary(min_size=1, max_size=40), of_video=st.booleans())
def test_spoilt_files_are_done_or_refused_and_nothing_else(tmp_path: Path, where: float, spoilt: bytes,
                                                           of_video: bool) -> None:
    from engines.studio_work import worked

    from domain.ports.engines import Done, Failed

    content = film(tmp_path, colorful_frames(5)) if of_video else png(edge(60, 60, 20))
    place = int(where * (len(content) - len(spoilt)))
    content = content[:place] + spoilt + content[place + len(spoilt) :]
    folder = tmp_path / f"spoilt-{os.urandom(6).hex()}"
    outcome, _ = worked(folder, "edit_video" if of_video else "edit_image", "denoise",
                        **{"video" if of_video else "image": content})
    assert isinstance(outcome, Done | Failed)
    if isinstance(outcome, Failed):
        assert outcome.fault.code in ("FILE_REFUSED", "INVALID_FIELD_VALUE"), outcome
