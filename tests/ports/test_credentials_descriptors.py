"""c2pa's native part reads and writes files by their descriptors, and Python is not asked for their pieces."""

from __future__ import annotations

import ctypes
import hashlib
import io
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adapters.c2pa.credentials import OwnCredentials
from adapters.c2pa.descriptors import hand_over
from adapters.c2pa.keys import KeyFolder
from domain.ports.credentials import Action, Claim, Unsignable
from domain.studio.source_types import address

c2pa = pytest.importorskip("c2pa")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere files go the long way")


class Counting(io.FileIO):
    """A file that counts how often Python is asked for it."""

    asked = 0

    def readinto(self, buffer: Any, /) -> int:
        self.asked += 1
        return super().readinto(buffer)  # type: ignore[return-value]

    def write(self, data: Any, /) -> int:
        self.asked += 1
        return super().write(data)  # type: ignore[return-value]

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self.asked += 1
        return super().seek(offset, whence)


def noise(place: Path) -> Claim:
    """A picture that does not get small, and what is claimed of it."""
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (400, 400, 3), dtype=np.uint8)).save(place, "PNG")
    content = place.read_bytes()
    return Claim(place.name, "image/png", hashlib.sha256(content).hexdigest(), len(content),
                 [Action("c2pa.created", address("trainedAlgorithmicMedia"))])


@LINUX
def test_a_file_is_read_without_asking_python_and_says_the_same(tmp_path: Path) -> None:
    ours = OwnCredentials(KeyFolder(tmp_path / "keys"))
    ours.sign(str(tmp_path / "plain.png"), str(tmp_path / "signed.png"), noise(tmp_path / "plain.png"))
    assert hand_over(c2pa.c2pa)
    told = []
    with Counting(tmp_path / "signed.png") as quick, open(tmp_path / "signed.png", "rb") as slow:
        for file in (quick, slow):
            with c2pa.Reader.try_create("image/png", file) as reader:
                told.append(reader.json())
        assert quick.asked == 0
    assert told[0] == told[1]
    assert slow.closed


@LINUX
def test_a_file_that_cannot_be_written_is_not_signed(tmp_path: Path) -> None:
    ours = OwnCredentials(KeyFolder(tmp_path / "keys"))
    claim = noise(tmp_path / "plain.png")
    ours.sign(str(tmp_path / "plain.png"), str(tmp_path / "signed.png"), claim)
    with no_room(claim.size // 2), pytest.raises(Unsignable):
        ours.sign(str(tmp_path / "plain.png"), str(tmp_path / "again.png"), claim)
    assert ours.read(str(tmp_path / "signed.png"), "image/png").state == "valid"


@contextmanager
def no_room(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def test_what_is_made_otherwise_is_left_alone() -> None:
    shape = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
    like = {name: getattr(c2pa.c2pa, name) for name in (
        "ReadCallback", "SeekCallback", "WriteCallback", "FlushCallback", "_lib", "record_owner_pid", "StreamContext")}
    for changed in ({"ReadCallback": shape}, {"SeekCallback": None}, {"_lib": SimpleNamespace()}, {"Stream": None}):
        module = SimpleNamespace(**{"Stream": io.BytesIO, **like, **changed})
        before = module.Stream
        assert not hand_over(module)
        assert module.Stream is before


@LINUX
def test_it_is_handed_over_once() -> None:
    assert hand_over(c2pa.c2pa)
    once = c2pa.c2pa.Stream
    assert hand_over(c2pa.c2pa)
    assert c2pa.c2pa.Stream is once
