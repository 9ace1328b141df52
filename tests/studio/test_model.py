"""Models: entries of one's own, what has to be acknowledged, and the transitions of a download."""

from __future__ import annotations

from typing import Any

import pytest
from behaviour import ASKED, given
from hypothesis import given as given_any
from hypothesis import strategies as st
from pydantic import ValidationError

from commands.studio.model import AcknowledgeModel, AddModel, ChangeModel, RemoveModel
from commands.studio.model_downloads import (
    CancelModelDownload,
    FailModelDownload,
    FinishModelDownload,
    ReportModelDownload,
    RequestModelDownload,
    StartModelDownload,
)
from domain.errors import Invalid, NotFound, Refused
from domain.studio.fault import fault
from domain.studio.model import (
    ATTEMPTS,
    ModelAdded,
    ModelChanged,
    ModelDownloadAdvanced,
    ModelDownloadCancelled,
    ModelDownloadFailed,
    ModelDownloadFinished,
    ModelDownloadRequested,
    ModelDownloadStarted,
    ModelRemoved,
    ModelRisksAcknowledged,
    Order,
    Result,
)
from domain.studio.model_entry import Entry
from domain.studio.model_library import LIBRARY, supplying
from domain.studio.model_values import FORMATS, UNKNOWN, extension, filename, licence, slug, url

SHA = "ab" * 32
TOLD: dict[str, Any] = {
    "name": "Harbour light", "type": "lora", "url": "https://models.example/harbour.safetensors",
    "filename": "harbour.safetensors", "license": "MIT", "sha256": SHA, "size_bytes": 144,
}
ID = "custom-harbour-light"
ENTRY = Entry.model_validate(TOLD)
ADDED = ModelAdded(model_id=ID, entry=ENTRY)
ORDER = Order(entry=ENTRY)
REQUESTED = ModelDownloadRequested(model_id=ID, number=1, order=ORDER)
STARTED = ModelDownloadStarted(model_id=ID, number=1, attempt=1)
RESULT = Result(path="loras/harbour.safetensors", sha256=SHA, size_bytes=144, format="safetensors")
FINISHED = ModelDownloadFinished(model_id=ID, number=1, result=RESULT)
BROKE_OFF = ModelDownloadFailed(model_id=ID, number=1, fault=fault("DISK_FULL", "The disk is full."))
CANCELLED = ModelDownloadCancelled(model_id=ID, number=1, reason="")


def entry(**more: Any) -> Entry:
    return Entry.model_validate(TOLD | more)


def add(**more: Any) -> AddModel:
    return AddModel.model_validate(TOLD | more)


def acknowledged(of: Entry, *risks: Any, model_id: str = ID) -> ModelRisksAcknowledged:
    return ModelRisksAcknowledged(
        model_id=model_id, risks={risk: of.basis(risk) for risk in risks}, license=of.license,
        license_url=of.license_url, acknowledged_by=ASKED.actor, acknowledged_at=ASKED.time,
    )


# --- entries --------------------------------------------------------------------------------------------------------


def test_an_entry_is_added_once() -> None:
    given().when(add()).then(ADDED).and_again_nothing()
    given(ADDED).when(add(name="Harbour  light", model_id=ID)).then_refused("model_exists", Refused)


@pytest.mark.parametrize(("asked", "id_"), [
    ({}, ID), ({"model_id": "mine"}, "custom-mine"), ({"model_id": "custom-mine"}, "custom-mine"),
    ({"name": "Ü!"}, slug("Ü!")), ({"name": "灯台"}, slug("灯台")),
])
def test_ids_of_own_entries_begin_with_custom(asked: dict[str, Any], id_: str) -> None:
    assert add(**asked).model_id == id_
    assert id_.startswith("custom-")


def test_an_unknown_licence_and_a_missing_checksum_have_to_be_acknowledged() -> None:
    both = {"license": "unknown", "sha256": None}
    refusal = given().when(add(**both)).then_refused("LICENSE_UNKNOWN", Refused)
    assert refusal.detail["acknowledge"] == ["license_unknown", "checksum_missing"]
    refusal = given().when(add(**both, acknowledge=["license_unknown"])).then_refused("CHECKSUM_MISSING", Refused)
    assert refusal.detail["acknowledge"] == ["checksum_missing"]
    whole = entry(**both)
    given().when(add(**both, acknowledge=["license_unknown", "checksum_missing"])).then(
        ModelAdded(model_id=ID, entry=whole), acknowledged(whole, "license_unknown", "checksum_missing"),
    ).and_again_nothing()


def test_what_is_no_risk_cannot_be_acknowledged() -> None:
    given().when(add(acknowledge=["pickle"])).then_refused("not_a_risk", Invalid)
    given(ADDED).when(AcknowledgeModel(model_id=ID, acknowledge=("license_unknown",))).then_refused("not_a_risk")


def test_a_change_names_only_what_changes_and_null_takes_away() -> None:
    given(ADDED).when(ChangeModel.model_validate({"model_id": ID, "notes": "soft"})).then(
        ModelChanged(model_id=ID, entry=entry(notes="soft"))
    ).and_again_nothing()
    given(ADDED).when(ChangeModel.model_validate({"model_id": ID, "size_bytes": None})).then(
        ModelChanged(model_id=ID, entry=entry(size_bytes=None))
    )
    given(ADDED).when(ChangeModel.model_validate({"model_id": ID, "url": None})).then_refused("invalid_fields", Invalid)
    given(ADDED).when(ChangeModel.model_validate({"model_id": ID, "sha256": None})).then_refused("CHECKSUM_MISSING")
    given().when(ChangeModel(model_id=ID, notes="x")).then_refused("unknown_model", NotFound)
    given(ADDED, REQUESTED).when(ChangeModel(model_id=ID, notes="x")).then_refused("download_underway", Refused)


def test_a_changed_licence_or_file_is_acknowledged_anew() -> None:
    unknown = entry(license=UNKNOWN)
    history = [ModelAdded(model_id=ID, entry=unknown), acknowledged(unknown, "license_unknown")]
    given(*history).when(RequestModelDownload(model_id=ID)).then(
        ModelDownloadRequested(model_id=ID, number=1, order=Order(entry=unknown))
    )
    terms = entry(license="My own terms")
    given(*history, ModelChanged(model_id=ID, entry=terms)).when(RequestModelDownload(model_id=ID)).then_refused(
        "LICENSE_TERMS", Refused
    )
    pickled = entry(filename="harbour.ckpt")
    seen = [ModelAdded(model_id=ID, entry=pickled), acknowledged(pickled, "pickle")]
    elsewhere = entry(filename="harbour.ckpt", url="https://elsewhere.example/harbour.ckpt")
    given(*seen, ModelChanged(model_id=ID, entry=elsewhere)).when(RequestModelDownload(model_id=ID)).then_refused(
        "PICKLE_REFUSED", Refused
    )


def test_an_entry_is_removed_and_may_come_again_without_what_was_acknowledged() -> None:
    unknown = entry(license=UNKNOWN)
    history = [ModelAdded(model_id=ID, entry=unknown), acknowledged(unknown, "license_unknown")]
    given(*history).when(RemoveModel(model_id=ID)).then(ModelRemoved(model_id=ID)).and_again_nothing()
    given().when(RemoveModel(model_id=ID)).then_refused("unknown_model", NotFound)
    gone = given(*history, ModelRemoved(model_id=ID))
    gone.when(add(license=UNKNOWN)).then_refused("LICENSE_UNKNOWN", Refused)
    gone.when(RequestModelDownload(model_id=ID)).then_refused("model_removed", NotFound)
    given(ADDED, REQUESTED).when(RemoveModel(model_id=ID)).then_refused("download_underway", Refused)


def test_curated_entries_are_nobodys_to_change() -> None:
    given().when(RemoveModel(model_id="flux-vae")).then_refused("curated_model", Refused)
    given().when(ChangeModel(model_id="flux-vae", notes="x")).then_refused("curated_model", Refused)


def test_every_curated_entry_has_licence_checksum_size_and_source() -> None:
    for id_, one in LIBRARY.items():
        assert one.license != UNKNOWN, id_
        assert one.sha256, id_
        assert one.size_bytes, id_
        assert one.source.startswith("https://"), id_
        assert one.url.startswith("https://"), id_
        assert not id_.startswith("custom-")
        assert url(one.url) == one.url
        assert filename(one.filename) == one.filename
        assert supplying(one.folder, one.filename) is not None, id_


# --- downloads ------------------------------------------------------------------------------------------------------


def test_a_download_is_asked_for_once_at_a_time() -> None:
    given(ADDED).when(RequestModelDownload(model_id=ID)).then(REQUESTED).and_again_nothing()
    again = REQUESTED.model_copy(update={"number": 2})
    given(ADDED, REQUESTED, STARTED, FINISHED).when(RequestModelDownload(model_id=ID)).then(again)
    given().when(RequestModelDownload(model_id="custom-nothing")).then_refused("unknown_model", NotFound)


def test_a_curated_pickle_is_downloaded_once_somebody_takes_responsibility() -> None:
    one = LIBRARY["realesrgan-x4plus"]
    given().when(RequestModelDownload(model_id="realesrgan-x4plus")).then_refused("PICKLE_REFUSED", Refused)
    order = Order(entry=one, pickle=True)
    told = acknowledged(one, "pickle", model_id="realesrgan-x4plus")
    asked = ModelDownloadRequested(model_id="realesrgan-x4plus", number=1, order=order)
    given().when(RequestModelDownload(model_id="realesrgan-x4plus", acknowledge=("pickle",))).then(told, asked)
    given(told).when(RequestModelDownload(model_id="realesrgan-x4plus")).then(asked)
    given().when(AcknowledgeModel(model_id="realesrgan-x4plus", acknowledge=("pickle",))).then(told).and_again_nothing()


def test_a_download_goes_its_way() -> None:
    given(ADDED, REQUESTED).when(StartModelDownload(model_id=ID, number=1)).then(STARTED)
    given(ADDED, REQUESTED, STARTED).when(StartModelDownload(model_id=ID, number=1)).then(
        STARTED.model_copy(update={"attempt": 2}))
    given(ADDED, REQUESTED, STARTED).when(FinishModelDownload(model_id=ID, number=1, result=RESULT)).then(
        FINISHED).and_again_nothing()
    why = fault("CHECKSUM_MISMATCH", "Other bytes.")
    given(ADDED, REQUESTED, STARTED).when(FailModelDownload(model_id=ID, number=1, fault=why)).then(
        ModelDownloadFailed(model_id=ID, number=1, fault=why))
    given(ADDED, REQUESTED).when(CancelModelDownload(model_id=ID)).then(CANCELLED).and_again_nothing()
    given(ADDED, REQUESTED, STARTED, BROKE_OFF).when(CancelModelDownload(model_id=ID)).then(CANCELLED)
    given(ADDED).when(CancelModelDownload(model_id=ID)).then_refused("download_idle", Refused)
    given(ADDED, REQUESTED, STARTED, FINISHED).when(CancelModelDownload(model_id=ID)).then_refused("download_finished")


@pytest.mark.parametrize("late", [
    StartModelDownload(model_id=ID, number=1), ReportModelDownload(model_id=ID, number=1, phase="checking"),
    FinishModelDownload(model_id=ID, number=1, result=RESULT),
    FailModelDownload(model_id=ID, number=1, fault=fault("DOWNLOAD_FAILED", "x")),
])
def test_a_late_worker_is_told_that_it_is_over(late: Any) -> None:
    given(ADDED, REQUESTED, STARTED, CANCELLED).when(late).then_refused("download_over", Refused)
    newer = REQUESTED.model_copy(update={"number": 2})
    given(ADDED, REQUESTED, STARTED, CANCELLED, newer).when(late).then_refused("download_over", Refused)
    given(ADDED).when(late).then_refused("unknown_model", NotFound)


def test_a_download_that_ends_every_worker_fails() -> None:
    last = STARTED.model_copy(update={"attempt": ATTEMPTS})
    (told,) = given(ADDED, REQUESTED, last).when(StartModelDownload(model_id=ID, number=1))._decide()
    assert isinstance(told, ModelDownloadFailed)
    assert told.fault.code == "DOWNLOAD_FAILED"


def test_progress_is_recorded_each_twentieth_at_most() -> None:
    total = 20 * 2**30
    history: list[Any] = [ADDED, REQUESTED, STARTED]
    for done in range(0, total + 1, 2**28):
        asked = ReportModelDownload(model_id=ID, number=1, phase="downloading", done=done, total=total)
        history += given(*history).when(asked)._decide()
    advanced = [one for one in history if isinstance(one, ModelDownloadAdvanced)]
    assert len(advanced) == 21
    assert advanced[-1].done == total


# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [
    "../x.safetensors", "a/b.safetensors", "a\\b.safetensors", "/etc/x.safetensors", ".safetensors", ".x.safetensors",
    "..safetensors", "x.exe", "x", "x.safetensors.exe", "x.safetensors ", " x.safetensors", "x\0.safetensors",
    "x\n.safetensors", "nul.safetensors", "COM1.safetensors", "x:y.safetensors", "x" * 300 + ".safetensors", "x.sh",
    "x\u202esrotcefas.safetensors", "x\ud800.safetensors", "x.part", "",
])
def test_unsafe_file_names_are_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        AddModel.model_validate(TOLD | {"filename": name})


@given_any(st.text(max_size=60))
def test_a_name_that_is_taken_stays_in_its_folder(text: str) -> None:
    try:
        name = filename(text)
    except ValueError:
        return
    assert not {"/", "\\", "\0"} & set(name)
    assert not name.startswith(".")
    assert extension(name) in FORMATS


@pytest.mark.parametrize("address", [
    "ftp://host/x", "file:///etc/passwd", "https://", "https://user:pw@host/x", "https://host/x?token=abc",
    "https://host/x?X-Amz-Signature=abc", "https://host/a b", "https://host\\x", "javascript:alert(1)", "//host/x",
    "https://host:99999/x", "https://höst/x",
])
def test_addresses_that_hold_keys_or_are_none_are_refused(address: str) -> None:
    with pytest.raises(ValidationError):
        AddModel.model_validate(TOLD | {"url": address})


def test_addresses_that_speak_of_tokens_in_their_path_are_taken() -> None:
    assert url("https://hub.example/tokenizer/key?download=true&monkey=1#part") == (
        "https://hub.example/tokenizer/key?download=true&monkey=1")


@pytest.mark.parametrize(("said", "meant"), [
    ("apache 2.0", "Apache-2.0"), ("Apache-2.0", "Apache-2.0"), ("mit", "MIT"), ("CC0", "CC0-1.0"),
    ("unknown", UNKNOWN),
    (" ? ", UNKNOWN), ("Custom", "Custom"), ("FLUX.1-dev  Non-Commercial", "FLUX.1-dev Non-Commercial"),
])
def test_licences_have_one_spelling(said: str, meant: str) -> None:
    assert licence(said) == meant


def test_the_entry_that_supplies_what_is_missing_is_found() -> None:
    assert supplying("vae", "ae.safetensors") == "flux-vae"
    assert supplying("diffusion_models", "any *flux*") == "flux1-schnell"
    assert supplying("upscale_models", "any") == "realesrgan-x4plus"
    assert supplying("vae", "nobody-knows.safetensors") is None
    assert supplying("checkpoints", "ae.safetensors") is None
