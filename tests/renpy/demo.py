"""The sample project as games: all its points of view, and a worldline besides main."""

from __future__ import annotations

from pathlib import Path

from tests.renpy.engine import Engine
from tests.renpy.proof import Verdict


def prove_demo(engine: Engine, *, keep: Path | None = None) -> Verdict:
    return Verdict("demo")
