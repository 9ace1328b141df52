"""Costs: nothing is guessed, nothing is too small by rounding, and every price says where it was read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.engines import fal, kling, runware, synclabs
from domain.studio.pricing import MICROCREDITS_PER_DOLLAR, Price, cost_of, known_unit, microcredits, quantity
from services.generation.costs import Given, entry_of, table, upper

LIPS = {"video": [Given(seconds=9.2, frames_per_second=25)], "audio": [Given(seconds=4)]}
CLIP = "fal-ai/kling-video/v2.5-turbo/standard/image-to-video"


def test_every_entry_says_where_and_when_it_was_read() -> None:
    assert all(one.source.startswith("https://") and one.date >= "2026-01-01" for one in table())
    assert len({(one.engine, one.model, one.variant) for one in table()}) == len(table())
    for one in table():
        assert one.dollars is None or one.unit == "frame" or known_unit(one.unit), one
        assert one.dollars is not None or one.note, one


@pytest.mark.parametrize("engine", [fal, kling, runware, synclabs])
def test_every_offered_model_has_an_entry_if_only_that_it_is_not_known(engine: Any) -> None:
    for model in engine.MODELS.all:
        assert entry_of(engine.ID, model.id, {}) is not None, model.id


def test_prices_are_reckoned_as_published() -> None:
    assert upper("provider_fal", "image_to_video", CLIP, {"duration": 5}) == pytest.approx(0.21)
    assert upper("provider_fal", "image_to_video", CLIP, {"duration": "10"}) == pytest.approx(0.42)
    picture = {"image": [Given(width=1024, height=1024)]}
    assert upper("provider_fal", "upscale_image", "fal-ai/clarity-upscaler", {"factor": 2}, picture) == \
        pytest.approx(0.15)
    assert upper("provider_fal", "lip_sync", "fal-ai/sync-lipsync/v2", {"variant": "lipsync-2"}, LIPS) == \
        pytest.approx(0.5)
    assert upper("provider_synclabs", "lip_sync", "lipsync-2", {}, LIPS) == pytest.approx(10 * 25 * 0.002)


def test_a_larger_video_is_reckoned_by_its_length_and_its_size() -> None:
    larger, film = "fal-ai/bytedance-upscaler/upscale/video", {"video": [Given(seconds=9.2)]}
    assert upper("provider_fal", "upscale_video", larger, {"variant": "1080p"}, film) == pytest.approx(0.072)
    assert upper("provider_fal", "upscale_video", larger, {"variant": "4k"}, film) == pytest.approx(0.288)


def test_without_a_named_variant_the_dearest_counts() -> None:
    assert upper("provider_fal", "lip_sync", "fal-ai/sync-lipsync/v2", {}, LIPS) == pytest.approx(10 / 60 * 5.1)


def test_what_cannot_be_told_is_not_known() -> None:
    assert upper("provider_fal", "text_to_image", "fal-ai/flux/dev", {"width": 1024, "height": 1024}) is None
    assert upper("provider_kling", "text_to_video", "kling-v2-6", {"duration": 5}) is None
    assert upper("provider_nobody", "text_to_video", "x", {}) is None
    assert upper("provider_synclabs", "lip_sync", "lipsync-2", {}) is None
    half = {"video": [Given(seconds=4)], "audio": [Given()]}
    assert upper("provider_synclabs", "lip_sync", "lipsync-2", {}, half) is None
    assert upper("provider_fal", "image_to_video", CLIP, {}) is None
    assert upper("provider_fal", "upscale_image", "fal-ai/clarity-upscaler", {"factor": 2}) is None


def test_a_rate_of_pictures_that_nobody_told_is_taken_as_high() -> None:
    untold = {"video": [Given(seconds=1)], "audio": [Given(seconds=1)]}
    assert upper("provider_synclabs", "lip_sync", "lipsync-2", {}, untold) == pytest.approx(60 * 0.002)


@given(st.floats(0, 10_000, allow_nan=False))
def test_dollars_are_rounded_up_and_by_less_than_one_microcredit(dollars: float) -> None:
    found = microcredits(dollars)
    assert -1e-3 <= found - dollars * MICROCREDITS_PER_DOLLAR < 1.01


@pytest.mark.parametrize("amount", [-1.0, float("nan"), float("inf")])
def test_what_is_no_amount_is_refused(amount: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        microcredits(amount)


@given(st.text(max_size=20), st.dictionaries(
    st.sampled_from(["width", "height", "count", "duration", "seconds"]),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
))
def test_a_quantity_is_positive_or_not_known_whatever_is_asked(unit: str, parameters: dict[str, Any]) -> None:
    for one in (unit, "image", "megapixel", "second", "minute", "images", "Seconds "):
        found = quantity(one, "text_to_video", parameters)
        assert found is None or found > 0


@pytest.mark.parametrize("size", [1e200, 10**400, 1e-200])
def test_sizes_that_nobody_can_reckon_with_are_not_reckoned_with(size: float) -> None:
    for unit in ("megapixel", "image", "second", "minute"):
        found = quantity(unit, "text_to_image", dict.fromkeys(["width", "height", "count", "duration"], size))
        assert found is None or 0 < found < float("inf")


def test_a_megapixel_that_is_begun_counts() -> None:
    price = Price(unit="megapixel", dollars=0.01)
    assert cost_of(price, "text_to_image", {"width": 1024, "height": 1024}) == pytest.approx(0.02)
    assert cost_of(price, "text_to_image", {"width": 1000, "height": 1000, "count": 3}) == pytest.approx(0.03)
    assert cost_of(Price(unit="image", dollars=1), "text_to_video", {}) is None
