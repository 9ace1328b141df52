"""Searched columns: an index finds what looking at every row finds, whatever was put, changed, dropped or rebuilt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.sql import searching
from adapters.sql.read_models import SqlReadModels
from domain.errors import Invalid
from domain.ports import Progress
from domain.tables import Change, Drop, Patch, Put, Table, Where

NOTES = Table(
    "notes", {"id": "text", "text": "text", "place": "int", "data": "json"}, key=("id",), indexes=(("place",),),
    searches=("text",),
)
LETTERS = st.text(alphabet='aAbÄäßİı"%_\\\x00 灯', max_size=8)


@pytest.fixture(params=["sqlite", "postgres"])
def models(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlReadModels]:
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else f"sqlite:///{tmp_path}/read.db"
    made = SqlReadModels(url)
    made.create("board", 1, (NOTES,))
    yield made
    made.close()


def put(id_: str, text: str, place: int = 0) -> Put:
    return Put("notes", {"id": id_, "text": text, "place": place, "data": {}})


def advance(models: SqlReadModels, *changes: Change, generation: int | None = None) -> int:
    one = (models.checkpoints() if generation is None else models.rebuilds())["board"]
    end = one.position + len(changes)
    models.advance([Progress("board", one.generation, one.position, end, list(enumerate(changes, one.position + 1)))])
    return end


def found(models: SqlReadModels, text: str, **options: Any) -> list[str]:
    with models.reader() as reader:
        return [row["id"] for row in reader.rows("notes", Where("text", "contains", text), **options)]


def plan(models: SqlReadModels, text: str) -> str:
    """How the database answers."""
    said: list[str] = []
    engine = models._sessions.engine

    @sa.event.listens_for(engine, "before_cursor_execute")
    def note(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        said.append(statement)

    found(models, text)
    sa.event.remove(engine, "before_cursor_execute", note)
    return "\n".join(said)


def test_what_is_put_changed_and_dropped_is_found_as_it_is_now(models: SqlReadModels) -> None:
    advance(models, put("a", "A lamp in the fog"), put("b", "No light"), put("c", "LAMPION"))
    assert found(models, "lamp") == ["a", "c"]
    gone = Drop("notes", {"id": "c"})
    advance(models, Patch("notes", {"id": "a"}, {"text": "Only fog"}), put("b", "Another Lamp"), gone)
    assert found(models, "lamp") == ["b"]
    assert found(models, "fog") == ["a"]
    advance(models, Patch("notes", {"id": "b"}, {"place": 9}))
    assert found(models, "other l") == ["b"]


def test_texts_too_short_for_a_piece_are_found_all_the_same(models: SqlReadModels) -> None:
    advance(models, put("a", "灯台"), put("b", "Ä"))
    assert found(models, "灯") == ["a"]
    assert found(models, "ä") == ["b"]
    assert found(models, "") == ["a", "b"]


def test_signs_of_patterns_and_of_questions_are_only_text(models: SqlReadModels) -> None:
    advance(models, put("a", 'say "lamp" OR 100%_\\x'), put("b", "say lamp or 100 xyz"))
    for text in ('"lamp"', "lamp\" OR", "00%_", "_\\x", "%_\\x"):
        assert found(models, text) == ["a"], text
    assert found(models, "lamp* NEAR") == []


@pytest.mark.parametrize("count", [searching.FEW, searching.FEW + 50, 1_500])
def test_however_many_are_found_they_come_in_order_and_page_by_page(
    models: SqlReadModels, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "MANY", 1_000)
    advance(models, *(put(f"n{number:04}", f"lamp {number}", number) for number in range(count)))
    seen: list[str] = []
    while page := found(models, "LAMP", order=("-place", "id"), limit=200,
                        after=(int(seen[-1][1:]), seen[-1]) if seen else ()):
        seen += page
        if len(page) < 200:
            break
    assert seen == [f"n{number:04}" for number in reversed(range(count))]
    assert found(models, "lamp 7", order=("place",), limit=3) == ["n0007", "n0070", "n0071"]


def test_a_rebuilt_table_is_searched_as_well(models: SqlReadModels) -> None:
    advance(models, put("a", "an old lamp"))
    generation = models.begin_rebuild("board", 2, (NOTES,))
    advance(models, put("a", "a new lamp"), put("b", "fog"), generation=generation)
    assert found(models, "old lamp") == ["a"]
    assert models.swap("board", generation)
    assert found(models, "old lamp") == []
    assert found(models, "new lamp") == ["a"]
    advance(models, put("c", "the newest lamp"), Drop("notes", {"id": "a"}))
    assert found(models, "lamp") == ["c"]
    again = models.begin_rebuild("board", 3, (NOTES,))
    models.drop_rebuild("board", again)
    assert found(models, "lamp") == ["c"]


def test_an_index_answers_where_the_database_has_one(models: SqlReadModels) -> None:
    advance(models, *(put(f"n{number}", f"lamp {number}") for number in range(50)))
    said = plan(models, "no such words")
    with models._sessions.engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            expected = "MATCH" in said
            assert expected == searching._fts5(connection)
        else:
            asked = "SELECT count(*) FROM pg_indexes WHERE indexname LIKE 'sx_notes%%'"
            index = connection.exec_driver_sql(asked).scalar()
            known = connection.exec_driver_sql("SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_trgm'")
            assert index == known.scalar()
            assert "LIKE" in said


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(LETTERS, min_size=1, max_size=8), LETTERS)
def test_both_rules_find_the_same(models: SqlReadModels, texts: list[str], wanted: str) -> None:
    with models.reader() as reader:
        old = [Drop("notes", {"id": row["id"]}) for row in reader.rows("notes")]
    advance(models, *old, *(put(f"n{number}", text) for number, text in enumerate(texts)))
    exact = {f"n{number}" for number, text in enumerate(texts) if wanted.lower() in text.lower()}
    if models._sessions.postgres:  # its rules for a capital I with a dot are its own
        exact = exact if "İ" not in wanted + "".join(texts) else set(found(models, wanted))
    assert set(found(models, wanted)) == exact


@pytest.mark.parametrize("searches", [("place",), ("nothing",)])
def test_only_texts_are_searched(models: SqlReadModels, searches: tuple[str, ...]) -> None:
    with pytest.raises(Invalid, match="searched"):
        models.create("other", 1, (Table("other", dict(NOTES.columns), key=("id",), searches=searches),))
