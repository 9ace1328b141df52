"""The data folder: one holder at a time, for its owner alone, and a dead holder is no obstacle."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from fixtures_studio import wait_until

from adapters.files.folder import DataFolder, read_json, write_private_json
from adapters.files.lock import FolderLock, holder_of
from domain.errors import Refused, Unavailable

HOLD = """
import sys, time
from pathlib import Path
from adapters.files.lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
lock.acquire("server")
lock.announce("http://127.0.0.1:8001")
print("held", flush=True)
time.sleep(600)
"""


def holding(place: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(place)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_holder_is_refused_and_told_who_holds_the_folder(tmp_path: Path) -> None:
    first = FolderLock(tmp_path / "lock")
    first.acquire("server")
    with pytest.raises(Refused) as refused:
        FolderLock(tmp_path / "lock").acquire("server")
    assert refused.value.code == "data_folder_in_use"
    assert str(os.getpid()) in refused.value.message
    assert refused.value.detail["holder"]["pid"] == os.getpid()
    assert refused.value.remediation


def test_the_address_is_told_once_it_is_known(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path / "lock")
    lock.acquire("server")
    lock.announce("http://127.0.0.1:1234")
    holder = holder_of(tmp_path / "lock")
    assert holder is not None
    assert (holder.address, holder.role) == ("http://127.0.0.1:1234", "server")


def test_a_released_folder_can_be_held_again(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path / "lock")
    lock.acquire("console")
    lock.release()
    assert holder_of(tmp_path / "lock") is None
    FolderLock(tmp_path / "lock").acquire("server")


def test_nobody_holds_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert holder_of(tmp_path / "nowhere" / "lock") is None


def test_a_holder_that_was_killed_is_no_obstacle(tmp_path: Path) -> None:
    process = holding(tmp_path / "lock")
    holder = holder_of(tmp_path / "lock")
    assert holder is not None
    assert holder.pid == process.pid
    process.kill()
    process.wait()
    assert holder_of(tmp_path / "lock") is None
    assert process.pid == json.loads((tmp_path / "lock").read_text())["pid"], "its note is still there, and ignored"
    FolderLock(tmp_path / "lock").acquire("server")


def test_waiting_for_a_short_lived_holder_succeeds(tmp_path: Path) -> None:
    process = holding(tmp_path / "lock")
    waiting = subprocess.Popen(
        [sys.executable, "-c", "import sys\nfrom pathlib import Path\nfrom adapters.files.lock import FolderLock\n"
         "FolderLock(Path(sys.argv[1])).acquire('console', wait_seconds=60)", str(tmp_path / "lock")],
    )
    assert waiting.poll() is None
    process.kill()
    process.wait()
    wait_until(lambda: waiting.poll() is not None, "the lock")
    assert waiting.returncode == 0


def test_asking_who_holds_never_keeps_anybody_from_holding(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path / "lock")
    done = threading.Event()
    seen = set()

    def ask() -> None:
        while not done.is_set():
            holder = holder_of(tmp_path / "lock")
            seen.add(holder and (holder.pid, holder.role))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for _ in range(200):
            lock.acquire("console")
            lock.release()
        lock.acquire("server")
    finally:
        done.set()
        asking.join()
    holder = holder_of(tmp_path / "lock")
    assert holder is not None
    assert (holder.pid, holder.role) == (os.getpid(), "server")
    lock.release()
    assert holder_of(tmp_path / "lock") is None
    assert seen <= {None, (os.getpid(), "console"), (os.getpid(), "server")}


def test_the_lock_is_for_its_owner_alone(tmp_path: Path) -> None:
    FolderLock(tmp_path / "lock").acquire("server")
    assert (tmp_path / "lock").stat().st_mode & 0o077 == 0


def test_the_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "a" / "studio").prepare()
    assert folder.root.stat().st_mode & 0o777 == 0o700


def test_a_file_where_the_folder_should_be_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "studio").write_text("not a folder")
    with pytest.raises(Unavailable) as unavailable:
        DataFolder(tmp_path / "studio").prepare()
    assert unavailable.value.code == "data_folder"
    assert str(tmp_path / "studio") in unavailable.value.message


def test_a_private_file_is_replaced_whole_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    place = tmp_path / "server.json"
    write_private_json(place, {"url": "http://127.0.0.1:1"})
    write_private_json(place, {"url": "http://127.0.0.1:2"})
    assert read_json(place) == {"url": "http://127.0.0.1:2"}
    assert place.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["server.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00\xff"])
def test_a_damaged_file_reads_as_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "server.json").write_text(text)
    assert read_json(tmp_path / "server.json") is None
