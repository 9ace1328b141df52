"""What two worldlines have in common: the fork, the last merge in either direction, and merges crosswise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from domain.story.merging.history import History, Line, Past, Version, bases, known


def history(lines: Mapping[str, Line], merges: Mapping[str, Sequence[Past]] | None = None) -> History:
    return History(lambda name: lines[name], lambda name: (merges or {}).get(name, ()))


LINES = {"a": Line("main", 10), "b": Line("main", 20), "deep": Line("a", 15)}


def test_without_a_merge_it_is_the_fork() -> None:
    found = history(LINES)
    assert bases(found, Version("a", 100), Version("main", 100)) == [Version("main", 10)]
    assert bases(found, Version("main", 100), Version("a", 100)) == [Version("main", 10)]


def test_siblings_have_the_earlier_fork_in_common() -> None:
    assert bases(history(LINES), Version("a", 100), Version("b", 100)) == [Version("main", 10)]


def test_a_grandchild_knows_its_parent_up_to_its_fork() -> None:
    found = history(LINES)
    assert bases(found, Version("deep", 100), Version("a", 100)) == [Version("a", 15)]
    assert bases(found, Version("deep", 100), Version("main", 100)) == [Version("main", 10)]


def test_two_positions_of_one_worldline_have_the_earlier_in_common() -> None:
    assert bases(history(LINES), Version("a", 100), Version("a", 50)) == [Version("a", 50)]


def test_the_last_merge_is_the_base_in_either_direction() -> None:
    once = history(LINES, {"main": [Past(31, Version("a", 30))]})
    assert bases(once, Version("a", 100), Version("main", 100)) == [Version("a", 30)]
    assert bases(once, Version("main", 100), Version("a", 100)) == [Version("a", 30)]
    back = history(LINES, {"main": [Past(31, Version("a", 30))], "a": [Past(41, Version("main", 40))]})
    assert bases(back, Version("a", 100), Version("main", 100)) == [Version("main", 40)]


def test_a_merge_counts_only_from_when_it_happened() -> None:
    once = history(LINES, {"main": [Past(31, Version("a", 30))]})
    assert bases(once, Version("a", 100), Version("main", 30)) == [Version("main", 10)]


def test_a_merge_through_a_third_worldline_counts() -> None:
    found = history(LINES, {"b": [Past(31, Version("a", 30))], "main": [Past(41, Version("b", 40))]})
    assert bases(found, Version("a", 100), Version("main", 100)) == [Version("a", 30)]


def test_merges_crosswise_leave_two_bases_in_a_fixed_order() -> None:
    found = history(LINES, {"a": [Past(41, Version("main", 30))], "main": [Past(42, Version("a", 35))]})
    both = [Version("a", 35), Version("main", 30)]
    assert bases(found, Version("a", 100), Version("main", 100)) == both
    assert bases(found, Version("main", 100), Version("a", 100)) == both


def test_a_merge_of_some_documents_counts_for_these_alone() -> None:
    past = Past(31, Version("a", 30), frozenset({"scene/intro", "world"}))
    found = history(LINES, {"main": [past]})
    assert bases(found, Version("a", 100), Version("main", 100)) == [Version("main", 10)]
    assert past.about("scene", "intro")
    assert past.about("world", "any")
    assert not past.about("scene", "other")
    assert bases(found, Version("a", 100), Version("main", 100), lambda one: one.about("scene", "intro")) == [
        Version("a", 30)]


def test_a_version_knows_its_past_its_parents_and_what_was_merged_in() -> None:
    found = history(LINES, {"main": [Past(31, Version("b", 30))]})
    assert known(found, Version("main", 50)) == {"main": 50, "b": 30}
    assert known(found, Version("deep", 50)) == {"deep": 50, "a": 15, "main": 10}
