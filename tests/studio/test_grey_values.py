"""Grey values get into 8 bits: 16-bit ones as such, any others by their own range."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.studio.grey_values import eight_bits


@pytest.mark.parametrize(("whole", "low", "high", "value", "grey"), [
    (True, 0, 65535, 65535, 255),
    (True, 100, 200, 200, 200 * 255 / 65535),
    (True, -1, 65535, -1, 0),
    (True, 0, 65536, 65536, 255),
    (False, 0.0, 1.0, 0.5, 127.5),
    (False, 7.0, 7.0, 7.0, 0),
])
def test_what_is_white(whole: bool, low: float, high: float, value: float, grey: float) -> None:
    scale, offset = eight_bits(whole, low, high)
    assert value * scale + offset == pytest.approx(grey)


@given(st.booleans(), st.integers(-2**31, 2**31 - 1), st.integers(-2**31, 2**31 - 1))
def test_no_value_falls_out_of_eight_bits(whole: bool, one: int, other: int) -> None:
    low, high = sorted((one, other))
    scale, offset = eight_bits(whole, low, high)
    for value in (low, high, (low + high) / 2):
        assert -1e-6 <= value * scale + offset <= 255 + 1e-6
