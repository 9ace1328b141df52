"""An installation of LivePortrait as it lies in its folder: what is there, what is missing, which options it knows.

Nothing of it is imported or run to find that out, but its Python, which is asked for the packages that it has.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from domain.studio.fault import Fault, fault

PYTHONS: Final = (".venv/bin/python", "venv/bin/python", "env/bin/python", ".venv/Scripts/python.exe")
"""Where its own Python usually is."""

PACKAGES: Final = ("torch", "tyro", "cv2", "numpy")
"""What it cannot do without."""

CAUTION: Final = (
    "LivePortrait's code is under the MIT licence, but the face detector that it downloads (InsightFace's buffalo_l) "
    "is said to be for non-commercial use only. Read its terms, or exchange the detector, before you sell results."
)

_ASKING: Final = (
    "import importlib.util as u,json,platform,sys;"
    "missing=[n for n in sys.argv[1:] if u.find_spec(n) is None];"
    "print(json.dumps({'python':platform.python_version(),'missing':missing}))"
)


class Installation(NamedTuple):
    """What was found. ``options`` are the fields of its command line; ``wrong`` why it cannot be used."""

    path: Path | None
    python: str
    options: frozenset[str] = frozenset()
    facts: Mapping[str, Any] = {}
    wrong: Fault | None = None

    @property
    def missing(self) -> tuple[str, ...]:
        return tuple(self.wrong.detail.get("missing", ())) or ("LivePortrait",) if self.wrong else ()


def found(path: Path | None, python: str | None) -> Installation:
    """Looks at an installation. Blocking, a second at most as a rule."""
    if path is None:
        return Installation(None, "", wrong=fault("DEPENDENCY_MISSING", "No LivePortrait is configured.",
                                                  missing=["LivePortrait"]))
    if not (path / "inference.py").is_file():
        return Installation(path, "", wrong=fault(
            "DEPENDENCY_MISSING", "The configured folder holds no LivePortrait: there is no inference.py in it.",
            missing=["LivePortrait"]))
    program = python or next((str(path / one) for one in PYTHONS if (path / one).is_file()), "")
    if not program or not os.access(program, os.X_OK):
        return Installation(path, program, wrong=fault(
            "DEPENDENCY_MISSING", "LivePortrait's own Python is not there; name it in the settings.",
            missing=["python"]))
    if not [*(path / "pretrained_weights" / "liveportrait").rglob("*.pth")]:
        return Installation(path, program, wrong=fault(
            "DEPENDENCY_MISSING", "LivePortrait's weights are missing: pretrained_weights/liveportrait has none.",
            missing=["LivePortrait weights"]))
    return _asked(path, program)


def _asked(path: Path, program: str) -> Installation:
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "SYSTEMROOT") if name in os.environ}
    try:
        ran = subprocess.run([program, "-c", _ASKING, *PACKAGES], capture_output=True, timeout=30, check=True, cwd=path,
                             env=environment)
        told = json.loads(ran.stdout)
        facts, missing = {"python": str(told["python"])[:40]}, [str(one) for one in told["missing"]]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return Installation(path, program, wrong=fault("DEPENDENCY_MISSING", "LivePortrait's Python does not start.",
                                                       missing=["python"]))
    if missing:
        return Installation(path, program, facts=facts, wrong=fault(
            "DEPENDENCY_MISSING", f"LivePortrait's Python lacks {', '.join(missing)}.", missing=missing))
    return Installation(path, program, _options(path), facts)


def _options(path: Path) -> frozenset[str]:
    """The names of its command line's options, read from their declaration; they changed between its releases."""
    try:
        tree = ast.parse((path / "src" / "config" / "argument_config.py").read_bytes()[: 2**20])
    except (OSError, SyntaxError, ValueError, RecursionError):
        return frozenset()
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    return frozenset(field.target.id for one in classes for field in one.body
                     if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name))
