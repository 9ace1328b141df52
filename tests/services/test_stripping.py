"""What leaks is taken out of files; what they show stays to the last bit."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imageio_ffmpeg import get_ffmpeg_exe
from PIL import Image, PngImagePlugin
from signed_files import IMAGES, ffmpeg, made, picture, signed

from adapters.c2pa.credentials import OwnCredentials
from adapters.c2pa.keys import KeyFolder
from services.media.stripping import FORMATS, Unstrippable, stripped, stripped_file

GRAPH = '{"3": {"class_type": "KSampler", "inputs": {"seed": 7}}}'
SECRET = "a lantern at number nine"


def exif(orientation: int = 1) -> bytes:
    told = Image.Exif()
    told[0x0112] = orientation
    told[0x010E] = SECRET
    told[0x8825] = {1: "N", 2: (52.0, 31.0, 12.0)}
    return told.tobytes()


def pixels(data: bytes) -> tuple[tuple[int, int], bytes]:
    with Image.open(io.BytesIO(data)) as image:
        return image.size, image.convert("RGBA").tobytes()


def leaking(kind: str, orientation: int = 1) -> bytes:
    more: dict[str, object] = {"exif": exif(orientation)}
    if kind == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_text("prompt", GRAPH)
        text.add_text("workflow", GRAPH, zip=True)
        text.add_itxt("note", SECRET)
        more["pnginfo"] = text
    elif kind == "JPEG":
        more |= {"comment": SECRET, "xmp": f"<x:xmpmeta>{SECRET}</x:xmpmeta>".encode()}
    else:
        more["xmp"] = f"<x:xmpmeta>{SECRET}</x:xmpmeta>".encode()
    return picture(kind=kind, **more)


@pytest.mark.parametrize("media_type", IMAGES)
def test_a_picture_tells_nothing_more_than_it_shows(media_type: str) -> None:
    data = leaking(IMAGES[media_type])
    assert SECRET.encode() in data
    told = stripped(data, media_type)
    assert told.removed
    for word in (SECRET.encode(), b"KSampler", b"prompt", b"xmpmeta"):
        assert word not in told.data
    assert pixels(told.data) == pixels(data)
    assert stripped(told.data, media_type).data == told.data, "twice is once"


def test_the_prompt_graph_in_a_png_is_named() -> None:
    assert {"tEXt prompt", "zTXt workflow", "iTXt note", "eXIf"} == set(stripped(leaking("PNG"), "image/png").removed)


@pytest.mark.parametrize("kind", ["image/png", "image/jpeg", "image/webp"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_which_way_is_up_stays_known(kind: str, orientation: int) -> None:
    told = stripped(leaking(IMAGES[kind], orientation), kind)
    with Image.open(io.BytesIO(told.data)) as image:
        found = image.getexif()
        assert found.get(0x0112, 1) == orientation
        assert set(found) <= {0x0112}


@pytest.mark.parametrize(("media_type", "ending"), [
    ("audio/mpeg", "mp3"), ("audio/flac", "flac"), ("audio/wav", "wav"), ("video/mp4", "mp4"),
])
def test_sounds_and_films_play_the_same_and_say_nothing(tmp_path: Path, media_type: str, ending: str) -> None:
    plain, place, out = made(tmp_path, media_type), tmp_path / f"told.{ending}", tmp_path / f"out.{ending}"
    ffmpeg("-i", str(plain), "-metadata", f"title={SECRET}", "-metadata", f"comment={SECRET}", str(place))
    assert SECRET.encode() in place.read_bytes()
    removed = stripped_file(place, out, media_type)
    assert removed
    assert SECRET.encode() not in out.read_bytes()
    assert decoded(out) == decoded(place)


def outcome(data: bytes, media_type: str) -> str:
    try:
        told = stripped(data, media_type)
    except Unstrippable as error:
        return error.reason
    return "stripped" if len(told.data) <= len(data) + 64 else "grown"


def decoded(path: Path) -> bytes:
    return subprocess.run([get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-f", "framemd5", "-"],
                          capture_output=True, check=True, timeout=60).stdout


@pytest.mark.parametrize("media_type", sorted(set(FORMATS) - {"audio/mp4", "video/quicktime"}))
def test_credentials_go_too_instead_of_reading_as_broken(tmp_path: Path, media_type: str) -> None:
    ours = OwnCredentials(KeyFolder(tmp_path / "keys"))
    place = signed(ours, made(tmp_path, media_type), media_type)
    out = tmp_path / "out"
    stripped_file(place, out, media_type)
    assert ours.read(str(out), media_type).state == "none"
    again = tmp_path / "again"
    again.write_bytes(signed(ours, out, media_type).read_bytes())
    assert ours.read(str(again), media_type).state == "valid"


def test_what_hides_behind_a_picture_goes() -> None:
    for kind, name in (("PNG", "image/png"), ("JPEG", "image/jpeg")):
        told = stripped(picture(kind=kind) + b"PK\x03\x04" + SECRET.encode(), name)
        assert told.removed == ("trailing bytes",)
        assert SECRET.encode() not in told.data


def test_animation_and_transparency_stay() -> None:
    frames = [Image.new("RGBA", (8, 8), (number * 40, 0, 0, 100)) for number in range(4)]
    for kind, name in (("PNG", "image/png"), ("WEBP", "image/webp")):
        out = io.BytesIO()
        frames[0].save(out, kind, save_all=True, append_images=frames[1:], duration=50, exif=exif())
        with Image.open(io.BytesIO(stripped(out.getvalue(), name).data)) as image:
            assert image.n_frames == 4  # type: ignore[attr-defined]
            assert image.convert("RGBA").getpixel((0, 0))[3] == 100  # type: ignore[index]


@pytest.mark.parametrize("media_type", sorted(FORMATS))
@pytest.mark.parametrize("data", [b"", b"hello" * 20, b"\0" * 64, b"\xff" * 200])
def test_what_is_not_of_that_kind_is_said_so(media_type: str, data: bytes) -> None:
    assert outcome(data, media_type) in ("damaged", "stripped")


def test_an_unknown_format_is_not_passed_through() -> None:
    with pytest.raises(Unstrippable) as caught:
        stripped(b"OggS", "audio/ogg")
    assert caught.value.reason == "unknown_format"


@settings(max_examples=150, deadline=None)
@given(
    media_type=st.sampled_from(sorted(IMAGES)), at=st.integers(0, 2**20), cut=st.booleans(), byte=st.integers(0, 255)
)
def test_damaged_files_end_in_an_answer(media_type: str, at: int, cut: bool, byte: int) -> None:
    data = leaking(IMAGES[media_type])
    at %= len(data)
    hurt = data[:at] if cut else data[:at] + bytes([byte]) + data[at + 1 :]
    assert outcome(hurt, media_type) in ("damaged", "stripped")
