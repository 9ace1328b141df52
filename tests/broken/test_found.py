"""Broken files that once led somewhere else than to their reader's own error."""

from __future__ import annotations

import asyncio
import fcntl
import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import orjson
import pytest
from consoles import console, told
from engines.comfy_documents import node, plain
from model_server import safetensors, torch_archive
from signed_files import signed
from studios import studio_on

from adapters.c2pa.credentials import OwnCredentials
from adapters.c2pa.keys import KeyFolder
from adapters.c2pa.reading import read_store
from adapters.engines.local_comfy.editor import graph_of
from adapters.engines.local_comfy.importing import document_of, imported, plain_graph
from adapters.engines.local_comfy.workflows import NotAWorkflow
from adapters.files.folder import read_json
from adapters.files.lock import holder_of
from adapters.files.vault import FileVault
from adapters.nats.leftover import read_details
from domain.errors import Invalid, NotFound, Unavailable
from domain.exchange.renpy.manifests import SCHEMA
from domain.exchange.renpy.package import PROVENANCE
from domain.ports.workflows import Taking
from domain.studio.fault import fault
from domain.texts import sayable
from services.access import TokenBook
from services.exports.folder import standing
from services.generation.taking import _read
from services.importing_assets import import_folder
from services.media import images
from services.media.rendering import Unrenderable
from services.models.judging import NotThat, judged
from services.playtest import golden_files
from services.settings import Settings

DEEP = b"[" * 100_000


def test_what_a_file_says_is_quoted_without_halves_of_letters() -> None:
    said = fault("FILE_REFUSED", "it is \ud800", names=["\udfff", {"\ud800": "ü"}], size=3)
    assert said.message == "it is ?"
    assert said.detail == {"names": ["?", {"?": "ü"}], "size": 3}
    deep: object = "x"
    for _ in range(5000):
        deep = {"a": deep}
    assert orjson.dumps(sayable([deep])).endswith('"…"'.encode() + b"}" * 99 + b"]")
    data = b"\x80\x04\x8c\x02os\x8c\x03\xed\xa0\x80\x93."
    with pytest.raises(NotThat, match="Loading this file would call"):
        judged(io.BytesIO(data), len(data), "x.ckpt", pickle=True)


def test_what_a_model_calls_itself_can_be_recorded() -> None:
    data = safetensors(4, __metadata__={"modelspec.title": "A \ud800"})
    assert judged(io.BytesIO(data), len(data), "x.safetensors", pickle=False).detail["metadata"] == {
        "modelspec.title": "A ?"}


def _archive(method: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("model/data.pkl", pickle.dumps(list(range(3000)), protocol=2))
    data = bytearray(file.getvalue())
    data[60:90] = bytes(30)
    return bytes(data)


@pytest.mark.parametrize("content", [
    _archive(zipfile.ZIP_DEFLATED), _archive(zipfile.ZIP_BZIP2), _archive(zipfile.ZIP_LZMA),
    torch_archive(b"\x80\x02N.").replace(b"PK\1\2\x14\x03\x14\0\0\0", b"PK\1\2\x14\x03\x14\0\0\x08").replace(
        b"model/data.pkl", b"model/\xff\xff\xff\xff.pkl"),
])
def test_archives_of_models_that_cannot_be_unpacked(content: bytes) -> None:
    with pytest.raises(NotThat, match="damaged"):
        judged(io.BytesIO(content), len(content), "x.pt", pickle=True)


def test_a_dangerous_name_is_seen_however_far_from_where_it_is_called() -> None:
    far = b"\x8c\x08builtins\x94" + b"\x8c\x01a\x8c\x01b\x93" * 3 + b"\x8c\x01x" * 2000 + b"\x8c\x01a\x8c\x01b\x93"
    data = b"\x80\x04" + far + b"\x8c\x04evalh\x00\x8c\x01q\x93."
    with pytest.raises(NotThat, match=r"builtins\.eval"):
        judged(io.BytesIO(data), len(data), "x.ckpt", pickle=True)


@pytest.mark.parametrize("text", [
    b"port = " + b"9" * 5000, b"engine_slots = " + DEEP, b"\xff\xfe", b"port = 1\n" * 2, b"#" * 2**21,
])
def test_settings_that_are_no_toml(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "comfyvn.toml").write_bytes(text)
    with pytest.raises(Invalid) as caught:
        Settings.load(data=tmp_path)
    assert caught.value.code == "unreadable_settings"
    assert len(caught.value.message) < 1000


def test_settings_in_a_pipe_that_nobody_writes_to(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "comfyvn.toml")
    with pytest.raises(Invalid, match="no plain file"):
        Settings.load(data=tmp_path)


def test_an_export_whose_findings_are_none(tmp_path: Path) -> None:
    (tmp_path / PROVENANCE).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / PROVENANCE).write_text(json.dumps({"schema": SCHEMA, "recipe": "x", "files": {}, "findings": 1.5}))
    assert not standing(tmp_path).ours


def test_golden_plays_in_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    with pytest.raises(Invalid, match="no plain file"):
        golden_files.read(tmp_path)
    (tmp_path / "a.json").rmdir()
    os.mkfifo(tmp_path / "a.json")
    with pytest.raises(Invalid, match="no plain file"):
        golden_files.read(tmp_path)


def test_small_files_of_the_data_folder_that_are_nested_without_end(tmp_path: Path) -> None:
    (tmp_path / "server.json").write_bytes(DEEP)
    assert read_json(tmp_path / "server.json") is None
    assert read_details(tmp_path) == {}


@pytest.mark.parametrize("note", [
    DEEP[:4000], b"[]", b'{"pid": "x", "host": "h", "role": "server", "since": ""}',
    b'{"pid": 1, "host": "h", "role": "somebody", "since": ""}',
    b'{"pid": 1, "host": "h", "role": "server", "since": 7}',
])
def test_whoever_holds_a_folder_is_named_whatever_the_note_says(tmp_path: Path, note: bytes) -> None:
    place = tmp_path / "lock"
    place.write_bytes(note)
    with place.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        holder = holder_of(place)
    assert holder is not None
    assert "a console command" in str(holder)


def test_a_root_that_is_no_certificate(tmp_path: Path) -> None:
    keys = KeyFolder(tmp_path / "keys")
    keys.chain()
    (keys.folder / "roots" / "zz.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(Unavailable, match=r"zz\.pem is no certificate") as caught:
        keys.roots_pem()
    assert caught.value.remediation
    assert "zz.pem" in keys.trouble()


@pytest.mark.parametrize("store", [
    {"active_manifest": "a", "manifests": {"a": {"claim_generator_info": ["x"]}}},
    {"active_manifest": "a", "manifests": {"a": {"assertions": [{"data": 1}]}}},
    {"active_manifest": "a", "manifests": {"a": {"ingredients": [[]]}}},
    {"active_manifest": "a", "manifests": {"a": {}}, "validation_results": {"activeManifest": {"failure": [1]}}},
    {"active_manifest": "a", "manifests": []}, {"active_manifest": "a", "manifests": {"b": {}}}, {},
])
def test_a_manifest_of_another_make_is_unreadable(store: dict[str, object]) -> None:
    assert read_store(store).state == "unreadable"
    assert read_store(store).findings


def test_a_sidecar_that_holds_halves_of_letters_can_be_shown(tmp_path: Path) -> None:
    ours = OwnCredentials(KeyFolder(tmp_path / "keys"))
    (song := tmp_path / "song.ogg").write_bytes(b"OggS")
    beside = signed(ours, song, "audio/ogg", name="song.json")
    beside.write_text(json.dumps(json.loads(beside.read_text()) | {"more": "\ud800"}))
    found = ours.read(str(song), "audio/ogg", str(beside))
    assert (found.state, found.manifest["more"]) == ("valid", "?")


def _vault(folder: Path, passphrase: str | None = None) -> FileVault:
    return FileVault(folder / "data" / "vault.json", folder / "vault.keys", lambda: passphrase)


@pytest.mark.parametrize("change", [{"key": "é"}, {"vault": "é"}, {"n": 32768.0}, {"p": True}, {"r": 8.0}])
def test_a_vault_whose_header_is_almost_right(tmp_path: Path, change: dict[str, object]) -> None:
    vault = _vault(tmp_path, "a long passphrase")
    vault.put("fal", {"api_key": "k" * 30}, "")
    vault.place.write_text(json.dumps(json.loads(vault.place.read_text()) | change))
    with pytest.raises(Unavailable) as caught:
        _vault(tmp_path, "a long passphrase").get("fal")
    assert caught.value.code == "vault_damaged"
    assert _vault(tmp_path, "a long passphrase").state().trouble


def test_a_remark_in_the_key_file_may_be_in_any_encoding(tmp_path: Path) -> None:
    vault = _vault(tmp_path)
    vault.put("fal", {"api_key": "k" * 30}, "")
    with vault.key_file.open("ab") as file:
        file.write(b"# Schl\xfcssel\n")
    vault.rotate()
    assert vault.get("fal") == {"api_key": "k" * 30}
    assert b"# Schl\xfcssel\n" in vault.key_file.read_bytes()


def test_a_token_that_ends_at_a_time_without_a_zone(tmp_path: Path) -> None:
    book = TokenBook(tmp_path / "tokens.json")
    secret = book.create("one", ["*"], expires="2099-01-01T00:00:00Z")
    book.path.write_text(book.path.read_text().replace("00:00Z", "00:00"))
    with pytest.raises(Unavailable, match="not a list of tokens"):
        TokenBook(book.path).check(secret)


def test_a_folder_with_pipes_in_it_is_imported_without_them(tmp_path: Path) -> None:
    (folder := tmp_path / "art").mkdir()
    (folder / "words.txt").write_text("Hello.")
    os.mkfifo(folder / "pipe.png")

    async def scenario() -> None:
        async with asyncio.timeout(30):
            told = await import_folder(studio_on(tmp_path / "data"), folder)
        assert (told.total, told.skipped, told.failed) == (1, 1, [])

    asyncio.run(scenario())


@pytest.mark.parametrize("change", [
    {"links": 1.5}, {"links": [[1, 2, 0]], "nodes": [{"id": 1, "type": "A", "inputs": 7}]},
    {"nodes": [{"id": 1, "type": "A", "inputs": [{"name": "x", "link": [1]}]}]},
])
def test_a_workflow_that_no_editor_saves(change: dict[str, object]) -> None:
    document = {"nodes": [], "links": [], **change}
    with pytest.raises(NotAWorkflow, match="not made as the editor saves"):
        graph_of(document, {"A": {}})


def test_a_workflow_that_is_nested_without_end() -> None:
    deep: object = 1
    for _ in range(600):
        deep = [deep]
    graph = {**plain(), "2": node("ImageInvert", image=["1", 0], odd=deep)}
    with pytest.raises(NotAWorkflow, match="nested too deeply"):
        imported(plain_graph(document_of(json.dumps(graph).encode())), Taking("mine", "Mine"), {})


def test_a_workflow_in_a_device_is_not_read_to_its_end() -> None:
    with pytest.raises(Invalid, match="larger than"):
        _read(Path("/dev/zero"))
    with pytest.raises(NotFound):
        _read(Path("/proc/self/mem/x"))


def test_a_picture_of_another_format_is_not_given_to_its_decoder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(Unrenderable) as caught:
        images.render(str(tmp_path / "file"))
    assert caught.value.reason == "no_decoder"


def test_names_of_files_that_are_not_utf_8(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe"))
    folder.mkdir()
    (folder / os.fsdecode(b"\xff.png")).write_bytes(b"no card")
    for words in (("card", str(folder / os.fsdecode(b"\xff.png"))), ("chat", str(folder / "gone.jsonl")),
                  ("workflow", str(folder / os.fsdecode(b"\xff.png"))), ("assets", str(folder / "gone"))):
        done = console("import", *words, "--json", data=tmp_path / "data")
        assert done.returncode in (2, 5), done.stderr
        assert json.loads(done.stderr)["remediation"]
    report = told("import", "assets", str(folder), data=tmp_path / "data")
    assert [one["outcome"] for one in report["files"]] == ["registered"]
