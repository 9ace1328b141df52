"""What the built-in engine does to pictures, seen in their pixels."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from engines.studio_work import edge, made, pixels, png, worked
from PIL import Image, ImageOps

from adapters.engines.studio_local import coloring

FLAT = Image.new("RGB", (160, 120), (128, 128, 128))


def colorful() -> Image.Image:
    """Every hue from left to right, dark to light from above."""
    hue = np.tile(np.linspace(0, 255, 180), (120, 1))
    value = np.tile(np.linspace(40, 255, 120)[:, None], (1, 180))
    return Image.merge("HSV", [Image.fromarray(p.astype(np.uint8)) for p in (hue, np.full_like(hue, 180), value)]
                       ).convert("RGB")


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_picture_becomes_so_many_times_as_large(tmp_path: Path, scale: int) -> None:
    big = pixels(made(tmp_path, "upscale_image", "lanczos", {"scale": scale}, image=png(edge(90, 50))))
    assert big.shape == (50 * scale, 90 * scale, 3)


def test_upscaling_is_sharper_than_plain_and_has_no_halos(tmp_path: Path) -> None:
    image = edge(120, 40)
    plain = pixels(made(tmp_path, "upscale_image", "lanczos", {"sharpen": 0.0}, image=png(image)))
    sharp = pixels(made(tmp_path, "upscale_image", "lanczos", {"sharpen": 1.0}, image=png(image)))
    assert np.abs(np.diff(sharp[40, :, 0])).max() > np.abs(np.diff(plain[40, :, 0])).max()
    assert sharp.min() >= plain.min() - 4
    assert sharp.max() <= plain.max() + 4


@pytest.mark.parametrize("method", ["guided", "nlmeans"])
def test_noise_falls_and_the_edge_stays(tmp_path: Path, method: str) -> None:
    noisy = edge(noise=14)
    clean = pixels(made(tmp_path, "edit_image", "denoise", {"strength": 0.7, "method": method}, image=png(noisy)))
    before = np.asarray(noisy).astype(float)
    for part in (np.s_[20:140, 10:90], np.s_[20:140, 110:190]):
        assert clean[part].std() < before[part].std() * 0.6
    assert clean[:, 105:].mean() - clean[:, :95].mean() > 100
    across = clean[20:140].mean(axis=(0, 2))
    assert across[102] - across[97] > 70  # the step is still one


def test_grain_varies_by_seed_and_keeps_the_mean(tmp_path: Path) -> None:
    flat = png(FLAT)
    one, same, other = [pixels(made(tmp_path, "edit_image", "film_grain", {"amount": 0.5, "seed": seed}, image=flat))
                        for seed in (1, 1, 2)]
    assert 4 < one.std() < 40
    assert abs(one.mean() - 128) < 2
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert np.array_equal(one[..., 0], one[..., 1])  # grey grain
    black = pixels(made(tmp_path, "edit_image", "film_grain", {"amount": 0.5, "colored": True},
                        image=png(Image.new("RGB", (160, 120), (60, 60, 60)))))
    assert not np.array_equal(black[..., 0], black[..., 1])


@pytest.mark.parametrize(("look", "holds"), [
    ("warm", lambda a, b: (b[..., 0] - b[..., 2]).mean() > (a[..., 0] - a[..., 2]).mean() + 10),
    ("cool", lambda a, b: (b[..., 2] - b[..., 0]).mean() > (a[..., 2] - a[..., 0]).mean() + 10),
    ("noir", lambda a, b: np.abs(b[..., 0] - b[..., 2]).max() <= 2),
    ("pastel", lambda a, b: b.min() > a.min() + 20 and np.ptp(b, axis=2).mean() < np.ptp(a, axis=2).mean()),
    ("vivid", lambda a, b: np.ptp(b, axis=2).mean() > np.ptp(a, axis=2).mean() + 5),
    ("sepia", lambda a, b: (b[..., 0] >= b[..., 2]).all()),
    ("night", lambda a, b: b.mean() < a.mean() - 20),
])
def test_looks_go_where_their_names_say(tmp_path: Path, look: str, holds: object) -> None:
    image = colorful()
    graded = pixels(made(tmp_path, "edit_image", "color_grade", {"look": look}, image=png(image)))
    assert holds(np.asarray(image).astype(float), graded)  # type: ignore[operator]


def test_half_a_look_lies_between(tmp_path: Path) -> None:
    image = colorful()
    none, half, full = [pixels(made(tmp_path, "edit_image", "color_grade", {"look": "warm", "strength": strength},
                                    image=png(image))) for strength in (0.0, 0.5, 1.0)]
    assert np.abs(none - np.asarray(image)).max() <= 1
    assert np.abs(half - none).mean() == pytest.approx(np.abs(full - none).mean() / 2, rel=0.15)


@pytest.mark.parametrize("look", coloring.LOOKS)
def test_every_table_is_a_table(look: str) -> None:
    table = coloring.table(look)
    assert table.shape == (33, 33, 33, 3)
    assert np.isfinite(table).all()
    assert 0 <= table.min() <= table.max() <= 1
    gray = table[np.arange(33), np.arange(33), np.arange(33)] @ coloring.LUMA
    assert (np.diff(gray) >= -1e-6).all()  # lighter stays lighter


@pytest.mark.parametrize("curve", ["reinhard", "filmic"])
def test_tone_curves_bring_lights_back_and_keep_black(tmp_path: Path, curve: str) -> None:
    ramp = Image.fromarray(np.tile(np.linspace(0, 255, 256).astype(np.uint8)[None, :, None], (32, 1, 3)))
    bright = pixels(made(tmp_path, "edit_image", "color_grade", {"look": "none", "exposure": 1.5}, image=png(ramp)))
    mapped = pixels(made(tmp_path, "edit_image", "tone_map", {"tone": curve, "exposure": 1.5}, image=png(ramp)))
    assert (bright >= 254).mean() > 0.3  # burnt out without a curve
    assert (mapped >= 254).mean() < 0.1
    assert mapped[:, 0].max() <= 2
    assert (np.diff(mapped[0, :, 0]) >= -1).all()


def test_finishing_does_all_of_it_in_one_step(tmp_path: Path) -> None:
    made_ = pixels(made(tmp_path, "edit_image", "finish",
                        {"look": "noir", "vignette": 0.8, "grain": 0.3, "bars": 2.39}, image=png(colorful())))
    assert made_[:10].max() == 0
    assert made_[-10:].max() == 0
    assert np.abs(made_[..., 0] - made_[..., 2]).max() <= 2
    flat = pixels(made(tmp_path, "edit_image", "finish", {"vignette": 1.0}, image=png(FLAT)))
    assert flat[60, 80].mean() > flat[2, 2].mean() + 30


def test_transparency_and_orientation_survive(tmp_path: Path) -> None:
    image = Image.new("RGBA", (60, 40), (200, 40, 40, 0))
    image.paste((200, 40, 40, 255), (0, 0, 30, 40))
    content = made(tmp_path, "upscale_image", "lanczos", {}, image=png(image))
    with Image.open(io.BytesIO(content)) as big:
        assert big.mode == "RGBA"
        assert big.getpixel((10, 40)) == (200, 40, 40, 255)
        assert big.getpixel((110, 40))[3] == 0
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    edge(80, 40).save(out, "JPEG", exif=exif)
    jpeg = {"image": "image/jpeg"}
    turned = pixels(made(tmp_path, "edit_image", "color_grade", {}, image=out.getvalue(), types=jpeg))
    assert turned.shape == (80, 40, 3)


def test_results_carry_nothing_of_the_source(tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    told = PngInfo()
    told.add_text("prompt", "a secret graph")
    out = io.BytesIO()
    edge().save(out, "PNG", pnginfo=told, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0")
    for format_ in ("png", "jpeg", "webp"):
        content = made(tmp_path, "edit_image", "color_grade", {"format": format_}, image=out.getvalue())
        assert b"secret" not in content
        with Image.open(io.BytesIO(content)) as image:
            assert image.format == format_.upper()
            assert not {"exif", "prompt", "icc_profile"} & set(image.info)


@pytest.mark.parametrize("prompt", ["", "A library at night", "x" * 4000, "森の家", "\ud800?", "line\nbreak\t\x07"])
def test_placeholders_are_made_of_any_prompt(tmp_path: Path, prompt: str) -> None:
    parameters = {"prompt": prompt.encode("utf-8", "replace").decode(), "width": 320, "height": 200, "seed": 4}
    picture = pixels(made(tmp_path, "text_to_image", "placeholder", parameters))
    assert picture.shape == (200, 320, 3)
    assert picture[:100].std() > 8  # something is to be seen
    assert picture[130:].max() > 200  # something is written


def test_placeholders_follow_seed_prompt_and_label(tmp_path: Path) -> None:
    def one(**parameters: object) -> bytes:
        return made(tmp_path, "text_to_image", "placeholder", {"width": 256, "height": 256, "prompt": "hill", "seed": 1,
                                                               **parameters})

    first = one()
    assert first == one()
    assert len({first, one(seed=2), one(prompt="sea"), one(label="draft"), one(motif="figure")}) == 5
    # A label comes beside the word, never in its place: both pictures differ in the band alone.
    difference = np.abs(pixels(first) - pixels(one(label="draft")))
    assert difference[:150].max() == 0
    assert difference[150:].max() > 50


def test_a_placeholder_says_so_in_its_facts(tmp_path: Path) -> None:
    outcome, _ = worked(tmp_path, "text_to_image", "placeholder", {"prompt": "x", "seed": 9, "steps": 30, "cfg": 7})
    assert outcome.facts["placeholder"] is True
    assert outcome.facts["seed"] == 9
    assert outcome.facts["unused_parameters"] == ["cfg", "steps"]
    assert outcome.facts["versions"]["pillow"]


def test_a_storyboard_is_a_grid_of_whole_pictures(tmp_path: Path) -> None:
    colors = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (200, 200, 0), (0, 200, 200)]
    shots = [png(Image.new("RGB", (160, 90 if place % 2 else 120), color)) for place, color in enumerate(colors)]
    parameters = {"columns": 3, "width": 960, "captions": ["one", "", "three: " + "long " * 60], "title": "Act I",
                  "numbered": False, "background": "#102030"}
    outcome, content = worked(tmp_path, "compose_images", "storyboard", parameters, images=shots)
    board = pixels(content)
    panels = outcome.facts["panels"]
    assert board.shape[1] == 960
    assert len(panels) == 5
    assert len({(right - left, bottom - top) for left, top, right, bottom in panels}) == 1
    assert [panel[1] for panel in panels[:3]] == [panels[0][1]] * 3
    assert panels[3][1] > panels[0][3]
    assert panels[3][0] == panels[0][0]
    for color, (left, top, right, bottom) in zip(colors, panels, strict=True):
        assert board[(top + bottom) // 2, (left + right) // 2].tolist() == list(color)
        assert right <= 960
        assert bottom <= board.shape[0]
    left, top, right, bottom = panels[0]
    below = board[bottom + 1 : panels[3][1] - 1, left:right]
    assert np.abs(below - [16, 32, 48]).max() > 100  # a caption
    assert np.abs(board[bottom + 1 : panels[3][1] - 1, panels[1][0] : panels[1][2]] - [16, 32, 48]).max() == 0  # none


@pytest.mark.parametrize("count", [1, 2, 7, 24])
def test_storyboards_choose_their_columns(tmp_path: Path, count: int) -> None:
    shots = [png(ImageOps.expand(Image.new("RGB", (64, 36), (place * 10, 99, 99)), 1)) for place in range(count)]
    outcome, content = worked(tmp_path, "compose_images", "storyboard", {"width": 640}, images=shots)
    assert len(outcome.facts["panels"]) == count
    board = pixels(content)
    assert 0.3 < board.shape[1] / board.shape[0] < 4
