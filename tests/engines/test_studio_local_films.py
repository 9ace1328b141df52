"""What the built-in engine does to videos and with them: frames counted and looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engines.studio_work import colorful_frames, edge, ffmpeg, film, heard, made, png, read_back, refused, tone
from PIL import Image


def flickering(frames: int = 36) -> Any:
    """A still gradient whose brightness jumps."""
    ramp = np.tile(np.linspace(60, 160, 96)[None, :, None], (64, 1, 3))
    random = np.random.default_rng(3)
    return np.stack([np.clip(ramp + random.uniform(-30, 30), 0, 255) for _ in range(frames)])


@pytest.mark.parametrize(("move", "seconds", "fps"), [("zoom_in", 1.0, 24), ("pan_left", 0.5, 12), ("still", 0.4, 10)])
def test_a_camera_move_has_its_frames_and_its_size(tmp_path: Path, move: str, seconds: float, fps: int) -> None:
    content = made(tmp_path, "image_to_video", "camera", {"move": move, "seconds": seconds, "fps": fps},
                   image=png(edge(321, 199)))
    frames = read_back(tmp_path, content)
    assert frames.shape == (round(seconds * fps), 198, 320, 3)
    assert content[4:8] == b"ftyp"


def _step(frame: Any) -> float:
    """Where the edge stands, in parts of the width."""
    row = frame[frame.shape[0] // 2, :, 0]
    return float(np.abs(np.diff(row)).argmax() / len(row))


def test_moves_go_where_their_names_say(tmp_path: Path) -> None:
    def ends(move: str) -> tuple[Any, Any]:
        frames = read_back(tmp_path, made(tmp_path, "image_to_video", "camera", {
            "move": move, "seconds": 0.5, "amount": 0.3, "width": 320, "height": 180}, image=png(edge(640, 360))))
        return frames[0], frames[-1]

    first, last = ends("pan_right")  # the view goes right, so what is seen goes left
    assert _step(first) > _step(last) + 0.2
    first, last = ends("pan_left")
    assert _step(first) < _step(last) - 0.2
    off_center = Image.new("RGB", (640, 360), (20, 20, 20))
    off_center.paste((240, 240, 240), (560, 0, 640, 360))
    frames = read_back(tmp_path, made(tmp_path, "image_to_video", "camera", {
        "move": "zoom_in", "seconds": 0.5, "amount": 0.3, "width": 320, "height": 180}, image=png(off_center)))
    assert frames[0].mean() > frames[-1].mean() + 15  # the bright side leaves the view


def test_moves_are_smooth(tmp_path: Path) -> None:
    random = np.random.default_rng(1).integers(0, 255, (12, 20, 3), dtype=np.uint8)
    image = Image.fromarray(random).resize((640, 384), Image.Resampling.BICUBIC)
    frames = read_back(tmp_path, made(tmp_path, "image_to_video", "camera", {
        "move": "zoom_in", "seconds": 1.0, "easing": "linear", "width": 320, "height": 192}, image=png(image)))
    steps = np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3))
    assert steps.min() > 0.3
    assert steps.max() < steps.mean() * 1.8  # no trembling and no jump


def test_the_same_seed_makes_the_same_bytes(tmp_path: Path) -> None:
    def one(seed: int) -> bytes:
        return made(tmp_path, "image_to_video", "camera", {"seconds": 0.5, "seed": seed}, image=png(edge(128, 96)))

    assert one(5) == one(5)
    assert one(5) != one(6)
    video = film(tmp_path, colorful_frames(6))
    grain = [made(tmp_path, "edit_video", "film_grain", {"amount": 0.5, "seed": seed}, video=video)
             for seed in (1, 1, 2)]
    assert grain[0] == grain[1]
    assert grain[0] != grain[2]


def test_flicker_falls(tmp_path: Path) -> None:
    before = flickering()
    after = read_back(tmp_path, made(tmp_path, "edit_video", "deflicker", {}, video=film(tmp_path, before)))
    assert after.shape == before.shape
    assert np.diff(after.mean(axis=(1, 2, 3))).std() < np.diff(before.mean(axis=(1, 2, 3))).std() * 0.5
    assert after[0, :, -1].mean() - after[0, :, 0].mean() > 70  # the picture itself stays


@pytest.mark.parametrize("frames", [1, 2, 4])
def test_very_short_videos_are_deflickered_too(tmp_path: Path, frames: int) -> None:
    content = made(tmp_path, "edit_video", "deflicker", {"strength": 1.0}, video=film(tmp_path, flickering(frames)))
    assert len(read_back(tmp_path, content)) == frames


def test_a_video_becomes_larger_frame_by_frame(tmp_path: Path) -> None:
    video = film(tmp_path, colorful_frames(9))
    content = made(tmp_path, "upscale_video", "lanczos", {"scale": 2, "denoise": 0.2, "deflicker": 0.3}, video=video)
    assert read_back(tmp_path, content).shape == (9, 128, 192, 3)


def test_noise_of_a_video_falls_and_grain_comes(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    noisy = np.clip(128 + random.normal(0, 16, (8, 64, 96, 3)), 0, 255)
    video = film(tmp_path, noisy)
    plain = read_back(tmp_path, video)
    clean = read_back(tmp_path, made(tmp_path, "edit_video", "denoise", {"strength": 0.8}, video=video))
    assert clean.std() < plain.std() * 0.6
    flat = film(tmp_path, np.full((8, 64, 96, 3), 128))
    grained = read_back(tmp_path, made(tmp_path, "edit_video", "film_grain", {"amount": 0.6}, video=flat))
    assert grained.std() > read_back(tmp_path, flat).std() + 3
    assert np.abs(grained[0] - grained[1]).mean() > 2  # it moves


def test_a_look_is_the_same_for_pictures_and_videos(tmp_path: Path) -> None:
    frame = colorful_frames(1)[0]
    video = film(tmp_path, np.stack([frame] * 4))
    graded = read_back(tmp_path, made(tmp_path, "edit_video", "color_grade", {"look": "noir"}, video=video))
    assert np.abs(graded[..., 0] - graded[..., 2]).mean() < 3
    assert len(graded) == 4
    from engines.studio_work import pixels

    source = Image.fromarray(read_back(tmp_path, video)[0].astype(np.uint8))
    still = pixels(made(tmp_path, "edit_image", "color_grade", {"look": "noir"}, image=png(source)))
    assert np.abs(graded[0] - still).mean() < 6


def test_everything_at_once(tmp_path: Path) -> None:
    video = film(tmp_path, colorful_frames(8))
    content = made(tmp_path, "edit_video", "finish", {"look": "cinematic", "denoise": 0.3, "deflicker": 0.5,
                                                      "vignette": 0.6, "grain": 0.3, "tone": "filmic"}, video=video)
    frames = read_back(tmp_path, content)
    assert frames.shape == (8, 64, 96, 3)
    before = read_back(tmp_path, video)
    assert frames[:, :8, :8].mean() / before[:, :8, :8].mean() < frames[:, 28:36, 44:52].mean() / before[
        :, 28:36, 44:52].mean()


@pytest.mark.parametrize(("until", "seconds"), [("video", 1.0), ("audio", 1.5), ("shortest", 1.0)])
def test_a_sound_is_joined_to_a_video(tmp_path: Path, until: str, seconds: float) -> None:
    video = film(tmp_path, colorful_frames(12))
    content = made(tmp_path, "compose_video", "join_audio", {"until": until}, video=video, audio=tone(1.5))
    assert len(read_back(tmp_path, content)) == round(seconds * 12)
    sound = heard(tmp_path, content)
    assert abs(len(sound) / 8000 - seconds) < 0.15
    assert sound.std() > 1000


def test_a_short_sound_is_followed_by_silence_and_the_old_one_may_stay(tmp_path: Path) -> None:
    video = film(tmp_path, colorful_frames(24))
    content = made(tmp_path, "compose_video", "join_audio", {}, video=video, audio=tone(0.5))
    sound = heard(tmp_path, content)
    assert sound[:3500].std() > 1000
    assert sound[8000:].std() < 50
    loud = made(tmp_path, "compose_video", "join_audio", {"keep_original": True, "until": "video"},
                video=content, audio=tone(2.0))
    assert heard(tmp_path, loud)[:3500].std() > sound[:3500].std() * 1.5


def test_a_still_lasts_as_long_as_its_sound(tmp_path: Path) -> None:
    content = made(tmp_path, "compose_video", "still_audio", {"fps": 10}, image=png(edge()), audio=tone(1.2))
    frames = read_back(tmp_path, content)
    assert len(frames) in (12, 13)
    assert np.abs(np.diff(frames, axis=0)).mean() < 1.5
    assert heard(tmp_path, content).std() > 1000


def test_clips_follow_each_other_whatever_their_size_and_sound(tmp_path: Path) -> None:
    red = film(tmp_path, np.tile(np.array([200, 20, 20]), (12, 64, 96, 1)))
    blue = film(tmp_path, np.tile(np.array([20, 20, 200]), (12, 96, 48, 1)))
    loud = made(tmp_path, "compose_video", "join_audio", {}, video=blue, audio=tone(1.0))
    content = made(tmp_path, "compose_video", "concat", {"fps": 12}, videos=[red, loud])
    frames = read_back(tmp_path, content)
    assert frames.shape == (24, 64, 96, 3)
    assert frames[3, 32, 48, 0] > 150
    assert frames[20, 32, 48, 2] > 150
    assert frames[20, 32, 4].max() < 40  # bars beside a picture of another shape
    sound = heard(tmp_path, content)
    assert sound[:6000].std() < 50 < sound[9000:15000].std()
    faded = read_back(tmp_path, made(tmp_path, "compose_video", "concat", {"fps": 12, "fade": 0.5}, videos=[red, blue]))
    assert len(faded) == 18
    assert 40 < faded[9, 32, 48, 0] < 190
    assert 40 < faded[9, 32, 48, 2] < 190


@pytest.mark.parametrize(("codec", "suffix", "type_"), [
    (("-c:v", "libvpx-vp9", "-b:v", "200k"), "webm", "video/webm"), (("-c:v", "ffv1"), "mkv", "video/matroska"),
    (("-c:v", "mjpeg", "-strict", "-1"), "avi", "video/vnd.avi"), (("-c:v", "mpeg4"), "mov", "video/quicktime"),
])
def test_usual_containers_are_read(tmp_path: Path, codec: tuple[str, ...], suffix: str, type_: str) -> None:
    video = film(tmp_path, colorful_frames(6), codec=codec, suffix=suffix)
    content = made(tmp_path, "edit_video", "denoise", {}, video=video, types={"video": type_})
    assert len(read_back(tmp_path, content)) == 6


def test_a_video_without_a_length_is_read_to_its_end(tmp_path: Path) -> None:
    place = tmp_path / "recorded.webm"
    place.write_bytes(film(tmp_path, colorful_frames(12), codec=("-c:v", "libvpx-vp9"), suffix="webm"))
    streamed = ffmpeg("-i", str(place), "-c", "copy", "-f", "webm", "pipe:1")
    content = made(tmp_path, "edit_video", "color_grade", {}, video=streamed, types={"video": "video/webm"})
    assert len(read_back(tmp_path, content)) == 12


def test_a_scale_that_is_too_large_is_told(tmp_path: Path) -> None:
    video = film(tmp_path, np.full((2, 1536, 2048, 3), 90), codec=("-c:v", "libx264", "-preset", "ultrafast"))
    fault = refused(tmp_path, "upscale_video", "lanczos", {"scale": 4}, video=video)
    assert fault.code == "INVALID_FIELD_VALUE"
    assert fault.detail["field"] == "scale"
