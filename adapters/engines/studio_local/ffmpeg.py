"""Running ffmpeg: local files and pipes only, a known container, one result of bounded size, and how far it is."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from adapters.engines.attempts.child import Unfit
from adapters.engines.studio_local.media import demuxer
from adapters.engines.studio_local.version import ffmpeg_program

SECONDS: Final = 600.0
"""Longest video or sound that is worked on."""

PIXELS: Final = 4096 * 2304
"""Most pixels of a frame that is read."""

MADE_PIXELS: Final = 4096 * 4096
"""Most pixels of a frame that is made."""

BYTES: Final = 2 * 2**30
"""Largest result."""

Told = Callable[[float], None]


class Film(NamedTuple):
    """What a video or a sound says of itself. ``seconds`` is 0 where it does not tell."""

    path: Path
    demuxer: str
    width: int
    height: int
    fps: float
    seconds: float
    video_codec: str
    audio_codec: str
    pixel_format: str

    @property
    def arguments(self) -> list[str]:
        """How ffmpeg is told to read it."""
        return self.reading(PIXELS)

    def reading(self, pixels: int) -> list[str]:
        """The same with another bound of what a frame may have."""
        return ["-protocol_whitelist", "file,pipe", "-max_pixels", str(pixels), "-f", self.demuxer,
                "-i", f"file:{self.path}"]


def looked(path: Path, kind: str) -> Film:
    """What a file holds, found out without decoding it. Raises ``Unfit`` when it is not of this kind."""
    family, name = demuxer(path)
    if kind == "video" and family == "audio" and name not in ("ogg", "mov"):
        raise Unfit("FILE_REFUSED", f"The file is a sound ({name}), not a video.")
    film = Film(path, name, 0, 0, 0.0, 0.0, "", "", "")
    # A wider bound than for the work, so that too large is told as such and not as damaged.
    ran = subprocess.run([_program(), "-hide_banner", "-nostdin", *film.reading(8 * PIXELS)], capture_output=True,
                         timeout=60, check=False)
    film = _read(film, ran.stderr[-65536:].decode(errors="replace"))
    if kind == "video":
        if not film.video_codec or not film.width:
            raise Unfit("FILE_REFUSED", "No picture in this video can be read: it is damaged or cut off.")
        if film.width * film.height > PIXELS:
            raise Unfit("FILE_REFUSED", f"The video has {film.width} × {film.height} pixels; at most {PIXELS:,} in all "
                                        "are worked on.", width=film.width, height=film.height)
    elif not film.audio_codec:
        raise Unfit("FILE_REFUSED", "There is no sound in this file that can be read.")
    if film.seconds > SECONDS:
        raise Unfit("FILE_REFUSED", f"It is {film.seconds:.0f} seconds long; at most {SECONDS:.0f} are worked on.",
                    seconds=round(film.seconds))
    return film


def _read(film: Film, said: str) -> Film:
    said_of = said.partition("Input #0")[2]
    length = re.search(r"Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?)", said_of)
    seconds = int(length[1]) * 3600 + int(length[2]) * 60 + float(length[3]) if length else 0.0
    video = re.search(r"Stream #0.*?: Video: (\w+)[^\n]*?, [^\n]*?\b(\d{2,6})x(\d{2,6})\b[^\n]*", said_of)
    audio = re.search(r"Stream #0.*?: Audio: (\w+)", said_of)
    rate = re.search(r"([\d.]+) (?:fps|tbr)", video[0]) if video else None
    pixels = re.search(r"\byuvj?4\d\dp\w*|\bgray\w*|\brgb\w*", video[0]) if video else None
    return film._replace(
        seconds=seconds, video_codec=video[1] if video else "", width=int(video[2]) if video else 0,
        height=int(video[3]) if video else 0, fps=float(rate[1]) if rate else 0.0,
        audio_codec=audio[1] if audio else "",
        pixel_format=pixels[0] if pixels else "",
    )


def measured(film: Film, kind: str, told: Told = lambda fraction: None) -> float:
    """Seconds that can really be decoded. Raises ``Unfit`` when that is nothing, or far less than the file says."""
    stream = "0:v:0" if kind == "video" else "0:a:0"
    seconds = _ran([*film.arguments, "-t", str(SECONDS), "-map", stream, "-f", "null", "-"], film.seconds, told)
    _whole(seconds, film.seconds)
    return seconds


def made(arguments: Sequence[str], out: Path, seconds: float, told: Told, *, declared: float = 0.0,
         folder: Path | None = None) -> float:
    """Runs ffmpeg with inputs and filters given, writing ``out``; returns the seconds made."""
    bounds = ["-t", f"{min(seconds or SECONDS, SECONDS):.6f}", "-fs", str(BYTES)]
    written = _ran([*arguments, *bounds, "-y", f"file:{out}"], seconds, told, folder)
    _whole(written, declared)
    if not out.is_file() or out.stat().st_size == 0 or written <= 0:
        raise Unfit("FILE_REFUSED", "Nothing could be made of this file: no frame of it can be decoded.")
    if out.stat().st_size >= BYTES * 0.99:
        raise Unfit("FILE_REFUSED", f"The result would be larger than {BYTES // 2**20} MB.")
    return written


def filmed(frames: Iterable[bytes], size: tuple[int, int], fps: int, out: Path, *, sound: Film | None = None,
           volume: float = 1.0) -> None:
    """Raw RGB frames as a video, with a sound where one is given."""
    arguments = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{size[0]}x{size[1]}", "-r", str(fps), "-i", "pipe:0"]
    arguments += [*sound.arguments, "-map", "0:v", "-map", "1:a:0", "-af", f"volume={volume},apad", "-shortest",
                  *SOUND] if sound else ["-map", "0:v"]
    arguments += ["-vf", f"scale=out_color_matrix=bt709:out_range=tv,{EVEN},format=yuv420p", *BT709, *PICTURE]
    child = subprocess.Popen([*_start(), "-loglevel", "fatal", *arguments, *BITEXACT, "-fs", str(BYTES), "-y",
                              f"file:{out}"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert child.stdin is not None
    try:
        for frame in frames:
            child.stdin.write(frame)
        child.stdin.close()
    except BrokenPipeError:
        pass
    if child.wait() != 0 or not out.is_file():
        raise Unfit("ENGINE_ERROR", "The video could not be encoded.", exit_code=child.returncode)


def filtered(raw: bytes, size: tuple[int, int], filters: str) -> bytes:
    """One raw RGB picture through ffmpeg's filters."""
    ran = subprocess.run(
        [*_start(), "-loglevel", "fatal", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{size[0]}x{size[1]}",
         "-i", "pipe:0", "-vf", f"{filters},format=rgb24", "-frames:v", "1", "-f", "rawvideo", "pipe:1"],
        input=raw, stdout=subprocess.PIPE, check=False,
    )
    if len(ran.stdout) != len(raw):
        raise Unfit("ENGINE_ERROR", "The picture could not be filtered.", exit_code=ran.returncode)
    return ran.stdout


EVEN: Final = "crop=trunc(iw/2)*2:trunc(ih/2)*2:0:0"
"""H.264 with colour in half resolution has no odd sides."""

PICTURE: Final = ("-c:v", "libx264", "-preset", "fast", "-crf", "17", "-pix_fmt", "yuv420p", "-threads", "2",
                  "-movflags", "+faststart")
SOUND: Final = ("-c:a", "aac", "-b:a", "192k")
BT709: Final = ("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709")
BITEXACT: Final = ("-map_metadata", "-1", "-map_chapters", "-1", "-fflags", "+bitexact", "-flags:v", "+bitexact",
                   "-flags:a", "+bitexact")


def _program() -> str:
    program = ffmpeg_program()
    if program is None:
        raise Unfit("DEPENDENCY_MISSING", "Videos need ffmpeg, from the package imageio-ffmpeg.",
                    missing=["imageio-ffmpeg"])
    return program


def _start() -> list[str]:
    return [_program(), "-hide_banner", "-nostdin", "-filter_threads", "1", "-filter_complex_threads", "1"]


def _ran(arguments: Sequence[str], seconds: float, told: Told, folder: Path | None = None) -> float:
    """Runs ffmpeg and returns how many seconds it has written."""
    child = subprocess.Popen([*_start(), "-loglevel", "fatal", "-nostats", "-progress", "pipe:1", *arguments],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=folder)
    assert child.stdout is not None
    written = 0.0
    for line in child.stdout:
        name, _, value = line.strip().partition(b"=")
        if name == b"out_time_us" and value.lstrip(b"-").isdigit():
            written = max(written, int(value) / 1_000_000)
            told(min(1.0, written / seconds) if seconds else 0.0)
    if child.wait() != 0 and written <= 0:
        raise Unfit("FILE_REFUSED", "The file cannot be decoded: it is damaged or cut off.", exit_code=child.returncode)
    return written


def _whole(written: float, declared: float) -> None:
    if declared and written < min(declared, SECONDS) * 0.85 - 0.5:
        raise Unfit("FILE_REFUSED", f"The file ends too early: {written:.1f} of {declared:.1f} seconds can be read.")


def number(value: Any) -> str:
    """A number as filters read it."""
    return f"{float(value):.5f}".rstrip("0").rstrip(".")
