"""Where model files lie: one suite for every adapter, and what a folder promises beyond it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest
from small_disks import small_disk

from adapters.files.models import ModelFolder
from adapters.memory.model_files import MemoryModelFiles
from domain.ports.model_files import FilesError, ModelFiles, Part, Present
from domain.studio.fault import CODES

FOLDER, NAME = "loras", "harbour.safetensors"
PLACE = (FOLDER, NAME)


@pytest.fixture(params=["memory", "folder"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> ModelFiles:
    made: dict[str, Callable[[], ModelFiles]] = {
        "memory": MemoryModelFiles, "folder": lambda: ModelFolder(tmp_path / "models"),
    }
    return made[request.param]()


def begun(files: ModelFiles, *pieces: bytes, place: tuple[str, str] = PLACE) -> None:
    with files.part(*place) as part:
        assert part is not None
        for piece in pieces:
            part.write(piece)


def placed(files: ModelFiles, content: bytes, place: tuple[str, str] = PLACE) -> None:
    with files.part(*place) as part:
        assert part is not None
        part.write(content)
        part.place()


def content(part: Part) -> bytes:
    with part.opened() as file:
        return file.read()


def test_nothing_is_there_at_first(files: ModelFiles) -> None:
    assert files.root
    assert files.found(*PLACE) is None
    assert files.coming(*PLACE) is None
    assert list(files.listed(10)) == []
    assert files.free() == files.free(FOLDER) > 0
    with pytest.raises(FilesError) as caught, files.read(*PLACE):
        pass
    assert caught.value.fault.code in CODES


def test_a_part_grows_is_remembered_and_gets_its_name(files: ModelFiles) -> None:
    with files.part(*PLACE) as part:
        assert part is not None
        assert (part.size(), dict(part.memo())) == (0, {})
        part.write(b"one ")
        part.remember({"url": "https://models.example/x", "total": 7})
    assert files.found(*PLACE) is None, "no half file has the name"
    assert files.coming(*PLACE) == 4
    with files.part(*PLACE) as part:
        assert part is not None
        assert part.memo() == {"url": "https://models.example/x", "total": 7}
        assert content(part) == b"one "
        part.write(b"two")
        assert (part.size(), content(part)) == (7, b"one two")
        part.remember({"total": 8})
        assert part.memo() == {"total": 8}
        part.place()
    assert files.found(*PLACE) == Present(*PLACE, 7)
    assert files.coming(*PLACE) is None
    with files.read(*PLACE) as file:
        assert file.read() == b"one two"
        assert file.seek(0, os.SEEK_END) == 7
    with files.part(*PLACE) as part:
        assert part is not None
        assert (part.size(), dict(part.memo())) == (0, {}), "nothing is left of the last time"
        part.discard()
    assert files.found(*PLACE) == Present(*PLACE, 7)


def test_what_is_remembered_of_a_placed_file_stays_until_it_is_discarded(files: ModelFiles) -> None:
    with files.part(*PLACE) as part:
        assert part is not None
        part.write(b"whole")
        part.remember({"placed": "digest"})
        part.place(remembered=True)
    with files.part(*PLACE) as part:
        assert part is not None
        assert (part.size(), dict(part.memo())) == (0, {"placed": "digest"})
        part.discard()
    with files.part(*PLACE) as part:
        assert part is not None
        assert dict(part.memo()) == {}
        part.discard()
    assert files.found(*PLACE) == Present(*PLACE, 5)


def test_a_part_is_held_by_one_at_a_time(files: ModelFiles) -> None:
    with files.part(*PLACE) as part:
        assert part is not None
        with files.part(*PLACE) as other:
            assert other is None
        with files.part(FOLDER, "another.safetensors") as other:
            assert other is not None
        part.write(b"still mine")
    with files.part(*PLACE) as part:
        assert part is not None
        assert content(part) == b"still mine"


def test_beginning_anew_forgets_bytes_and_where_they_came_from(files: ModelFiles) -> None:
    with files.part(*PLACE) as part:
        assert part is not None
        part.write(b"wrong")
        part.remember({"etag": "a"})
        part.empty()
        assert (part.size(), dict(part.memo())) == (0, {})
        part.write(b"right")
        assert content(part) == b"right"


def test_what_is_thrown_away_is_gone(files: ModelFiles) -> None:
    with files.part(*PLACE) as part:
        assert part is not None
        part.write(b"x")
        part.remember({"etag": "a"})
        part.discard()
    assert files.coming(*PLACE) is None
    begun(files)
    with files.part(*PLACE) as part:
        assert part is not None
        assert (part.size(), dict(part.memo())) == (0, {})


def test_another_file_is_never_written_over(files: ModelFiles) -> None:
    placed(files, b"first")
    with files.part(*PLACE) as part:
        assert part is not None
        part.write(b"second")
        with pytest.raises(FileExistsError):
            part.place()
        assert content(part) == b"second", "what came is still there"
    with files.read(*PLACE) as file:
        assert file.read() == b"first"


@pytest.mark.parametrize(("folder", "name"), [
    ("elsewhere", NAME), ("..", NAME), ("", NAME), (FOLDER, ".."), (FOLDER, "."), (FOLDER, ""),
    (FOLDER, "../escape.safetensors"), (FOLDER, "a/b.safetensors"), (FOLDER, "a\\b"), (FOLDER, "a\0b"),
    ("/etc", "passwd"),
])
def test_no_name_leads_out(files: ModelFiles, folder: str, name: str) -> None:
    for ask in (lambda: files.part(folder, name), lambda: files.read(folder, name)):
        with pytest.raises(FilesError) as caught, ask():
            pass
        assert caught.value.fault.code in CODES
    with suppress(FilesError):
        assert files.found(folder, name) is None
    with suppress(FilesError):
        assert files.coming(folder, name) is None


def test_whole_model_files_are_listed_folder_by_folder(files: ModelFiles) -> None:
    placed(files, b"12345", ("vae", "b.safetensors"))
    placed(files, b"1", ("checkpoints", "z.ckpt"))
    placed(files, b"12", ("vae", "a.gguf"))
    begun(files, b"half", place=("vae", "c.safetensors"))
    assert list(files.listed(10)) == [
        Present("checkpoints", "z.ckpt", 1), Present("vae", "a.gguf", 2), Present("vae", "b.safetensors", 5),
    ]
    assert len(list(files.listed(2))) == 2
    assert list(files.listed(0)) == []


@pytest.mark.parametrize("kind", ["memory", "folder"])
def test_a_full_disk_is_said_and_what_was_written_counts(tmp_path: Path, kind: str) -> None:
    room = 256 * 1024
    with small_disk(tmp_path / "models", room) as disk:
        made: ModelFiles = ModelFolder(disk.place) if kind == "folder" else MemoryModelFiles(room)
        with made.part(*PLACE) as part:
            assert part is not None
            with pytest.raises(FilesError) as caught:
                part.write(b"x" * 2 * room)
            assert (caught.value.fault.code, caught.value.fault.meaning.action) == ("DISK_FULL", "free_disk_space")
            assert 0 < part.size() <= room
            assert content(part) == b"x" * part.size()
            assert part.free() < 8192
            part.empty()
            part.write(b"y")
            assert content(part) == b"y"


@pytest.mark.parametrize("kind", ["memory", "folder"])
def test_what_is_to_stay_free_is_not_offered(tmp_path: Path, kind: str) -> None:
    reserve = 2**60
    made: ModelFiles = ModelFolder(tmp_path, reserve) if kind == "folder" else MemoryModelFiles(reserve=reserve)
    assert made.free() == made.free(FOLDER) == 0
    with made.part(*PLACE) as part:
        assert part is not None
        assert part.free() == 0


# --- a folder on a disk -----------------------------------------------------------------------------------------------


def test_many_threads_place_one_file(tmp_path: Path) -> None:
    files = ModelFolder(tmp_path)
    outcomes: list[str] = []

    def work(number: int) -> None:
        with files.part(*PLACE) as part:
            if part is None:
                outcomes.append("held")
                return
            try:
                part.write(b"%d" % number)
                part.place()
                outcomes.append("placed")
            except FileExistsError:
                part.discard()
                outcomes.append("there")

    threads = [Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("placed") == 1
    assert [one.name for one in (tmp_path / FOLDER).iterdir()] == [NAME]


def test_a_part_is_free_again_when_its_process_was_killed(tmp_path: Path) -> None:
    files = ModelFolder(tmp_path)
    told = (
        "import os, sys; from pathlib import Path; from adapters.files.models import ModelFolder\n"
        f"with ModelFolder(Path({str(tmp_path)!r})).part({FOLDER!r}, {NAME!r}) as part:\n"
        "    part.write(b'half'); print('held', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen([sys.executable, "-c", told], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             cwd=Path(__file__).parents[2])
    assert child.stdout is not None
    assert child.stdout.readline() == b"held\n"
    with files.part(*PLACE) as part:
        assert part is None
    child.kill()
    child.wait()
    child.stdout.close()
    with files.part(*PLACE) as part:
        assert part is not None
        assert content(part) == b"half"


def test_neither_links_nor_hidden_files_are_taken_for_parts_or_models(tmp_path: Path) -> None:
    files = ModelFolder(tmp_path / "models")
    outside = tmp_path / "outside"
    outside.write_bytes(b"mine")
    folder = tmp_path / "models" / FOLDER
    folder.mkdir(parents=True)
    (folder / f".{NAME}.part").symlink_to(outside)
    with pytest.raises(FilesError), files.part(*PLACE):
        pass
    assert outside.read_bytes() == b"mine"
    (folder / ".hidden.safetensors").write_bytes(b"x")
    (folder / "notes.txt").write_bytes(b"x")
    (folder / "sub.safetensors").mkdir()
    assert list(files.listed(10)) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_that_may_not_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir(mode=0o500)
    with pytest.raises(FilesError) as caught, ModelFolder(tmp_path).part(*PLACE):
        pass
    assert caught.value.fault.code == "PERMISSION_DENIED"
