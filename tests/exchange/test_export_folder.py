"""Exports placed in folders: as a whole or not at all, the author's own kept, what is so already left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile

import pytest

from domain.errors import Invalid, Refused, Unavailable
from domain.exchange.renpy.material import Asset, Tale, Wishes
from domain.exchange.renpy.package import Package, package
from domain.story.play import story
from services.exports.archive import packed
from services.exports.exporting import Stopped
from services.exports.folder import check_ours, placed, standing
from services.exports.previewing import preview

BYTES = b"not really a picture"
GATE = Asset("aa" * 8, sha256(BYTES).hexdigest(), len(BYTES), "image/png", "gate.png", "image")


def game(words: str = "Halt!", scenes: tuple[str, ...] = ("intro", "road")) -> Package:
    documents = {
        id_: {"id": id_, "start": "a", "nodes": [
            {"id": "a", "text": f"{words} {id_}", "directives": [{"kind": "background", "asset": "gate"}], "end": True},
        ]} for id_ in scenes
    }
    content = {"id": "main", "entries": [{"id": id_, "scene": id_} for id_ in scenes], "scenes": documents,
               "variables": {}}
    return package([Tale("main", "Main", story(content))], {"gate": GATE}, (), Wishes("demo"))


def fetch(asset: Asset, place: Path) -> None:
    place.write_bytes(BYTES)


def quiet(done: int, total: int) -> None:
    """Tells nobody."""


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def put(folder: Path, one: Package, **given: bool) -> tuple[int, int, int, int]:
    placing = placed(folder, one, fetch, quiet, **given)
    return len(placing.new), len(placing.modified), len(placing.unchanged), len(placing.removed)


def beside(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.parent.iterdir() if path != folder)


def test_a_game_is_placed_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    folder, one = tmp_path / "game", game()
    assert put(folder, one) == (len(one.digests), 0, 0, 0)
    assert {path: sha256(data).hexdigest() for path, data in files(folder).items()} == dict(one.digests)
    assert beside(folder) == []


def test_what_is_so_already_is_not_touched(tmp_path: Path) -> None:
    folder, one = tmp_path / "game", game()
    put(folder, one)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert put(folder, one) == (0, 0, len(one.digests), 0)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert standing(folder).whole


def test_only_what_changed_is_written_and_what_is_gone_goes(tmp_path: Path) -> None:
    folder = tmp_path / "game"
    put(folder, game())
    kept = (folder / "game/screens.rpy").stat().st_ino
    new, modified, unchanged, removed = put(folder, game("Stop!", scenes=("intro", "tower")))
    assert (new, removed) == (1, 1)
    assert modified >= 2
    assert unchanged > 5
    assert (folder / "game/screens.rpy").stat().st_ino == kept
    assert not (folder / "game/scenes/road.rpy").exists()


def test_files_of_the_authors_own_stay_and_stale_compilations_go(tmp_path: Path) -> None:
    folder = tmp_path / "game"
    put(folder, game())
    own = {"game/mine.rpy": b"label mine:\n    return\n", "game/saves/1.save": b"\0", "game/scenes/road.rpyc": b"old",
           "game/screens.rpyc": b"current"}
    for path, data in own.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    (folder / "link").symlink_to("/nowhere")
    put(folder, game(scenes=("intro",)))
    found = files(folder)
    assert {path for path in own if path in found} == {"game/mine.rpy", "game/saves/1.save", "game/screens.rpyc"}
    assert (folder / "link").is_symlink()


def test_a_folder_that_is_no_export_is_refused_unless_forced(tmp_path: Path) -> None:
    folder = tmp_path / "game"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(Refused) as caught:
        put(folder, game())
    assert caught.value.code == "not_an_export"
    assert files(folder) == {"thesis.txt": b"years of work"}
    put(folder, game(), force=True)
    assert (folder / "thesis.txt").read_text() == "years of work"
    assert (folder / "game/script.rpy").exists()


def test_what_was_changed_by_hand_is_refused_unless_forced(tmp_path: Path) -> None:
    folder = tmp_path / "game"
    put(folder, game())
    (folder / "game/screens.rpy").write_text("# mine now\n")
    before = files(folder)
    with pytest.raises(Refused) as caught:
        put(folder, game("Stop!"))
    assert caught.value.code == "export_edited"
    assert caught.value.detail["files"] == ["game/screens.rpy"]
    assert files(folder) == before
    put(folder, game("Stop!"), force=True)
    assert standing(folder).whole


@pytest.mark.parametrize("told", [b"", b"[]", b'{"schema": "comfyvn.renpy@1", "files": {"../x": 1}}', b"[" * 5000])
def test_a_broken_provenance_is_no_export(tmp_path: Path, told: bytes) -> None:
    folder = tmp_path / "game"
    folder.mkdir()
    (folder / "provenance.json").write_bytes(told)
    with pytest.raises(Refused, match="no export"):
        put(folder, game())


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "game").write_text("a file")
    with pytest.raises(Invalid) as caught:
        put(tmp_path / "game", game())
    assert caught.value.code == "not_a_folder"


@pytest.mark.parametrize("there", [False, True])
def test_whoever_stops_it_finds_the_folder_as_it_was(tmp_path: Path, there: bool) -> None:
    folder = tmp_path / "game"
    if there:
        put(folder, game())
    before = files(folder) if there else None

    def stop(done: int, total: int) -> None:
        if done == 5:
            raise Stopped

    with pytest.raises(Stopped):
        placed(folder, game("Stop!"), fetch, stop)
    assert (files(folder) if there else None) == before
    assert folder.exists() == there
    assert beside(folder) == []


def test_a_full_disk_leaves_everything_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "game"
    put(folder, game())
    before = files(folder)

    def full(asset: Asset, place: Path) -> None:
        place.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    (folder / "game/images/gate.png").unlink()
    with pytest.raises(Unavailable) as caught:
        placed(folder, game("Stop!"), full, quiet)
    assert caught.value.code == "disk_full"
    assert files(folder) == {path: data for path, data in before.items() if path != "game/images/gate.png"}
    assert beside(folder) == []


KILLED = """
import sys
sys.path[:0] = sys.argv[2:]
from pathlib import Path
from test_export_folder import fetch, game
from services.exports.folder import placed
print("ready", flush=True)
number = 0
while True:
    number += 1
    placed(Path(sys.argv[1]), game(f"Number {number}"), fetch, lambda done, total: None)
"""


def test_whenever_it_is_killed_the_folder_is_whole(tmp_path: Path) -> None:
    folder = tmp_path / "here" / "game"
    root = Path(__file__).parents[2]
    for moment in range(6):
        worker = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(folder), str(root), str(root / "tests"), str(Path(__file__).parent)],
            stdout=subprocess.PIPE,
        )
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"ready\n"
        time.sleep(0.05 + 0.037 * moment)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        worker.stdout.close()
        if folder.exists():  # killed before the very first one was there, it is not there at all
            assert standing(folder).whole
    put(folder, game("The last one"))
    assert standing(folder).whole
    assert beside(folder) == []


def test_a_preview_tells_each_files_fate_and_touches_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "game"
    told = preview(folder, game())
    assert {one["status"] for one in told["files"]} == {"new"}
    assert not folder.exists()
    put(folder, game())
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    told = preview(folder, game("Stop!", scenes=("intro", "tower")))
    fates = {one["path"]: one["status"] for one in told["files"]}
    assert fates["game/scenes/intro.rpy"] == "modified"
    assert fates["game/scenes/tower.rpy"] == "new"
    assert fates["game/scenes/road.rpy"] == "removed"
    assert fates["game/screens.rpy"] == "unchanged"
    (diff,) = [one["diff"] for one in told["files"] if one["path"] == "game/scenes/intro.rpy"]
    assert '-    "Halt! intro"' in diff
    assert '+    "Stop! intro"' in diff
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_folder_of_somebody_else_is_refused_before_it_is_looked_through(tmp_path: Path) -> None:
    home = tmp_path / "home"
    for number in range(60):
        (home / "letters" / str(number)).mkdir(parents=True)
        (home / "letters" / str(number) / "letter").write_text("Dear Mara")
    with pytest.raises(Refused) as caught:
        check_ours(home)
    assert (caught.value.code, len(caught.value.detail["files"])) == ("not_an_export", 50)
    check_ours(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    check_ours(tmp_path / "empty")
    put(tmp_path / "game", game())
    (tmp_path / "game" / "mine.txt").write_text("a note")
    check_ours(tmp_path / "game")


def test_the_same_game_is_the_same_archive(tmp_path: Path) -> None:
    packed(tmp_path / "one.zip", "demo", game(), fetch, quiet)
    time.sleep(0.01)
    packed(tmp_path / "two.zip", "demo", game(), fetch, quiet)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with ZipFile(tmp_path / "one.zip") as archive:
        assert archive.testzip() is None
        assert archive.namelist() == sorted(archive.namelist())
        assert archive.read("demo/game/images/gate.png") == BYTES
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_an_archive_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    packed(tmp_path / "one.zip", "demo", game(), fetch, quiet)
    before = (tmp_path / "one.zip").read_bytes()

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise Stopped

    with pytest.raises(Stopped):
        packed(tmp_path / "one.zip", "demo", game("Stop!"), fetch, stop)
    assert [path.name for path in tmp_path.iterdir()] == ["one.zip"]
    assert (tmp_path / "one.zip").read_bytes() == before


DYING = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from test_export_folder import fetch, game
from services.exports.archive import packed
packed(Path(sys.argv[1]), "demo", game(), fetch, lambda done, total: done == 3 and os.kill(os.getpid(), signal.SIGKILL))
"""


def test_what_a_death_left_of_an_archive_goes_with_the_next_one(tmp_path: Path) -> None:
    root, place = Path(__file__).parents[2], tmp_path / "one.zip"
    given = [str(place), str(root), str(root / "tests"), str(Path(__file__).parent)]
    assert subprocess.run([sys.executable, "-c", DYING, *given], check=False).returncode == -signal.SIGKILL
    left = list(tmp_path.iterdir())
    assert left
    packed(place, "demo", game(), fetch, quiet)
    assert {*left, place} == {*tmp_path.iterdir()}, "somebody may still be writing"
    for one in left:
        os.utime(one, (0, 0))
    packed(place, "demo", game(), fetch, quiet)
    assert [path.name for path in tmp_path.iterdir()] == ["one.zip"]
