"""Places: something can always be put between two others, and a new order moves as few as possible."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.story.places import GAP, LONGEST, Place, arranged, between, kept, spread

PLACES = st.lists(st.integers(-5, 5), min_size=1, max_size=5).map(tuple)


@given(PLACES, PLACES)
def test_between_any_two_places_there_is_one(one: Place, other: Place) -> None:
    if one != other:
        low, high = sorted((one, other))
        assert low < between(low, high) < high


@given(PLACES)
def test_before_and_after_everything_there_is_a_place(place: Place) -> None:
    assert between(None, place) < place < between(place, None)


def test_a_new_list_has_room_between_its_items() -> None:
    assert spread(3) == [(0,), (GAP,), (2 * GAP,)]
    assert between(None, None) == (0,)


@settings(max_examples=300)
@given(st.lists(st.one_of(st.none(), PLACES), max_size=12))
def test_any_order_can_be_arranged_and_what_is_in_order_stays(wanted: list[Place | None]) -> None:
    found = arranged(wanted)
    assert all(a < b for a, b in pairwise(found))
    standing = [place for place in wanted if place is not None]
    stayed = sum(place == before for place, before in zip(found, wanted, strict=True))
    assert stayed == longest_increasing(standing)


@given(st.lists(PLACES, max_size=10))
def test_the_items_that_stay_are_a_longest_run(places: list[Place]) -> None:
    stay = sorted(kept(places))
    assert len(stay) == longest_increasing(places)
    assert all(places[a] < places[b] for a, b in pairwise(stay))


def test_places_that_grow_too_long_are_laid_out_anew() -> None:
    long: Place = (0,) * LONGEST
    assert arranged([long, None, (*long[:-1], 1)]) == spread(3)


def longest_increasing(places: list[Place]) -> int:
    best: list[int] = []
    for index, place in enumerate(places):
        best.append(1 + max((best[i] for i in range(index) if places[i] < place), default=0))
    return max(best, default=0)
