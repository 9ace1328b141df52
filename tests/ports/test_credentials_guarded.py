"""What a file makes of its reader is the reader's end alone: it is told, and the next file is read."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest
from signed_files import made, signed

from adapters.c2pa.credentials import OwnCredentials
from adapters.c2pa.guarded import Guarded
from adapters.c2pa.keys import KeyFolder


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return signed(OwnCredentials(KeyFolder(tmp_path / "keys")), made(tmp_path, "image/png"), "image/png")


def test_a_reader_that_takes_too_long_is_ended(tmp_path: Path, picture: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)  # nobody ever writes to it
    reader = Guarded(seconds=3)
    told = reader.read(str(pipe), "image/png", "")
    assert "takes longer than" in told["unreadable"]
    assert "store" in Guarded().read(str(picture), "image/png", "")


def test_a_reader_that_dies_is_started_again(picture: Path) -> None:
    reader = Guarded()
    assert "store" in reader.read(str(picture), "image/png", "")
    assert reader.pid is not None
    os.kill(reader.pid, signal.SIGKILL)
    first, second = (reader.read(str(picture), "image/png", "") for _ in range(2))
    assert "store" in first or "ends its reader" in first["unreadable"]
    assert "store" in second


def test_a_reader_that_may_not_have_the_memory_says_so(tmp_path: Path, picture: Path) -> None:
    told = OwnCredentials(KeyFolder(tmp_path / "keys"), reader=Guarded(memory=16 * 2**20)).read(
        str(picture), "image/png")
    assert told.state == "unreadable"
    assert told.findings[0].message


def test_many_who_read_at_once_each_get_their_own_answer(tmp_path: Path, picture: Path) -> None:
    plain = made(tmp_path, "image/jpeg")
    reader, found = Guarded(), {}

    def read(number: int) -> None:
        path, kind = (picture, "image/png") if number % 2 else (plain, "image/jpeg")
        found[number] = "store" in reader.read(str(path), kind, "")

    threads = [threading.Thread(target=read, args=(number,)) for number in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert found == {number: bool(number % 2) for number in range(8)}
