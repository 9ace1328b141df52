"""One run of LivePortrait: clean inputs, its own Python, its progress read, its result looked at."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from adapters.engines.attempts.child import Limits, Made, Telling, Unfit, run
from adapters.engines.attempts.folder import AttemptFolder
from adapters.engines.liveportrait.asking import Animate, arguments
from adapters.engines.liveportrait.installation import CAUTION, found
from adapters.engines.studio_local import ffmpeg, media
from adapters.engines.studio_local.version import ffmpeg_program

LIMITS: Final = Limits(memory=0, file_bytes=4 * 2**30)
"""Its own memory is its owner's affair: drivers of graphics cards map far more address space than they use."""

SAID: Final = 64 * 1024
"""Bytes of its last words that are looked at."""

REASONS: Final = (
    (r"no face (?:is )?(?:detected|found)|not detect(?:ed)? (?:any )?face", "FILE_REFUSED",
     "LivePortrait finds no face in the picture or in the video."),
    (r"out of memory|OutOfMemoryError", "ENGINE_ERROR",
     "The graphics card has too little memory for this: use a smaller picture or a shorter video."),
    (r"No CUDA GPUs|not compiled with CUDA|NVIDIA driver|Invalid device id|invalid device ordinal", "ENGINE_ERROR",
     "LivePortrait finds no graphics card that it can use; force_cpu works without one, slowly."),
    (r"FFmpeg is not installed", "DEPENDENCY_MISSING", "LivePortrait finds no ffmpeg."),
    (r"(?:FileNotFoundError|No such file)[^\n]*pretrained_weights", "DEPENDENCY_MISSING",
     "One of LivePortrait's weights is not downloaded."),
)


def work(folder: AttemptFolder, order: dict[str, Any], telling: Telling) -> Made:
    """Animates the source of an order."""
    installation = found(Path(sys.argv[1]) if sys.argv[1] else None, sys.argv[2] or None)
    if installation.wrong is not None or installation.path is None:
        assert installation.wrong is not None
        raise Unfit(installation.wrong.code, installation.wrong.message, **installation.wrong.detail)
    asked = Animate.model_validate(order["parameters"])
    telling(0.0, "preparing")
    source, driving = _cleaned(folder, order["inputs"])
    results = folder.work / "animations"
    command = [installation.python, "inference.py", "-s", str(source), "-d", str(driving), "-o", str(results),
               *arguments(asked, installation.options)]
    code, said = _ran(command, installation.path, _environment(folder.work), telling)
    if code != 0:
        raise _reason(said, code)
    made = _result(results)
    film = ffmpeg.looked(made, "video")
    made.rename(folder.products / "video.mp4")
    facts = {"engine": "provider_liveportrait", "model": "liveportrait", "python": installation.facts.get("python", ""),
             "width": film.width, "height": film.height, "seconds": film.seconds, "caution": CAUTION}
    return Made([("video.mp4", "video/mp4")], facts)


def _cleaned(folder: AttemptFolder, inputs: dict[str, Any]) -> tuple[Path, Path]:
    """The inputs decoded and written anew, so that no file of somebody else's reaches its decoders."""
    def video(name: str, out: str) -> Path:
        film = ffmpeg.looked(folder.inputs / inputs[name][0]["file"], "video")
        ffmpeg.made([*film.arguments, "-map", "0:v:0", "-map", "0:a:0?", "-vf", f"format=yuv420p,{ffmpeg.EVEN}",
                     *ffmpeg.PICTURE, *ffmpeg.SOUND, *ffmpeg.BITEXACT], folder.work / out, film.seconds,
                    lambda fraction: None, declared=film.seconds)
        return folder.work / out

    if "image" in inputs:
        image = media.opened(folder.inputs / inputs["image"][0]["file"]).convert("RGB")
        media.saved(image, folder.work, "source", "png")
        source = folder.work / "source.png"
    else:
        source = video("source_video", "source.mp4")
    return source, video("video", "driving.mp4")


def _environment(work: Path) -> dict[str, str]:
    """Its environment: ours is small already; it looks for a program that is called ``ffmpeg``."""
    tools = work / "bin"
    tools.mkdir(exist_ok=True)
    program = ffmpeg_program()
    path = os.environ.get("PATH", "")
    if program is not None and not (tools / "ffmpeg").exists():
        (tools / "ffmpeg").symlink_to(program)
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # ours is another Python's
    return {**own, "PATH": f"{path}{os.pathsep}{tools}" if path else str(tools), "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1", "FORCE_COLOR": "1", "COLUMNS": "80", "LINES": "24"}


def _ran(command: list[str], path: Path, environment: dict[str, str], telling: Telling) -> tuple[int, str]:
    child = subprocess.Popen(command, cwd=path, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT)
    assert child.stdout is not None
    said = b""
    while piece := os.read(child.stdout.fileno(), 4096):
        said = (said + piece)[-SAID:]
        shares = re.findall(rb"(\d{1,3})%", said[-400:])
        if shares:
            telling(0.1 + 0.85 * min(100, int(shares[-1])) / 100, "animating")
    return child.wait(), said.decode(errors="replace")


def _reason(said: str, code: int) -> Unfit:
    said = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said)
    missing = re.search(r"ModuleNotFoundError: No module named '([\w.]+)'", said)
    if missing:
        return Unfit("DEPENDENCY_MISSING", f"LivePortrait's Python lacks {missing[1]}.", missing=[missing[1]])
    for pattern, fault_code, message in REASONS:
        if re.search(pattern, said, re.IGNORECASE):
            return Unfit(fault_code, message)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    last = re.sub(r"(?:[A-Za-z]:)?[/\\][^\s'\":]+", "…", lines[-1])[:300] if lines else "it said nothing"
    return Unfit("ENGINE_ERROR", f"LivePortrait ended with an error: {last}", exit_code=code)


def _result(results: Path) -> Path:
    """The animation: older releases put the sound into a second file, all put a comparison beside it."""
    made = sorted(path for path in results.glob("*.mp4") if "_concat" not in path.name) if results.is_dir() else []
    with_sound = [path for path in made if "sound" in path.stem]
    for path in (*with_sound, *made):
        if path.is_file() and not path.is_symlink() and path.stat().st_size:
            return path
    raise Unfit("ENGINE_ERROR", "LivePortrait ended without an error, but made no video.")


if __name__ == "__main__":
    run(work, sys.argv[3], LIMITS)
