"""Games asked for in other ways, and games without their files, in the engine; and lies about each."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from domain.exchange.renpy.material import POV_MODES
from tests.renpy.absent import listed_by_lint, prove_absent, written
from tests.renpy.engine import Engine, installed
from tests.renpy.modes import Ask, ask_of, views
from tests.renpy.modes import written as asked_written
from tests.renpy.proof import plays_of, prove
from tests.renpy.test_meeting import CONTENT

SEEDS = range(5, 35)


def test_thirty_ways_of_asking_meet_every_mode_with_one_worldline_and_with_more() -> None:
    asked = [ask_of(seed) for seed in SEEDS]
    assert {(one.pov_mode, len(one.contents), bool(one.povs)) for one in asked} == {
        (mode, lines, told) for mode in POV_MODES for lines in (1, 2, 3) for told in (False, True)
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_the_manifest_names_the_routes_and_games_that_are_there(seed: int) -> None:
    asked = ask_of(seed)
    pov = asked.packed().manifest["pov"]
    told = {(one["world"], one["id"]) for one in pov["routes"]}
    offered = {(route.first[0]["world"], route.pov) for route in asked.routes()}
    assert offered == told if asked.menu else offered <= told or asked.pov_mode == "disabled"
    assert {one["id"] for one in pov["forks"]} == set(asked.forks())
    assert pov["active"] in (None, *asked.povs, *views(next(iter(asked.contents.values()))))


needs_engine = pytest.mark.skipif(installed() is None, reason="Debian's Ren'Py is not installed here")


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    command = installed()
    assert command is not None
    return Engine(command, tmp_path)


@needs_engine
def test_two_worldlines_play_as_each_was_written_and_a_borrowed_name_is_seen(engine: Engine, tmp_path: Path) -> None:
    other = {**copy.deepcopy(CONTENT), "characters": {"ann": {"name": "Anna"}}, "variables": {"gold": 7}}
    folder, routes = asked_written(Ask({"main": CONTENT, "what if": other}, "disabled"), tmp_path / "asked")[""]
    plays = plays_of(routes, (1, 2), most=3, moments=12)
    honest = prove(engine, "two", folder, plays, moments=12)
    assert (honest.troubles, honest.paths) == ((), len(plays.plans))
    people = folder / "game/characters.rpy"
    people.write_text(people.read_text().replace('"Anna"', '"Ann"'))
    lying = prove(engine, "two", folder, plays, moments=12)
    assert any("speaker" in trouble for trouble in lying.troubles)


@needs_engine
def test_a_game_is_played_without_its_files(engine: Engine) -> None:
    verdict = prove_absent(engine, 3, paths=1)
    assert verdict.troubles == ()
    assert verdict.paths > 0


@needs_engine
def test_a_manifest_that_keeps_quiet_is_seen(engine: Engine, tmp_path: Path) -> None:
    written(3, tmp_path / "absent")
    manifest = tmp_path / "absent/export_manifest.json"
    told = json.loads(manifest.read_text())
    assert told["missing_assets"]["images"], "the story lacks a picture"
    assert listed_by_lint(engine, tmp_path / "absent") == []
    told["missing_assets"]["images"].pop()
    manifest.write_text(json.dumps(told))
    assert listed_by_lint(engine, tmp_path / "absent") != []
