"""How SQLite answers what the views ask: by the declared indexes, on the first event as on the ten millionth.

Plans are looked at, never clocks. Every view of the registry is asked with each of its filters by itself; a view or a
filter that is new here needs a value in ``VALUES`` and nothing else.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from bench.story import PROJECT, history
from projected import Projected

from adapters.sql.read_models import SqlReadModels
from domain.errors import NotFound
from projections.reading import View
from services.registry import REGISTRY

VALUES: dict[str, Any] = {
    "account": "studio", "action": "export", "actor": "author3", "allow": False, "among": ("bench",),
    "attempt_id": "t10", "bare": True, "bucket": "hour", "category": "account", "changes": True,
    "character_id": "mara", "command_id": "c7", "decision_id": "d1", "deleted": True, "enforced": True,
    "hash": "ab" * 32, "id": "s7", "inherited": True, "kind": "scene", "licence": "CC0", "media_type": "image/png",
    "node_id": "n3", "nsfw": True, "position": 7, "preview": "failed", "q": "rain", "reference": "poster",
    "removed": True, "scene_id": "s7", "since": 3, "status": "reserved", "tag": "night", "type": "NodeEdited",
    "uid": "ab" * 8, "until": "2026-01-02T00:00:00Z", "worldline": "main", "worldline_id": "night", "as_of": 9,
    "archived": True, "badges": False, "cache_key": "s7:n3:main:_:_:_:_:_", "lane": "scratch", "node": "n3",
    "older": True, "parent": "main", "path": ("n1",), "scene": "s7", "snapshot_id": "ab" * 11, "snapshots": 3,
    "step": -1, "view": "default",
    "job_id": "j7", "level": "error", "made_by": "model", "owner": "author3", "preset": "portrait", "retry_of": "j6",
    "root": "j5", "engine": "studio_local", "depth": 3, "direction": "ancestors",
    "built_in": True, "collection": "rules", "key": "tide", "template_id": "toll", "world_id": "saltmere",
    "everything": True, "export_id": "ab" * 8, "fast_forward": False, "finished": True, "mask_pov": True,
    "name": "trust", "playthrough": "ab" * 8, "playthrough_id": "ab" * 8, "pov": "mara", "scope": "global",
    "slot": "quay", "source": "night", "source_at": 9, "target": "main", "target_at": 9, "timeline_id": "main",
    "worlds": ("main", "night"), "month": "2026-01", "license": "MIT", "model_id": "custom-rain",
}
OTHERWISE = {
    "ListCustomModels": {"type": "lora"}, "ListModelDownloads": {"status": "waiting"},
    "ListEntries": {"kind": "deducted"}, "ListAssets": {"type": "image"},
    "ListJobs": {"status": "failed", "since": "2026-01-02T03:04", "until": "2026-01-03"},
    "ShowDisclosure": {"category": "graphics"},
    "ShowCharacterItem": {"collection": "traits"}, "ShowTemplateItem": {"collection": "parameters"},
    "ShowTimelineItem": {"collection": "entries"}, "ListExports": {"status": "waiting"},
    "ShowProjectDocument": {"category": ("scene",)}, "ListSpending": {"scope": "account:studio"},
}
"""Fields that mean something else in one view."""

WALKED = {
    "assets": {"removed", "asset_type", "licence", "media_type", "nsfw", "preview", "kind"},
    "policy_decisions": {"allow", "enforced"},
}
"""Table -> columns that narrow a listing without an index of their own, while it is walked in its order."""

SEARCH = re.compile(
    r"(SEARCH|SCAN) (\w+)(?: USING (?:COVERING )?(?:INDEX|(?:INTEGER )?PRIMARY KEY)(?: \w+)?(?: \((.*)\))?)?"
)
EQUAL = re.compile(r"(\w+)\.(\w+) = (?:\?|9223372036854775807)")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlReadModels]:
    projected = Projected(tmp_path_factory.mktemp("plans"))
    for batch in history(600, scenes=10):
        projected.count(batch)
    yield projected.models
    projected.models.close()


def asked(view: View) -> Iterator[dict[str, Any]]:
    """The view with what it needs, and with each filter besides."""
    values = VALUES | OTHERWISE.get(view.name, {})
    fields = {name: one for name, one in view.query.model_fields.items()
              if name not in ("project", "min_position", "limit", "cursor")}
    needed = {name: values[name] for name, one in fields.items() if one.is_required()}
    yield needed
    for name in sorted(fields.keys() - needed.keys()):
        yield {**needed, name: values[name]}


def plans(models: SqlReadModels, view: View, given: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """Every statement of a question, with the steps that SQLite takes for it."""
    seen: list[tuple[str, Any]] = []
    engine = models._sessions.engine

    def see(_connection: Any, _cursor: Any, text: str, values: Any, _context: Any, _many: bool) -> None:
        seen.append((text, values))

    sa.event.listen(engine, "before_cursor_execute", see)
    try:
        # What is not there has been looked for, and that is what counts.
        with models.reader() as reader, contextlib.suppress(NotFound):
            view.answer(reader, view.query.model_validate({"project": PROJECT, **given}))
    finally:
        sa.event.remove(engine, "before_cursor_execute", see)
    with engine.connect() as connection:
        return [
            (text, [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values)])
            for text, values in seen if text.startswith("SELECT") and "projection_checkpoints" not in text
        ]


def unfit(text: str, steps: list[str]) -> str:
    """What is wrong with a plan; nothing when every step is narrowed by what was asked."""
    equal: dict[str, set[str]] = {}
    for table, column in EQUAL.findall(text.replace('"', "")):
        equal.setdefault(table, set()).add(column)
    sorted_ = any(step.startswith("USE TEMP B-TREE FOR ORDER BY") for step in steps)
    for step in steps:
        found = SEARCH.match(step)
        if found is None:
            continue
        kind, table, constraints = found.groups()
        if "VIRTUAL TABLE INDEX 0:M" in step:
            continue  # a full-text index that is asked for a text
        wanted = equal.get(table, set()) - {"project"} - WALKED.get(table, set())
        used = set(re.findall(r"(\w+)[=<>]", constraints or "")) - {"project"}
        if kind == "SCAN" and equal.get(table):
            return f"all of {table} is read"
        if wanted and not used & wanted:
            return f"{table} is searched without {sorted(wanted)}"
        if sorted_ and not used:
            return f"a whole project of {table} is read and sorted"
    return ""


@pytest.mark.parametrize("name", sorted(REGISTRY.views))
def test_a_view_reads_no_more_of_a_project_than_what_it_was_asked_for(name: str, models: SqlReadModels) -> None:
    view = REGISTRY.views[name]
    for given in asked(view):
        for text, steps in plans(models, view, given):
            assert not unfit(text, steps), f"{given}: {unfit(text, steps)}\n{text}\n{steps}"
