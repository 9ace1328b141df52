"""Previews: upright, small, the same bytes again, and a reason where there can be none."""

from __future__ import annotations

import asyncio
import io
import json
import os
import struct
import wave
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from services.media import images, sound
from services.media.rendering import Made, Piece, Renderer, Unrenderable


def saved(tmp_path: Path, image: Image.Image, format_: str, **options: Any) -> str:
    file = tmp_path / f"picture.{format_}"
    image.save(file, format_, **options)
    return str(file)


def gradient(mode: str = "RGB", size: tuple[int, int] = (1200, 600)) -> Image.Image:
    return Image.linear_gradient("L").resize(size).convert(mode)


def opened(piece: Piece) -> Image.Image:
    image = Image.open(io.BytesIO(piece.data))
    image.load()
    assert image.size == (piece.width, piece.height)
    return image


def sizes(made: Made) -> dict[str, tuple[int, int]]:
    return {piece.name: (piece.width, piece.height) for piece in made.pieces}


def test_a_picture_gets_two_thumbnails_that_keep_its_shape(tmp_path: Path) -> None:
    made = images.render(saved(tmp_path, gradient(), "PNG"))
    assert sizes(made) == {"256": (256, 128), "512": (512, 256)}
    assert (made.measures["width"], made.measures["height"], made.measures["frames"]) == (1200, 600, 1)


def test_the_same_picture_gives_the_same_bytes(tmp_path: Path) -> None:
    file = saved(tmp_path, gradient(), "PNG")
    assert images.render(file) == images.render(file)


def test_a_small_picture_is_not_blown_up(tmp_path: Path) -> None:
    assert sizes(images.render(saved(tmp_path, gradient(size=(40, 20)), "PNG"))) == {"256": (40, 20), "512": (40, 20)}


def test_a_very_long_picture_keeps_at_least_a_pixel(tmp_path: Path) -> None:
    assert sizes(images.render(saved(tmp_path, gradient(size=(9000, 2)), "PNG")))["256"] == (256, 1)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I"])
def test_every_mode_is_drawn(tmp_path: Path, mode: str) -> None:
    image = gradient("L", (64, 64))
    if mode in ("I;16", "I"):
        image = Image.frombytes("I;16", (64, 64), b"".join(struct.pack("<H", value * 257) for value in image.tobytes()))
        image = image.convert("I") if mode == "I" else image
    else:
        image = image.convert(mode)
    made = images.render(saved(tmp_path, image, "TIFF" if mode == "I" else "PNG"))
    shown = opened(made.pieces[0]).convert("L")
    low, high = shown.getextrema()
    assert (low < 40, high > 200) == (True, True), (low, high)


@pytest.mark.parametrize(("mode", "format_"), [("CMYK", "JPEG"), ("CMYK", "TIFF"), ("YCbCr", "JPEG"), ("F", "TIFF")])
def test_colours_of_print_and_measurement_are_drawn(tmp_path: Path, mode: str, format_: str) -> None:
    image = gradient("F", (64, 64)) if mode == "F" else Image.new("RGB", (64, 64), (200, 30, 30)).convert(mode)
    made = images.render(saved(tmp_path, image, format_))
    assert opened(made.pieces[0]).mode in ("RGB", "RGBA")


def test_alpha_is_kept(tmp_path: Path) -> None:
    image = Image.new("RGBA", (600, 600), (255, 0, 0, 0))
    image.paste((0, 255, 0, 255), (0, 0, 300, 600))
    small = opened(images.render(saved(tmp_path, image, "PNG")).pieces[0])
    assert small.mode == "RGBA"
    assert small.getpixel((10, 128))[3] == 255
    assert small.getpixel((250, 128))[3] == 0


def test_a_palette_with_a_clear_colour_is_clear(tmp_path: Path) -> None:
    image = Image.new("P", (64, 64), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    small = opened(images.render(saved(tmp_path, image, "GIF", transparency=0)).pieces[0])
    assert small.convert("RGBA").getpixel((5, 5))[3] == 0


def test_a_picture_taken_sideways_stands_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (400, 200), "blue")
    image.paste((255, 0, 0), (0, 0, 200, 200))
    exif = Image.Exif()
    exif[0x0112] = 6
    made = images.render(saved(tmp_path, image, "JPEG", exif=exif))
    assert sizes(made)["256"] == (128, 256)
    assert (made.measures["width"], made.measures["height"]) == (200, 400)
    top = opened(made.pieces[0]).convert("RGB").getpixel((64, 20))
    assert top[0] > 200, "the left half of the sideways picture is the upper half of the upright one"


def test_the_first_frame_of_an_animation_is_shown(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "green", "blue")]
    for format_ in ("GIF", "WEBP", "PNG"):
        made = images.render(saved(tmp_path, frames[0], format_, save_all=True, append_images=frames[1:]))
        assert made.measures["frames"] == 3
        assert opened(made.pieces[0]).convert("RGB").getpixel((5, 5))[0] > 200


def test_what_a_camera_wrote_about_people_and_places_is_left_out(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "secret place"
    made = images.render(saved(tmp_path, gradient(), "JPEG", exif=exif, comment=b"secret place"))
    assert all(b"secret" not in piece.data for piece in made.pieces)


def refused(path: str) -> Unrenderable:
    with pytest.raises(Unrenderable) as caught:
        images.render(path)
    return caught.value


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_picture_that_was_cut_off_has_a_reason(tmp_path: Path, format_: str) -> None:
    file = Path(saved(tmp_path, Image.effect_noise((300, 300), 80).convert("RGB"), format_))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert refused(str(file)).reason in ("truncated", "damaged", "no_decoder")


def test_a_picture_that_unpacks_to_gigabytes_is_refused_before_it_does(tmp_path: Path) -> None:
    file = Path(saved(tmp_path, Image.new("1", (10, 10)), "PNG"))
    data = bytearray(file.read_bytes())
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    file.write_bytes(bytes(data))
    assert refused(str(file)).reason == "too_many_pixels"


def test_what_is_no_picture_has_no_decoder(tmp_path: Path) -> None:
    file = tmp_path / "text.png"
    file.write_text("not a picture")
    assert refused(str(file)).reason == "no_decoder"


# --- sound -------------------------------------------------------------------------------------------------------


def riff(code: int, bits: int, body: bytes, *, channels: int = 1, rate: int = 8000, extensible: bool = False,
         size: int | None = None, big: bool = False) -> bytes:
    order = ">" if big else "<"
    width = channels * bits // 8
    described = struct.pack(order + "HHIIHH", 0xFFFE if extensible else code, channels, rate, rate * width, width, bits)
    if extensible:
        described += struct.pack(order + "HHIH", 22, bits, 0, code) + b"\0" * 14
    chunk = struct.pack(order + "I", len(body) if size is None else size)
    inner = (b"WAVE" + b"LIST" + struct.pack(order + "I", 3) + b"abc\0" + b"fmt "
             + struct.pack(order + "I", len(described)) + described + b"data" + chunk + body)
    return (b"RIFX" if big else b"RIFF") + struct.pack(order + "I", len(inner)) + inner


def pack(code: int, bits: int, value: float, order: str = "<") -> bytes:
    match code, bits:
        case 3, 32:
            return struct.pack(order + "f", value)
        case 3, 64:
            return struct.pack(order + "d", value)
        case _, 8:
            return bytes([128 + round(value * 127)])
        case _:
            whole = round(value * (2 ** (bits - 1) - 1))
            return whole.to_bytes(bits // 8, "little" if order == "<" else "big", signed=True)


FORMATS = [(1, 8), (1, 16), (1, 24), (1, 32), (3, 32), (3, 64)]


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize(("code", "bits"), FORMATS)
def test_every_sample_format_shows_the_same_shape(
    tmp_path: Path, code: int, bits: int, extensible: bool, big: bool
) -> None:
    values = [0.5] * 4000 + [-1.0] * 2000 + [0.0] * 2000
    file = tmp_path / "sound.wav"
    body = b"".join(pack(code, bits, value, ">" if big else "<") for value in values)
    file.write_bytes(riff(code, bits, body, extensible=extensible, big=big))
    made = sound.render(str(file))
    assert made.measures == {"duration_ms": 1000, "sample_rate": 8000, "channels": 1, "bits": bits, "frames": 8000}
    peaks = json.loads(made.pieces[-1].data)
    data = peaks["data"]
    assert peaks["length"] * 2 == len(data) <= 2048
    assert data[0] == pytest.approx(16384, abs=200)
    middle = peaks["length"] * 5 // 8 * 2
    assert data[middle] == pytest.approx(-32768, abs=300)
    assert data[-1] == pytest.approx(0, abs=1)
    assert sizes(made) == {"256": (256, 64), "512": (512, 128), "peaks": (0, 0)}
    assert sound.render(str(file)) == made


def test_a_file_that_the_wave_module_wrote_is_drawn(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as writing:
        writing.setparams((2, 2, 44100, 0, "NONE", ""))
        writing.writeframes(struct.pack("<hh", 1000, -2000) * 44100)
    made = sound.render(str(tmp_path / "a.wav"))
    assert made.measures["channels"] == 2
    assert json.loads(made.pieces[-1].data)["data"][:2] == [-2000, 1000]


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 10**6])
def test_a_length_that_was_never_filled_in_is_taken_from_the_file(tmp_path: Path, size: int) -> None:
    file = tmp_path / "a.wav"
    file.write_bytes(riff(1, 16, b"\0\x10" * 500, size=size))
    assert sound.render(str(file)).measures["frames"] == 500


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"RIFF", "no_decoder"), (b"ID3\x04" + b"\0" * 100, "no_decoder"), (riff(1, 16, b""), "silent"),
        (riff(1, 16, b"\0"), "silent"), (riff(2, 4, b"\0" * 50), "no_decoder"), (riff(7, 8, b"\0" * 50), "no_decoder"),
        (riff(1, 16, b"\0\0", channels=0), "damaged"), (riff(1, 16, b"\0\0", rate=0), "damaged"),
        (riff(1, 16, b"\0\0")[:24], "truncated"), (b"RIFF\0\0\0\0WAVEdata\4\0\0\0abcd", "damaged"),
    ],
)
def test_a_sound_that_cannot_be_drawn_has_a_reason(tmp_path: Path, data: bytes, reason: str) -> None:
    file = tmp_path / "a.wav"
    file.write_bytes(data)
    with pytest.raises(Unrenderable) as caught:
        sound.render(str(file))
    assert caught.value.reason == reason


def test_numbers_that_are_none_are_silence(tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    file.write_bytes(riff(3, 32, struct.pack("<4f", float("nan"), float("inf"), float("-inf"), 0.25)))
    assert json.loads(sound.render(str(file)).pieces[-1].data)["length"] == 4


# --- the process -------------------------------------------------------------------------------------------------


def test_the_process_renders_one_file_after_the_other_and_survives_bad_ones(tmp_path: Path) -> None:
    good = Path(saved(tmp_path, gradient(), "PNG"))
    bad = tmp_path / "bad.png"
    bad.write_bytes(good.read_bytes()[:200])

    async def scenario() -> None:
        renderer = Renderer()
        first = await renderer.render(good, "image/png")
        assert first == images.render(str(good))
        with pytest.raises(Unrenderable):
            await renderer.render(bad, "image/png")
        with pytest.raises(Unrenderable) as caught:
            await renderer.render(good, "video/mp4")
        assert caught.value.reason == "no_decoder"
        both = await asyncio.gather(renderer.render(good, "image/png"), renderer.render(good, "image/png"))
        assert list(both) == [first, first]
        await renderer.close()

    asyncio.run(scenario())


def test_a_file_that_takes_too_long_is_given_up_and_the_next_one_rendered(tmp_path: Path) -> None:
    good = Path(saved(tmp_path, gradient(), "PNG"))
    endless = tmp_path / "endless"
    os.mkfifo(endless)  # opening it waits for a writer that never comes

    async def scenario() -> None:
        renderer = Renderer(seconds=0.5)
        with pytest.raises(Unrenderable) as caught:
            await renderer.render(endless, "image/png")
        assert caught.value.reason == "too_slow"
        renderer._seconds = 30
        await renderer.render(good, "image/png")
        await renderer.close()

    asyncio.run(scenario())


def test_a_file_that_needs_too_much_memory_is_given_up(tmp_path: Path) -> None:
    big = Path(saved(tmp_path, Image.new("RGB", (8000, 8000)), "PNG"))

    async def scenario() -> None:
        renderer = Renderer(memory=300 * 2**20)
        with pytest.raises(Unrenderable) as caught:
            await renderer.render(big, "image/png")
        assert caught.value.reason in ("too_large", "damaged", "renderer_died")
        await renderer.close()

    asyncio.run(scenario())
