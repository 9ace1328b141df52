"""Small files in one step: what a process leaves that dies while it writes one is taken away, and nothing else is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from adapters.files.replacing import LEFTOVER_SECONDS, place_first, replace

DYING = """
import os, signal, sys
from pathlib import Path
os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
from adapters.files.replacing import replace
replace(Path(sys.argv[1]), b"never")
"""


def died_over(place: Path) -> Path:
    """What a process leaves that is killed just before its file would have been there."""
    before = {*place.parent.iterdir()}
    done = subprocess.run([sys.executable, "-c", DYING, str(place)], env={**os.environ, "PYTHONPATH": "."}, check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = {*place.parent.iterdir()} - before
    return left


def test_what_a_death_left_goes_with_the_next_writing(tmp_path: Path) -> None:
    place = tmp_path / "server.json"
    for write in (replace, place_first):
        left = died_over(place)
        write(place, b"now")
        assert left.exists(), "somebody may be about to put it in its place"
        long_ago = time.time() - LEFTOVER_SECONDS - 60
        os.utime(left, (long_ago, long_ago))
        write(place, b"now")
        assert [one.name for one in tmp_path.iterdir()] == ["server.json"]


def test_files_of_others_stay(tmp_path: Path) -> None:
    place = tmp_path / "tokens.json"
    names = ("tokens.json.original", "tokens.json.lock", ".tokens.json.mine", "x.coming-y")
    others = [tmp_path / name for name in names]
    for one in others:
        one.write_bytes(b"theirs")
        os.utime(one, (0, 0))
    replace(place, b"now")
    assert sorted(tmp_path.iterdir()) == sorted([*others, place])
