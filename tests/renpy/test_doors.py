"""What leaves by the console or over HTTP is what the library writes, byte for byte; and it plays in the engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.renpy.doors import HTTP, PLAYED, WANTED, Left, leave_by_every_door, played_by_door, plays_by_door, tree
from tests.renpy.engine import Engine, installed


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Left:
    return leave_by_every_door(tmp_path_factory.mktemp("doors"))


@pytest.mark.parametrize(("name", "door"), [
    (name, door) for name, wanted in WANTED.items() for door in (*wanted.console, HTTP)
])
def test_every_door_gives_the_same_bytes(left: Left, name: str, door: str) -> None:
    written = tree(left.library[name])
    assert "game/script.rpy" in written
    assert tree(left.doors[name][door]) == written


@pytest.mark.skipif(installed() is None, reason="Debian's Ren'Py is not installed here")
@pytest.mark.parametrize("name", PLAYED)
def test_what_leaves_by_a_door_plays(left: Left, tmp_path: Path, name: str) -> None:
    command = installed()
    assert command is not None
    verdict = played_by_door(Engine(command, tmp_path), left, name)
    assert verdict.troubles == ()
    assert verdict.paths == len(plays_by_door(left, name).plans) > 0
    assert verdict.moments > 20
