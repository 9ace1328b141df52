"""The page of traps names tests that are there, and all fifteen traps."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "engines" / "comfyui_traps.md").read_text()


@cache
def named_in(path: str) -> set[str]:
    """Names of the tests of a file."""
    tree = ast.parse((ROOT / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name[:5] == "test_"}


def test_every_test_that_the_page_names_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", PAGE)
    assert len(named) > 40
    assert [f"{path}::{name}" for path, name in named if name not in named_in(path)] == []


def test_every_trap_has_a_line_and_a_test_of_its_number() -> None:
    for number in range(1, 16):
        (line,) = re.findall(rf"^\| {number} \|.*$", PAGE, re.M)
        assert f"::test_{number}_" in line
