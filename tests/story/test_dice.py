"""The dice: the arithmetic that a game and a browser repeat, and a pick that is always one of the weights."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from domain.story.dice import MODULUS, Dice, drawn, fallen, picked, thrown

SEEDS = st.integers(-(2**70), 2**70)
WEIGHTS = st.lists(st.floats(min_value=0, exclude_min=True, max_value=1e308), min_size=1, max_size=20)


def test_the_first_draws_are_those_of_the_published_generator() -> None:
    # Numerical Recipes prints these for a start at 0.
    dice, values = thrown(0), []
    for _ in range(5):
        _, dice = drawn(dice)
        values.append(dice.value)
    assert values == [0x3C6EF35F, 0x47502932, 0xD1CCF6E9, 0xAAF95334, 0x6252E503]
    assert (dice.seed, dice.uses) == (0, 5)


def by_hand(seed: int, uses: int) -> int:
    value = seed % 2**32
    for _ in range(uses):
        value = (1664525 * value + 1013904223) % 2**32
    return value


@given(SEEDS, st.integers(0, 50))
def test_any_seed_goes_the_same_way(seed: int, uses: int) -> None:
    dice = thrown(seed)
    for _ in range(uses):
        draw, dice = drawn(dice)
        assert 0 <= draw < 1
    assert dice == Dice(seed % MODULUS, by_hand(seed, uses), uses)
    assert dice.state() == {"seed": seed % MODULUS, "value": by_hand(seed, uses), "uses": uses}


@given(SEEDS, WEIGHTS)
def test_a_pick_is_the_first_whose_running_sum_exceeds_the_draw(seed: int, weights: list[float]) -> None:
    index, after = picked(thrown(seed), weights)
    draw, expected = drawn(thrown(seed))
    total = 0.0
    for weight in weights:
        total += weight
    reached, wanted = 0.0, len(weights) - 1
    for place, weight in enumerate(weights):
        reached += weight
        if draw * total < reached:
            wanted = place
            break
    assert (index, after) == (wanted, expected)


def test_the_total_is_added_up_as_a_loop_does() -> None:
    # Adding floats up exactly gives 1.0 here, a loop 0.9999999999999999: a draw between them would differ.
    weights = [0.1] * 10
    sums = []
    reached = 0.0
    for weight in weights:
        reached += weight
        sums.append(reached)
    assert sums[-1] == 0.9999999999999999
    for seed in range(200):
        assert picked(thrown(seed), weights) == fallen(thrown(seed), sums)


def test_weights_too_large_to_be_added_still_pick_one() -> None:
    index, after = picked(thrown(1), [1e308, 1e308, 1e308])
    assert index == 2
    assert after.uses == 1
