"""No room needs a room that needs it: imports lead one way, also those inside functions and for types alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = ("domain", "commands", "projections", "adapters", "services", "gateways")


def modules(root: Path) -> dict[str, Path]:
    """Module -> file, a package by its own name."""
    found = {}
    for layer in LAYERS:
        for path in sorted((root / layer).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def needed(path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    """The modules that a file names, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names if one.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for one in node.names:
                named = next((name for name in (f"{node.module}.{one.name}", node.module) if name in known), None)
                if named is not None:
                    yield named


def circle(root: Path) -> list[str]:
    """One circle of imports; nothing where there is none."""
    known = modules(root)
    graph = {name: set(needed(path, known)) - {name} for name, path in known.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def test_imports_make_no_circle() -> None:
    assert len(modules(ROOT)) > 500, "the rooms are read"
    assert circle(ROOT) == []


@pytest.mark.parametrize("way_back", [
    "import domain.one\n",
    "from domain import one\n",
    "from domain.one import thing\n",
    "def late():\n    from domain.one import thing\n    return thing\n",
    "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from domain.one import thing\n",
])
def test_a_circle_is_seen_however_it_closes(tmp_path: Path, way_back: str) -> None:
    (tmp_path / "domain").mkdir()
    (tmp_path / "domain" / "one.py").write_text("from domain.two import other\nthing = other\n")
    (tmp_path / "domain" / "two.py").write_text("import json\nother = json\n")
    assert circle(tmp_path) == []
    (tmp_path / "domain" / "two.py").write_text(f"other = 1\n{way_back}")
    assert set(circle(tmp_path)) == {"domain.one", "domain.two"}
