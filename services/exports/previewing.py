"""What an export would do, told without touching anything: each file's fate, and short diffs of scripts."""

from __future__ import annotations

from difflib import unified_diff
from itertools import islice
from pathlib import Path
from typing import Any, Final

from domain.exchange.renpy.package import Package
from services.exports.folder import compared, standing

DIFFS: Final = 40
"""Most files of which a diff is shown."""

LINES: Final = 40
"""Longest diff in lines."""

WIDTH: Final = 200
LARGEST: Final = 2**19
"""Largest text that is compared line by line."""


def preview(folder: Path, package: Package) -> dict[str, Any]:
    """``{"files": [{path, status, bytes, diff?}], "summary": {new, modified, unchanged, removed, kept}, …}``.
    Blocking."""
    was = standing(folder)
    placing = compared(package, was)
    told: list[dict[str, Any]] = []
    shown = 0
    for status in ("new", "modified", "unchanged", "removed"):
        for path in getattr(placing, status):
            one: dict[str, Any] = {"path": path, "status": status, "bytes": _size(package, path)}
            if path in placing.edited:
                one["edited"] = True
            if status == "modified" and path in package.texts and shown < DIFFS:
                one["diff"] = _diff(folder / path, path, package.texts[path])
                shown += 1
            told.append(one)
    summary = {name: len(getattr(placing, name)) for name in ("new", "modified", "unchanged", "removed", "kept")}
    return {
        "files": sorted(told, key=lambda one: one["path"]), "summary": summary, "edited": list(placing.edited),
        "refused": _refused(was.extra and not was.ours, bool(placing.edited)),
        "missing_assets": list(package.missing), "unused_assets": [one.uid for one in package.unused],
        "recipe": package.recipe, "manifest": package.manifest,
    }


def _refused(foreign: object, edited: bool) -> str | None:
    return "not_an_export" if foreign else "export_edited" if edited else None


def _size(package: Package, path: str) -> int | None:
    if path in package.texts:
        return len(package.texts[path])
    return package.blobs[path].size if path in package.blobs else None


def _diff(old: Path, path: str, new: bytes) -> str:
    try:
        if max(old.stat().st_size, len(new)) > LARGEST:
            return "(too large to compare line by line)"
        before = old.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    # Not ``splitlines``: that would break lines at letters which no script breaks at.
    lines = unified_diff(before.split("\n"), new.decode().split("\n"), f"a/{path}", f"b/{path}", lineterm="", n=2)
    found = [line if len(line) <= WIDTH else line[:WIDTH] + "…" for line in islice(lines, LINES + 1)]
    return "\n".join(found if len(found) <= LINES else [*found[:LINES], "…"])
