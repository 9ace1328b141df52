"""Assets: kept by content, described, used, removed and brought back."""

from __future__ import annotations

from typing import Any

import pytest
from behaviour import given
from pydantic import ValidationError

from commands.studio.asset import (
    DescribeAsset,
    RecordPreview,
    RecordPreviewFailure,
    ReferenceAsset,
    RegisterAsset,
    ReleaseAsset,
    RemoveAsset,
    RestoreAsset,
    TagAsset,
)
from domain.errors import Invalid, NotFound, Refused
from domain.studio.asset import (
    CONTEXT,
    REFERENCE_LIMIT,
    AssetDescribed,
    AssetReferenced,
    AssetRegistered,
    AssetReleased,
    AssetRemoved,
    AssetRestored,
    PreviewFailed,
    PreviewMade,
    Registered,
    Removed,
)
from domain.studio.asset_values import Source, Variant

UID = "ab" * 8
DIGEST = "ab" * 32
OTHER = UID + "cd" * 24

REGISTERED = AssetRegistered(
    uid=UID, digest=DIGEST, size=10, media_type="image/png", kind="image", cautions=(), asset_type="", name="room.png",
    tags=("dusk",), licence="CC0-1.0", origin="", notes="", nsfw=False, metadata={"artist": "Mo"},
    sources=(Source(how="upload", name="room.png"),), references=(),
)
RESTORED = AssetRestored(uid=UID, name="room.png", kind="image")
REMOVED = AssetRemoved(uid=UID, reason="")
USED = AssetReferenced(uid=UID, reference="scene:intro", count=1)
SMALL = Variant(name="256", digest="cd" * 32, size=9, media_type="image/webp", width=256, height=128)
MADE = PreviewMade(uid=UID, recipe="image.1", variants=(SMALL,), measures={"width": 1024, "height": 512})


def described(**changed: Any) -> AssetDescribed:
    told = REGISTERED.model_dump(include=set(AssetDescribed.model_fields))
    return AssetDescribed(**{**told, **changed})


def register(digest: str = DIGEST, **said: Any) -> RegisterAsset:
    return RegisterAsset(digest=digest, size=10, media_type="image/png", kind="image", **said)


# --- registering -------------------------------------------------------------------------------------------------


def test_new_bytes_become_an_asset_with_one_event() -> None:
    asked = register(
        name="room.png", tags=("dusk",), licence="CC0-1.0", metadata={"artist": "Mo"},
        source=Source(how="upload", name="room.png"),
    )
    given().when(asked).then(REGISTERED).and_again_nothing()


def test_the_same_bytes_with_the_same_facts_are_no_news() -> None:
    given(REGISTERED).when(register()).then_nothing()
    given(REGISTERED).when(register(tags=("dusk",), licence="CC0-1.0")).then_nothing()


def test_the_same_bytes_under_another_file_name_are_no_news() -> None:
    again = register(name="copy.png", source=Source(how="upload", name="copy.png"))
    given(REGISTERED).when(again).then_nothing()


def test_what_is_new_about_known_bytes_is_merged_in_one_event() -> None:
    again = register(tags=("night",), metadata={"rating": 1}, origin="https://example.org/room")
    given(REGISTERED).when(again).then(described(
        tags=("dusk", "night"), metadata={"artist": "Mo", "rating": 1}, origin="https://example.org/room",
    )).and_again_nothing()


def test_a_source_that_tells_something_is_added() -> None:
    made = Source(how="generate", job_id="job-1", seed="18446744073709551615", made_from=(UID,))
    given(REGISTERED).when(register(source=made)).then(
        described(sources=(*REGISTERED.sources, made))
    ).and_again_nothing()


def test_true_is_not_one() -> None:
    before = described(metadata={"flag": 1})
    given(REGISTERED, before).when(DescribeAsset(uid=UID, metadata={"flag": True})).then(
        described(metadata={"flag": True})
    )


def test_other_bytes_with_the_same_id_are_refused_not_merged() -> None:
    problem = given(REGISTERED).when(register(OTHER)).then_refused("asset_id_collision", Refused)
    assert problem.detail["registered"] == DIGEST
    given(REGISTERED, REMOVED).when(register(OTHER)).then_refused("asset_id_collision", Refused)


def test_registering_removed_bytes_brings_them_back() -> None:
    given(REGISTERED, REMOVED).when(register()).then(RESTORED).and_again_nothing()
    given(REGISTERED, REMOVED).when(register(tags=("night",), reference="path:a.png")).then(
        RESTORED, described(tags=("dusk", "night")), AssetReferenced(uid=UID, reference="path:a.png", count=1)
    ).and_again_nothing()


def test_a_registration_may_say_who_uses_the_bytes() -> None:
    given().when(register(reference="path:a.png")).and_again_nothing()
    given(REGISTERED).when(register(reference="path:a.png")).then(
        AssetReferenced(uid=UID, reference="path:a.png", count=1)
    ).and_again_nothing()


def test_more_than_an_asset_can_hold_is_refused() -> None:
    full = described(tags=tuple(f"tag{number}" for number in range(100)))
    given(REGISTERED, full).when(register(tags=("one more",))).then_refused("description_too_large", Refused)
    sources = tuple(Source(how="generate", job_id=f"job-{number}") for number in range(64))
    given(REGISTERED, described(sources=sources)).when(
        register(source=Source(how="generate", job_id="one more"))
    ).then_refused("too_many_sources", Refused)


@pytest.mark.parametrize(
    "said",
    [
        {"tags": ("a,b",)}, {"tags": ("",)}, {"tags": ("x" * 65,)}, {"name": "a\nb"}, {"name": "x" * 201},
        {"licence": "\x00"}, {"metadata": {"deep": [[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]}},
        {"metadata": {"seed": 2**64}}, {"metadata": {"big": "x" * 70_000}}, {"metadata": {"number": float("nan")}},
        {"reference": ""}, {"notes": "\x00"}, {"unknown": 1},
    ],
)
def test_what_is_out_of_bounds_is_refused_by_name(said: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        register(**said)
    assert caught.value.errors()[0]["loc"][0] == next(iter(said))


@pytest.mark.parametrize("digest", ["AB" * 32, "ab" * 31, "../" + "ab" * 30, "ab" * 32 + "\n"])
def test_what_is_no_digest_is_refused(digest: str) -> None:
    with pytest.raises(ValidationError):
        register(digest)


# --- describing --------------------------------------------------------------------------------------------------


def test_describing_changes_only_what_is_named() -> None:
    given(REGISTERED).when(DescribeAsset(uid=UID, licence="MIT", tags=())).then(
        described(licence="MIT", tags=())
    ).and_again_nothing()
    given(REGISTERED).when(DescribeAsset(uid=UID)).then_nothing()


def test_tags_are_added_and_taken_away_beside_those_of_others() -> None:
    given(REGISTERED).when(TagAsset(uid=UID, add=("night", "rain"), remove=("dusk", "never there"))).then(
        described(tags=("night", "rain"))
    ).and_again_nothing()
    given(REGISTERED).when(TagAsset(uid=UID, add=("dusk",))).then_nothing()
    given(REGISTERED).when(TagAsset(uid=UID, add=("a",), remove=("a",))).then_refused("contradicting_tags", Invalid)


@pytest.mark.parametrize(
    "command",
    [
        DescribeAsset(uid=UID, name="x"), TagAsset(uid=UID, add=("x",)), ReferenceAsset(uid=UID, reference="x"),
        ReleaseAsset(uid=UID, reference="x"), RemoveAsset(uid=UID), RestoreAsset(uid=UID),
        RecordPreview(uid=UID, recipe="image.1", variants=(SMALL,)),
        RecordPreviewFailure(uid=UID, recipe="image.1", reason="truncated"),
    ],
)
def test_nothing_can_be_done_to_an_unknown_asset(command: Any) -> None:
    given().when(command).then_refused("unknown_asset", NotFound)


@pytest.mark.parametrize(
    "command",
    [DescribeAsset(uid=UID, name="x"), TagAsset(uid=UID, add=("x",)), ReferenceAsset(uid=UID, reference="x")],
)
def test_a_removed_asset_is_neither_described_nor_used(command: Any) -> None:
    given(REGISTERED, REMOVED).when(command).then_refused("asset_removed", Refused)


# --- using, removing, restoring ----------------------------------------------------------------------------------


def test_a_name_counts_once() -> None:
    given(REGISTERED).when(ReferenceAsset(uid=UID, reference="scene:intro")).then(USED).and_again_nothing()
    given(REGISTERED, USED).when(ReferenceAsset(uid=UID, reference="scene:end")).then(
        AssetReferenced(uid=UID, reference="scene:end", count=2)
    )


def test_a_released_name_counts_no_longer() -> None:
    given(REGISTERED, USED).when(ReleaseAsset(uid=UID, reference="scene:intro")).then(
        AssetReleased(uid=UID, reference="scene:intro", count=0)
    ).and_again_nothing()
    given(REGISTERED).when(ReleaseAsset(uid=UID, reference="scene:intro")).then_nothing()


def test_an_asset_in_use_is_not_removed() -> None:
    problem = given(REGISTERED, USED).when(RemoveAsset(uid=UID)).then_refused("asset_in_use", Refused)
    assert problem.detail["references"] == ["scene:intro"]


def test_an_unused_asset_is_removed_and_restored() -> None:
    given(REGISTERED).when(RemoveAsset(uid=UID, reason="drawn anew")).then(
        AssetRemoved(uid=UID, reason="drawn anew")
    ).and_again_nothing()
    given(REGISTERED, REMOVED).when(RestoreAsset(uid=UID)).then(RESTORED).and_again_nothing()
    given(REGISTERED).when(RestoreAsset(uid=UID)).then_nothing()


def test_references_are_bounded() -> None:
    many = REGISTERED.model_copy(update={"references": tuple(f"path:{number}" for number in range(REFERENCE_LIMIT))})
    given(many).when(ReferenceAsset(uid=UID, reference="one more")).then_refused("too_many_references", Refused)


# --- previews ----------------------------------------------------------------------------------------------------


def test_pictures_are_recorded_once() -> None:
    asked = RecordPreview(uid=UID, recipe="image.1", variants=(SMALL,), measures={"width": 1024, "height": 512})
    given(REGISTERED).when(asked).then(MADE).and_again_nothing()
    given(REGISTERED, REMOVED).when(asked).then(MADE).and_again_nothing()


def test_two_variants_of_one_name_are_a_contradiction() -> None:
    asked = RecordPreview(uid=UID, recipe="image.1", variants=(SMALL, SMALL))
    given(REGISTERED).when(asked).then_refused("contradicting_variants", Invalid)


def test_a_failure_is_recorded_once_and_never_hides_pictures() -> None:
    asked = RecordPreviewFailure(uid=UID, recipe="image.1", reason="truncated", message="The file ends too early.")
    failed = PreviewFailed(uid=UID, recipe="image.1", reason="truncated", message="The file ends too early.")
    given(REGISTERED).when(asked).then(failed).and_again_nothing()
    given(REGISTERED, MADE).when(asked).then_nothing()
    given(REGISTERED, failed).when(
        RecordPreview(uid=UID, recipe="image.1", variants=(SMALL,), measures=MADE.measures)
    ).then(MADE)


# --- what it adds up to ------------------------------------------------------------------------------------------


def test_what_happens_while_removed_is_there_after_the_return() -> None:
    state = CONTEXT.initial
    for event in (REGISTERED, REMOVED, MADE):
        state = CONTEXT.evolve(state, event)
    assert isinstance(state, Removed)
    state = CONTEXT.evolve(state, RESTORED)
    assert isinstance(state, Registered)
    assert state.preview.kind == "made"


def test_the_summary_is_set_by_whatever_changes_it_and_gone_while_removed() -> None:
    summaries = [dict(CONTEXT.fields(event)).get("summary", "same") for event in (REGISTERED, MADE, REMOVED, RESTORED)]
    assert summaries == [{"title": "room.png", "kind": "image"}, "same", None, {"title": "room.png", "kind": "image"}]
