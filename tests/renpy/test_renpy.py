"""A few exported games in the real engine, and games that lie: the proof must fail on each of those."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.renpy.engine import Engine, installed
from tests.renpy.proof import plays_of, prove
from tests.renpy.stories import prove_story, write_game
from tests.renpy.test_meeting import CONTENT

pytestmark = pytest.mark.skipif(
    installed() is None, reason="Debian's Ren'Py is not installed here; `make test-renpy` installs it and proves more"
)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    command = installed()
    assert command is not None
    return Engine(command, tmp_path)


@pytest.mark.parametrize("seed", [3, 22])
def test_a_random_story_is_the_same_in_the_engine(engine: Engine, seed: int) -> None:
    verdict = prove_story(engine, seed, paths=4)
    assert verdict.troubles == ()
    assert verdict.paths > 4
    assert verdict.moments > verdict.paths


def edited(file: str, old: str, new: str) -> Callable[[Path], None]:
    def edit(game: Path) -> None:
        text = (game / file).read_text()
        assert old in text, f"{file} does not hold {old!r}"
        (game / file).write_text(text.replace(old, new, 1))

    return edit


LIES = {
    "a line with another letter": (edited("game/scenes/opening.rpy", "Here.", "Here!"), "text"),
    "an option that is left out": (edited("game/scenes/opening.rpy", '"Left" (', '"Left" if False ('), None),
    "an action that is forgotten": (edited("game/scenes/opening.rpy", '$ vn_add("gold", 1.0)', "pass"), "variables"),
    "a generator of another kind": (edited("game/comfyvn_runtime.rpy", "1664525", "1664526"), "dice"),
    "a weight that is another": (edited("game/scenes/opening.rpy", "(3.0, True)", "(0.001, True)"), None),
    "a scene that is skipped": (edited("game/story.rpy", "jump story_2", "jump story_end"), None),
    "somebody else who speaks": (edited("game/characters.rpy", '"Ann"', '"Anne"'), "speaker"),
    "a jump to nowhere": (edited("game/story.rpy", "jump story_2", "jump story_9"), "lint"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_game_that_lies_is_found_out(engine: Engine, tmp_path: Path, lie: str) -> None:
    edit, told = LIES[lie]
    content: dict[str, Any] = copy.deepcopy(CONTENT)
    routes = write_game(content, tmp_path / "exported")
    plays = plays_of(routes, (1, 2, 3), most=4, moments=12)
    edit(tmp_path / "exported")
    verdict = prove(engine, lie, tmp_path / "exported", plays, moments=12)
    assert verdict.troubles, f"{lie} went unnoticed"
    assert told is None or any(told in trouble for trouble in verdict.troubles)


def test_the_game_that_does_not_lie_is_believed(engine: Engine, tmp_path: Path) -> None:
    routes = write_game(copy.deepcopy(CONTENT), tmp_path / "exported")
    plays = plays_of(routes, (1, 2, 3), most=4, moments=12)
    verdict = prove(engine, "honest", tmp_path / "exported", plays, moments=12)
    assert verdict.troubles == ()
    assert verdict.paths == len(plays.plans) > 3
