"""What every adapter of ``domain.ports.ReadModels`` promises, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.sql.read_models import SqlReadModels
from domain.errors import Invalid, NotFound, Refused, Unavailable
from domain.ports import Overtaken, Progress
from domain.tables import OPEN, Add, Change, Drop, Has, Patch, Put, Supersede, Table, Where

THINGS = Table(
    "things",
    {"project": "text", "id": "text", "number": "int", "fine": "bool", "data": "json", "note": "text"},
    key=("project", "id"), indexes=(("project", "number"),), nullable=frozenset({"note"}),
)
TAGS = Table("tags", {"project": "text", "id": "text", "tag": "text"}, key=("project", "id", "tag"))
LINES = Table(
    "lines", {"project": "text", "id": "text", "value": "json"}, key=("project", "id"), temporal=True,
    indexes=(("project", "valid_to", "id"),),
)
TABLES = (THINGS, TAGS, LINES)


@pytest.fixture(params=["sqlite", "postgres"])
def models(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlReadModels]:
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else f"sqlite:///{tmp_path}/read.db"
    made = SqlReadModels(url)
    made.create("board", 1, TABLES)
    yield made
    made.close()


@pytest.fixture
def both(tmp_path: Path, postgres_url: str) -> Iterator[tuple[SqlReadModels, SqlReadModels]]:
    pair = SqlReadModels(f"sqlite:///{tmp_path}/read.db"), SqlReadModels(postgres_url)
    yield pair
    for one in pair:
        one.close()


def thing(id_: str = "a", number: int = 1, **given: Any) -> dict[str, Any]:
    return {"project": "p", "id": id_, "number": number, "fine": True, "data": {}, "note": None, **given}


def advance(models: SqlReadModels, *changes: Change, generation: int | None = None, name: str = "board") -> int:
    """Each change at the next position; the position reached."""
    known = models.checkpoints() if generation is None else models.rebuilds()
    one = known[name]
    placed = list(enumerate(changes, one.position + 1))
    models.advance([Progress(name, one.generation, one.position, one.position + len(changes), placed)])
    return one.position + len(changes)


def rows(models: SqlReadModels, table: str, *where: Where | Has, **more: Any) -> list[dict[str, Any]]:
    with models.reader() as reader:
        return reader.rows(table, *where, **more)


# Changes


def test_a_put_writes_a_whole_row_and_replaces_it(models: SqlReadModels) -> None:
    advance(models, Put("things", thing(number=1)))
    advance(models, Put("things", thing(number=2, note="x", data={"b": [1.5, None], "a": "ä"})))
    assert rows(models, "things") == [thing(number=2, note="x", data={"b": [1.5, None], "a": "ä"})]


def test_a_patch_sets_some_columns_and_does_nothing_to_a_missing_row(models: SqlReadModels) -> None:
    advance(models, Put("things", thing()), Patch("things", {"project": "p", "id": "none"}, {"number": 5}))
    advance(models, Patch("things", {"project": "p", "id": "a"}, {"number": 7, "fine": False}))
    assert rows(models, "things") == [thing(number=7, fine=False)]


def test_an_addition_counts_a_missing_row_from_zero(models: SqlReadModels) -> None:
    key, rest = {"project": "p", "id": "a"}, {"fine": True, "data": {}, "note": None}
    advance(models, Add("things", key, {"number": 3}, rest))
    more = Add("things", key, {"number": 4}, {**rest, "fine": False}), Add("things", key, {"number": -1}, rest)
    advance(models, *more)
    assert rows(models, "things") == [thing(number=6)]


def test_what_an_addition_sets_first_is_set_only_when_it_makes_the_row(models: SqlReadModels) -> None:
    def seen(position: int) -> Add:
        key, first = {"project": "p", "id": "a"}, {"fine": True, "note": "1st"}
        return Add("things", key, {"number": 1}, {"data": position}, first)

    advance(models, seen(1), seen(2)._replace(first={"fine": False, "note": "2nd"}))
    assert rows(models, "things") == [thing(number=2, data=2, note="1st")]
    advance(models, seen(3)._replace(first={"fine": False, "note": "3rd"}))
    assert rows(models, "things") == [thing(number=3, data=3, note="1st")]


def test_a_drop_deletes_by_any_leading_columns_of_the_key(models: SqlReadModels) -> None:
    def tag(id_: str, tag_: str) -> Put:
        return Put("tags", {"project": "p", "id": id_, "tag": tag_})

    advance(models, tag("a", "x"), tag("a", "y"), tag("b", "x"), tag("c", "x"))
    advance(models, Drop("tags", {"project": "p", "id": "a"}), Drop("tags", {"project": "p", "id": "b", "tag": "x"}))
    assert [row["id"] for row in rows(models, "tags")] == ["c"]
    advance(models, tag("d", "x"), Drop("tags", {}), tag("e", "x"))
    assert [row["id"] for row in rows(models, "tags")] == ["e"]


def line(value: Any, id_: str = "a") -> Supersede:
    return Supersede("lines", {"project": "p", "id": id_}, None if value is None else {"value": value})


def spans(models: SqlReadModels, id_: str = "a") -> list[tuple[Any, int, int]]:
    found = rows(models, "lines", Where("id", "=", id_))
    return [(row["value"], row["valid_from"], row["valid_to"]) for row in found]


def test_superseding_closes_the_open_row_where_the_next_begins(models: SqlReadModels) -> None:
    advance(models, line("one"), line("two"))
    advance(models, line("three"))
    assert spans(models) == [("one", 1, 2), ("two", 2, 3), ("three", 3, OPEN)]
    advance(models, line(None))
    assert spans(models)[-1] == ("three", 3, 4)
    advance(models, line(None), line("back"))
    assert spans(models)[-2:] == [("three", 3, 4), ("back", 6, OPEN)]


def test_the_last_of_several_in_one_event_wins(models: SqlReadModels) -> None:
    advance(models, line("old"))
    changes = [(2, line("x")), (2, line("y")), (3, line("z")), (3, line(None))]
    models.advance([Progress("board", 1, 1, 3, changes)])
    assert spans(models) == [("old", 1, 2), ("y", 2, 3)]


def test_dropping_from_a_temporal_table_drops_its_past(models: SqlReadModels) -> None:
    advance(models, line("a1"), line("b1", "b"), line("a2"))
    advance(models, line("a3"), Drop("lines", {"project": "p", "id": "a"}), line("a4"))
    assert spans(models) == [("a4", 6, OPEN)]
    assert spans(models, "b") == [("b1", 2, OPEN)]


@pytest.mark.parametrize(
    "change",
    [
        Put("things", {"project": "p", "id": "a"}),
        Put("things", thing(other=1)),
        Put("things", thing(number="1")),
        Put("things", thing(number=2**63)),
        Put("things", thing(number=None)),
        Put("things", thing(fine=1)),
        Put("things", thing(id_=5)),  # type: ignore[arg-type]
        Put("things", thing(data=object())),
        Put("things", thing(data=float("nan"), note="\ud800") | {"data": {1: float("nan")}}),
        Put("nowhere", {}),
        Patch("things", {"project": "p"}, {"number": 1}),
        Patch("things", {"project": "p", "id": "a"}, {"id": "b"}),
        Add("things", {"project": "p", "id": "a"}, {"number": 1}),
        Add("things", {"project": "p", "id": "a"}, {"fine": 1}, {"number": 1, "data": 1, "note": None}),
        Drop("things", {"id": "a"}),
        Supersede("things", {"project": "p", "id": "a"}, {}),
        Put("lines", {"project": "p", "id": "a", "value": 1}),
        Supersede("lines", {"project": "p", "id": "a"}, {"values": 1}),
    ],
)
def test_a_change_that_does_not_fit_is_refused_by_name_and_nothing_is_written(
    models: SqlReadModels, change: Change
) -> None:
    with pytest.raises(Invalid) as caught:
        advance(models, Put("tags", {"project": "p", "id": "a", "tag": "x"}), change)
    assert caught.value.remediation
    assert rows(models, "tags") == []
    assert models.checkpoints()["board"].position == 0


def test_a_sum_beyond_64_bit_is_refused_and_nothing_is_written(models: SqlReadModels) -> None:
    key, rest = {"project": "p", "id": "a"}, {"fine": True, "data": {}, "note": None}
    advance(models, Add("things", key, {"number": 2**63 - 1}, rest))
    with pytest.raises(Invalid):
        advance(models, Add("things", key, {"number": 1}, rest))
    assert rows(models, "things") == [thing(number=2**63 - 1)]


STRANGE = [
    "", "\x00", "a\x00b", "\x1a", "\x1a0\x1aD800", "\ud800", "\udfff\ud800x", "ß€😀", "%_\\'\"", "\U0010ffff", "\n\t\r",
]


@pytest.mark.parametrize("text", STRANGE)
def test_any_text_comes_back_and_is_found(models: SqlReadModels, text: str) -> None:
    advance(models, Put("things", thing(text, note=text, data={"k" + text: [text]})))
    expected = [thing(text, note=text, data={"k" + text: [text]})]
    assert rows(models, "things", Where("id", "=", text)) == expected
    assert rows(models, "things", Where("note", "prefix", text)) == expected
    assert rows(models, "things", Where("note", "contains", text)) == expected
    assert rows(models, "things", Where("id", "in", ["other", text])) == expected


def test_numbers_beyond_64_bit_survive_in_json(models: SqlReadModels) -> None:
    data = {"z": [2**64, -(2**70), 10**400], "a": {"deep": 2**63}, "f": 1e300, "one": 1.0}
    advance(models, Put("things", thing(data=data)))
    (row,) = rows(models, "things")
    assert row["data"] == data
    assert type(row["data"]["one"]) is float


def test_json_as_deep_as_python_goes_comes_back(models: SqlReadModels) -> None:
    deep: Any = 1
    for _ in range(400):
        deep = [deep]
    advance(models, Put("things", thing(data=deep)))
    assert rows(models, "things")[0]["data"] == deep


# Any sequence of changes, gathered, is the same as one by one, on both databases

IDS = st.sampled_from(["a", "b", "ä\x00"])
NUMBERS = st.integers(-3, 3)
JSONS = st.sampled_from([1, None, {"b": 1, "a": [2**65]}, "x"])
KEYS = st.builds(lambda id_: {"project": "p", "id": id_}, IDS)
TAG_PARTS = st.sampled_from(
    [{}, {"project": "p"}, {"project": "p", "id": "a"}, {"project": "p", "id": "b", "tag": "x"}]
)
NOTES = st.none() | st.sampled_from(["", "n"])

CHANGES = st.one_of(
    st.builds(
        lambda key, number, fine, data, note: Put(
            "things", {**key, "number": number, "fine": fine, "data": data, "note": note}
        ),
        KEYS, NUMBERS, st.booleans(), JSONS, NOTES,
    ),
    st.builds(
        lambda key, values: Patch("things", key, values), KEYS,
        st.fixed_dictionaries({}, optional={"number": NUMBERS, "fine": st.booleans(), "data": JSONS, "note": NOTES}),
    ),
    st.builds(
        lambda key, number, fine, data, note: Add(
            "things", key, {"number": number}, {"fine": fine, "data": data, "note": note}
        ),
        KEYS, NUMBERS, st.booleans(), JSONS, NOTES,
    ),
    st.builds(
        lambda key, number, fine, data, note: Add(
            "things", key, {"number": number}, {"fine": fine}, {"data": data, "note": note}
        ),
        KEYS, NUMBERS, st.booleans(), JSONS, NOTES,
    ),
    st.builds(lambda key: Drop("things", key), KEYS | st.just({}) | st.just({"project": "p"})),
    st.builds(lambda id_, tag: Put("tags", {"project": "p", "id": id_, "tag": tag}), IDS, st.sampled_from("xy")),
    st.builds(lambda part: Drop("tags", part), TAG_PARTS),
    st.builds(
        lambda key, value: Supersede("lines", key, value),
        KEYS, st.none() | st.builds(lambda value: {"value": value}, JSONS),
    ),
    st.builds(lambda key: Drop("lines", key), KEYS | st.just({"project": "p"})),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.booleans(), CHANGES), max_size=25), cuts=st.sets(st.integers(1, 25), max_size=4))
def test_gathered_changes_have_the_effect_of_single_ones(
    both: tuple[SqlReadModels, SqlReadModels], changes: Sequence[tuple[bool, Change]], cuts: set[int]
) -> None:
    placed: list[tuple[int, Change]] = []
    position = 0
    for next_event, change in changes:
        position += 1 if next_event or not placed else 0
        placed.append((position, change))
    found: list[Mapping[str, str]] = []
    for models in both:
        models.create("board", 1, TABLES)
        for ends in (range(1, position + 1), sorted({*cuts, position} & set(range(1, position + 1)))):
            generation = models.begin_rebuild("board", 1, TABLES)
            after = 0
            for end in ends:
                step = [one for one in placed if after < one[0] <= end]
                models.advance([Progress("board", generation, after, end, step)])
                after = end
            found.append(models.digests("board", generation))
    assert found == [found[0]] * 4


# Reading


@pytest.fixture
def shelf(models: SqlReadModels) -> SqlReadModels:
    names = ["a", "B", "b", "Ä", "ä", "c%d", "c_d", "cxd", "10", "9", "é", "Straße"]
    advance(
        models,
        *[
            Put("things", thing(name, number=number % 4, fine=number % 2 == 0, note=None if number % 3 else name))
            for number, name in enumerate(names)
        ],
    )
    return models


def ids(models: SqlReadModels, *where: Where | Has, **more: Any) -> list[str]:
    return [row["id"] for row in rows(models, "things", *where, **more)]


def test_text_is_ordered_by_code_points_on_every_database(shelf: SqlReadModels) -> None:
    found = ids(shelf, order=("id",))
    assert found == sorted(found)
    assert ids(shelf, order=("-id",)) == found[::-1]
    assert ids(shelf) == found


@pytest.mark.parametrize(
    ("order", "size"),
    [(("id",), 1), (("-number", "id"), 2), (("number", "-id"), 5), (("-number", "-id"), 3), (("note", "id"), 4),
     (("-note", "-id"), 2), (("project", "id"), 100)],
)
def test_pages_show_every_row_once_in_order(shelf: SqlReadModels, order: tuple[str, ...], size: int) -> None:
    whole = rows(shelf, "things", order=order)
    assert len(whole) == 12
    paged: list[dict[str, Any]] = []
    after: list[Any] = []
    while True:
        part = rows(shelf, "things", order=order, limit=size, after=after)
        if not part:
            break
        paged += part
        after = [part[-1][column.lstrip("-")] for column in order]
    assert paged == whole


def test_conditions_narrow(shelf: SqlReadModels) -> None:
    assert ids(shelf, Where("id", "prefix", "c")) == ["c%d", "c_d", "cxd"]
    assert ids(shelf, Where("id", "contains", "C_D")) == ["c_d"]
    assert ids(shelf, Where("id", "contains", "%")) == ["c%d"]
    assert ids(shelf, Where("id", "contains", "ä")) == ["Ä", "ä"]
    assert ids(shelf, Where("id", "contains", "STRASSE")) == []
    assert ids(shelf, Where("id", "contains", "STRAßE")) == ["Straße"]
    assert ids(shelf, Where("number", "in", [])) == []
    assert set(ids(shelf, Where("number", ">=", 2), Where("fine", "=", True))) == {"b", "c_d", "é"}
    assert len(ids(shelf, Where("note", "=", None))) == 8
    assert len(ids(shelf, Where("note", "!=", None))) == 4
    assert len(ids(shelf, Where("note", "!=", "a"))) == 11
    assert ids(shelf, Where("id", "=", "a"), Where("data", "=", {})) == ["a"]
    with shelf.reader() as reader:
        assert reader.count("things", Where("number", "<", 1)) == 3
        assert reader.row("things", project="p", id="none") is None
        assert reader.row("things", project="p", id="9") == thing("9", number=1, fine=False, note="9")


def test_rows_can_be_chosen_by_rows_of_another_table(shelf: SqlReadModels) -> None:
    advance(shelf, *[Put("tags", {"project": "p", "id": id_, "tag": tag}) for id_, tag in ["ax", "bx", "by"]])
    has = Has("tags", {"project": "project", "id": "id"}, (Where("tag", "=", "x"),))
    assert ids(shelf, has) == ["a", "b"]
    assert ids(shelf, has, Has("tags", {"id": "id"}, (Where("tag", "=", "y"),))) == ["b"]
    again = Has("things", {"project": "project", "number": "number"}, (Where("id", "=", "B"),))
    assert ids(shelf, again) == ["9", "B", "c%d"]
    with shelf.reader() as reader:
        assert reader.count("things", has) == 2


@pytest.mark.parametrize(
    "where",
    [Where("number", "=", 2**63), Where("number", "=", "1"), Where("id", ">", None), Where("number", "contains", "1"),
     Where("id", "like", "1"), Where("fine", "=", "yes")],  # type: ignore[arg-type]
)
def test_a_condition_that_makes_no_sense_is_a_clear_error(models: SqlReadModels, where: Where) -> None:
    with pytest.raises(Invalid), models.reader() as reader:
        reader.rows("things", where)


def test_what_is_not_there_yet_is_unavailable(models: SqlReadModels) -> None:
    with models.reader() as reader:
        with pytest.raises(Unavailable) as caught:
            reader.rows("not_made_yet")
        assert caught.value.code == "read_model_missing"
        with pytest.raises(Unavailable):
            reader.rows("things", Where("new_column", "=", 1))
        assert reader.position("not_made_yet") == 0


def test_a_reader_sees_one_state_while_others_write(models: SqlReadModels) -> None:
    advance(models, Put("things", thing(number=1)), line("one"))
    with models.reader() as reader:
        assert reader.position("board") == 2
        advance(models, Put("things", thing(number=2)), line("two"))
        assert reader.rows("things") == [thing(number=1)]
        assert len(reader.rows("lines")) == 1
    assert rows(models, "things") == [thing(number=2)]


def test_what_holds_at_a_position_is_an_ordinary_question(models: SqlReadModels) -> None:
    advance(models, line("one"), line("two"), line("x", "b"), line(None))
    for position, expected in [(1, ["one"]), (2, ["two"]), (3, ["two", "x"]), (4, ["x"])]:
        found = rows(models, "lines", Where("valid_from", "<=", position), Where("valid_to", ">", position))
        assert [row["value"] for row in found] == expected
    for now in (Where("valid_to", "=", OPEN), Where("valid_to", ">", OPEN - 1), Where("valid_to", ">=", OPEN)):
        assert [row["value"] for row in rows(models, "lines", now)] == ["x"]


# Checkpoints


def test_creating_again_changes_nothing(models: SqlReadModels) -> None:
    advance(models, Put("things", thing()))
    again = models.create("board", 2, TABLES)
    assert (again.version, again.position, again.generation) == (1, 1, 1)
    assert models.create("board", 1, (THINGS,)).version == 0, "tables of another shape count as version 0"
    assert rows(models, "things") == [thing()]


def test_a_table_of_somebody_else_is_never_touched(models: SqlReadModels) -> None:
    with pytest.raises(Refused) as caught:
        models.create("other", 1, (THINGS,))
    assert caught.value.code == "table_taken"
    assert "other" not in models.checkpoints()


@pytest.mark.parametrize("step", [("board", 1, 5), ("board", 2, 0), ("nobody", 1, 0)])
def test_a_step_from_elsewhere_is_overtaken_and_changes_nothing(
    models: SqlReadModels, step: tuple[str, int, int]
) -> None:
    name, generation, after = step
    good = Progress("board", 1, 0, 1, [(1, Put("things", thing()))])
    with pytest.raises(Overtaken):
        models.advance([good, Progress(name, generation, after, after + 1, [])])
    assert rows(models, "things") == []


def test_of_two_at_once_exactly_one_counts(models: SqlReadModels) -> None:
    key, rest = {"project": "p", "id": "a"}, {"fine": True, "data": {}, "note": None}
    outcomes: list[str] = []

    def count() -> None:
        for position in range(30):
            changes = [(position + 1, Add("things", key, {"number": 1}, rest))]
            try:
                models.advance([Progress("board", 1, position, position + 1, changes)])
                outcomes.append("counted")
            except Overtaken:
                outcomes.append("overtaken")

    together(count, count, count)
    assert outcomes.count("counted") == 30
    assert rows(models, "things") == [thing(number=30)]


def test_a_stopped_projection_stays_readable_and_takes_no_steps(models: SqlReadModels) -> None:
    advance(models, Put("things", thing()))
    models.stop("board", 2, "it broke\x00")
    one = models.checkpoints()["board"]
    assert (one.status, one.position, one.failed_position, one.error) == ("stopped", 1, 2, "it broke\x00")
    with pytest.raises(Overtaken):
        advance(models, Put("things", thing(number=2)))
    assert rows(models, "things") == [thing()]
    models.resume("board")
    advance(models, Put("things", thing(number=2)))
    assert models.checkpoints()["board"] == one._replace(status="live", position=2, failed_position=0, error="")
    with pytest.raises(NotFound):
        models.stop("nobody", 1, "")


# Rebuilding


def test_rebuilt_tables_take_the_place_of_the_live_ones(models: SqlReadModels) -> None:
    advance(models, Put("things", thing()), line("one"))
    wider = Table("things", {**THINGS.columns, "extra": "int"}, THINGS.key, nullable=THINGS.nullable)
    generation = models.begin_rebuild("board", 2, (wider, LINES))
    assert models.rebuilds()["board"].generation == generation
    advance(models, Put("things", {**thing(), "extra": 1}), generation=generation)
    assert not models.swap("board", generation), "it has counted less"
    advance(models, line("one"), generation=generation)
    assert rows(models, "things") == [thing()]
    assert models.swap("board", generation)
    assert rows(models, "things") == [{**thing(), "extra": 1}]
    one = models.checkpoints()["board"]
    assert (one.version, one.generation, one.position) == (2, generation, 2)
    assert models.rebuilds() == {}
    with pytest.raises(Overtaken):
        models.advance([Progress("board", 1, 2, 3, [])])
    with pytest.raises(Unavailable):
        rows(models, "tags")
    advance(models, line("two"))
    assert spans(models) == [("one", 2, 3), ("two", 3, OPEN)]
    again = models.begin_rebuild("board", 2, (wider, LINES))
    assert again > generation


def test_a_new_try_drops_what_an_earlier_one_left(models: SqlReadModels) -> None:
    first = models.begin_rebuild("board", 1, TABLES)
    advance(models, Put("things", thing()), generation=first)
    second = models.begin_rebuild("board", 1, TABLES)
    assert second > first
    assert models.rebuilds()["board"].position == 0
    with pytest.raises(Overtaken):
        models.advance([Progress("board", first, 1, 2, [])])
    with pytest.raises(Overtaken):
        models.swap("board", first)
    models.drop_rebuild("board", second)
    assert models.rebuilds() == {}
    assert models.checkpoints()["board"].generation == 1
    with pytest.raises(NotFound):
        models.fingerprint("board", second)


def test_readers_never_see_a_half_built_table_nor_an_error(models: SqlReadModels) -> None:
    whole = [Put("things", thing(f"{number:03}")) for number in range(200)]
    advance(models, *whole)
    ended = threading.Event()
    seen: list[tuple[int, int]] = []

    def read() -> None:
        while not ended.is_set():
            with models.reader() as reader:
                seen.append((reader.position("board"), len(reader.rows("things"))))

    def swap() -> None:
        try:
            for _ in range(8):
                generation = models.begin_rebuild("board", 1, TABLES)
                for start in range(0, 200, 50):
                    placed = list(enumerate(whole[start : start + 50], start + 1))
                    models.advance([Progress("board", generation, start, start + 50, placed)])
                assert models.swap("board", generation)
        finally:
            ended.set()

    together(swap, read, read)
    assert seen
    assert set(seen) == {(200, 200)}


def test_the_same_rows_have_the_same_digest_however_they_came(both: tuple[SqlReadModels, SqlReadModels]) -> None:
    found = []
    for number, models in enumerate(both):
        models.create("board", 1, TABLES)
        changes: list[Change] = [
            Put("things", thing(text, note=text, data={text: [2**70, text, 1.5]}, fine=bool(index % 2)))
            for index, text in enumerate(STRANGE)
        ]
        changes += [line({"ä": index}) for index in range(5)]
        if number:
            changes[: len(STRANGE)] = changes[: len(STRANGE)][::-1]
            for change in changes:
                advance(models, change)
        else:
            advance(models, *changes)
        found.append(models.fingerprint("board"))
    assert found[0] == found[1]
    advance(both[0], Patch("things", {"project": "p", "id": ""}, {"number": 2}))
    changed = both[0].digests("board")
    assert [name for name in changed if changed[name] != found[0].tables[name]] == ["things"]


def together(*work: Callable[[], None]) -> None:
    """Runs functions at once and raises what any of them raised."""
    errors: list[BaseException] = []

    def guarded(one: Callable[[], None]) -> None:
        try:
            one()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    if errors:
        raise errors[0]
