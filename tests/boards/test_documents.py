"""Documents through time, held against a naive model: any field, any position, any worldline, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from adapters.sql.read_models import SqlReadModels
from domain.errors import Invalid, NotFound
from domain.ids import MAIN
from domain.ports import Progress, Recorded, Stream
from domain.story.worldline import WorldlineForked
from domain.values import Event
from projections.boards.documents import Reach, document, documents, lineage, listing
from projections.declaration import Happened
from projections.reading import encode_cursor
from projections.story.worldline import PROJECTIONS as WORLDLINES


class Written(Event):
    """Some fields of a document were written; null removes."""

    values: dict[str, JsonValue]


BOARD = documents({"thing": lambda event: event.values})


def at(position: int, worldline: str, category: str, id_: str, event: Event) -> Happened:
    recorded = Recorded(
        position, Stream("demo", worldline, category, id_), type(event).__name__, 1, b"", f"e{position}", position,
        "2026-01-02T03:04:05Z", "author", f"c{position}", "", "", "",
    )
    return Happened(recorded, event)


def forked(position: int, name: str, parent: str, forked_at: int) -> Happened:
    return at(position, "-", "worldline", name, WorldlineForked(
        worldline_id=name, parent=parent, forked_at=forked_at, label=name, lane="scratch", pov="narrator",
        root_node="start", notes="", metadata={},
    ))


def wrote(position: int, worldline: str, id_: str, **values: Any) -> Happened:
    return at(position, worldline, "thing", id_, Written(values=values))


class Board:
    """The documents and worldlines of some events in a database."""

    def __init__(self, folder: Path, happened: Sequence[Happened], *, batch: int = 1000) -> None:
        self.models = SqlReadModels(f"sqlite:///{folder / 'read.db'}")
        for projection, category in ((BOARD, "thing"), (WORLDLINES[0], "worldline")):
            after = 0
            self.models.create(projection.name, projection.version, projection.tables)
            for start in range(0, len(happened), batch):
                part = happened[start : start + batch]
                changes = [
                    (one.recorded.position, change) for one in part if one.recorded.stream.category == category
                    for change in projection.apply(one)
                ]
                position = part[-1].recorded.position
                self.models.advance([Progress(projection.name, 1, after, position, changes)])
                after = position

    def document(self, worldline: str, as_of: int, id_: str) -> dict[str, Any] | None:
        with self.models.reader() as reader:
            found = document(reader, lineage(reader, "demo", worldline, as_of), "demo", "thing", id_)
        return found.fields if found else None

    def page(self, worldline: str, as_of: int, limit: int, cursor: str = "", **given: Any) -> dict[str, Any]:
        with self.models.reader() as reader:
            chain = lineage(reader, "demo", worldline, as_of)
            return listing(reader, chain, "demo", "thing", field="summary", limit=limit, cursor=cursor, **given)

    def listed(self, worldline: str, as_of: int, limit: int, **given: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        cursor = ""
        while True:
            page = self.page(worldline, as_of, limit, cursor, **given)
            assert len(page["items"]) <= limit
            for item in page["items"]:
                assert item["id"] not in found, "an item stood on two pages"
                found[item["id"]] = item["value"]
            if page["next"] is None:
                return found
            assert page["next"] != cursor
            cursor = page["next"]


HISTORY = [
    wrote(1, MAIN, "a", summary="A1", text="one"),
    wrote(2, MAIN, "b", summary="B2"),
    forked(3, "night", MAIN, 2),
    wrote(4, MAIN, "a", summary="A4", text="two"),
    wrote(5, "night", "a", summary="A5"),
    wrote(6, "night", "b", summary=None),
    wrote(7, "night", "c", summary="C7"),
    forked(8, "late", "night", 6),
    wrote(9, MAIN, "d", summary="D9"),
    wrote(10, "late", "b", summary="B10"),
    wrote(11, "night", "a", text=None),
]


def test_a_branch_reads_its_parent_as_it_was_at_the_fork(tmp_path: Path) -> None:
    board = Board(tmp_path, HISTORY)
    assert board.document(MAIN, 0, "a") == {"summary": "A4", "text": "two"}
    assert board.document("night", 4, "a") == {"summary": "A1", "text": "one"}
    assert board.document("night", 5, "a") == {"summary": "A5", "text": "one"}
    assert board.document("night", 0, "a") == {"summary": "A5"}, "a field removed on a branch hides the parent's"
    assert board.document("late", 0, "a") == {"summary": "A5", "text": "one"}
    assert board.document("late", 0, "d") is None
    assert board.document(MAIN, 8, "d") is None
    assert board.document(MAIN, 0, "c") is None


def test_a_document_deleted_on_a_branch_stays_elsewhere_and_can_come_back(tmp_path: Path) -> None:
    board = Board(tmp_path, HISTORY)
    for limit in (1, 2, 3, 10):
        assert board.listed(MAIN, 0, limit) == {"a": "A4", "b": "B2", "d": "D9"}
        assert board.listed("night", 0, limit) == {"a": "A5", "c": "C7"}
        assert board.listed("night", 5, limit) == {"a": "A5", "b": "B2"}
        assert board.listed("late", 0, limit) == {"a": "A5", "b": "B10"}
        assert board.listed("late", 9, limit) == {"a": "A5"}


def test_a_worldline_is_unknown_before_it_was_forked(tmp_path: Path) -> None:
    board = Board(tmp_path, HISTORY)
    with pytest.raises(NotFound):
        board.listed("night", 2, 5)
    with pytest.raises(NotFound):
        board.listed("nowhere", 0, 5)
    assert board.listed("night", 3, 5) == {"a": "A1", "b": "B2"}


def test_a_lineage_ends_at_main_with_what_each_worldline_saw(tmp_path: Path) -> None:
    with Board(tmp_path, HISTORY).models.reader() as reader:
        assert lineage(reader, "demo", "late", 9) == [Reach("late", 9), Reach("night", 6), Reach(MAIN, 2)]


@pytest.mark.parametrize("cursor", ["%%%", "bm90IGpzb24", encode_cursor([1]), encode_cursor(["a", "b"]), "W1tb" * 480])
def test_a_cursor_that_no_page_gave_out_is_refused(tmp_path: Path, cursor: str) -> None:
    with pytest.raises(Invalid) as caught:
        Board(tmp_path, HISTORY).page(MAIN, 0, 5, cursor)
    assert caught.value.code == "invalid_cursor"


NAMES = ("day", "night", "dusk")
FIELDS = ("summary", "text", "mood")
STEP = st.one_of(
    st.tuples(st.just("fork"), st.sampled_from(NAMES), st.integers(0, 3), st.integers(0, 10**6)),
    st.tuples(
        st.just("write"), st.integers(0, 3), st.sampled_from("abcdefg"),
        st.dictionaries(st.sampled_from(FIELDS), st.none() | st.integers(0, 9), min_size=1),
    ),
)


def played(steps: Sequence[Any]) -> tuple[list[Happened], dict[str, tuple[str, int, int]]]:
    """Steps as events that could have happened, and the worldlines as (parent, forked at, forked position)."""
    happened: list[Happened] = []
    lines: dict[str, tuple[str, int, int]] = {MAIN: ("", 0, 0)}
    for step in steps:
        position = len(happened) + 1
        if step[0] == "fork":
            _, name, parent_index, at_ = step
            parent = sorted(lines)[parent_index % len(lines)]
            earliest = lines[parent][1]
            if name in lines:
                continue
            forked_at = earliest + at_ % (position - earliest)
            lines[name] = (parent, forked_at, position)
            happened.append(forked(position, name, parent, forked_at))
        else:
            _, line_index, id_, values = step
            happened.append(wrote(position, sorted(lines)[line_index % len(lines)], id_, **values))
    return happened, lines


def naive(happened: Sequence[Happened], lines: dict[str, Any], name: str, upto: int) -> dict[str, dict[str, Any]]:
    """Every document of a worldline up to a position, by replaying everything along the chain."""
    state: dict[str, dict[str, Any]] = {}
    if name != MAIN:
        parent, forked_at, _ = lines[name]
        state = naive(happened, lines, parent, min(upto, forked_at))
    for one in happened:
        stream = one.recorded.stream
        if stream.worldline == name and stream.category == "thing" and one.recorded.position <= upto:
            assert isinstance(one.event, Written)
            state.setdefault(stream.id, {}).update(one.event.values)
    return state


@settings(max_examples=120, deadline=None)
@given(
    st.lists(STEP, min_size=1, max_size=40), st.integers(1, 4), st.integers(1, 9),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 10**6)), min_size=1, max_size=6),
)
def test_reading_along_worldlines_agrees_with_replaying_everything(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Any], limit: int, batch: int, looks: list[tuple[int, int]],
) -> None:
    happened, lines = played(steps)
    board = Board(tmp_path_factory.mktemp("read"), happened, batch=batch)
    for line_index, moment in looks:
        name = sorted(lines)[line_index % len(lines)]
        first = max(1, lines[name][2])
        as_of = moment % (len(happened) + 2)
        if 0 < as_of < first:
            continue
        expected = naive(happened, lines, name, as_of or len(happened))
        for id_ in "abcdefg":
            fields = {path: value for path, value in expected.get(id_, {}).items() if value is not None}
            assert board.document(name, as_of, id_) == (fields or None)
        summaries = {id_: fields["summary"] for id_, fields in sorted(expected.items())
                     if fields.get("summary") is not None}
        assert board.listed(name, as_of, limit) == summaries
        even = {id_: value for id_, value in summaries.items() if value % 2 == 0}
        kept = board.listed(name, as_of, limit, keep=lambda row: row["value"] is not None and row["value"] % 2 == 0)
        assert kept == even
    board.models.close()
