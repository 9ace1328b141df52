"""Games whose pictures and sounds are not there: manifest and lint name the same, and the game is played all the same.

A game is judged as it was written; then with a file that is not there for every stand-in; then with every file of its
own gone or broken. Sounds are opened here, on a device that nobody hears.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from domain.exchange.renpy.material import Tale, Wishes
from domain.exchange.renpy.package import package
from domain.exchange.renpy.project import povs_of, references
from domain.story import play
from tests.any_stories import any_story
from tests.renpy.engine import Engine
from tests.renpy.proof import Plays, Route, Verdict, indented, judged, plays_of, prove
from tests.renpy.stories import HEIGHT, WIDTH, art, write_files

_STAND_IN: Final = re.compile(r"^image (.+?) = vn_stand_in\(.*\)$", re.MULTILINE)
_SILENCE: Final = re.compile(r'^define audio\.(\w+) = "<silence 1\.0>".*$', re.MULTILINE)
_DEFINED: Final = re.compile(r'^define audio\.(\w+) = "(audio/.*)"$', re.MULTILINE)
_UNLOADABLE: Final = re.compile(r"'([^']*)'(?:, which)? is not loadable")


def written(seed: int, folder: Path) -> list[Route]:
    """A random story as a whole package: about half of what it names is there."""
    content = any_story(seed, assets=tuple(art()))
    tale = Tale("main", "Main", play.story(content))
    known = {one: art()[one][0] for one in references([tale]) if one in art()}
    made = package([tale], known, (), Wishes("proof", pov_mode="master", width=WIDTH, height=HEIGHT))
    shutil.rmtree(folder, ignore_errors=True)
    write_files(made.texts, made.blobs, folder)
    return [Route(content, pov, ({"pov": pov},)) for pov in povs_of(tale)]


def prove_absent(engine: Engine, seed: int, *, paths: int, keep: Path | None = None) -> Verdict:
    """One random story as it was written, without stand-ins, and without its files."""
    began = time.monotonic()
    game = engine.scratch / "absent"
    plays = plays_of(written(seed, game), (seed,), most=paths)
    again = f"python -m tests.renpy --only absent --seed {seed} --stories 1"
    verdict = prove(engine, f"absent {seed}", game, plays, keep=keep, again=again)
    troubles = [*verdict.troubles, *_without_stand_ins(engine, game, plays), *_without_files(engine, game, plays)]
    return Verdict(
        f"absent {seed}", verdict.paths * 3, verdict.moments * 3, verdict.whole, time.monotonic() - began,
        tuple(troubles), again,
    )


def _without_stand_ins(engine: Engine, game: Path, plays: Plays) -> Iterator[str]:
    yield from listed_by_lint(engine, game)
    yield from judged(engine, engine.scratch / "game", plays, sound=True)[2]


def listed_by_lint(engine: Engine, game: Path) -> list[str]:
    """Where a stand-in was, a file that is not there: lint must name what the manifest lists, each and no other. Leaves
    that game in the engine's folder."""
    copy = _copied(engine, game)
    images, audio = copy / "game/images.rpy", copy / "game/audio.rpy"
    images.write_text(_STAND_IN.sub(r'image \1 = "lost/\1.png"', images.read_text()))
    audio.write_text(_SILENCE.sub(r'define audio.\1 = "lost/\1.ogg"', audio.read_text()))
    missing = json.loads((game / "export_manifest.json").read_text())["missing_assets"]
    # An overlay without a picture is a tint, and a tint needs no file.
    pictures = {
        f"lost/{name}.png" for one in missing["images"] for name in one["used_as"] if not name.startswith("o_")
    }
    sounds = {name for one in missing["audio"] for name in one["used_as"]} & _played(copy)
    wanted = pictures | {f"lost/{name}.ogg" for name in sounds}
    return list(_named(engine, copy, wanted, "what the manifest lists as missing"))


def _played(game: Path) -> set[str]:
    """The sounds that some statement plays; a cue that stops a sound or changes its loudness may name one too."""
    lines = [line.strip() for path in (game / "game").rglob("*.rpy") for line in path.read_text().splitlines()]
    playing = "\n".join(line for line in lines if line.startswith(("play ", "queue ")))
    return set(re.findall(r"\baudio\.(\w+)", playing))


def _without_files(engine: Engine, game: Path, plays: Plays) -> Iterator[str]:
    """Every other file of the game is gone, the rest hold nothing of use."""
    copy = _copied(engine, game)
    files = sorted(path for name in ("images", "audio") for path in (copy / "game" / name).glob("*"))
    for number, path in enumerate(files):
        if number % 2:
            path.write_bytes(b"no picture and no sound")
        else:
            path.unlink()
    gone = {path.relative_to(copy / "game").as_posix() for path in files if not path.exists()}
    defined = _DEFINED.findall((copy / "game/audio.rpy").read_text())
    gone -= {path for _, path in defined} - {path for name, path in defined if name in _played(copy)}
    yield from _named(engine, copy, gone, "the files that are gone")
    yield from judged(engine, copy, plays, sound=True)[2]


def _named(engine: Engine, copy: Path, wanted: set[str], what: str) -> Iterator[str]:
    lint = engine.run(copy, "lint", "--error-code")
    named = set(_UNLOADABLE.findall(lint.output))
    if named != wanted:
        yield (f"lint does not name {what}: only there {sorted(wanted - named)[:5]}, only in lint "
               f"{sorted(named - wanted)[:5]}\n{indented(lint.output)}")
    if bool(lint.code) != bool(wanted):
        yield f"lint --error-code ended with {lint.code} where {len(wanted)} files are missing"


def _copied(engine: Engine, game: Path) -> Path:
    copy = engine.scratch / "game"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(game, copy)
    return copy
