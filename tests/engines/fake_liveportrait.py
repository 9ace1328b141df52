"""A stand-in for an installation of LivePortrait: its files, its command line, its words, and a real video at the end.

``installed(folder)`` writes one. What its ``inference.py`` does is told by files in the folder: ``hold`` makes it stay
at 40 %, ``says`` makes it fail with these words, ``silent`` makes no video; ``asked`` lists the command lines it got.
"""

from __future__ import annotations

import sys
from pathlib import Path

OLD = ("source_image", "driving_info", "output_dir", "device_id", "flag_stitching", "flag_relative", "flag_pasteback",
       "flag_add_sound")
NEW = ("source", "driving", "output_dir", "flag_force_cpu", "device_id", "flag_crop_driving_video", "flag_stitching",
       "flag_relative_motion", "flag_pasteback", "animation_region", "driving_multiplier")

INFERENCE = '''
import argparse, os, pathlib, subprocess, sys, time
here = pathlib.Path(__file__).parent
with open(here / "asked", "a") as file:
    print(*sys.argv[1:], file=file)
parser = argparse.ArgumentParser()
for short, names in (("-s", ("--source", "--source_image")), ("-d", ("--driving", "--driving_info")),
                     ("-o", ("--output_dir",))):
    parser.add_argument(short, *names)
for name in OPTIONS:
    if name.startswith("flag_"):
        parser.add_argument("--" + name, "--" + name.replace("_", "-"), action=argparse.BooleanOptionalAction)
    elif name not in ("source", "driving", "source_image", "driving_info", "output_dir"):
        parser.add_argument("--" + name)
args = parser.parse_args()
source, driving, out = args.source, args.driving, pathlib.Path(args.output_dir)
try:
    subprocess.run(["ffmpeg", "-version"], capture_output=True, check=True)
except Exception:
    raise ImportError("FFmpeg is not installed. Please install FFmpeg before running this script.")
for path in (source, driving):
    if not os.path.exists(path):
        raise FileNotFoundError("source or driving not found: " + path)
print("Load source image from", source, flush=True)
if (here / "says").exists():
    print((here / "says").read_text(), file=sys.stderr)
    sys.exit(1)
for share in range(0, 101, 20):
    print(f"\\x1b[2K\\rAnimating... \\x1b[38m---\\x1b[0m {share:3d}% 0:00:01", end="", flush=True)
    while share == 40 and (here / "hold").exists():
        time.sleep(0.02)
out.mkdir(parents=True, exist_ok=True)
name = f"{pathlib.Path(source).stem}--{pathlib.Path(driving).stem}"
if not (here / "silent").exists():
    for suffix, width in (("", 64), ("_concat", 192)):
        subprocess.run(["ffmpeg", "-loglevel", "error", "-i", driving, "-vf", f"scale={width}:64", "-an", "-y",
                        str(out / f"{name}{suffix}.mp4")], check=True)
'''

DECLARATION = '''
from dataclasses import dataclass
@dataclass(repr=False)
class ArgumentConfig(PrintableConfig):
'''


def installed(folder: Path, options: tuple[str, ...] = NEW) -> Path:
    """Writes an installation that this Python can run; the packages that it asks for are empty ones beside it."""
    (folder / "src" / "config").mkdir(parents=True)
    weights = folder / "pretrained_weights" / "liveportrait" / "base_models"
    weights.mkdir(parents=True)
    (weights / "warping_module.pth").write_bytes(b"weights")
    (folder / "inference.py").write_text(f"OPTIONS = {options!r}\n{INFERENCE}")
    fields = "".join(f"    {name}: str = ''\n" for name in options)
    (folder / "src" / "config" / "argument_config.py").write_text(DECLARATION + fields)
    for package in ("torch", "tyro", "cv2"):
        (folder / f"{package}.py").write_text("")
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return folder
