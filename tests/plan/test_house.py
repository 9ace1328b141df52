"""The plan of the house, held by tools: a room for everything, and everything in its room."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from services.registry import BOARDS, CONTEXTS, REGISTRY

ROOT = Path(__file__).parents[2]
LAYERS = ("domain", "commands", "projections", "adapters", "services", "gateways")
SHELVES = ("story", "stage", "studio", "trust", "exchange", "operations")
TOP = {"domain", "commands", "projections", "gateways", "adapters", "services", "deploy", "docs", "tests"}


def tracked(*patterns: str) -> list[Path]:
    """Files of the project, without what tools leave behind."""
    skipped = {".venv", ".git", "__pycache__", "data", "build", "dist"}
    found = (path for pattern in patterns for path in ROOT.rglob(pattern))
    return sorted(path for path in found if not skipped & set(path.relative_to(ROOT).parts))


def sources() -> list[Path]:
    return [path for path in tracked("*.py") if path.relative_to(ROOT).parts[0] in LAYERS]


def context_modules(layer: str) -> dict[str, str]:
    """Context name -> shelf, for the modules of a layer that the registry lists."""
    place = LAYERS.index(layer)
    listed = [line[place] for line in CONTEXTS if line[place] is not None]
    return {module.__name__.split(".")[2]: module.__name__.split(".")[1] for module in listed}


def test_the_top_level_is_the_architecture() -> None:
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    assert folders - {"data", "build", "dist"} == TOP


def test_every_file_says_what_the_room_is_for() -> None:
    silent = []
    for path in [*sources(), *tracked("tests/**/*.py")]:
        docstring = ast.get_docstring(ast.parse(path.read_text()))
        if not docstring or not docstring.splitlines()[0].rstrip().endswith((".", ":", "?", "!")):
            silent.append(str(path.relative_to(ROOT)))
    assert silent == []


def test_a_shelf_is_only_a_shelf() -> None:
    for layer in ("domain", "commands", "projections"):
        for shelf in SHELVES:
            path = ROOT / layer / shelf / "__init__.py"
            if path.exists():
                body = ast.parse(path.read_text()).body
                assert len(body) == 1, f"{path} holds more than its sentence"


def test_a_context_has_one_name_and_one_shelf_in_every_layer() -> None:
    homes = context_modules("domain")
    for layer in ("commands", "projections"):
        for name, shelf in context_modules(layer).items():
            if name in homes:
                assert shelf == homes[name], f"{name} stands on {shelf} in {layer} and on {homes[name]} in domain"


def test_every_context_has_a_page_and_a_test() -> None:
    names = {**context_modules("domain"), **context_modules("projections")}
    for name, shelf in names.items():
        assert (ROOT / "docs" / "contexts" / f"{name}.md").exists(), f"docs/contexts/{name}.md is missing"
        assert list((ROOT / "tests" / shelf).glob(f"test_{name}*.py")), f"tests/{shelf}/test_{name}.py is missing"
    for board in BOARDS:
        assert board.__name__.startswith("projections.boards.")


def test_no_junk_rooms() -> None:
    junk = {"utils", "util", "helpers", "helper", "common", "base", "manager", "core", "misc"}
    assert [str(path) for path in sources() if path.stem in junk] == []


def test_every_command_and_view_names_its_scope_and_has_a_docstring() -> None:
    for asking in REGISTRY.askings.values():
        assert re.fullmatch(r"[a-z]+:write", asking.scope), f"{asking.name}: {asking.scope}"
        assert asking.command.__doc__, f"{asking.name} does not say what it asks for"
        assert asking.id_field in asking.command.model_fields or hasattr(asking.command, asking.id_field), asking.name
    for view in REGISTRY.views.values():
        assert re.fullmatch(r"[a-z]+:read", view.scope), f"{view.name}: {view.scope}"
        assert view.query.__doc__, f"{view.name} does not say what it shows"
        assert set(view.reads) <= set(REGISTRY.projections), f"{view.name} reads what nobody projects"


def test_names_of_events_and_tables_are_unique() -> None:
    events = [event.__name__ for context in REGISTRY.contexts.values() for event in context.events]
    assert len(events) == len(set(events))
    tables = [table.name for projection in REGISTRY.projections.values() for table in projection.tables]
    assert len(tables) == len(set(tables))


def test_links_in_the_docs_lead_somewhere() -> None:
    broken = []
    for page in tracked("*.md"):
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            if "://" in target or target.startswith(("#", "mailto:")):
                continue
            if not (page.parent / target.split("#")[0]).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []


def test_python_in_the_docs_is_python() -> None:
    for page in tracked("*.md"):
        for number, block in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.S)):
            assert compile(block, f"{page.name} block {number}", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_decisions_are_one_screen_with_four_parts() -> None:
    for page in sorted((ROOT / "docs" / "decisions").glob("*.md")):
        if page.name == "README.md":
            continue
        assert re.match(r"\d{4}-[a-z0-9-]+\.md", page.name), page.name
        text = page.read_text()
        headings = {heading.lower() for heading in re.findall(r"^#+ (.+?)\s*$", text, re.M)}
        missing = {"context", "decision", "consequences", "alternatives"} - headings
        assert not missing, f"{page.name} lacks {sorted(missing)}"
        assert len(text.splitlines()) <= 70, f"{page.name} is longer than a screen"


def test_the_project_names_no_machine_and_no_registry_host() -> None:
    named = []
    told = re.compile(r"(?<![\w.$}])/(?:work|root|farm)/[a-z.]|https?://[a-z.]*(?:npm|pypi|pythonhost|debian)[a-z]*\.(?:org|io)")
    for path in tracked("*.py", "*.md", "*.toml", "*.yml", "*.yaml", "*.sh", "*.lock", "Makefile", "run"):
        if path == Path(__file__):
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if told.search(line):
                named.append(f"{path.relative_to(ROOT)}:{number}")
    assert named == []


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    tool = Path(sys.executable).with_name("lint-imports")
    return subprocess.run([str(tool), "--no-cache"], cwd=folder, capture_output=True, text=True, timeout=120,
                          env={"PATH": "", "PYTHONPATH": str(folder)}, check=False)


def test_imports_point_inward() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("file", "line", "contract"), [
    ("domain/story/worldline.py", "import services.registry", "Layers point inward"),
    ("adapters/memory/log.py", "import projections.reading", "Adapters know the domain alone"),
    ("projections/story/worldline.py", "import time", "The core imports no outside world"),
    ("services/dispatcher.py", "import adapters.memory.log", "Only the root knows the plugs"),
    ("domain/story/worldline.py", "import domain.operations.ledger", "Contexts stand apart"),
])
def test_a_broken_rule_is_seen(tmp_path: Path, file: str, line: str, contract: str) -> None:
    for layer in LAYERS:
        shutil.copytree(ROOT / layer, tmp_path / layer, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".importlinter", tmp_path)
    broken = tmp_path / file
    broken.write_text(broken.read_text() + f"\n{line}\n")
    done = lint_imports(tmp_path)
    assert done.returncode != 0
    assert re.search(rf"{re.escape(contract)} BROKEN", done.stdout), done.stdout
